//! Owns taking a snapshot: one read transaction over a cluster, in which every row is opened, counted against the head and
//! sealed into the payload, chunk by chunk, as it goes; then the manifest and the header. A snapshot is never kept or given
//! again: each has a data key of its own. If the rows are not those of the head nothing is answered but the damage, and the
//! chunks that went out open for nobody, since their key is lost.

use strongroom_link::Secret;
use strongroom_link::host::{Chunk, Facts, Failure, FailureCode};

use crate::cluster_key::ClusterKeys;
use crate::data_key::DataKey;
use crate::fault::{self, Stop, failure};
use crate::head::Head;
use crate::host::{ChunkIo, Cut};
use crate::manifest::{self, CHUNKS_MAX, sha256};
use crate::payload::{CHUNK, ClusterRecord, PayloadWriter};
use crate::region::Region;
use crate::rows::{ClusterRow, ClusterState, VaultTx};
use crate::seal::{Damaged, RowKind, RowSealer};

/// How many objects are read at once.
const PAGE: u32 = 256;

/// What the manifest says beside what is in the cluster.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Order<'a> {
    pub(crate) cluster: &'a str,
    pub(crate) backup: &'a str,
    pub(crate) hsm_type: &'a str,
    pub(crate) created_at: i64,
}

/// The end of a snapshot.
#[derive(Debug)]
pub(crate) struct Snapshot {
    pub(crate) body: Vec<u8>,
    pub(crate) header: Vec<u8>,
    pub(crate) facts: Facts,
}

/// Takes a snapshot and sends its chunks.
///
/// # Errors
/// `Unknown`, `Gone`, `Busy` by the cluster's state; `Damaged`; the vault's failure.
pub(crate) fn take(region: &Region, order: Order<'_>, io: &mut dyn ChunkIo) -> Result<Snapshot, Failure> {
    let key = DataKey::generate(&*region.rng);
    let highest = region.highest_head(order.cluster);
    let mut facts = fault::read(&*region.rows, &mut |tx| {
        let row = active_cluster(tx, order.cluster)?;
        let mut facts = facts_of(region, order, &row);
        let mut writer = PayloadWriter::new(&key, |n, sealed: Vec<u8>| {
            if n as usize >= CHUNKS_MAX {
                let text = format!("{} has more keys than a backup can hold", order.cluster);
                return Err(Stop::Refused(failure(FailureCode::Invalid, text)));
            }
            facts.bytes += sealed.len() as u64;
            facts.chunk_digests.extend_from_slice(&sha256(&sealed));
            io.send(Chunk { n, bytes: sealed }).map_err(|Cut| Stop::Refused(cut()))
        });
        let (head, users, keys) = write_cluster(region, tx, &row, &mut writer)?;
        writer.finish()?;
        region.accept_head(order.cluster, highest.as_ref(), &head)?;
        (facts.users, facts.keys) = (users, keys);
        Ok(facts)
    })?;
    let body = manifest::write(&mut facts);
    // A body that no reader takes must not leave: its backup would never open.
    manifest::read(&body).map_err(|what| failure(FailureCode::Invalid, what))?;
    let header = key.to_header(&region.roots, &facts.digest, &*region.rng);
    Ok(Snapshot { body, header, facts })
}

/// The failure that nobody reads, since the connection ended.
pub(crate) fn cut() -> Failure {
    failure(FailureCode::Busy, "the connection ended")
}

fn active_cluster(tx: &mut dyn VaultTx, cluster: &str) -> Result<ClusterRow, Stop> {
    let refuse = |code, text: &str| Err(Stop::Refused(failure(code, format!("{cluster} {text}"))));
    match tx.cluster(cluster)? {
        None => refuse(FailureCode::Unknown, "is not in the vault"),
        Some(row) => match row.state {
            ClusterState::Active => Ok(row),
            ClusterState::Destroyed => refuse(FailureCode::Gone, "is destroyed"),
            ClusterState::Installing => refuse(FailureCode::Busy, "is still being installed"),
            ClusterState::Made | ClusterState::Initialized => refuse(FailureCode::Invalid, "is not activated"),
        },
    }
}

