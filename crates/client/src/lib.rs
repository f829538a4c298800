//! Talks to HSMs: reads the client configuration ([`config`]), trusts the certificates of the pinned customer CA and no
//! others ([`certificate`]), and gives a session whose calls survive the loss of an HSM ([`session`]).
//!
//! Everything here blocks and runs on the caller's thread: the command line and the PKCS#11 module share it. It must
//! never keep a password after the call that carries it.

pub mod certificate;
pub mod config;
mod connection;
pub mod error;
pub mod hsm;
pub mod session;

#[cfg(test)]
mod fake;

pub use error::Error;
pub use hsm::Hsm;
pub use session::{Client, Session};
