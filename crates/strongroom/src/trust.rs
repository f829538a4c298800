//! Owns the folder of trusted regions, `DIR.keys/<region>/peers/*.toml`: who may be copied to and from. API process and HSM
//! host each read it for themselves, again whenever it has changed; nothing of it is ever kept in a database.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use strongroom_model::{RegionId, RegionName};

use crate::region_file::RegionFile;

/// A folder that was changed so lately may be changed again under the same time.
const SETTLED: Duration = Duration::from_secs(1);

/// The trusted regions of one region.
#[derive(Debug)]
pub struct Trust {
    folder: PathBuf,
    cache: Mutex<Cache>,
}

#[derive(Debug, Default)]
struct Cache {
    changed: Option<SystemTime>,
    peers: Arc<BTreeMap<RegionId, RegionFile>>,
}

/// Why a region cannot be trusted.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// The name belongs to another region.
    #[error("{name} is trusted already, as another region ({found}); remove {} first", path.display())]
    OtherRegion {
        /// The name.
        name: RegionName,
        /// The RegionId in the file that is there.
        found: RegionId,
        /// That file.
        path: PathBuf,
    },
    /// The file could not be written.
    #[error("cannot write {}: {cause}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
}

impl Trust {
    /// Of a folder, which need not be there yet.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into(), cache: Mutex::default() }
    }

    /// The trusted regions, as the files say now. A file that cannot be read is no trust, and is told in the log.
    pub fn peers(&self) -> Arc<BTreeMap<RegionId, RegionFile>> {
        let changed = fs::metadata(&self.folder).and_then(|m| m.modified()).ok();
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        if changed.is_none() || changed != cache.changed {
            cache.peers = Arc::new(read_all(&self.folder));
            // Only a time that lies behind us can no longer hide a second change.
            cache.changed = changed.filter(|t| t.elapsed().is_ok_and(|age| age > SETTLED));
        }
        cache.peers.clone()
    }

    /// The trusted region with this id.
    pub fn peer(&self, region_id: &RegionId) -> Option<RegionFile> {
        self.peers().get(region_id).cloned()
    }

    /// The trusted region that shows this key (SubjectPublicKeyInfo, DER) on its link.
    pub fn by_link_key(&self, spki: &[u8]) -> Option<RegionFile> {
        self.peers().values().find(|peer| peer.link_keys.iter().any(|key| key == spki)).cloned()
    }

    /// Where a region's file is or would be.
    pub fn path(&self, name: &RegionName) -> PathBuf {
        self.folder.join(format!("{name}.toml"))
    }

    /// Writes a region's file, durably and at once whole.
    ///
    /// # Errors
    /// [`TrustError`]: a name is for one RegionId, for good.
    pub fn add(&self, region: &RegionFile) -> Result<PathBuf, TrustError> {
        let path = self.path(&region.name);
        match read(&path) {
            Ok(there) if there.region_id != region.region_id => {
                Err(TrustError::OtherRegion { name: there.name, found: there.region_id, path })
            }
            _ => self.write(region, path),
        }
    }

    fn write(&self, region: &RegionFile, path: PathBuf) -> Result<PathBuf, TrustError> {
        let failed = |cause| TrustError::Io { path: path.clone(), cause };
        crate::files::make_private_folder(&self.folder).map_err(failed)?;
        crate::files::write_whole(&path, region.to_toml().as_bytes(), 0o644).map_err(failed)?;
        Ok(path)
    }
}

fn read_all(folder: &Path) -> BTreeMap<RegionId, RegionFile> {
    let files = fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok).map(|entry| entry.path());
    let files = files.filter(|path| path.extension().is_some_and(|e| e == "toml"));
    let mut peers = BTreeMap::new();
    for path in files {
        match read(&path) {
            Ok(region) => {
                peers.insert(region.region_id.clone(), region);
            }
            Err(cause) => tracing::warn!(kind = "trust", "{} is no region file: {cause}", path.display()),
        }
    }
    peers
}

fn read(path: &Path) -> Result<RegionFile, String> {
    let text = fs::read_to_string(path).map_err(|e| e.to_string())?;
    RegionFile::parse(&text).map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::region_file::tests::region;

    #[test]
    fn changes_are_seen_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let trust = Trust::new(folder.path().join("peers"));
        assert!(trust.peers().is_empty());
        let peer = region("eu-west-1");
        let path = trust.add(&peer).unwrap();
        assert_eq!(trust.peer(&peer.region_id).as_ref(), Some(&peer));
        assert_eq!(trust.by_link_key(&peer.link_keys[0]).as_ref(), Some(&peer));
        assert_eq!(trust.by_link_key(&[9; 91]), None);
        let moved = RegionFile { address: "10.0.0.1:2".into(), ..peer.clone() };
        trust.add(&moved).unwrap();
        assert_eq!(trust.peer(&peer.region_id), Some(moved));
        fs::remove_file(path).unwrap();
        assert!(trust.peers().is_empty());
    }

    #[test]
    fn a_name_is_for_one_region() {
        let folder = tempfile::tempdir().unwrap();
        let trust = Trust::new(folder.path());
        trust.add(&region("eu-west-1")).unwrap();
        let other = RegionFile { region_id: RegionId::new("other"), ..region("eu-west-1") };
        assert!(matches!(trust.add(&other), Err(TrustError::OtherRegion { .. })));
    }

    #[test]
    fn a_file_that_cannot_be_read_is_no_trust() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("x.toml"), "name = 1").unwrap();
        assert!(Trust::new(folder.path()).peers().is_empty());
    }
}
