//! Groups of alerts: which exist, and when each of them is flushed, that is, handed to its receiver.
//!
//! A state machine without I/O. Deadlines are in monotonic time, so that a step of the wall clock neither delays nor hurries
//! a flush. A group is never flushed twice at once: one that becomes due during its flush is flushed again right after.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use pharos_notify::alert::{Alert, Fingerprint, Status};

use crate::alerts::display_order;
use crate::routing::{LabelMap, RouteTree, label_text};

/// A group, unique in the process.
pub type GroupId = u64;

/// Alerts of a group that are to be handed to its receiver.
#[derive(Clone, Debug)]
pub struct Flush {
    /// The group.
    pub group: GroupId,
    /// The position of its route.
    pub route: usize,
    /// Its key.
    pub key: String,
    /// Its labels.
    pub labels: LabelMap,
    /// Its alerts in their order of display. Those that fire have no end, so that they stay firing however long it takes.
    pub alerts: Vec<Alert>,
    /// The time of the flush.
    pub now: Timestamp,
    /// Resolved alerts, which leave the group once the flush succeeded, with their revisions.
    resolved: Vec<(Fingerprint, u64)>,
}

struct Member {
    alert: Arc<Alert>,
    /// Increases with each report.
    revision: u64,
}

/// A group of alerts of a route.
pub struct Group {
    route: usize,
    key: String,
    labels: LabelMap,
    members: HashMap<Fingerprint, Member>,
    due: Duration,
    is_flushing: bool,
}

impl Group {
    /// The position of its route.
    pub fn route(&self) -> usize {
        self.route
    }

    /// Its labels.
    pub fn labels(&self) -> &LabelMap {
        &self.labels
    }

    /// Its alerts in any order.
    pub fn alerts(&self) -> impl Iterator<Item = (Fingerprint, &Arc<Alert>)> {
        self.members.iter().map(|(fingerprint, member)| (*fingerprint, &member.alert))
    }
}

/// All groups.
#[derive(Default)]
pub struct Groups {
    groups: HashMap<GroupId, Group>,
    by_labels: HashMap<(usize, String), GroupId>,
    /// Groups that wait for their next flush.
    due: BTreeSet<(Duration, GroupId)>,
    next_id: GroupId,
    next_revision: u64,
}

impl Groups {
    /// Forgets all groups. Flushes that are under way have no effect on later groups.
    pub fn clear(&mut self) {
        self.groups.clear();
        self.by_labels.clear();
        self.due.clear();
    }

    /// How many groups there are.
    pub fn len(&self) -> usize {
        self.groups.len()
    }

    /// Whether there are no groups.
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// All groups in any order.
    pub fn iter(&self) -> impl Iterator<Item = &Group> {
        self.groups.values()
    }

    /// Puts an alert into its group of each route. `monotonic` and `now` are the same moment on two clocks.
    pub fn put(&mut self, alert: &Arc<Alert>, routes: &[usize], tree: &RouteTree, monotonic: Duration, now: Timestamp) {
        for &at in routes {
            let Some(route) = tree.0.get(at) else { continue };
            let labels = route.group_by.labels_of(&alert.labels);
            let text = label_text(&labels);
            self.next_revision += 1;
            let member = Member { alert: alert.clone(), revision: self.next_revision };
            let known = self.by_labels.get(&(at, text.clone())).and_then(|id| self.groups.get_mut(id));
            if let Some(group) = known {
                group.members.insert(alert.fingerprint(), member);
                continue;
            }
            // An alert that has waited as long as a group would is announced at once.
            let wait = jiff::SignedDuration::try_from(route.group_wait).unwrap_or(jiff::SignedDuration::MAX);
            let is_late = now.duration_since(alert.starts_at) > wait;
            let due = if is_late { monotonic } else { monotonic.saturating_add(route.group_wait) };
            let id = self.next_id;
            self.next_id += 1;
            let group = Group {
                route: at,
                key: format!("{}:{text}", route.key),
                labels,
                members: HashMap::from([(alert.fingerprint(), member)]),
                due,
                is_flushing: false,
            };
            self.groups.insert(id, group);
            self.by_labels.insert((at, text), id);
            self.due.insert((due, id));
        }
    }

    /// When the next group is due.
    pub fn next_due(&self) -> Option<Duration> {
        self.due.first().map(|(due, _)| *due)
    }

    /// Flushes of all groups that are due. Each must be ended by [`Groups::finish`].
    pub fn take_due(&mut self, tree: &RouteTree, monotonic: Duration, now: Timestamp) -> Vec<Flush> {
        let mut flushes = Vec::new();
        while let Some((due, id)) = self.due.first().copied().filter(|(due, _)| *due <= monotonic) {
            self.due.remove(&(due, id));
            let Some(group) = self.groups.get_mut(&id) else { continue };
            let interval = tree.0.get(group.route).map_or(Duration::from_secs(300), |route| route.group_interval);
            group.due = monotonic.saturating_add(interval);
            group.is_flushing = true;
            flushes.push(group.flush(id, now));
        }
        flushes
    }

    /// Ends a flush. After a success the alerts that it showed as resolved leave the group, unless they were reported since,
    /// and a group without alerts ends.
    pub fn finish(&mut self, flush: &Flush, is_success: bool) {
        let Some(group) = self.groups.get_mut(&flush.group) else { return };
        group.is_flushing = false;
        if is_success {
            for (fingerprint, revision) in &flush.resolved {
                if group.members.get(fingerprint).is_some_and(|member| member.revision == *revision) {
                    group.members.remove(fingerprint);
                }
            }
        }
        if group.members.is_empty() {
            self.by_labels.remove(&(flush.route, label_text(&flush.labels)));
            self.groups.remove(&flush.group);
            return;
        }
        self.due.insert((group.due, flush.group));
    }
}

impl Group {
    fn flush(&self, id: GroupId, now: Timestamp) -> Flush {
        let mut resolved = Vec::new();
        let mut alerts: Vec<Alert> = Vec::with_capacity(self.members.len());
        for (fingerprint, member) in &self.members {
            let mut alert = Alert::clone(&member.alert);
            match alert.status(now) {
                Status::Resolved => resolved.push((*fingerprint, member.revision)),
                Status::Firing => alert.ends_at = None,
            }
            alerts.push(alert);
        }
        alerts.sort_by(display_order);
        let (key, labels) = (self.key.clone(), self.labels.clone());
        Flush { group: id, route: self.route, key, labels, alerts, now, resolved }
    }
}

#[cfg(test)]
mod tests;
