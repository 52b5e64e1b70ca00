//! Settings of the frontend.

use std::time::Duration;

/// Settings of the frontend; the flags of the same names set them.
#[derive(Clone, Debug)]
pub struct FrontendConfig {
    /// Longest time of a query, `--query.timeout`. Default: 2 minutes.
    pub timeout: Duration,
    /// Most memory of a query, bytes. Default: 2 GiB.
    pub max_memory_bytes: u64,
    /// Queries that run at a time, `--query.max-concurrency`. Default: 20.
    pub max_concurrency: usize,
    /// How far back an instant selector looks, milliseconds, `--query.lookback-delta`. Default: 5 minutes.
    pub lookback_delta_ms: i64,
    /// Whether `/-/reload` and `/-/quit` answer, `--web.enable-lifecycle`. Default: no.
    pub enable_lifecycle: bool,
    /// Whether `/api/v1/admin` answers, `--web.enable-admin-api`. Default: no.
    pub enable_admin_api: bool,
    /// Labels that `/federate` adds, `global.external_labels`.
    pub external_labels: Vec<(String, String)>,
    /// Most samples that remote read answers with, 0 for no limit. Default: 50 million.
    pub remote_read_sample_limit: usize,
}

impl Default for FrontendConfig {
    fn default() -> Self {
        FrontendConfig {
            timeout: Duration::from_secs(120),
            max_memory_bytes: 2 << 30,
            max_concurrency: 20,
            lookback_delta_ms: 300_000,
            enable_lifecycle: false,
            enable_admin_api: false,
            external_labels: Vec::new(),
            remote_read_sample_limit: 50_000_000,
        }
    }
}
