//! The windows of a tenant, and how far each shard of a window has been flushed.
//!
//! Cutting a window starts a new **generation** of it. The number of the generation is the number of the cut that started
//! it, and every run of samples carries the generation in which it was begun. Appends after a cut begin new runs, so cut
//! `n` of some shards is exactly the unflushed runs of those shards whose generation is below `n`. Marking a cut as flushed
//! raises the flushed cut of its shards to `n`: a run is flushed when its generation is below the flushed cut of its shard.
//! Both numbers are logged, so a restart reaches the same verdict about every sample (INV-CUT-EXACT).
//!
//! The first generation of a window is the time at which the window began, in seconds, or the greatest generation of any
//! window so far if that is greater, and is logged too. A window that was removed from memory and comes back therefore never
//! reuses a number that the catalogue may know, even if the clock was set back in between.
//!
//! Where a window begins and ends follows from the [`WindowSchedule`], and how windows are numbered from the [`WindowPlan`].

mod plan;
mod schedule;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use pharos_model::ShardSet;

pub(crate) use plan::WindowPlan;
pub(crate) use schedule::WindowSchedule;

/// A summary of a window of a tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WindowInfo {
    /// First millisecond.
    pub start: i64,
    /// First millisecond after the window.
    pub end: i64,
    /// Samples in memory that no flushed cut holds.
    pub unflushed_samples: u64,
    /// Samples that are flushed and still in memory.
    pub flushed_samples: u64,
    /// Approximate memory of its samples, in bytes.
    pub bytes: u64,
    /// When the newest sample was appended, in milliseconds since the epoch. After a restart, when it was replayed.
    pub newest_append_ms: i64,
    /// The number of the newest cut. Each cut raises it, not always by one.
    pub newest_cut: u32,
    /// The shards that have samples in memory or a flushed cut, ascending.
    pub shards: Vec<ShardWindow>,
}

/// A summary of one shard of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShardWindow {
    /// The shard's number.
    pub shard: u32,
    /// Samples in memory that no flushed cut holds.
    pub unflushed_samples: u64,
    /// Samples that are flushed and still in memory.
    pub flushed_samples: u64,
    /// The number of the newest flushed cut; 0 for none.
    pub flushed_cut: u32,
    /// The generation of the shard's first samples. Cuts up to this number contained none of the samples in memory: they
    /// were made before the window came back, before the shard was forgotten, or before the log was lost.
    pub first_generation: u32,
}

impl WindowInfo {
    /// The shards with samples that are not flushed.
    pub fn unflushed(&self) -> ShardSet {
        self.shards.iter().filter(|s| s.unflushed_samples > 0).map(|s| s.shard).collect()
    }

    /// The shards with samples that are flushed and still in memory.
    pub fn evictable(&self) -> ShardSet {
        self.shards.iter().filter(|s| s.flushed_samples > 0).map(|s| s.shard).collect()
    }

    /// The number of the newest flushed cut of a shard; 0 for none.
    pub fn flushed_cut(&self, shard: u32) -> u32 {
        let at = self.shards.binary_search_by_key(&shard, |s| s.shard);
        at.map_or(0, |at| self.shards[at].flushed_cut)
    }

    /// Whether a cut of a shard with this number contained samples that were in this memory.
    pub fn has_cut(&self, shard: u32, number: u32) -> bool {
        let at = self.shards.binary_search_by_key(&shard, |s| s.shard);
        at.is_ok_and(|at| self.shards[at].first_generation < number && number <= self.newest_cut)
    }
}

/// The newest flushed cut of each shard of a window: a mask over its runs. Cheap to clone, so readers take a copy.
#[derive(Clone, Debug, Default)]
pub(crate) struct FlushedMask {
    /// Indexed by shard. Shards past the end have no flushed cut.
    cuts: Arc<[u32]>,
}

impl FlushedMask {
    /// The number of a shard's newest flushed cut; 0 for none.
    #[inline]
    pub(crate) fn cut_of(&self, shard: u16) -> u32 {
        self.cuts.get(shard as usize).copied().unwrap_or(0)
    }

    /// Whether the runs of a shard and generation are flushed.
    #[inline]
    pub(crate) fn covers(&self, shard: u16, generation: u32) -> bool {
        generation < self.cut_of(shard)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.cuts.iter().all(|cut| *cut == 0)
    }

