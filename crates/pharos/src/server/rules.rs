//! The ruler of this node: how it queries and is reloaded, and how the API shows the rules of all rulers.

use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use pharos_api::error::ErrorKind;
use pharos_api::services::{Alert, AlertingRule, Alertmanagers, Rule, RuleConfigCall, RuleGroup, Rules};
use pharos_api::{Api, ApiError};
use pharos_model::fragment::Steps;
use pharos_model::{Budget, Labels, TenantId};
use pharos_promql::syntax::ast::Expr;
use pharos_promql::{Engine, EngineOptions, QueryError, QueryOptions, SampleValue, Value, VectorSample};
use pharos_querier::admission::Job;
use pharos_querier::{AdmissionError, QueryLimits, TenantQuerier};
use pharos_ruler::{
    Notifier, NotifierRules, PreparedNotifier, RemoteRulers, RuleEngine, RuleSet, RuleWork, Ruler, StoredRules,
    StoredRulesError,
};
use pharos_rules::file::to_yaml;
use pharos_rules::{GroupOptions, QueryFailure, RuleQueries};
use pharos_transport::ruler_v1 as wire;
use tokio::sync::{Semaphore, watch};

use crate::config::Loaded;

/// The ruler of this node, and the notifier that sends its alerts.
pub(super) struct RulerRole {
    pub(super) ruler: Arc<Ruler>,
    pub(super) notifier: Arc<Notifier>,
    /// The groups in the bucket.
    pub(super) stored: StoredRules,
}

impl RulerRole {
    /// Evaluates rules until `stopped` turns true, and sends alerts until the last rule was evaluated.
    pub(super) async fn run(self: Arc<Self>, stopped: watch::Receiver<bool>) {
        let (stop, all_evaluated) = watch::channel(false);
        let evaluate = async {
            self.ruler.clone().run(stopped.clone()).await;
            stop.send_replace(true);
        };
        let follow_stored = pharos_ruler::follow(self.ruler.clone(), self.stored.clone(), stopped.clone());
        tokio::join!(evaluate, follow_stored, self.notifier.clone().run(all_evaluated));
    }

    /// Prepares a reload, which [`RulerRole::apply`] puts in force.
    pub(super) fn prepare(&self, loaded: &Loaded) -> Result<PreparedNotifier, String> {
        self.notifier.prepare(notifier_rules(loaded)).map_err(|error| error.to_string())
    }

    /// Puts a reload in force.
    pub(super) fn apply(&self, loaded: &Loaded, external_url: &str, prepared: PreparedNotifier) {
        self.notifier.apply(prepared);
        self.ruler.reload(rule_set(loaded, external_url));
    }

    /// The Alertmanagers that get alerts, and those that relabelling dropped.
    pub(super) fn alertmanagers(&self) -> Alertmanagers {
        let known = self.notifier.alertmanagers();
        Alertmanagers { active: known.active, dropped: known.dropped }
    }
}

/// The configuration of the notifier.
pub(super) fn notifier_rules(loaded: &Loaded) -> NotifierRules {
    let external_labels = Arc::new(loaded.config.global.external_labels.clone());
    NotifierRules { alerting: loaded.alerting.clone(), external_labels }
}

/// The rules of a configuration.
pub(super) fn rule_set(loaded: &Loaded, external_url: &str) -> RuleSet {
    let global = &loaded.config.global;
    let options = GroupOptions {
        interval_ms: global.evaluation_interval.as_millis() as i64,
        external_labels: Arc::new(global.external_labels.clone()),
        external_url: external_url.to_string(),
        query_offset_ms: global.rule_query_offset.as_millis() as i64,
    };
    RuleSet { files: loaded.rules.clone(), options }
}

/// Runs queries of rules as the API runs those of users: admitted in turn, within the limits of the tenant.
pub(super) struct ApiEngine {
    api: Arc<Api>,
    /// Keeps rules from filling the queue of their tenant, however many are due at a time.
    permits: Semaphore,
}

