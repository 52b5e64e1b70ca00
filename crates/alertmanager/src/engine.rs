//! The state of the Alertmanager behind one lock, and the operations on it.
//!
//! Invariants:
//! - An alert in the store is in a group of each of its routes, unless a flush has announced that it is resolved.
//! - A change of a silence, and an entry of the notification log, are durable and shared before anybody is told that they
//!   happened.

mod view;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use jiff::Timestamp;
use parking_lot::Mutex;
use pharos_model::Clock;
pub use pharos_notify::alert::Alert;
use pharos_notify::alert::Status;
use pharos_notify::{Notification, NotificationReason, Receiver, ReceiverData, Templates};
use tokio::sync::{Notify, watch};

use crate::alerts::Alerts;
use crate::busy::Busy;
use crate::config::Config;
use crate::groups::{Flush, Groups};
use crate::inhibition::Inhibition;
use crate::journal::Journal;
use crate::matcher::Syntax;
use crate::metrics::Metrics;
use crate::notification_log::{Entry, NotificationLog};
use crate::records::Record;
use crate::replicas::{Change, Replicas};
use crate::routing::LabelMap;
use crate::silences::{Silence, SilenceError, SilenceLimits, Silences, later_than};

pub use view::{AlertView, GroupView, Muting};

/// Alerts that are taken under one hold of the lock.
const PUT_BATCH: usize = 1000;

/// Settings that a reload does not change.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Folder of the silences and of the notification log.
    pub folder: PathBuf,
    /// How long both are kept after they have ended.
    pub retention: Duration,
    /// Time between two snapshots of both.
    pub maintenance_interval: Duration,
    /// Time between two removals of resolved alerts.
    pub alert_gc_interval: Duration,
    /// Limit on alerts of a name; zero means no limit.
    pub per_name_limit: usize,
    /// Limits on silences.
    pub silence_limits: SilenceLimits,
    /// Whether changes of silences are logged.
    pub logs_silences: bool,
    /// How long after the start the first notification is sent.
    pub start_delay: Duration,
    /// Syntaxes of matchers.
    pub syntax: Syntax,
}

#[cfg(test)]
impl Settings {
    /// The settings of an engine in a test: nothing happens by itself within an hour.
    pub(crate) fn of_test(folder: &std::path::Path) -> Self {
        let hour = Duration::from_secs(3600);
        Settings {
            folder: folder.to_path_buf(),
            retention: hour,
            maintenance_interval: hour,
            alert_gc_interval: hour,
            per_name_limit: 0,
            silence_limits: SilenceLimits::default(),
            logs_silences: false,
            start_delay: Duration::ZERO,
            syntax: Syntax::Both,
        }
    }
}

/// The configuration that is in force, with what was built from it.
pub struct Active {
    /// The configuration.
    pub config: Config,
    /// The receivers that routes use, by name.
    pub receivers: HashMap<String, Receiver>,
    /// The templates.
    pub templates: Templates,
    /// Becomes true when another configuration is in force, or the process stops.
    pub(crate) replaced: watch::Sender<bool>,
}

impl Active {
    /// Builds templates and receivers. Blocks while it reads files.
    ///
    /// # Errors
    /// A template or a receiver is invalid.
    pub fn build(config: Config, external_url: &str) -> Result<Self, String> {
        let templates = config.load_templates(external_url)?;
        let is_used = |name: &str| config.routes.0.iter().any(|route| route.receiver == name);
        let mut receivers = HashMap::new();
        for receiver in &config.receivers {
            if !is_used(&receiver.name) {
                tracing::info!(receiver = receiver.name, "no route uses this receiver");
                continue;
            }
            let built = Receiver::new(receiver, &templates);
            let built = built.map_err(|error| format!("receiver {:?}: {error}", receiver.name))?;
            receivers.insert(receiver.name.clone(), built);
        }
        Ok(Active { config, receivers, templates, replaced: watch::Sender::new(false) })
    }

    /// Whether a moment is in an interval.
    fn is_in(&self, name: &str, now: Timestamp) -> bool {
        let intervals = self.config.time_intervals.get(name);
        intervals.is_some_and(|intervals| intervals.iter().any(|interval| interval.contains(now)))
    }

    /// Whether a route is outside all of its active intervals.
    pub fn is_inactive(&self, route: usize, now: Timestamp) -> bool {
        let names = self.config.routes.0.get(route).map(|route| route.active_time_intervals.as_slice());
        names.is_some_and(|names| !names.is_empty() && !names.iter().any(|name| self.is_in(name, now)))
    }

