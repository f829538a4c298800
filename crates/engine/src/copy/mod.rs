//! The copy: what the source does, what the destination does, and what they say to each other.

pub mod message;
