//! Owns the host's own look at the trust folder: it wraps backups to no key that these files do not name.

use std::sync::Arc;

use strongroom_hsm::pins::{Pin, Pins};
use strongroom_model::RegionId;

use crate::trust::Trust;

/// The pins of a region's trust folder.
#[derive(Debug)]
pub(super) struct FilePins(pub Arc<Trust>);

impl Pins for FilePins {
    fn pin(&self, region_id: &str) -> Option<Pin> {
        let region = self.0.peer(&RegionId::new(region_id))?;
        Some(Pin {
            name: region.name.to_string(),
            region_id: region.region_id.to_string(),
            hpke_keys: region.hpke_keys,
            identity_keys: region.identity_keys,
        })
    }
}
