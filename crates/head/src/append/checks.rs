//! What is checked before a sample is appended: its timestamp, the labels of a new series, and histograms.

use pharos_model::RejectReason;
use pharos_model::labels::{LabelsIter, MAX_LABEL_BYTES, check_canonical};
use pharos_model::write::HistogramSample;

use crate::config::{HeadConfig, TenantLimits, TenantSettings};

/// The most buckets, bounds and spans of a histogram together, so that it fits into a log record.
const MAX_BUCKETS: usize = 1 << 16;

/// How far a sample that is newer than all others of its series may lag behind the newest sample of its tenant, in
/// milliseconds. A sender that was cut off for a while sends its backlog in order, which needs no out-of-order window.
pub(crate) const IN_ORDER_WINDOW_MS: i64 = 3_600_000;

/// Why a sample is rejected, and a message without the series.
pub(super) type Rejection = (RejectReason, String);

/// Who appends a batch, which decides what is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A sender: time bounds and limits apply.
    Sender,
    /// Another head, which has checked its samples already.
    Head,
}

/// The timestamps that are accepted.
pub(super) struct TimeBounds {
    /// Earlier timestamps are too old for samples that are out of order in their series.
    oldest: i64,
    /// Earlier timestamps are too old for samples that are in order in their series.
    oldest_in_order: i64,
    /// Later timestamps are too far in the future.
    latest: i64,
    out_of_order_window_ms: i64,
    max_future_ms: i64,
    now_ms: i64,
}

impl TimeBounds {
    pub(super) fn new(
        config: &HeadConfig,
        settings: &TenantSettings,
        newest: Option<i64>,
        now_ms: i64,
        origin: Origin,
    ) -> Self {
        let (oldest, oldest_in_order) = match origin {
            Origin::Head => (i64::MIN, i64::MIN),
            Origin::Sender => {
                let in_order_ms = IN_ORDER_WINDOW_MS.max(settings.out_of_order_window_ms);
                let oldest_within = |window_ms| oldest_taken(window_ms, newest, now_ms);
                let oldest = oldest_within(settings.out_of_order_window_ms);
                (oldest, oldest.min(oldest_within(in_order_ms)))
            }
        };
        let latest = match origin {
            Origin::Sender if config.max_future_ms > 0 => now_ms.saturating_add(config.max_future_ms),
            _ => i64::MAX,
        };
        TimeBounds {
            oldest,
            oldest_in_order,
            latest,
            out_of_order_window_ms: settings.out_of_order_window_ms,
            max_future_ms: config.max_future_ms,
            now_ms,
        }
    }

    #[inline]
    pub(super) fn contain(&self, t: i64) -> bool {
        self.oldest <= t && t <= self.latest
    }

    /// Whether a sample that is newer than all others of its series is within the bounds.
    #[inline]
    pub(super) fn contain_in_order(&self, t: i64) -> bool {
        self.oldest_in_order <= t && t <= self.latest
    }

    pub(super) fn are_exceeded_by(&self, t: i64) -> bool {
        t > self.latest
    }

    /// Why the timestamp of a sample that is out of order is rejected; `None` when it is within the bounds.
    pub(super) fn rejection(&self, t: i64) -> Option<Rejection> {
        if t < self.oldest {
            let window = pharos_gocompat::format_duration(self.out_of_order_window_ms);
            let newest = self.oldest.saturating_add(self.out_of_order_window_ms);
            let message = format!(
                "too old sample: timestamp {t} is more than {window}, the limit out_of_order_time_window, behind the newest sample at {newest}"
            );
            return Some((RejectReason::TooOld, message));
        }
        (t > self.latest).then(|| {
            let ahead = pharos_gocompat::format_duration(self.max_future_ms);
            let message =
                format!("sample too far in the future: timestamp {t} is more than {ahead}, the limit max_future_time, ahead of {}", self.now_ms);
            (RejectReason::TooFarInFuture, message)
        })
    }
}

/// The oldest timestamp that is taken: a window before the newest sample. A sample from the future counts as one from now, so
/// that it cannot shut out everybody else's samples. While the newest sample is itself older than the window and than an hour, as
/// seen from the clock, history is being loaded, and it may arrive in any order.
fn oldest_taken(window_ms: i64, newest: Option<i64>, now_ms: i64) -> i64 {
    let recent_ms = window_ms.max(IN_ORDER_WINDOW_MS);
    match newest.map(|newest| newest.min(now_ms)) {
        Some(newest) if newest >= now_ms.saturating_sub(recent_ms) => newest.saturating_sub(window_ms),
        _ => i64::MIN,
    }
}

/// Checks the labels of a series before it is created.
pub(super) fn check_labels(canonical: &[u8], limits: &TenantLimits) -> Result<(), Rejection> {
    let invalid = |what: String| (RejectReason::InvalidLabels, what);
    check_canonical(canonical).map_err(|e| invalid(e.to_string()))?;
    if canonical.is_empty() {
        return Err(invalid("series without labels".into()));
    }
    if canonical.len() > MAX_LABEL_BYTES {
        return Err(invalid(format!("labels take {} bytes, more than {MAX_LABEL_BYTES}", canonical.len())));
    }
    let over = |value: usize, limit: usize| limit > 0 && value > limit;
    let count = LabelsIter::over(canonical).count();
    if over(count, limits.max_labels) {
        let what = format!("{count} labels, the limit max_labels is {}", limits.max_labels);
        return Err((RejectReason::MaxLabels, what));
    }
    for (name, value) in LabelsIter::over(canonical) {
        if over(name.len(), limits.max_label_name_length) {
            let limit = limits.max_label_name_length;
            let what = format!("label name of {} bytes, the limit max_label_name_length is {limit}", name.len());
            return Err((RejectReason::MaxLabelNameLength, what));
        }
        if over(value.len(), limits.max_label_value_length) {
            let limit = limits.max_label_value_length;
            let what =
                format!("value of label {name} of {} bytes, the limit max_label_value_length is {limit}", value.len());
            return Err((RejectReason::MaxLabelValueLength, what));
        }
    }
    Ok(())
}

/// Checks that a histogram is valid and fits into a log record.
pub(super) fn check_histogram(s: &HistogramSample) -> Result<(), String> {
    let buckets = s.h.positive_buckets.len() + s.h.negative_buckets.len() + s.h.custom_values.len();
    let spans = s.h.positive_spans.len() + s.h.negative_spans.len();
    if buckets + spans > MAX_BUCKETS {
        return Err(format!("{buckets} buckets and {spans} spans, more than {MAX_BUCKETS}"));
    }
    s.h.validate().map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests;
