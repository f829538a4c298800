//! Owns how the control plane learns what happened on the data plane (A2 to A4): the host keeps rows, numbered anew with
//! each change; this loop reads those above its cursor, applies them and moves the cursor in one transaction, and only then
//! acknowledges. What is read twice lies below the cursor and is ignored.

use std::sync::Arc;
use std::time::Duration;

use strongroom_model::time::DAY;
use strongroom_model::{BackupId, ClusterId, Timestamp};
use strongroom_store::control::jobs::JobKind;
use strongroom_store::control::{alarms, clusters, jobs, meta};
use strongroom_store::{StoreError, Tx, WriteError};

use crate::backup::{self, Cause};
use crate::ports::{HsmsCode, HsmsError, OutboxEvent, OutboxRow};
use crate::region::Region;

/// How long one reading waits for a row.
const WAIT: Duration = Duration::from_secs(10);
/// The pause after a failure.
const PAUSE: Duration = Duration::from_millis(250);

/// Follows the host's outbox until the region stops.
pub(crate) async fn follow(region: Arc<Region>) {
    while !region.is_stopping() {
        if let Err(cause) = read_once(&region).await {
            tracing::debug!(region = %region.name(), cause, "the outbox cannot be followed");
            region.clock.sleep(PAUSE).await;
        }
    }
}

async fn read_once(region: &Arc<Region>) -> Result<(), String> {
    let cursor = region.control.read(meta::outbox_cursor).await.map_err(|e: StoreError| e.to_string())?;
    let rows = match region.hsms.outbox_read(cursor as u64, WAIT).await {
        Err(error) if error.code == HsmsCode::Conflict => return vault_is_older(region, error).await,
        rows => rows.map_err(|e| e.to_string())?,
    };
    let Some(last) = rows.last().map(|row| row.seq) else { return Ok(()) };
    apply(region, cursor, rows).await.map_err(|e| e.to_string())?;
    region.wake.notify_one();
    region.hsms.outbox_ack(last).await.map_err(|e| e.to_string())
}

/// The vault has never given the number that was applied last: it came back from an old disk.
async fn vault_is_older(region: &Arc<Region>, error: HsmsError) -> Result<(), String> {
    let (region_in, text) = (region.clone(), error.text.clone());
    let raised = region
        .control
        .write(move |tx| alarms::raise(tx, "vault-older", region_in.id().as_str(), &text, region_in.now()));
    raised.await.map_err(|e| WriteError::<StoreError>::flatten(e).to_string())?.into_inner();
    Err(error.to_string())
}

/// A3. Another reader's commit in between makes this one do nothing.
async fn apply(region: &Arc<Region>, cursor: i64, rows: Vec<OutboxRow>) -> Result<(), StoreError> {
    let region_in = region.clone();
    let applied = region.control.write(move |tx| {
        let Some(last) = rows.last() else { return Ok(()) };
        if !meta::move_outbox_cursor(tx, cursor, last.seq as i64)? {
            return Ok(());
        }
        let now = region_in.now();
        rows.iter().try_for_each(|row| apply_row(&region_in, tx, row, now))
    });
    applied.await.map(drop).map_err(WriteError::flatten)
}

fn apply_row(region: &Region, tx: &mut dyn Tx, row: &OutboxRow, now: Timestamp) -> Result<(), StoreError> {
    match &row.event {
        OutboxEvent::Activated => {
            clusters::activated(tx, &row.cluster, now)?;
            become_active(region, tx, &row.cluster, now)
        }
        OutboxEvent::Changed(head) => clusters::set_head(tx, &row.cluster, *head as i64).map(drop),
        OutboxEvent::Health(damage) => clusters::set_damage(tx, &row.cluster, damage.as_deref()).map(drop),
    }
}

/// INITIALIZED → ACTIVE, with the first backup and the daily jobs. The caller has seen that the admin has a password.
pub(crate) fn become_active(
    region: &Region,
    tx: &mut dyn Tx,
    cluster_id: &ClusterId,
    now: Timestamp,
) -> Result<(), StoreError> {
    if !clusters::active(tx, cluster_id)? {
        return Ok(());
    }
    let Some(cluster) = clusters::get(tx, cluster_id)? else { return Ok(()) };
    // Drawn inside the closure: unlike an id that was told to somebody, nobody knows this one before the commit.
    let backup_id = BackupId::from_bytes(region.draw());
    if backup::begin(tx, &cluster, &backup_id, &Cause::Activation, now)? {
        jobs::schedule(tx, JobKind::Snapshot, backup_id.as_str(), now)?;
    }
    jobs::schedule(tx, JobKind::Daily, cluster_id.as_str(), now.plus(DAY))?;
    jobs::schedule(tx, JobKind::Retention, cluster_id.as_str(), now.plus(DAY))
}
