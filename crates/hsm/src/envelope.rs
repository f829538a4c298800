//! Owns the envelope: a data key on its way to another region. It is made anew for each attempt, wrapped to the key that
//! the host's own files pin, and signed by the region's identity key. Copying wraps the data key again; it never touches the
//! payload.
//!
//! Layout: id of the signing key (4) ‖ Ed25519 signature (64) ‖ CBOR. The signature covers a label and the CBOR, and is
//! checked before the CBOR is parsed. The data key is sealed under a key of its own: HPKE (X-Wing, base mode) export of
//! 16 random bytes ‖ copy id ‖ D ‖ hop. One HPKE context serves a peer's key for an hour, since setting one up costs far
//! more than an export; each envelope carries its encapsulated key.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use data_encoding::HEXLOWER;
use hpke::aead::{AeadCtxR, AeadCtxS, ExportOnlyAead};
use hpke::kdf::HkdfSha256;
use hpke::kem::{Kem, XWing};
use hpke::rand_core::{TryCryptoRng, TryRng};
use hpke::{Deserializable, OpModeR, OpModeS, Serializable};
use minicbor::{Decode, Encode};
use strongroom_link::host::{Failure, FailureCode};
use zeroize::Zeroizing;

use crate::data_key::DataKey;
use crate::fault::failure;
use crate::kdf::{Key, push_part};
use crate::pins::Pin;
use crate::root::{self, RegionKeys};
use crate::seal::Sealer;
use crate::seam::{Rng, random};

const FORMAT: u32 = 1;
const KEY_ID: usize = 4;
const SIGNATURE: usize = 64;
const SIGNED: &[u8] = b"strongroom envelope 1\x00";
const HOUR_MS: i64 = 3_600_000;
/// How many peers' contexts are kept; the oldest goes first.
const CONTEXTS_MAX: usize = 64;

type Sender = AeadCtxS<ExportOnlyAead, HkdfSha256, XWing>;
type Receiver = AeadCtxR<ExportOnlyAead, HkdfSha256, XWing>;

/// What an envelope is about, the same on both sides.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hop<'a> {
    /// The copy.
    pub(crate) copy: &'a str,
    /// RegionId of the source.
    pub(crate) source: &'a str,
    /// The backup there.
    pub(crate) backup: &'a str,
    /// RegionId of the destination.
    pub(crate) destination: &'a str,
    /// D.
    pub(crate) digest: &'a [u8; 32],
}

#[derive(Encode, Decode)]
#[cbor(map)]
struct Envelope {
    #[n(0)]
    format: u32,
    #[n(1)]
    copy: String,
    #[n(2)]
    source: String,
    #[n(3)]
    backup: String,
    #[n(4)]
    destination: String,
    #[n(5)]
    recipient: String,
    #[cbor(n(6), with = "minicbor::bytes")]
    encapsulated_key: Vec<u8>,
    #[cbor(n(7), with = "minicbor::bytes")]
    salt: [u8; 16],
    #[cbor(n(8), with = "minicbor::bytes")]
    sealed_key: Vec<u8>,
    #[cbor(n(9), with = "minicbor::bytes")]
    digest: [u8; 32],
}

/// Makes and opens envelopes, and keeps the HPKE contexts of the hour.
#[derive(Default)]
pub(crate) struct Envelopes {
    senders: Mutex<Contexts<Sender>>,
    receivers: Mutex<Contexts<Receiver>>,
}

