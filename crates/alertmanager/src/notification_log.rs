//! The notification log: what each integration was last told about each group, and what follows from that for the next
//! notification.
//!
//! The log holds one entry for each group and integration. Of two entries the younger wins, so replicas that exchange
//! entries in any order agree.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use jiff::Timestamp;
use pharos_notify::NotificationReason;

/// An integration of a receiver: the receiver's name, the integration's kind, and its position among those of its kind.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IntegrationKey {
    /// The name of the receiver.
    pub receiver: String,
    /// The kind, such as `webhook`.
    pub name: String,
    /// The position among the integrations of this kind.
    pub index: u32,
}

/// What an integration was last told about a group.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The key of the group.
    pub group_key: String,
    /// Who was told.
    pub integration: IntegrationKey,
    /// When the entry was made.
    pub timestamp: Timestamp,
    /// Hashes of the alerts that were firing.
    pub firing: Vec<u64>,
    /// Hashes of the alerts that were resolved.
    pub resolved: Vec<u64>,
    /// What the integration keeps.
    pub data: BTreeMap<String, String>,
    /// When the entry is forgotten.
    pub expires_at: Timestamp,
}

/// Hashes of the alerts of a group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hashes {
    /// Alerts that are firing, ascending.
    pub firing: Vec<u64>,
    /// Alerts that are resolved, ascending.
    pub resolved: Vec<u64>,
}

/// Why an integration must be told about a group with these alerts now; none if it need not be.
pub fn reason(
    entry: Option<&Entry>,
    hashes: &Hashes,
    send_resolved: bool,
    repeat: Duration,
    now: Timestamp,
) -> Option<NotificationReason> {
    use NotificationReason::*;
    let is_firing = !hashes.firing.is_empty();
    let Some(entry) = entry else { return is_firing.then_some(FirstNotification) };
    let was_firing = !entry.firing.is_empty();
    if !is_subset(&hashes.firing, &entry.firing) {
        return Some(if was_firing { NewAlertsInGroup } else { FirstNotification });
    }
    if !is_firing {
        // Even integrations that are not told about resolved alerts: the entry must not go on saying that some fire.
        return was_firing.then_some(AllAlertsResolved);
    }
    if send_resolved && !is_subset(&hashes.resolved, &entry.resolved) {
        return Some(NewResolvedAlerts);
    }
    let elapsed = now.duration_since(entry.timestamp);
    let is_due = elapsed > jiff::SignedDuration::try_from(repeat).unwrap_or(jiff::SignedDuration::MAX);
    is_due.then_some(RepeatIntervalElapsed)
}

/// Whether all `hashes` are among `known`.
fn is_subset(hashes: &[u64], known: &[u64]) -> bool {
    let known: std::collections::HashSet<&u64> = known.iter().collect();
    hashes.iter().all(|hash| known.contains(hash))
}

/// The log.
#[derive(Debug, Default)]
pub struct NotificationLog {
    entries: HashMap<IntegrationKey, HashMap<String, Entry>>,
}

impl NotificationLog {
    /// What an integration was last told about a group.
    pub fn get(&self, group_key: &str, integration: &IntegrationKey) -> Option<&Entry> {
        self.entries.get(integration)?.get(group_key)
    }

    /// Takes an entry of this or another replica. False if the log has one that is as young, or if it is past its time.
    pub fn merge(&mut self, entry: Entry, now: Timestamp) -> bool {
        let is_known = |known: &Entry| known.timestamp >= entry.timestamp;
        if entry.expires_at < now || self.get(&entry.group_key, &entry.integration).is_some_and(is_known) {
            return false;
        }
        let of_integration = self.entries.entry(entry.integration.clone()).or_default();
        of_integration.insert(entry.group_key.clone(), entry);
        true
    }

    /// Removes entries that are past their time. Returns how many.
    pub fn collect_garbage(&mut self, now: Timestamp) -> usize {
        let before = self.len();
        for of_integration in self.entries.values_mut() {
            of_integration.retain(|_, entry| entry.expires_at > now);
        }
        self.entries.retain(|_, of_integration| !of_integration.is_empty());
        before - self.len()
    }

    /// The number of entries.
    pub fn len(&self) -> usize {
        self.entries.values().map(HashMap::len).sum()
    }

    /// Whether the log has no entries.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All entries in any order.
    pub fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values().flat_map(HashMap::values)
    }
}

/// When an entry that is written now is forgotten: after twice the repeat interval, but no later than `retention`.
pub fn expiry(now: Timestamp, repeat: Duration, retention: Duration) -> Timestamp {
    let after = match repeat.saturating_mul(2) {
        Duration::ZERO => retention,
        twice => twice.min(retention),
    };
    now.checked_add(after).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests;
