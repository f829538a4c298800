//! Owns the vault behind the seam [`Rows`]: the store's rows of `vault`, on one database file. The HSM's closures borrow and
//! stay on their own thread. A read runs there as it is. A write holds a transaction open on the store's writer, which then
//! takes one statement after the other from the closure's thread ([`lent`]): rolled back if the closure fails or panics.

use std::fmt;
use std::path::Path;
use std::time::{Duration, Instant};

use strongroom_hsm::rows::{
    ClusterRow, ClusterState, HeadRow, HsmRow, LoginTry, MetaRow, ObjectRow, OutboxRow, RequestRow, Rows, RowsError,
    UserRow, VaultTx,
};
use strongroom_store::sql::Tx;
use strongroom_store::vault::logins::Reserved;
use strongroom_store::{Database, OpenError, StoreError, vault};

mod lent;

/// How long an orphaned host of a former process may take to end.
const ORPHAN_WAIT: Duration = Duration::from_secs(10);

/// The vault of one region.
pub(super) struct VaultRows(Database);

impl VaultRows {
    /// Opens or makes the file. A lock that is held is waited for: a child that lost its parent lets go of it soon.
    ///
    /// # Errors
    /// As the store's.
    pub(super) fn open(path: &Path) -> Result<Self, OpenError> {
        let begun = Instant::now();
        loop {
            match Database::open(path, &vault::SCHEMA, "strongroom hsm") {
                Err(OpenError::InUse { .. }) if begun.elapsed() < ORPHAN_WAIT => {
                    std::thread::sleep(Duration::from_millis(50));
                }
                opened => return opened.map(Self),
            }
        }
    }
}

impl fmt::Debug for VaultRows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("VaultRows")
    }
}

impl Rows for VaultRows {
    fn read(&self, closure: &mut dyn FnMut(&mut dyn VaultTx) -> Result<(), RowsError>) -> Result<(), RowsError> {
        self.0.read_blocking(|tx| Ok::<_, StoreError>(closure(&mut OverTx(tx)))).map_err(failed)?
    }

    fn write(&self, closure: &mut dyn FnMut(&mut dyn VaultTx) -> Result<(), RowsError>) -> Result<(), RowsError> {
        lent::write(&self.0, &mut |tx| closure(&mut OverTx(tx)), failed)
    }
}

fn failed(error: StoreError) -> RowsError {
    match error {
        StoreError::Full(_) => RowsError::Full,
        error => RowsError::Failed(error.to_string()),
    }
}

/// The vault's rows over an open transaction.
struct OverTx<'a>(&'a mut dyn Tx);

/// Heads, epochs and handles are small positive numbers on both sides.
fn number(n: u64) -> Result<i64, RowsError> {
    i64::try_from(n).map_err(|_| RowsError::Failed(format!("{n} is not a number that a row can hold")))
}

fn count(n: i64) -> Result<u64, RowsError> {
    u64::try_from(n).map_err(|_| RowsError::Failed(format!("a row holds {n} where a number from 0 belongs")))
}

fn cluster_from(row: vault::clusters::Cluster) -> Result<ClusterRow, RowsError> {
    let state = ClusterState::parse(&row.state);
    Ok(ClusterRow {
        state: state.ok_or_else(|| RowsError::Failed(format!("{} has the state {}", row.cluster_id, row.state)))?,
        cluster: row.cluster_id,
        epoch: count(row.epoch)?,
        input_digest: row.input_digest,
        lineage: row.lineage,
        mode: row.mode,
        sealed_keys: row.sealed_keys,
        csr: row.csr,
        hardware_certificates: [row.hsm_certificate, row.hardware_certificate, row.manufacturer_certificate]
            .into_iter()
            .filter(|pem| !pem.is_empty())
            .collect(),
        cluster_certificate: row.cluster_certificate,
        trust_anchor: row.trust_anchor,
    })
}

