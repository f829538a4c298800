//! `strongroom policy`: what policies say, without a region. `check` reads one document, `simulate` decides cases that each
//! bring all that a decision rests on. Nothing is called and nothing is changed.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::{Subcommand, ValueEnum};
use serde_json::{Value, json};
use strongroom_iam::case::{Case, Outcome};
use strongroom_iam::{Document, Kind, Layer};

use crate::human::{Style, counted};
use crate::problem::{Exit, Problem};

/// `strongroom policy`
#[derive(Clone, Debug, Subcommand)]
pub enum PolicyCommand {
    /// Whether a document is a policy, and what in it is probably not meant
    Check {
        /// The document
        file: PathBuf,
        /// Where it is to be attached
        #[arg(long, value_enum, default_value_t)]
        kind: KindAsked,
    },
    /// Decide cases: a JSON line for each
    Simulate {
        /// The cases, a JSON list
        #[arg(long, value_name = "FILE")]
        cases: PathBuf,
    },
}

/// Where a document is attached.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub enum KindAsked {
    /// To a user, a group or a role
    #[default]
    Identity,
    /// To a resource, such as a backup
    Resource,
    /// To a role, saying who may assume it
    Trust,
}

impl From<KindAsked> for Kind {
    fn from(asked: KindAsked) -> Self {
        match asked {
            KindAsked::Identity => Self::Identity,
            KindAsked::Resource => Self::Resource,
            KindAsked::Trust => Self::Trust,
        }
    }
}

/// Runs the command; gives the exit code.
///
/// # Errors
/// [`Problem`]
pub fn run(
    command: &PolicyCommand,
    style: &Style,
    out: &mut dyn Write,
    errors: &mut dyn Write,
) -> Result<Exit, Problem> {
    match command {
        PolicyCommand::Check { file, kind } => check(&read(file)?, (*kind).into(), style, out),
        PolicyCommand::Simulate { cases } => simulate(&read(cases)?, cases, out, errors),
    }
}

fn check(text: &str, kind: Kind, style: &Style, out: &mut dyn Write) -> Result<Exit, Problem> {
    let parsed = Document::parse(text, kind);
    let exit = if parsed.is_ok() { Exit::Done } else { Exit::Findings };
    let told = match (&parsed, style.json) {
        (Ok(document), true) => {
            let warnings = document.warnings().iter();
            let warnings: Vec<Value> = warnings.map(|w| json!({ "place": w.place, "text": w.text })).collect();
            json!({ "format": "strongroom.policy-check/1", "ok": true, "warnings": warnings }).to_string()
        }
        (Err(fault), true) => {
            let fault = json!({ "place": fault.place, "text": fault.text });
            json!({ "format": "strongroom.policy-check/1", "ok": false, "fault": fault }).to_string()
        }
        (Ok(document), false) => {
            let head = match document.warnings().len() as u64 {
                0 => "ok".to_owned(),
                n => format!("ok, {}", counted(n, "warning")),
            };
            let lines = document.warnings().iter().map(|warning| format!("\nwarning: {warning}"));
            head + &lines.collect::<String>()
        }
        (Err(fault), false) => format!("fault: {fault}"),
    };
    say(out, &told)?;
    Ok(exit)
}

fn simulate(text: &str, path: &Path, out: &mut dyn Write, errors: &mut dyn Write) -> Result<Exit, Problem> {
    let cases = Case::list(text).map_err(|cause| {
        Problem::new("cases", format!("{} is no list of cases", path.display())).cause(cause).exit(Exit::Usage)
    })?;
    let (mut expected, mut different) = (0, 0);
    for case in &cases {
        let outcome = case.run();
        say(out, &line(case, &outcome).to_string())?;
        if let Some(expect) = &case.expect {
            expected += 1;
            different += u64::from(expect != outcome.word());
        }
    }
    if expected > 0 {
        let verb = if different == 1 { "differs" } else { "differ" };
        say(errors, &format!("{different} of {} {verb} from what was expected", counted(expected, "case")))?;
    }
    Ok(if different > 0 { Exit::Findings } else { Exit::Done })
}

