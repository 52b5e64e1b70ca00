//! A model of an ingester's head and write-ahead log, in place of `pharos_head::Head`.
//!
//! The model keeps the properties that matter for the protocol. Memory is the result of replaying the log. A record is
//! durable once the log is fsynced up to it. A crash keeps all durable records and a random number of the others. Each
//! sample carries the epoch of its window at the time of its arrival. A cut contains the unflushed samples of earlier
//! epochs, and a mark raises the flushed epoch of shards; `crates/head/src/window.rs` explains why. Live appends and
//! replay share one function, [`Memory::apply`].

use std::collections::BTreeMap;

use pharos_head::{HeldDigest, ShardWindow, WindowInfo};
use pharos_model::ShardSet;

use super::samples::{SampleId, SampleSet, Samples};
use super::{SHARDS, WINDOW_MS};
use pharos_testkit::Rng;

/// Digests of the samples in memory, by shard.
pub type Digests = BTreeMap<u32, HeldDigest>;

/// A record of the log.
#[derive(Clone, Debug)]
pub enum Record {
    /// Samples arrived. All of them were new to memory.
    Append { at_ms: i64, ids: Vec<SampleId> },
    /// A window was cut. All earlier samples are below the number of the cut.
    Cut { window: i64, number: u32, at_ms: i64 },
    /// Samples of these shards below the number are flushed.
    Flushed { window: i64, number: u32, shards: ShardSet },
    /// Flushed samples of these shards left memory.
    Dropped { window: i64, shards: ShardSet },
    /// All samples of these shards left memory.
    Forgotten { shards: ShardSet },
}

#[derive(Clone, Debug, Default)]
struct Window {
    cuts: u32,
    flushed: Vec<u32>,
    newest_append_ms: i64,
    /// The samples in memory and their epochs.
    samples: BTreeMap<SampleId, u32>,
}

impl Window {
    fn flushed(&self, shard: u32) -> u32 {
        self.flushed.get(shard as usize).copied().unwrap_or(0)
    }
}

/// The state that a replay of the log produces.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    held: SampleSet,
    windows: BTreeMap<i64, Window>,
}

/// Unflushed samples of a window, to be written to a block.
#[derive(Clone, Debug)]
pub struct Cut {
    /// Start of the window, in milliseconds since the epoch.
    pub window: i64,
    /// The number of the cut. All samples are below it.
    pub number: u32,
    /// The shards that were cut, including those without samples.
    pub shards: ShardSet,
    /// The samples, in ascending order.
    pub ids: Vec<SampleId>,
}

impl Memory {
    fn window(&mut self, start: i64, at_ms: i64) -> &mut Window {
        // As with `first_epoch` in production, a window that returns to memory does not reuse a number.
        let first = (at_ms / 1000) as u32;
        let fresh = || Window { cuts: first, flushed: vec![0; SHARDS as usize], ..Window::default() };
        self.windows.entry(start).or_insert_with(fresh)
    }

    fn apply(&mut self, record: &Record, samples: &Samples) {
        match record {
            Record::Append { at_ms, ids } => {
                for id in ids {
                    self.held.insert(*id);
                    let window = self.window(samples.get(*id).window(), *at_ms);
                    window.newest_append_ms = *at_ms;
                    window.samples.insert(*id, window.cuts);
                }
            }
            Record::Cut { window, number, at_ms } => self.window(*window, *at_ms).cuts = *number,
            Record::Flushed { window, number, shards } => {
                let Some(window) = self.windows.get_mut(window) else { return };
                for shard in shards.iter() {
                    let flushed = &mut window.flushed[shard as usize];
                    *flushed = (*flushed).max(*number);
                }
            }
            Record::Dropped { window, shards } => {
                let Some(window) = self.windows.get_mut(window) else { return };
                let (flushed, held) = (&window.flushed, &mut self.held);
                window.samples.retain(|id, epoch| {
                    let shard = samples.get(*id).shard;
                    let stays = !shards.contains(shard) || *epoch >= flushed[shard as usize];
                    if !stays {
                        held.remove(*id);
                    }
                    stays
                });
            }
            Record::Forgotten { shards } => {
                for window in self.windows.values_mut() {
                    let held = &mut self.held;
                    window.samples.retain(|id, _| {
                        let goes = shards.contains(samples.get(*id).shard);
                        if goes {
                            held.remove(*id);
                        }
                        !goes
                    });
                }
            }
        }
    }
}

