//! Owns what regions say to each other about copies. The source dials and asks, the destination answers from its rows;
//! every message may be repeated at will. Members are numbered and only ever added.

use minicbor::{Decode, Encode};

use crate::ports::Facts;

/// The version of this vocabulary.
pub const VERSION: u32 = 1;

/// What a source says.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub enum Message {
    /// First on every connection.
    #[n(0)]
    Status {
        /// [`VERSION`].
        #[n(0)]
        version: u32,
        /// The highest receipt that the source has from this destination.
        #[n(1)]
        highest: Option<ReceiptMark>,
    },
    /// Here is a copy: list it, and say which chunks are lacking.
    #[n(1)]
    Announce(#[n(0)] Box<Announce>),
    /// A chunk of an announced copy.
    #[n(2)]
    Chunk {
        /// The copy.
        #[n(0)]
        copy_id: String,
        /// The chunk's number, from 0.
        #[n(1)]
        n: u32,
        /// Its sealed bytes.
        #[cbor(n(2), with = "minicbor::bytes")]
        bytes: Vec<u8>,
    },
    /// All is there: check it and settle the copy.
    #[n(3)]
    Finish {
        /// The copy.
        #[n(0)]
        copy_id: String,
    },
    /// The source gives up: settle the copy.
    #[n(4)]
    Abort {
        /// The copy.
        #[n(0)]
        copy_id: String,
        /// `deadline`, `cancelled` or `does-not-open`, and the sentence.
        #[n(1)]
        reason: Reason,
        /// The account.
        #[n(2)]
        account: String,
        /// What would have been announced, for a destination that never heard of it.
        #[n(3)]
        listing: Box<Listing>,
    },
    /// Tell the receipts after a number.
    #[n(5)]
    Receipts {
        /// The highest number read without a gap.
        #[n(0)]
        after: u64,
    },
    /// To a destination that is behind: a receipt that it once gave.
    #[n(6)]
    Tell(#[n(0)] Told),
}

/// A receipt told back to who gave it, or the end of them.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub enum Told {
    /// One receipt.
    #[n(0)]
    Receipt {
        /// The receipt.
        #[n(0)]
        receipt: Ended,
        /// The account.
        #[n(1)]
        account: String,
        /// What was announced.
        #[n(2)]
        listing: Option<Box<Listing>>,
    },
    /// That was all.
    #[n(1)]
    Done {
        /// The highest number that the source holds.
        #[n(0)]
        highest: u64,
    },
}

/// A copy as its source announces it.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct Announce {
    /// The copy.
    #[n(0)]
    pub copy_id: String,
    /// The source's attempt, for the log.
    #[n(1)]
    pub attempt: u32,
    /// The account.
    #[n(2)]
    pub account: String,
    /// Who asked.
    #[n(3)]
    pub principal: String,
    /// What to list.
    #[n(4)]
    pub listing: Listing,
    /// Frozen tags.
    #[n(5)]
    pub tags: Vec<(String, String)>,
    /// The manifest's body.
    #[cbor(n(6), with = "minicbor::bytes")]
    pub body: Vec<u8>,
    /// The envelope of this attempt.
    #[cbor(n(7), with = "minicbor::bytes")]
    pub envelope: Vec<u8>,
    /// Milliseconds until the source gives up.
    #[n(8)]
    pub time_left: i64,
    /// The payload, where it is one piece of at most 64 KiB.
    #[cbor(n(9), with = "minicbor::bytes")]
    pub payload: Option<Vec<u8>>,
}

/// What a destination lists of a copy before anything is proved.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct Listing {
    /// The source's region name.
    #[n(0)]
    pub source_region: String,
    /// The backup at the source.
    #[n(1)]
    pub source_backup: String,
    /// The cluster that the snapshot was made of.
    #[n(2)]
    pub source_cluster: String,
    /// When the source accepted the call, milliseconds since 1970.
    #[n(3)]
    pub requested_at: i64,
    /// What the manifest says.
    #[n(4)]
    pub facts: Facts,
}

/// A receipt by number and content.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct ReceiptMark {
    /// Its number.
    #[n(0)]
    pub seq: u64,
    /// The copy; empty for `resumed`.
    #[n(1)]
    pub copy_id: String,
    /// `ready`, `deleted`, `purged` or `resumed`.
    #[n(2)]
    pub kind: String,
}

/// A reason: its code for machines, its sentence for people.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Reason {
    /// Such as `does-not-open`.
    #[n(0)]
    pub code: String,
    /// The sentence.
    #[n(1)]
    pub text: String,
}

impl Reason {
    /// A reason.
    pub fn new(code: &str, text: impl Into<String>) -> Self {
        Self { code: code.into(), text: text.into() }
    }
}

/// The destination's word that settled a copy: the same for ever.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Ended {
    /// Its number.
    #[n(0)]
    pub seq: u64,
    /// The copy; empty for `resumed`.
    #[n(1)]
    pub copy_id: String,
    /// `ready`, `deleted`, `purged` or `resumed`.
    #[n(2)]
    pub kind: String,
    /// The backup at the destination.
    #[n(3)]
    pub backup_id: Option<String>,
    /// D of the copy.
    #[cbor(n(4), with = "minicbor::bytes")]
    pub digest: Option<Vec<u8>>,
    /// Why it was deleted.
    #[n(5)]
    pub reason: Option<Reason>,
    /// When, milliseconds since 1970 by the destination's clock.
    #[n(6)]
    pub at: i64,
}

/// What a destination answers.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub enum Answer {
    /// To Status.
    #[n(0)]
    Status {
        /// [`VERSION`].
        #[n(0)]
        version: u32,
        /// The highest receipt given to this source.
        #[n(1)]
        highest: u64,
        /// Whether the destination came back from an old disk and must be told its receipts.
        #[n(2)]
        behind: bool,
    },
    /// To Announce and Finish: these chunks are lacking, as ranges of first and last.
    #[n(1)]
    Lacks {
        /// The backup at the destination.
        #[n(0)]
        backup_id: String,
        /// Ranges of chunk numbers, both ends included; empty where all are there.
        #[n(1)]
        ranges: Vec<(u32, u32)>,
    },
    /// The copy is settled.
    #[n(2)]
    Ended(#[n(0)] Ended),
    /// Again later.
    #[n(3)]
    Retry(#[n(0)] Reason),
    /// To Chunk: it is durable and recorded.
    #[n(4)]
    Have {
        /// The chunk.
        #[n(0)]
        n: u32,
    },
    /// To Chunk and Finish: no such copy here; begin at Announce.
    #[n(5)]
    Unknown,
    /// To Finish: the check is under way; ask again.
    #[n(6)]
    Checking {
        /// Chunks checked.
        #[n(0)]
        done: u32,
        /// Chunks in all.
        #[n(1)]
        total: u32,
    },
    /// To Receipts: those after the number, in order.
    #[n(7)]
    Receipts {
        /// The receipts.
        #[n(0)]
        receipts: Vec<Ended>,
        /// Whether there are more.
        #[n(1)]
        more: bool,
    },
    /// To Tell: held already, or taken.
    #[n(8)]
    Held,
    /// To Tell of a ready copy whose bytes are not here.
    #[n(9)]
    Missing,
}
