//! Holds the workspace to its own rules: `cargo xtask map` (who imports what), `drift` (the parts of each operation agree),
//! `plant` (a fault that is planted turns its test red). Each prints what it checked and, with exit code 1, what it found.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a tool of the command line")]

mod calls;
mod drift;
mod map;
mod model_json;
mod plant;
mod source;

use std::process::ExitCode;

const USAGE: &str = "cargo xtask map | drift | plant [--list | all | NAME...]";

/// What stops a command: a sentence per finding.
type Findings = Vec<String>;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["map"] => map::run(),
        ["drift"] => drift::run(),
        ["plant", names @ ..] => plant::run(names),
        _ => {
            eprintln!("usage: {USAGE}");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(findings) => {
            for finding in &findings {
                eprintln!("error: {finding}");
            }
            ExitCode::FAILURE
        }
    }
}
