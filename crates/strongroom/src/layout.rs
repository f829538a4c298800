//! Owns where everything of a data folder is. Root keys and trust lie in a folder of their own beside it, so that neither
//! folder alone opens anything.

use std::path::{Path, PathBuf};

use strongroom_model::RegionName;

/// The longest path that a Unix socket can have on every system.
const SOCKET_PATH_MAX: usize = 100;

/// A data folder and its key folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    data: PathBuf,
    keys: PathBuf,
}

impl Layout {
    /// `DIR` and `DIR.keys`.
    pub fn new(data: impl Into<PathBuf>) -> Self {
        let data = data.into();
        let mut keys = data.clone().into_os_string();
        keys.push(".keys");
        Self { data, keys: keys.into() }
    }

    /// The data folder.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// The key folder.
    pub fn keys(&self) -> &Path {
        &self.keys
    }

    /// What `dev` decided at its first start.
    pub fn dev_file(&self) -> PathBuf {
        self.data.join("dev.toml")
    }

    /// The lock of the process that the folder belongs to.
    pub fn lock(&self) -> PathBuf {
        self.data.join("dev.lock")
    }

    /// The accounts, a file for each.
    pub fn identity(&self) -> PathBuf {
        self.data.join("identity")
    }

    /// The key that secrets of accounts are sealed under.
    pub fn identity_key(&self) -> PathBuf {
        self.keys.join("identity")
    }

    /// The HSM host's socket; `None` if the path is too long for one.
    pub fn socket(&self) -> Option<PathBuf> {
        let path = self.data.join("hsm.sock");
        (path.as_os_str().len() <= SOCKET_PATH_MAX).then_some(path)
    }

    /// The folder of a region.
    pub fn region(&self, region: &RegionName) -> PathBuf {
        self.data.join(region.as_str())
    }

    /// A region's control store.
    pub fn control(&self, region: &RegionName) -> PathBuf {
        self.region(region).join("control.db")
    }

    /// A region's payloads.
    pub fn blobs(&self, region: &RegionName) -> PathBuf {
        self.region(region).join("blobs")
    }

    /// A region's vault.
    pub fn vault(&self, region: &RegionName) -> PathBuf {
        self.region(region).join("vault.db")
    }

    /// What others must know of a region, as it was at its last start.
    pub fn region_file(&self, region: &RegionName) -> PathBuf {
        self.region(region).join("region.toml")
    }

    /// The key of a region's link.
    pub fn link_key(&self, region: &RegionName) -> PathBuf {
        self.region(region).join("link.key")
    }

    /// A region's root key.
    pub fn root_key(&self, region: &RegionName) -> PathBuf {
        self.keys.join(region.as_str()).join("root")
    }

    /// The key that signs a region's audit trail.
    pub fn audit_key(&self, region: &RegionName) -> PathBuf {
        self.keys.join(region.as_str()).join("audit")
    }

    /// The regions that a region trusts.
    pub fn peers(&self, region: &RegionName) -> PathBuf {
        self.keys.join(region.as_str()).join("peers")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_lie_beside_the_data() {
        let layout = Layout::new("/home/a/dev");
        let region = RegionName::new("us-east-1");
        assert_eq!(layout.root_key(&region), Path::new("/home/a/dev.keys/us-east-1/root"));
        assert_eq!(layout.vault(&region), Path::new("/home/a/dev/us-east-1/vault.db"));
        assert!(layout.socket().is_some());
        assert!(Layout::new(format!("/{}", "a".repeat(100))).socket().is_none());
    }
}
