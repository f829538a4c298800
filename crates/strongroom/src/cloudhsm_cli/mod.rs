//! `cloudhsm-cli`, the data plane's command line in AWS's grammar: users, keys and signatures of one cluster, one command
//! at a time with `CLOUDHSM_ROLE` and `CLOUDHSM_PIN`, or `interactive`.
//!
//! Every result and every refusal is AWS's JSON envelope on standard output; what fails before a command can run, such
//! as a missing configuration, is a line `Error: "…"`. The exit status is 0 or 1, as AWS's.

mod attributes;
mod cluster;
mod completion;
mod crypto;
mod ec;
mod execute;
mod filter;
mod grammar;
mod interactive;
mod key;
mod key_file;
mod output;
mod shell;
mod user;
mod words;

#[cfg(test)]
mod fake;

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};

use self::grammar::{Cli, Mode};
use self::shell::Shell;

/// The grammar, for help and completion.
pub fn command() -> clap::Command {
    Cli::command()
}

/// Runs one command, or the interactive mode; the first argument is the program's name.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(usage) => return print_usage(&usage),
    };
    let shell = Shell::open(cli.config.as_deref(), cli.cluster.cluster_id.as_deref());
    match (shell, cli.mode) {
        (Err(error), _) => {
            print_start_error(&error);
            ExitCode::FAILURE
        }
        (Ok(shell), Mode::Interactive) => interactive::run(shell),
        (Ok(mut shell), Mode::Command(command)) => shell.run_one(command),
    }
}

fn print_usage(usage: &clap::Error) -> ExitCode {
    let _ = usage.print();
    if usage.use_stderr() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// What fails before a command can run, in the form of AWS's tool, quotes included.
fn print_start_error(error: &dyn std::error::Error) {
    let _ = writeln!(io::stderr(), "Error: {:?}", error.to_string());
}
