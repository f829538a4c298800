//! Faults at every seam: each crossing of a seam (a commit, a call of the host, a message to a peer, a chunk put, read or
//! deleted) is counted, and one of them can fail before its effect, be cut after it, or happen twice. A cut is the end of
//! that region's process: from then on every seam of it errs until it is started anew.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

/// What happens at a crossing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It fails, and has no effect.
    Before,
    /// It has its effect, and then the process is gone.
    After,
    /// The process is gone, and what it had not made durable with it.
    Lost,
    /// It happens twice.
    Twice,
}

/// One fault in a run.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// The crossing, counted from 0 over all seams of all regions.
    pub at: usize,
    /// What happens there.
    pub kind: Kind,
}

#[derive(Default)]
struct State {
    crossings: Vec<String>,
    dead: HashSet<&'static str>,
}

/// The faults of a run, shared by all seams of all regions.
#[derive(Clone, Default)]
pub struct Faults {
    plan: Option<Plan>,
    state: Arc<Mutex<State>>,
}

/// What a seam does at a crossing.
pub enum Then {
    Go,
    Fail,
    Cut,
    Repeat,
}

impl Faults {
    pub fn new(plan: Option<Plan>) -> Self {
        Self { plan, state: Arc::default() }
    }

    /// Counts a crossing.
    pub fn cross(&self, region: &'static str, what: &str) -> Then {
        let mut state = self.state.lock().unwrap();
        if state.dead.contains(region) {
            return Then::Fail;
        }
        let n = state.crossings.len();
        state.crossings.push(format!("{region} {what}"));
        match self.plan {
            Some(Plan { at, kind }) if at == n => match kind {
                Kind::Before => Then::Fail,
                Kind::Lost => {
                    state.dead.insert(region);
                    Then::Fail
                }
                Kind::After => Then::Cut,
                Kind::Twice => Then::Repeat,
            },
            _ => Then::Go,
        }
    }

    /// The region's process is gone.
    pub fn kill(&self, region: &'static str) {
        self.state.lock().unwrap().dead.insert(region);
    }

    /// Whether it is.
    pub fn is_dead(&self, region: &'static str) -> bool {
        self.state.lock().unwrap().dead.contains(region)
    }

    /// It is started anew.
    pub fn revive(&self, region: &'static str) {
        self.state.lock().unwrap().dead.remove(region);
    }

    /// What was crossed, in order.
    pub fn crossings(&self) -> Vec<String> {
        self.state.lock().unwrap().crossings.clone()
    }
}
