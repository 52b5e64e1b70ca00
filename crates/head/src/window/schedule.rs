//! Where windows begin and end. The width of windows is a setting that may change, but a window that exists never does: the
//! schedule says from which time on which width applies, and is part of the log.

use pharos_model::time::window_start;

/// A change of the width takes effect at a common boundary of both widths, unless that would be this many of the wider
/// windows away.
const MAX_WAIT: i64 = 8;

/// The first and the last millisecond of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WindowSpan {
    pub(crate) start: i64,
    pub(crate) last: i64,
}

/// The widths of windows over time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WindowSchedule {
    /// From which millisecond on which width applies, ascending by time. The first entry applies since the beginning of time.
    widths: Vec<(i64, i64)>,
}

impl WindowSchedule {
    /// Windows that have always been this wide.
    pub(crate) fn new(width: i64) -> Self {
        WindowSchedule { widths: vec![(i64::MIN, width.max(1))] }
    }

    /// The schedule with these widths; `None` unless they ascend by time from its beginning and are positive.
    pub(crate) fn from_widths(widths: Vec<(i64, i64)>) -> Option<Self> {
        let is_whole = widths.first().is_some_and(|(from, _)| *from == i64::MIN);
        let ascends = widths.windows(2).all(|pair| pair[0].0 < pair[1].0);
        (is_whole && ascends && widths.iter().all(|(_, width)| *width > 0)).then_some(WindowSchedule { widths })
    }

    /// From which millisecond on which width applies, ascending.
    pub(crate) fn widths(&self) -> &[(i64, i64)] {
        &self.widths
    }

    /// The newest width, and from when on it applies.
    pub(crate) fn newest(&self) -> (i64, i64) {
        self.widths[self.widths.len() - 1]
    }

    /// The window that contains `t`.
    #[inline]
    pub(crate) fn window_of(&self, t: i64) -> WindowSpan {
        let next = self.widths.partition_point(|(from, _)| *from <= t).max(1);
        let (from, width) = self.widths[next - 1];
        let last = t.saturating_add(width - 1 - t.rem_euclid(width));
        let ends = self.widths.get(next).map_or(i64::MAX, |(next, _)| next - 1);
        WindowSpan { start: window_start(t, width).max(from), last: last.min(ends) }
    }

    /// The first millisecond of the window that contains `t`.
    #[inline]
    pub(crate) fn start_of(&self, t: i64) -> i64 {
        self.window_of(t).start
    }

    /// The first millisecond after the window that contains `t`.
    pub(crate) fn end_of(&self, t: i64) -> i64 {
        self.window_of(t).last.saturating_add(1)
    }

    /// Makes windows `width` wide from the first boundary at or after `after`, up to which windows exist. Returns false if
    /// there is no such boundary.
    pub(crate) fn change(&mut self, width: i64, after: i64) -> bool {
        if self.newest().1 == width {
            return true;
        }
        // Widths that no window has had yet need not take effect at all.
        while self.widths.len() > 1 && self.newest().0 >= after {
            self.widths.pop();
        }
        let before = self.newest().1;
        if before == width {
            return true;
        }
        let Some(from) = boundary(after, before, width) else { return false };
        self.widths.push((from, width));
        true
    }

    /// Forgets widths that applied before the window that contains `oldest`.
    pub(crate) fn forget_before(&mut self, oldest: i64) {
        while self.widths.len() > 1 && self.widths[1].0 <= oldest {
            self.widths.remove(0);
            self.widths[0].0 = i64::MIN;
        }
    }
}

/// The first time at or after `after` at which windows of one width end and windows of another begin. If both never do so
/// soon, the first at which windows of the new width begin: the last of the old ones is shorter than the others then.
fn boundary(after: i64, before: i64, width: i64) -> Option<i64> {
    let common = (before / greatest_common_divisor(before, width)).checked_mul(width);
    let wider = before.max(width);
    let step = common.filter(|step| *step <= wider.saturating_mul(MAX_WAIT)).unwrap_or(width);
    match after.rem_euclid(step) {
        0 => Some(after),
        rest => after.checked_add(step - rest),
    }
}

fn greatest_common_divisor(mut a: i64, mut b: i64) -> i64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

#[cfg(test)]
mod tests;
