//! Owns what those who watch a `dev` are told: whether its regions and its HSM host answer, and its metrics. What is counted
//! as it happens is read as it stands; what rows know (copies under way) is read when somebody asks.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};
use strongroom_engine::ports::Clock;
use strongroom_model::time::SECOND;
use tokio::sync::watch;

use super::region::Door;
use crate::http::Front;
use crate::monitoring::{ProcessMetrics, Watched};
use crate::seams::SystemClock;
use crate::supervise::ChildState;

/// A `dev` as seen from outside, from the moment on at which its door is open.
pub(super) struct Watch {
    doors: Vec<Arc<Door>>,
    front: Arc<Front>,
    host: watch::Receiver<ChildState>,
    stopping: AtomicBool,
    registry: Registry,
    gauges: Gauges,
}

/// What is read when somebody asks.
#[derive(Default)]
struct Gauges {
    calls: Gauge,
    connections: Gauge,
    host_up: Gauge,
    copies: Family<RegionLabel, Gauge>,
    oldest_copy: Family<RegionLabel, Gauge>,
    process: ProcessMetrics,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RegionLabel {
    region: String,
}

impl Watch {
    pub(super) fn new(doors: Vec<Arc<Door>>, front: Arc<Front>, host: watch::Receiver<ChildState>) -> Arc<Self> {
        let (mut registry, gauges) = (Registry::default(), Gauges::default());
        gauges.process.register(&mut registry);
        let ours = registry.sub_registry_with_prefix("strongroom");
        let version = Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]);
        ours.register("build", "What runs here", version);
        front.register_metrics(ours);
        ours.register("calls_under_way", "Calls that are not answered yet", gauges.calls.clone());
        ours.register("connections", "Connections to the API", gauges.connections.clone());
        ours.register("hsm_host_up", "Whether the HSM host runs: 1, or 0", gauges.host_up.clone());
        let help = "Copies that leave this region and are not settled";
        ours.register("copies_under_way", help, gauges.copies.clone());
        let help = "How long ago the oldest copy that is not settled was asked for; 0 if there is none";
        ours.register_with_unit("oldest_copy_age", help, Unit::Seconds, gauges.oldest_copy.clone());
        Arc::new(Self { doors, front, host, stopping: AtomicBool::new(false), registry, gauges })
    }

    /// From now on no further calls should come.
    pub(super) fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
    }

    fn host_is_up(&self) -> bool {
        matches!(*self.host.borrow(), ChildState::Running(_))
    }

    async fn read_copies(&self) {
        for door in &self.doors {
            let Some(region) = door.region() else { continue };
            // What cannot be read now keeps its last value; the store says itself what is wrong.
            let Ok((copies, oldest)) = region.copy_backlog().await else { continue };
            let age = oldest.map_or(0, |asked| SystemClock.now().since(asked));
            let label = RegionLabel { region: door.name().to_string() };
            self.gauges.copies.get_or_create(&label).set(copies);
            self.gauges.oldest_copy.get_or_create(&label).set(age / SECOND);
        }
    }
}

#[async_trait]
impl Watched for Watch {
    async fn not_ready(&self) -> Vec<String> {
        let starting = self.doors.iter().filter(|door| door.region().is_none());
        let mut reasons: Vec<String> = starting.map(|door| format!("{} is starting", door.name())).collect();
        if !self.host_is_up() {
            reasons.push("the HSM host does not run".to_owned());
        }
        if self.stopping.load(Ordering::Acquire) {
            reasons.push("stopping".to_owned());
        }
        reasons
    }

    async fn metrics(&self) -> String {
        let count = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        self.gauges.calls.set(count(self.front.under_way()));
        self.gauges.connections.set(count(self.front.connections()));
        self.gauges.host_up.set(i64::from(self.host_is_up()));
        self.gauges.process.read();
        self.read_copies().await;
        let mut text = String::new();
        encode(&mut text, &self.registry).expect("a String takes everything");
        text
    }
}
