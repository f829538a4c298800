//! Owns the grammar: AWS's commands, flags and texts, as far as what they ask for exists here. One type per command,
//! which the code that carries it out takes as it is. Parsing contacts nothing.

mod crypto;
mod key;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use strongroom_link::{Secret, hsm};

pub use self::crypto::*;
pub use self::key::*;

/// `cloudhsm-cli …`
#[derive(Debug, Parser)]
#[command(name = "cloudhsm-cli", version, about = "Users, keys and signatures of a cluster")]
pub struct Cli {
    #[command(flatten)]
    pub cluster: ClusterChoice,
    /// The configuration file, instead of cloudhsm-cli.cfg in $STRONGROOM_CLIENT, ~/.config/strongroom/client or
    /// /etc/strongroom/client
    #[arg(long, global = true, display_order = 900)]
    pub config: Option<PathBuf>,
    #[command(subcommand)]
    pub mode: Mode,
}

/// The option that every command takes.
#[derive(Debug, Args)]
pub struct ClusterChoice {
    /// Unique Id to choose which of the clusters in the config file to run the operation against. If not provided, will
    /// fall back to the value provided when interactive mode was started, or error
    #[arg(long, global = true, display_order = 0)]
    pub cluster_id: Option<String>,
}

#[derive(Debug, Subcommand)]
pub enum Mode {
    /// Enter commands one after the other, at a prompt or from standard input
    Interactive,
    #[command(flatten)]
    Command(Command),
}

/// A line of the interactive mode.
#[derive(Debug, Parser)]
#[command(name = "", no_binary_name = true, about = "Users, keys and signatures of a cluster")]
pub struct Line {
    #[command(flatten)]
    pub cluster: ClusterChoice,
    #[command(subcommand)]
    pub command: LineCommand,
}

#[derive(Debug, Subcommand)]
pub enum LineCommand {
    #[command(flatten)]
    Command(Command),
    /// Leave
    Quit,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Commands for the cluster as a whole
    #[command(subcommand)]
    Cluster(ClusterCommand),
    /// Commands to sign and verify
    #[command(subcommand)]
    Crypto(CryptoCommand),
    /// Commands for keys
    #[command(subcommand)]
    Key(KeyCommand),
    /// Login to your cluster
    Login(Login),
    /// Logout of your cluster
    Logout,
    /// Commands for users
    #[command(subcommand)]
    User(UserCommand),
}

impl Command {
    /// Whether a single command logs in with `CLOUDHSM_ROLE` and `CLOUDHSM_PIN` first.
    pub fn needs_login(&self) -> bool {
        !matches!(self, Self::Cluster(_) | Self::Login(_) | Self::User(UserCommand::List))
    }
}

#[derive(Debug, Subcommand)]
pub enum ClusterCommand {
    /// Activate a cluster
    Activate(Activate),
    /// List info about each HSM in the cluster
    HsmInfo,
}

#[derive(Debug, Args)]
pub struct Activate {
    /// Optional: Plaintext password of the first admin. If you do not include this argument you will be prompted for it
    #[arg(long, value_parser = secret)]
    pub password: Option<Secret>,
}

