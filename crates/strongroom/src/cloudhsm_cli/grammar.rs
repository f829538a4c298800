//! Owns the grammar: AWS's commands, flags and texts, as far as what they ask for exists here. One type per command,
//! which the code that carries it out takes as it is. Parsing contacts nothing.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use strongroom_client::link::{Secret, hsm};

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

#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// Delete a key in the HSM cluster
    Delete(OneKey),
    /// Generate an asymmetric key pair
    #[command(subcommand)]
    GenerateAsymmetricPair(PairCommand),
    /// Write the public key of a key in the HSM cluster to a file
    GenerateFile(GenerateFile),
    /// Generate a symmetric key
    #[command(subcommand)]
    GenerateSymmetric(SymmetricCommand),
    /// Import a key
    #[command(subcommand)]
    Import(ImportCommand),
    /// List the keys the current user owns, shares, and all public keys in the HSM cluster
    List(ListKeys),
    /// Set an attribute for a key in the HSM cluster
    SetAttribute(SetAttribute),
}

#[derive(Debug, Args)]
pub struct OneKey {
    /// Key reference (e.g. key-reference=0xabc) or space separated list of key attributes in the form of
    /// attr.KEY_ATTRIBUTE_NAME=KEY_ATTRIBUTE_VALUE to select a matching key
    #[arg(long, required = true, num_args = 0..)]
    pub filter: Vec<String>,
}

#[derive(Debug, Args)]
pub struct ListKeys {
    /// Key reference (e.g. key-reference=0xabc) or space separated list of key attributes in the form of
    /// attr.KEY_ATTRIBUTE_NAME=KEY_ATTRIBUTE_VALUE to select matching key(s) to list
    #[arg(long, num_args = 0..)]
    pub filter: Vec<String>,
    /// The total number of items to return in the command's output. If more are available, a next_token is provided
    #[arg(long, default_value_t = 10)]
    pub max_items: u32,
    /// A token to specify where to start paginating. This is the next-token from a previously truncated response
    #[arg(long)]
    pub starting_token: Option<String>,
    /// If included, prints all attributes and key information for each matched key. By default each matched key only
    /// displays its key-reference and label attribute
    #[arg(long, short)]
    pub verbose: bool,
}

