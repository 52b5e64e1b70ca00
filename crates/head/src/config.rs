//! Settings of the head.

use std::collections::HashMap;
use std::path::PathBuf;

use pharos_model::TenantId;

/// What one tenant may hold. 0 switches a limit off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TenantLimits {
    /// Most series in memory.
    pub max_series: usize,
    /// Most labels of a series.
    pub max_labels: usize,
    /// Longest label name, bytes.
    pub max_label_name_length: usize,
    /// Longest label value, bytes.
    pub max_label_value_length: usize,
}

/// Everything that can differ from tenant to tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TenantSettings {
    /// What it may hold.
    pub limits: TenantLimits,
    /// How far behind its newest sample a sample may be, milliseconds.
    pub out_of_order_window_ms: i64,
    /// Exemplars that are kept, the newest.
    pub max_exemplars: usize,
}

/// The settings of all tenants: some have their own, the others have the defaults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingsByTenant {
    /// Of tenants that have none of their own.
    pub defaults: TenantSettings,
    /// Of single tenants.
    pub own: HashMap<TenantId, TenantSettings>,
}

impl SettingsByTenant {
    /// The settings of a tenant.
    pub fn of(&self, tenant: &TenantId) -> TenantSettings {
        self.own.get(tenant).copied().unwrap_or(self.defaults)
    }
}

/// Settings of a [`crate::Head`].
#[derive(Clone, Debug)]
pub struct HeadConfig {
    /// The directory of the write-ahead log.
    pub dir: PathBuf,
    /// The width of a window, milliseconds. Default: 2 h.
    pub window_ms: i64,
    /// How many shards the cluster has, at most [`MAX_SHARDS`](pharos_model::shards::MAX_SHARDS). It is in the log and cannot be changed. Default: 64.
    pub shards: u32,
    /// How far behind the newest sample of its tenant a sample may be, milliseconds. Default: 2 h.
    pub out_of_order_window_ms: i64,
    /// How far ahead of the clock a sample may be, milliseconds; 0 for any distance. Default: one day.
    pub max_future_ms: i64,
    /// Limits of every tenant that has none of its own. Default: off.
    pub limits: TenantLimits,
    /// Tenants with settings of their own. Default: none.
    pub own_settings: HashMap<TenantId, TenantSettings>,
    /// Writes are refused while the head takes more memory than this, bytes; 0 for no limit. Default: none.
    pub max_memory_bytes: u64,
    /// A segment of the log ends at about this size, bytes. Default: 64 MiB.
    pub segment_bytes: u64,
    /// Writes are refused while so much of the log is not durable yet, bytes. Default: 64 MiB.
    pub max_pending_bytes: u64,
    /// Exemplars kept a tenant, the newest. Default: 10,000.
    pub max_exemplars: usize,
    /// Metric families a tenant about which metadata is kept. Default: 50,000.
    pub max_metadata: usize,
    /// Threads that replay the log. Default: the number of cores, at most 8.
    pub replay_threads: usize,
}

impl HeadConfig {
    /// The settings of all tenants.
    pub fn by_tenant(&self) -> SettingsByTenant {
        let (limits, max_exemplars) = (self.limits, self.max_exemplars);
        let defaults = TenantSettings { limits, out_of_order_window_ms: self.out_of_order_window_ms, max_exemplars };
        SettingsByTenant { defaults, own: self.own_settings.clone() }
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
            segment_bytes: 64 << 20,
            max_pending_bytes: 64 << 20,
            max_exemplars: 10_000,
            max_metadata: 50_000,
            replay_threads: std::thread::available_parallelism().map_or(2, |n| n.get().min(8)),
        }
    }
}
