//! Settings of the API.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;

use pharos_querier::LimitsByTenant;

use crate::query_log::QueryLog;

/// Settings of the API; the flags of the same names set them.
#[derive(Clone, Debug)]
pub struct ApiConfig {
    /// Limits of the queries of each tenant. A reload replaces them.
    pub limits: Arc<ArcSwap<LimitsByTenant>>,
    /// Logs all queries, `global.query_log_file`. A reload sets its file.
    pub query_log: Arc<QueryLog>,
    /// Most queries that run at a time, `--query.max-concurrency`. Default: 20.
    pub max_concurrency: usize,
    /// Queries that take at least this long are logged, `--query.slow-log-threshold`; `None` logs none. Default: 10 s.
    pub slow_log_threshold: Option<Duration>,
    /// How far back an instant selector looks for a sample, milliseconds, `--query.lookback-delta`. Default: 5 minutes.
    pub lookback_delta_ms: i64,
    /// Whether `/-/reload` and `/-/quit` answer, `--web.enable-lifecycle`. Default: no.
    pub enable_lifecycle: bool,
    /// Whether `/api/v1/admin` answers, `--web.enable-admin-api`. Default: no.
    pub enable_admin_api: bool,
    /// Labels that `/federate` adds, `global.external_labels`.
    pub external_labels: Vec<(String, String)>,
    /// Most samples in the answer of a remote read; 0 for no limit. Default: 50 million.
    pub remote_read_sample_limit: usize,
    /// Most remote reads at a time; 0 for no limit. Default: 10.
    pub remote_read_concurrency: usize,
    /// Size of a frame of a streamed remote read, bytes; exceeded by at most one chunk. Default: 1 MiB.
    pub remote_read_frame_bytes: usize,
}

impl Default for ApiConfig {
    fn default() -> Self {
        ApiConfig {
            limits: Arc::default(),
            query_log: Arc::default(),
            max_concurrency: 20,
            slow_log_threshold: Some(Duration::from_secs(10)),
            lookback_delta_ms: 300_000,
            enable_lifecycle: false,
            enable_admin_api: false,
            external_labels: Vec::new(),
            remote_read_sample_limit: 50_000_000,
            remote_read_concurrency: 10,
            remote_read_frame_bytes: 1 << 20,
        }
    }
}
