//! Owns the identity key: 32 random bytes in the key folder (0600), made when the first secret is sealed and never before.
//! AES-256-GCM with a random nonce; what is sealed says what it is, so that nothing opens as something else.
//!
//! Never overwrites a key that is there: two processes that make one at once end with the same.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use data_encoding::{BASE64, BASE64URL_NOPAD};
use strongroom_model::id::hex;
use zeroize::Zeroizing;

use crate::files;
use crate::seams::random;

const KEY_LEN: usize = 32;

/// The key that access keys and sessions are sealed under.
pub struct IdentityKey {
    path: PathBuf,
    key: OnceLock<RandomizedNonceKey>,
}

/// Why something was not sealed or not opened.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// The key file cannot be used; it says which and why.
    #[error("{0}")]
    Key(String),
    /// There is no key yet, so that nothing was sealed under it.
    #[error("there is no identity key {}: it was not sealed on this machine", .0.display())]
    NoKey(PathBuf),
    /// It is not what was sealed here as this.
    #[error("it was not sealed under this identity key, or for something else")]
    NotSealed,
}

/// What a secret is; sealed text opens as nothing else.
#[derive(Clone, Copy, Debug)]
pub enum Sealed<'a> {
    /// The secret of an access key.
    AccessKey {
        /// The account of its user.
        account: &'a str,
        /// Its id.
        id: &'a str,
    },
    /// A session's token.
    Session,
}

impl Sealed<'_> {
    fn aad(self) -> Aad<Vec<u8>> {
        Aad::from(match self {
            Self::AccessKey { account, id } => format!("strongroom access key\n{account}\n{id}").into_bytes(),
            Self::Session => b"strongroom session".to_vec(),
        })
    }
}

impl IdentityKey {
    /// The key in this file, which need not be there yet.
    pub fn at(path: PathBuf) -> Self {
        Self { path, key: OnceLock::new() }
    }

    /// Seals, and makes the key first where there is none. The text is Base64URL.
    ///
    /// # Errors
    /// [`SealError::Key`]
    pub fn seal(&self, what: Sealed<'_>, secret: &[u8]) -> Result<String, SealError> {
        let key = self.key(true)?;
        let mut bytes = Zeroizing::new(Vec::with_capacity(secret.len() + AES_256_GCM.tag_len()));
        bytes.extend_from_slice(secret);
        let nonce = key
            .seal_in_place_append_tag(what.aad(), &mut *bytes)
            .map_err(|_| SealError::Key(format!("{}: sealing failed", self.path.display())))?;
        Ok(BASE64URL_NOPAD.encode(&[&nonce.as_ref()[..], &bytes].concat()))
    }

    /// Opens what [`Self::seal`] gave.
    ///
    /// # Errors
    /// [`SealError`]
    pub fn open(&self, what: Sealed<'_>, text: &str) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let sealed = BASE64URL_NOPAD.decode(text.as_bytes()).map_err(|_| SealError::NotSealed)?;
        let key = self.key(false)?;
        let (nonce, sealed) = sealed.split_first_chunk::<NONCE_LEN>().ok_or(SealError::NotSealed)?;
        let mut bytes = Zeroizing::new(sealed.to_vec());
        let nonce = Nonce::from(nonce);
        let length = key.open_in_place(nonce, what.aad(), &mut bytes).map_err(|_| SealError::NotSealed)?.len();
        bytes.truncate(length);
        Ok(bytes)
    }

    fn key(&self, make: bool) -> Result<&RandomizedNonceKey, SealError> {
        if let Some(key) = self.key.get() {
            return Ok(key);
        }
        let failed = |cause: &dyn fmt::Display| SealError::Key(format!("{}: {cause}", self.path.display()));
        let bytes = match read(&self.path).map_err(|e| failed(&e))? {
            Some(bytes) => bytes,
            None if make => self::make(&self.path).map_err(|e| failed(&e))?,
            None => return Err(SealError::NoKey(self.path.clone())),
        };
        let key = RandomizedNonceKey::new(&AES_256_GCM, &*bytes).map_err(|e| failed(&e))?;
        Ok(self.key.get_or_init(|| key))
    }
}

