//! What a ruler is given: its settings, who answers its queries, and who takes its samples and alerts.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use pharos_model::{Clock, Labels, TenantId};
use pharos_rules::file::Texts;
use pharos_rules::{QueryFailure, RuleQueries};
use pharos_transport::Ingest;
use prometheus::Registry;

use crate::ownership::Ownership;

/// Settings that only a restart changes.
#[derive(Clone, Debug)]
pub struct RulerConfig {
    /// How long ago an alert may have been evaluated last for its `for` to be restored.
    pub outage_tolerance: Duration,
    /// How long a restored alert stays pending at least, unless its `for` is shorter.
    pub grace_period: Duration,
    /// The least time between two notifications of an alert that goes on.
    pub resend_delay: Duration,
    /// How many independent rules may be evaluated concurrently, over all groups; none if rules are evaluated in order.
    pub max_concurrent_evals: Option<usize>,
}

/// The components of a ruler.
#[derive(Clone)]
pub struct RulerComponents {
    /// Answers queries.
    pub engine: Arc<dyn RuleEngine>,
    /// Takes samples.
    pub ingest: Arc<dyn Ingest>,
    /// Takes alerts.
    pub alerts: Arc<dyn AlertSink>,
    /// Says which groups are this ruler's.
    pub ownership: Arc<Ownership>,
    /// Where time comes from.
    pub clock: Arc<dyn Clock>,
    /// Where metrics are registered.
    pub registry: Registry,
}

/// Blocking work that asks queries.
pub type RuleWork = Box<dyn FnOnce(&dyn RuleQueries) + Send>;

/// Runs queries of rules.
#[async_trait]
pub trait RuleEngine: Send + Sync + 'static {
    /// Runs work on a thread that may block, once it is its turn.
    ///
    /// # Errors
    /// The work was not run, or not to its end.
    async fn run(&self, tenant: &TenantId, work: RuleWork) -> Result<(), QueryFailure>;
}

/// Takes the alerts that are to be sent.
pub trait AlertSink: Send + Sync + 'static {
    /// Takes alerts of one rule. Does not block: what cannot be queued is dropped and counted.
    fn send(&self, tenant: &TenantId, alerts: &[OutgoingAlert]);
}

/// An alert on its way to Alertmanagers. Times are milliseconds since the epoch.
#[derive(Clone, Debug, PartialEq)]
pub struct OutgoingAlert {
    /// The labels, which identify the alert.
    pub labels: Labels,
    /// The annotations.
    pub annotations: Texts,
    /// When the alert began to fire.
    pub starts_at_ms: i64,
    /// When the alert was resolved, or when it is to be considered resolved if nothing more is heard of it.
    pub ends_at_ms: i64,
    /// Where the expression is shown.
    pub generator_url: String,
}
