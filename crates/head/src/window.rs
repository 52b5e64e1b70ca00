//! Windows of a tenant and how far they are flushed.
//!
//! Each cut of a window ends an **epoch** of the window: chunks carry the epoch in which they were begun, appends after a
//! cut begin new chunks, so the cut with number `e` is exactly the chunks of lower epochs that are not flushed yet. Marking a
//! cut as flushed only raises `flushed` to its number: a chunk is flushed when its epoch is below. Both numbers are in the
//! log, so that a restart comes to the same answer for every sample.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use pharos_model::time::window_start;

/// What the head knows of a window of a tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WindowInfo {
    /// First millisecond.
    pub start: i64,
    /// First millisecond after the window.
    pub end: i64,
    /// Samples that no flushed cut holds.
    pub unflushed_samples: u64,
    /// Samples that are flushed and still in memory.
    pub flushed_samples: u64,
    /// About how many bytes its samples take.
    pub bytes: u64,
    /// When the newest sample was appended (after a restart: when it was replayed), milliseconds since the epoch.
    pub newest_append_ms: i64,
    /// Whether some cut of the window was flushed: what comes now is late.
    pub ever_flushed: bool,
    /// The number of the newest cut, 0 for none.
    pub cuts: u32,
    /// The number of the newest flushed cut, 0 for none.
    pub flushed: u32,
}

/// The state behind [`WindowInfo`].
#[derive(Clone, Debug, Default)]
pub(crate) struct WindowState {
    pub(crate) cuts: u32,
    pub(crate) flushed: u32,
    pub(crate) bytes: i64,
    pub(crate) newest_append_ms: i64,
    /// Samples in memory by epoch; the first entry is that of `first_epoch`.
    samples: VecDeque<u64>,
    first_epoch: u32,
}

impl WindowState {
    pub(crate) fn count(&mut self, epoch: u32, samples: u64) {
        if self.samples.is_empty() {
            self.first_epoch = epoch;
        }
        while epoch < self.first_epoch {
            self.samples.push_front(0);
            self.first_epoch -= 1;
        }
        let at = (epoch - self.first_epoch) as usize;
        if at >= self.samples.len() {
            self.samples.resize(at + 1, 0);
        }
        self.samples[at] += samples;
    }

    /// Forgets samples of an epoch that went away.
    pub(crate) fn uncount(&mut self, epoch: u32, samples: u64) {
        let at = epoch.checked_sub(self.first_epoch).map(|at| at as usize);
        if let Some(count) = at.and_then(|at| self.samples.get_mut(at)) {
            *count = count.saturating_sub(samples);
        }
    }

    /// Forgets the counts of the epochs below `flushed`.
    pub(crate) fn drop_epochs(&mut self, flushed: u32) {
        while self.first_epoch < flushed && self.samples.pop_front().is_some() {
            self.first_epoch += 1;
        }
        if self.total() == 0 {
            self.bytes = 0;
        }
    }

    /// Samples in memory.
    pub(crate) fn total(&self) -> u64 {
        self.samples.iter().sum()
    }

    fn flushed_samples(&self) -> u64 {
        let epochs = self.flushed.saturating_sub(self.first_epoch) as usize;
        self.samples.iter().take(epochs).sum()
    }

    pub(crate) fn info(&self, start: i64, width: i64) -> WindowInfo {
        let flushed_samples = self.flushed_samples();
        WindowInfo {
            start,
            end: start.saturating_add(width),
            unflushed_samples: self.total() - flushed_samples,
            flushed_samples,
            bytes: self.bytes.max(0) as u64,
            newest_append_ms: self.newest_append_ms,
            ever_flushed: self.flushed > 0,
            cuts: self.cuts,
            flushed: self.flushed,
        }
    }
}

/// Which epochs of which windows are flushed: what readers need to know, shared by all of them.
#[derive(Clone, Debug)]
pub(crate) struct FlushMap {
    pub(crate) width: i64,
    pub(crate) flushed: Arc<BTreeMap<i64, u32>>,
}

impl FlushMap {
    pub(crate) fn new(width: i64) -> Self {
        FlushMap { width, flushed: Arc::default() }
    }

    /// Whether the samples of an epoch of the window that holds `t` are flushed.
    pub(crate) fn is_flushed(&self, t: i64, epoch: u32) -> bool {
        !self.flushed.is_empty()
            && self.flushed.get(&window_start(t, self.width)).is_some_and(|flushed| epoch < *flushed)
    }
}
