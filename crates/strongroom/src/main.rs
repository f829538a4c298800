//! `strongroom`: see [`strongroom::cli`].

use std::process::ExitCode;

use mimalloc::MiMalloc;

/// See ADR 5.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    strongroom::cli::run(std::env::args_os())
}
