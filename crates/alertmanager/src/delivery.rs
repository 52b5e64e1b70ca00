//! Hands a flush to the integrations of its receiver.
//!
//! An attempt is never cut off by what comes next: it ends by itself, within the timeout of its integration. Between attempts
//! the waits grow. No attempt begins after the time that the group has until its next flush, nor once another configuration is
//! in force or the process stops.

use std::time::Duration;

use jiff::Timestamp;
use pharos_notify::alert::{Alert, Status};
use pharos_notify::{FailureReason, Integration, Notification, NotifyError, ReceiverData};
use xxhash_rust::xxh64::xxh64;

use crate::engine::{Active, Engine};
use crate::groups::Flush;
use crate::notification_log::{Entry, Hashes, IntegrationKey, expiry, reason};
use crate::routing::{LabelMap, Route};

/// The shortest time in which attempts may begin.
const MIN_TIMEOUT: Duration = Duration::from_secs(10);
/// The wait after the first attempt; each further one is half as long again.
const FIRST_WAIT: Duration = Duration::from_millis(500);
/// The longest wait between two attempts.
const MAX_WAIT: Duration = Duration::from_secs(60);
/// How long the other replicas wait for an attempt at most.
const MAX_ATTEMPT: Duration = Duration::from_secs(120);

/// Delivers a flush. True if every integration that had to be told was told, so that resolved alerts may be forgotten.
pub async fn deliver(engine: &Engine, active: &Active, flush: &Flush) -> bool {
    let Some(route) = active.config.routes.0.get(flush.route) else { return false };
    let Some(receiver) = active.receivers.get(&route.receiver) else { return false };
    if or_replaced(active, engine.replicas.settled()).await.is_none() {
        return false;
    }
    let alerts = audible(engine, active, flush);
    if alerts.is_empty() {
        return true;
    }
    let hashes = hashes(&alerts, flush.now);
    let route_labels = active.route_labels(flush.route, &flush.labels, alerts.iter(), flush.now);
    let telling = receiver.integrations.iter().map(|integration| {
        let delivery = Delivery { engine, active, flush, route, alerts: &alerts, hashes: &hashes, integration };
        delivery.tell(&route_labels)
    });
    let told = futures::future::join_all(telling).await;
    told.into_iter().all(|is_told| is_told)
}

/// Waits, but no longer than the configuration is in force.
async fn or_replaced<T>(active: &Active, wait: impl Future<Output = T>) -> Option<T> {
    let mut replaced = active.replaced.subscribe();
    tokio::select! {
        done = wait => Some(done),
        _ = replaced.wait_for(|is_replaced| *is_replaced) => None,
    }
}

/// The alerts of a flush that nothing mutes. Those that something does are counted by what it is.
fn audible(engine: &Engine, active: &Active, flush: &Flush) -> Vec<Alert> {
    let count = |reason: &str, alerts: usize| {
        engine.metrics.suppressed.with_label_values(&[reason]).inc_by(alerts as u64);
        tracing::debug!(reason, alerts, group = flush.key, "alerts are muted");
    };
    let is_in_mute_time = !active.muted_by(flush.route, flush.now).is_empty();
    let (mut inhibited, mut silenced) = (0, 0);
    let mut alerts = Vec::with_capacity(flush.alerts.len());
    for (alert, muting) in flush.alerts.iter().zip(engine.muting(&flush.alerts)) {
        match () {
            () if muting.inhibited_by.is_some() => inhibited += 1,
            () if !is_in_mute_time && !muting.silenced_by.is_empty() => silenced += 1,
            () => alerts.push(alert.clone()),
        }
    }
    if inhibited > 0 {
        count("inhibition", inhibited);
    }
    if silenced > 0 {
        count("silence", silenced);
    }
    if is_in_mute_time && !alerts.is_empty() {
        // Outside of its active times a route is muted for that reason, whatever else mutes it.
        let is_inactive = active.is_inactive(flush.route, flush.now);
        count(if is_inactive { "active_time_interval" } else { "mute_time_interval" }, alerts.len());
        alerts.clear();
    }
    alerts
}

/// The hash of an alert in the notification log, as Alertmanager computes it.
fn hash(alert: &Alert) -> u64 {
    let mut bytes = Vec::with_capacity(256);
    for text in alert.labels.iter().flat_map(|(name, value)| [name, value]) {
        bytes.extend_from_slice(text.as_bytes());
        bytes.push(0xff);
    }
    xxh64(&bytes, 0)
}

fn hashes(alerts: &[Alert], now: Timestamp) -> Hashes {
    let mut hashes = Hashes::default();
    for alert in alerts {
        match alert.status(now) {
            Status::Firing => hashes.firing.push(hash(alert)),
            Status::Resolved => hashes.resolved.push(hash(alert)),
        }
    }
    hashes
}

/// A flush on its way to one integration.
struct Delivery<'d> {
    engine: &'d Engine,
    active: &'d Active,
    flush: &'d Flush,
    route: &'d Route,
    alerts: &'d [Alert],
    hashes: &'d Hashes,
    integration: &'d Integration,
}

/// Why nothing is attempted again.
struct GivenUp {
    attempts: u32,
    error: NotifyError,
}

