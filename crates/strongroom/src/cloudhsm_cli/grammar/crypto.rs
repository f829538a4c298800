//! Owns the grammar of `crypto …`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

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
    pub mgf: MaskGenerationFunction,
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
pub enum MaskGenerationFunction {
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
