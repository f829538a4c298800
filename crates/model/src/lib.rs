//! The nouns of CloudHSM V2 and nothing that acts: ids, states, the calls with their inputs and outputs, errors, and the
//! table of shapes that both wire protocols read. No clock, no I/O, no dependency on a runtime: a [`Timestamp`] is only
//! ever given, never taken here.

pub mod audit;
pub mod backup;
pub mod call;
pub mod cluster;
pub mod copy;
pub mod error;
pub mod hsm;
pub mod id;
pub mod record;
pub mod shape;
pub mod subnet;
pub mod table;
pub mod tag;
pub mod time;
pub mod value;

pub use call::{Call, Operation, Reply, Service};
pub use error::{ApiError, ErrorKind};
pub use id::{AccountId, BackupId, BlobId, ClusterId, CopyId, EniId, HsmId, RegionId, RegionName, SubnetId, VpcId};
pub use tag::Tag;
pub use time::Timestamp;
pub use value::Value;
