//! DescribeBackups: a page of backups by CreateTimestamp, newest first unless asked otherwise, by filters. DELETED ones are
//! shown when they are asked for by id, by source or by state, for an hour; copies that failed for seven days. With `Shared`,
//! other accounts' instead, as far as their policies and the caller's own let him see them.

use std::sync::Arc;

use strongroom_model::backup::BackupState;
use strongroom_model::call::{Call, DescribeBackupsRequest, DescribeBackupsResponse, Operation, Reply};
use strongroom_model::{ApiError, BackupId, ClusterId, Timestamp};
use strongroom_store::control::backups::{self, Query};

use crate::authorize;
use crate::caller::Caller;
use crate::filter::{Chosen, boolean};
use crate::operation::{page_size, read};
use crate::page::{Listing, Position};
use crate::region::Region;
use crate::view;

/// The most backups on a page.
const PAGE_MAX: u32 = 50;

pub(super) async fn run(
    region: &Arc<Region>,
    caller: &Caller,
    _: &Call,
    input: DescribeBackupsRequest,
) -> Result<Reply, ApiError> {
    let known = ["backupIds", "sourceBackupIds", "clusterIds", "states", "neverExpires"];
    let filters = Chosen::of(input.filters, &known)?;
    let shared = input.shared.unwrap_or_default();
    let ascending = input.sort_ascending.unwrap_or_default();
    let (scope, order) = (filters.scope(), if ascending { "ascending" } else { "descending" });
    let whose = if shared { "shared" } else { "own" };
    let scope = ["DescribeBackups", caller.account.as_str(), &scope, order, whose];
    let list = Listing { region: region.id(), scope: &scope };
    let query = Query {
        account: caller.account.clone(),
        backup_ids: filters.parsed("backupIds", |id| Some(BackupId::new(id))),
        source_backup_ids: filters.parsed("sourceBackupIds", |id| Some(BackupId::new(id))),
        cluster_ids: filters.parsed("clusterIds", |id| Some(ClusterId::new(id))),
        states: filters.parsed("states", BackupState::parse),
        never_expires: filters.parsed("neverExpires", boolean),
        ascending,
        after: list.position(input.next_token.as_deref())?.map(|p| (Timestamp::from_millis(p.key), p.id)),
        limit: page_size(input.max_results, PAGE_MAX),
    };
    let (region_in, caller) = (region.clone(), caller.clone());
    let (backups, last) = read(region, move |tx| {
        let page = match shared {
            false => backups::page(tx, &query)?,
            true => backups::shared_page(tx, &query, |tx, row| {
                authorize::is_shared(tx, &region_in, &caller, row, &[Operation::DescribeBackups])
            })?,
        };
        let rows = page.rows.into_iter().map(|row| view::backup(region_in.name(), tx, row));
        let mut backups = rows.collect::<Result<Vec<_>, _>>()?;
        if shared {
            // Tags are the owner's own.
            backups.iter_mut().for_each(|backup| backup.tag_list = Some(Vec::new()));
        }
        Ok((backups, page.more))
    })
    .await?;
    let next_token = last.map(|(t, id)| list.token(&Position { key: t.millis(), id }));
    Ok(Reply::DescribeBackups(DescribeBackupsResponse { backups: Some(backups), next_token }))
}
