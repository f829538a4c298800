//! The binary: HTTP, TLS, configuration, command line, processes. It joins what the other crates decide to the machine they
//! run on and decides nothing of the service itself.

pub mod api_client;
pub mod audit;
pub mod audit_key;
pub mod aws_config;
pub mod backups;
pub mod ca;
pub mod check_config;
pub mod cli;
pub mod cloudhsm_cli;
pub mod config;
pub mod configure;
pub mod copies;
pub mod dev;
pub mod files;
pub mod host;
pub mod hsms;
pub mod http;
pub mod human;
pub mod identity;
pub mod layout;
pub mod log;
pub mod monitoring;
pub mod peer_link;
pub mod policy;
pub mod port_holder;
pub mod problem;
pub mod quickstart;
pub mod region_command;
pub mod region_file;
pub mod seams;
pub mod subnet;
pub mod supervise;
pub mod terminal;
pub mod trust;