impl Delivery<'_> {
    /// Tells the integration, if there is something to tell. False if it should know something that it was not told.
    async fn tell(self, route_labels: &LabelMap) -> bool {
        let key = self.key();
        let name = format!("{}:{}/{}/{}", self.flush.key, key.receiver, key.name, key.index);
        let engine = self.engine;
        // A notification of the previous configuration may still be under way.
        let Some(_busy) = or_replaced(self.active, engine.busy.acquire(name.clone())).await else { return false };
        let turn = engine.replicas.turn();
        if or_replaced(self.active, engine.clock.sleep(turn)).await.is_none() {
            return false;
        }
        if self.news().is_none() {
            return true;
        }
        let budget = self.route.group_interval.max(MIN_TIMEOUT).saturating_add(turn);
        let until = engine.now().checked_add(budget.saturating_add(MAX_ATTEMPT)).unwrap_or(Timestamp::MAX);
        if or_replaced(self.active, engine.replicas.claim(&name, until)).await.is_none() {
            return false;
        }
        let is_told = self.tell_now(key, route_labels, budget).await;
        engine.replicas.release(&name).await;
        is_told
    }

    fn key(&self) -> IntegrationKey {
        let index = u32::try_from(self.integration.index()).unwrap_or(u32::MAX);
        IntegrationKey { receiver: self.route.receiver.clone(), name: self.integration.name().to_string(), index }
    }

    /// Why the integration must be told now, with what it kept; none if it knows everything.
    fn news(&self) -> Option<(pharos_notify::NotificationReason, ReceiverData)> {
        use pharos_notify::NotificationReason;
        let known = self.engine.last_told(&self.flush.key, &self.key());
        let (repeat, now) = (self.route.repeat_interval, self.flush.now);
        let reason = reason(known.as_ref(), self.hashes, self.integration.send_resolved(), repeat, now)?;
        let kept = match reason {
            NotificationReason::FirstNotification => Default::default(),
            _ => known.map(|entry| entry.data).unwrap_or_default(),
        };
        Some((reason, ReceiverData::new(kept)))
    }

    async fn tell_now(&self, key: IntegrationKey, route_labels: &LabelMap, budget: Duration) -> bool {
        // Another replica may have told it in the meantime.
        let Some((reason, receiver_data)) = self.news() else { return true };
        let metrics = &self.engine.metrics;
        let integration = self.integration.name();
        metrics.notifications.with_label_values(&[integration]).inc();
        let wants_all = self.integration.send_resolved();
        let is_wanted = |alert: &&Alert| wants_all || alert.status(self.flush.now) == Status::Firing;
        let notification = Notification {
            receiver: self.route.receiver.clone(),
            group_key: self.flush.key.clone(),
            group_labels: self.flush.labels.clone(),
            route_labels: route_labels.clone(),
            alerts: self.alerts.iter().filter(is_wanted).cloned().collect(),
            now: self.flush.now,
            reason,
            receiver_data,
        };
        // An integration that does not want resolved alerts is not told of the last one, but the log must know.
        if !notification.alerts.is_empty()
            && let Err(GivenUp { attempts, error }) = self.attempt(&notification, budget).await
        {
            let reason = error.reason.as_str();
            metrics.notifications_failed.with_label_values(&[integration, reason]).inc();
            let (receiver, group) = (&self.route.receiver, &self.flush.key);
            tracing::error!(receiver, integration = %self.integration, group, attempts, reason, %error, "notification failed; it is sent at the next flush of the group");
            return false;
        }
        let now = self.engine.now();
        let entry = Entry {
            group_key: self.flush.key.clone(),
            integration: key,
            timestamp: now,
            firing: self.hashes.firing.clone(),
            resolved: self.hashes.resolved.clone(),
            data: notification.receiver_data.to_map(),
            expires_at: expiry(now, self.route.repeat_interval, self.engine.settings.retention),
        };
        self.engine.record(entry).await;
        true
    }

    /// Attempts to send until it succeeds, fails for good, or the time is over.
    async fn attempt(&self, notification: &Notification, budget: Duration) -> Result<(), GivenUp> {
        let clock = &self.engine.clock;
        let metrics = &self.engine.metrics;
        let integration = self.integration.name();
        let deadline = clock.monotonic().saturating_add(budget);
        let mut wait = FIRST_WAIT;
        let mut last_message = String::new();
        for attempts in 1.. {
            let started = clock.monotonic();
            let outcome = self.integration.notify(notification).await;
            let took = clock.monotonic().saturating_sub(started);
            metrics.latency.with_label_values(&[integration]).observe(took.as_secs_f64());
            metrics.requests.with_label_values(&[integration]).inc();
            let (receiver, group) = (&self.route.receiver, &self.flush.key);
            let Err(error) = outcome else {
                let alerts = notification.alerts.len();
                tracing::debug!(receiver, integration = %self.integration, group, attempts, alerts, ?took, "notification sent");
                return Ok(());
            };
            metrics.requests_failed.with_label_values(&[integration]).inc();
            let pause = wait.max(error.retry_after.unwrap_or_default());
            let is_late = clock.monotonic().saturating_add(pause) > deadline;
            if !error.retry || is_late {
                return Err(GivenUp { attempts, error });
            }
            if error.message != last_message {
                tracing::warn!(receiver, integration = %self.integration, group, attempts, %error, "notification failed; retrying in {pause:?}");
                last_message.clone_from(&error.message);
            }
            if or_replaced(self.active, clock.sleep(pause)).await.is_none() {
                return Err(GivenUp { attempts, error });
            }
            wait = (wait * 3 / 2).min(MAX_WAIT);
        }
        let message = "no attempt was made".to_string();
        let error = NotifyError { retry: false, retry_after: None, reason: FailureReason::Other, message };
        Err(GivenUp { attempts: 0, error })
    }
}

#[cfg(test)]
mod tests;
