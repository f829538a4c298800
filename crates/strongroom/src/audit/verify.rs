//! Owns the check of an audit trail: each writer's chain is computed anew, event by event, and each signature is held
//! against the chain that it covers. The first thing that does not hold ends it, with its place. It trusts nothing of what
//! it reads but the events' texts, from which all else must follow; whose the public key is, people must know.
//!
//! What is after the last signature of a writer can be cut off without a trace; hence it says up to where there is one.

use std::collections::BTreeMap;
use std::fmt;

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use data_encoding::HEXLOWER;
use serde_json::{Value, json};
use strongroom_model::Timestamp;
use strongroom_model::id::hex;
use strongroom_store::chain::{self, Hash};

use super::lines::{EventLine, Line, SignatureLine};
use crate::human::counted;

/// The chains of a trail, as far as they were read.
#[derive(Default)]
pub(super) struct Chains {
    writers: BTreeMap<String, Chain>,
    seq: i64,
    events: u64,
    unchained: u64,
    signatures: Vec<SignatureLine>,
    public_key: Option<Vec<u8>>,
}

#[derive(Default)]
struct Chain {
    hashes: Vec<Hash>,
    seq: i64,
    signed_n: i64,
}

/// A trail that holds.
#[derive(Debug, PartialEq)]
pub(super) struct Verified {
    events: u64,
    unchained: u64,
    writers: usize,
    /// Events that a signature covers.
    signed: u64,
    signed_at: Option<Timestamp>,
    key_id: String,
}

/// What does not hold.
#[derive(Debug, PartialEq)]
pub(super) struct Finding {
    what: &'static str,
    writer: String,
    n: i64,
    seq: i64,
    text: String,
}

impl Chains {
    /// Takes the next line.
    pub(super) fn add(&mut self, line: Line) -> Result<(), Finding> {
        match line {
            Line::Event(event) => return self.event(event),
            Line::Signature(signature) => self.signatures.push(signature),
            Line::PublicKey(key) => self.public_key = HEXLOWER.decode(key.public_key.as_bytes()).ok(),
        }
        Ok(())
    }

    fn event(&mut self, event: EventLine) -> Result<(), Finding> {
        let (previous_seq, seq) = (self.seq, event.seq);
        let found = |what, text: String| Finding { what, writer: event.writer.clone(), n: event.n, seq, text };
        if seq <= previous_seq {
            return Err(found("order", format!("it stands after seq {previous_seq}")));
        }
        self.events += 1;
        if event.writer.is_empty() && event.hash.is_none() {
            self.seq = seq;
            self.unchained += 1;
            return no_gap(previous_seq, seq).map_err(|text| found("removed", text));
        }
        let chain = self.writers.entry(event.writer.clone()).or_default();
        let last = chain.hashes.len() as i64;
        if event.n <= last {
            return Err(found("order", format!("it stands after n {last} of its writer")));
        }
        if event.n > last + 1 {
            return Err(found(
                "removed",
                format!("{} missing before it in its writer's chain", span("n", last + 1, event.n - 1)),
            ));
        }
        no_gap(previous_seq, seq).map_err(|text| found("removed", text))?;
        let start = chain::start(&event.writer);
        let hash = chain::link(chain.hashes.last().map_or(&start, |hash| hash.as_slice()), event.n, &event.event);
        if event.hash != Some(hex(&hash)) {
            return Err(found("altered", "its hash does not follow from it and the event before it".to_owned()));
        }
        chain.hashes.push(hash);
        (chain.seq, self.seq) = (seq, seq);
        Ok(())
    }

    /// Holds the signatures against the chains.
    pub(super) fn end(&mut self) -> Result<Verified, Finding> {
        let key = self.public_key.take().ok_or_else(|| Finding::cut(self.seq))?;
        let key_id = chain::key_id(&key);
        let mut signed_at = None;
        for signature in std::mem::take(&mut self.signatures) {
            let chain = self.writers.entry(signature.writer.clone()).or_default();
            check(&signature, chain, &key, &key_id).map_err(|(what, text)| {
                let SignatureLine { writer, n, .. } = signature.clone();
                Finding { what, writer, n, seq: chain.seq, text }
            })?;
            chain.signed_n = chain.signed_n.max(signature.n);
            signed_at = signed_at.max(Some(Timestamp::from_millis(signature.at)));
        }
        let signed = self.writers.values().map(|chain| chain.signed_n.unsigned_abs()).sum();
        let Self { events, unchained, .. } = *self;
        Ok(Verified { events, unchained, writers: self.writers.len(), signed, signed_at, key_id })
    }
}

fn no_gap(previous_seq: i64, seq: i64) -> Result<(), String> {
    match seq - previous_seq {
        1 => Ok(()),
        _ => Err(format!("{} missing before it", span("seq", previous_seq + 1, seq - 1))),
    }
}

/// `n 7 is` or `n 7 to 9 are`
fn span(name: &str, first: i64, last: i64) -> String {
    match first == last {
        true => format!("{name} {first} is"),
        false => format!("{name} {first} to {last} are"),
    }
}

