//! Limits on the queries of each tenant. A reload replaces all limits at once. Queries in flight keep the limits that
//! they started with.

use std::collections::HashMap;
use std::time::Duration;

use pharos_model::TenantId;

use crate::features::QueryFeatures;

/// Limits on the queries of one tenant. 0 disables a limit, unless its field says otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueryLimits {
    /// Maximum duration of a query, including the time in the queue. Default: 2 minutes.
    pub timeout: Duration,
    /// Maximum memory of a query, bytes. Default: 2 GiB.
    pub max_memory_bytes: u64,
    /// Maximum number of samples that a query holds at a time. Cannot be disabled. Default: 50 million.
    pub max_samples: usize,
    /// Maximum number of series that a selector matches. Default: no limit.
    pub max_series: usize,
    /// Maximum number of points per series of a range query. Cannot be disabled. Default: 11,000.
    pub max_points: i64,
    /// Maximum number of points that a query computes: series times steps, summed over its selectors.
    /// Default: no limit.
    pub max_total_points: u64,
    /// Maximum number of the tenant's queries that run at a time. Default: no limit besides that of the process.
    pub max_concurrency: usize,
    /// Maximum number of the tenant's queries that wait. More are refused with status 429. Default: 256.
    pub max_queued: usize,
    /// Experimental parts of the language that the tenant may use. Default: all.
    pub features: QueryFeatures,
}

impl Default for QueryLimits {
    fn default() -> Self {
        QueryLimits {
            timeout: Duration::from_secs(120),
            max_memory_bytes: 2 << 30,
            max_samples: 50_000_000,
            max_series: 0,
            max_points: 11_000,
            max_total_points: 0,
            max_concurrency: 0,
            max_queued: 256,
            features: QueryFeatures::default(),
        }
    }
}

/// The limits of all tenants. Tenants without limits of their own have the defaults.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LimitsByTenant {
    /// The limits of tenants that have none of their own.
    pub defaults: QueryLimits,
    /// The limits of individual tenants, which replace the defaults entirely.
    pub own: HashMap<TenantId, QueryLimits>,
}

impl LimitsByTenant {
    /// Returns the limits of a tenant.
    pub fn of(&self, tenant: &TenantId) -> &QueryLimits {
        self.own.get(tenant).unwrap_or(&self.defaults)
    }
}
