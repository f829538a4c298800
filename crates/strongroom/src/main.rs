//! `strongroom`: see [`strongroom::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    strongroom::cli::run(std::env::args_os())
}
