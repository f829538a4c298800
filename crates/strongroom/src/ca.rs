//! `strongroom ca`: a customer CA without OpenSSL. `create` makes `customerCA.key` and `customerCA.crt`; `sign` makes from
//! a cluster's CSR the certificate that InitializeCluster takes, an X.509 v1 leaf as AWS's documented OpenSSL commands
//! make it.
//!
//! A file that is there is never overwritten: losing a customer CA means that nobody trusts its clusters any more.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use clap::{Args, Subcommand, ValueEnum};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
    PKCS_ECDSA_P384_SHA384, PKCS_RSA_SHA256, PublicKeyData as _, RsaKeySize, SigningKey as _,
};
use strongroom_client::certificate::verify_signature;
use x509_cert::Certificate;
use x509_cert::der::asn1::{Any, BitString, ObjectIdentifier, Uint};
use x509_cert::der::pem::LineEnding;
use x509_cert::der::{self, Decode as _, DecodePem as _, Encode, EncodePem as _, Header, Tag};
use x509_cert::request::CertReq;
use x509_cert::spki::AlgorithmIdentifierOwned;
use x509_cert::time::Time;
use zeroize::Zeroizing;

use crate::files::write_whole;
use crate::problem::Problem;
use crate::seams::random;

/// The file of the CA's private key.
pub const KEY_FILE: &str = "customerCA.key";
/// The file of the CA's certificate.
pub const CERTIFICATE_FILE: &str = "customerCA.crt";

/// Ten years, as in AWS's guide.
const VALIDITY: Duration = Duration::from_secs(3652 * 24 * 60 * 60);

const SHA256_WITH_RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.11");
const ECDSA_WITH_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2");
const ECDSA_WITH_SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.3");

/// `strongroom ca …`
#[derive(Debug, Subcommand)]
pub enum CaCommand {
    /// Make a customer CA: customerCA.key and customerCA.crt
    Create(Create),
    /// Sign a cluster's CSR with a customer CA
    Sign(Sign),
}

/// `strongroom ca create`
#[derive(Debug, Args)]
pub struct Create {
    /// The folder to write to
    #[arg(long, value_name = "DIR", default_value = ".")]
    to: PathBuf,
    /// Bits of the RSA key
    #[arg(long, default_value = "2048")]
    bits: Bits,
}

/// Bits of an RSA key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Bits {
    /// 2048
    #[value(name = "2048")]
    Rsa2048,
    /// 3072
    #[value(name = "3072")]
    Rsa3072,
    /// 4096
    #[value(name = "4096")]
    Rsa4096,
}