/// The head of one ingester.
#[derive(Clone, Debug)]
pub struct Head {
    log: Vec<Record>,
    durable: usize,
    memory: Memory,
    began_empty: bool,
}

impl Default for Head {
    fn default() -> Self {
        Head { log: Vec::new(), durable: 0, memory: Memory::default(), began_empty: true }
    }
}

impl Head {
    fn push(&mut self, record: Record, samples: &Samples) -> usize {
        self.memory.apply(&record, samples);
        self.log.push(record);
        self.log.len()
    }

    /// Appends the samples that are not in memory yet. Returns the log position that must become durable. It also
    /// covers samples that were in memory already, because they may not be durable yet.
    pub fn append(&mut self, ids: &[SampleId], at_ms: i64, samples: &Samples) -> usize {
        let ids: Vec<SampleId> = ids.iter().copied().filter(|id| !self.memory.held.contains(*id)).collect();
        if ids.is_empty() { self.log.len() } else { self.push(Record::Append { at_ms, ids }, samples) }
    }

    /// Returns the length of the log, in records.
    pub fn end(&self) -> usize {
        self.log.len()
    }

    /// Returns the number of durable records.
    pub fn durable(&self) -> usize {
        self.durable
    }

    /// Records that an fsync made the log durable up to `upto`.
    pub fn synced(&mut self, upto: usize) {
        self.durable = self.durable.max(upto.min(self.log.len()));
    }

    /// Simulates a crash: drops a random part of the records that are not durable, and replays the rest of the log.
    pub fn crash(&mut self, rng: &mut Rng, now_ms: i64, samples: &Samples) {
        let volatile = (self.log.len() - self.durable) as u64;
        self.log.truncate(self.durable + rng.below(volatile + 1) as usize);
        self.replay(now_ms, samples);
    }

    /// Rebuilds memory from the log at the start of the process. The whole log is durable afterwards.
    pub fn replay(&mut self, now_ms: i64, samples: &Samples) {
        self.memory = Memory::default();
        self.durable = self.log.len();
        self.began_empty = self.log.is_empty();
        for record in &self.log {
            self.memory.apply(record, samples);
        }
        self.memory.windows.values_mut().for_each(|window| window.newest_append_ms = now_ms);
    }

    /// Returns the samples in memory, flushed or not.
    pub fn held(&self) -> &SampleSet {
        &self.memory.held
    }

    /// Returns the samples that survive any crash.
    pub fn durable_samples(&self, samples: &Samples) -> SampleSet {
        if self.durable == self.log.len() {
            return self.memory.held.clone();
        }
        let mut memory = Memory::default();
        self.log[..self.durable].iter().for_each(|record| memory.apply(record, samples));
        memory.held
    }

    /// Ends the epoch of a window and cuts the unflushed samples of the given shards.
    pub fn cut(&mut self, start: i64, shards: &ShardSet, at_ms: i64, samples: &Samples) -> Cut {
        let number = self.end_epoch(start, at_ms, samples);
        let ids = self.unflushed(start, shards, samples);
        Cut { window: start, number, shards: shards.clone(), ids }
    }

    /// Returns the unflushed samples of the given shards of a window, in ascending order.
    pub fn unflushed(&self, start: i64, shards: &ShardSet, samples: &Samples) -> Vec<SampleId> {
        let Some(window) = self.memory.windows.get(&start) else { return Vec::new() };
        let wanted = |(id, epoch): &(&SampleId, &u32)| {
            let shard = samples.get(**id).shard;
            shards.contains(shard) && **epoch >= window.flushed(shard)
        };
        window.samples.iter().filter(wanted).map(|(id, _)| *id).collect()
    }

    /// Returns the unflushed samples of the given shards of a window whose epoch is below `number`, in ascending order.
    pub fn unflushed_below(&self, start: i64, shards: &ShardSet, number: u32, samples: &Samples) -> Vec<SampleId> {
        let Some(window) = self.memory.windows.get(&start) else { return Vec::new() };
        let mut ids = self.unflushed(start, shards, samples);
        ids.retain(|id| window.samples.get(id).is_some_and(|epoch| *epoch < number));
        ids
    }

    /// Ends the epoch of a window. Returns the number of the new epoch, which is above that of every present sample.
    pub fn end_epoch(&mut self, start: i64, at_ms: i64, samples: &Samples) -> u32 {
        let number = self.memory.window(start, at_ms).cuts + 1;
        self.push(Record::Cut { window: start, number, at_ms }, samples);
        number
    }