fn facts_of(region: &Region, order: Order<'_>, row: &ClusterRow) -> Facts {
    Facts {
        origin: region.region_id.clone(),
        backup: order.backup.to_owned(),
        cluster: order.cluster.to_owned(),
        lineage: row.lineage.clone(),
        mode: row.mode.clone(),
        hsm_type: order.hsm_type.to_owned(),
        created_at: order.created_at,
        users: 0,
        keys: 0,
        bytes: 0,
        chunk_size: u32::try_from(CHUNK).expect("a chunk has 1 MiB"),
        chunk_digests: vec![],
        digest: [0; 32],
        cluster_certificate: row.cluster_certificate.clone(),
    }
}

/// Writes all records and returns the head and how many users and objects there are.
fn write_cluster<S: FnMut(u32, Vec<u8>) -> Result<(), Stop>>(
    region: &Region,
    tx: &mut dyn VaultTx,
    row: &ClusterRow,
    writer: &mut PayloadWriter<S>,
) -> Result<(Head, u32, u32), Stop> {
    let keys = region.keys(row)?;
    let sealer = keys.cluster_key.rows(&region.region_id, &row.cluster);
    let head_row = tx.head(&row.cluster)?.ok_or_else(|| Damaged(format!("{} has no head", row.cluster)))?;
    let head = Head::open(&sealer, &head_row)?;
    writer.cluster(&cluster_record(row, &keys, head.version))?;

    let mut sum = Head::empty();
    let users = write_users(tx, row, &sealer, &mut sum, writer)?;
    let objects = write_objects(tx, row, &sealer, &mut sum, writer)?;
    if !head.covers(&sum) {
        return Err(head.differs(&row.cluster, &sum).into());
    }
    Ok((head, users, objects))
}

fn cluster_record(row: &ClusterRow, keys: &ClusterKeys, version: u64) -> ClusterRecord {
    ClusterRecord {
        cluster: row.cluster.clone(),
        lineage: row.lineage.clone(),
        mode: row.mode.clone(),
        cluster_key: Secret::new(keys.cluster_key.expose().to_vec()),
        key_pair: Secret::new(keys.key_pair.to_pkcs8().to_vec()),
        cluster_certificate: row.cluster_certificate.clone(),
        trust_anchor: row.trust_anchor.clone(),
        version,
    }
}

fn write_users<S: FnMut(u32, Vec<u8>) -> Result<(), Stop>>(
    tx: &mut dyn VaultTx,
    row: &ClusterRow,
    sealer: &RowSealer,
    sum: &mut Head,
    writer: &mut PayloadWriter<S>,
) -> Result<u32, Stop> {
    let mut count = 0;
    for user in tx.users(&row.cluster, row.epoch)? {
        let opened = sealer.open(RowKind::User, user.user.as_bytes(), user.version, &user.sealed)?;
        sum.add_user(sealer, &user);
        writer.user(user.version, &opened)?;
        count += 1;
    }
    Ok(count)
}

fn write_objects<S: FnMut(u32, Vec<u8>) -> Result<(), Stop>>(
    tx: &mut dyn VaultTx,
    row: &ClusterRow,
    sealer: &RowSealer,
    sum: &mut Head,
    writer: &mut PayloadWriter<S>,
) -> Result<u32, Stop> {
    let (mut count, mut after) = (0, None);
    loop {
        let page = tx.objects(&row.cluster, row.epoch, after, PAGE)?;
        for object in &page {
            let id = object.object.to_be_bytes();
            let opened = sealer.open(RowKind::Object, &id, object.version, &object.sealed)?;
            sum.add_object(sealer, object);
            writer.object(object.object, object.version, &opened)?;
            count += 1;
        }
        match page.last() {
            Some(last) => after = Some(last.object),
            None => return Ok(count),
        }
    }
}
