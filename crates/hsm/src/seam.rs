//! Owns the seams through which time, randomness and wake-ups reach the HSM, so that a test or a simulation decides them.
//! Nothing else in this crate may ask the environment for either.

use std::fmt;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

/// What time it is.
pub trait Clock: Send + Sync + fmt::Debug {
    /// Milliseconds since 1970.
    fn now_ms(&self) -> i64;
}

/// Where randomness comes from; keys and nonces are drawn from it.
pub trait Rng: Send + Sync + fmt::Debug {
    /// Fills all of `bytes`.
    fn fill(&self, bytes: &mut [u8]);
}

/// `N` bytes of randomness, for what is not secret: nonces and ids.
pub fn random<const N: usize>(rng: &dyn Rng) -> [u8; N] {
    let mut bytes = [0; N];
    rng.fill(&mut bytes);
    bytes
}

/// aws-lc's generator.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemRng;

impl Rng for SystemRng {
    fn fill(&self, bytes: &mut [u8]) {
        aws_lc_rs::rand::fill(bytes).expect("aws-lc aborts rather than fails without entropy");
    }
}

/// Tells those who wait for outbox rows that there may be one. Shared by the host and the HSMs it serves; rung after the
/// commit of a write that put a row.
#[derive(Debug, Default)]
pub struct Bell {
    rung: Mutex<u64>,
    changed: Condvar,
}

impl Bell {
    /// Wakes everyone who waits.
    pub fn ring(&self) {
        *self.rung.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.changed.notify_all();
    }

    /// How often it was rung: taken before looking for rows, given to [`Self::wait`] afterwards, so that no ring between
    /// the two is missed.
    pub fn count(&self) -> u64 {
        *self.rung.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until it was rung more often than `seen`, at most `timeout`; whether it was.
    pub fn wait(&self, seen: u64, timeout: Duration) -> bool {
        let rung = self.rung.lock().unwrap_or_else(PoisonError::into_inner);
        let (rung, _) = self
            .changed
            .wait_timeout_while(rung, timeout, |rung| *rung == seen)
            .unwrap_or_else(PoisonError::into_inner);
        *rung != seen
    }
}