fn line(case: &Case, outcome: &Outcome) -> Value {
    let statement = outcome.statement().map(|statement| {
        json!({
            "layer": layer(statement.layer), "policy": statement.policy, "statement": statement.statement,
            "sid": outcome.sid(),
        })
    });
    let fault = match outcome {
        Outcome::Invalid(fault) => Some(fault.to_string()),
        Outcome::Decided { .. } => None,
    };
    json!({ "id": case.id, "decision": outcome.word(), "statement": statement, "fault": fault })
}

fn layer(layer: Layer) -> &'static str {
    match layer {
        Layer::Identity => "identity",
        Layer::Resource => "resource",
        Layer::Boundary => "boundary",
        Layer::Session => "session",
        Layer::Trust => "trust",
    }
}

fn read(path: &Path) -> Result<String, Problem> {
    std::fs::read_to_string(path).map_err(|cause| {
        Problem::new("no-file", format!("cannot read {}", path.display())).cause(cause).exit(Exit::Usage)
    })
}

fn say(out: &mut dyn Write, line: &str) -> Result<(), Problem> {
    writeln!(out, "{line}").map_err(|e| Problem::new("output", "cannot write to standard output").cause(e))
}

#[cfg(test)]
mod tests {
    use super::*;

    const STYLE: Style = Style { json: false, utc: false, color: false, terminal: false };
    const CASE: &str = r#"{"id": "a", "principal": {"account": "111122223333",
        "arn": "arn:aws:iam::111122223333:user/alice", "type": "user"}, "identity_policies": [{"Version": "2012-10-17",
        "Statement": [{"Sid": "Look", "Effect": "Allow", "Action": "cloudhsm:Describe*", "Resource": "*"}]}],
        "action": "cloudhsm:DescribeClusters", "resource": "*", "resource_account": "111122223333", "expect": "allow"}"#;

    fn simulated(text: &str) -> (Exit, String, String) {
        let (mut out, mut errors) = (Vec::new(), Vec::new());
        let exit = simulate(text, Path::new("cases.json"), &mut out, &mut errors).unwrap();
        (exit, String::from_utf8(out).unwrap(), String::from_utf8(errors).unwrap())
    }

    fn checked(text: &str, kind: Kind) -> (Exit, String) {
        let mut out = Vec::new();
        let exit = check(text, kind, &STYLE, &mut out).unwrap();
        (exit, String::from_utf8(out).unwrap())
    }

    #[test]
    fn each_case_is_a_line_that_names_its_statement() {
        let (exit, out, errors) = simulated(&format!("[{CASE}]"));
        let statement = r#"{"layer":"identity","policy":0,"statement":0,"sid":"Look"}"#;
        let expected = format!("{{\"id\":\"a\",\"decision\":\"allow\",\"statement\":{statement},\"fault\":null}}\n");
        assert_eq!((exit, out, errors), (Exit::Done, expected, "0 of 1 case differ from what was expected\n".into()));
        let (exit, out, errors) = simulated(&format!("[{}]", CASE.replace("Describe*", "List*")));
        assert_eq!((exit, errors.as_str()), (Exit::Findings, "1 of 1 case differs from what was expected\n"));
        assert!(out.contains(r#""decision":"implicit_deny","statement":null"#), "{out}");
        let (_, out, _) = simulated(&format!("[{}]", CASE.replace("Effect", "Efect")));
        assert!(out.contains(r#""decision":"invalid_policy""#) && out.contains("identity_policies[0] "), "{out}");
        let (exit, _, errors) = simulated(&format!("[{}]", CASE.replace(r#", "expect": "allow""#, "")));
        assert_eq!((exit, errors.as_str()), (Exit::Done, ""));
    }

    #[test]
    fn a_document_is_checked_for_where_it_is_attached() {
        let document =
            r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"cloudhsm:*","Resource":"*"}}"#;
        assert_eq!(checked(document, Kind::Identity), (Exit::Done, "ok\n".into()));
        let (exit, told) = checked(document, Kind::Trust);
        assert_eq!(exit, Exit::Findings);
        assert!(told.starts_with("fault: Statement"), "{told}");
        assert_eq!(checked("{", Kind::Identity).0, Exit::Findings);
    }
}
