//! The copy: what the source does ([`source`], with its connections in [`session`] and its rows in
//! [`outgoing`]), what the destination does ([`destination`], with its rows in [`incoming`]; [`behind`] on an old disk), what they say to each other
//! ([`message`]), and the receipts by which a destination settles a copy for ever ([`receipts`]).

pub(crate) mod behind;
pub(crate) mod destination;
pub(crate) mod incoming;
pub mod message;
pub(crate) mod outgoing;
pub(crate) mod receipts;
pub(crate) mod session;
pub(crate) mod shown;
pub(crate) mod source;