    /// Raises the flushed cut of some shards. Cuts never go down.
    pub(crate) fn raise(&mut self, shards: &ShardSet, cut: u32) {
        let Some(last) = shards.iter().last() else { return };
        let mut cuts = self.cuts.to_vec();
        cuts.resize(cuts.len().max(last as usize + 1), 0);
        shards.iter().for_each(|shard| cuts[shard as usize] = cuts[shard as usize].max(cut));
        self.cuts = cuts.into();
    }

    /// The same mask for some shards only.
    pub(crate) fn restricted_to(&self, shards: &ShardSet) -> Self {
        let keep = |(shard, cut): (u32, &u32)| if shards.contains(shard) { *cut } else { 0 };
        FlushedMask { cuts: (0u32..).zip(self.cuts.iter()).map(keep).collect() }
    }

    /// The shards that have a flushed cut, grouped by its number: the form in which the log keeps them.
    pub(crate) fn by_cut(&self) -> BTreeMap<u32, ShardSet> {
        let mut by_cut: BTreeMap<u32, ShardSet> = BTreeMap::new();
        for (shard, &cut) in (0u32..).zip(self.cuts.iter()).filter(|(_, cut)| **cut > 0) {
            by_cut.entry(cut).or_default().insert(shard);
        }
        by_cut
    }
}

/// Sample counts by shard that have not been added to a window yet.
#[derive(Debug)]
pub(crate) struct ShardCounts {
    counts: Box<[u64]>,
    touched: Vec<u16>,
}

impl ShardCounts {
    pub(crate) fn new(shards: u32) -> Self {
        ShardCounts { counts: vec![0; shards as usize].into(), touched: Vec::new() }
    }

    #[inline]
    pub(crate) fn add(&mut self, shard: u16, samples: u64) {
        let count = &mut self.counts[shard as usize];
        if *count == 0 && samples > 0 {
            self.touched.push(shard);
        }
        *count += samples;
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.touched.is_empty()
    }
}

/// The state of a window of which [`WindowInfo`] is the summary.
#[derive(Clone, Debug)]
pub(crate) struct WindowState {
    /// The number of the newest cut, which is the current generation.
    pub(crate) newest_cut: u32,
    pub(crate) flushed: FlushedMask,
    pub(crate) bytes: i64,
    pub(crate) newest_append_ms: i64,
    /// Samples in memory by ascending generation, then by shard.
    samples: VecDeque<(u32, Box<[u64]>)>,
    /// By shard; see [`ShardWindow::first_generation`].
    first_generations: Box<[u32]>,
    shards: u32,
}

impl WindowState {
    pub(crate) fn new(shards: u32, newest_cut: u32) -> Self {
        WindowState {
            newest_cut,
            flushed: FlushedMask::default(),
            bytes: 0,
            newest_append_ms: 0,
            samples: VecDeque::new(),
            first_generations: vec![newest_cut; shards as usize].into(),
            shards,
        }
    }

    /// Notes that what was cut of some shards so far is none of what memory has from now on.
    pub(crate) fn begin_again(&mut self, shards: impl Fn(u16) -> bool) {
        let begun = (0u16..).zip(self.first_generations.iter_mut()).filter(|(shard, _)| shards(*shard));
        begun.for_each(|(_, first)| *first = self.newest_cut);
    }

    fn counts_of(&mut self, generation: u32) -> &mut [u64] {
        let at = self.samples.partition_point(|(other, _)| *other < generation);
        if self.samples.get(at).is_none_or(|(other, _)| *other != generation) {
            self.samples.insert(at, (generation, vec![0; self.shards as usize].into()));
        }
        &mut self.samples[at].1
    }

    /// Adds counted samples to a generation, which empties `added`.
    pub(crate) fn add_counts(&mut self, generation: u32, added: &mut ShardCounts) {
        let counts = self.counts_of(generation);
        for shard in added.touched.drain(..) {
            counts[shard as usize] += std::mem::take(&mut added.counts[shard as usize]);
        }
    }

