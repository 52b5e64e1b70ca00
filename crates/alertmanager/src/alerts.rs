//! The alerts that were received: one for each set of labels, with what was reported about it merged.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use jiff::Timestamp;
use pharos_notify::alert::{Alert, Fingerprint, Status};

use crate::silences::SilenceMemory;

/// The label with an alert's name.
pub const ALERT_NAME: &str = "alertname";

/// An alert in the store.
pub struct StoredAlert {
    /// The alert.
    pub alert: Arc<Alert>,
    /// The routes that it takes.
    pub routes: Vec<usize>,
    /// What is known about its silences.
    pub silences: SilenceMemory,
}

/// All alerts by fingerprint.
pub struct Alerts {
    by_fingerprint: HashMap<Fingerprint, StoredAlert>,
    limit: PerName,
}

/// The limit on alerts of a name was reached, and all of them are firing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limited;

impl Alerts {
    /// No alerts. At most `per_name` alerts of one name are kept; zero means no limit.
    pub fn new(per_name: usize) -> Self {
        Alerts { by_fingerprint: HashMap::new(), limit: PerName { capacity: per_name, buckets: HashMap::new() } }
    }

    /// Takes what was reported about an alert and returns what is known of it now.
    ///
    /// # Errors
    /// There are too many alerts of this name.
    pub fn put(&mut self, alert: Alert, now: Timestamp) -> Result<Arc<Alert>, Limited> {
        let fingerprint = alert.fingerprint();
        let alert = match self.by_fingerprint.get(&fingerprint) {
            Some(known) if overlap(&known.alert, &alert) => merge(&known.alert, alert, now),
            _ => alert,
        };
        self.limit.admit(&alert, fingerprint, now)?;
        let alert = Arc::new(alert);
        match self.by_fingerprint.get_mut(&fingerprint) {
            Some(known) => known.alert = alert.clone(),
            None => {
                let silences = SilenceMemory::default();
                let stored = StoredAlert { alert: alert.clone(), routes: Vec::new(), silences };
                self.by_fingerprint.insert(fingerprint, stored);
            }
        }
        Ok(alert)
    }

    /// An alert that may be changed in place.
    pub fn get_mut(&mut self, fingerprint: Fingerprint) -> Option<&mut StoredAlert> {
        self.by_fingerprint.get_mut(&fingerprint)
    }

    /// All alerts in any order.
    pub fn iter(&self) -> impl Iterator<Item = (Fingerprint, &StoredAlert)> {
        self.by_fingerprint.iter().map(|(fingerprint, stored)| (*fingerprint, stored))
    }

    /// All alerts in any order; they may be changed in place.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (Fingerprint, &mut StoredAlert)> {
        self.by_fingerprint.iter_mut().map(|(fingerprint, stored)| (*fingerprint, stored))
    }

    /// Removes resolved alerts. Groups keep those that they have not notified about. Returns how many were removed.
    pub fn collect_garbage(&mut self, now: Timestamp) -> usize {
        let before = self.by_fingerprint.len();
        self.by_fingerprint.retain(|_, stored| stored.alert.status(now) == Status::Firing);
        self.limit.collect_garbage(now);
        before - self.by_fingerprint.len()
    }
}

/// Whether the times of two reports about an alert overlap, so that they are about the same incident.
fn overlap(known: &Alert, new: &Alert) -> bool {
    let end = |alert: &Alert| alert.ends_at.unwrap_or(Timestamp::MAX);
    let is_within = |moment: Timestamp| known.starts_at < moment && moment < end(known);
    is_within(end(new)) || is_within(new.starts_at)
}

/// Merges two reports about an incident. The younger one decides, but the earliest start counts, and an end that a sender
/// gave is not shortened by one that only follows from a timeout.
fn merge(known: &Alert, new: Alert, now: Timestamp) -> Alert {
    let (older, mut younger) = match new.updated_at < known.updated_at {
        true => (new, known.clone()),
        false => (known.clone(), new),
    };
    younger.starts_at = younger.starts_at.min(older.starts_at);
    let is_longer = older.ends_at.unwrap_or(Timestamp::MAX) > younger.ends_at.unwrap_or(Timestamp::MAX);
    let keeps_end = match younger.status(now) {
        Status::Resolved => older.status(now) == Status::Resolved,
        Status::Firing => !older.timed_out,
    };
    if is_longer && keeps_end {
        younger.ends_at = older.ends_at;
    }
    younger
}

/// The limit on alerts of a name. An alert that is resolved gives its place to another.
struct PerName {
    capacity: usize,
    buckets: HashMap<String, Bucket>,
}

#[derive(Default)]
struct Bucket {
    ends: HashMap<Fingerprint, Timestamp>,
    by_end: BTreeSet<(Timestamp, Fingerprint)>,
}

impl PerName {
    fn admit(&mut self, alert: &Alert, fingerprint: Fingerprint, now: Timestamp) -> Result<(), Limited> {
        if self.capacity == 0 {
            return Ok(());
        }
        let name = alert.labels.get(ALERT_NAME).cloned().unwrap_or_default();
        let bucket = self.buckets.entry(name).or_default();
        if !bucket.ends.contains_key(&fingerprint) && bucket.ends.len() >= self.capacity {
            let first = bucket.by_end.first().copied().filter(|(end, _)| *end < now).ok_or(Limited)?;
            bucket.by_end.remove(&first);
            bucket.ends.remove(&first.1);
        }
        let end = alert.ends_at.unwrap_or(Timestamp::MAX);
        if let Some(before) = bucket.ends.insert(fingerprint, end) {
            bucket.by_end.remove(&(before, fingerprint));
        }
        bucket.by_end.insert((end, fingerprint));
        Ok(())
    }

    fn collect_garbage(&mut self, now: Timestamp) {
        self.buckets.retain(|_, bucket| bucket.by_end.last().is_some_and(|(end, _)| *end >= now));
    }
}

/// The order of alerts in notifications and groups: by job, instance and the other labels.
pub fn display_order(a: &Alert, b: &Alert) -> std::cmp::Ordering {
    let one = |alert: &Alert, name: &str| alert.labels.get(name).cloned();
    let by_label = |name: &str| match (one(a, name), one(b, name)) {
        (Some(a), Some(b)) => a.cmp(&b),
        // Alerts that have the label come first.
        (a, b) => b.is_some().cmp(&a.is_some()),
    };
    by_label("job").then_with(|| by_label("instance")).then_with(|| label_order(&a.labels, &b.labels))
}

/// The order of label sets: fewer labels first, then by the first label that differs, of which a missing one is less.
pub fn label_order(a: &BTreeMap<String, String>, b: &BTreeMap<String, String>) -> std::cmp::Ordering {
    let names: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
    let mut by_value = names.into_iter().map(|name| a.get(name).cmp(&b.get(name)));
    a.len().cmp(&b.len()).then_with(|| by_value.find(|order| order.is_ne()).unwrap_or(std::cmp::Ordering::Equal))
}

#[cfg(test)]
mod tests;
