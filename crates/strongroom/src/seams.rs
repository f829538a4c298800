//! Owns the real world behind the seams of the engine and the HSM: the system's clock, aws-lc's generator, tokio's tasks.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use strongroom_engine::ports;
use strongroom_model::Timestamp;
pub use strongroom_model::id::uuid;

/// The system's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl SystemClock {
    /// Milliseconds since 1970.
    pub fn millis(self) -> i64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX).saturating_add(shift())
    }
}

/// What a test adds to the clock: the number in the file `$STRONGROOM_TEST_CLOCK`, read again each time.
#[cfg(feature = "test-clock")]
fn shift() -> i64 {
    let path = std::env::var_os("STRONGROOM_TEST_CLOCK");
    let text = path.and_then(|path| std::fs::read_to_string(path).ok());
    text.and_then(|text| text.trim().parse().ok()).unwrap_or(0)
}

#[cfg(not(feature = "test-clock"))]
const fn shift() -> i64 {
    0
}

#[async_trait]
impl ports::Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.millis())
    }

    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }
}

/// aws-lc's generator.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemRng;

/// `N` random bytes.
pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    ports::Rng::fill(&SystemRng, &mut bytes);
    bytes
}

/// Begins to seed aws-lc's generator, which takes some 50 ms once in a process: beside the rest of a start, not in its way.
pub fn seed_early() {
    std::thread::spawn(random::<1>);
}

impl ports::Rng for SystemRng {
    fn fill(&self, bytes: &mut [u8]) {
        aws_lc_rs::rand::fill(bytes).expect("aws-lc aborts rather than fails without entropy");
    }
}

/// Tasks on a tokio runtime.
#[derive(Clone, Debug)]
pub struct Tasks(tokio::runtime::Handle);

impl Tasks {
    /// On the runtime of the caller.
    pub fn current() -> Self {
        Self(tokio::runtime::Handle::current())
    }
}

impl ports::Spawn for Tasks {
    fn spawn(&self, task: BoxFuture<'static, ()>) {
        self.0.spawn(task);
    }
}
