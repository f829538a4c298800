//! Owns a run of the program: its configuration, one session per cluster, and who is logged in. A session connects at
//! its first call, so that a line that only asks for help contacts nothing.

use std::collections::HashMap;
use std::env;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::ValueEnum as _;
use serde_json::Value;
use strongroom_client::config::{CLI_FILE, Cluster, Config, ConfigError, locate};
use strongroom_client::hsm::Hsm;
use strongroom_client::{Client, Error, Session};
use strongroom_link::Secret;

use super::execute::{CommandError, Target, execute};
use super::grammar::{Command, Login, Role};
use super::output;
use crate::terminal::Terminal;

/// A run of the program.
pub struct Shell {
    config: Config,
    folder: PathBuf,
    /// The cluster that was chosen at the start.
    cluster_id: Option<String>,
    /// By the id that the configuration gives the cluster.
    sessions: HashMap<Option<String>, Session>,
    /// The user and the cluster of the last login.
    logged_in: Option<(String, String)>,
}

impl Shell {
    /// Reads the configuration and what it refers to, and connects to nothing.
    ///
    /// # Errors
    /// [`ConfigError`]; several clusters of which none is chosen are one.
    pub fn open(config: Option<&Path>, cluster_id: Option<&str>) -> Result<Self, ConfigError> {
        let path = match config {
            Some(path) => path.to_owned(),
            None => locate(CLI_FILE, |name| env::var_os(name))?,
        };
        let config = Config::read(&path)?;
        let folder = path.parent().unwrap_or(Path::new("")).to_owned();
        let mut shell = Self {
            config,
            folder,
            cluster_id: cluster_id.map(str::to_owned),
            sessions: HashMap::new(),
            logged_in: None,
        };
        shell.session(None)?;
        Ok(shell)
    }

    /// Runs the only command of this process, with the login that the environment gives.
    pub fn run_one(&mut self, command: Command) -> ExitCode {
        let result = self.login_from_environment(&command).and_then(|()| self.execute(command, None));
        if print(result) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }

    /// Runs a command of the interactive mode, for the cluster of its own or that of the start.
    pub fn run_line(&mut self, command: Command, cluster_id: Option<&str>) {
        print(self.execute(command, cluster_id));
    }

    /// AWS's prompt, which names user and cluster where there are several.
    pub fn prompt(&self) -> String {
        match &self.logged_in {
            Some((user, cluster)) if self.config.clusters.len() > 1 => format!("{user}@{cluster} > "),
            _ => "aws-cloudhsm > ".into(),
        }
    }

    /// Asks the HSM of the chosen cluster, on the session that the commands use; `None` if it gives no answer.
    pub fn with_hsm<T>(&mut self, ask: impl FnOnce(&mut dyn Hsm) -> Result<T, Error>) -> Option<T> {
        ask(self.session(None).ok()?).ok()
    }

    fn execute(&mut self, command: Command, cluster_id: Option<&str>) -> Result<Value, CommandError> {
        let (is_login, is_logout) = (matches!(command, Command::Login(_)), matches!(command, Command::Logout));
        let cluster = self.cluster(cluster_id)?;
        let checks_key_availability = cluster.checks_key_availability();
        let cluster = cluster.cluster_id.clone().unwrap_or_default();
        let hsm = self.session(cluster_id)?;
        let result = execute(command, &mut Target { hsm, prompt: &mut Terminal, checks_key_availability });
        match &result {
            Ok(data) if is_login => {
                self.logged_in = Some((data["username"].as_str().unwrap_or_default().to_owned(), cluster));
            }
            Ok(_) if is_logout => self.logged_in = None,
            _ => {}
        }
        result
    }

    fn login_from_environment(&mut self, command: &Command) -> Result<(), CommandError> {
        if !command.needs_login() {
            return Ok(());
        }
        let login = credentials(|name| env::var(name).ok())?;
        self.execute(Command::Login(login), None).map(|_| ())
    }

    fn cluster(&self, cluster_id: Option<&str>) -> Result<&Cluster, ConfigError> {
        self.config.cluster(cluster_id.or(self.cluster_id.as_deref()))
    }

    fn session(&mut self, cluster_id: Option<&str>) -> Result<&mut Session, ConfigError> {
        let cluster = self.cluster(cluster_id)?;
        let id = cluster.cluster_id.clone();
        if !self.sessions.contains_key(&id) {
            let session = Client::open(cluster, &self.folder)?.session();
            self.sessions.insert(id.clone(), session);
        }
        Ok(self.sessions.get_mut(&id).expect("it was just put there"))
    }
}

/// The login of a single command: `CLOUDHSM_ROLE`, and `CLOUDHSM_PIN` as `user:password`.
fn credentials(variable: impl Fn(&str) -> Option<String>) -> Result<Login, CommandError> {
    let (Some(role), Some(pin)) = (variable("CLOUDHSM_ROLE"), variable("CLOUDHSM_PIN").map(String::into_bytes)) else {
        return Err(CommandError::text(
            "This command needs a login. Set CLOUDHSM_ROLE (admin or crypto-user) and CLOUDHSM_PIN (user:password), \
             or use: cloudhsm-cli interactive",
        ));
    };
    let pin = Secret::new(pin);
    let role = Role::from_str(&role, false)
        .map_err(|_| CommandError::text(format!("CLOUDHSM_ROLE is admin or crypto-user, not {role:?}.")))?;
    let colon = pin.expose().iter().position(|byte| *byte == b':');
    let colon = colon.ok_or_else(|| CommandError::text("CLOUDHSM_PIN is not of the form user:password."))?;
    let (user, password) = (&pin.expose()[..colon], &pin.expose()[colon + 1..]);
    Ok(Login {
        username: String::from_utf8_lossy(user).into_owned(),
        role,
        password: Some(Secret::new(password.to_vec())),
    })
}

/// Prints a result, and tells whether it is a success.
fn print(result: Result<Value, CommandError>) -> bool {
    let (text, succeeded) = output::envelope(result);
    // Who closed our output does not want the rest.
    let _ = writeln!(io::stdout(), "{text}");
    succeeded
}

#[cfg(test)]
mod tests {
    use super::*;

    fn login(role: Option<&'static str>, pin: Option<&'static str>) -> Result<Login, CommandError> {
        credentials(|name| if name == "CLOUDHSM_ROLE" { role } else { pin }.map(str::to_owned))
    }

    #[test]
    fn the_environment_gives_role_user_and_password() {
        let login = login(Some("crypto-user"), Some("app:pass:word")).unwrap();
        assert_eq!((login.username.as_str(), login.role), ("app", Role::CryptoUser));
        assert_eq!(login.password.unwrap().expose(), b"pass:word");
    }

    #[test]
    fn what_is_missing_is_named() {
        assert!(login(None, Some("app:word")).unwrap_err().to_string().contains("CLOUDHSM_ROLE"));
        assert!(login(Some("CO"), Some("app:word")).unwrap_err().to_string().contains("\"CO\""));
        assert!(login(Some("admin"), Some("word")).unwrap_err().to_string().contains("user:password"));
    }
}
