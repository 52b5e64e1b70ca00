//! The metrics of discovery.

use prometheus::{IntCounterVec, Opts, Registry};

/// The metrics of discovery.
#[derive(Clone, Debug)]
pub struct DiscoveryMetrics {
    /// Failed refreshes by mechanism.
    pub(crate) failures: IntCounterVec,
}

impl DiscoveryMetrics {
    /// Creates the metrics and registers them.
    pub fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let opts = Opts::new("pharos_scrape_discovery_failures_total", "Failed refreshes of discovery.");
        let failures = IntCounterVec::new(opts, &["mechanism"])?;
        registry.register(Box::new(failures.clone()))?;
        Ok(DiscoveryMetrics { failures })
    }
}
