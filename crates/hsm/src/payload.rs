//! Owns the payload of a backup: a stream of records, sealed in chunks of 1 MiB by STREAM-BE32 over AES-256-GCM under a
//! data key that is used for this one payload. The nonce of chunk n is 7 zero bytes ‖ n (u32) ‖ 1 for the last chunk, else
//! 0: no chunk opens in another's place, and no payload opens without its last.
//!
//! Writing keeps one chunk in memory; so does reading, beside the part of a record that runs over its end. The parser is
//! given [`Verified`] bytes only, which only a chunk that opened can make.
//!
//! A record is kind (1 byte) ‖ length (u32) ‖ content; see `docs/backup-format.md`.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use minicbor::{Decode, Encode};
use strongroom_link::Secret;
use zeroize::Zeroizing;

use crate::data_key::DataKey;

/// Bytes of a sealed chunk, all but the last.
pub(crate) const CHUNK: usize = 1024 * 1024;
/// Bytes of a tag.
pub(crate) const TAG: usize = 16;
const PLAIN: usize = CHUNK - TAG;
const RECORD_HEAD: usize = 5;
/// A record with an RSA-4096 key is below 4 KiB.
const RECORD_MAX: usize = 256 * 1024;

const CLUSTER: u8 = 1;
const USER: u8 = 2;
const OBJECT: u8 = 3;

/// The cluster of a snapshot; the first record.
#[derive(Debug, Encode, Decode)]
#[cbor(map)]
pub(crate) struct ClusterRecord {
    /// ClusterId where the snapshot was made.
    #[n(0)]
    pub(crate) cluster: String,
    /// The lineage of the cluster key.
    #[n(1)]
    pub(crate) lineage: String,
    /// `FIPS` or `NON_FIPS`.
    #[n(2)]
    pub(crate) mode: String,
    /// The cluster key.
    #[n(3)]
    pub(crate) cluster_key: Secret,
    /// The key pair of the cluster certificate, PKCS#8.
    #[n(4)]
    pub(crate) key_pair: Secret,
    /// ClusterCertificate, PEM.
    #[n(5)]
    pub(crate) cluster_certificate: String,
    /// The customer CA, PEM.
    #[n(6)]
    pub(crate) trust_anchor: String,
    /// The version of its head.
    #[n(7)]
    pub(crate) version: u64,
}

/// One record, as the parser gives it.
#[derive(Debug)]
pub(crate) enum Record<'a> {
    /// The cluster.
    Cluster(Box<ClusterRecord>),
    /// A user: the head version that wrote it, and the user's encoding.
    User { version: u64, user: &'a [u8] },
    /// An object: its handle, the head version that wrote it, and the object's encoding.
    Object { handle: u64, version: u64, object: &'a [u8] },
}

/// The cipher of one payload.
struct Stream(LessSafeKey);

impl Stream {
    fn new(key: &DataKey) -> Self {
        Self(LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key.expose()).expect("the key has 32 bytes")))
    }

    fn seal(&self, n: u32, is_last: bool, chunk: &mut Vec<u8>) {
        self.0
            .seal_in_place_append_tag(nonce(n, is_last), Aad::empty(), chunk)
            .expect("a chunk is far below GCM's limit of 2^36 bytes");
    }

    /// Opens a chunk at the end of `opened`; where it does not open, nothing is added.
    fn open(&self, n: u32, is_last: bool, sealed: &[u8], opened: &mut Verified) -> bool {
        let before = opened.0.len();
        opened.0.extend_from_slice(sealed);
        let chunk = &mut opened.0[before..];
        let length = self.0.open_in_place(nonce(n, is_last), Aad::empty(), chunk).map(|plain| plain.len());
        opened.0.truncate(before + length.unwrap_or_default());
        length.is_ok()
    }
}

fn nonce(n: u32, is_last: bool) -> Nonce {
    let mut nonce = [0; 12];
    nonce[7..11].copy_from_slice(&n.to_be_bytes());
    nonce[11] = u8::from(is_last);
    Nonce::assume_unique_for_key(nonce)
}

/// Plaintext of chunks that opened.
struct Verified(Zeroizing<Vec<u8>>);

/// Seals records into chunks and hands each to `sink` with its number, in order.
pub(crate) struct PayloadWriter<S> {
    stream: Stream,
    chunk: Zeroizing<Vec<u8>>,
    n: u32,
    sink: S,
}

impl<E, S: FnMut(u32, Vec<u8>) -> Result<(), E>> PayloadWriter<S> {
    /// A writer under a key that is used for nothing else.
    pub(crate) fn new(key: &DataKey, sink: S) -> Self {
        Self { stream: Stream::new(key), chunk: Zeroizing::new(Vec::with_capacity(PLAIN)), n: 0, sink }
    }

