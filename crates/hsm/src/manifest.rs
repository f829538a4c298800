//! Owns a manifest's body: what a backup is, in canonical CBOR, the same over any number of copies. D, its SHA-256, is what
//! everything else binds: the seal of the data key, the envelope, the receipts. A body is written once, at the snapshot, and
//! never changed; reading takes only the bytes that writing makes.

use aws_lc_rs::digest::{SHA256, digest};
use minicbor::{Decode, Encode};
use strongroom_link::host::Facts;

use crate::certificate::PEM_MAX;
use crate::payload::{CHUNK, TAG};

/// The form of body and payload.
const FORMAT: u32 = 1;
/// SHA-256.
const DIGEST: usize = 32;
/// A payload is at most 31 GiB: the answer to a snapshot carries the digests twice, in body and facts, and is one frame.
pub(crate) const CHUNKS_MAX: usize = 32_000;
const ID_MAX: usize = 64;

/// The body. Members are numbered for good; a new one needs a new format.
#[derive(Encode, Decode)]
#[cbor(map)]
struct Body {
    #[n(0)]
    format: u32,
    #[n(1)]
    origin: String,
    #[n(2)]
    backup: String,
    #[n(3)]
    cluster: String,
    #[n(4)]
    lineage: String,
    #[n(5)]
    mode: String,
    #[n(6)]
    hsm_type: String,
    #[n(7)]
    created_at: i64,
    #[n(8)]
    users: u32,
    #[n(9)]
    keys: u32,
    #[n(10)]
    bytes: u64,
    #[n(11)]
    chunk_size: u32,
    #[cbor(n(12), with = "minicbor::bytes")]
    chunk_digests: Vec<u8>,
    #[n(13)]
    cluster_certificate: String,
}

/// Writes the body that says these facts and sets their digest to D.
pub(crate) fn write(facts: &mut Facts) -> Vec<u8> {
    let body = to_bytes(&Body {
        format: FORMAT,
        origin: facts.origin.clone(),
        backup: facts.backup.clone(),
        cluster: facts.cluster.clone(),
        lineage: facts.lineage.clone(),
        mode: facts.mode.clone(),
        hsm_type: facts.hsm_type.clone(),
        created_at: facts.created_at,
        users: facts.users,
        keys: facts.keys,
        bytes: facts.bytes,
        chunk_size: facts.chunk_size,
        chunk_digests: facts.chunk_digests.clone(),
        cluster_certificate: facts.cluster_certificate.clone(),
    });
    facts.digest = sha256(&body);
    body
}

/// Reads a body: all of it, in the one form, within the limits.
///
/// # Errors
/// What is wrong with it.
pub fn read(bytes: &[u8]) -> Result<Facts, String> {
    let body: Body = minicbor::decode(bytes).map_err(|e| format!("the manifest is not one: {e}"))?;
    if body.format != FORMAT {
        return Err(format!("the manifest has format {}, this version reads {FORMAT}", body.format));
    }
    if to_bytes(&body) != bytes {
        return Err("the manifest is not in canonical form".to_owned());
    }
    check_limits(&body)?;
    Ok(Facts {
        origin: body.origin,
        backup: body.backup,
        cluster: body.cluster,
        lineage: body.lineage,
        mode: body.mode,
        hsm_type: body.hsm_type,
        created_at: body.created_at,
        users: body.users,
        keys: body.keys,
        bytes: body.bytes,
        chunk_size: body.chunk_size,
        chunk_digests: body.chunk_digests,
        digest: sha256(bytes),
        cluster_certificate: body.cluster_certificate,
    })
}

fn check_limits(body: &Body) -> Result<(), String> {
    for id in [&body.origin, &body.backup, &body.cluster, &body.lineage, &body.mode, &body.hsm_type] {
        if id.is_empty() || id.len() > ID_MAX {
            return Err(format!("a name in the manifest has {} bytes; 1 to {ID_MAX} are possible", id.len()));
        }
    }
    if body.cluster_certificate.len() > PEM_MAX {
        return Err("the cluster certificate in the manifest is too long".to_owned());
    }
    let chunks = body.chunk_digests.len() / DIGEST;
    if chunks == 0 || chunks > CHUNKS_MAX || !body.chunk_digests.len().is_multiple_of(DIGEST) {
        return Err("the manifest has no possible number of chunk digests".to_owned());
    }
    if body.chunk_size as usize != CHUNK {
        return Err(format!("the manifest has chunks of {} bytes, this version reads {CHUNK}", body.chunk_size));
    }
    let before_last = (chunks - 1) as u64 * CHUNK as u64;
    let last = body.bytes.checked_sub(before_last);
    if last.is_none_or(|last| last < TAG as u64 || last > CHUNK as u64) {
        return Err("the size in the manifest is not that of its chunks".to_owned());
    }
    Ok(())
}

