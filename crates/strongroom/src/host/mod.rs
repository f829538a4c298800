//! The HSM host (`strongroom hsm`): the one process that sees keys. It opens each region's vault and roots, serves its HSMs
//! to clients over TLS, and answers the API process on a Unix socket. Blocking threads all through: one per connection, so
//! that a panic ends that connection alone. What is answered is decided in `strongroom-hsm`.

mod frames;
mod key_file;
mod listeners;
mod pins;
mod process;
mod region;
mod rows;
mod socket;
mod tls;

pub use process::{HostSettings, run};

#[cfg(test)]
mod tests;
