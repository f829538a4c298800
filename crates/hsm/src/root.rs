//! Owns a region's roots: 32 bytes each, from key files that the binary reads and writes. Everything at rest that opens
//! without a cluster key hangs from a root by HKDF, each purpose under a label of its own: the sealing keys, the X-Wing
//! pair that receives copies, the Ed25519 pair that signs them, and the P-384 pairs that vouch for clusters.
//!
//! A sealed secret is format ‖ fingerprint of its root (8) ‖ the seal, so that roots can rotate. A root is never shown; its
//! fingerprint is public.

use std::fmt;

use aws_lc_rs::digest;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use data_encoding::HEXLOWER as HEX;
use hpke::kem::{Kem, XWing};
use hpke::{Deserializable, Serializable};
use strongroom_link::host::PublicKey;
use zeroize::Zeroizing;

use crate::kdf::{self, Key};
use crate::seal::{Damaged, Sealer};
use crate::seam::Rng;

const FORMAT: u8 = 1;
const FINGERPRINT: usize = 8;
const TEXT_TAG: &str = "strongroom-root-1";

/// The X-Wing private key of a region.
pub(crate) type OpeningKey = <XWing as Kem>::PrivateKey;

/// A region root.
#[derive(Clone)]
pub struct Root(Zeroizing<[u8; 32]>);

impl Root {
    /// A new root.
    pub fn generate(rng: &dyn Rng) -> Self {
        let mut root = Zeroizing::new([0; 32]);
        rng.fill(root.as_mut_slice());
        Self(root)
    }

    /// 16 hex digits that name the root: the start of SHA-256 over a label and the root.
    pub fn fingerprint(&self) -> String {
        let mut labelled = Zeroizing::new(b"strongroom root fingerprint\x00".to_vec());
        labelled.reserve_exact(32);
        labelled.extend_from_slice(self.0.as_slice());
        HEX.encode(&digest::digest(&digest::SHA256, &labelled).as_ref()[..FINGERPRINT])
    }

    /// The content of a key file: a comment for whoever opens it, then tag, root and fingerprint in one line.
    pub fn to_text(&self) -> Zeroizing<String> {
        let root = Zeroizing::new(HEX.encode(self.0.as_slice()));
        // Growing would leave unwiped copies behind.
        let mut text = Zeroizing::new(String::with_capacity(256));
        let comment = "# A root key of a strongroom region. Keep a copy in a safe: without it nothing opens.\n";
        for part in [comment, TEXT_TAG, " ", root.as_str(), " ", &self.fingerprint(), "\n"] {
            text.push_str(part);
        }
        text
    }

    /// Reads a key file: lines that begin with `#` and exactly one line with a root. The fingerprint must be the root's,
    /// so that a typing error is found here and not by a backup that does not open.
    ///
    /// # Errors
    /// A sentence that says what is wrong with the file and shows nothing of it.
    pub fn from_text(text: &str) -> Result<Self, String> {
        let mut lines = text.lines().filter(|line| !line.starts_with('#'));
        let line = lines.next().ok_or("the key file holds no root")?;
        if lines.next().is_some() {
            return Err("the key file holds more than one line with a root".to_owned());
        }
        let mut words = line.split(' ');
        let (tag, root, fingerprint) = (words.next(), words.next(), words.next());
        if tag != Some(TEXT_TAG) || words.next().is_some() {
            return Err(format!("the line in the key file is not: {TEXT_TAG} ROOT FINGERPRINT"));
        }
        let bytes = HEX.decode(root.unwrap_or_default().as_bytes()).map(Zeroizing::new);
        let bytes = bytes.ok().filter(|bytes| bytes.len() == 32).ok_or("the root is not 64 hex digits")?;
        let mut root = Self(Zeroizing::new([0; 32]));
        root.0.copy_from_slice(&bytes);
        if fingerprint != Some(root.fingerprint().as_str()) {
            return Err("the root in the key file does not have the fingerprint beside it".to_owned());
        }
        Ok(root)
    }

    pub(crate) fn derive(&self, label: &str, context: &[&[u8]]) -> Key {
        kdf::derive(&self.0, label, context)
    }
}

impl fmt::Debug for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Root({})", self.fingerprint())
    }
}

