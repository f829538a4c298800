//! Owns the key of a region's link: an EC P-256 key in the data folder (0600), made at the first start, and a certificate
//! around it that nobody reads but for its key.

use std::fs;
use std::io;
use std::path::Path;

use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use zeroize::Zeroizing;

use crate::files;

/// The name in every link certificate; peers are told apart by their keys.
pub(super) const NAME: &str = "region-link";

/// The link key of this region.
pub struct LinkIdentity {
    pub(super) certificate: CertificateDer<'static>,
    key: KeyPair,
}

impl LinkIdentity {
    /// Reads the key file, or makes it.
    ///
    /// # Errors
    /// What the system said, `InvalidData` for a file that is no key.
    pub fn load_or_make(path: &Path) -> io::Result<Self> {
        let key = match fs::read_to_string(path).map(Zeroizing::new) {
            Ok(pem) => KeyPair::from_pem(&pem).map_err(invalid)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(invalid)?;
                let pem = Zeroizing::new(key.serialize_pem());
                files::write_whole(path, pem.as_bytes(), 0o600)?;
                key
            }
            Err(error) => return Err(error),
        };
        let certificate = CertificateParams::new(vec![NAME.to_owned()]).and_then(|p| p.self_signed(&key));
        Ok(Self { certificate: certificate.map_err(invalid)?.der().clone(), key })
    }

    /// The SubjectPublicKeyInfo (DER) that others pin.
    pub fn public_key(&self) -> Vec<u8> {
        self.key.subject_public_key_info()
    }

    pub(super) fn private_key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::Pkcs8(self.key.serialize_der().into())
    }
}

fn invalid(error: rcgen::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_stays_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("link.key");
        let made = LinkIdentity::load_or_make(&path).unwrap();
        let read = LinkIdentity::load_or_make(&path).unwrap();
        assert_eq!(made.public_key(), read.public_key());
        assert!(!files::is_readable_by_others(&path).unwrap());
        fs::write(&path, "no key").unwrap();
        assert!(LinkIdentity::load_or_make(&path).is_err());
    }
}
