//! Windows of a tenant and how far each shard of them is flushed.
//!
//! Each cut of a window ends an **epoch** of the window: chunks carry the epoch in which they were begun, appends after a
//! cut begin new chunks, so the cut with number `e` of some shards is exactly the chunks of those shards and lower
//! epochs that are not flushed yet. Marking a cut as flushed only raises `flushed` of its shards to its number: a chunk is
//! flushed when its epoch is below the number of its shard. Both numbers are in the log, so that a restart comes to the same answer for
//! every sample.
//!
//! The first epoch of a window is the time at which the window began, in seconds, and is in the log too. So a window that was
//! forgotten and comes back never uses a number again that the catalogue knows from before.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use pharos_model::ShardSet;
use pharos_model::time::window_start;

/// What the head knows of a window of a tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
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
    /// The number of the newest cut. It grows with each cut, by no fixed step.
    pub cuts: u32,
    /// The shards that have samples in memory or were flushed, ascending.
    pub shards: Vec<ShardWindow>,
}

/// What the head knows of a shard of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShardWindow {
    /// The shard.
    pub shard: u32,
    /// Samples that no flushed cut holds.
    pub unflushed_samples: u64,
    /// Samples that are flushed and still in memory.
    pub flushed_samples: u64,
    /// The number of the newest flushed cut, 0 for none.
    pub flushed: u32,
}

impl WindowInfo {
    /// The shards with samples that are not flushed.
    pub fn unflushed(&self) -> ShardSet {
        self.shards.iter().filter(|s| s.unflushed_samples > 0).map(|s| s.shard).collect()
    }

    /// The shards with samples that are flushed and still in memory.
    pub fn droppable(&self) -> ShardSet {
        self.shards.iter().filter(|s| s.flushed_samples > 0).map(|s| s.shard).collect()
    }

    /// The number of the newest flushed cut of a shard, 0 for none.
    pub fn flushed(&self, shard: u32) -> u32 {
        let at = self.shards.binary_search_by_key(&shard, |s| s.shard);
        at.map_or(0, |at| self.shards[at].flushed)
    }
}

/// The newest flushed cut of each shard of a window; shared with readers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Flushed {
    /// By shard; those behind the end have none.
    cuts: Arc<[u32]>,
}

impl Flushed {
    /// The number of a shard's newest flushed cut, 0 for none.
    #[inline]
    pub(crate) fn of(&self, shard: u16) -> u32 {
        self.cuts.get(shard as usize).copied().unwrap_or(0)
    }

    /// Raises the number of some shards.
    pub(crate) fn raise(&mut self, shards: &ShardSet, cut: u32) {
        let Some(last) = shards.iter().last() else { return };
        let mut cuts = self.cuts.to_vec();
        cuts.resize(cuts.len().max(last as usize + 1), 0);
        shards.iter().for_each(|shard| cuts[shard as usize] = cuts[shard as usize].max(cut));
        self.cuts = cuts.into();
    }

    /// Of these shards, those that have a flushed cut, by its number.
    pub(crate) fn by_cut(&self, among: impl Fn(u32) -> bool) -> BTreeMap<u32, ShardSet> {
        let mut by_cut: BTreeMap<u32, ShardSet> = BTreeMap::new();
        for (shard, &cut) in (0u32..).zip(self.cuts.iter()).filter(|(shard, cut)| **cut > 0 && among(*shard)) {
            by_cut.entry(cut).or_default().insert(shard);
        }
        by_cut
    }
}

/// Samples counted by shard, to be handed over together.
#[derive(Debug)]
pub(crate) struct Tally {
    counts: Box<[u64]>,
    touched: Vec<u16>,
}

