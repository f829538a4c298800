//! Owns a region's root key file: read with its mode checked, made durable before anything is sealed under it. With
//! `--ephemeral` there is no file, and the root lives in this process alone.

use std::fs;
use std::io;
use std::path::PathBuf;

use strongroom_hsm::root::{Root, Roots};
use zeroize::Zeroizing;

use crate::files;

/// Where a region's root is kept.
#[derive(Clone, Debug)]
pub(super) enum KeyFile {
    /// In this file, 0600.
    At(PathBuf),
    /// In memory only.
    Nowhere,
}

impl KeyFile {
    /// The roots that are there; `None` where there is none yet.
    ///
    /// # Errors
    /// A sentence for people; it shows nothing of the file.
    pub(super) fn read(&self) -> Result<Option<Roots>, String> {
        let Self::At(path) = self else { return Ok(None) };
        let told = |cause: &dyn std::fmt::Display| format!("{}: {cause}", path.display());
        let text = match fs::read_to_string(path).map(Zeroizing::new) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(told(&error)),
        };
        if files::is_readable_by_others(path).map_err(|e| told(&e))? {
            let path = path.display();
            return Err(format!("{path} can be read by others: chmod 600 {path}, and ask who may have read it"));
        }
        let root = Root::from_text(&text).map_err(|e| told(&e))?;
        Roots::new(vec![root]).map(Some).map_err(|e| told(&e))
    }

    /// Keeps a new root, durably.
    ///
    /// # Errors
    /// A sentence for people.
    pub(super) fn write(&self, root: &Root) -> Result<(), String> {
        let Self::At(path) = self else { return Ok(()) };
        let written = path.parent().map_or(Ok(()), files::make_private_folder);
        let written = written.and_then(|()| files::write_whole(path, root.to_text().as_bytes(), 0o600));
        written.map_err(|error| format!("cannot write the root key {}: {error}", path.display()))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use strongroom_hsm::seam::SystemRng;

    use super::*;

    #[test]
    fn a_root_is_read_back_and_only_by_its_owner() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("us-east-1/root");
        let file = KeyFile::At(path.clone());
        assert!(file.read().unwrap().is_none());
        let root = Root::generate(&SystemRng);
        file.write(&root).unwrap();
        assert_eq!(file.read().unwrap().unwrap().fingerprints(), [root.fingerprint()]);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(file.read().unwrap_err().contains("chmod 600"));
    }

    #[test]
    fn an_ephemeral_root_leaves_nothing() {
        KeyFile::Nowhere.write(&Root::generate(&SystemRng)).unwrap();
        assert!(KeyFile::Nowhere.read().unwrap().is_none());
    }
}
