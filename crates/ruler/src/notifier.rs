//! The notifier: sends alerts to the Alertmanagers of the section `alerting`.
//!
//! Alerts get the external labels and are relabelled; then each Alertmanager has a bounded queue and a task of its own
//! ([`destination`]), so that one that is slow or down holds up no other. Alertmanagers are discovered as targets are.
//! Those of Pharos itself, in this process and on other nodes ([`members`]), get all alerts without configuration.

mod destination;
mod members;
mod metrics;
mod payload;
mod targets;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use futures::future::{join_all, select_all};
use parking_lot::Mutex;
use pharos_cluster::View;
use pharos_config::{ConfigError, RelabelRule, ResolvedAlerting, ResolvedAlertmanagers, relabel};
use pharos_discovery::{DiscoveredTargets, DiscoveryManager, DiscoveryMetrics};
use pharos_http_client::HttpClient;
use pharos_model::{Clock, LabelsBuilder, TenantId};
use pharos_rules::file::Texts;
use prometheus::Registry;
use tokio::sync::watch;

use crate::components::{AlertSink, OutgoingAlert};
use destination::{Destination, HttpPost, Post};
pub use members::MemberAlertmanagers;
use members::MemberDestinations;
use metrics::NotifierMetrics;
use targets::Discovered;

/// The label that tells alerts of tenants apart, which share the Alertmanagers. Those of the default tenant have none.
const TENANT_LABEL: &str = "tenant";

/// Settings that only a restart changes.
#[derive(Clone, Debug)]
pub struct NotifierConfig {
    /// The most alerts that wait for one Alertmanager. When there are more, the oldest are dropped.
    pub queue_capacity: usize,
    /// The most alerts of one request.
    pub batch_size: usize,
    /// Whether alerts that wait are sent before the process ends.
    pub drain: bool,
}

/// What a reload changes.
#[derive(Clone, Debug, Default)]
pub struct NotifierRules {
    /// The section `alerting`.
    pub alerting: ResolvedAlerting,
    /// Labels that alerts get unless they have them.
    pub external_labels: Arc<Texts>,
}

/// The Alertmanagers that are known, by their URLs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KnownAlertmanagers {
    /// Those that get alerts.
    pub active: Vec<String>,
    /// Those that relabelling dropped.
    pub dropped: Vec<String>,
}

/// The Alertmanagers that get all alerts without configuration.
#[derive(Default)]
pub struct OwnAlertmanagers {
    /// The one of this process, and the URL under which it is shown. It takes alerts without HTTP.
    pub built_in: Option<(String, Arc<dyn AlertSink>)>,
    /// Those of the cluster's other nodes.
    pub members: Option<MemberAlertmanagers>,
}

/// Sends alerts to Alertmanagers. Create it, then [`Notifier::run`] it.
pub struct Notifier {
    shared: Arc<Shared>,
    discovery_metrics: DiscoveryMetrics,
    own: OwnAlertmanagers,
    members: MemberDestinations,
    state: ArcSwap<State>,
    changed: watch::Sender<()>,
}

/// What the destinations share.
pub(crate) struct Shared {
    pub(crate) config: NotifierConfig,
    pub(crate) metrics: NotifierMetrics,
    pub(crate) clock: Arc<dyn Clock>,
}

/// A configuration that is ready to be put in force.
pub struct PreparedNotifier(State);

/// The configuration in force.
#[derive(Default)]
struct State {
    external_labels: Arc<Texts>,
    alert_relabel: Arc<[RelabelRule]>,
    sections: Vec<Arc<Section>>,
}

/// The Alertmanagers of one entry of `alerting.alertmanagers`.
struct Section {
    config: Arc<ResolvedAlertmanagers>,
    post: Arc<dyn Post>,
    known: Mutex<KnownDestinations>,
}

#[derive(Default)]
struct KnownDestinations {
    active: BTreeMap<String, Destination>,
    dropped: Vec<String>,
}

impl Notifier {
    /// A notifier with this configuration. Nothing is sent before [`Notifier::run`].
    ///
    /// # Errors
    /// A certificate cannot be read, or the registry already has metrics of a notifier.
    pub fn create(
        config: NotifierConfig,
        rules: NotifierRules,
        own: OwnAlertmanagers,
        clock: Arc<dyn Clock>,
        registry: &Registry,
    ) -> Result<Arc<Self>, String> {
        let metrics = NotifierMetrics::new(registry, config.queue_capacity).map_err(|error| error.to_string())?;
        let discovery_metrics = DiscoveryMetrics::of_alertmanagers(registry).map_err(|error| error.to_string())?;
        let state = State::default().next(rules).map_err(|error| error.to_string())?;
        let shared = Arc::new(Shared { config, metrics, clock });
        let (state, changed) = (ArcSwap::from_pointee(state), watch::Sender::new(()));
        let members = MemberDestinations::default();
        Ok(Arc::new(Notifier { shared, discovery_metrics, own, members, state, changed }))
    }

