//! Owns the data key of a backup: drawn for one payload, used once. At rest it is a header: format ‖ D ‖ the key sealed
//! under HKDF(root, "backup") with D as AAD, so that a header opens for its own manifest only.

use std::fmt;

use zeroize::Zeroizing;

use crate::root::{Purpose, Roots};
use crate::seal::Damaged;
use crate::seam::Rng;

const FORMAT: u8 = 1;
const AAD: &[u8] = b"strongroom data key\x00";

/// The key of one payload.
pub(crate) struct DataKey(Zeroizing<[u8; 32]>);

impl DataKey {
    /// A new key.
    pub(crate) fn generate(rng: &dyn Rng) -> Self {
        let mut key = Zeroizing::new([0; 32]);
        rng.fill(key.as_mut_slice());
        Self(key)
    }

    /// The key that was opened; `None` if it has not 32 bytes.
    pub(crate) fn from_slice(bytes: &[u8]) -> Option<Self> {
        let mut key = Zeroizing::new([0; 32]);
        if bytes.len() != key.len() {
            return None;
        }
        key.copy_from_slice(bytes);
        Some(Self(key))
    }

    /// The key itself, for sealing it and for the payload's cipher.
    pub(crate) fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    /// The header under the current root, for the manifest with digest `d`.
    pub(crate) fn to_header(&self, roots: &Roots, d: &[u8; 32], rng: &dyn Rng) -> Vec<u8> {
        let mut header = vec![FORMAT];
        header.extend_from_slice(d);
        header.extend_from_slice(&roots.seal(Purpose::Backup, &aad(d), self.expose(), rng));
        header
    }

    /// Opens the header of the manifest with digest `d`.
    pub(crate) fn from_header(roots: &Roots, header: &[u8], d: &[u8; 32]) -> Result<Self, Damaged> {
        let (named, key) = open(roots, header)?;
        if named != *d {
            return Err(Damaged::new("the header is of another manifest"));
        }
        Ok(key)
    }
}

impl fmt::Debug for DataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DataKey(..)")
    }
}

/// Seals a header anew under the current root.
pub(crate) fn reseal(roots: &Roots, header: &[u8], rng: &dyn Rng) -> Result<Vec<u8>, Damaged> {
    let (d, key) = open(roots, header)?;
    Ok(key.to_header(roots, &d, rng))
}

fn open(roots: &Roots, header: &[u8]) -> Result<([u8; 32], DataKey), Damaged> {
    let cut = || Damaged::new("the header is cut");
    let (format, rest) = header.split_first().ok_or_else(cut)?;
    let (d, sealed) = rest.split_first_chunk::<32>().ok_or_else(cut)?;
    if *format != FORMAT {
        return Err(Damaged(format!("the header has the unknown format {format}")));
    }
    let opened = roots.open(Purpose::Backup, &aad(d), sealed)?;
    let key = DataKey::from_slice(&opened).ok_or_else(|| Damaged::new("the data key has the wrong length"))?;
    Ok((*d, key))
}

fn aad(d: &[u8; 32]) -> Vec<u8> {
    [AAD, d].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::root::Root;
    use crate::seam::SystemRng;

    #[test]
    fn a_header_opens_for_its_manifest_only_and_no_flipped_byte_does() {
        let roots = Roots::new(vec![Root::generate(&SystemRng)]).unwrap();
        let key = DataKey::generate(&SystemRng);
        let header = key.to_header(&roots, &[1; 32], &SystemRng);
        assert_eq!(DataKey::from_header(&roots, &header, &[1; 32]).unwrap().expose(), key.expose());
        assert!(DataKey::from_header(&roots, &header, &[2; 32]).is_err());
        for i in 0..header.len() {
            let mut changed = header.clone();
            changed[i] ^= 1;
            assert!(DataKey::from_header(&roots, &changed, &[1; 32]).is_err(), "byte {i}");
            // Also with the digest changed to fit.
            let d = changed[1..33].try_into().unwrap();
            assert!(DataKey::from_header(&roots, &changed, &d).is_err(), "byte {i}");
            assert!(DataKey::from_header(&roots, &header[..i], &[1; 32]).is_err(), "cut at {i}");
        }
    }

    #[test]
    fn a_header_is_sealed_anew_under_the_current_root() {
        let [old, new] = [Root::generate(&SystemRng), Root::generate(&SystemRng)];
        let before = Roots::new(vec![old.clone()]).unwrap();
        let during = Roots::new(vec![new.clone(), old]).unwrap();
        let after = Roots::new(vec![new]).unwrap();
        let key = DataKey::generate(&SystemRng);
        let header = key.to_header(&before, &[1; 32], &SystemRng);
        assert!(reseal(&after, &header, &SystemRng).is_err());
        let resealed = reseal(&during, &header, &SystemRng).unwrap();
        assert_eq!(DataKey::from_header(&after, &resealed, &[1; 32]).unwrap().expose(), key.expose());
    }
}