fn check(s: &SignatureLine, chain: &Chain, key: &[u8], key_id: &str) -> Result<(), (&'static str, String)> {
    let wrong = |text: &str| Err(("signature", text.to_owned()));
    let last = chain.hashes.len();
    let at = usize::try_from(s.n).ok().and_then(|n| n.checked_sub(1));
    let Some(hash) = at.and_then(|at| chain.hashes.get(at)) else {
        return Err(("removed", format!("it is signed, and the events of its writer end at n {last}")));
    };
    if s.hash != hex(hash) {
        return wrong("it was made over another event");
    }
    if s.key_id != key_id {
        return wrong(&format!("it was made by key {}, not by {key_id}", s.key_id));
    }
    let statement = chain::statement(&s.writer, s.n, hash, Timestamp::from_millis(s.at));
    let signature = HEXLOWER.decode(s.signature.as_bytes()).unwrap_or_default();
    match UnparsedPublicKey::new(&ED25519, key).verify(&statement, &signature) {
        Ok(()) => Ok(()),
        Err(_) => wrong("it is not one of the public key"),
    }
}

impl Verified {
    pub(super) fn json(&self) -> Value {
        json!({
            "format": "strongroom.audit-check/1", "ok": true, "events": self.events, "unchained": self.unchained,
            "writers": self.writers, "signed": self.signed, "signed_at": self.signed_at.map(|at| at.to_string()),
            "key_id": self.key_id,
        })
    }
}

impl fmt::Display for Verified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let chained = self.events - self.unchained;
        write!(f, "ok, {} of {}", counted(chained, "event"), counted(self.writers as u64, "writer"))?;
        match self.signed_at {
            Some(at) => write!(f, ", signed up to {at} ({} of them) by key {}", self.signed, self.key_id)?,
            None => write!(f, ", not signed yet")?,
        }
        match self.unchained {
            0 => Ok(()),
            n => write!(f, "; {} from before there were chains", counted(n, "event")),
        }
    }
}

impl Finding {
    /// An export that has no end: signatures and the key stand there.
    fn cut(seq: i64) -> Self {
        let text = "what follows is missing, and with it the signatures and the region's public key".to_owned();
        Self { what: "removed", writer: String::new(), n: 0, seq, text }
    }

    /// A line that is none.
    pub(super) fn unreadable(line: i64) -> Self {
        let text = format!("line {line} of the file is neither an event, a signature nor a key");
        Self { what: "altered", writer: String::new(), n: 0, seq: 0, text }
    }