impl Envelopes {
    /// Wraps `key` to the first key of `pin` and signs.
    ///
    /// # Errors
    /// `Unpinned` if the pin holds no key that can be wrapped to.
    pub(crate) fn wrap(
        &self,
        hop: Hop<'_>,
        key: &DataKey,
        pin: &Pin,
        ours: &RegionKeys,
        now_ms: i64,
        rng: &dyn Rng,
    ) -> Result<Vec<u8>, Failure> {
        let no_key = || failure(FailureCode::Unpinned, format!("the pin of {} has no X-Wing key", pin.name));
        let bytes = pin.hpke_keys.first().ok_or_else(no_key)?;
        let public_key = root::receiving_key(bytes).ok_or_else(no_key)?;
        let recipient = root::public_key(bytes).id;
        let info = info(hop.source, hop.destination, &recipient);
        let salt = random::<16>(rng);
        let context = export_context(&salt, hop, &recipient);

        let mut senders = self.senders.lock().unwrap_or_else(PoisonError::into_inner);
        let sender = senders.get_or_make(&[bytes.as_slice(), &info].concat(), now_ms, || {
            let (mode, mut rng) = (OpModeS::Base, HpkeRng(rng));
            let made = hpke::setup_sender_with_rng::<_, _, XWing>(&mode, &public_key, &info, &mut rng).ok()?;
            Some((made.0.to_bytes().to_vec(), made.1))
        });
        let (encapsulated_key, sender) = sender.ok_or_else(no_key)?;
        let wrapping = export(|out| sender.export(&context, out));
        let envelope = Envelope {
            format: FORMAT,
            copy: hop.copy.to_owned(),
            source: hop.source.to_owned(),
            backup: hop.backup.to_owned(),
            destination: hop.destination.to_owned(),
            recipient,
            encapsulated_key: encapsulated_key.clone(),
            salt,
            sealed_key: Sealer::new(&wrapping).seal(b"", key.expose(), rng),
            digest: *hop.digest,
        };
        Ok(sign(&envelope, ours))
    }

    /// Verifies that `peer` signed the envelope for this copy, manifest and region, and opens its data key. `ours` are the
    /// keys of all loaded roots.
    ///
    /// # Errors
    /// `KeyUnknown` if no pinned key has the id of the one that signed; `KeyRetired` if it is wrapped to a key that is not
    /// loaded; else `Rejected`.
    pub(crate) fn open(
        &self,
        envelope: &[u8],
        peer: Option<&Pin>,
        expected: Expected<'_>,
        ours: &[RegionKeys],
        now_ms: i64,
    ) -> Result<DataKey, Failure> {
        let rejected = |what: &str| failure(FailureCode::Rejected, format!("the envelope {what}"));
        let signed = verify(envelope, peer)?;
        let envelope: Envelope = minicbor::decode(signed).map_err(|_| rejected("is not one"))?;
        if envelope.format != FORMAT {
            return Err(rejected("has an unknown format"));
        }
        if envelope.copy != expected.copy {
            return Err(rejected("is about another copy"));
        }
        if envelope.source != expected.source || envelope.destination != expected.destination {
            return Err(rejected("is about other regions"));
        }
        if envelope.digest != *expected.digest {
            return Err(rejected("is about another manifest"));
        }
        let Some(key) = ours.iter().find(|keys| keys.hpke_key.id == envelope.recipient) else {
            let text = format!("the envelope is wrapped to key {}, which is not loaded here", envelope.recipient);
            return Err(failure(FailureCode::KeyRetired, text));
        };
        self.unwrap(&envelope, key, now_ms).ok_or_else(|| rejected("does not open"))
    }

    fn unwrap(&self, envelope: &Envelope, key: &RegionKeys, now_ms: i64) -> Option<DataKey> {
        let info = info(&envelope.source, &envelope.destination, &envelope.recipient);
        let encapsulated = &envelope.encapsulated_key;
        let hop = Hop {
            copy: &envelope.copy,
            source: &envelope.source,
            backup: &envelope.backup,
            destination: &envelope.destination,
            digest: &envelope.digest,
        };
        let context = export_context(&envelope.salt, hop, &envelope.recipient);
        let mut receivers = self.receivers.lock().unwrap_or_else(PoisonError::into_inner);
        let (_, receiver) = receivers.get_or_make(&[encapsulated.as_slice(), &info].concat(), now_ms, || {
            let encapsulated = <XWing as Kem>::EncappedKey::from_bytes(encapsulated).ok()?;
            let receiver = hpke::setup_receiver(&OpModeR::Base, &key.opening, &encapsulated, &info).ok()?;
            Some((vec![], receiver))
        })?;
        let wrapping = export(|out| receiver.export(&context, out));
        let opened = Sealer::new(&wrapping).open(b"", &envelope.sealed_key)?;
        DataKey::from_slice(&opened)
    }
}

