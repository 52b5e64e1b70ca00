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
        Self::named(registry, Opts::new("pharos_scrape_discovery_failures_total", "Failed refreshes of discovery."))
    }

    /// Creates the metrics of the discovery of Alertmanagers and registers them.
    pub fn of_alertmanagers(registry: &Registry) -> Result<Self, prometheus::Error> {
        let opts =
            Opts::new("pharos_ruler_discovery_failures_total", "Failed refreshes of the discovery of Alertmanagers.");
        Self::named(registry, opts)
    }

    fn named(registry: &Registry, opts: Opts) -> Result<Self, prometheus::Error> {
        let failures = IntCounterVec::new(opts, &["mechanism"])?;
        registry.register(Box::new(failures.clone()))?;
        Ok(DiscoveryMetrics { failures })
    }
}
