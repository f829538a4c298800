//! What the service decides. A call becomes rows in one transaction ([`mutation`]), rows that say what is under way are
//! jobs, jobs move states along documented edges ([`job`]), and the copy between regions is one repeatable exchange
//! ([`copy`]). The world is met through the seams of [`ports`] and the store; nothing here knows HTTP, TLS, SQL or a key.

mod arn;
mod audit;
mod authorize;
mod backup;
mod blob;
pub mod caller;
pub mod conditions;
pub mod copy;
mod filter;
mod job;
mod mutation;
mod names;
mod network;
mod operation;
mod outbox;
mod pace;
mod page;
mod payload;
pub mod ports;
pub mod region;
mod stored;
mod subnet;
mod tags;
mod view;

pub use caller::{Authority, Caller};
pub use conditions::Circumstances;
pub use copy::destination::PeerSession;
pub use region::{Pace, Parts, Region, Settings};