impl fmt::Debug for Envelopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Envelopes(..)")
    }
}

/// What the receiver knows already and the envelope must agree with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Expected<'a> {
    /// The copy that was announced.
    pub(crate) copy: &'a str,
    /// RegionId of the peer.
    pub(crate) source: &'a str,
    /// This region's.
    pub(crate) destination: &'a str,
    /// D of the manifest that came along.
    pub(crate) digest: &'a [u8; 32],
}

fn sign(envelope: &Envelope, ours: &RegionKeys) -> Vec<u8> {
    let cbor = minicbor::to_vec(envelope).expect("a vector takes all bytes");
    let signature = ours.signing.sign(&[SIGNED, &cbor].concat());
    let id = HEXLOWER.decode(ours.identity_key.id.as_bytes()).expect("a key id is hex");
    [&id, signature.as_ref(), &cbor].concat()
}

/// The signed bytes, if one of the peer's keys signed them.
fn verify<'a>(envelope: &'a [u8], peer: Option<&Pin>) -> Result<&'a [u8], Failure> {
    let rejected = |what: &str| failure(FailureCode::Rejected, format!("the envelope {what}"));
    let (id, rest) = envelope.split_first_chunk::<KEY_ID>().ok_or_else(|| rejected("is cut"))?;
    let (signature, cbor) = rest.split_first_chunk::<SIGNATURE>().ok_or_else(|| rejected("is cut"))?;
    let id = HEXLOWER.encode(id);
    let pinned = peer.into_iter().flat_map(|pin| &pin.identity_keys);
    let mut named = pinned.filter(|key| root::public_key(key).id == id).peekable();
    if named.peek().is_none() {
        let text = format!("the envelope names signing key {id}, which is not pinned here");
        return Err(failure(FailureCode::KeyUnknown, text));
    }
    let message = [SIGNED, cbor].concat();
    if named.any(|key| UnparsedPublicKey::new(&ED25519, key).verify(&message, signature).is_ok()) {
        Ok(cbor)
    } else {
        Err(rejected("is not signed by the region that it came from"))
    }
}

fn info(source: &str, destination: &str, recipient: &str) -> Vec<u8> {
    let mut info = SIGNED.to_vec();
    for part in [source, destination, recipient] {
        push_part(&mut info, part.as_bytes());
    }
    info
}

fn export_context(salt: &[u8; 16], hop: Hop<'_>, recipient: &str) -> Vec<u8> {
    let mut context = salt.to_vec();
    push_part(&mut context, hop.copy.as_bytes());
    context.extend_from_slice(hop.digest);
    for part in [hop.source, hop.backup, hop.destination, recipient] {
        push_part(&mut context, part.as_bytes());
    }
    context
}

fn export(run: impl FnOnce(&mut [u8]) -> Result<(), hpke::HpkeError>) -> Key {
    let mut key = Zeroizing::new([0; 32]);
    run(key.as_mut_slice()).expect("32 bytes are within HKDF-SHA256's limit of 8160");
    key
}

/// Contexts by what they were made from, each for an hour.
struct Contexts<C>(HashMap<Vec<u8>, Context<C>>);

struct Context<C> {
    made_ms: i64,
    value: (Vec<u8>, C),
}

