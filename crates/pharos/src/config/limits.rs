//! The section `limits`: what the node and each tenant may use. 0 switches a limit off.
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
    /// Writes are refused with 429 while the heads of all tenants take more memory than this. Default 0: no limit.
    pub max_head_memory: ByteSize,
    /// Memory of one query. Default 2GiB.
    pub max_query_memory: ByteSize,
    /// Largest body of a push as it is sent, compressed or not. Default 32MiB.
    pub max_request_size: ByteSize,
    /// Largest body of a push after decompression. Default 32MiB.
    pub max_decompressed_request_size: ByteSize,
    /// Memory of all pushes that are being handled; more are refused with 429. Default 512MiB.
    pub max_inflight_requests_size: ByteSize,
    /// How far ahead of the clock a sample may be. Default 1d; 0 is any distance.
    pub max_future_time: PromDuration,
    /// Limits of tenants that have none of their own.
    pub defaults: TenantLimits,
    /// Limits of single tenants; what is left away is as in `defaults`.
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
            max_inflight_requests_size: ByteSize(512 << 20),
            max_future_time: PromDuration::from_secs(86_400),
            defaults: TenantLimits::default(),
            overrides: BTreeMap::new(),
        }
    }
}

/// Declares the limits of a tenant twice: complete, and as overrides.
macro_rules! tenant_limits {
    ($($(#[$meta:meta])* $field:ident: $type:ty = $default:expr,)*) => {
        /// What a tenant may hold and send.
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
    /// Most series in memory. Default 0: no limit.
    max_series: u64 = 0,
    /// Most labels of a series. Default 0: no limit.
    max_labels: u64 = 0,
    /// Longest label name, bytes. Default 0: no limit.
    max_label_name_length: u64 = 0,
    /// Longest label value, bytes. Default 0: no limit.
    max_label_value_length: u64 = 0,
    /// How far behind the newest sample of the tenant a sample may be. Default 2h, or what
    /// `storage.tsdb.out_of_order_time_window` says.
    out_of_order_time_window: PromDuration = DEFAULT_WINDOW,
    /// Exemplars that are kept, the newest. Default 10000.
    max_exemplars: u64 = 10_000,
    /// Memory of one query. Default 0: what `limits.max_query_memory` says.
    max_query_memory: ByteSize = ByteSize(0),
    /// Samples that one query may hold in memory. Default 0: what `--query.max-samples` says.
    max_query_samples: u64 = 0,
    /// Series that one selector may match. Default 0: no limit.
    max_query_series: u64 = 0,
    /// Points of a series that a range query may ask for. Default 11000.
    max_query_points: u64 = 11_000,
    /// Points that a query may compute: series times steps, of all its selectors together. Default 0: no limit.
    max_query_total_points: u64 = 0,
    /// Longest time of a query. Default 0: what `--query.timeout` says, which is also the most.
    query_timeout: PromDuration = PromDuration::from_secs(0),
    /// Queries that run at a time. Default 0: only `--query.max-concurrency` limits them.
    max_concurrent_queries: u64 = 0,
    /// Queries that wait for their turn; more are refused with 429. Default 256; 0 is no limit.
    max_queued_queries: u64 = 256,
    /// Experimental parts of PromQL that may not be used: `promql-experimental-functions`,
    /// `promql-extended-range-selectors`, `promql-binop-fill-modifiers`, `promql-duration-expr`. Default: none.
    disabled_query_features: Vec<String> = Vec::new(),
}

/// Where nothing says how far out of order samples may be.
pub(super) const DEFAULT_WINDOW: PromDuration = PromDuration::from_secs(7200);

impl LimitsConfig {
    /// The limits of a tenant.
    pub fn of_tenant(&self, tenant: &TenantId) -> TenantLimits {
        let defaults = self.defaults.clone();
        match self.overrides.get(tenant.as_str()) {
            Some(own) => defaults.overridden_by(own),
            None => defaults,
        }
    }
}
