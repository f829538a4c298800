//! Owns the command that `dev --ephemeral -- COMMAND` runs: with the variables that lead it here, and with its exit code as
//! ours.

use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::ExitStatus;

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};

use crate::identity::DevCredentials;
use crate::problem::{Exit, Problem};

/// Variables of the caller that would lead the command elsewhere.
const MISLEADING: [&str; 4] = ["AWS_SESSION_TOKEN", "AWS_SECURITY_TOKEN", "AWS_PROFILE", "AWS_DEFAULT_PROFILE"];

/// Starts the command.
/// `trusted` is the certificate of the endpoint, for commands that have no bundle of their own.
pub(super) fn start(command: &[OsString], url: &str, region: &str, trusted: Option<&Path>) -> Result<Child, Problem> {
    let (program, arguments) = command.split_first().expect("clap wants one");
    let mut child = Command::new(program);
    child.args(arguments).kill_on_drop(true);
    for name in MISLEADING {
        child.env_remove(name);
    }
    if let Some(certificate) = trusted.filter(|_| std::env::var_os("AWS_CA_BUNDLE").is_none()) {
        child.env("AWS_CA_BUNDLE", certificate);
    }
    child
        .env("AWS_ENDPOINT_URL_CLOUDHSM_V2", url)
        .env("AWS_ENDPOINT_URL_RESOURCE_GROUPS_TAGGING_API", url)
        .env("AWS_ENDPOINT_URL_STS", url)
        // boto3 and the first AWS CLI read only the second of the two.
        .envs([("AWS_REGION", region), ("AWS_DEFAULT_REGION", region)])
        .env("AWS_ACCESS_KEY_ID", DevCredentials::ACCESS_KEY_ID)
        .env("AWS_SECRET_ACCESS_KEY", DevCredentials::SECRET_ACCESS_KEY);
    child.spawn().map_err(|error| {
        Problem::new("command", format!("cannot run {}", program.to_string_lossy())).cause(error).exit(Exit::Usage)
    })
}

/// Passes a request to end on.
pub(super) fn ask_to_end(child: &Child) {
    let id = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    // One that has just ended needs no signal.
    let _ = id.map(|id| kill_process(id, Signal::TERM));
}

/// The exit code to end with: the command's, or 128 and the signal that ended it, as a shell says it.
pub(super) fn exit_code(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(Exit::Failed as u8)
}
