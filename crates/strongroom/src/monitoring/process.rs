//! Owns what the kernel says of this process, under the names that Prometheus's own clients use.

use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// Gauges that are read from `/proc` when somebody asks; where there is none they stay 0.
#[derive(Clone, Debug, Default)]
pub struct ProcessMetrics {
    resident_bytes: Gauge,
    open_descriptors: Gauge,
    threads: Gauge,
}

impl ProcessMetrics {
    /// Makes them readable.
    pub fn register(&self, registry: &mut Registry) {
        let mut add = |name: &str, help: &str, gauge: &Gauge| registry.register(name, help, gauge.clone());
        add("process_resident_memory_bytes", "Memory of this process that is in RAM", &self.resident_bytes);
        add("process_open_fds", "Open file descriptors", &self.open_descriptors);
        add("process_threads", "Threads", &self.threads);
    }

    /// Reads them anew.
    pub fn read(&self) {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let field = |name: &str| {
            let rest = status.lines().find_map(|line| line.strip_prefix(name))?;
            rest.trim_start_matches(':').trim().trim_end_matches(" kB").parse::<i64>().ok()
        };
        self.resident_bytes.set(field("VmRSS").unwrap_or(0) * 1024);
        self.threads.set(field("Threads").unwrap_or(0));
        let open = std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
        self.open_descriptors.set(i64::try_from(open).unwrap_or(i64::MAX));
    }
}
