//! Who may do what, as IAM decides it: policy documents are parsed once to a compiled form ([`Document`]), and a request is
//! held against all that apply to it ([`Policies::decide`]). The order: an explicit deny anywhere, then whether each layer
//! that must allow does.
//!
//! It knows no store and no clock: whatever a condition may ask is in the request's [`Context`]. What it cannot evaluate
//! never allows. Nothing here backtracks: a pattern costs at most its length times that of the value.
//!
//! Source of the rules: the IAM user guide, chapters "Policy evaluation logic" and "JSON policy element reference".

mod arn;
pub mod case;
mod condition;
mod context;
mod decide;
mod document;
mod fault;
mod json;
mod pattern;
mod principal;
mod statement;
mod value;

pub use context::Context;
pub use decide::{Decision, Denial, Layer, Policies, Request, StatementRef};
pub use document::{Document, Kind};
pub use fault::{Fault, Warning};
pub use principal::{Caller, CallerKind};