impl Tally {
    pub(crate) fn new(shards: u32) -> Self {
        Tally { counts: vec![0; shards as usize].into(), touched: Vec::new() }
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

/// The state behind [`WindowInfo`].
#[derive(Clone, Debug)]
pub(crate) struct WindowState {
    pub(crate) cuts: u32,
    pub(crate) flushed: Flushed,
    pub(crate) bytes: i64,
    pub(crate) newest_append_ms: i64,
    /// Samples in memory: by epoch, ascending, and shard.
    samples: VecDeque<(u32, Box<[u64]>)>,
    shards: u32,
}

/// The first epoch of a window that begins now.
pub(crate) fn first_epoch(now_ms: i64) -> u32 {
    // Half of the numbers are left for cuts.
    u32::try_from((now_ms / 1000).max(0)).unwrap_or(u32::MAX).min(u32::MAX / 2)
}

impl WindowState {
    pub(crate) fn new(shards: u32, cuts: u32) -> Self {
        let (flushed, samples) = (Flushed::default(), VecDeque::new());
        WindowState { cuts, flushed, bytes: 0, newest_append_ms: 0, samples, shards }
    }

    fn epoch(&mut self, epoch: u32) -> &mut [u64] {
        let at = self.samples.partition_point(|(e, _)| *e < epoch);
        if self.samples.get(at).is_none_or(|(e, _)| *e != epoch) {
            self.samples.insert(at, (epoch, vec![0; self.shards as usize].into()));
        }
        &mut self.samples[at].1
    }

    /// Counts samples of an epoch, and empties the tally.
    pub(crate) fn count(&mut self, epoch: u32, tally: &mut Tally) {
        let counts = self.epoch(epoch);
        for shard in tally.touched.drain(..) {
            counts[shard as usize] += std::mem::take(&mut tally.counts[shard as usize]);
        }
    }

    /// Forgets samples of an epoch and shard that went away.
    pub(crate) fn uncount(&mut self, epoch: u32, shard: u16, samples: u64) {
        if let Ok(at) = self.samples.binary_search_by_key(&epoch, |(e, _)| *e) {
            let count = &mut self.samples[at].1[shard as usize];
            *count = count.saturating_sub(samples);
        }
    }

    /// Forgets the counts of shards in the epochs that `gone` names.
    pub(crate) fn forget(&mut self, gone: impl Fn(u16, u32) -> bool) {
        for (epoch, counts) in &mut self.samples {
            let gone = (0u16..).zip(counts.iter_mut()).filter(|(shard, _)| gone(*shard, *epoch));
            gone.for_each(|(_, count)| *count = 0);
        }
        self.samples.retain(|(_, counts)| counts.iter().any(|count| *count > 0));
        if self.samples.is_empty() {
            self.bytes = 0;
        }
    }

    /// Whether it has samples of its newest epoch in any of these shards.
    pub(crate) fn grew_since_cut(&self, shards: &ShardSet) -> bool {
        let newest = self.samples.back().filter(|(epoch, _)| *epoch >= self.cuts);
        newest.is_some_and(|(_, counts)| (0u32..).zip(counts).any(|(shard, n)| *n > 0 && shards.contains(shard)))
    }

    /// Samples in memory.
    pub(crate) fn total(&self) -> u64 {
        self.samples.iter().flat_map(|(_, counts)| counts).sum()
    }

    fn shard(&self, shard: u16) -> ShardWindow {
        let flushed = self.flushed.of(shard);
        let (mut unflushed_samples, mut flushed_samples) = (0, 0);
        for (epoch, counts) in &self.samples {
            let count = counts[shard as usize];
            *if *epoch < flushed { &mut flushed_samples } else { &mut unflushed_samples } += count;
        }
        ShardWindow { shard: shard.into(), unflushed_samples, flushed_samples, flushed }
    }

    pub(crate) fn info(&self, start: i64, width: i64) -> WindowInfo {
        let shards = (0..self.shards).map(|shard| self.shard(shard as u16));
        let known = |s: &ShardWindow| s.unflushed_samples + s.flushed_samples > 0 || s.flushed > 0;
        let shards: Vec<ShardWindow> = shards.filter(known).collect();
        WindowInfo {
            start,
            end: start.saturating_add(width),
            unflushed_samples: shards.iter().map(|s| s.unflushed_samples).sum(),
            flushed_samples: shards.iter().map(|s| s.flushed_samples).sum(),
            bytes: self.bytes.max(0) as u64,
            newest_append_ms: self.newest_append_ms,
            cuts: self.cuts,
            shards,
        }
    }
}

/// Which epochs of which windows are flushed: what readers need to know, shared by all of them.
#[derive(Clone, Debug)]
pub(crate) struct FlushMap {
    pub(crate) width: i64,
    pub(crate) flushed: Arc<BTreeMap<i64, Flushed>>,
}

impl FlushMap {
    pub(crate) fn new(width: i64) -> Self {
        FlushMap { width, flushed: Arc::default() }
    }

    /// Whether the samples of an epoch and shard of the window that holds `t` are flushed.
    pub(crate) fn is_flushed(&self, t: i64, shard: u16, epoch: u32) -> bool {
        !self.flushed.is_empty()
            && self.flushed.get(&window_start(t, self.width)).is_some_and(|flushed| epoch < flushed.of(shard))
    }
}