fn cluster_to(row: &ClusterRow) -> Result<vault::clusters::Cluster, RowsError> {
    let mut certificates = row.hardware_certificates.iter().cloned();
    let mut next = || certificates.next().unwrap_or_default();
    Ok(vault::clusters::Cluster {
        cluster_id: row.cluster.clone(),
        state: row.state.as_str().into(),
        epoch: number(row.epoch)?,
        input_digest: row.input_digest.clone(),
        lineage: row.lineage.clone(),
        mode: row.mode.clone(),
        sealed_keys: row.sealed_keys.clone(),
        csr: row.csr.clone(),
        hsm_certificate: next(),
        hardware_certificate: next(),
        manufacturer_certificate: next(),
        cluster_certificate: row.cluster_certificate.clone(),
        trust_anchor: row.trust_anchor.clone(),
    })
}

fn hsm_from(row: vault::hsms::Hsm) -> HsmRow {
    HsmRow { hsm: row.hsm_id, cluster: row.cluster_id, address: row.address, withdrawn: row.withdrawn }
}

impl VaultTx for OverTx<'_> {
    fn meta(&mut self) -> Result<Option<MetaRow>, RowsError> {
        let row = vault::meta::get(self.0).map_err(failed)?;
        Ok(row.map(|(region_id, roots)| MetaRow { region_id, roots }))
    }

    fn put_meta(&mut self, row: &MetaRow) -> Result<(), RowsError> {
        vault::meta::put(self.0, &row.region_id, &row.roots).map_err(failed)
    }

    fn cluster(&mut self, cluster: &str) -> Result<Option<ClusterRow>, RowsError> {
        vault::clusters::get(self.0, cluster).map_err(failed)?.map(cluster_from).transpose()
    }

    fn clusters(&mut self) -> Result<Vec<ClusterRow>, RowsError> {
        vault::clusters::all(self.0).map_err(failed)?.into_iter().map(cluster_from).collect()
    }

    fn put_cluster(&mut self, row: &ClusterRow) -> Result<(), RowsError> {
        vault::clusters::put(self.0, &cluster_to(row)?).map_err(failed)
    }

    fn head(&mut self, cluster: &str) -> Result<Option<HeadRow>, RowsError> {
        let row = vault::heads::get(self.0, cluster).map_err(failed)?;
        row.map(|(version, sealed)| Ok(HeadRow { version: count(version)?, sealed })).transpose()
    }

    fn compare_and_set_head(&mut self, cluster: &str, row: &HeadRow) -> Result<bool, RowsError> {
        vault::heads::compare_and_set(self.0, cluster, number(row.version)?, &row.sealed).map_err(failed)
    }

    fn put_head(&mut self, cluster: &str, row: &HeadRow) -> Result<(), RowsError> {
        vault::heads::put(self.0, cluster, number(row.version)?, &row.sealed).map_err(failed)
    }

    fn objects(
        &mut self,
        cluster: &str,
        epoch: u64,
        after: Option<u64>,
        limit: u32,
    ) -> Result<Vec<ObjectRow>, RowsError> {
        let after = after.map(number).transpose()?;
        let rows = vault::objects::page(self.0, cluster, number(epoch)?, after, limit).map_err(failed)?;
        let read = |row: vault::objects::Object| {
            Ok(ObjectRow { object: count(row.object_id)?, version: count(row.version)?, sealed: row.sealed })
        };
        rows.into_iter().map(read).collect()
    }

    fn put_object(&mut self, cluster: &str, epoch: u64, row: &ObjectRow) -> Result<(), RowsError> {
        let (object_id, version) = (number(row.object)?, number(row.version)?);
        let row = vault::objects::Object { object_id, version, sealed: row.sealed.clone() };
        vault::objects::put(self.0, cluster, number(epoch)?, &row).map_err(failed)
    }

    fn delete_object(&mut self, cluster: &str, epoch: u64, object: u64) -> Result<bool, RowsError> {
        vault::objects::delete(self.0, cluster, number(epoch)?, number(object)?).map_err(failed)
    }

    fn users(&mut self, cluster: &str, epoch: u64) -> Result<Vec<UserRow>, RowsError> {
        let rows = vault::users::all(self.0, cluster, number(epoch)?).map_err(failed)?;
        let read =
            |row: vault::users::User| Ok(UserRow { user: row.name, version: count(row.version)?, sealed: row.sealed });
        rows.into_iter().map(read).collect()
    }

    fn put_user(&mut self, cluster: &str, epoch: u64, row: &UserRow) -> Result<(), RowsError> {
        let version = number(row.version)?;
        let row = vault::users::User { name: row.user.clone(), version, sealed: row.sealed.clone() };
        vault::users::put(self.0, cluster, number(epoch)?, &row).map_err(failed)
    }

    fn delete_user(&mut self, cluster: &str, epoch: u64, user: &str) -> Result<bool, RowsError> {
        vault::users::delete(self.0, cluster, number(epoch)?, user).map_err(failed)
    }

    fn delete_rows(&mut self, cluster: &str, keep: Option<u64>) -> Result<(), RowsError> {
        match keep {
            Some(epoch) => vault::delete_other_epochs(self.0, cluster, number(epoch)?).map_err(failed),
            None => vault::delete_all(self.0, cluster).map_err(failed),
        }
    }

    fn reserve_login(&mut self, cluster: &str, user: &str, limit: u32, now_ms: i64) -> Result<LoginTry, RowsError> {
        Ok(match vault::logins::reserve(self.0, cluster, user, limit, now_ms).map_err(failed)? {
            Reserved::Spent(tries) => LoginTry::Spent(u32::try_from(tries).unwrap_or(limit)),
            Reserved::Locked(since) => LoginTry::Locked(since),
        })
    }

    fn logins(&mut self, cluster: &str) -> Result<Vec<(String, u32)>, RowsError> {
        let rows = vault::logins::all(self.0, cluster).map_err(failed)?;
        Ok(rows.into_iter().map(|(user, tries)| (user, u32::try_from(tries).unwrap_or(u32::MAX))).collect())
    }

    fn clear_login(&mut self, cluster: &str, user: &str) -> Result<(), RowsError> {
        vault::logins::clear(self.0, cluster, user).map_err(failed)
    }

    fn hsm(&mut self, hsm: &str) -> Result<Option<HsmRow>, RowsError> {
        Ok(vault::hsms::get(self.0, hsm).map_err(failed)?.map(hsm_from))
    }

    fn hsms(&mut self) -> Result<Vec<HsmRow>, RowsError> {
        Ok(vault::hsms::all(self.0).map_err(failed)?.into_iter().map(hsm_from).collect())
    }

    fn put_hsm(&mut self, row: &HsmRow) -> Result<(), RowsError> {
        let (hsm_id, cluster_id, address) = (row.hsm.clone(), row.cluster.clone(), row.address.clone());
        vault::hsms::put(self.0, &vault::hsms::Hsm { hsm_id, cluster_id, address, withdrawn: row.withdrawn })
            .map_err(failed)
    }

    fn put_outbox(&mut self, cluster: &str, kind: &str, data: &str) -> Result<(), RowsError> {
        vault::outbox::put(self.0, cluster, kind, data).map_err(failed)
    }

    fn outbox(&mut self, cursor: u64) -> Result<Vec<OutboxRow>, RowsError> {
        let rows = vault::outbox::after(self.0, number(cursor)?).map_err(failed)?;
        let read = |row: vault::outbox::Event| {
            Ok(OutboxRow { seq: count(row.seq)?, cluster: row.cluster_id, kind: row.kind, data: row.data })
        };
        rows.into_iter().map(read).collect()
    }

    fn outbox_seq(&mut self) -> Result<u64, RowsError> {
        count(vault::outbox::seq(self.0).map_err(failed)?)
    }

    fn ack_outbox(&mut self, seq: u64) -> Result<(), RowsError> {
        vault::outbox::ack(self.0, number(seq)?).map_err(failed)
    }

    fn request(&mut self, cluster: &str, user: &str, request: &[u8; 16]) -> Result<Option<RequestRow>, RowsError> {
        let row = vault::requests::get(self.0, cluster, user, request).map_err(failed)?;
        Ok(row.map(|row| RequestRow { input_digest: row.input_digest, result: row.result }))
    }

    fn put_request(
        &mut self,
        cluster: &str,
        user: &str,
        request: &[u8; 16],
        row: &RequestRow,
        expires_at: i64,
    ) -> Result<(), RowsError> {
        vault::requests::put(self.0, cluster, user, request, &row.input_digest, &row.result, expires_at).map_err(failed)
    }

    fn sweep_requests(&mut self, now: i64, limit: u32) -> Result<(), RowsError> {
        vault::requests::sweep(self.0, now, limit).map_err(failed)
    }
}

#[cfg(test)]
mod tests;