/// What is sealed under a root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// A cluster key and its cluster's key pair.
    ClusterKeys,
    /// The data key of a backup.
    Backup,
}

/// The roots that are loaded, the current one first.
#[derive(Clone, Debug)]
pub struct Roots(Vec<Root>);

impl Roots {
    /// The roots in this order: new seals are made under the first, all open.
    ///
    /// # Errors
    /// A sentence, if there is none or one is there twice.
    pub fn new(roots: Vec<Root>) -> Result<Self, String> {
        let mut fingerprints: Vec<_> = roots.iter().map(Root::fingerprint).collect();
        if fingerprints.is_empty() {
            return Err("there is no root".to_owned());
        }
        fingerprints.sort_unstable();
        match fingerprints.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => Err(format!("root {} is there twice", pair[0])),
            None => Ok(Self(roots)),
        }
    }

    /// Their fingerprints, the current one first.
    pub fn fingerprints(&self) -> Vec<String> {
        self.0.iter().map(Root::fingerprint).collect()
    }

    pub(crate) fn current(&self) -> &Root {
        &self.0[0]
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Root> {
        self.0.iter()
    }

    /// Seals under the current root.
    pub(crate) fn seal(&self, purpose: Purpose, aad: &[u8], secret: &[u8], rng: &dyn Rng) -> Vec<u8> {
        let root = self.current();
        let mut sealed = vec![FORMAT];
        sealed.extend_from_slice(&HEX.decode(root.fingerprint().as_bytes()).expect("a fingerprint is hex"));
        sealed.extend_from_slice(&sealer(root, purpose).seal(aad, secret, rng));
        sealed
    }

    /// Opens under the root that is named.
    pub(crate) fn open(&self, purpose: Purpose, aad: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, Damaged> {
        let (format, rest) = sealed.split_first().ok_or_else(|| Damaged::new("a sealed key is empty"))?;
        let (named, rest) =
            rest.split_first_chunk::<FINGERPRINT>().ok_or_else(|| Damaged::new("a sealed key is cut"))?;
        if *format != FORMAT {
            return Err(Damaged(format!("a sealed key has the unknown format {format}")));
        }
        let named = HEX.encode(named);
        let root = self.0.iter().find(|root| root.fingerprint() == named);
        let root = root.ok_or_else(|| Damaged(format!("a sealed key names root {named}, which is not loaded")))?;
        let opened = sealer(root, purpose).open(aad, rest);
        opened.ok_or_else(|| Damaged(format!("a key that is sealed under root {named} does not open")))
    }
}

fn sealer(root: &Root, purpose: Purpose) -> Sealer {
    Sealer::new(&match purpose {
        Purpose::ClusterKeys => root.derive("strongroom cluster keys", &[]),
        Purpose::Backup => root.derive("strongroom backup", &[]),
    })
}

/// The key pairs of a root by which regions know each other.
pub(crate) struct RegionKeys {
    /// Opens envelopes.
    pub(crate) opening: OpeningKey,
    /// Its public half.
    pub(crate) hpke_key: PublicKey,
    /// Signs envelopes.
    pub(crate) signing: Ed25519KeyPair,
    /// Its public half.
    pub(crate) identity_key: PublicKey,
}

impl RegionKeys {
    pub(crate) fn derive(root: &Root) -> Self {
        let (opening, receiving) = XWing::derive_keypair(root.derive("strongroom hpke", &[]).as_slice());
        let seed = root.derive("strongroom identity", &[]);
        let signing = Ed25519KeyPair::from_seed_unchecked(seed.as_slice()).expect("an Ed25519 seed is any 32 bytes");
        let hpke_key = public_key(&receiving.to_bytes());
        let identity_key = public_key(signing.public_key().as_ref());
        Self { opening, hpke_key, signing, identity_key }
    }
}

impl fmt::Debug for RegionKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RegionKeys({}, {})", self.hpke_key.id, self.identity_key.id)
    }
}

/// A public key with its short name, the first 8 hex digits of its SHA-256.
pub(crate) fn public_key(bytes: &[u8]) -> PublicKey {
    let id = HEX.encode(&digest::digest(&digest::SHA256, bytes).as_ref()[..4]);
    PublicKey { id, bytes: bytes.to_vec() }
}