    /// Writes the cluster's record.
    pub(crate) fn cluster(&mut self, record: &ClusterRecord) -> Result<(), E> {
        let mut content = Zeroizing::new(Vec::with_capacity(64 * 1024));
        minicbor::encode(record, &mut *content).expect("a vector takes all bytes");
        self.record(CLUSTER, &[&content])
    }

    /// Writes a user's record.
    pub(crate) fn user(&mut self, version: u64, user: &[u8]) -> Result<(), E> {
        self.record(USER, &[&version.to_be_bytes(), user])
    }

    /// Writes an object's record.
    pub(crate) fn object(&mut self, handle: u64, version: u64, object: &[u8]) -> Result<(), E> {
        self.record(OBJECT, &[&handle.to_be_bytes(), &version.to_be_bytes(), object])
    }

    /// Seals the last chunk.
    pub(crate) fn finish(mut self) -> Result<(), E> {
        self.flush(true)
    }

    fn record(&mut self, kind: u8, parts: &[&[u8]]) -> Result<(), E> {
        let length: usize = parts.iter().map(|part| part.len()).sum();
        let length = u32::try_from(length).expect("a record is far below 4 GiB");
        self.append(&[kind])?;
        self.append(&length.to_be_bytes())?;
        parts.iter().try_for_each(|part| self.append(part))
    }

    /// A full chunk is sealed only when more follows, since only then is it known not to be the last.
    fn append(&mut self, mut bytes: &[u8]) -> Result<(), E> {
        while !bytes.is_empty() {
            if self.chunk.len() == PLAIN {
                self.flush(false)?;
            }
            let (now, later) = bytes.split_at(bytes.len().min(PLAIN - self.chunk.len()));
            self.chunk.extend_from_slice(now);
            bytes = later;
        }
        Ok(())
    }

    fn flush(&mut self, is_last: bool) -> Result<(), E> {
        let mut sealed = Vec::with_capacity(self.chunk.len() + TAG);
        sealed.extend_from_slice(&self.chunk);
        self.stream.seal(self.n, is_last, &mut sealed);
        self.chunk.clear();
        (self.sink)(self.n, sealed)?;
        self.n += 1;
        Ok(())
    }
}

impl<S> fmt::Debug for PayloadWriter<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PayloadWriter(chunk {})", self.n)
    }
}

/// Opens chunks in order and gives their records.
pub(crate) struct PayloadReader {
    stream: Stream,
    chunks: u32,
    n: u32,
    /// What is not parsed yet.
    pending: Verified,
}

impl PayloadReader {
    /// A reader of a payload of so many chunks.
    pub(crate) fn new(key: &DataKey, chunks: u32) -> Self {
        Self { stream: Stream::new(key), chunks, n: 0, pending: Verified(Zeroizing::new(vec![])) }
    }

    /// Opens the next chunk and gives `each` every record that is complete with it; at the last chunk none may be left over.
    ///
    /// # Errors
    /// What does not open or is not in form, or what `each` returned.
    pub(crate) fn chunk<E: From<String>>(
        &mut self,
        sealed: &[u8],
        each: &mut dyn FnMut(Record<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let n = self.n;
        let is_last = n + 1 == self.chunks;
        if n == 0 {
            // Growing would leave unwiped copies behind: this is all that will ever be needed.
            let carried = if self.chunks > 1 { RECORD_MAX + RECORD_HEAD } else { 0 };
            self.pending.0.reserve_exact(sealed.len() + carried);
        }
        if !self.stream.open(n, is_last, sealed, &mut self.pending) {
            return Err(format!("chunk {n} does not open").into());
        }
        self.n += 1;
        self.take(each)?;
        if is_last && !self.pending.0.is_empty() {
            return Err(E::from("the last record is cut".to_owned()));
        }
        Ok(())
    }

    /// Gives every record that is complete.
    fn take<E: From<String>>(&mut self, each: &mut dyn FnMut(Record<'_>) -> Result<(), E>) -> Result<(), E> {
        let mut rest = self.pending.0.as_slice();
        while let Some((content, kind, after)) = split_record(rest)? {
            each(parse_record(kind, content)?)?;
            rest = after;
        }
        let parsed = self.pending.0.len() - rest.len();
        self.pending.0.drain(..parsed);
        Ok(())
    }
}

impl fmt::Debug for PayloadReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PayloadReader(chunk {} of {})", self.n, self.chunks)
    }
}

type Split<'a> = Option<(&'a [u8], u8, &'a [u8])>;

