//! Owns the real world behind the seams of the engine and the HSM: the system's clock, aws-lc's generator, tokio's tasks.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use strongroom_engine::ports;
use strongroom_model::Timestamp;

/// The system's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl SystemClock {
    /// Milliseconds since 1970.
    pub fn millis(self) -> i64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    }
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
