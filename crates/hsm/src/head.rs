//! Owns a cluster's head: the version that each write raises by one, how many users and objects there are, and the sum mod
//! 2^256 of their keyed terms, so that a write costs one term. The head is sealed like a row; who cannot open rows can
//! neither make one nor move rows about under it. Login counters are outside.

use subtle::ConstantTimeEq;

use crate::rows::{HeadRow, ObjectRow, RowsError, UserRow, VaultTx};
use crate::seal::{Damaged, RowKind, RowSealer};
use crate::seam::Rng;

/// How many objects are read at once.
const PAGE: u32 = 256;

/// The head of a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Raised by one with each write; 0 before the first.
    pub version: u64,
    /// Users and objects.
    pub count: u64,
    /// The sum of their terms, big endian.
    pub digest: [u8; 32],
}

impl Head {
    /// The head over no rows, before the first write.
    pub const fn empty() -> Self {
        Self { version: 0, count: 0, digest: [0; 32] }
    }

    /// The head of the next write, before its rows are added and removed.
    pub fn next(&self) -> Self {
        Self { version: self.version + 1, ..self.clone() }
    }

    /// Counts a row in.
    pub fn add(&mut self, term: [u8; 32]) {
        self.count = self.count.wrapping_add(1);
        let mut carry = false;
        for (sum, term) in self.digest.iter_mut().zip(term).rev() {
            let (partial, first) = sum.overflowing_add(term);
            let (total, second) = partial.overflowing_add(u8::from(carry));
            *sum = total;
            carry = first || second;
        }
    }

    /// Counts a row out that was counted in.
    pub fn remove(&mut self, term: [u8; 32]) {
        self.count = self.count.wrapping_sub(1);
        let mut borrow = false;
        for (sum, term) in self.digest.iter_mut().zip(term).rev() {
            let (partial, first) = sum.overflowing_sub(term);
            let (total, second) = partial.overflowing_sub(u8::from(borrow));
            *sum = total;
            borrow = first || second;
        }
    }

    /// Counts a user's row in.
    pub fn add_user(&mut self, sealer: &RowSealer, row: &UserRow) {
        self.add(user_term(sealer, row));
    }

    /// Counts a user's row out.
    pub fn remove_user(&mut self, sealer: &RowSealer, row: &UserRow) {
        self.remove(user_term(sealer, row));
    }

    /// Counts an object's row in.
    pub fn add_object(&mut self, sealer: &RowSealer, row: &ObjectRow) {
        self.add(object_term(sealer, row));
    }

    /// Counts an object's row out.
    pub fn remove_object(&mut self, sealer: &RowSealer, row: &ObjectRow) {
        self.remove(object_term(sealer, row));
    }

    /// Whether `sum`, made by adding every row of the cluster to [`Self::empty`], is what this head says.
    pub fn covers(&self, sum: &Self) -> bool {
        self.count == sum.count && bool::from(self.digest.ct_eq(&sum.digest))
    }

    /// The damage, where [`Self::covers`] said no.
    pub fn differs(&self, cluster: &str, sum: &Self) -> Damaged {
        let (found, counted) = (sum.count, self.count);
        Damaged(format!("the rows of {cluster} are not those of its head: {found} found, {counted} counted"))
    }

    /// Seals the head.
    pub fn seal(&self, sealer: &RowSealer, rng: &dyn Rng) -> HeadRow {
        let mut plaintext = Vec::with_capacity(40);
        plaintext.extend_from_slice(&self.count.to_be_bytes());
        plaintext.extend_from_slice(&self.digest);
        HeadRow { version: self.version, sealed: sealer.seal(RowKind::Head, b"", self.version, &plaintext, rng) }
    }

    /// Opens a head.
    ///
    /// # Errors
    /// [`Damaged`] if it is not a head of this cluster and version.
    pub fn open(sealer: &RowSealer, row: &HeadRow) -> Result<Self, Damaged> {
        let plaintext = sealer.open(RowKind::Head, b"", row.version, &row.sealed)?;
        let (count, digest) =
            plaintext.split_first_chunk::<8>().ok_or_else(|| Damaged::new("the head is too short"))?;
        let digest = digest.try_into().map_err(|_| Damaged::new("the head has the wrong length"))?;
        Ok(Self { version: row.version, count: u64::from_be_bytes(*count), digest })
    }
}

fn user_term(sealer: &RowSealer, row: &UserRow) -> [u8; 32] {
    sealer.term(RowKind::User, row.user.as_bytes(), row.version, &row.sealed)
}

fn object_term(sealer: &RowSealer, row: &ObjectRow) -> [u8; 32] {
    sealer.term(RowKind::Object, &row.object.to_be_bytes(), row.version, &row.sealed)
}

/// Reads the head of a cluster and holds it against all its rows.
///
/// # Errors
/// The vault's failure; inside, [`Damaged`] if there is no head, it does not open, or the rows are not those it covers.
pub fn verify(
    sealer: &RowSealer,
    tx: &mut dyn VaultTx,
    cluster: &str,
    epoch: u64,
) -> Result<Result<Head, Damaged>, RowsError> {
    let Some(row) = tx.head(cluster)? else {
        return Ok(Err(Damaged(format!("{cluster} has no head"))));
    };
    let mut sum = Head::empty();
    for user in tx.users(cluster, epoch)? {
        sum.add_user(sealer, &user);
    }
    let mut after = None;
    loop {
        let page = tx.objects(cluster, epoch, after, PAGE)?;
        for object in &page {
            sum.add_object(sealer, object);
        }
        match page.last() {
            Some(last) => after = Some(last.object),
            None => break,
        }
    }
    Ok(Head::open(sealer, &row).and_then(|head| {
        if head.covers(&sum) {
            return Ok(head);
        }
        Err(head.differs(cluster, &sum))
    }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::cluster_key::ClusterKey;
    use crate::seam::SystemRng;

    proptest! {
        #[test]
        fn order_does_not_matter_and_remove_undoes_add(terms in prop::collection::vec(any::<[u8; 32]>(), 1..20)) {
            let mut forward = Head::empty();
            let mut backward = Head::empty();
            terms.iter().for_each(|t| forward.add(*t));
            terms.iter().rev().for_each(|t| backward.add(*t));
            prop_assert_eq!(&forward, &backward);
            terms.iter().for_each(|t| forward.remove(*t));
            prop_assert_eq!(forward, Head::empty());
        }
    }

    #[test]
    fn the_sum_carries_over_all_bytes() {
        let mut one = [0; 32];
        one[31] = 1;
        let mut head = Head { version: 1, count: 1, digest: [0xff; 32] };
        head.add(one);
        assert_eq!(head.digest, [0; 32]);
        head.remove(one);
        assert_eq!(head.digest, [0xff; 32]);
    }

    #[test]
    fn a_head_opens_as_its_own_version_only() {
        let sealer = ClusterKey::generate(&SystemRng).rows("region", "cluster-a");
        let mut head = Head::empty().next();
        head.add([5; 32]);
        let row = head.seal(&sealer, &SystemRng);
        assert_eq!(Head::open(&sealer, &row).unwrap(), head);
        assert!(Head::open(&sealer, &HeadRow { version: 2, ..row.clone() }).is_err());
        for i in 0..row.sealed.len() {
            let mut changed = row.clone();
            changed.sealed[i] ^= 0x80;
            assert!(Head::open(&sealer, &changed).is_err(), "byte {i}");
        }
    }
}