impl ApiEngine {
    /// Queries through the API of this node.
    pub(super) fn new(api: Arc<Api>) -> Self {
        let permits = api.config.max_concurrency.clamp(1, Semaphore::MAX_PERMITS);
        ApiEngine { api, permits: Semaphore::new(permits) }
    }
}

#[async_trait]
impl RuleEngine for ApiEngine {
    async fn run(&self, tenant: &TenantId, work: RuleWork) -> Result<(), QueryFailure> {
        let api = &self.api;
        let _permit = self.permits.acquire().await.map_err(|error| error.to_string())?;
        let source = api.sources.of_tenant(tenant.clone()).await.map_err(|stale| later(stale.to_string()))?;
        let limits = api.config.limits.load();
        let QueryLimits { max_samples, max_series, max_total_points: max_points, timeout, .. } = *limits.of(tenant);
        let engine = EngineOptions { max_samples, max_series, max_points, ..api.engine.options().clone() };
        let budget = api.budget(tenant);
        let queries = Queries { source, engine: Engine::new(engine), budget: budget.clone() };
        let job = Job { tenant, budget: &budget, timeout, registered: None };
        let admitted = api.admission.run(job, move || {
            work(&queries);
            Ok::<_, AdmissionError>(())
        });
        admitted.await.map(|_| ()).map_err(|error| error.to_string().into())
    }
}

/// The queries of one evaluation of a rule, which share a budget.
struct Queries {
    source: TenantQuerier,
    engine: Engine,
    budget: Arc<Budget>,
}

impl RuleQueries for Queries {
    fn query(
        &self,
        expr: &Expr,
        text: &str,
        t_ms: i64,
        lookback_delta_ms: Option<i64>,
    ) -> Result<Vec<VectorSample>, QueryFailure> {
        let budget = Some(self.budget.clone());
        let options = QueryOptions { text: text.to_string(), lookback_delta_ms, budget, ..QueryOptions::default() };
        let steps = Steps { start: t_ms, end: t_ms, step: 0 };
        let output = self.source.evaluate(&self.engine, &self.source, (expr, steps), &options, true);
        let value = output.map_err(failure)?.value;
        // A result that may lack samples would resolve alerts.
        if let Some(warning) = self.source.warnings().into_iter().next() {
            return Err(later(format!("the result may be incomplete: {warning}")));
        }
        match value {
            Value::Vector(vector) => Ok(vector),
            Value::Scalar(t, v) => Ok(vec![VectorSample { labels: Labels::empty(), t, value: SampleValue::Float(v) }]),
            Value::Matrix(_) | Value::String(..) => Err("rule result is not a vector or scalar".into()),
        }
    }
}

/// A failure that may pass.
fn later(reason: String) -> QueryFailure {
    QueryFailure { reason, is_temporary: true }
}

fn failure(error: QueryError) -> QueryFailure {
    QueryFailure { reason: error.to_string(), is_temporary: matches!(error, QueryError::Storage(_)) }
}

/// The rulers of the cluster, and the groups that the rule API keeps for them.
pub(super) struct AllRules {
    /// Identity of this node.
    pub(super) node: String,
    /// The ruler of this process. It queries through the API, and is therefore created after it.
    pub(super) local: OnceLock<Arc<RulerRole>>,
    /// Rulers of other nodes; none in a cluster of one.
    pub(super) others: Option<RemoteRulers>,
    /// The groups in the bucket.
    pub(super) stored: StoredRules,
}

