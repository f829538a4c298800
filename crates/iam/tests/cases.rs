//! Holds every case of the table beside the checkout against the decision. A case that AWS's documentation contradicts stands
//! in the ledger, with the sentence that does; a listed case that passes fails the run.

use std::collections::BTreeMap;
use std::path::Path;

use strongroom_iam::case::Case;

#[test]
#[allow(clippy::print_stdout, reason = "whoever reads the test's output must learn that it was skipped")]
fn every_case_is_decided_as_documented() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/vectors/iam_cases.json");
    let Ok(text) = std::fs::read_to_string(&path) else {
        println!("skipped: {} is not there", path.display());
        return;
    };
    let ledger: BTreeMap<String, String> = serde_json::from_str(include_str!("ledger.json")).unwrap();
    let cases = Case::list(&text).unwrap();
    let (mut wrong, mut right_though_listed) = (Vec::new(), Vec::new());
    for case in &cases {
        let (outcome, expected) = (case.run(), case.expect.as_deref().unwrap());
        match (outcome.word() == expected, ledger.contains_key(&case.id)) {
            (false, false) => wrong.push(format!("{}: {expected} expected, {outcome:?}", case.id)),
            (true, true) => right_though_listed.push(&case.id),
            _ => {}
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
    assert!(right_though_listed.is_empty(), "in the ledger and right: {right_though_listed:?}");
    println!("{} cases, {} in the ledger", cases.len(), ledger.len());
}
