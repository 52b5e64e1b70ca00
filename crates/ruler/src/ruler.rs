//! The ruler as a component of a node: it keeps the loops of groups in step with the configuration.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use futures::future::join_all;
use pharos_model::Labels;
use pharos_rules::group::mark_collisions;
use pharos_rules::{GroupOptions, RuleGroups};
use pharos_transport::ruler_v1 as wire;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tonic::service::RoutesBuilder;

use crate::components::{RulerComponents, RulerConfig};
use crate::evaluation::Shared;
use crate::group::{GroupLoop, RunningGroup};
use crate::metrics::RulerMetrics;
use crate::service::RulerService;
use crate::view;

/// A rule file that was read and checked.
#[derive(Clone, Debug, PartialEq)]
pub struct RuleFile {
    /// Its path, as the API shows it.
    pub path: String,
    /// Its groups.
    pub groups: RuleGroups,
}

/// All rules of a configuration.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RuleSet {
    /// The files.
    pub files: Vec<Arc<RuleFile>>,
    /// Settings that apply to all groups.
    pub options: GroupOptions,
}

/// The groups by file and name.
type Running = BTreeMap<(String, String), GroupLoop>;

/// Evaluates rules. Create it, then [`Ruler::run`] it.
pub struct Ruler {
    shared: Arc<Shared>,
    rules: watch::Sender<Arc<RuleSet>>,
    /// Sorted by file and name.
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
        Ok(Arc::new(Ruler { shared, rules: watch::Sender::new(Arc::new(rules)), groups: Arc::default() }))
    }

    /// Replaces the rules. Groups that have not changed go on untouched; rules of changed ones keep their state if their
    /// names and labels are the same.
    pub fn reload(&self, rules: RuleSet) {
        self.rules.send_replace(Arc::new(rules));
    }

    /// The groups that this ruler evaluates, sorted by file and name, in the form that other nodes get.
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
    fn apply(&self, rules: &RuleSet, running: &mut Running, removed: &mut JoinSet<()>) {
        let mut kept = Running::new();
        for file in &rules.files {
            for spec in &file.groups.groups {
                let id = (file.path.clone(), spec.name.clone());
                let current = running.remove(&id);
                let next = match current {
                    Some(current) if current.group.is(spec, &rules.options) => current,
                    current => {
                        let group = RunningGroup::new(&file.path, spec, &rules.options);
                        GroupLoop::start(group, &self.shared, current)
                    }
                };
                kept.insert(id, next);
            }
        }
        mark_collisions(kept.values().map(|running| &running.group.rules));
        self.groups.store(Arc::new(kept.values().map(|running| running.group.clone()).collect()));
        self.shared.metrics.set_groups(kept.len());
        for gone in std::mem::replace(running, kept).into_values() {
            let groups = self.groups.clone();
            let is_written = move |labels: &Labels| groups.load().iter().any(|group| group.rules.writes(labels));
            removed.spawn(gone.remove(self.shared.clone(), is_written));
        }
    }
}

#[cfg(test)]
mod tests;
