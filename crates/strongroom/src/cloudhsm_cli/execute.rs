//! Owns the way from a command to its result: each command is carried out by the module of its family, against an HSM
//! that is already connected, and gives the `data` of the envelope or the sentence in its place.

use std::io;
use std::path::Path;

use serde_json::Value;
use strongroom_client::Error;
use strongroom_client::config::ConfigError;
use strongroom_client::hsm::Hsm;
use strongroom_link::pkcs11::CKR_SIGNATURE_INVALID;

use super::grammar::{ClusterCommand, Command};
use super::{cluster, crypto, key, user};
use crate::terminal::Prompt;

/// AWS's sentence where a key must be on two HSMs and is not.
const UNAVAILABLE: &str = "Cannot perform the requested key operation as the key must be available on at least 2 HSMs. \
                           Either increase the number of HSMs in the cluster, or disable the key availability check.";

/// Why a command gives no result.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// The HSM refused, or none could be asked.
    #[error("{}", hsm_text(.0))]
    Hsm(#[from] Error),
    /// The cluster that was chosen is not configured, or not well.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// What was asked for makes no sense, or a file or a prompt failed.
    #[error("{0}")]
    Text(String),
}

impl CommandError {
    /// An error that is its sentence.
    pub fn text(sentence: impl Into<String>) -> Self {
        Self::Text(sentence.into())
    }

    /// A file that could not be read or written.
    pub fn file(path: &Path, error: &io::Error) -> Self {
        Self::Text(format!("{}: {error}", path.display()))
    }
}

impl From<io::Error> for CommandError {
    fn from(error: io::Error) -> Self {
        Self::Text(error.to_string())
    }
}

fn hsm_text(error: &Error) -> String {
    match error {
        Error::Refused { ckr: CKR_SIGNATURE_INVALID, .. } => "Signature verification failed".into(),
        other => other.to_string(),
    }
}

/// What a command runs against.
pub struct Target<'a> {
    /// The session with the cluster.
    pub hsm: &'a mut dyn Hsm,
    /// Who answers for a password that the command line lacks.
    pub prompt: &'a mut dyn Prompt,
    /// Whether keys must be on two HSMs.
    pub checks_key_availability: bool,
}

/// Carries a command out, and gives its `data`.
///
/// # Errors
/// [`CommandError`], whose text is the `data` of a failure.
pub fn execute(command: Command, target: &mut Target<'_>) -> Result<Value, CommandError> {
    let Target { hsm, prompt, checks_key_availability } = target;
    if *checks_key_availability && matches!(command, Command::Key(_) | Command::Crypto(_)) {
        check_key_availability(*hsm)?;
    }
    match command {
        Command::Cluster(ClusterCommand::Activate(activate)) => cluster::activate(activate, *hsm, *prompt),
        Command::Cluster(ClusterCommand::HsmInfo) => cluster::hsm_info(*hsm),
        Command::Login(login) => user::login(login, *hsm, *prompt),
        Command::Logout => user::logout(*hsm),
        Command::User(command) => user::execute(command, *hsm, *prompt),
        Command::Key(command) => key::execute(command, *hsm),
        Command::Crypto(command) => crypto::execute(command, *hsm),
    }
}

fn check_key_availability(hsm: &mut dyn Hsm) -> Result<(), CommandError> {
    if hsm.info()?.hsms.len() < 2 { Err(CommandError::text(UNAVAILABLE)) } else { Ok(()) }
}