#[derive(Debug, Args)]
pub struct GenerateFile {
    /// Encoding format for the key file
    #[arg(long)]
    pub encoding: Encoding,
    /// Filepath where the key file will be written
    #[arg(long)]
    pub path: PathBuf,
    #[command(flatten)]
    pub key: OneKey,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Encoding {
    /// PEM encoding format (public keys)
    Pem,
}

#[derive(Debug, Subcommand)]
pub enum PairCommand {
    /// Generate an Elliptic-Curve Cryptography (ECC) key pair
    Ec(EcPair),
    /// Generate an RSA key pair
    Rsa(RsaPair),
}

#[derive(Debug, Args)]
pub struct EcPair {
    #[command(flatten)]
    pub pair: Pair,
    /// Elliptic curve used to generate the key pair
    #[arg(long)]
    pub curve: Curve,
}

#[derive(Debug, Args)]
pub struct RsaPair {
    #[command(flatten)]
    pub pair: Pair,
    /// Modulus size in bits used to generate the RSA key pair
    #[arg(long)]
    pub modulus_size_bits: u32,
    /// Public exponent used to generate the RSA key pair
    #[arg(long)]
    pub public_exponent: u64,
}

/// What the commands for pairs have in common.
#[derive(Debug, Args)]
pub struct Pair {
    /// Label for the public key
    #[arg(long)]
    pub public_label: String,
    /// Label for the private key
    #[arg(long)]
    pub private_label: String,
    /// Creates a session key pair that exists only in the current session. The key cannot be recovered after the session
    /// ends
    #[arg(long)]
    pub session: bool,
    /// Space separated list of key attributes to set for the generated public key in the form of
    /// KEY_ATTRIBUTE_NAME=KEY_ATTRIBUTE_VALUE
    #[arg(long, num_args = 0.., value_name = "PUBLIC_KEY_ATTRIBUTES")]
    pub public_attributes: Vec<String>,
    /// Space separated list of key attributes to set for the generated private key in the form of
    /// KEY_ATTRIBUTE_NAME=KEY_ATTRIBUTE_VALUE
    #[arg(long, num_args = 0.., value_name = "PRIVATE_KEY_ATTRIBUTES")]
    pub private_attributes: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Curve {
    Prime256v1,
    Secp256r1,
    Secp224r1,
    Secp384r1,
    Secp256k1,
    Secp521r1,
}

#[derive(Debug, Subcommand)]
pub enum SymmetricCommand {
    /// Generate an AES key
    Aes(Symmetric),
    /// Generate a generic secret key
    GenericSecret(Symmetric),
}

#[derive(Debug, Args)]
pub struct Symmetric {
    /// Label for the key
    #[arg(long)]
    pub label: String,
    /// Key length in bytes
    #[arg(long)]
    pub key_length_bytes: u32,
    /// Creates a session key that exists only in the current session. The key cannot be recovered after the session ends
    #[arg(long)]
    pub session: bool,
    /// Space separated list of key attributes to set for the generated key in the form of
    /// KEY_ATTRIBUTE_NAME=KEY_ATTRIBUTE_VALUE
    #[arg(long, num_args = 0.., value_name = "KEY_ATTRIBUTES")]
    pub attributes: Vec<String>,
}

#[derive(Debug, Subcommand)]
pub enum ImportCommand {
    /// Import key from a PEM file
    Pem(ImportPem),
}

#[derive(Debug, Args)]
pub struct ImportPem {
    /// Path of the key file to import
    #[arg(long)]
    pub path: PathBuf,
    /// Label for the imported key
    #[arg(long)]
    pub label: String,
    /// Key type and class of the imported key
    #[arg(long)]
    pub key_type_class: KeyTypeClass,
    /// Space separated list of key attributes to set for the imported key in the form of
    /// KEY_ATTRIBUTE_NAME=KEY_ATTRIBUTE_VALUE
    #[arg(long, num_args = 0.., value_name = "IMPORT_KEY_ATTRIBUTES")]
    pub attributes: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum KeyTypeClass {
    EcPublic,
    RsaPublic,
}

#[derive(Debug, Args)]
pub struct SetAttribute {
    #[command(flatten)]
    pub key: OneKey,
    /// Name of attribute to be set
    #[arg(long, value_name = "KEY_ATTRIBUTE")]
    pub name: String,
    /// Attribute value to be set
    #[arg(long, required = true, num_args = 1..)]
    pub value: Vec<String>,
}

#[derive(Debug, Subcommand)]
pub enum CryptoCommand {
    /// Sign with a key in the HSM cluster
    #[command(subcommand)]
    Sign(SignCommand),
    /// Verify with a key in the HSM cluster
    #[command(subcommand)]
    Verify(VerifyCommand),
}

#[derive(Debug, Subcommand)]
pub enum SignCommand {
    /// Sign with the ECDSA mechanism
    Ecdsa(EcdsaSign),
    /// Sign with the RSA-PKCS mechanism
    RsaPkcs(Sign),
    /// Sign with the RSA-PKCS-PSS mechanism
    RsaPkcsPss(PssSign),
}

#[derive(Debug, Subcommand)]
pub enum VerifyCommand {
    /// Verify with the ECDSA mechanism
    Ecdsa(EcdsaVerify),
    /// Verify with the RSA-PKCS mechanism
    RsaPkcs(Verify),
    /// Verify with the RSA-PKCS-PSS mechanism
    RsaPkcsPss(PssVerify),
}

/// What all that sign have in common.
#[derive(Debug, Args)]
pub struct Sign {
    #[command(flatten)]
    pub key: CryptoKey,
    /// Hash function
    #[arg(long)]
    pub hash_function: HashFunction,
    #[command(flatten)]
    pub data: Data,
}

#[derive(Debug, Args)]
pub struct EcdsaSign {
    #[command(flatten)]
    pub sign: Sign,
    /// Format of the signature: raw as AWS's, der for OpenSSL
    #[arg(long, default_value = "raw")]
    pub signature_format: SignatureFormat,
}

#[derive(Debug, Args)]
pub struct PssSign {
    #[command(flatten)]
    pub sign: Sign,
    #[command(flatten)]
    pub pss: Pss,
}

/// What all that verify have in common.
#[derive(Debug, Args)]
pub struct Verify {
    #[command(flatten)]
    pub sign: Sign,
    #[command(flatten)]
    pub signature: Signature,
}

#[derive(Debug, Args)]
pub struct EcdsaVerify {
    #[command(flatten)]
    pub verify: Verify,
    /// Format of the signature: raw as AWS's, der as OpenSSL's
    #[arg(long, default_value = "raw")]
    pub signature_format: SignatureFormat,
}

#[derive(Debug, Args)]
pub struct PssVerify {
    #[command(flatten)]
    pub verify: Verify,
    #[command(flatten)]
    pub pss: Pss,
}

#[derive(Debug, Args)]
pub struct CryptoKey {
    /// Key reference (e.g. key-reference=0xabc) or space separated list of key attributes in the form of
    /// attr.KEY_ATTRIBUTE_NAME=KEY_ATTRIBUTE_VALUE to select a matching key
    #[arg(long, required = true, num_args = 0..)]
    pub key_filter: Vec<String>,
}

#[derive(Debug, Args)]
pub struct Data {
    #[command(flatten)]
    pub source: DataSource,
    /// The type of data passed in
    #[arg(long, default_value = "raw")]
    pub data_type: DataType,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub struct DataSource {
    /// The path to the file containing the data
    #[arg(long)]
    pub data_path: Option<PathBuf>,
    /// Base64 encoded data
    #[arg(long)]
    pub data: Option<String>,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub struct Signature {
    /// The path to the file containing the signature
    #[arg(long)]
    pub signature_path: Option<PathBuf>,
    /// Base64 encoded signature to be verified
    #[arg(long)]
    pub signature: Option<String>,
}

#[derive(Debug, Args)]
pub struct Pss {
    /// The mask generation function
    #[arg(long)]
    pub mgf: Mgf,
    /// The salt length
    #[arg(long)]
    pub salt_length: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum HashFunction {
    Sha1,
    Sha224,
    Sha256,
    Sha384,
    Sha512,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Mgf {
    Mgf1Sha1,
    Mgf1Sha224,
    Mgf1Sha256,
    Mgf1Sha384,
    Mgf1Sha512,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DataType {
    /// The data, hashed in the HSM
    Raw,
    /// The digest of the data; for rsa-pkcs within its DigestInfo
    Digest,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SignatureFormat {
    /// r and s, each as long as the curve's order
    Raw,
    /// A DER sequence of r and s
    Der,
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