    pub(super) fn json(&self) -> Value {
        json!({
            "format": "strongroom.audit-check/1", "ok": false, "what": self.what, "writer": self.writer, "n": self.n,
            "seq": self.seq, "text": self.text,
        })
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, writer, n, seq, text } = self;
        match writer.as_str() {
            "" if *seq == 0 => write!(f, "{what}: {text}"),
            "" => write!(f, "{what}: seq {seq}: {text}"),
            _ => write!(f, "{what}: writer {writer}, n {n}, seq {seq}: {text}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use strongroom_engine::ports::Signer as _;

    use super::*;
    use crate::audit_key::AuditKey;

    /// Ten events of two writers that took turns, each signed at its end.
    fn trail() -> Vec<Line> {
        let key = AuditKey::in_memory();
        let (mut lines, mut signatures) = (Vec::new(), Vec::new());
        let mut heads: HashMap<&str, (i64, Vec<u8>)> = HashMap::new();
        for seq in 1..=10 {
            let writer = if seq % 2 == 0 { "aaaa" } else { "bbbb" };
            let (n, previous) = heads.entry(writer).or_insert_with(|| (0, chain::start(writer)));
            *n += 1;
            let event = format!("{{\"eventName\":\"DescribeClusters\",\"requestID\":\"{seq}\"}}");
            let hash = chain::link(previous, *n, &event);
            *previous = hash.to_vec();
            let hash_text = Some(hex(&hash));
            lines.push(Line::Event(EventLine { seq, writer: writer.into(), n: *n, hash: hash_text, event }));
            if *n == 5 {
                let at = Timestamp::from_millis(1_795_511_647_000 + seq);
                signatures.push(Line::Signature(SignatureLine {
                    writer: writer.into(),
                    n: *n,
                    hash: hex(&hash),
                    at: at.millis(),
                    key_id: chain::key_id(&key.public_key()),
                    signature: hex(&key.sign(&chain::statement(writer, *n, &hash, at))),
                }));
            }
        }
        lines.extend(signatures);
        lines.push(Line::public_key(hex(&key.public_key())));
        lines
    }

    fn check(lines: Vec<Line>) -> Result<Verified, Finding> {
        let mut chains = Chains::default();
        for line in lines {
            // As in a file.
            let line = Line::parse(&line.text()).unwrap();
            chains.add(line)?;
        }
        chains.end()
    }

    fn place(lines: Vec<Line>) -> (&'static str, String, i64) {
        let finding = check(lines).unwrap_err();
        (finding.what, finding.writer, finding.n)
    }

    fn event_of(line: &mut Line) -> &mut EventLine {
        let Line::Event(event) = line else { panic!() };
        event
    }

    fn signature_of(line: &mut Line) -> &mut SignatureLine {
        let Line::Signature(signature) = line else { panic!() };
        signature
    }

    #[test]
    fn a_whole_trail_holds() {
        let verified = check(trail()).unwrap();
        assert_eq!((verified.events, verified.writers, verified.signed), (10, 2, 10));
        let text = verified.to_string();
        assert!(text.starts_with("ok, 10 events of 2 writers, signed up to 2026-11-24T09:14:07.010Z"), "{text}");
        let mut old = trail();
        for line in &mut old[..10] {
            event_of(line).seq += 1;
        }
        old.insert(0, Line::Event(EventLine { seq: 1, writer: "".into(), n: 0, hash: None, event: "old".into() }));
        assert!(check(old).unwrap().to_string().ends_with("; 1 event from before there were chains"));
    }

    #[test]
    fn a_removed_event_is_named_at_its_place() {
        for at in 0..10 {
            let mut lines = trail();
            let gone = event_of(&mut lines.remove(at)).clone();
            let (what, writer, n) = place(lines);
            assert_eq!(what, "removed", "{at}");
            // The last of a writer is missed by his signature, any other by whatever comes next.
            assert!(at >= 8 || writer != gone.writer || n == gone.n + 1, "{at}: {writer} {n}");
        }
        let mut cut = trail();
        cut.remove(9);
        assert_eq!(place(cut), ("removed", "aaaa".into(), 5));
    }

    #[test]
    fn an_export_without_its_end_is_none() {
        for length in 0..12 {
            let finding = check(trail()[..length].to_vec()).unwrap_err();
            assert_eq!((finding.what, finding.seq), ("removed", length.min(10) as i64));
        }
    }

    #[test]
    fn a_writer_that_was_removed_leaves_a_gap() {
        let lines = trail().into_iter().filter(|line| !line.text().contains("\"writer\":\"bbbb\"")).collect();
        assert_eq!(place(lines), ("removed", "aaaa".into(), 1));
    }

    #[test]
    fn an_altered_event_is_named() {
        for at in 0..10 {
            let mut lines = trail();
            let event = event_of(&mut lines[at]);
            event.event = event.event.replace("Describe", "Delete");
            let expected = ("altered", event.writer.clone(), event.n);
            assert_eq!(place(lines), expected);
        }
        // One that was altered with its hash breaks the next of its writer.
        let mut lines = trail();
        let event = event_of(&mut lines[0]);
        event.event = "{}".into();
        event.hash = Some(hex(&chain::link(&chain::start("bbbb"), 1, "{}")));
        assert_eq!(place(lines), ("altered", "bbbb".into(), 2));
        // An event that is said to be from before there were chains does not hide one that is missed.
        let mut lines = trail();
        let event = event_of(&mut lines[0]);
        (event.writer, event.hash) = (String::new(), None);
        assert_eq!(place(lines), ("removed", "bbbb".into(), 2));
    }

    #[test]
    fn swapped_events_are_named() {
        let mut lines = trail();
        lines.swap(2, 4);
        assert_eq!(place(lines).0, "removed");
        let mut lines = trail();
        let (one, other) = (event_of(&mut lines[2]).event.clone(), event_of(&mut lines[4]).event.clone());
        event_of(&mut lines[2]).event = other;
        event_of(&mut lines[4]).event = one;
        assert_eq!(place(lines), ("altered", "bbbb".into(), 2));
        let mut lines = trail();
        let doubled = lines[3].clone();
        lines.insert(4, doubled);
        assert_eq!(place(lines), ("order", "aaaa".into(), 2));
    }

    #[test]
    fn a_signature_that_does_not_hold_is_named() {
        let alterations: [fn(&mut SignatureLine); 4] = [
            |s| s.signature = hex(&[7; 64]),
            |s| s.at += 1,
            |s| s.key_id = "0011223344556677".into(),
            |s| s.hash = hex(&[7; 32]),
        ];
        for alter in alterations {
            let mut lines = trail();
            alter(signature_of(&mut lines[11]));
            assert_eq!(place(lines), ("signature", "aaaa".into(), 5));
        }
        let mut lines = trail();
        lines.pop();
        lines.push(Line::public_key(hex(&AuditKey::in_memory().public_key())));
        assert_eq!(place(lines).0, "signature");
        // A chain that was written anew is not the one that was signed.
        let mut lines = trail();
        let mut previous = chain::start("bbbb");
        for at in [0, 2, 4, 6, 8] {
            let event = event_of(&mut lines[at]);
            event.event = "{}".into();
            previous = chain::link(&previous, event.n, "{}").to_vec();
            event.hash = Some(hex(&previous));
        }
        assert_eq!(place(lines), ("signature", "bbbb".into(), 5));
    }
}
