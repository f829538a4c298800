//! The region link: how two regions talk about copies. Mutual TLS 1.3 over TCP, each side known by the key that a region
//! file pins; then frames that carry a number and a [`Message`](strongroom_engine::copy::message::Message), answered in any
//! order. The source dials, the destination answers. What is said is the engine's; here are only the wires.

mod client;
mod identity;
mod line;
mod server;
mod tls;
mod wire;

pub use client::Links;
pub use identity::LinkIdentity;
pub use server::serve;

#[cfg(test)]
mod tests;