    /// Names of the intervals that mute a route: its active ones if it is outside of all of them, and its mute ones that it is
    /// in.
    pub fn muted_by(&self, route: usize, now: Timestamp) -> Vec<String> {
        let Some(written) = self.config.routes.0.get(route) else { return Vec::new() };
        let inactive = if self.is_inactive(route, now) { written.active_time_intervals.as_slice() } else { &[] };
        let muting = written.mute_time_intervals.iter().filter(|name| self.is_in(name, now));
        inactive.iter().chain(muting).cloned().collect()
    }

    /// The labels of a route, expanded for a group with these alerts.
    pub fn route_labels<'a>(
        &self,
        route: usize,
        group_labels: &LabelMap,
        alerts: impl Iterator<Item = &'a Alert>,
        now: Timestamp,
    ) -> LabelMap {
        let Some(route) = self.config.routes.0.get(route).filter(|route| !route.labels.is_empty()) else {
            return LabelMap::new();
        };
        let notification = Notification {
            receiver: route.receiver.clone(),
            group_key: String::new(),
            group_labels: group_labels.clone(),
            route_labels: route.labels.clone(),
            alerts: alerts.cloned().collect(),
            now,
            reason: NotificationReason::Unknown,
            receiver_data: ReceiverData::default(),
        };
        self.templates.expand_route_labels(&notification)
    }
}

/// The state.
struct State {
    alerts: Alerts,
    groups: Groups,
    inhibition: Inhibition,
    silences: Silences,
    log: NotificationLog,
}

/// The Alertmanager.
pub struct Engine {
    /// Settings.
    pub settings: Settings,
    /// Metrics.
    pub metrics: Arc<Metrics>,
    /// Other replicas.
    pub replicas: Arc<dyn Replicas>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    state: Mutex<State>,
    active: ArcSwapOption<Active>,
    silence_journal: Journal,
    log_journal: Journal,
    pub(crate) busy: Arc<Busy>,
    /// Wakes the loop that flushes groups.
    pub(crate) changed: Notify,
    /// Monotonic time before which no group is flushed.
    starts_at: Duration,
}

impl Engine {
    /// Reads silences and the notification log, and starts their writers. Blocks while it reads.
    ///
    /// # Errors
    /// The folder cannot be read or written.
    pub fn open(
        settings: Settings,
        metrics: Arc<Metrics>,
        replicas: Arc<dyn Replicas>,
        clock: Arc<dyn Clock>,
    ) -> Result<Arc<Self>, String> {
        let folder = &settings.folder;
        std::fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        let (silence_journal, silences) = Journal::open::<Silence>(folder, "silences")?;
        let (log_journal, entries) = Journal::open::<Entry>(folder, "nflog")?;
        let mut state = State {
            alerts: Alerts::new(settings.per_name_limit),
            groups: Groups::default(),
            inhibition: Inhibition::default(),
            silences: Silences::new(settings.retention, settings.silence_limits, settings.syntax),
            log: NotificationLog::default(),
        };
        let now = wall(&*clock);
        for silence in silences {
            state.silences.merge(silence, now);
        }
        for entry in entries {
            state.log.merge(entry, now);
        }
        tracing::info!(
            silences = state.silences.len(),
            notifications = state.log.len(),
            "restored silences and the notification log"
        );
        metrics.per_name_limit.set(i64::try_from(settings.per_name_limit).unwrap_or(i64::MAX));
        let starts_at = clock.monotonic().saturating_add(settings.start_delay);
        Ok(Arc::new(Engine {
            settings,
            metrics,
            replicas,
            clock,
            state: Mutex::new(state),
            active: ArcSwapOption::empty(),
            silence_journal,
            log_journal,
            busy: Arc::new(Busy::default()),
            changed: Notify::new(),
            starts_at,
        }))
    }

    /// The wall-clock time.
    pub fn now(&self) -> Timestamp {
        wall(&*self.clock)
    }

    /// The configuration that is in force; none before the first one.
    pub fn active(&self) -> Option<Arc<Active>> {
        self.active.load_full()
    }

