//! The Prometheus HTTP API: parses, fans out, merges and answers.
//!
//! A request flows one way: [`api`] decodes it, [`fanout`] asks the roles that hold samples, the engine evaluates, and
//! [`json`] encodes the answer in the shape that Prometheus documents. What the API shows of other parts of the node
//! (targets, configuration, flags, lifecycle) comes through [`services`].

pub mod api;
pub mod cluster;
pub mod config;
pub mod error;
pub mod fanout;
pub mod features;
pub mod json;
pub mod limits;
pub mod metrics;
pub mod params;
pub mod queries;
pub mod remote_read;
pub mod services;

pub use api::router;
pub use cluster::ClusterParts;
pub use config::FrontendConfig;
pub use error::ApiError;
pub use fanout::Fanout;
pub use features::QueryFeatures;
pub use limits::{LimitsByTenant, QueryLimits};
pub use metrics::AskMetrics;
pub use services::Services;

use std::sync::Arc;
use std::time::Duration;

use pharos_model::{Budget, Clock, TenantId};
use pharos_promql::engine::Engine;
use queries::queue::FairQueue;
use queries::registry::ActiveQueries;
use tokio::sync::Semaphore;

/// What the handlers share.
pub struct Frontend {
    /// Settings.
    pub config: FrontendConfig,
    /// Evaluates queries.
    pub engine: Engine,
    /// Where samples come from.
    pub sources: Fanout,
    /// The rest of the node.
    pub services: Arc<dyn Services>,
    /// Where time comes from.
    pub clock: Arc<dyn Clock>,
    /// Metrics of this role.
    pub metrics: metrics::QueryMetrics,
    /// Queries that wait for their turn.
    pub queue: Arc<FairQueue>,
    /// Queries under way.
    pub active: Arc<ActiveQueries>,
    /// Remote reads that may run at a time.
    pub reads: Arc<Semaphore>,
}

impl Frontend {
    /// Puts the role together.
    pub fn create(
        config: FrontendConfig,
        engine: Engine,
        sources: Fanout,
        services: Arc<dyn Services>,
        clock: Arc<dyn Clock>,
        registry: &prometheus::Registry,
    ) -> Result<Arc<Frontend>, prometheus::Error> {
        let metrics = metrics::QueryMetrics::register(registry)?;
        let reads = match config.remote_read_concurrency {
            0 => Semaphore::MAX_PERMITS,
            n => n.min(Semaphore::MAX_PERMITS),
        };
        Ok(Arc::new(Frontend {
            queue: FairQueue::new(config.max_concurrency),
            active: ActiveQueries::new(metrics.active.clone()),
            reads: Arc::new(Semaphore::new(reads)),
            config,
            engine,
            sources,
            services,
            clock,
            metrics,
        }))
    }
}

impl Frontend {
    /// A budget with a tenant's limits, from now on.
    pub fn budget(&self, tenant: &TenantId) -> Arc<Budget> {
        self.budget_within(tenant, Duration::MAX)
    }

    /// As [`Frontend::budget`], with a timeout of its own if that is shorter.
    pub fn budget_within(&self, tenant: &TenantId, timeout: Duration) -> Arc<Budget> {
        let limits = self.config.limits.load();
        let limits = limits.of(tenant);
        Arc::new(Budget::new(self.clock.clone(), limits.timeout.min(timeout), limits.max_memory_bytes))
    }
}

/// The tenant that a request names by `X-Scope-OrgID`.
pub fn tenant_of(headers: &axum::http::HeaderMap) -> Result<TenantId, ApiError> {
    match headers.get("x-scope-orgid") {
        None => Ok(TenantId::default()),
        Some(value) => {
            let name = value.to_str().map_err(|_| ApiError::bad_data("header X-Scope-OrgID is not ASCII"))?;
            TenantId::new(name).map_err(|e| ApiError::bad_data(e.to_string()))
        }
    }
}