    /// Digests the samples of the given shards of a window. Ends the epoch if these shards received samples in it.
    pub fn digest(&mut self, start: i64, shards: &ShardSet, at_ms: i64, samples: &Samples) -> (u32, Digests) {
        let of_shards = |id: &SampleId| shards.contains(samples.get(*id).shard);
        let Some(window) = self.memory.windows.get(&start) else { return (0, Digests::new()) };
        let grew = window.samples.iter().any(|(id, epoch)| *epoch >= window.cuts && of_shards(id));
        let number = if grew { self.end_epoch(start, at_ms, samples) } else { window.cuts };
        let mut digests = Digests::new();
        let Some(window) = self.memory.windows.get(&start) else { return (number, digests) };
        for (id, epoch) in window.samples.iter().filter(|(id, epoch)| of_shards(id) && **epoch < number) {
            let sample = samples.get(*id);
            let held = digests.entry(sample.shard).or_default();
            held.all.add(sample.series_hash(), sample.t, 0);
            if *epoch >= window.flushed(sample.shard) {
                held.unflushed.add(sample.series_hash(), sample.t, 0);
            }
        }
        (number, digests)
    }

    /// Returns whether a sample is in memory and flushed.
    pub fn is_flushed(&self, id: SampleId, samples: &Samples) -> bool {
        let sample = samples.get(id);
        let window = self.memory.windows.get(&sample.window());
        window.is_some_and(|w| w.samples.get(&id).is_some_and(|epoch| *epoch < w.flushed(sample.shard)))
    }

    /// Marks the samples of `shards` below `number` as flushed. Returns the log position of the mark.
    pub fn mark_flushed(&mut self, window: i64, number: u32, shards: ShardSet, samples: &Samples) -> usize {
        self.push(Record::Flushed { window, number, shards }, samples)
    }

    /// Frees the flushed samples of the given shards of a window, and returns them.
    pub fn drop_flushed(&mut self, window: i64, shards: ShardSet, samples: &Samples) -> Vec<SampleId> {
        let goes = |id: &SampleId| shards.contains(samples.get(*id).shard) && self.is_flushed(*id, samples);
        let of_window = self.memory.windows.get(&window);
        let gone = of_window.into_iter().flat_map(|w| w.samples.keys().copied()).filter(goes).collect();
        self.push(Record::Dropped { window, shards }, samples);
        gone
    }

    /// Frees all samples of the given shards. Returns the log position of the record.
    pub fn forget(&mut self, shards: ShardSet, samples: &Samples) -> usize {
        self.push(Record::Forgotten { shards }, samples)
    }

    /// Returns the shards that have samples in memory.
    pub fn shards(&self, samples: &Samples) -> ShardSet {
        self.memory.held.iter().map(|id| samples.get(id).shard).collect()
    }

    /// Returns the summary of a window that the production code decides by.
    pub fn window(&self, start: i64, samples: &Samples) -> Option<WindowInfo> {
        self.memory.windows.get(&start).map(|window| info(start, window, samples))
    }

    /// Returns whether the log was empty when the process started.
    pub fn began_empty(&self) -> bool {
        self.began_empty
    }

    /// Returns the summaries of all windows, in ascending order of their starts.
    pub fn windows(&self, samples: &Samples) -> Vec<WindowInfo> {
        self.memory.windows.iter().map(|(start, window)| info(*start, window, samples)).collect()
    }
}

fn info(start: i64, window: &Window, samples: &Samples) -> WindowInfo {
    let none = |shard| ShardWindow {
        shard,
        unflushed_samples: 0,
        flushed_samples: 0,
        flushed_cut: window.flushed(shard),
        first_generation: 0,
    };
    let mut shards: Vec<ShardWindow> = (0..SHARDS).map(none).collect();
    for (id, epoch) in &window.samples {
        let shard = &mut shards[samples.get(*id).shard as usize];
        *if *epoch < shard.flushed_cut { &mut shard.flushed_samples } else { &mut shard.unflushed_samples } += 1;
    }
    shards.retain(|s| s.unflushed_samples + s.flushed_samples > 0 || s.flushed_cut > 0);
    WindowInfo {
        start,
        end: start + WINDOW_MS,
        unflushed_samples: shards.iter().map(|s| s.unflushed_samples).sum(),
        flushed_samples: shards.iter().map(|s| s.flushed_samples).sum(),
        bytes: 0,
        newest_append_ms: window.newest_append_ms,
        newest_cut: window.cuts,
        shards,
    }
}