impl<C> Default for Contexts<C> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<C> Contexts<C> {
    fn get_or_make(
        &mut self,
        from: &[u8],
        now_ms: i64,
        make: impl FnOnce() -> Option<(Vec<u8>, C)>,
    ) -> Option<&(Vec<u8>, C)> {
        // A clock that was set back also ends a context.
        self.0.retain(|_, context| (0..HOUR_MS).contains(&now_ms.saturating_sub(context.made_ms)));
        if !self.0.contains_key(from) {
            let value = make()?;
            if self.0.len() >= CONTEXTS_MAX {
                let oldest = self.0.iter().min_by_key(|(_, context)| context.made_ms).map(|(from, _)| from.clone());
                oldest.and_then(|oldest| self.0.remove(&oldest));
            }
            self.0.insert(from.to_vec(), Context { made_ms: now_ms, value });
        }
        self.0.get(from).map(|context| &context.value)
    }
}

/// Our generator in the form that `hpke` takes.
struct HpkeRng<'a>(&'a dyn Rng);

impl TryRng for HpkeRng<'_> {
    type Error = std::convert::Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        Ok(u32::from_be_bytes(random(self.0)))
    }

    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        Ok(u64::from_be_bytes(random(self.0)))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Self::Error> {
        self.0.fill(bytes);
        Ok(())
    }
}