impl AllRules {
    /// The rules of a tenant. Asks all rulers concurrently; one that fails adds a warning.
    pub(super) async fn of_tenant(&self, tenant: &TenantId) -> Rules {
        let mut groups = self.local.get().map(|role| role.ruler.groups()).unwrap_or_default();
        let mut warnings = Vec::new();
        let answers = match &self.others {
            Some(others) => others.all_groups(&self.node).await,
            None => Vec::new(),
        };
        for (ruler, answer) in answers {
            match answer {
                Ok(more) => groups.extend(more),
                Err(status) => warnings.push(format!("rules of ruler {ruler} are missing: {}", status.message())),
            }
        }
        let is_default = *tenant == TenantId::default();
        groups.retain(|group| group.tenant == tenant.as_str() || (group.tenant.is_empty() && is_default));
        // Two rulers may report a group while it moves.
        groups.sort_by(|a, b| {
            (&a.file, &a.name).cmp(&(&b.file, &b.name)).then(b.last_evaluation_ms.cmp(&a.last_evaluation_ms))
        });
        groups.dedup_by(|a, b| (&a.file, &a.name) == (&b.file, &b.name));
        Rules { groups: groups.into_iter().map(shown).collect(), warnings }
    }

    /// Answers a call of the rule API. A change is told to all rulers.
    pub(super) async fn configure(&self, tenant: &TenantId, call: RuleConfigCall) -> Result<String, ApiError> {
        let stored = &self.stored;
        let changed = match call {
            RuleConfigCall::List(namespace) => {
                let groups = stored.list(tenant, namespace.as_deref()).await.map_err(api_error)?;
                return to_yaml(&groups).map_err(ApiError::internal);
            }
            RuleConfigCall::Get(namespace, group) => {
                let group = stored.get(tenant, &namespace, &group).await.map_err(api_error)?;
                return to_yaml(&group).map_err(ApiError::internal);
            }
            RuleConfigCall::Set(namespace, text) => stored.set(tenant, &namespace, &text).await,
            RuleConfigCall::Delete(namespace, group) => stored.delete(tenant, &namespace, &group).await,
            RuleConfigCall::DeleteNamespace(namespace) => stored.delete_namespace(tenant, &namespace).await,
        };
        changed.map_err(api_error)?;
        if let Some(role) = self.local.get() {
            role.ruler.refresh();
        }
        if let Some(others) = &self.others {
            others.refresh_all(&self.node).await;
        }
        Ok(String::new())
    }
}

fn api_error(error: StoredRulesError) -> ApiError {
    let kind = match error {
        StoredRulesError::Invalid(_) => ErrorKind::BadData,
        StoredRulesError::NotFound(_) => ErrorKind::NotFound,
        StoredRulesError::Unavailable(_) | StoredRulesError::Damaged(_) => ErrorKind::Internal,
    };
    ApiError::new(kind, error.to_string())
}

/// A group in the form of the API.
fn shown(group: wire::Group) -> RuleGroup {
    RuleGroup {
        name: group.name,
        file: group.file,
        rules: group.rules.into_iter().map(shown_rule).collect(),
        interval_ms: group.interval_ms,
        limit: group.limit as usize,
        evaluation_seconds: group.evaluation_seconds,
        last_evaluation_ms: group.last_evaluation_ms,
    }
}

fn shown_rule(rule: wire::Rule) -> Rule {
    let alerting = rule.alerting.then(|| AlertingRule {
        state: rule.state,
        hold_ms: rule.hold_ms,
        keep_firing_ms: rule.keep_firing_ms,
        annotations: rule.annotations.into_iter().collect(),
        alerts: rule.alerts.into_iter().map(shown_alert).collect(),
    });
    Rule {
        alerting,
        name: rule.name,
        query: rule.query,
        labels: labels(&rule.labels),
        health: rule.health,
        last_error: rule.last_error,
        evaluation_seconds: rule.evaluation_seconds,
        last_evaluation_ms: rule.last_evaluation_ms,
    }
}

fn shown_alert(alert: wire::Alert) -> Alert {
    Alert {
        labels: labels(&alert.labels),
        annotations: alert.annotations.into_iter().collect(),
        state: alert.state,
        active_at_ms: alert.active_at_ms,
        keep_firing_since_ms: alert.keep_firing_since_ms,
        value: alert.value,
    }
}

fn labels(canonical: &[u8]) -> Labels {
    Labels::from_canonical(canonical).unwrap_or_default()
}
