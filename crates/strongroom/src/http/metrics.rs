//! Owns what the door counts: calls by operation, region and outcome, how long they take, and what was turned away before
//! it was a call. Labels come from our own tables, never from a request, so that nobody makes them many.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

/// Upper bounds of how long a call takes, in seconds: from a read to what waits for a destination.
const SECONDS: [f64; 12] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0];

/// The door's counters; a clone counts into the same.
#[derive(Clone, Debug)]
pub(super) struct Metrics {
    calls: Family<CallLabels, Counter>,
    seconds: Family<OperationLabels, Histogram>,
    refused: Family<RefusedLabels, Counter>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CallLabels {
    operation: &'static str,
    /// Empty where the call names none of ours.
    region: String,
    /// AWS's name; empty for success.
    error: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OperationLabels {
    operation: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RefusedLabels {
    reason: &'static str,
}

/// What was turned away before it was a call.
#[derive(Clone, Copy, Debug)]
pub(super) enum Refused {
    /// A connection of an address that has too many.
    Connection,
    /// A head that is too long.
    Head,
    /// No operation that there is.
    Operation,
}

impl Default for Metrics {
    fn default() -> Self {
        let histogram: fn() -> Histogram = || Histogram::new(SECONDS);
        Self { calls: Family::default(), seconds: Family::new_with_constructor(histogram), refused: Family::default() }
    }
}

impl Metrics {
    /// Makes them readable.
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register("calls", "Calls that were answered, by AWS's name of the error", self.calls.clone());
        let help = "How long a call took, from its head to its answer";
        registry.register_with_unit("call", help, Unit::Seconds, self.seconds.clone());
        registry.register("refused", "What was turned away before it was a call", self.refused.clone());
    }

    /// Counts a call that was answered; `error` is empty for success.
    pub(super) fn answered(&self, operation: &'static str, region: &str, error: &'static str, took: Duration) {
        self.calls.get_or_create(&CallLabels { operation, region: region.to_owned(), error }).inc();
        self.seconds.get_or_create(&OperationLabels { operation }).observe(took.as_secs_f64());
    }

    /// Counts what was turned away.
    pub(super) fn refused(&self, what: Refused) {
        let reason = match what {
            Refused::Connection => "connection",
            Refused::Head => "head",
            Refused::Operation => "operation",
        };
        self.refused.get_or_create(&RefusedLabels { reason }).inc();
    }
}