impl TryCryptoRng for HpkeRng<'_> {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::root::Root;
    use crate::seam::SystemRng;

    const D: [u8; 32] = [9; 32];
    const HOP: Hop<'_> =
        Hop { copy: "copy-a", source: "region-a", backup: "backup-a", destination: "region-b", digest: &D };
    const EXPECTED: Expected<'_> = Expected { copy: "copy-a", source: "region-a", destination: "region-b", digest: &D };

    struct Region {
        keys: RegionKeys,
        pin: Pin,
        envelopes: Envelopes,
    }

    fn region(region_id: &str) -> Region {
        let keys = RegionKeys::derive(&Root::generate(&SystemRng));
        let pin = Pin {
            name: region_id.to_owned(),
            region_id: region_id.to_owned(),
            hpke_keys: vec![keys.hpke_key.bytes.clone()],
            identity_keys: vec![keys.identity_key.bytes.clone()],
        };
        Region { keys, pin, envelopes: Envelopes::default() }
    }

    fn wrap(from: &Region, to: &Region, key: &DataKey, now_ms: i64) -> Vec<u8> {
        from.envelopes.wrap(HOP, key, &to.pin, &from.keys, now_ms, &SystemRng).unwrap()
    }

    fn open(to: &Region, from: &Region, envelope: &[u8]) -> Result<DataKey, Failure> {
        to.envelopes.open(envelope, Some(&from.pin), EXPECTED, std::slice::from_ref(&to.keys), 0)
    }

    #[test]
    fn an_envelope_opens_in_any_order_and_again_and_after_a_restart() {
        let (a, b) = (region("region-a"), region("region-b"));
        let keys: Vec<_> = (0..3).map(|_| DataKey::generate(&SystemRng)).collect();
        let envelopes: Vec<_> = keys.iter().map(|key| wrap(&a, &b, key, 0)).collect();
        for i in [2, 0, 1, 0] {
            assert_eq!(open(&b, &a, &envelopes[i]).unwrap().expose(), keys[i].expose());
        }
        let restarted = Region { envelopes: Envelopes::default(), ..b };
        assert_eq!(open(&restarted, &a, &envelopes[1]).unwrap().expose(), keys[1].expose());
    }

    #[test]
    fn a_context_lasts_an_hour_and_gives_each_envelope_its_own_key() {
        let (a, b) = (region("region-a"), region("region-b"));
        let key = DataKey::generate(&SystemRng);
        let inner =
            |now_ms| -> Envelope { minicbor::decode(&wrap(&a, &b, &key, now_ms)[KEY_ID + SIGNATURE..]).unwrap() };
        let (first, second, later) = (inner(0), inner(HOUR_MS - 1), inner(HOUR_MS));
        assert_eq!(first.encapsulated_key, second.encapsulated_key);
        assert_ne!(first.salt, second.salt);
        assert_ne!(first.encapsulated_key, later.encapsulated_key);
        assert_eq!(first.encapsulated_key.len(), 1120);
    }

    #[test]
    fn no_flipped_or_missing_byte_opens() {
        let (a, b) = (region("region-a"), region("region-b"));
        let envelope = wrap(&a, &b, &DataKey::generate(&SystemRng), 0);
        for i in 0..envelope.len() {
            let mut changed = envelope.clone();
            changed[i] ^= 1;
            let code = open(&b, &a, &changed).unwrap_err().code;
            let expected = if i < KEY_ID { FailureCode::KeyUnknown } else { FailureCode::Rejected };
            assert_eq!(code, expected, "byte {i}");
            assert!(open(&b, &a, &envelope[..i]).is_err(), "cut at {i}");
        }
    }

    #[test]
    fn who_is_not_the_pinned_peer_is_refused_for_the_signature() {
        let (a, b, mallory) = (region("region-a"), region("region-b"), region("region-a"));
        let forged = wrap(&mallory, &b, &DataKey::generate(&SystemRng), 0);
        assert_eq!(open(&b, &a, &forged).unwrap_err().code, FailureCode::KeyUnknown);
        // The same under the name of the real key, and around random bytes.
        let id = HEXLOWER.decode(a.keys.identity_key.id.as_bytes()).unwrap();
        let renamed = [&id, &forged[KEY_ID..]].concat();
        let refused = open(&b, &a, &renamed).unwrap_err();
        assert_eq!(refused.code, FailureCode::Rejected);
        assert!(refused.text.contains("not signed"), "{}", refused.text);
        let noise = [&id[..], &random::<64>(&SystemRng), &random::<200>(&SystemRng)].concat();
        assert!(open(&b, &a, &noise).unwrap_err().text.contains("not signed"));
        let unpinned = b.envelopes.open(&wrap(&a, &b, &DataKey::generate(&SystemRng), 0), None, EXPECTED, &[], 0);
        assert_eq!(unpinned.unwrap_err().code, FailureCode::KeyUnknown);
    }

    #[test]
    fn what_it_is_about_must_be_what_was_announced() {
        let (a, b) = (region("region-a"), region("region-b"));
        let envelope = wrap(&a, &b, &DataKey::generate(&SystemRng), 0);
        let code = |expected| {
            let ours = std::slice::from_ref(&b.keys);
            b.envelopes.open(&envelope, Some(&a.pin), expected, ours, 0).unwrap_err().code
        };
        assert_eq!(code(Expected { copy: "copy-b", ..EXPECTED }), FailureCode::Rejected);
        assert_eq!(code(Expected { source: "region-c", ..EXPECTED }), FailureCode::Rejected);
        assert_eq!(code(Expected { destination: "region-c", ..EXPECTED }), FailureCode::Rejected);
        assert_eq!(code(Expected { digest: &[8; 32], ..EXPECTED }), FailureCode::Rejected);
        let other = region("region-b");
        assert_eq!(open(&other, &a, &envelope).unwrap_err().code, FailureCode::KeyRetired);
    }

    #[test]
    fn a_pin_without_a_usable_key_is_no_pin() {
        let (a, mut b) = (region("region-a"), region("region-b"));
        for keys in [vec![], vec![vec![1; 32]], vec![vec![0xff; 1216]]] {
            b.pin.hpke_keys = keys;
            let key = DataKey::generate(&SystemRng);
            let refused = a.envelopes.wrap(HOP, &key, &b.pin, &a.keys, 0, &SystemRng).unwrap_err();
            assert_eq!(refused.code, FailureCode::Unpinned);
        }
    }

    #[test]
    fn contexts_are_bounded() {
        let mut contexts = Contexts::default();
        for i in 0..200_u8 {
            contexts.get_or_make(&[i], i64::from(i), || Some((vec![i], ()))).unwrap();
        }
        assert_eq!(contexts.0.len(), CONTEXTS_MAX);
        assert!(contexts.0.contains_key(&vec![199]));
    }
}
