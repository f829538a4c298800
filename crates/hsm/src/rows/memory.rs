//! Owns a vault in memory, for tests and simulations. A transaction works on its own copy of the state, which replaces the
//! shared one at commit: readers keep what they began with, and a failed closure leaves nothing.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{
    ClusterRow, HeadRow, HsmRow, LoginTry, MetaRow, ObjectRow, OutboxRow, RequestRow, Rows, RowsError, UserRow, VaultTx,
};

type RequestKey = (String, String, [u8; 16]);

#[derive(Clone, Debug, Default)]
struct State {
    meta: Option<MetaRow>,
    clusters: BTreeMap<String, ClusterRow>,
    heads: BTreeMap<String, HeadRow>,
    objects: BTreeMap<(String, u64, u64), ObjectRow>,
    users: BTreeMap<(String, u64, String), UserRow>,
    /// Spent tries, and when the last one was.
    logins: BTreeMap<(String, String), (u32, i64)>,
    hsms: BTreeMap<String, HsmRow>,
    outbox: BTreeMap<(String, String), OutboxRow>,
    outbox_seq: u64,
    requests: BTreeMap<RequestKey, (RequestRow, i64)>,
}

/// A vault in memory.
#[derive(Debug, Default)]
pub struct MemoryRows {
    state: Mutex<Arc<State>>,
    writes_until_full: Mutex<Option<u32>>,
}

impl MemoryRows {
    /// A new, empty vault.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets the next `writes` transactions commit and fails all later ones with [`RowsError::Full`]; `None` ends that.
    pub fn fill_after(&self, writes: Option<u32>) {
        *lock(&self.writes_until_full) = writes;
    }

    /// Takes the rows of another vault in place of these, as a disk that is put back would.
    pub fn restore(&self, earlier: &Self) {
        let earlier = lock(&earlier.state).clone();
        *lock(&self.state) = earlier;
    }

    fn has_room(&self) -> bool {
        match lock(&self.writes_until_full).as_mut() {
            None => true,
            Some(0) => false,
            Some(left) => {
                *left -= 1;
                true
            }
        }
    }
}

impl Clone for MemoryRows {
    /// A vault of its own with the same rows, as a copied disk would be.
    fn clone(&self) -> Self {
        Self { state: Mutex::new(lock(&self.state).clone()), writes_until_full: Mutex::new(None) }
    }
}

impl Rows for MemoryRows {
    fn read(&self, closure: &mut dyn FnMut(&mut dyn VaultTx) -> Result<(), RowsError>) -> Result<(), RowsError> {
        let state = lock(&self.state).clone();
        closure(&mut Tx { state, is_write: false })
    }

