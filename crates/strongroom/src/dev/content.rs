//! Owns what `dev` tells of its stores: how much is in them, and which copies are under way.

use std::sync::Arc;

use strongroom_engine::{Authority, Caller, Region};
use strongroom_model::call::ListCopiesRequest;
use strongroom_model::copy::{Copy, CopyDirection, CopyState};
use strongroom_model::{AccountId, Call, Reply};
use strongroom_store::control::{backups, clusters, hsms};
use strongroom_store::{Database, StoreError, Tx};

use crate::identity::DevCredentials;

/// What a data folder holds.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Content {
    pub clusters: u64,
    pub hsms: u64,
    pub backups: u64,
}

impl Content {
    /// Counts the rows of all regions; a store that cannot be read counts as empty, and its region says so.
    pub(super) fn count(stores: &[Database]) -> Self {
        let count =
            |tx: &mut dyn Tx| Ok::<_, StoreError>([clusters::count(tx)?, hsms::count(tx)?, backups::count(tx)?]);
        let mut sum = Self::default();
        for counts in stores.iter().filter_map(|store| store.read_blocking(count).ok()) {
            let [clusters, hsms, backups] = counts.map(|n| u64::try_from(n).unwrap_or(0));
            sum.clusters += clusters;
            sum.hsms += hsms;
            sum.backups += backups;
        }
        sum
    }
}

/// The copies that leave these regions and are not settled.
pub(super) async fn copies_under_way(regions: &[Arc<Region>]) -> Vec<Copy> {
    let unsettled = CopyState::ALL.iter().filter(|state| !state.is_settled()).map(|state| state.to_string());
    let call =
        Call::ListCopies(ListCopiesRequest { states: Some(unsettled.collect()), ..ListCopiesRequest::default() });
    let mut copies = Vec::new();
    for region in regions {
        // What cannot be read is not told; it goes on all the same.
        if let Ok(Reply::ListCopies(reply)) = region.call(&ourselves(), call.clone()).await {
            copies.extend(reply.copies.into_iter().filter(|copy| copy.direction == CopyDirection::Outgoing));
        }
    }
    copies
}

fn ourselves() -> Caller {
    let account = AccountId::new(DevCredentials::ACCOUNT);
    Caller {
        authority: Authority::everything(&account, "strongroom dev", ""),
        account,
        principal: "strongroom dev".to_owned(),
        access_key: String::new(),
        source_ip: String::new(),
        request_id: String::new(),
        invocation_id: None,
        user_agent: None,
        is_secure: true,
    }
}
