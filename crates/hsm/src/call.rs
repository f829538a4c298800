//! Owns the calls of an HSM, a file per group. Each checks who asks before anything else, computes outside every lock, and
//! changes the cluster only through [`crate::cluster::Cluster::write`].

pub(crate) mod activate;
pub(crate) mod attributes;
pub(crate) mod destroy;
pub(crate) mod encrypt;
pub(crate) mod find;
pub(crate) mod generate;
pub(crate) mod import;
pub(crate) mod info;
mod keep;
pub(crate) mod login;
pub(crate) mod sign;
pub(crate) mod users;
pub(crate) mod verify;
