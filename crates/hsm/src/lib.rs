//! The HSM: users, objects, mechanisms, sealing, snapshots, re-wrap. The only crate that sees a key. It does no I/O of its
//! own: rows come through [`rows::Rows`], calls and answers are the words of `strongroom-link`, time and randomness are
//! given. What leaves it is public, or sealed.

pub mod attribute;
mod call;
pub mod certificate;
mod check;
pub mod cluster;
pub mod cluster_key;
mod contents;
mod copy;
mod data_key;
pub mod digest;
mod envelope;
mod fault;
#[cfg(test)]
mod fuzz;
pub mod head;
pub mod host;
pub mod identity;
mod install;
mod kdf;
pub mod key;
mod lc;
mod lifecycle;
pub mod manifest;
pub mod mechanism;
pub mod object;
pub mod password;
mod payload;
pub mod pins;
mod refusal;
pub mod region;
pub mod root;
pub mod rows;
pub mod seal;
pub mod seam;
pub mod session;
mod snapshot;
pub mod start;
#[cfg(test)]
mod testing;
pub mod ticket;
pub mod user;