    /// Prepares a reload. Nothing changes before [`Notifier::apply`].
    ///
    /// # Errors
    /// A certificate cannot be read.
    pub fn prepare(&self, rules: NotifierRules) -> Result<PreparedNotifier, ConfigError> {
        self.state.load().next(rules).map(PreparedNotifier)
    }

    /// Replaces the configuration. Entries that have not changed keep their queues.
    pub fn apply(&self, PreparedNotifier(next): PreparedNotifier) {
        self.state.store(Arc::new(next));
        self.changed.send_replace(());
    }

    /// The Alertmanagers that are known.
    pub fn alertmanagers(&self) -> KnownAlertmanagers {
        let mut known = KnownAlertmanagers::default();
        known.active.extend(self.own.built_in.iter().map(|(url, _)| url.clone()));
        known.active.extend(self.members.urls());
        for section in &self.state.load().sections {
            let section = section.known.lock();
            known.active.extend(section.active.keys().cloned());
            known.dropped.extend(section.dropped.iter().cloned());
        }
        known
    }

    /// Discovers Alertmanagers and sends alerts until `stopped` turns true; then sends those that wait, if it is told to.
    pub async fn run(self: Arc<Self>, mut stopped: watch::Receiver<bool>) {
        let mut changed = self.changed.subscribe();
        let mut discovery = DiscoveryManager::new(self.shared.clock.clone(), self.discovery_metrics.clone());
        let mut found: Vec<Found> = Vec::new();
        let mut views = self.own.members.as_ref().map(|members| members.views.clone());
        // The first configuration and the first view are new, too.
        changed.mark_changed();
        views.iter_mut().for_each(watch::Receiver::mark_changed);
        loop {
            tokio::select! {
                biased;
                _ = stopped.wait_for(|stopped| *stopped) => break,
                Ok(()) = changed.changed() => found = self.subscribe(&mut discovery, found),
                at = any_changed(&mut found) => self.sync(&mut found[at]),
                Some(view) = next(&mut views) => self.sync_members(&view),
            }
        }
        let sections = self.state.load().sections.clone();
        let ended = sections.iter().flat_map(|section| std::mem::take(&mut section.known.lock().active).into_values());
        let ended: Vec<Destination> = ended.chain(self.members.take_all()).collect();
        join_all(ended.into_iter().map(Destination::end)).await;
    }

    /// Subscribes to the discoveries of the configuration in force, and ends what belonged to the previous one only.
    fn subscribe(&self, discovery: &mut DiscoveryManager, previous: Vec<Found>) -> Vec<Found> {
        let sections = self.state.load().sections.clone();
        let mut found = Vec::new();
        for section in &sections {
            match discovery.subscribe((&*section.config).into(), None) {
                Ok(targets) => {
                    found.push(Found { section: section.clone(), targets });
                }
                Err(error) => tracing::error!(%error, "could not discover Alertmanagers; they get no alerts"),
            }
        }
        discovery.retain(sections.iter().map(|section| (&*section.config).into()));
        for gone in previous.iter().filter(|old| !sections.iter().any(|new| Arc::ptr_eq(new, &old.section))) {
            let destinations = std::mem::take(&mut gone.section.known.lock().active);
            destinations.into_values().for_each(end_in_background);
        }
        found.iter_mut().for_each(|found| self.sync(found));
        found
    }

    /// Starts and ends destinations so that there is one for each Alertmanager that was discovered.
    fn sync(&self, found: &mut Found) {
        let published: Vec<DiscoveredTargets> =
            found.targets.iter_mut().map(|targets| targets.borrow_and_update().clone()).collect();
        if published.iter().all(Option::is_none) {
            return;
        }
        let labels = published.iter().flatten().flat_map(|targets| targets.iter());
        let Discovered { active, dropped } = targets::discovered(labels, &found.section.config);
        let mut known = found.section.known.lock();
        known.dropped = dropped;
        let mut previous = std::mem::take(&mut known.active);
        for url in active {
            let destination = previous
                .remove(&url)
                .unwrap_or_else(|| Destination::start(&url, found.section.post.clone(), self.shared.clone()));
            known.active.insert(url, destination);
        }
        drop(known);
        previous.into_values().for_each(end_in_background);
        self.shared.metrics.set_discovered(self.alertmanagers().active.len());
    }

