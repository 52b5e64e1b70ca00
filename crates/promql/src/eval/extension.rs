//! The modifiers `anchored` and `smoothed`, by which a selector reads samples around its windows.

use pharos_model::TimeRange;

use super::Eval;
use super::window::Frame;
use crate::plan::Selector;

/// How a selector reaches beyond its windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extension {
    /// To the last sample before the window.
    Anchored,
    /// To the samples before and after the window, between which values are interpolated.
    Smoothed,
}

impl Extension {
    /// The extension of a selector, if it has one.
    pub(crate) fn of(selector: &Selector) -> Option<Self> {
        match (selector.anchored, selector.smoothed) {
            (true, _) => Some(Extension::Anchored),
            (_, true) => Some(Extension::Smoothed),
            _ => None,
        }
    }

    /// The time before and after a window that is read, milliseconds.
    pub(crate) fn reach(self, lookback: i64) -> (i64, i64) {
        (lookback, if self == Extension::Smoothed { lookback } else { 0 })
    }
}

impl Frame {
    /// The time range that must be read for all windows.
    pub(crate) fn read(&self, ev: &Eval<'_, '_>, extension: Option<Extension>) -> TimeRange {
        let (before, after) = extension.map_or((0, 0), |e| e.reach(ev.shared.lookback));
        TimeRange::new(
            self.start(0).saturating_sub(before).saturating_add(1),
            self.end(self.grid.len.saturating_sub(1)).saturating_add(after),
        )
    }
}
