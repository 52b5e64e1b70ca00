//! The Prometheus HTTP API: decodes requests, asks the querier and encodes answers.
//!
//! A request flows one way: a handler decodes it with [`params`], [`pharos_querier`] admits and answers it, and [`json`]
//! encodes the answer in the shape that Prometheus documents. What the API shows of other parts of the node (targets,
//! configuration, flags, lifecycle) comes through [`services`]. [`error`] is the only place that maps errors to status codes.

#![forbid(unsafe_code)]

mod body;
pub mod config;
pub mod error;
mod handlers;
pub mod json;
pub mod notifications;
pub mod params;
pub mod query_log;
mod remote_read;
pub mod services;
mod unsent;
pub mod viewer;

pub use config::ApiConfig;
pub use error::ApiError;
pub use handlers::{no_such_method, no_such_route, router};
pub use services::Services;

use std::sync::Arc;
use std::time::Duration;

use pharos_model::{Budget, Clock, MemoryAccount, Purpose, TenantId};
use pharos_promql::Engine;
use pharos_querier::registry::ActiveQueries;
use pharos_querier::{Admission, Fanout, IsKnown, QueryMetrics};

use crate::remote_read::RemoteReads;
use crate::unsent::Unsent;

/// What the handlers share.
pub struct Api {
    /// Settings.
    pub config: ApiConfig,
    /// Evaluates queries.
    pub engine: Engine,
    /// Where samples come from.
    pub sources: Fanout,
    /// The rest of the node.
    pub services: Arc<dyn Services>,
    /// Where time comes from.
    pub clock: Arc<dyn Clock>,
    /// Counts and times queries.
    pub metrics: QueryMetrics,
    /// Grants queries the right to run.
    pub admission: Admission,
    /// Queries in flight.
    pub active: Arc<ActiveQueries>,
    /// Remote reads that may run at a time.
    reads: RemoteReads,
    /// What all requests hold.
    memory: Arc<MemoryAccount>,
    /// Responses that wait for their clients.
    unsent: Arc<Unsent>,
}

impl Api {
    /// Puts the API together and registers its metrics.
    ///
    /// # Errors
    /// `registry` has metrics of these names already.
    pub fn create(
        config: ApiConfig,
        engine: Engine,
        sources: Fanout,
        services: Arc<dyn Services>,
        memory: Arc<MemoryAccount>,
        clock: Arc<dyn Clock>,
        registry: &prometheus::Registry,
    ) -> Result<Arc<Api>, prometheus::Error> {
        let metrics = QueryMetrics::register(registry)?;
        let of_node = services.clone();
        let is_known: IsKnown = Arc::new(move |tenant| of_node.is_known(tenant));
        Ok(Arc::new(Api {
            admission: Admission::new(
                config.max_concurrency,
                config.limits.clone(),
                is_known,
                clock.clone(),
                metrics.clone(),
            ),
            active: ActiveQueries::new(metrics.active.clone()),
            reads: RemoteReads::new(config.remote_read_concurrency),
            unsent: Unsent::new(memory.clone(), clock.clone()),
            memory,
            config,
            engine,
            sources,
            services,
            clock,
            metrics,
        }))
    }

    /// A budget with a tenant's limits, from now on. Its memory is drawn from the account.
    pub fn budget(&self, tenant: &TenantId) -> Arc<Budget> {
        self.budget_within(tenant, Duration::MAX)
    }

    /// As [`Api::budget`], with a timeout of its own if that is shorter.
    pub fn budget_within(&self, tenant: &TenantId, timeout: Duration) -> Arc<Budget> {
        let limits = self.config.limits.load();
        let limits = limits.of(tenant);
        let hold = self.memory.open(tenant, Purpose::Query);
        Arc::new(Budget::drawn(self.clock.clone(), limits.timeout.min(timeout), limits.max_memory_bytes, hold))
    }
}

/// The tenant that a request names by `X-Scope-OrgID`.
///
/// # Errors
/// The header is not ASCII, or not the name of a tenant.
pub fn tenant_of(headers: &axum::http::HeaderMap) -> Result<TenantId, ApiError> {
    match headers.get("x-scope-orgid") {
        None => Ok(TenantId::default()),
        Some(value) => {
            let name = value.to_str().map_err(|_| ApiError::bad_data("header X-Scope-OrgID is not ASCII"))?;
            TenantId::new(name).map_err(|e| ApiError::bad_data(e.to_string()))
        }
    }
}
