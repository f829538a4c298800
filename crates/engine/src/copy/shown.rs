//! Owns what our own service shows of a copy, from the rows of either end.

use data_encoding::HEXLOWER;
use strongroom_model::backup::BackupState;
use strongroom_model::cluster::ClusterMode;
use strongroom_model::copy::{Copy, CopyDirection, CopyEnd, CopyReason, CopyReceipt, CopyState, CopyStep};
use strongroom_store::control::backups::Backup;
use strongroom_store::control::blobs;
use strongroom_store::control::copies::{Copy as Row, Step};
use strongroom_store::{StoreError, Tx};

use crate::ports::Facts;
use crate::region::Region;

/// A copy that leaves this region.
pub(crate) fn outgoing(region: &Region, row: Row, steps: Option<Vec<Step>>) -> Copy {
    let facts = Facts::from_bytes(&row.facts).ok();
    let tag_list = Some(row.frozen_tags());
    let (bytes, chunks) = sizes(facts.as_ref());
    let done = if row.state == CopyState::Ready { chunks } else { row.chunks_done };
    Copy {
        direction: CopyDirection::Outgoing,
        state: row.state,
        overdue: row.overdue,
        reason: row.reason_code.map(|code| CopyReason { code, text: row.reason.unwrap_or_default() }),
        source: CopyEnd {
            region: region.name().clone(),
            region_id: region.id().clone(),
            backup_id: Some(row.backup_id),
            cluster_id: Some(row.source_cluster_id),
        },
        destination: CopyEnd {
            region: row.destination_region,
            region_id: row.destination_region_id,
            backup_id: row.destination_backup_id,
            cluster_id: None,
        },
        requested_at: row.requested_at,
        requested_by: Some(row.principal),
        source_ip: Some(row.source_ip),
        request_id: Some(row.request_id),
        invocation_id: row.invocation_id,
        backup_created_at: row.backup_created_at,
        deadline_at: Some(row.deadline_at),
        finished_at: row.finished_at,
        bytes_total: bytes,
        bytes_sent: sent(facts.as_ref(), done),
        chunks_total: chunks,
        chunks_done: done,
        attempts: row.attempt,
        next_attempt_at: row.next_attempt_at,
        digest: Some(format!("sha256:{}", HEXLOWER.encode(&row.digest))),
        receipt: row.receipt_seq.zip(row.receipt_at).map(|(sequence, at)| CopyReceipt { sequence, key_id: None, at }),
        users: facts.as_ref().map(|f| i64::from(f.users)),
        keys: facts.as_ref().map(|f| i64::from(f.keys)),
        mode: facts.as_ref().and_then(|f| ClusterMode::parse(&f.mode)),
        tag_list,
        steps: steps
            .map(|steps| steps.into_iter().map(|s| CopyStep { at: s.at, name: s.name, text: s.text }).collect()),
        copy_id: row.copy_id,
    }
}

/// A copy that enters this region.
pub(crate) fn incoming(region: &Region, tx: &mut dyn Tx, row: Backup) -> Result<Copy, StoreError> {
    let facts = row.listing.as_deref().and_then(|f| Facts::from_bytes(f).ok());
    let (bytes, chunks) = sizes(facts.as_ref());
    let open = row.state == BackupState::CreateInProgress;
    let done = match &row.blob_id {
        Some(blob_id) if open => i64::from(blobs::chunk_count(tx, blob_id)?),
        _ => chunks,
    };
    let cancelled = row.reason.as_deref().is_some_and(|r| r.starts_with("cancelled:"));
    let reason = row.reason.as_deref().map(|r| {
        let (code, text) = r.split_once(": ").unwrap_or(("", r));
        CopyReason { code: code.to_owned(), text: text.to_owned() }
    });
    Ok(Copy {
        copy_id: row.copy_id.unwrap_or_default(),
        direction: CopyDirection::Incoming,
        state: match () {
            () if open => CopyState::Sending,
            () if cancelled => CopyState::Cancelled,
            () if row.opened_at.is_none() => CopyState::Failed,
            () => CopyState::Ready,
        },
        reason,
        source: CopyEnd {
            region: row.source_region.unwrap_or_default(),
            region_id: row.source_region_id.unwrap_or_default(),
            backup_id: row.source_backup_id,
            cluster_id: row.source_cluster_id,
        },
        destination: CopyEnd {
            region: region.name().clone(),
            region_id: region.id().clone(),
            backup_id: Some(row.backup_id),
            cluster_id: None,
        },
        requested_at: row.copy_ts.unwrap_or(row.create_ts),
        backup_created_at: row.create_ts,
        finished_at: row.opened_at.or(row.deleted_at).filter(|_| !open),
        bytes_total: bytes,
        bytes_sent: sent(facts.as_ref(), done),
        chunks_total: chunks,
        chunks_done: done,
        digest: row.digest.map(|d| format!("sha256:{}", HEXLOWER.encode(&d))),
        users: facts.as_ref().map(|f| i64::from(f.users)),
        keys: facts.as_ref().map(|f| i64::from(f.keys)),
        mode: facts.as_ref().and_then(|f| ClusterMode::parse(&f.mode)),
        ..Copy::default()
    })
}

fn sizes(facts: Option<&Facts>) -> (i64, i64) {
    facts.map_or((0, 0), |f| (f.bytes as i64, i64::from(f.chunks())))
}

/// Bytes of the chunks that are there; the last chunk may be shorter.
fn sent(facts: Option<&Facts>, chunks_done: i64) -> i64 {
    facts.map_or(0, |f| (chunks_done * i64::from(f.chunk_size)).min(f.bytes as i64))
}