    /// Puts a configuration in force. All alerts are routed and grouped again; notifications under way are finished, but not
    /// retried.
    pub fn activate(&self, active: Active) {
        let active = Arc::new(active);
        let (monotonic, now) = (self.clock.monotonic(), self.now());
        let mut state = self.state.lock();
        let State { alerts, groups, inhibition, .. } = &mut *state;
        *inhibition = Inhibition::new(active.config.inhibit_rules.clone());
        groups.clear();
        for (_, stored) in alerts.iter_mut() {
            stored.routes = active.config.routes.matching(&stored.alert.labels);
            inhibition.put(&stored.alert);
            groups.put(&stored.alert, &stored.routes, &active.config.routes, monotonic, now);
        }
        let integrations: usize = active.receivers.values().map(|receiver| receiver.integrations.len()).sum();
        self.metrics.receivers.set(active.receivers.len() as i64);
        self.metrics.integrations.set(integrations as i64);
        self.metrics.inhibition_rules.set(active.config.inhibit_rules.len() as i64);
        // Swapped under the lock, so that no alert is grouped by a configuration that is not in force.
        if let Some(previous) = self.active.swap(Some(active)) {
            previous.replaced.send_replace(true);
        }
        drop(state);
        self.changed.notify_one();
    }

    /// Counts alerts that were checked as received, and takes them.
    pub fn receive(&self, alerts: Vec<Alert>) {
        let now = self.now();
        for alert in &alerts {
            let status = match alert.status(now) {
                Status::Firing => "firing",
                Status::Resolved => "resolved",
            };
            self.metrics.received.with_label_values(&[status, "v2"]).inc();
        }
        self.put(alerts);
    }

    /// Takes alerts that were checked. Those beyond a limit are dropped, and counted.
    pub fn put(&self, alerts: Vec<Alert>) {
        let mut alerts = alerts.into_iter().peekable();
        while alerts.peek().is_some() {
            let now = self.now();
            let mut state = self.state.lock();
            let Some(active) = self.active() else { return };
            let State { alerts: store, groups, inhibition, .. } = &mut *state;
            for alert in alerts.by_ref().take(PUT_BATCH) {
                let monotonic = self.clock.monotonic();
                let Ok(alert) = store.put(alert, now) else {
                    self.metrics.limited.inc();
                    continue;
                };
                let Some(stored) = store.get_mut(alert.fingerprint()) else { continue };
                if stored.routes.is_empty() {
                    stored.routes = active.config.routes.matching(&alert.labels);
                }
                inhibition.put(&alert);
                groups.put(&alert, &stored.routes, &active.config.routes, monotonic, now);
                let took = self.clock.monotonic().saturating_sub(monotonic);
                self.metrics.processing.observe(took.as_secs_f64());
            }
        }
        self.changed.notify_one();
    }

    /// Flushes of all groups that are due, and when the next one is due. Each flush must be ended by [`Engine::finish`].
    pub(crate) fn take_due(&self) -> (Vec<Flush>, Option<Arc<Active>>, Option<Duration>) {
        let monotonic = self.clock.monotonic();
        let mut state = self.state.lock();
        let Some(active) = self.active() else { return (Vec::new(), None, None) };
        let flushes = match monotonic < self.starts_at {
            true => Vec::new(),
            false => state.groups.take_due(&active.config.routes, monotonic, self.now()),
        };
        let next = state.groups.next_due().map(|due| due.max(self.starts_at));
        (flushes, Some(active), next)
    }

    /// Ends a flush.
    pub(crate) fn finish(&self, flush: &Flush, is_success: bool) {
        self.state.lock().groups.finish(flush, is_success);
    }

    /// Creates or changes a silence, and waits until the change is durable and shared. Returns its id.
    ///
    /// # Errors
    /// The draft is refused.
    pub async fn set_silence(&self, draft: Silence) -> Result<String, SilenceError> {
        let now = self.now();
        let changed = self.state.lock().silences.set(draft, now, random_uuid)?;
        let id = changed.last().map(|silence| silence.id.clone()).unwrap_or_default();
        self.publish_silences(changed).await?;
        Ok(id)
    }

    /// Ends a silence now, and waits until the change is durable and shared.
    ///
    /// # Errors
    /// No silence has the id.
    pub async fn expire_silence(&self, id: &str) -> Result<(), SilenceError> {
        let now = self.now();
        let changed = self.state.lock().silences.expire(id, now)?;
        self.publish_silences(changed.into_iter().collect()).await
    }

