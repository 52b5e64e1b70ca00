//! The section `limits`: limits of the node and of each tenant. 0 disables a limit.
//!
//! ```yaml
//! limits:
//!   max_head_memory: 4GB
//!   defaults: { max_series: 1000000 }
//!   overrides:
//!     team-a: { max_series: 5000000, out_of_order_time_window: 1d }
//! ```

use std::collections::BTreeMap;

use pharos_config::{ByteSize, PromDuration};
use pharos_model::TenantId;
use serde::{Deserialize, Serialize};

/// The section `limits`.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct LimitsConfig {
    /// Memory of all heads together. Writes beyond it are refused with 429. Default 0: no limit.
    pub max_head_memory: ByteSize,
    /// Memory of one query. Default 2GiB.
    pub max_query_memory: ByteSize,
    /// Largest body of a push, as sent. Default 32MiB.
    pub max_request_size: ByteSize,
    /// Largest body of a push after decompression. Default 32MiB.
    pub max_decompressed_request_size: ByteSize,
    /// Memory of all requests in flight together: pushes, queries, responses that wait for their clients, and scraped bodies.
    /// Further requests are refused with 503. Default 0: half of the memory of the machine or of its cgroup, less 256 MB.
    pub max_request_memory: ByteSize,
    /// Memory of all pushes in progress, as a part of it. Further pushes are refused with 429. Default 512MiB.
    pub max_inflight_requests_size: ByteSize,
    /// How far a sample may be in the future. Default 10m, as in Prometheus; 0 means any distance.
    pub max_future_time: PromDuration,
    /// Limits of tenants without overrides.
    pub defaults: TenantLimits,
    /// Limits of single tenants, by tenant. Omitted limits are those of `defaults`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub overrides: BTreeMap<String, TenantOverrides>,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        LimitsConfig {
            max_head_memory: ByteSize(0),
            max_query_memory: ByteSize(2 << 30),
            max_request_size: ByteSize(32 << 20),
            max_decompressed_request_size: ByteSize(32 << 20),
            max_request_memory: ByteSize(0),
            max_inflight_requests_size: ByteSize(512 << 20),
            max_future_time: PromDuration::from_secs(600),
            defaults: TenantLimits::default(),
            overrides: BTreeMap::new(),
        }
    }
}

/// Declares the limits of a tenant twice: complete ones, and overrides in which each is optional.
macro_rules! tenant_limits {
    ($($(#[$meta:meta])* $field:ident: $type:ty = $default:expr,)*) => {
        /// Limits of a tenant. 0 means no limit unless the field says otherwise.
        #[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct TenantLimits {
            $($(#[$meta])* pub $field: $type,)*
        }

        impl Default for TenantLimits {
            fn default() -> Self {
                TenantLimits { $($field: $default,)* }
            }
        }

        /// The limits of one tenant that differ from the defaults.
        #[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct TenantOverrides {
            $(
                $(#[$meta])*
                #[serde(skip_serializing_if = "Option::is_none")]
                pub $field: Option<$type>,
            )*
        }

        impl TenantLimits {
            fn overridden_by(mut self, own: &TenantOverrides) -> Self {
                $(if let Some(value) = &own.$field {
                    self.$field = value.clone();
                })*
                self
            }
        }
    };
}

tenant_limits! {
    /// Series in memory. Default 0: no limit.
    max_series: u64 = 0,
    /// Labels of a series. Default 0: no limit.
    max_labels: u64 = 0,
    /// Length of a label name in bytes. Default 0: no limit.
    max_label_name_length: u64 = 0,
    /// Length of a label value in bytes. Default 0: no limit.
    max_label_value_length: u64 = 0,
    /// How far a sample may be behind the newest sample of its tenant. Samples in order in their series may be an hour behind in
    /// any case. Default: `storage.tsdb.out_of_order_time_window`, or else 2h.
    out_of_order_time_window: PromDuration = DEFAULT_WINDOW,
    /// Exemplars to keep; the oldest are dropped first. Default 10000.
    max_exemplars: u64 = 10_000,
    /// Memory of the tenant's requests in flight. Further ones are refused with 429. Default 0: three quarters of
    /// `limits.max_request_memory`.
    max_request_memory: ByteSize = ByteSize(0),
    /// Memory of one query. Default 0: the value of `limits.max_query_memory`.
    max_query_memory: ByteSize = ByteSize(0),
    /// Samples that one query holds in memory. Default 0: the value of `--query.max-samples`.
    max_query_samples: u64 = 0,
    /// Series that one selector matches. Default 0: no limit.
    max_query_series: u64 = 0,
    /// Points per series that a range query asks for. Default 11000.
    max_query_points: u64 = 11_000,
    /// Points that a query computes: series times steps, summed over its selectors. Default 0: no limit.
    max_query_total_points: u64 = 0,
    /// Timeout of a query. Default 0: the value of `--query.timeout`, which is also the upper bound.
    query_timeout: PromDuration = PromDuration::from_secs(0),
    /// Concurrent queries. Default 0: limited by `--query.max-concurrency` alone.
    max_concurrent_queries: u64 = 0,
    /// Queries that wait for a slot. Further queries are refused with 429. Default 256; 0 means no limit.
    max_queued_queries: u64 = 256,
    /// Experimental PromQL features to refuse: `promql-experimental-functions`,
    /// `promql-extended-range-selectors`, `promql-binop-fill-modifiers`, `promql-duration-expr`. Default: none.
    disabled_query_features: Vec<String> = Vec::new(),
}

/// How far out of order samples may be by default.
pub(super) const DEFAULT_WINDOW: PromDuration = PromDuration::from_secs(7200);

impl LimitsConfig {
    /// The limits that apply to a tenant.
    pub fn of_tenant(&self, tenant: &TenantId) -> TenantLimits {
        let defaults = self.defaults.clone();
        match self.overrides.get(tenant.as_str()) {
            Some(own) => defaults.overridden_by(own),
            None => defaults,
        }
    }
}
