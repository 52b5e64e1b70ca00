//! What is to be sent to a receiver.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use jiff::Timestamp;
use parking_lot::Mutex;

use crate::alert::{Alert, Status};

/// A group of alerts to send, and why.
#[derive(Debug)]
pub struct Notification {
    /// The name of the receiver.
    pub receiver: String,
    /// The key of the group, the same for each of its notifications.
    pub group_key: String,
    /// The labels by which the alerts are grouped.
    pub group_labels: BTreeMap<String, String>,
    /// The labels of the route, already expanded.
    pub route_labels: BTreeMap<String, String>,
    /// The alerts to send. Whoever notifies leaves resolved ones out if the integration does not want them.
    pub alerts: Vec<Alert>,
    /// The time of the notification, to which the status of alerts refers.
    pub now: Timestamp,
    /// Why it is sent now.
    pub reason: NotificationReason,
    /// What the integration kept from earlier notifications of the group, and what it wants to keep now.
    pub receiver_data: ReceiverData,
}

/// Why a group is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NotificationReason {
    /// The group was never sent, or it was resolved before.
    FirstNotification,
    /// Alerts were added.
    NewAlertsInGroup,
    /// Some alerts were resolved.
    NewResolvedAlerts,
    /// All alerts were resolved.
    AllAlertsResolved,
    /// The repeat interval has passed.
    RepeatIntervalElapsed,
    /// Unknown.
    #[default]
    Unknown,
}

impl NotificationReason {
    /// The name in templates and payloads.
    pub const fn as_str(self) -> &'static str {
        match self {
            NotificationReason::FirstNotification => "first notification",
            NotificationReason::NewAlertsInGroup => "new alerts added",
            NotificationReason::NewResolvedAlerts => "some alerts resolved",
            NotificationReason::AllAlertsResolved => "all alerts resolved",
            NotificationReason::RepeatIntervalElapsed => "repeat interval elapsed",
            NotificationReason::Unknown => "unknown",
        }
    }
}

/// What an integration keeps between notifications of a group, such as the thread of a chat. It belongs in the notification
/// log.
#[derive(Debug, Default)]
pub struct ReceiverData(Mutex<BTreeMap<String, String>>);

impl ReceiverData {
    /// What was kept before.
    pub fn new(kept: BTreeMap<String, String>) -> Self {
        ReceiverData(Mutex::new(kept))
    }

    /// What is to be kept.
    pub fn to_map(&self) -> BTreeMap<String, String> {
        self.0.lock().clone()
    }

    pub(crate) fn get(&self, name: &str) -> Option<String> {
        self.0.lock().get(name).cloned().filter(|value| !value.is_empty())
    }

    pub(crate) fn set(&self, name: &str, value: &str) {
        self.0.lock().insert(name.to_string(), value.to_string());
    }
}

impl Notification {
    /// The status of the group.
    pub fn status(&self) -> Status {
        Status::of_group(&self.alerts, self.now)
    }

    /// The SHA-256 of the group's key, for services that limit the length of identifiers.
    pub(crate) fn hashed_key(&self) -> String {
        let digest = ring::digest::digest(&ring::digest::SHA256, self.group_key.as_bytes());
        digest.as_ref().iter().fold(String::with_capacity(64), |mut out, byte| {
            let _ = write!(out, "{byte:02x}");
            out
        })
    }
}
