//! Owns making a cluster from a payload. Order of effects: the cluster's row, `installing` under a raised epoch; users and
//! objects staged under that epoch, chunk by chunk as they are checked, sealed anew for the new ClusterId; at last, in one
//! transaction that checks the epoch, the head and the row as `active`. Nothing can use the cluster before that.
//!
//! A repeat of a finished installation answers the same facts; of an unfinished one it raises the epoch, so that the first,
//! if it was only slow, can write no more. A tombstone stays: `gone`.

use strongroom_link::host::{Facts, Failure, FailureCode};

use crate::check::{self, Sink};
use crate::contents::{Checked, Cluster};
use crate::data_key::DataKey;
use crate::fault::{self, Stop, failure};
use crate::head::Head;
use crate::host::ChunkIo;
use crate::manifest::sha256;
use crate::region::Region;
use crate::rows::{ClusterRow, ClusterState, ObjectRow, UserRow, VaultTx};
use crate::seal::{RowKind, RowSealer};

/// Installs the payload as `cluster`, unless that was done.
///
/// # Errors
/// `Conflict` if the cluster was made otherwise, `Gone` after its destruction, `Busy` if another installation of it began
/// meanwhile; and those of [`check::check`].
pub(crate) fn install(
    region: &Region,
    cluster: &str,
    facts: &Facts,
    key: &DataKey,
    io: &mut dyn ChunkIo,
) -> Result<(), Failure> {
    let epoch = match begin(region, cluster, facts) {
        Ok(Some(epoch)) => epoch,
        Ok(None) => return check::drain(facts, io),
        Err(refusal) => {
            check::drain(facts, io)?;
            return Err(refusal);
        }
    };
    let mut staging =
        Staging { region, cluster, epoch, sealer: None, sum: Head::empty(), users: vec![], objects: vec![] };
    let opened = check::open(facts, key, io, &mut staging)?;
    let head = Head { version: opened.version, ..staging.sum };
    finish(region, cluster, epoch, &opened, &head)
}

/// Takes the next epoch; `None` if the cluster was installed from the same backup already.
fn begin(region: &Region, cluster: &str, facts: &Facts) -> Result<Option<u64>, Failure> {
    let input_digest = input_digest(facts);
    let refuse = |code, text: &str| Err(Stop::Refused(failure(code, format!("{cluster} {text}"))));
    fault::write(&*region.rows, &mut |tx| {
        let epoch = match tx.cluster(cluster)? {
            None => 1,
            Some(row) if row.state == ClusterState::Destroyed => return refuse(FailureCode::Gone, "is destroyed"),
            Some(row) if row.input_digest != input_digest => {
                return refuse(FailureCode::Conflict, "was made from something else");
            }
            Some(row) if row.state == ClusterState::Installing => row.epoch + 1,
            Some(_) => return Ok(None),
        };
        tx.delete_rows(cluster, Some(epoch))?;
        tx.put_cluster(&ClusterRow {
            cluster: cluster.to_owned(),
            state: ClusterState::Installing,
            epoch,
            input_digest: input_digest.clone(),
            lineage: facts.lineage.clone(),
            mode: facts.mode.clone(),
            sealed_keys: vec![],
            csr: String::new(),
            hardware_certificates: vec![],
            cluster_certificate: String::new(),
            trust_anchor: String::new(),
        })?;
        Ok(Some(epoch))
    })
}

fn finish(region: &Region, cluster: &str, epoch: u64, opened: &Cluster, head: &Head) -> Result<(), Failure> {
    let sealer = opened.keys.cluster_key.rows(&region.region_id, cluster);
    let head_row = head.seal(&sealer, &*region.rng);
    let sealed_keys = opened.keys.seal(&region.roots, &region.region_id, cluster, &*region.rng);
    fault::write(&*region.rows, &mut |tx| {
        let row = own_row(tx, cluster, epoch)?;
        tx.put_head(cluster, &head_row)?;
        tx.put_cluster(&ClusterRow {
            state: ClusterState::Active,
            sealed_keys: sealed_keys.clone(),
            cluster_certificate: opened.certificate.clone(),
            trust_anchor: opened.trust_anchor.clone(),
            ..row
        })?;
        Ok(())
    })
}

/// The cluster's row, if this installation is still the one that may write.
fn own_row(tx: &mut dyn VaultTx, cluster: &str, epoch: u64) -> Result<ClusterRow, Stop> {
    let row = tx.cluster(cluster)?;
    match row {
        Some(row) if row.state == ClusterState::Installing && row.epoch == epoch => Ok(row),
        Some(row) if row.state == ClusterState::Destroyed => {
            Err(failure(FailureCode::Gone, format!("{cluster} is destroyed")).into())
        }
        _ => Err(failure(FailureCode::Busy, format!("another installation of {cluster} has begun")).into()),
    }
}

fn input_digest(facts: &Facts) -> Vec<u8> {
    sha256(&[b"strongroom install\x00", &facts.digest[..]].concat()).to_vec()
}

/// Re-seals the records of a chunk and writes them together.
struct Staging<'a> {
    region: &'a Region,
    cluster: &'a str,
    epoch: u64,
    sealer: Option<RowSealer>,
    sum: Head,
    users: Vec<UserRow>,
    objects: Vec<ObjectRow>,
}

impl Sink for Staging<'_> {
    fn record(&mut self, cluster: &Cluster, record: Checked<'_>) -> Result<(), Stop> {
        let (region, id) = (self.region, self.cluster);
        let sealer = self.sealer.get_or_insert_with(|| cluster.keys.cluster_key.rows(&region.region_id, id));
        let rng = &*region.rng;
        match record {
            Checked::Cluster => {}
            Checked::User { name, version, user } => {
                let sealed = sealer.seal(RowKind::User, name.as_bytes(), version, user, rng);
                let row = UserRow { user: name, version, sealed };
                self.sum.add_user(sealer, &row);
                self.users.push(row);
            }
            Checked::Object { handle, version, object } => {
                let sealed = sealer.seal(RowKind::Object, &handle.to_be_bytes(), version, object, rng);
                let row = ObjectRow { object: handle, version, sealed };
                self.sum.add_object(sealer, &row);
                self.objects.push(row);
            }
        }
        Ok(())
    }

    fn chunk_done(&mut self) -> Result<(), Stop> {
        fault::write(&*self.region.rows, &mut |tx| {
            own_row(tx, self.cluster, self.epoch)?;
            self.users.iter().try_for_each(|row| tx.put_user(self.cluster, self.epoch, row))?;
            self.objects.iter().try_for_each(|row| tx.put_object(self.cluster, self.epoch, row))?;
            Ok(())
        })?;
        self.users.clear();
        self.objects.clear();
        Ok(())
    }
}
