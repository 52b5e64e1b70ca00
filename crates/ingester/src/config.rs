//! Settings of the ingester.

use std::time::Duration;

/// Settings of the ingester.
#[derive(Clone, Debug)]
pub struct IngesterConfig {
    /// Identity of this node, kept in its data folder.
    pub identity: String,
    /// Width of a window, milliseconds. Default: 2 hours.
    pub window_ms: i64,
    /// How long flushed samples stay in memory after their block was committed. Default: one hour, or half a window where that is less.
    pub grace: Duration,
    /// Interval of the flush and catch-up loops. Default: one second.
    pub interval: Duration,
    /// Number of shards of the cluster. Default: 64.
    pub shards_total: u32,
    /// Limit of a copy's transfer rate in bytes per second; 0 for none. Default: 64 MiB.
    pub catchup_bytes_per_second: u64,
    /// Limit of concurrent copies from other nodes. Default: 2.
    pub max_catchup_copies: usize,
    /// How long after losing a replica its samples are forgotten. Must be longer than any write takes. Default: one minute.
    pub forget_after: Duration,
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
            catchup_bytes_per_second: 64 << 20,
            max_catchup_copies: 2,
            forget_after: Duration::from_secs(60),
        }
    }
}
