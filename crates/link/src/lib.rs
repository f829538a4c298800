//! The words of the data plane and nothing that acts: what the API process says to the HSM host ([`host`]), what a client
//! says to an HSM ([`hsm`]), and the one form of frame that both use ([`frame`]). No I/O, no runtime, no crypto.
//!
//! Both vocabularies are CBOR with numbered members: a member may be added under a new number, none is ever renumbered.

pub mod frame;
pub mod host;
pub mod hsm;
pub mod pkcs11;
pub mod secret;

pub use secret::Secret;
