//! What an earlier process knew of an alert, and how it goes on.

use pharos_model::Labels;

use super::{Alert, AlertState};
use crate::file::Texts;

/// What the series of an alert say about it. Times are milliseconds since the epoch.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredAlert {
    /// When the condition began to hold.
    pub active_at_ms: i64,
    /// The time of the last sample.
    pub seen_at_ms: i64,
    /// Whether the alert fired when it was seen last.
    pub fired: bool,
    /// Whether the alert was evaluated until now and certainly belongs to the rule.
    pub is_current: bool,
    /// Whether the rule was evaluated until now.
    pub is_recent: bool,
    /// The value of `for` of the rule.
    pub hold_ms: i64,
    /// How long a restored alert stays pending at least.
    pub grace_period_ms: i64,
}

impl StoredAlert {
    /// The alert as it was when it was seen last.
    pub(crate) fn as_it_was(&self, labels: &Labels) -> Alert {
        let state = if self.fired { AlertState::Firing } else { AlertState::Pending };
        Alert {
            state,
            labels: labels.clone(),
            annotations: Texts::new(),
            value: 0.0,
            active_at_ms: self.active_at_ms,
            fired_at_ms: self.fired.then(|| self.active_at_ms.saturating_add(self.hold_ms)),
            resolved_at_ms: None,
            keep_firing_since_ms: None,
            sent_at_ms: None,
            valid_until_ms: 0,
        }
    }

    /// Gives an alert that was found at `t_ms` the time since when its condition holds.
    pub(crate) fn continue_as(&self, alert: &mut Alert, hold_ms: i64, t_ms: i64) {
        let spent_ms = self.seen_at_ms.saturating_sub(self.active_at_ms);
        let left_ms = hold_ms.saturating_sub(spent_ms);
        alert.active_at_ms = if left_ms <= 0 || self.is_recent {
            self.active_at_ms
        } else if hold_ms < self.grace_period_ms {
            // The condition is to hold for all of `for`, which is not longer than the pause would be.
            return;
        } else if left_ms < self.grace_period_ms {
            t_ms.saturating_add(self.grace_period_ms).saturating_sub(hold_ms)
        } else {
            self.active_at_ms.saturating_add(t_ms.saturating_sub(self.seen_at_ms))
        };
    }
}