    fn write(&self, closure: &mut dyn FnMut(&mut dyn VaultTx) -> Result<(), RowsError>) -> Result<(), RowsError> {
        let mut shared = lock(&self.state);
        let mut tx = Tx { state: shared.clone(), is_write: true };
        closure(&mut tx)?;
        if !self.has_room() {
            return Err(RowsError::Full);
        }
        *shared = tx.state;
        Ok(())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Tx {
    state: Arc<State>,
    is_write: bool,
}

impl Tx {
    fn state(&mut self) -> Result<&mut State, RowsError> {
        if self.is_write {
            Ok(Arc::make_mut(&mut self.state))
        } else {
            Err(RowsError::Failed("a write in a transaction that only reads".to_owned()))
        }
    }
}

impl VaultTx for Tx {
    fn meta(&mut self) -> Result<Option<MetaRow>, RowsError> {
        Ok(self.state.meta.clone())
    }

    fn put_meta(&mut self, row: &MetaRow) -> Result<(), RowsError> {
        self.state()?.meta = Some(row.clone());
        Ok(())
    }

    fn cluster(&mut self, cluster: &str) -> Result<Option<ClusterRow>, RowsError> {
        Ok(self.state.clusters.get(cluster).cloned())
    }

    fn clusters(&mut self) -> Result<Vec<ClusterRow>, RowsError> {
        Ok(self.state.clusters.values().cloned().collect())
    }

    fn put_cluster(&mut self, row: &ClusterRow) -> Result<(), RowsError> {
        self.state()?.clusters.insert(row.cluster.clone(), row.clone());
        Ok(())
    }

    fn head(&mut self, cluster: &str) -> Result<Option<HeadRow>, RowsError> {
        Ok(self.state.heads.get(cluster).cloned())
    }

    fn compare_and_set_head(&mut self, cluster: &str, row: &HeadRow) -> Result<bool, RowsError> {
        let is_next = match self.state.heads.get(cluster) {
            None => true,
            Some(there) => there.version.checked_add(1) == Some(row.version),
        };
        if is_next {
            self.put_head(cluster, row)?;
        }
        Ok(is_next)
    }

    fn put_head(&mut self, cluster: &str, row: &HeadRow) -> Result<(), RowsError> {
        self.state()?.heads.insert(cluster.to_owned(), row.clone());
        Ok(())
    }

    fn objects(
        &mut self,
        cluster: &str,
        epoch: u64,
        after: Option<u64>,
        limit: u32,
    ) -> Result<Vec<ObjectRow>, RowsError> {
        let of_epoch = |object| (cluster.to_owned(), epoch, object);
        let rows = self.state.objects.range(of_epoch(0)..=of_epoch(u64::MAX)).map(|(_, row)| row);
        Ok(rows.filter(|row| after.is_none_or(|after| row.object > after)).take(limit as usize).cloned().collect())
    }

    fn put_object(&mut self, cluster: &str, epoch: u64, row: &ObjectRow) -> Result<(), RowsError> {
        self.state()?.objects.insert((cluster.to_owned(), epoch, row.object), row.clone());
        Ok(())
    }

    fn delete_object(&mut self, cluster: &str, epoch: u64, object: u64) -> Result<bool, RowsError> {
        Ok(self.state()?.objects.remove(&(cluster.to_owned(), epoch, object)).is_some())
    }

    fn users(&mut self, cluster: &str, epoch: u64) -> Result<Vec<UserRow>, RowsError> {
        let in_epoch = self.state.users.iter().filter(|(key, _)| key.0 == cluster && key.1 == epoch);
        let mut rows: Vec<_> = in_epoch.map(|(_, row)| row.clone()).collect();
        rows.sort_by(|a, b| (a.version, &a.user).cmp(&(b.version, &b.user)));
        Ok(rows)
    }

    fn put_user(&mut self, cluster: &str, epoch: u64, row: &UserRow) -> Result<(), RowsError> {
        self.state()?.users.insert((cluster.to_owned(), epoch, row.user.clone()), row.clone());
        Ok(())
    }

    fn delete_user(&mut self, cluster: &str, epoch: u64, user: &str) -> Result<bool, RowsError> {
        Ok(self.state()?.users.remove(&(cluster.to_owned(), epoch, user.to_owned())).is_some())
    }

    fn delete_rows(&mut self, cluster: &str, keep: Option<u64>) -> Result<(), RowsError> {
        let state = self.state()?;
        state.objects.retain(|key, _| key.0 != cluster || Some(key.1) == keep);
        state.users.retain(|key, _| key.0 != cluster || Some(key.1) == keep);
        if keep.is_none() {
            state.heads.remove(cluster);
            state.logins.retain(|key, _| key.0 != cluster);
            state.requests.retain(|key, _| key.0 != cluster);
        }
        Ok(())
    }

    fn reserve_login(&mut self, cluster: &str, user: &str, limit: u32, now_ms: i64) -> Result<LoginTry, RowsError> {
        let (tries, last) = self.state()?.logins.entry((cluster.to_owned(), user.to_owned())).or_default();
        if *tries >= limit {
            return Ok(LoginTry::Locked(*last));
        }
        (*tries, *last) = (*tries + 1, now_ms);
        Ok(LoginTry::Spent(*tries))
    }

    fn logins(&mut self, cluster: &str) -> Result<Vec<(String, u32)>, RowsError> {
        let of_cluster = self.state.logins.iter().filter(|(key, (tries, _))| key.0 == cluster && *tries > 0);
        Ok(of_cluster.map(|(key, (tries, _))| (key.1.clone(), *tries)).collect())
    }

    fn clear_login(&mut self, cluster: &str, user: &str) -> Result<(), RowsError> {
        self.state()?.logins.remove(&(cluster.to_owned(), user.to_owned()));
        Ok(())
    }

    fn hsm(&mut self, hsm: &str) -> Result<Option<HsmRow>, RowsError> {
        Ok(self.state.hsms.get(hsm).cloned())
    }

    fn hsms(&mut self) -> Result<Vec<HsmRow>, RowsError> {
        Ok(self.state.hsms.values().cloned().collect())
    }

    fn put_hsm(&mut self, row: &HsmRow) -> Result<(), RowsError> {
        self.state()?.hsms.insert(row.hsm.clone(), row.clone());
        Ok(())
    }

    fn put_outbox(&mut self, cluster: &str, kind: &str, data: &str) -> Result<(), RowsError> {
        let state = self.state()?;
        state.outbox_seq += 1;
        let row = OutboxRow {
            seq: state.outbox_seq,
            cluster: cluster.to_owned(),
            kind: kind.to_owned(),
            data: data.to_owned(),
        };
        state.outbox.insert((cluster.to_owned(), kind.to_owned()), row);
        Ok(())
    }

    fn outbox(&mut self, cursor: u64) -> Result<Vec<OutboxRow>, RowsError> {
        let mut rows: Vec<_> = self.state.outbox.values().filter(|row| row.seq > cursor).cloned().collect();
        rows.sort_by_key(|row| row.seq);
        Ok(rows)
    }

    fn outbox_seq(&mut self) -> Result<u64, RowsError> {
        Ok(self.state.outbox_seq)
    }

    fn ack_outbox(&mut self, seq: u64) -> Result<(), RowsError> {
        self.state()?.outbox.retain(|_, row| row.seq > seq);
        Ok(())
    }

    fn request(&mut self, cluster: &str, user: &str, request: &[u8; 16]) -> Result<Option<RequestRow>, RowsError> {
        let key = (cluster.to_owned(), user.to_owned(), *request);
        Ok(self.state.requests.get(&key).map(|(row, _)| row.clone()))
    }

    fn put_request(
        &mut self,
        cluster: &str,
        user: &str,
        request: &[u8; 16],
        row: &RequestRow,
        expires_at: i64,
    ) -> Result<(), RowsError> {
        let key = (cluster.to_owned(), user.to_owned(), *request);
        self.state()?.requests.insert(key, (row.clone(), expires_at));
        Ok(())
    }

    fn sweep_requests(&mut self, now: i64, limit: u32) -> Result<(), RowsError> {
        let state = self.state()?;
        let expired = state.requests.iter().filter(|(_, (_, expires_at))| *expires_at < now);
        let keys: Vec<_> = expired.map(|(key, _)| key.clone()).take(limit as usize).collect();
        for key in keys {
            state.requests.remove(&key);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(version: u64) -> HeadRow {
        HeadRow { version, sealed: vec![0] }
    }

    #[test]
    fn a_failed_closure_leaves_nothing_and_a_reader_sees_one_state() {
        let rows = MemoryRows::new();
        let failed = rows.write(&mut |tx| {
            tx.put_head("c", &head(1))?;
            Err(RowsError::Full)
        });
        assert!(matches!(failed, Err(RowsError::Full)));
        rows.read(&mut |tx| {
            assert!(tx.head("c")?.is_none());
            rows.write(&mut |tx| tx.put_head("c", &head(1)))?;
            assert!(tx.head("c")?.is_none(), "the reader's state changed under it");
            assert!(tx.put_head("c", &head(2)).is_err());
            Ok(())
        })
        .unwrap();
        rows.read(&mut |tx| {
            assert_eq!(tx.head("c")?, Some(head(1)));
            Ok(())
        })
        .unwrap();
    }

    #[test]
    fn heads_move_by_one() {
        let rows = MemoryRows::new();
        rows.write(&mut |tx| {
            assert!(tx.compare_and_set_head("c", &head(1))?);
            assert!(!tx.compare_and_set_head("c", &head(1))?);
            assert!(!tx.compare_and_set_head("c", &head(3))?);
            assert!(tx.compare_and_set_head("c", &head(2))?);
            Ok(())
        })
        .unwrap();
    }

    #[test]
    fn objects_come_in_pages() {
        let rows = MemoryRows::new();
        let object = |object| ObjectRow { object, version: 1, sealed: vec![] };
        rows.write(&mut |tx| {
            for id in [5, 1, u64::MAX, 3] {
                tx.put_object("c", 1, &object(id))?;
            }
            tx.put_object("c", 2, &object(2))?;
            let ids = |rows: Vec<ObjectRow>| rows.iter().map(|row| row.object).collect::<Vec<_>>();
            assert_eq!(ids(tx.objects("c", 1, None, 2)?), [1, 3]);
            assert_eq!(ids(tx.objects("c", 1, Some(3), 9)?), [5, u64::MAX]);
            tx.delete_rows("c", Some(2))?;
            assert!(tx.objects("c", 1, None, 9)?.is_empty());
            assert_eq!(ids(tx.objects("c", 2, None, 9)?), [2]);
            Ok(())
        })
        .unwrap();
    }

    #[test]
    fn a_login_is_reserved_up_to_the_limit_and_an_ack_spares_later_rows() {
        let rows = MemoryRows::new();
        rows.write(&mut |tx| {
            assert_eq!(tx.reserve_login("c", "u", 2, 5)?, LoginTry::Spent(1));
            assert_eq!(tx.reserve_login("c", "u", 2, 6)?, LoginTry::Spent(2));
            assert_eq!(tx.reserve_login("c", "u", 2, 7)?, LoginTry::Locked(6));
            tx.clear_login("c", "u")?;
            assert!(tx.logins("c")?.is_empty());
            tx.put_outbox("c", "changed", "1")?;
            let seen = tx.outbox(0)?[0].seq;
            tx.put_outbox("c", "changed", "2")?;
            tx.ack_outbox(seen)?;
            assert_eq!(tx.outbox(0)?[0].data, "2");
            Ok(())
        })
        .unwrap();
    }
}
