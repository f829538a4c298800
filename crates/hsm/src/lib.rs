//! The HSM: users, objects, mechanisms, sealing, snapshots, re-wrap. The only crate that sees a key. It does no I/O of its
//! own: rows come through [`rows::Rows`], calls and answers are the words of `strongroom-link`, time and randomness are
//! given. What leaves it is public, or sealed.

pub mod cluster_key;
pub mod head;
mod kdf;
pub mod rows;
pub mod seal;
pub mod seam;