/// `strongroom ca sign`
#[derive(Debug, Args)]
pub struct Sign {
    /// The CSR of a cluster, PEM
    #[arg(long, value_name = "FILE")]
    csr: PathBuf,
    /// The certificate of the customer CA, PEM
    #[arg(long, value_name = "FILE", default_value = CERTIFICATE_FILE)]
    ca_cert: PathBuf,
    /// The private key of the customer CA, PEM, not encrypted
    #[arg(long, value_name = "FILE", default_value = KEY_FILE)]
    ca_key: PathBuf,
    /// The certificate to write; else named after the CSR, as in AWS's guide: ID_CustomerHsmCertificate.crt
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Runs `strongroom ca …` at a time, and says on `out` what was written.
///
/// # Errors
/// [`Problem`]; nothing is left half done.
pub fn run(command: CaCommand, now: SystemTime, out: &mut dyn Write) -> Result<(), Problem> {
    let said = match command {
        CaCommand::Create(Create { to, bits }) => {
            let ca = CustomerCa::create(bits, now)?;
            ca.write(&to)?;
            let [key, certificate] = [KEY_FILE, CERTIFICATE_FILE].map(|file| to.join(file).display().to_string());
            writeln!(out, "Wrote {key} and {certificate}: {}. Keep {KEY_FILE} to yourself.", ca.summary())
        }
        CaCommand::Sign(Sign { csr, ca_cert, ca_key, out: file }) => {
            let ca = CustomerCa::read(&ca_cert, &ca_key)?;
            let certificate = ca.sign(&read(&csr)?, now)?;
            let file = file.unwrap_or_else(|| certificate_file(&csr));
            write_new(&file, certificate.as_bytes(), 0o644)?;
            writeln!(out, "Wrote {}: signed by {}", file.display(), ca_cert.display())
        }
    };
    said.map_err(|error| Problem::new("output", "cannot write to standard output").cause(error))
}

/// A customer CA with its private key.
pub struct CustomerCa {
    key: KeyPair,
    certificate: Certificate,
}

impl CustomerCa {
    /// Makes one, valid from now for ten years.
    ///
    /// # Errors
    /// [`Problem`] where the key cannot be made.
    pub fn create(bits: Bits, now: SystemTime) -> Result<Self, Problem> {
        let size = match bits {
            Bits::Rsa2048 => RsaKeySize::_2048,
            Bits::Rsa3072 => RsaKeySize::_3072,
            Bits::Rsa4096 => RsaKeySize::_4096,
        };
        let failed = |error: rcgen::Error| Problem::new("ca", "cannot make a customer CA").cause(error);
        let key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, size).map_err(failed)?;
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::OrganizationName, "strongroom");
        params.distinguished_name.push(DnType::CommonName, "customer CA");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.not_before = now.into();
        params.not_after = (now + VALIDITY).into();
        let pem = params.self_signed(&key).map_err(failed)?.pem();
        let certificate = Certificate::from_pem(pem).expect("a certificate that was just made can be read");
        Ok(Self { key, certificate })
    }

    /// Writes [`KEY_FILE`] (0600) and [`CERTIFICATE_FILE`] to a folder.
    ///
    /// # Errors
    /// [`Problem`]; also where one of them is there already.
    pub fn write(&self, folder: &Path) -> Result<(), Problem> {
        let [key, certificate] = [KEY_FILE, CERTIFICATE_FILE].map(|file| folder.join(file));
        if let Some(taken) = [&key, &certificate].into_iter().find(|path| path.exists()) {
            return Err(file_is_there(taken));
        }
        write_new(&key, Zeroizing::new(self.key.serialize_pem()).as_bytes(), 0o600)?;
        write_new(&certificate, self.certificate_pem().as_bytes(), 0o644)
    }

    /// Reads one from its two files.
    ///
    /// # Errors
    /// [`Problem`]; also where the key is not the certificate's.
    pub fn read(certificate: &Path, key: &Path) -> Result<Self, Problem> {
        let pem = Zeroizing::new(read(key)?);
        let help = "openssl pkey -in customerCA.key -out plain.key writes one without a passphrase";
        let ca = Self {
            certificate: Certificate::from_pem(read(certificate)?).map_err(|error| {
                Problem::new("ca-certificate", format!("{} holds no certificate", certificate.display())).cause(error)
            })?,
            key: KeyPair::from_pem(&pem).map_err(|error| {
                Problem::new("ca-key", format!("{} holds no private key that can be used", key.display()))
                    .cause(error)
                    .help(help)
            })?,
        };
        let certified = ca.certificate.tbs_certificate().subject_public_key_info().to_der();
        if certified.is_ok_and(|spki| spki == ca.key.subject_public_key_info()) {
            Ok(ca)
        } else {
            let what = format!("{} is not the key of {}", key.display(), certificate.display());
            Err(Problem::new("ca-mismatch", what).help("give the two files that belong together: --ca-cert, --ca-key"))
        }
    }

    /// The certificate, PEM.
    pub fn certificate_pem(&self) -> String {
        self.certificate.to_pem(LineEnding::LF).expect("a certificate that was read can be written")
    }

    /// In a line: `RSA 2048, until 2036-11-23`.
    pub fn summary(&self) -> String {
        let key = self.certificate.tbs_certificate().subject_public_key_info().subject_public_key.raw_bytes();
        let integers = Vec::<Uint>::from_der(key).unwrap_or_default();
        let kind = match integers.first() {
            Some(modulus) => format!("RSA {}", modulus.as_bytes().len() * 8),
            None => "EC".into(),
        };
        let until = self.certificate.tbs_certificate().validity().not_after.to_date_time();
        format!("{kind}, until {:04}-{:02}-{:02}", until.year(), until.month(), until.day())
    }

    /// Signs a CSR (PEM): a certificate (PEM) with its subject and key, valid from now for ten years.
    ///
    /// # Errors
    /// [`Problem`] where the CSR is none, or was not signed with the key in it.
    pub fn sign(&self, csr: &str, now: SystemTime) -> Result<String, Problem> {
        let csr = CertReq::from_pem(csr)
            .map_err(|error| Problem::new("csr", "the file holds no certificate signing request").cause(error))?;
        let failed = |error: der::Error| Problem::new("csr", "the CSR cannot be signed").cause(error);
        let signed = csr.info.to_der().map_err(failed)?;
        verify_signature(&csr.algorithm, &csr.info.public_key, &signed, csr.signature.raw_bytes())
            .map_err(|_| Problem::new("csr", "the CSR is not signed with the key that it holds"))?;
        let algorithm = self.signature_algorithm()?;
        let tbs = self.to_be_signed(&csr, &algorithm, now).map_err(failed)?;
        let signature = self.key.sign(&tbs).map_err(|error| Problem::new("ca-key", "cannot sign").cause(error))?;
        leaf(&tbs, &algorithm, &signature).and_then(|leaf| leaf.to_pem(LineEnding::LF)).map_err(failed)
    }

    /// A TBSCertificate of version 1: no version, no extensions.
    fn to_be_signed(
        &self,
        csr: &CertReq,
        algorithm: &AlgorithmIdentifierOwned,
        now: SystemTime,
    ) -> der::Result<Vec<u8>> {
        let mut serial = random::<20>();
        // Positive, and of the full length.
        serial[0] = serial[0] & 0x7f | 0x40;
        let serial = [&[0x02, 20][..], &serial].concat();
        let validity = sequence(&[Time::try_from(now)?.to_der()?, Time::try_from(now + VALIDITY)?.to_der()?])?;
        sequence(&[
            serial,
            algorithm.to_der()?,
            self.certificate.tbs_certificate().subject().to_der()?,
            validity,
            csr.info.subject.to_der()?,
            csr.info.public_key.to_der()?,
        ])
    }

    fn signature_algorithm(&self) -> Result<AlgorithmIdentifierOwned, Problem> {
        let algorithm = self.key.algorithm();
        Ok(if algorithm == &PKCS_RSA_SHA256 {
            AlgorithmIdentifierOwned { oid: SHA256_WITH_RSA, parameters: Some(Any::null()) }
        } else if algorithm == &PKCS_ECDSA_P256_SHA256 {
            AlgorithmIdentifierOwned { oid: ECDSA_WITH_SHA256, parameters: None }
        } else if algorithm == &PKCS_ECDSA_P384_SHA384 {
            AlgorithmIdentifierOwned { oid: ECDSA_WITH_SHA384, parameters: None }
        } else {
            return Err(Problem::new("ca-key", "a customer CA has an RSA, P-256 or P-384 key"));
        })
    }
}

