//! Settings of the ingester.

use std::time::Duration;

/// Settings of the ingester.
#[derive(Clone, Debug)]
pub struct IngesterConfig {
    /// Who this node is, in the data folder since its first start.
    pub identity: String,
    /// Width of a window, milliseconds. Default: 2 hours.
    pub window_ms: i64,
    /// How long flushed samples stay in memory. Default: one hour, or half a window where that is less.
    pub grace: Duration,
    /// Time between two looks at the windows. Default: one second.
    pub interval: Duration,
    /// How many shards the cluster has. Default: 64.
    pub shards_total: u32,
}

impl IngesterConfig {
    /// The defaults for windows of `window_ms` milliseconds.
    pub fn new(identity: impl Into<String>, window_ms: i64) -> Self {
        let half_a_window = Duration::from_millis(window_ms.max(2) as u64 / 2);
        IngesterConfig {
            identity: identity.into(),
            window_ms,
            grace: Duration::from_secs(3600).min(half_a_window),
            interval: Duration::from_secs(1),
            shards_total: 64,
        }
    }
}