    /// Starts and ends destinations so that there is one for each Alertmanager of another node.
    fn sync_members(&self, view: &View) {
        let Some(members) = &self.own.members else { return };
        self.members.sync(members, view, &self.shared).for_each(end_in_background);
        self.shared.metrics.set_discovered(self.alertmanagers().active.len());
    }
}

/// The next view of the cluster; none if there is no cluster.
async fn next(views: &mut Option<watch::Receiver<View>>) -> Option<View> {
    let views = views.as_mut()?;
    views.changed().await.ok()?;
    Some(views.borrow_and_update().clone())
}

impl AlertSink for Notifier {
    fn send(&self, tenant: &TenantId, alerts: &[OutgoingAlert]) {
        let state = self.state.load();
        let of_tenant = Texts::from([(TENANT_LABEL.to_string(), tenant.to_string())]);
        let alerts = match *tenant == TenantId::default() {
            true => Cow::Borrowed(alerts),
            false => Cow::Owned(relabelled(alerts, &of_tenant, &[])),
        };
        let alerts = relabelled(&alerts, &state.external_labels, &state.alert_relabel);
        if alerts.is_empty() {
            return;
        }
        if let Some((_, built_in)) = &self.own.built_in {
            built_in.send(tenant, &alerts);
        }
        self.members.add(&alerts);
        for section in &state.sections {
            let own: Vec<Arc<OutgoingAlert>> = match section.config.alert_relabel.is_empty() {
                true => alerts.iter().cloned().map(Arc::new).collect(),
                false => {
                    let kept = relabelled(&alerts, &Texts::new(), &section.config.alert_relabel);
                    kept.into_iter().map(Arc::new).collect()
                }
            };
            section.known.lock().active.values().for_each(|destination| destination.add(&own));
        }
    }
}

impl State {
    /// The state after a reload. Sections whose configuration is the same are kept.
    fn next(&self, rules: NotifierRules) -> Result<State, ConfigError> {
        let mut left: Vec<Arc<Section>> = self.sections.clone();
        let mut sections = Vec::new();
        for config in &rules.alerting.alertmanagers {
            let kept = left.iter().position(|section| section.config == *config).map(|at| left.remove(at));
            sections.push(match kept {
                Some(section) => section,
                None => {
                    let client = HttpClient::new(&config.http)?;
                    let post = HttpPost { client, timeout: config.timeout.as_duration() };
                    Arc::new(Section { config: config.clone(), post: Arc::new(post), known: Mutex::default() })
                }
            });
        }
        let NotifierRules { alerting, external_labels } = rules;
        Ok(State { external_labels, alert_relabel: alerting.alert_relabel, sections })
    }
}

/// The discoveries of a section.
struct Found {
    section: Arc<Section>,
    targets: Vec<watch::Receiver<DiscoveredTargets>>,
}

/// Waits until a discovery has published something new. Returns the position of its section.
async fn any_changed(found: &mut [Found]) -> usize {
    let mut changes = Vec::new();
    for (at, found) in found.iter_mut().enumerate() {
        for targets in &mut found.targets {
            changes.push(Box::pin(async move {
                if targets.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
                at
            }));
        }
    }
    if changes.is_empty() {
        return std::future::pending().await;
    }
    select_all(changes).await.0
}

fn end_in_background(destination: Destination) {
    tokio::spawn(destination.end());
}

/// Alerts with the external labels that they lack, relabelled; those that relabelling drops are left out.
fn relabelled(alerts: &[OutgoingAlert], external_labels: &Texts, rules: &[RelabelRule]) -> Vec<OutgoingAlert> {
    let mut kept = Vec::with_capacity(alerts.len());
    for alert in alerts {
        let mut labels = LabelsBuilder::from_labels(&alert.labels);
        for (name, value) in external_labels.iter().filter(|(name, _)| alert.labels.get(name).is_none()) {
            labels.set(name, value);
        }
        if relabel(rules, &mut labels) {
            kept.push(OutgoingAlert { labels: labels.build(), ..alert.clone() });
        }
    }
    kept
}

#[cfg(test)]
mod tests;