fn leaf(tbs: &[u8], algorithm: &AlgorithmIdentifierOwned, signature: &[u8]) -> der::Result<Certificate> {
    let signature = BitString::from_bytes(signature)?;
    Certificate::from_der(&sequence(&[tbs.to_vec(), algorithm.to_der()?, signature.to_der()?])?)
}

fn sequence(parts: &[Vec<u8>]) -> der::Result<Vec<u8>> {
    let body = parts.concat();
    let header = Header::new(Tag::Sequence, body.len().try_into()?).to_der()?;
    Ok([header, body].concat())
}

/// `ID_ClusterCsr.csr` becomes `ID_CustomerHsmCertificate.crt`; any other name keeps its stem.
fn certificate_file(csr: &Path) -> PathBuf {
    let name = csr.file_name().unwrap_or_default().to_string_lossy();
    match name.strip_suffix("_ClusterCsr.csr") {
        Some(cluster) => csr.with_file_name(format!("{cluster}_CustomerHsmCertificate.crt")),
        None => csr.with_extension("crt"),
    }
}

fn read(path: &Path) -> Result<String, Problem> {
    fs::read_to_string(path)
        .map_err(|error| Problem::new("file", format!("cannot read {}", path.display())).cause(error))
}

fn write_new(path: &Path, bytes: &[u8], mode: u32) -> Result<(), Problem> {
    if path.exists() {
        return Err(file_is_there(path));
    }
    let failed = |error: io::Error| Problem::new("file", format!("cannot write {}", path.display())).cause(error);
    fs::create_dir_all(path.parent().unwrap_or(Path::new(""))).map_err(failed)?;
    write_whole(path, bytes, mode).map_err(failed)
}

fn file_is_there(path: &Path) -> Problem {
    Problem::new("file-exists", format!("{} is there already", path.display()))
        .cause("it is not overwritten, since clusters may depend on it")
        .help("choose another folder or file, or move it away")
}

#[cfg(test)]
mod tests {
    use strongroom_client::certificate::{TrustAnchor, Untrusted};