/// Reads an X-Wing public key.
pub(crate) fn receiving_key(bytes: &[u8]) -> Option<<XWing as Kem>::PublicKey> {
    <XWing as Kem>::PublicKey::from_bytes(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seam::SystemRng;

    fn roots(n: usize) -> Vec<Root> {
        (0..n).map(|_| Root::generate(&SystemRng)).collect()
    }

    #[test]
    fn the_text_form_reads_back_and_takes_nothing_else() {
        let root = Root::generate(&SystemRng);
        let text = root.to_text();
        assert_eq!(Root::from_text(&text).unwrap().0, root.0);
        let line = text.lines().last().unwrap();
        assert!(Root::from_text("").is_err());
        assert!(Root::from_text("# only a comment\n").is_err());
        assert!(Root::from_text(&format!("{line}\n{line}\n")).is_err());
        assert!(Root::from_text(&format!("{line} more\n")).is_err());
        assert!(Root::from_text(&format!(" {line}\n")).is_err());
        assert!(Root::from_text(line.rsplit_once(' ').unwrap().0).is_err());
        let (head, fingerprint) = line.rsplit_once(' ').unwrap();
        let shorter = head.strip_suffix(char::is_alphanumeric).unwrap();
        assert!(Root::from_text(&format!("{shorter} {fingerprint}")).is_err());
        assert!(Root::from_text(&format!("{shorter}x {fingerprint}")).is_err());
        let last = head.chars().last().unwrap();
        let other = if last == '0' { '1' } else { '0' };
        let refused = Root::from_text(&format!("{shorter}{other} {fingerprint}")).unwrap_err();
        assert!(refused.contains("fingerprint"), "{refused}");
        assert!(!refused.contains(&shorter[20..]), "the sentence shows the root");
    }

    #[test]
    fn a_seal_opens_under_its_root_purpose_and_aad_only() {
        let [old, new] = roots(2).try_into().unwrap();
        let before = Roots::new(vec![old.clone()]).unwrap();
        let during = Roots::new(vec![new.clone(), old]).unwrap();
        let after = Roots::new(vec![new]).unwrap();
        let sealed = before.seal(Purpose::Backup, b"aad", b"secret", &SystemRng);
        assert_eq!(during.open(Purpose::Backup, b"aad", &sealed).unwrap().as_slice(), b"secret");
        assert!(after.open(Purpose::Backup, b"aad", &sealed).unwrap_err().0.contains("not loaded"));
        assert!(before.open(Purpose::Backup, b"aae", &sealed).is_err());
        assert!(before.open(Purpose::ClusterKeys, b"aad", &sealed).is_err());
        let renewed = during.seal(Purpose::Backup, b"aad", b"secret", &SystemRng);
        assert!(after.open(Purpose::Backup, b"aad", &renewed).is_ok());
        for i in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[i] ^= 1;
            assert!(before.open(Purpose::Backup, b"aad", &changed).is_err(), "byte {i}");
            assert!(before.open(Purpose::Backup, b"aad", &sealed[..i]).is_err(), "cut at {i}");
        }
    }

    #[test]
    fn the_same_root_gives_the_same_keys() {
        let [a, b] = roots(2).try_into().unwrap();
        let keys = RegionKeys::derive(&a);
        assert_eq!(keys.hpke_key, RegionKeys::derive(&a).hpke_key);
        assert_eq!(keys.identity_key, RegionKeys::derive(&a).identity_key);
        assert_ne!(keys.hpke_key, RegionKeys::derive(&b).hpke_key);
        assert_eq!(keys.hpke_key.bytes.len(), 1216);
        assert_eq!(keys.identity_key.bytes.len(), 32);
        assert!(receiving_key(&keys.hpke_key.bytes).is_some());
    }

    #[test]
    fn a_set_of_roots_has_one_and_none_twice() {
        assert!(Roots::new(vec![]).is_err());
        let root = Root::generate(&SystemRng);
        assert!(Roots::new(vec![root.clone(), root.clone()]).is_err());
        assert!(format!("{root:?}").contains(&root.fingerprint()));
    }
}
