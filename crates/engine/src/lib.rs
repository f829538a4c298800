//! What the service decides.

pub mod copy;
pub mod ports;
