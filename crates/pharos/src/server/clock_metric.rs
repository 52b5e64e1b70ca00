//! The metric that says how far this node's wall clock is from the cluster's time.

use std::sync::Arc;

use pharos_cluster::ClusterClock;
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{Gauge, Registry};

/// Reads the clock when metrics are collected. There is no value while the cluster's time is unknown.
struct ClockOffset {
    clock: Arc<ClusterClock>,
    seconds: Gauge,
}

/// Registers the metric.
pub(super) fn register(registry: &Registry, clock: Arc<ClusterClock>) -> Result<(), prometheus::Error> {
    let seconds = Gauge::new(
        "pharos_cluster_clock_offset_seconds",
        "How far the wall clock is ahead of the cluster's time. Negative if it is behind.",
    )?;
    registry.register(Box::new(ClockOffset { clock, seconds }))
}

impl Collector for ClockOffset {
    fn desc(&self) -> Vec<&Desc> {
        self.seconds.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let Some(offset_ms) = self.clock.offset_ms() else { return Vec::new() };
        self.seconds.set(offset_ms as f64 / 1000.0);
        self.seconds.collect()
    }
}