impl fmt::Debug for IdentityKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IdentityKey({}, redacted)", self.path.display())
    }
}

fn read(path: &Path) -> io::Result<Option<Zeroizing<[u8; KEY_LEN]>>> {
    let text = match fs::read(path).map(Zeroizing::new) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    if files::is_readable_by_others(path)? {
        let path = path.display();
        return Err(io::Error::other(format!("others can read it: chmod 600 {path}, and ask who may have read it")));
    }
    let bytes = BASE64.decode(text.trim_ascii_end()).map(Zeroizing::new).ok();
    let key = bytes.and_then(|bytes| <[u8; KEY_LEN]>::try_from(&bytes[..]).ok()).map(Zeroizing::new);
    key.map(Some).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "it is no identity key"))
}

/// Makes the key, or reads the one that another process has made meanwhile.
fn make(path: &Path) -> io::Result<Zeroizing<[u8; KEY_LEN]>> {
    let folder = path.parent().unwrap_or(Path::new("."));
    files::make_private_folder(folder)?;
    let key = Zeroizing::new(random::<KEY_LEN>());
    let text = Zeroizing::new(format!("{}\n", BASE64.encode(&*key)));
    let beside = folder.join(format!(".identity.{}", hex(&random::<6>())));
    files::write_whole(&beside, text.as_bytes(), 0o600)?;
    // A link, unlike a rename, never replaces.
    let linked = fs::hard_link(&beside, path);
    fs::remove_file(&beside)?;
    match linked {
        Ok(()) => files::sync_folder(folder).map(|()| key),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            read(path)?.ok_or_else(|| io::Error::other("another process made it and took it away"))
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    const WHAT: Sealed<'_> = Sealed::AccessKey { account: "111122223333", id: "AKIAEXAMPLE" };

    #[test]
    fn what_is_sealed_opens_only_as_itself_and_with_its_key() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys/identity");
        let key = IdentityKey::at(path.clone());
        assert!(matches!(key.open(WHAT, "AAAA"), Err(SealError::NoKey(_))), "reading makes no key");
        let sealed = key.seal(WHAT, b"the secret").unwrap();
        assert_ne!(sealed, key.seal(WHAT, b"the secret").unwrap());
        // A later process reads the same file.
        let key = IdentityKey::at(path.clone());
        assert_eq!(*key.open(WHAT, &sealed).unwrap(), b"the secret");
        let foreign = [
            Sealed::AccessKey { account: "111122223334", id: "AKIAEXAMPLE" },
            Sealed::AccessKey { account: "111122223333", id: "AKIAEXAMPLF" },
            Sealed::Session,
        ];
        for what in foreign {
            assert!(matches!(key.open(what, &sealed), Err(SealError::NotSealed)), "{what:?}");
        }
        for broken in ["", "AAAA", "?", &sealed[1..], &sealed[..sealed.len() - 2]] {
            assert!(matches!(key.open(WHAT, broken), Err(SealError::NotSealed)), "{broken}");
        }
        let other = IdentityKey::at(folder.path().join("other/identity"));
        other.seal(WHAT, b"x").unwrap();
        assert!(matches!(other.open(WHAT, &sealed), Err(SealError::NotSealed)));
    }

    #[test]
    fn the_key_is_its_owners_and_is_never_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("identity");
        let made = make(&path).unwrap();
        assert_eq!(*make(&path).unwrap(), *made);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let error = IdentityKey::at(path.clone()).seal(WHAT, b"x").unwrap_err();
        assert!(error.to_string().contains("chmod 600"), "{error}");
        fs::write(&path, "short\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        assert!(IdentityKey::at(path).seal(WHAT, b"x").unwrap_err().to_string().ends_with("it is no identity key"));
    }
}