/// How many chunks a payload has.
pub(crate) fn chunk_count(facts: &Facts) -> u32 {
    u32::try_from(facts.chunk_digests.len() / DIGEST).expect("a body that was read has at most CHUNKS_MAX chunks")
}

/// The digest of chunk `n`.
pub(crate) fn chunk_digest(facts: &Facts, n: u32) -> &[u8] {
    &facts.chunk_digests[n as usize * DIGEST..][..DIGEST]
}

/// SHA-256.
pub(crate) fn sha256(bytes: &[u8]) -> [u8; DIGEST] {
    digest(&SHA256, bytes).as_ref().try_into().expect("SHA-256 has 32 bytes")
}

fn to_bytes(body: &Body) -> Vec<u8> {
    minicbor::to_vec(body).expect("a vector takes all bytes")
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    pub(crate) fn facts() -> Facts {
        Facts {
            origin: "origin".into(),
            backup: "backup-on5rnxxrbwa".into(),
            cluster: "cluster-laci57k43pe".into(),
            lineage: "lineage".into(),
            mode: "FIPS".into(),
            hsm_type: "hsm2m.medium".into(),
            created_at: 1_795_000_000_000,
            users: 2,
            keys: 1,
            bytes: CHUNK as u64 + 1000,
            chunk_size: CHUNK as u32,
            chunk_digests: vec![7; 64],
            digest: [0; 32],
            cluster_certificate: "certificate".into(),
        }
    }

    #[test]
    fn a_body_reads_back_with_its_digest() {
        let mut facts = facts();
        let body = write(&mut facts);
        assert_eq!(read(&body).unwrap(), facts);
        assert_eq!(facts.digest, sha256(&body));
    }

    #[test]
    fn only_the_canonical_form_is_read() {
        let mut facts = facts();
        let body = write(&mut facts);
        let mut longer = body.clone();
        longer.push(0);
        assert!(read(&longer).is_err());
        for i in 0..body.len() {
            assert!(read(&body[..i]).is_err(), "cut at {i}");
        }
        // The map head with its length in two bytes instead of one means the same and is refused.
        let mut wide = vec![0xb8, body[0] & 0x1f];
        wide.extend_from_slice(&body[1..]);
        assert!(read(&wide).unwrap_err().contains("canonical"));
    }

    #[test]
    fn limits_hold() {
        let refused = |change: fn(&mut Facts)| {
            let mut facts = facts();
            change(&mut facts);
            let body = write(&mut facts);
            read(&body).unwrap_err()
        };
        refused(|facts| facts.bytes = CHUNK as u64);
        refused(|facts| facts.bytes = 2 * CHUNK as u64 + 1);
        refused(|facts| facts.bytes = u64::MAX);
        refused(|facts| facts.chunk_digests.clear());
        refused(|facts| {
            facts.chunk_digests.pop();
        });
        refused(|facts| facts.chunk_digests = vec![0; 32 * (CHUNKS_MAX + 1)]);
        refused(|facts| facts.chunk_size = 1);
        refused(|facts| facts.cluster = String::new());
        refused(|facts| facts.lineage = "x".repeat(65));
        refused(|facts| facts.cluster_certificate = "x".repeat(PEM_MAX + 1));
    }

    #[test]
    fn the_longest_body_fits_a_frame() {
        let mut longest = facts();
        longest.chunk_digests = vec![0; 32 * CHUNKS_MAX];
        longest.bytes = (CHUNKS_MAX * CHUNK) as u64;
        longest.cluster_certificate = "x".repeat(PEM_MAX);
        let body = write(&mut longest);
        assert!(read(&body).is_ok());
        let answer = strongroom_link::host::Answer::Snapshot { body, header: vec![0; 256], facts: longest };
        assert!(minicbor::to_vec(answer).unwrap().len() < strongroom_link::frame::FRAME_MAX);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(read(&bytes).is_err());
        }
    }
}