    use super::*;

    /// 2026-11-24.
    const NOW: Duration = Duration::from_secs(1_795_478_400);

    fn now() -> SystemTime {
        SystemTime::UNIX_EPOCH + NOW
    }

    fn csr(key: &KeyPair) -> String {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "HSM:hsm-nx7kj5ucqzy:PARTN:1, for FIPS mode");
        params.serialize_request(key).unwrap().pem().unwrap()
    }

    fn der(pem: &str) -> Vec<u8> {
        Certificate::from_pem(pem).unwrap().to_der().unwrap()
    }

    #[test]
    fn a_signed_csr_is_trusted_by_clients_of_the_ca() {
        let key = KeyPair::generate_for(&PKCS_RSA_SHA256).unwrap();
        let ca = CustomerCa::create(Bits::Rsa2048, now()).unwrap();
        assert_eq!(ca.summary(), "RSA 2048, until 2036-11-23");
        let leaf = der(&ca.sign(&csr(&key), now()).unwrap());
        let anchor = TrustAnchor::from_pem(ca.certificate_pem().as_bytes()).unwrap();
        anchor.check(&leaf, None, NOW + Duration::from_secs(60)).unwrap();
        let late = anchor.check(&leaf, None, NOW + VALIDITY + Duration::from_secs(1));
        assert!(matches!(late, Err(Untrusted::Expired(_))));
        let leaf = Certificate::from_der(&leaf).unwrap();
        assert_eq!(leaf.tbs_certificate().version(), x509_cert::Version::V1);
        assert!(leaf.tbs_certificate().subject().to_string().contains("HSM:hsm-nx7kj5ucqzy"));
    }

    #[test]
    fn a_csr_of_somebody_elses_key_is_refused() {
        let [one, two] = [KeyPair::generate().unwrap(), KeyPair::generate().unwrap()];
        let mut csr = CertReq::from_pem(csr(&one)).unwrap();
        csr.info.public_key = CertReq::from_pem(self::csr(&two)).unwrap().info.public_key;
        let ca = CustomerCa::create(Bits::Rsa2048, now()).unwrap();
        let problem = ca.sign(&csr.to_pem(LineEnding::LF).unwrap(), now()).unwrap_err();
        assert!(problem.to_string().contains("not signed with the key"), "{problem}");
    }

    #[test]
    fn files_are_private_and_never_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let to = folder.path().join("ca");
        let create = || CaCommand::Create(Create { to: to.clone(), bits: Bits::Rsa2048 });
        let mut out = Vec::new();
        run(create(), now(), &mut out).unwrap();
        assert!(String::from_utf8(out).unwrap().contains("customerCA.crt: RSA 2048, until 2036-11-23"));
        assert!(!crate::files::is_readable_by_others(&to.join(KEY_FILE)).unwrap());
        let again = run(create(), now(), &mut Vec::new()).unwrap_err();
        assert_eq!(again.slug(), "file-exists");
        CustomerCa::read(&to.join(CERTIFICATE_FILE), &to.join(KEY_FILE)).unwrap();
    }

    #[test]
    fn sign_names_its_file_as_the_guide_does() {
        let folder = tempfile::tempdir().unwrap();
        CustomerCa::create(Bits::Rsa2048, now()).unwrap().write(folder.path()).unwrap();
        let request = folder.path().join("cluster-a_ClusterCsr.csr");
        fs::write(&request, csr(&KeyPair::generate().unwrap())).unwrap();
        let sign = Sign {
            csr: request,
            ca_cert: folder.path().join(CERTIFICATE_FILE),
            ca_key: folder.path().join(KEY_FILE),
            out: None,
        };
        run(CaCommand::Sign(sign), now(), &mut Vec::new()).unwrap();
        assert!(folder.path().join("cluster-a_CustomerHsmCertificate.crt").exists());
        assert_eq!(certificate_file(Path::new("a/b.csr")), Path::new("a/b.crt"));
    }

    #[test]
    fn a_key_of_another_ca_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let [one, two] = ["one", "two"].map(|name| folder.path().join(name));
        for to in [&one, &two] {
            CustomerCa::create(Bits::Rsa2048, now()).unwrap().write(to).unwrap();
        }
        let problem = CustomerCa::read(&one.join(CERTIFICATE_FILE), &two.join(KEY_FILE)).err().unwrap();
        assert_eq!(problem.slug(), "ca-mismatch");
    }
}
