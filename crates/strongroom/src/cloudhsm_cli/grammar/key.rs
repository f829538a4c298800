//! Owns the grammar of `key …`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

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
    Secp384r1,
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