#[derive(Debug, Args)]
pub struct Login {
    /// Username to login with
    #[arg(long)]
    pub username: String,
    /// Role the user has in the cluster
    #[arg(long)]
    pub role: Role,
    /// Optional: Plaintext user's password. If you do not include this argument you will be prompted for it
    #[arg(long, value_parser = secret)]
    pub password: Option<Secret>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Role {
    /// A CryptoUser has the ability to manage and use keys
    CryptoUser,
    /// An Admin has the ability to manage user accounts
    Admin,
}

impl From<Role> for hsm::Role {
    fn from(role: Role) -> Self {
        match role {
            Role::CryptoUser => Self::CryptoUser,
            Role::Admin => Self::Admin,
        }
    }
}

#[derive(Debug, Subcommand)]
pub enum UserCommand {
    /// Change a user's password
    ChangePassword(UserAndPassword),
    /// Create a new user
    Create(UserAndPassword),
    /// Delete a user
    Delete(User),
    /// List the users in your cluster
    List,
}

#[derive(Debug, Args)]
pub struct User {
    /// Username to access the HSM cluster
    #[arg(long)]
    pub username: String,
    /// Role the user has in the cluster
    #[arg(long)]
    pub role: Role,
}

#[derive(Debug, Args)]
pub struct UserAndPassword {
    #[command(flatten)]
    pub user: User,
    /// Optional: Plaintext user's password. If you do not include this argument you will be prompted for it
    #[arg(long, value_parser = secret)]
    pub password: Option<Secret>,
}

fn secret(text: &str) -> Result<Secret, std::convert::Infallible> {
    Ok(Secret::new(text.as_bytes().to_vec()))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    fn line(words: &[&str]) -> Result<Line, clap::Error> {
        Line::try_parse_from(words)
    }

    fn command(words: &[&str]) -> Command {
        match line(words).unwrap().command {
            LineCommand::Command(command) => command,
            LineCommand::Quit => panic!("{words:?} leaves"),
        }
    }

    fn help(words: &[&str]) -> String {
        line(words).unwrap_err().to_string()
    }

    #[test]
    fn the_grammar_is_consistent() {
        Cli::command().debug_assert();
        Line::command().debug_assert();
    }

    #[test]
    fn a_filter_may_be_given_at_once_or_in_parts() {
        for words in [
            &["key", "list", "--filter", "attr.label=a b", "attr.class=private-key", "--max-items", "3"][..],
            &["key", "list", "--filter", "attr.label=a b", "--max-items", "3", "--filter", "attr.class=private-key"],
        ] {
            let Command::Key(KeyCommand::List(list)) = command(words) else { panic!() };
            assert_eq!(list.filter, ["attr.label=a b", "attr.class=private-key"]);
            assert_eq!((list.max_items, list.verbose), (3, false));
        }
    }

    #[test]
    fn a_password_is_not_shown() {
        let words = ["login", "--username", "app", "--role", "crypto-user", "--password", "swordfish"];
        let shown = format!("{:?}", command(&words));
        assert!(shown.contains("app") && !shown.contains("swordfish"), "{shown}");
    }

    #[test]
    fn exactly_one_source_of_data_is_taken() {
        let sign = ["crypto", "sign", "rsa-pkcs", "--key-filter", "attr.label=demo", "--hash-function", "sha256"];
        let with = |more: &[&str]| line(&[&sign, more].concat());
        assert!(with(&["--data", "aGVsbG8="]).is_ok());
        assert!(with(&[]).is_err());
        assert!(with(&["--data", "aGVsbG8=", "--data-path", "f"]).is_err());
    }

    #[test]
    fn a_verification_takes_its_data_and_its_signature() {
        let words = "crypto verify ecdsa --key-filter attr.label=d --hash-function sha256 --data aA== --signature aA==";
        let words: Vec<_> = words.split(' ').collect();
        let Command::Crypto(CryptoCommand::Verify(VerifyCommand::Ecdsa(verify))) = command(&words) else { panic!() };
        assert_eq!(verify.signature_format, SignatureFormat::Raw);
        assert_eq!(verify.verify.sign.data.data_type, DataType::Raw);
    }

    #[test]
    fn what_is_not_there_is_not_taken() {
        assert!(line(&["key", "wrap"]).is_err());
        let generate = ["key", "generate-file", "--encoding", "reference-pem", "--path", "p", "--filter", "a"];
        assert!(line(&generate).unwrap_err().to_string().contains("pem"));
    }

    #[test]
    fn help_reads_as_aws_writes_it() {
        let text = help(&["help", "key", "list"]);
        let (about, rest) = text.split_once("\n\n").unwrap();
        assert_eq!(about, "List the keys the current user owns, shares, and all public keys in the HSM cluster");
        let (usage, options) = rest.split_once("\n\n").unwrap();
        assert_eq!(usage, "Usage: key list [OPTIONS]");
        let flags: Vec<_> = options.lines().map(str::trim).filter(|line| line.starts_with('-')).collect();
        assert_eq!(
            flags.iter().map(|flag| flag.split("  ").next().unwrap()).collect::<Vec<_>>(),
            [
                "--cluster-id <CLUSTER_ID>",
                "--filter [<FILTER>...]",
                "--max-items <MAX_ITEMS>",
                "--starting-token <STARTING_TOKEN>",
                "-v, --verbose",
                "-h, --help"
            ]
        );
    }
}
