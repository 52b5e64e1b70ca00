//! Settings of the head.

use std::collections::HashMap;
use std::path::PathBuf;

use pharos_model::TenantId;

/// Limits of one tenant. 0 disables a limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TenantLimits {
    /// Maximum number of series in memory.
    pub max_series: usize,
    /// Maximum number of labels of a series.
    pub max_labels: usize,
    /// Maximum length of a label name, in bytes.
    pub max_label_name_length: usize,
    /// Maximum length of a label value, in bytes.
    pub max_label_value_length: usize,
}

/// The settings that may differ between tenants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TenantSettings {
    /// Limits on what the tenant may hold.
    pub limits: TenantLimits,
    /// How far a sample may lag behind the newest sample of the tenant, in milliseconds.
    pub out_of_order_window_ms: i64,
    /// How many exemplars are kept; the oldest make way for new ones.
    pub max_exemplars: usize,
}

/// The settings of all tenants: defaults, and overrides of single tenants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingsByTenant {
    /// The settings of tenants without an entry in `own`.
    pub defaults: TenantSettings,
    /// Overrides, keyed by tenant.
    pub own: HashMap<TenantId, TenantSettings>,
}

impl SettingsByTenant {
    /// The settings that apply to a tenant.
    pub fn of(&self, tenant: &TenantId) -> TenantSettings {
        self.own.get(tenant).copied().unwrap_or(self.defaults)
    }
}

/// Settings of a [`crate::Head`].
#[derive(Clone, Debug)]
pub struct HeadConfig {
    /// The directory of the write-ahead log.
    pub dir: PathBuf,
    /// The width of a window, in milliseconds. The log records it, and windows that exist keep theirs: another width applies
    /// from the end of the last one on. Default: 2 h.
    pub window_ms: i64,
    /// How many shards the cluster has, at most [`MAX_SHARDS`](pharos_model::shards::MAX_SHARDS). The log records the number,
    /// so it cannot be changed later. Default: 64.
    pub shards: u32,
    /// How far a sample may lag behind the newest sample of its tenant, in milliseconds. Default: 2 h.
    pub out_of_order_window_ms: i64,
    /// How far a sample may be ahead of the clock, in milliseconds; 0 for any distance. Default: one day.
    pub max_future_ms: i64,
    /// Limits of tenants without settings of their own. Default: none.
    pub limits: TenantLimits,
    /// Tenants with settings of their own. Default: none.
    pub own_settings: HashMap<TenantId, TenantSettings>,
    /// Writes are refused while the head uses this much memory, in bytes; 0 for no limit. Default: no limit.
    pub max_memory_bytes: u64,
    /// How many windows of a tenant may have unflushed samples before samples that would open another are refused as an
    /// overload, except for windows of the present; 0 for no limit. Default: 1,000.
    pub max_open_windows: usize,
    /// The approximate size at which a log segment is closed, in bytes. Default: 64 MiB.
    pub segment_bytes: u64,
    /// Writes are refused while this much of the log is not durable yet, in bytes. Default: 64 MiB.
    pub max_pending_bytes: u64,
    /// How many exemplars are kept for each tenant. Default: 10,000.
    pub max_exemplars: usize,
    /// For how many metric families of a tenant metadata is kept. Default: 50,000.
    pub max_metadata: usize,
    /// Whether other nodes hold the samples of this head, too. A damaged segment is truncated then and the log marked as
    /// incomplete, instead of refusing to open. Default: false.
    pub has_replicas: bool,
    /// How many threads replay the log. Default: the number of cores, at most 8.
    pub replay_threads: usize,
}

impl HeadConfig {
    /// The settings of all tenants.
    pub fn by_tenant(&self) -> SettingsByTenant {
        SettingsByTenant {
            defaults: TenantSettings {
                limits: self.limits,
                out_of_order_window_ms: self.out_of_order_window_ms,
                max_exemplars: self.max_exemplars,
            },
            own: self.own_settings.clone(),
        }
    }

    /// The defaults, with a log in `dir`.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        HeadConfig {
            dir: dir.into(),
            window_ms: 7_200_000,
            shards: 64,
            out_of_order_window_ms: 7_200_000,
            max_future_ms: 86_400_000,
            limits: TenantLimits::default(),
            own_settings: HashMap::new(),
            max_memory_bytes: 0,
            max_open_windows: 1_000,
            segment_bytes: 64 << 20,
            max_pending_bytes: 64 << 20,
            max_exemplars: 10_000,
            max_metadata: 50_000,
            has_replicas: false,
            replay_threads: std::thread::available_parallelism().map_or(2, |n| n.get().min(8)),
        }
    }
}
