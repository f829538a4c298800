//! Owns the key that signs a region's audit trail: an Ed25519 key of its own in the key folder (0600), made at the first
//! start and read with its mode checked. With `--ephemeral` it lives in this process alone. It never signs anything else.

use std::fs;
use std::io;
use std::path::Path;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use data_encoding::BASE64;
use strongroom_engine::ports::Signer;
use zeroize::Zeroizing;

use crate::files;
use crate::problem::Problem;
use crate::seams::random;

/// What the file begins with; the base64 of the key's seed follows.
const HEADING: &str = "strongroom.audit-key/1 ";

/// The audit key of a region.
pub struct AuditKey(Ed25519KeyPair);

impl AuditKey {
    /// A new key that no file holds.
    pub fn in_memory() -> Self {
        Self::of(&*Zeroizing::new(random::<32>())).expect("every 32 bytes are the seed of a key")
    }

    /// Reads the key file, or makes it.
    ///
    /// # Errors
    /// A [`Problem`] for a file that cannot be read, is no key, or can be read by others.
    pub fn load_or_make(path: &Path) -> Result<Self, Problem> {
        let unusable = || Problem::new("audit-key", format!("cannot use {}", path.display()));
        let text = match fs::read_to_string(path).map(Zeroizing::new) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let seed = Zeroizing::new(random::<32>());
                let text = Zeroizing::new(format!("{HEADING}{}\n", BASE64.encode(&*seed)));
                let written = path.parent().map_or(Ok(()), files::make_private_folder);
                let written = written.and_then(|()| files::write_whole(path, text.as_bytes(), 0o600));
                written.map_err(|error| unusable().cause(error))?;
                text
            }
            Err(error) => return Err(unusable().cause(error)),
        };
        if files::is_readable_by_others(path).map_err(|error| unusable().cause(error))? {
            return Err(unusable()
                .cause("it can be read by others")
                .help(format!("chmod 600 {}, and ask who may have read it", path.display())));
        }
        let seed = text.strip_prefix(HEADING).and_then(|seed| BASE64.decode(seed.trim_end().as_bytes()).ok());
        seed.map(Zeroizing::new).and_then(|seed| Self::of(&seed)).ok_or_else(|| unusable().cause("it is no audit key"))
    }

    fn of(seed: &[u8]) -> Option<Self> {
        Ed25519KeyPair::from_seed_unchecked(seed).ok().map(Self)
    }
}

impl Signer for AuditKey {
    fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.0.sign(message).as_ref().to_vec()
    }

    fn public_key(&self) -> Vec<u8> {
        self.0.public_key().as_ref().to_vec()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};

    use super::*;

    #[test]
    fn the_key_stays_the_same_and_is_its_owners_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("us-east-1/audit");
        let made = AuditKey::load_or_make(&path).unwrap();
        let read = AuditKey::load_or_make(&path).unwrap();
        let signature = made.sign(b"head");
        UnparsedPublicKey::new(&ED25519, read.public_key()).verify(b"head", &signature).unwrap();
        assert_ne!(AuditKey::in_memory().public_key(), made.public_key());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(AuditKey::load_or_make(&path).err().unwrap().to_string().contains("chmod 600"));
        fs::write(&path, "no key").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        assert!(AuditKey::load_or_make(&path).err().unwrap().to_string().contains("no audit key"));
    }
}
