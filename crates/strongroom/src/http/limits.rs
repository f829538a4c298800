//! Owns how much one address, and all together, may have at once: connections, which are closed beyond it, and calls, which
//! are told to come again. The limit of one address is below that of all, so that nobody shuts out everybody.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How much there may be at once.
#[derive(Clone, Copy, Debug)]
pub struct Most {
    /// Connections of one address.
    pub connections: usize,
    /// Calls of one address.
    pub calls: usize,
    /// Calls of all.
    pub calls_of_all: usize,
}

impl Default for Most {
    fn default() -> Self {
        Self { connections: 768, calls: 384, calls_of_all: 512 }
    }
}

/// What is there now.
#[derive(Debug, Default)]
pub(super) struct Limits {
    most: Most,
    now: Mutex<Now>,
}

#[derive(Debug, Default)]
struct Now {
    by_source: HashMap<IpAddr, Held>,
    connections: usize,
    calls: usize,
}

#[derive(Clone, Copy, Debug, Default)]
struct Held {
    connections: usize,
    calls: usize,
}

/// What is given back when it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    limits: Arc<Limits>,
    source: IpAddr,
    is_call: bool,
}

impl Limits {
    pub(super) fn new(most: Most) -> Arc<Self> {
        Arc::new(Self { most, now: Mutex::default() })
    }

    /// Calls under way.
    pub(super) fn calls(&self) -> usize {
        self.lock().calls
    }

    /// Connections that there are.
    pub(super) fn connections(&self) -> usize {
        self.lock().connections
    }

    /// A place for a connection; `None` where its address has enough of them.
    pub(super) fn connect(self: &Arc<Self>, source: IpAddr) -> Option<Place> {
        let mut now = self.lock();
        let held = now.by_source.entry(source).or_default();
        if held.connections >= self.most.connections {
            return None;
        }
        held.connections += 1;
        now.connections += 1;
        Some(Place { limits: self.clone(), source, is_call: false })
    }

    /// A place for a call; `None` where its address has enough of them, or there are enough of all.
    pub(super) fn call(self: &Arc<Self>, source: IpAddr) -> Option<Place> {
        let mut now = self.lock();
        let held = now.by_source.get(&source).copied().unwrap_or_default();
        if held.calls >= self.most.calls || now.calls >= self.most.calls_of_all {
            return None;
        }
        now.calls += 1;
        now.by_source.entry(source).or_default().calls += 1;
        Some(Place { limits: self.clone(), source, is_call: true })
    }

    fn lock(&self) -> MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut now = self.limits.lock();
        match self.is_call {
            true => now.calls -= 1,
            false => now.connections -= 1,
        }
        let Some(held) = now.by_source.get_mut(&self.source) else { return };
        match self.is_call {
            true => held.calls -= 1,
            false => held.connections -= 1,
        }
        if held.connections == 0 && held.calls == 0 {
            // Addresses come and go; who has nothing is forgotten.
            now.by_source.remove(&self.source);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_and_all_together_have_their_limits() {
        let limits = Limits::new(Most { connections: 1, calls: 2, calls_of_all: 3 });
        let [a, b] = [1, 2].map(|n| IpAddr::from([192, 0, 2, n]));
        let connection = limits.connect(a).unwrap();
        assert!(limits.connect(a).is_none());
        assert!(limits.connect(b).is_some());
        drop(connection);
        assert!(limits.connect(a).is_some());
        let calls: Vec<_> = (0..2).map(|_| limits.call(a).unwrap()).collect();
        assert!(limits.call(a).is_none(), "two of one");
        let third = limits.call(b).unwrap();
        assert!(limits.call(b).is_none(), "three of all");
        drop(calls);
        assert_eq!(limits.calls(), 1);
        drop(third);
        assert_eq!(limits.connections(), 0);
        assert!(limits.lock().by_source.is_empty());
    }
}
