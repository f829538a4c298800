//! Owns how a cluster is read: all rows in one transaction, the head held against them, each row opened, each key made live.
//! Nothing of it is served unless all of it holds.

use std::sync::Arc;

use super::{Cache, Cluster, Kept, State};
use crate::head::Head;
use crate::object::Object;
use crate::rows::{ClusterRow, ClusterState, HeadRow, ObjectRow, RowsError, UserRow};
use crate::seal::{Damaged, RowKind};
use crate::user::User;

/// How many objects are read at once.
const PAGE: u32 = 1000;

/// Whether HSMs can serve a cluster whose row is this.
pub(super) fn can_be_served(row: &ClusterRow) -> bool {
    !matches!(row.state, ClusterState::Installing | ClusterState::Destroyed)
}

/// The sealed rows of a cluster, of one moment.
#[derive(Default)]
struct SealedRows {
    cluster: Option<ClusterRow>,
    head: Option<HeadRow>,
    users: Vec<UserRow>,
    objects: Vec<ObjectRow>,
}

impl Cluster {
    /// Reads the rows and replaces the state. The caller holds `writing`.
    pub(super) fn load(&self) -> Result<(), RowsError> {
        let highest = self.region.highest_head(&self.id);
        let rows = self.read_rows()?;
        let state = match &rows.cluster {
            None => State::Gone,
            Some(row) if !can_be_served(row) => State::Gone,
            Some(row) => match self.open_rows(row, &rows, highest.as_ref()) {
                Ok(cache) => State::Serving(Box::new(cache)),
                Err(Damaged(damage)) => State::Damaged(damage),
            },
        };
        match &state {
            // Another host's writes are no news.
            State::Serving(_) if matches!(*self.state(), State::Serving(_)) => {}
            State::Serving(_) => self.health.report(&self.id, None),
            State::Damaged(damage) => {
                tracing::error!(cluster = self.id, damage, "the cluster is damaged and serves nothing");
                self.health.report(&self.id, Some(damage));
            }
            State::Unknown | State::Gone => {}
        }
        self.put(state);
        Ok(())
    }

    fn read_rows(&self) -> Result<SealedRows, RowsError> {
        let mut rows = SealedRows::default();
        self.region.rows.read(&mut |tx| {
            rows = SealedRows { cluster: tx.cluster(&self.id)?, ..SealedRows::default() };
            let Some(ClusterRow { epoch, .. }) = rows.cluster else {
                return Ok(());
            };
            rows.head = tx.head(&self.id)?;
            rows.users = tx.users(&self.id, epoch)?;
            loop {
                let after = rows.objects.last().map(|row| row.object);
                let page = tx.objects(&self.id, epoch, after, PAGE)?;
                if page.is_empty() {
                    return Ok(());
                }
                rows.objects.extend(page);
            }
        })?;
        Ok(rows)
    }

    /// Opens the rows if they are those of their head, and the head is none that was left behind.
    fn open_rows(&self, cluster: &ClusterRow, rows: &SealedRows, highest: Option<&Head>) -> Result<Cache, Damaged> {
        let head = rows.head.as_ref().ok_or_else(|| Damaged(format!("{} has no head", self.id)))?;
        let mut cache = Cache {
            head: Head::open(&self.sealer, head)?,
            epoch: cluster.epoch,
            mode: cluster.mode.clone(),
            is_activated: cluster.state == ClusterState::Active,
            users: Default::default(),
            objects: Default::default(),
        };
        let mut sum = Head::empty();
        for row in &rows.users {
            let kept = self.open_user(row)?;
            sum.add(kept.term);
            cache.users.insert(row.user.clone(), kept);
        }
        for row in &rows.objects {
            let kept = self.open_object(row)?;
            sum.add(kept.term);
            cache.objects.insert(row.object, kept);
        }
        if !cache.head.covers(&sum) {
            let (found, counted) = (sum.count, cache.head.count);
            let what = format!("the rows of {} are not those of its head: {found} found, {counted} counted", self.id);
            return Err(Damaged(what));
        }
        self.region.accept_head(&self.id, highest, &cache.head)?;
        Ok(cache)
    }

    fn open_user(&self, row: &UserRow) -> Result<Kept<User>, Damaged> {
        let id = row.user.as_bytes();
        let record = self.sealer.open(RowKind::User, id, row.version, &row.sealed)?;
        let user = User::decode(&record).map_err(Damaged)?;
        if user.name != row.user {
            return Err(Damaged(format!("the row of user {} holds another user", row.user)));
        }
        let term = self.sealer.term(RowKind::User, id, row.version, &row.sealed);
        Ok(Kept { value: user, version: row.version, term })
    }

    fn open_object(&self, row: &ObjectRow) -> Result<Kept<Arc<Object>>, Damaged> {
        let id = row.object.to_be_bytes();
        let record = self.sealer.open(RowKind::Object, &id, row.version, &row.sealed)?;
        let object = Object::decode(&record).map_err(Damaged)?;
        if object.handle() != row.object {
            return Err(Damaged(format!("the row of object 0x{:016x} holds another object", row.object)));
        }
        let term = self.sealer.term(RowKind::Object, &id, row.version, &row.sealed);
        Ok(Kept { value: Arc::new(object), version: row.version, term })
    }
}
