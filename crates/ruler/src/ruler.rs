//! The ruler as a component of a node: it keeps the loops of groups in step with the configuration.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use futures::future::join_all;
use pharos_model::{Clock, Labels, TenantId};
use pharos_rules::group::mark_collisions;
use pharos_rules::{GroupOptions, RuleGroups};
use pharos_transport::ruler_v1 as wire;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tonic::service::RoutesBuilder;

use crate::components::{RulerComponents, RulerConfig};
use crate::evaluation::Shared;
use crate::group::{GroupLoop, RunningGroup};
use crate::metrics::RulerMetrics;
use crate::service::RulerService;
use crate::view;

/// A rule file that was read and checked, or a namespace of the rule API.
#[derive(Clone, Debug, PartialEq)]
pub struct RuleFile {
    /// The tenant whose samples the rules read and write.
    pub tenant: TenantId,
    /// Its path, or the name of the namespace, as the API shows it.
    pub path: String,
    /// Its groups.
    pub groups: RuleGroups,
}

impl RuleFile {
    /// A file whose rules read and write the samples of the default tenant.
    pub fn of_default_tenant(path: impl Into<String>, groups: RuleGroups) -> Self {
        RuleFile { tenant: TenantId::default(), path: path.into(), groups }
    }
}

/// All rules of a configuration.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RuleSet {
    /// The files.
    pub files: Vec<Arc<RuleFile>>,
    /// Settings that apply to all groups.
    pub options: GroupOptions,
}

/// All rules: those of the configuration and those of the rule API.
#[derive(Clone, Default)]
struct AllRules {
    configured: Arc<RuleSet>,
    stored: Arc<Vec<Arc<RuleFile>>>,
}

/// The groups by tenant, file and name.
type Running = BTreeMap<(TenantId, String, String), GroupLoop>;

/// Evaluates rules. Create it, then [`Ruler::run`] it.
pub struct Ruler {
    shared: Arc<Shared>,
    rules: watch::Sender<AllRules>,
    /// Wakes the task that reads the rules in the bucket.
    pub(crate) refresh: Notify,
    /// Sorted by tenant, file and name.
    groups: Arc<ArcSwap<Vec<Arc<RunningGroup>>>>,
}

impl Ruler {
    /// A ruler of these rules. Nothing is evaluated before [`Ruler::run`].
    ///
    /// # Errors
    /// The registry already has metrics of a ruler.
    pub fn create(
        config: RulerConfig,
        components: RulerComponents,
        rules: RuleSet,
    ) -> Result<Arc<Self>, prometheus::Error> {
        let metrics = RulerMetrics::new(&components.registry)?;
        let shared = Shared::new(config, components, metrics);
        let rules = AllRules { configured: Arc::new(rules), stored: Arc::default() };
        let (rules, refresh) = (watch::Sender::new(rules), Notify::new());
        Ok(Arc::new(Ruler { shared, rules, refresh, groups: Arc::default() }))
    }

    /// Replaces the rules of the configuration. Groups that have not changed go on untouched; rules of changed ones keep their
    /// state if their names and labels are the same.
    pub fn reload(&self, rules: RuleSet) {
        self.rules.send_modify(|all| all.configured = Arc::new(rules));
    }

    /// Replaces the rules of the rule API, as [`Ruler::reload`] does those of the configuration.
    pub(crate) fn set_stored(&self, files: Vec<Arc<RuleFile>>) {
        self.rules.send_modify(|all| all.stored = Arc::new(files));
    }

    pub(crate) fn clock(&self) -> &dyn Clock {
        &*self.shared.components.clock
    }

    /// Reads the rules in the bucket again soon.
    pub fn refresh(&self) {
        self.refresh.notify_one();
    }

    /// The groups that this ruler evaluates, sorted by tenant, file and name, in the form that other nodes get.
    pub fn groups(&self) -> Vec<wire::Group> {
        self.groups.load().iter().filter(|group| group.is_owned()).map(|group| view::group(group)).collect()
    }

    /// Adds the gRPC service that other nodes call.
    pub fn add_services(self: &Arc<Self>, routes: &mut RoutesBuilder) {
        RulerService(self.clone()).mount(routes);
    }

    /// Waits until other rulers evaluate everything that this one did, after it was told to drain or has left
    /// ([`pharos_cluster::Meta::leave`]). It keeps evaluating until then. Returns false when this is the only ruler.
    pub async fn hand_off(&self) -> bool {
        if !self.shared.components.ownership.await_release().await {
            return false;
        }
        self.shared.await_idle().await;
        true
    }

    /// Evaluates rules until `stopped` turns true. Evaluations in progress end with their current rule.
    pub async fn run(self: Arc<Self>, mut stopped: watch::Receiver<bool>) {
        let mut rules = self.rules.subscribe();
        let mut running = Running::new();
        let mut removed = JoinSet::new();
        loop {
            let next = rules.borrow_and_update().clone();
            self.apply(&next, &mut running, &mut removed);
            tokio::select! {
                biased;
                _ = stopped.wait_for(|stopped| *stopped) => break,
                changed = rules.changed() => if changed.is_err() { break },
                Some(_ended) = removed.join_next() => {}
            }
        }
        self.shared.stop();
        join_all(running.into_values().map(GroupLoop::end)).await;
        removed.join_all().await;
    }

    /// Starts, replaces and removes loops so that there is one for each group. Waits for no evaluation.
    fn apply(&self, rules: &AllRules, running: &mut Running, removed: &mut JoinSet<()>) {
        let mut kept = Running::new();
        let options = &rules.configured.options;
        for file in rules.configured.files.iter().chain(&*rules.stored) {
            for spec in &file.groups.groups {
                let id = (file.tenant.clone(), file.path.clone(), spec.name.clone());
                if kept.contains_key(&id) {
                    let (tenant, namespace, group) = id;
                    tracing::warn!(%tenant, namespace, group, "a rule file has a group of this name; the one of the rule API is not evaluated");
                    continue;
                }
                let current = running.remove(&id);
                let next = match current {
                    Some(current) if current.group.is(spec, options) => current,
                    current => {
                        let group = RunningGroup::new(&file.tenant, &file.path, spec, options);
                        GroupLoop::start(group, &self.shared, current)
                    }
                };
                kept.insert(id, next);
            }
        }
        let groups: Vec<Arc<RunningGroup>> = kept.values().map(|running| running.group.clone()).collect();
        for of_tenant in groups.chunk_by(|a, b| a.tenant == b.tenant) {
            mark_collisions(of_tenant.iter().map(|group| &group.rules));
        }
        self.groups.store(Arc::new(groups));
        self.shared.metrics.set_groups(kept.len());
        for gone in std::mem::replace(running, kept).into_values() {
            let (groups, tenant) = (self.groups.clone(), gone.group.tenant.clone());
            let is_written = move |labels: &Labels| {
                groups.load().iter().any(|group| group.tenant == tenant && group.rules.writes(labels))
            };
            removed.spawn(gone.remove(self.shared.clone(), is_written));
        }
    }
}

#[cfg(test)]
mod tests;
