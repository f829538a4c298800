//! The binary: HTTP, TLS, configuration, command line, processes. It joins what the other crates decide to the machine they
//! run on and decides nothing of the service itself.

pub mod ca;
pub mod cloudhsm_cli;
pub mod configure;
pub mod files;
pub mod host;
pub mod hsms;
pub mod layout;
pub mod http;
pub mod log;
pub mod peer_link;
pub mod problem;
pub mod region_file;
pub mod seams;
pub mod supervise;
pub mod terminal;
pub mod trust;
