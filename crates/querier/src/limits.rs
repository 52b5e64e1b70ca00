//! What the queries of a tenant may cost. A reload replaces all limits at once; queries that run keep those they began with.

use std::collections::HashMap;
use std::time::Duration;

use pharos_model::TenantId;

use crate::features::QueryFeatures;

/// What the queries of one tenant may cost. 0 switches a limit off, unless it says otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueryLimits {
    /// Longest time of a query, with its waiting. Default: 2 minutes.
    pub timeout: Duration,
    /// Most memory of a query, bytes. Default: 2 GiB.
    pub max_memory_bytes: u64,
    /// Most samples that a query holds at a time; never off. Default: 50 million.
    pub max_samples: usize,
    /// Most series of a selector. Default: off.
    pub max_series: usize,
    /// Most points of a series that a range query may ask for; never off. Default: 11,000.
    pub max_points: i64,
    /// Most points that a query computes: series times steps of all its selectors. Default: off.
    pub max_total_points: u64,
    /// Queries of the tenant that run at a time. Default: off, only that of the process holds.
    pub max_concurrency: usize,
    /// Queries of the tenant that wait; more are refused with 429. Default: 256.
    pub max_queued: usize,
    /// Parts of the language that are experimental in Prometheus. Default: all.
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

/// The limits of all tenants: some have their own, the others have the defaults.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LimitsByTenant {
    /// Of tenants that have none of their own.
    pub defaults: QueryLimits,
    /// Of single tenants.
    pub own: HashMap<TenantId, QueryLimits>,
}

impl LimitsByTenant {
    /// The limits of a tenant.
    pub fn of(&self, tenant: &TenantId) -> &QueryLimits {
        self.own.get(tenant).unwrap_or(&self.defaults)
    }
}