/// The first record's content and kind and what follows it; `None` if it is not complete yet.
fn split_record(bytes: &[u8]) -> Result<Split<'_>, String> {
    let Some((head, rest)) = bytes.split_first_chunk::<RECORD_HEAD>() else {
        return Ok(None);
    };
    let [kind, length @ ..] = *head;
    let length = u32::from_be_bytes(length) as usize;
    if length > RECORD_MAX {
        return Err(format!("a record has {length} bytes; {RECORD_MAX} are possible"));
    }
    Ok(rest.split_at_checked(length).map(|(content, after)| (content, kind, after)))
}

fn parse_record(kind: u8, content: &[u8]) -> Result<Record<'_>, String> {
    let cut = || "a record is too short".to_owned();
    let number = |bytes: &mut &[u8]| -> Result<u64, String> {
        let (number, rest) = bytes.split_first_chunk::<8>().ok_or_else(cut)?;
        *bytes = rest;
        Ok(u64::from_be_bytes(*number))
    };
    let mut rest = content;
    match kind {
        CLUSTER => {
            let mut decoder = minicbor::Decoder::new(content);
            match decoder.decode() {
                Ok(record) if decoder.position() == content.len() => Ok(Record::Cluster(Box::new(record))),
                _ => Err("the cluster's record is none".to_owned()),
            }
        }
        USER => Ok(Record::User { version: number(&mut rest)?, user: rest }),
        OBJECT => {
            let (handle, version) = (number(&mut rest)?, number(&mut rest)?);
            Ok(Record::Object { handle, version, object: rest })
        }
        other => Err(format!("a record has the unknown kind {other}")),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::convert::Infallible;

    use aead_stream::{DecryptorBE32, EncryptorBE32};
    use aes_gcm::{Aes256Gcm, KeyInit};
    use proptest::prelude::*;

    use super::*;
    use crate::seam::SystemRng;

    fn cluster() -> ClusterRecord {
        ClusterRecord {
            cluster: "cluster-laci57k43pe".into(),
            lineage: "lineage".into(),
            mode: "FIPS".into(),
            cluster_key: Secret::new(vec![1; 32]),
            key_pair: Secret::new(vec![2; 1200]),
            cluster_certificate: "certificate".into(),
            trust_anchor: "anchor".into(),
            version: 9,
        }
    }

    /// The records of a payload, opened.
    pub(crate) fn plaintext(key: &DataKey, chunks: &[Vec<u8>]) -> Vec<u8> {
        let (stream, mut opened) = (Stream::new(key), Verified(Zeroizing::new(vec![])));
        for (n, chunk) in chunks.iter().enumerate() {
            assert!(stream.open(n as u32, n + 1 == chunks.len(), chunk, &mut opened));
        }
        opened.0.to_vec()
    }

    /// A payload of one chunk with whatever is in it.
    pub(crate) fn sealed(key: &DataKey, plaintext: &[u8]) -> Vec<u8> {
        let mut chunk = plaintext.to_vec();
        Stream::new(key).seal(0, true, &mut chunk);
        chunk
    }

    fn write(key: &DataKey, objects: &[Vec<u8>]) -> Vec<Vec<u8>> {
        let mut chunks = Vec::new();
        let mut writer = PayloadWriter::new(key, |n, chunk| {
            assert_eq!(n as usize, chunks.len());
            chunks.push(chunk);
            Ok::<_, Infallible>(())
        });
        writer.cluster(&cluster()).unwrap();
        writer.user(1, b"admin").unwrap();
        for (handle, object) in objects.iter().enumerate() {
            writer.object(handle as u64, 2, object).unwrap();
        }
        writer.finish().unwrap();
        chunks
    }

    fn read(key: &DataKey, chunks: &[Vec<u8>]) -> Result<Vec<Vec<u8>>, String> {
        let mut reader = PayloadReader::new(key, chunks.len() as u32);
        let mut objects = Vec::new();
        for chunk in chunks {
            reader.chunk::<String>(chunk, &mut |record| {
                match record {
                    Record::Cluster(record) => assert_eq!(record.version, 9),
                    Record::User { version, user } => assert_eq!((version, user), (1, &b"admin"[..])),
                    Record::Object { handle, version, object } => {
                        assert_eq!((handle, version), (objects.len() as u64, 2));
                        objects.push(object.to_vec());
                    }
                }
                Ok(())
            })?;
        }
        Ok(objects)
    }

    #[test]
    fn records_cross_chunks_and_chunks_have_their_size() {
        let key = DataKey::generate(&SystemRng);
        for total in [0, 1, 11, 12, 13, 30] {
            let objects: Vec<_> = (0..total).map(|i| vec![i as u8; 100_000 + i]).collect();
            let chunks = write(&key, &objects);
            assert_eq!(read(&key, &chunks).unwrap(), objects);
            assert!(chunks[..chunks.len() - 1].iter().all(|chunk| chunk.len() == CHUNK));
        }
    }

    #[test]
    fn what_is_kept_between_chunks_never_grows_and_so_leaves_no_copy() {
        let key = DataKey::generate(&SystemRng);
        for total in [1, 30] {
            let chunks = write(&key, &vec![vec![1; RECORD_MAX - 16]; total]);
            let mut reader = PayloadReader::new(&key, chunks.len() as u32);
            let mut capacity = None;
            for chunk in &chunks {
                reader.chunk::<String>(chunk, &mut |_| Ok(())).unwrap();
                assert_eq!(*capacity.get_or_insert(reader.pending.0.capacity()), reader.pending.0.capacity());
            }
        }
    }

    #[test]
    fn a_payload_that_ends_with_its_chunk_has_no_empty_chunk() {
        let key = DataKey::generate(&SystemRng);
        let before: usize = write(&key, &[vec![]])[0].len() - TAG;
        let chunks = write(&key, &[vec![0; 200_000], vec![0; 200_000], vec![0; 200_000], vec![0; 200_000], vec![]]);
        let room = CHUNK - chunks[0].len();
        assert!(before < room && room < RECORD_MAX);
        let filled = vec![vec![0; 200_000], vec![0; 200_000], vec![0; 200_000], vec![0; 200_000], vec![0; room]];
        let chunks = write(&key, &filled);
        assert_eq!((chunks.len(), chunks[0].len()), (1, CHUNK));
        assert_eq!(read(&key, &chunks).unwrap(), filled);
    }

    #[test]
    fn chunks_do_not_open_swapped_doubled_cut_or_under_another_key() {
        let key = DataKey::generate(&SystemRng);
        let objects = vec![vec![7; 250_000]; 12];
        let chunks = write(&key, &objects);
        assert_eq!(chunks.len(), 3);
        let refused = |chunks: Vec<Vec<u8>>| assert!(read(&key, &chunks).is_err());
        refused(vec![chunks[1].clone(), chunks[0].clone(), chunks[2].clone()]);
        refused(chunks[..2].to_vec());
        refused(chunks[1..].to_vec());
        refused(vec![chunks[0].clone(), chunks[0].clone(), chunks[2].clone()]);
        assert!(read(&DataKey::generate(&SystemRng), &chunks).is_err());
    }

    #[test]
    fn no_flipped_byte_opens() {
        let key = DataKey::generate(&SystemRng);
        let chunk = write(&key, &[vec![1; 300]]).remove(0);
        for i in 0..chunk.len() {
            let mut changed = chunk.clone();
            changed[i] ^= 4;
            assert!(read(&key, &[changed]).is_err(), "byte {i}");
        }
    }

    #[test]
    fn sealing_is_that_of_aead_stream() {
        let key = DataKey::generate(&SystemRng);
        let objects = vec![vec![3; 240_000]; 10];
        let chunks = write(&key, &objects);
        assert!(chunks.len() > 2);
        let oracle = || Aes256Gcm::new(key.expose().into());
        let (last, before) = chunks.split_last().unwrap();
        let mut decryptor = DecryptorBE32::from_aead(oracle(), &[0; 7].into());
        let mut encryptor = EncryptorBE32::from_aead(oracle(), &[0; 7].into());
        for chunk in before {
            let mut buffer = chunk.clone();
            decryptor.decrypt_next_in_place(b"", &mut buffer).unwrap();
            encryptor.encrypt_next_in_place(b"", &mut buffer).unwrap();
            assert_eq!(buffer, *chunk);
        }
        let mut buffer = last.clone();
        decryptor.decrypt_last_in_place(b"", &mut buffer).unwrap();
        encryptor.encrypt_last_in_place(b"", &mut buffer).unwrap();
        assert_eq!(buffer, *last);
    }

    #[test]
    fn a_record_that_is_too_long_is_refused_before_it_is_there() {
        let head = [&[OBJECT][..], &(RECORD_MAX as u32 + 1).to_be_bytes()].concat();
        assert!(split_record(&head).unwrap_err().contains("are possible"));
        assert!(split_record(&head[..4]).unwrap().is_none());
    }

    proptest! {
        #[test]
        fn any_plaintext_is_parsed_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let key = DataKey::generate(&SystemRng);
            let mut chunk = bytes;
            Stream::new(&key).seal(0, true, &mut chunk);
            let _ = PayloadReader::new(&key, 1).chunk::<String>(&chunk, &mut |_| Ok(()));
        }
    }
}
