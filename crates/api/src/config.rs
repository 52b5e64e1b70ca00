//! The settings of the HTTP API.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;

use pharos_querier::LimitsByTenant;

use crate::query_log::QueryLog;
use crate::viewer::TenantDetails;

/// The settings of the HTTP API. Each field names the flag or configuration key that sets it.
#[derive(Clone, Debug)]
pub struct ApiConfig {
    /// Limits on the queries of each tenant. A reload replaces them.
    pub limits: Arc<ArcSwap<LimitsByTenant>>,
    /// The log of all queries, `global.query_log_file`. A reload sets its file.
    pub query_log: Arc<QueryLog>,
    /// Maximum number of concurrent queries, `--query.max-concurrency`. Default: 20.
    pub max_concurrency: usize,
    /// Duration from which a query counts as slow and is logged, `--query.slow-log-threshold`. `None` disables the log.
    /// Default: 10 s.
    pub slow_log_threshold: Option<Duration>,
    /// How far back an instant selector looks for a sample, milliseconds, `--query.lookback-delta`. Default: 5 minutes.
    pub lookback_delta_ms: i64,
    /// Whether `/-/reload` and `/-/quit` are enabled, `--web.enable-lifecycle`. Default: no.
    pub enable_lifecycle: bool,
    /// Whether `/api/v1/admin` is enabled, `--web.enable-admin-api`. Default: no.
    pub enable_admin_api: bool,
    /// Who may see what concerns other tenants, `--web.tenant-details`. Default: the same machine.
    pub tenant_details: TenantDetails,
    /// Whether `/config/v1/rules` is enabled, `--web.enable-rule-api`. Default: yes.
    pub enable_rule_api: bool,
    /// Labels that `/federate` adds to each series, `global.external_labels`.
    pub external_labels: Vec<(String, String)>,
    /// Maximum number of samples in a remote read that is not streamed. 0 means no limit. Default: 50 million.
    pub remote_read_sample_limit: usize,
    /// Maximum number of concurrent remote reads. 0 means no limit. Default: 10.
    pub remote_read_concurrency: usize,
    /// Maximum size of a frame of a streamed remote read, bytes. A frame may exceed it by one chunk. Default: 1 MiB.
    pub remote_read_frame_bytes: usize,
    /// Maximum number of results of a search, `--web.search.max-limit`. 0 means no limit. Default: 10,000.
    pub max_search_limit: usize,
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
            tenant_details: TenantDetails::default(),
            enable_rule_api: true,
            external_labels: Vec::new(),
            remote_read_sample_limit: 50_000_000,
            remote_read_concurrency: 10,
            remote_read_frame_bytes: 1 << 20,
            max_search_limit: 10_000,
        }
    }
}
