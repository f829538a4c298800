//! `cargo xtask drift`: the parts of each operation agree. Each has its row in the table of shapes, its file in the engine,
//! its golden file with a request and an answer in both protocols, its turn in the test of unsigned calls; each error that
//! its code makes is declared for it in the table, or common; and the table is AWS's public model, where a copy of that lies
//! beside this checkout.

use std::collections::BTreeSet;

use strongroom_model::{ErrorKind, Operation, table};

use crate::Findings;
use crate::calls::Calls;
use crate::{model_json, source};

const ENGINE: &str = "crates/engine/src";
const GOLDEN: &str = "crates/wire/tests/golden";
const UNSIGNED: &str = "crates/strongroom/tests/unsigned.rs";
const MODEL: &str = "../shared/facts/model.json";

/// What a golden file holds.
const SECTIONS: [&str; 4] = ["request, JSON", "request, CBOR", "answer, JSON", "answer, CBOR"];

pub fn run() -> Result<(), Findings> {
    let calls = Calls::of(&source::rust_files(ENGINE)?);
    let unsigned = source::read(UNSIGNED);
    let mut findings = Vec::new();
    for operation in Operation::ALL {
        findings.extend(row(*operation));
        findings.extend(engine_file(*operation));
        findings.extend(golden_file(*operation));
        findings.extend(errors(*operation, &calls));
        findings.extend(unsigned_call(*operation, unsigned.as_deref()));
    }
    findings.extend(strays());
    let compared = compare_with_model(&mut findings);
    if !findings.is_empty() {
        return Err(findings);
    }
    println!("drift: {} operations: row, engine file, golden file, unsigned call, errors", Operation::ALL.len());
    println!("drift: {compared}");
    Ok(())
}

fn row(operation: Operation) -> Findings {
    let name = operation.name();
    let Some(row) = table::api().operation(operation.service().shape_name(), name) else {
        return vec![format!("{name} has no row in the table of shapes")];
    };
    let shapes = [(row.input, operation.input()), (row.output, operation.output())];
    let wrong = shapes.into_iter().filter(|(index, shape)| *table::api()[*index].name != **shape);
    wrong.map(|(index, shape)| format!("{name}: the table has {}, not {shape}", table::api()[index].name)).collect()
}

fn engine_file(operation: Operation) -> Findings {
    let path = format!("{ENGINE}/operation/{}.rs", operation.file());
    match source::read(&path) {
        Ok(text) if text.contains(&format!("Reply::{}(", operation.name())) => Vec::new(),
        Ok(_) => vec![format!("{path} makes no Reply::{}", operation.name())],
        Err(findings) => findings,
    }
}

fn golden_file(operation: Operation) -> Findings {
    let path = format!("{GOLDEN}/{}.txt", operation.name());
    match source::read(&path) {
        Ok(text) => {
            let lacks = SECTIONS.iter().filter(|section| !text.contains(&format!("== {section}\n")));
            lacks.map(|section| format!("{path} has no section \"{section}\"")).collect()
        }
        Err(findings) => findings,
    }
}

/// Files that belong to no operation.
fn strays() -> Findings {
    let mut findings = Vec::new();
    let expected = |folder: &str| -> BTreeSet<String> {
        let names = Operation::ALL.iter().map(|o| if folder == GOLDEN { o.name() } else { o.file() });
        names.map(str::to_owned).chain([String::from("errors")]).collect()
    };
    for folder in [GOLDEN.to_owned(), format!("{ENGINE}/operation")] {
        let Ok(entries) = std::fs::read_dir(source::root().join(&folder)) else { continue };
        for path in entries.flatten().map(|entry| entry.path()) {
            let stem = path.file_stem().and_then(|s| s.to_str()).unwrap_or_default();
            if !expected(&folder).contains(stem) {
                findings.push(format!("{folder}/{stem} belongs to no operation"));
            }
        }
    }
    findings
}

fn errors(operation: Operation, calls: &Calls) -> Findings {
    let declared: BTreeSet<&str> = table::errors(operation).into_iter().map(ErrorKind::name).collect();
    let common = |name: &str| ErrorKind::ALL.iter().any(|kind| kind.name() == name && !kind.is_modelled());
    let made = calls.errors(operation.file(), "run");
    let undeclared = made.into_iter().filter(|name| !declared.contains(name) && !common(name));
    undeclared
        .map(|name| format!("{} may answer {name}, which the table does not declare for it", operation.name()))
        .collect()
}

/// The test goes over all operations, or names each.
fn unsigned_call(operation: Operation, test: Result<&str, &Findings>) -> Findings {
    match test {
        Ok(text) if text.contains("Operation::ALL") || text.contains(operation.name()) => Vec::new(),
        _ => vec![format!("{UNSIGNED} does not call {} without a signature", operation.name())],
    }
}

/// Compares with the public model and says what was done.
fn compare_with_model(findings: &mut Findings) -> String {
    let Ok(text) = source::read(MODEL) else {
        if std::env::var_os("CI").is_some() {
            findings.push(format!("{MODEL} is missing, and under CI it must be there"));
        }
        return format!("{MODEL} is not there, so the table was not compared with AWS's public model");
    };
    match serde_json::from_str(&text) {
        Ok(model) => findings.extend(model_json::differences(&model)),
        Err(error) => findings.push(format!("{MODEL}: {error}")),
    }
    format!("the table of shapes is that of {MODEL}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::RustFile;

    #[test]
    fn an_error_that_is_not_declared_is_found_and_a_common_one_is_not() {
        let text = "pub(super) async fn run() -> R {\n    ApiError::new(ErrorKind::CloudHsmTag, x);\n    \
                    ApiError::new(ErrorKind::Throttling, x)\n}\n";
        let file = RustFile { path: "src/operation/create_hsm.rs".to_owned(), text: text.to_owned() };
        let found = errors(Operation::CreateHsm, &Calls::of(&[file]));
        assert_eq!(found, ["CreateHsm may answer CloudHsmTagException, which the table does not declare for it"]);
    }

    #[test]
    fn an_unsigned_call_is_tested_by_name_or_with_all() {
        let check = |text: &str| unsigned_call(Operation::CreateHsm, Ok(text));
        assert_eq!((check("for o in Operation::ALL"), check("CreateHsm")), (vec![], vec![]));
        assert_eq!(check("CreateCluster").len(), 1);
    }
}
