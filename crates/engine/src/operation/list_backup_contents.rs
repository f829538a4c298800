//! ListBackupContents (ours): what each backup holds and when it was last opened, newest first.

use std::sync::Arc;

use data_encoding::HEXLOWER;
use strongroom_model::call::{Call, ListBackupContentsRequest, ListBackupContentsResponse, Reply};
use strongroom_model::copy::BackupContent;
use strongroom_model::{ApiError, Timestamp};
use strongroom_store::control::backups::{self, Backup, Origin, Query};

use crate::caller::Caller;
use crate::operation::{page_size, read};
use crate::page::{Listing, Position};
use crate::ports::Facts;
use crate::region::Region;

/// The most backups on a page.
const PAGE_MAX: u32 = 100;

pub(super) async fn run(
    region: &Arc<Region>,
    caller: &Caller,
    _: &Call,
    input: ListBackupContentsRequest,
) -> Result<Reply, ApiError> {
    let scope = format!("{:?}", input.backup_ids);
    let list = Listing { region: region.id(), scope: &["ListBackupContents", caller.account.as_str(), &scope] };
    let query = Query {
        account: caller.account.clone(),
        backup_ids: input.backup_ids,
        after: list.position(input.next_token.as_deref())?.map(|p| (Timestamp::from_millis(p.key), p.id)),
        limit: page_size(input.max_results, PAGE_MAX),
        ..Query::default()
    };
    let (backups, last) = read(region, move |tx| {
        let page = backups::page(tx, &query)?;
        Ok((page.rows.into_iter().map(content).collect(), page.more))
    })
    .await?;
    let next_token = last.map(|(t, id)| list.token(&Position { key: t.millis(), id }));
    Ok(Reply::ListBackupContents(ListBackupContentsResponse { backups, next_token }))
}

fn content(row: Backup) -> BackupContent {
    let facts = row.facts.as_deref().or(row.listing.as_deref()).and_then(|f| Facts::from_bytes(f).ok());
    BackupContent {
        backup_id: row.backup_id,
        state: row.state.as_str().to_owned(),
        cause: row.cause,
        origin: match (row.origin, row.source_region) {
            (Origin::Copy, Some(region)) => format!("copy from {region}"),
            _ => "local".to_owned(),
        },
        created_at: row.create_ts,
        opened_at: row.opened_at,
        users: facts.as_ref().map(|f| i64::from(f.users)),
        keys: facts.as_ref().map(|f| i64::from(f.keys)),
        bytes: facts.as_ref().map(|f| f.bytes as i64),
        chunks: facts.as_ref().map(|f| i64::from(f.chunks())),
        digest: row.digest.map(|d| format!("sha256:{}", HEXLOWER.encode(&d))),
        lineage: facts.map(|f| f.lineage),
        reason: row.reason,
    }
}