    /// Subtracts samples that were removed from a generation and shard.
    pub(crate) fn subtract(&mut self, generation: u32, shard: u16, samples: u64) {
        if let Ok(at) = self.samples.binary_search_by_key(&generation, |(other, _)| *other) {
            let count = &mut self.samples[at].1[shard as usize];
            *count = count.saturating_sub(samples);
        }
    }

    /// Zeroes the counts of the shards and generations that `removed` selects.
    pub(crate) fn clear_counts(&mut self, removed: impl Fn(u16, u32) -> bool) {
        for (generation, counts) in &mut self.samples {
            let cleared = (0u16..).zip(counts.iter_mut()).filter(|(shard, _)| removed(*shard, *generation));
            cleared.for_each(|(_, count)| *count = 0);
        }
        self.samples.retain(|(_, counts)| counts.iter().any(|count| *count > 0));
        if self.samples.is_empty() {
            self.bytes = 0;
        }
    }

    /// Whether any of these shards has samples that were appended since the newest cut.
    pub(crate) fn grew_since_cut(&self, shards: &ShardSet) -> bool {
        let newest = self.samples.back().filter(|(generation, _)| *generation >= self.newest_cut);
        newest.is_some_and(|(_, counts)| (0u32..).zip(counts).any(|(shard, n)| *n > 0 && shards.contains(shard)))
    }

    /// Samples of a generation in memory.
    pub(crate) fn held_in(&self, generation: u32) -> u64 {
        let at = self.samples.binary_search_by_key(&generation, |(other, _)| *other);
        at.map_or(0, |at| self.samples[at].1.iter().sum())
    }

    /// Whether any sample in memory is not flushed.
    pub(crate) fn has_unflushed(&self) -> bool {
        self.samples.iter().any(|(generation, counts)| {
            (0u16..).zip(counts.iter()).any(|(shard, n)| *n > 0 && !self.flushed.covers(shard, *generation))
        })
    }

    /// Samples in memory.
    pub(crate) fn total(&self) -> u64 {
        self.samples.iter().flat_map(|(_, counts)| counts).sum()
    }

    fn shard(&self, shard: u16) -> ShardWindow {
        let mut summary = ShardWindow {
            shard: shard.into(),
            unflushed_samples: 0,
            flushed_samples: 0,
            flushed_cut: self.flushed.cut_of(shard),
            first_generation: self.first_generations[shard as usize],
        };
        for (generation, counts) in &self.samples {
            let count = counts[shard as usize];
            match self.flushed.covers(shard, *generation) {
                true => summary.flushed_samples += count,
                false => summary.unflushed_samples += count,
            }
        }
        summary
    }

    /// The summary of this window, which lasts from `start` to just before `end`.
    pub(crate) fn info(&self, start: i64, end: i64) -> WindowInfo {
        let shards = (0..self.shards).map(|shard| self.shard(shard as u16));
        let is_known = |s: &ShardWindow| s.unflushed_samples + s.flushed_samples > 0 || s.flushed_cut > 0;
        let shards: Vec<ShardWindow> = shards.filter(is_known).collect();
        WindowInfo {
            start,
            end,
            unflushed_samples: shards.iter().map(|s| s.unflushed_samples).sum(),
            flushed_samples: shards.iter().map(|s| s.flushed_samples).sum(),
            bytes: self.bytes.max(0) as u64,
            newest_append_ms: self.newest_append_ms,
            newest_cut: self.newest_cut,
            shards,
        }
    }
}

/// The flushed masks of all windows of a tenant, shared by readers.
#[derive(Clone, Debug)]
pub(crate) struct FlushedWindows {
    pub(crate) schedule: Arc<WindowSchedule>,
    /// Keyed by the start of the window.
    pub(crate) masks: Arc<BTreeMap<i64, FlushedMask>>,
}

impl FlushedWindows {
    pub(crate) fn new(schedule: Arc<WindowSchedule>) -> Self {
        FlushedWindows { schedule, masks: Arc::default() }
    }

    /// Whether the runs of a shard and generation in the window that contains `t` are flushed.
    pub(crate) fn is_flushed(&self, t: i64, shard: u16, generation: u32) -> bool {
        !self.masks.is_empty()
            && self.masks.get(&self.schedule.start_of(t)).is_some_and(|mask| mask.covers(shard, generation))
    }
}

#[cfg(test)]
mod tests;
