//! Who may call: accounts with users and roles (`files`), compiled to a [`Directory`], and sessions that carry themselves in
//! their token (`session`). [`Identities`] is what the door asks, and `admin` what an operator edits the files with.
//!
//! Secrets are sealed wherever they leave memory (`seal`), under a key that lies beside the data and not in it.

pub mod admin;
mod compile;
mod directory;
mod edit;
mod files;
mod identities;
mod managed;
mod principal;
mod seal;
mod session;

pub use directory::{DevCredentials, Directory, Role};
pub use identities::{Identities, watch};
pub use managed::document as managed_document;
pub use principal::{Principal, SessionFacts};
pub use session::{Grant, Issued, Who};