    async fn publish_silences(&self, changed: Vec<Arc<Silence>>) -> Result<(), SilenceError> {
        let now = self.now();
        for silence in &changed {
            if self.settings.logs_silences {
                let matchers: Vec<String> = silence.matcher_sets.iter().flatten().map(ToString::to_string).collect();
                tracing::info!(
                    id = silence.id, state = silence.state(now).as_str(), created_by = silence.created_by,
                    comment = silence.comment, starts_at = %silence.starts_at, ends_at = %silence.ends_at,
                    matchers = matchers.join(","), "silence changed"
                );
            }
            let written = self.silence_journal.append(silence.encode()).await;
            written.map_err(|error| SilenceError::NotDurable(error.to_string()))?;
        }
        self.replicas.share(changed.iter().map(|silence| Change::Silence(Silence::clone(silence))).collect()).await;
        Ok(())
    }

    /// Records that an integration was told about a group, and waits until the record is durable and shared.
    pub(crate) async fn record(&self, mut entry: Entry) {
        let now = self.now();
        {
            let mut state = self.state.lock();
            // If the clock was set back, the entry must still replace the previous one.
            if let Some(previous) = state.log.get(&entry.group_key, &entry.integration) {
                entry.timestamp = later_than(previous.timestamp, entry.timestamp);
            }
            state.log.merge(entry.clone(), now);
        }
        if let Err(error) = self.log_journal.append(entry.encode()).await {
            tracing::error!(%error, group = entry.group_key, "the notification is not recorded on disk; it may be repeated after a restart");
        }
        self.replicas.share(vec![Change::Notified(entry)]).await;
    }

    /// What an integration was last told about a group.
    pub(crate) fn last_told(&self, group_key: &str, key: &crate::notification_log::IntegrationKey) -> Option<Entry> {
        self.state.lock().log.get(group_key, key).cloned()
    }

    /// Takes changes of other replicas and waits until they are durable.
    pub async fn merge(&self, changes: Vec<Change>) {
        let now = self.now();
        for change in changes {
            let written = match change {
                Change::Silence(silence) => {
                    let record = silence.encode();
                    if !self.state.lock().silences.merge(silence, now) {
                        continue;
                    }
                    self.silence_journal.append(record).await
                }
                Change::Notified(entry) => {
                    let record = entry.encode();
                    if !self.state.lock().log.merge(entry, now) {
                        continue;
                    }
                    self.log_journal.append(record).await
                }
            };
            if let Err(error) = written {
                tracing::error!(%error, "a change of another replica is not on disk");
            }
        }
    }

    /// Everything that replicas share.
    pub fn shared(&self) -> Vec<Change> {
        let state = self.state.lock();
        let silences = state.silences.iter().map(|silence| Change::Silence(Silence::clone(silence)));
        silences.chain(state.log.iter().cloned().map(Change::Notified)).collect()
    }

    /// Removes resolved alerts.
    pub(crate) fn collect_alerts(&self) {
        let now = self.now();
        let mut state = self.state.lock();
        state.alerts.collect_garbage(now);
        state.inhibition.collect_garbage(now);
    }

    /// Removes silences and entries that are past their time, and writes snapshots of both.
    pub(crate) async fn maintain(self: &Arc<Self>) {
        let now = self.now();
        {
            let mut state = self.state.lock();
            state.silences.collect_garbage(now);
            state.log.collect_garbage(now);
        }
        let encode_silences = self.clone();
        let encode_log = self.clone();
        let snapshots = [
            self.silence_journal.snapshot(Box::new(move || {
                encode_silences.state.lock().silences.iter().flat_map(|silence| silence.encode()).collect()
            })),
            self.log_journal
                .snapshot(Box::new(move || encode_log.state.lock().log.iter().flat_map(Record::encode).collect())),
        ];
        for (snapshot, metrics) in snapshots.into_iter().zip(&self.metrics.maintenance) {
            metrics.total.inc();
            match snapshot.await {
                Ok(bytes) => metrics.snapshot_bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX)),
                Err(error) => {
                    metrics.errors.inc();
                    tracing::error!(%error, "could not write a snapshot; trying again at the next maintenance");
                }
            }
        }
    }

    /// Stops retries of notifications.
    pub(crate) fn stop(&self) {
        if let Some(active) = self.active() {
            active.replaced.send_replace(true);
        }
    }
}

/// The wall-clock time of a clock.
fn wall(clock: &dyn Clock) -> Timestamp {
    Timestamp::from_millisecond(clock.now_ms()).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// A random UUID (version 4).
fn random_uuid() -> Result<String, String> {
    use ring::rand::{SecureRandom, SystemRandom};
    let mut bytes = [0u8; 16];
    SystemRandom::new().fill(&mut bytes).map_err(|_| "no random numbers for an id".to_string())?;
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok([&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-"))
}
