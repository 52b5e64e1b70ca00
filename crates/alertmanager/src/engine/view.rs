//! What the API and the delivery see of the state.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use pharos_notify::alert::{Alert, Fingerprint};

use super::{Engine, State};
use crate::alerts::{display_order, label_order};
use crate::routing::LabelMap;
use crate::silences::{Silence, SilenceMemory, SilenceState};

/// What mutes an alert.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Muting {
    /// Ids of active silences.
    pub silenced_by: Vec<Arc<str>>,
    /// An active alert that inhibits it.
    pub inhibited_by: Option<Fingerprint>,
}

/// An alert with its state.
#[derive(Clone, Debug)]
pub struct AlertView {
    /// The alert.
    pub alert: Arc<Alert>,
    /// Its fingerprint.
    pub fingerprint: Fingerprint,
    /// Positions of the routes that it takes.
    pub routes: Vec<usize>,
    /// What mutes it.
    pub muting: Muting,
}

/// A group with its alerts.
#[derive(Clone, Debug)]
pub struct GroupView {
    /// The position of its route.
    pub route: usize,
    /// Its labels.
    pub labels: LabelMap,
    /// Its alerts in their order of display.
    pub alerts: Vec<AlertView>,
}

impl State {
    /// What mutes an alert.
    fn muting(&mut self, labels: &LabelMap, fingerprint: Fingerprint, now: Timestamp) -> Muting {
        let pairs = labels.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let mut unknown = SilenceMemory::default();
        let memory = self.alerts.get_mut(fingerprint).map_or(&mut unknown, |stored| &mut stored.silences);
        Muting {
            silenced_by: self.silences.muting(pairs, memory, now),
            inhibited_by: self.inhibition.muting(labels, now),
        }
    }

    fn view(&mut self, alert: &Arc<Alert>, fingerprint: Fingerprint, routes: Vec<usize>, now: Timestamp) -> AlertView {
        let muting = self.muting(&alert.labels, fingerprint, now);
        AlertView { alert: alert.clone(), fingerprint, routes, muting }
    }
}

/// Whether an alert is past its end.
fn is_over(alert: &Alert, now: Timestamp) -> bool {
    alert.ends_at.is_some_and(|end| end < now)
}

impl Engine {
    /// What mutes alerts, in their order.
    pub fn muting(&self, alerts: &[Alert]) -> Vec<Muting> {
        let now = self.now();
        let mut state = self.state.lock();
        alerts.iter().map(|alert| state.muting(&alert.labels, alert.fingerprint(), now)).collect()
    }

    /// Alerts that are not over and for which `keep` is true, by fingerprint.
    pub fn alerts(&self, keep: impl Fn(&Alert, &[usize]) -> bool) -> Vec<AlertView> {
        let now = self.now();
        let mut state = self.state.lock();
        let kept = state
            .alerts
            .iter()
            .filter(|(_, stored)| !is_over(&stored.alert, now) && keep(&stored.alert, &stored.routes));
        let kept: Vec<_> =
            kept.map(|(fingerprint, stored)| (stored.alert.clone(), fingerprint, stored.routes.clone())).collect();
        let views = kept.into_iter().map(|(alert, fingerprint, routes)| state.view(&alert, fingerprint, routes, now));
        let mut views: Vec<AlertView> = views.collect();
        drop(state);
        views.sort_by_key(|view| view.fingerprint);
        views
    }

    /// Groups of the routes for which `keep_route` is true, with the alerts that are not over and for which `keep` is true.
    /// Groups without such alerts are omitted.
    pub fn groups(&self, keep_route: impl Fn(usize) -> bool, keep: impl Fn(&Alert) -> bool) -> Vec<GroupView> {
        let now = self.now();
        let mut state = self.state.lock();
        let mut routes: BTreeMap<Fingerprint, Vec<usize>> = BTreeMap::new();
        let mut found = Vec::new();
        for group in state.groups.iter().filter(|group| keep_route(group.route())) {
            let alerts = group.alerts().filter(|(_, alert)| !is_over(alert, now) && keep(alert));
            let alerts: Vec<_> = alerts.map(|(fingerprint, alert)| (fingerprint, alert.clone())).collect();
            for (fingerprint, _) in &alerts {
                routes.entry(*fingerprint).or_default().push(group.route());
            }
            if !alerts.is_empty() {
                found.push((group.route(), group.labels().clone(), alerts));
            }
        }
        let mut views = Vec::with_capacity(found.len());
        for (route, labels, alerts) in found {
            let view = |(fingerprint, alert): (Fingerprint, Arc<Alert>)| {
                let routes = routes.get(&fingerprint).cloned().unwrap_or_default();
                state.view(&alert, fingerprint, routes, now)
            };
            let mut alerts: Vec<AlertView> = alerts.into_iter().map(view).collect();
            alerts.sort_by(|a, b| display_order(&a.alert, &b.alert));
            views.push(GroupView { route, labels, alerts });
        }
        drop(state);
        views.sort_by(|a, b| label_order(&a.labels, &b.labels));
        views
    }

    /// The silence with an id.
    pub fn silence(&self, id: &str) -> Option<Arc<Silence>> {
        self.state.lock().silences.get(id).cloned()
    }

    /// Silences for which `keep` is true, in any order.
    pub fn silences(&self, keep: impl Fn(&Silence) -> bool) -> Vec<Arc<Silence>> {
        self.state.lock().silences.iter().filter(|silence| keep(silence)).cloned().collect()
    }

    /// Sets the metrics that are computed when they are read.
    pub fn update_gauges(&self) {
        let now = self.now();
        let metrics = &self.metrics;
        let (mut active, mut suppressed) = (0, 0);
        for view in self.alerts(|_, _| true) {
            match view.muting == Muting::default() {
                true => active += 1,
                false => suppressed += 1,
            }
        }
        for (state, count) in [("active", active), ("suppressed", suppressed), ("unprocessed", 0)] {
            metrics.alerts.with_label_values(&[state]).set(count);
        }
        let state = self.state.lock();
        for wanted in [SilenceState::Active, SilenceState::Pending, SilenceState::Expired] {
            let count = state.silences.iter().filter(|silence| silence.state(now) == wanted).count();
            metrics.silences.with_label_values(&[wanted.as_str()]).set(count as i64);
        }
        metrics.groups.set(state.groups.len() as i64);
        drop(state);
        let replicas = self.replicas.status();
        if replicas.name.is_some() {
            metrics.cluster_enabled.set(1.0);
            metrics.cluster_members.set(replicas.live.len() as i64);
            metrics.cluster_failed_peers.set(replicas.failed as i64);
            metrics.peer_position.set(replicas.position as i64);
        }
    }
}
