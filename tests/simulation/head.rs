//! A model of an ingester's head and log, in place of `pharos_head::Head` and its write-ahead log.
//!
//! It keeps what matters of the real one. Memory is the result of replaying the log. A record is durable once the log up to it
//! is fsynced, and a crash keeps all durable records and some of the others. Samples carry the cut that was current when they
//! arrived; a cut contains the unflushed samples below its number, and marking raises the flushed number of shards
//! (`crates/head/src/window.rs` explains why). Live appends and replay share one function, [`Memory::apply`].

use std::collections::BTreeMap;

use pharos_head::{HeldDigest, ShardWindow, WindowInfo};
use pharos_model::ShardSet;

use super::rng::Rng;
use super::samples::{SampleId, SampleSet, Samples};
use super::{SHARDS, WINDOW_MS};

/// Digests by shard.
pub type Digests = BTreeMap<u32, HeldDigest>;

/// What the log holds.
#[derive(Clone, Debug)]
pub enum Record {
    /// Samples came, all new to memory.
    Append { at_ms: i64, ids: Vec<SampleId> },
    /// A window was cut: all samples up to now are below the number.
    Cut { window: i64, number: u32, at_ms: i64 },
    /// What is below the number is flushed, of these shards.
    Flushed { window: i64, number: u32, shards: ShardSet },
    /// What was flushed of these shards has left memory.
    Dropped { window: i64, shards: ShardSet },
    /// All of these shards has left memory.
    Forgotten { shards: ShardSet },
}

#[derive(Clone, Debug, Default)]
struct Window {
    cuts: u32,
    flushed: Vec<u32>,
    newest_append_ms: i64,
    /// Its samples in memory with their epochs.
    samples: BTreeMap<SampleId, u32>,
}

impl Window {
    fn flushed(&self, shard: u32) -> u32 {
        self.flushed.get(shard as usize).copied().unwrap_or(0)
    }
}

/// What a replay of the log gives.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    held: SampleSet,
    windows: BTreeMap<i64, Window>,
}

/// Some samples of a window below a number.
#[derive(Clone, Debug)]
pub struct Cut {
    /// Start of the window.
    pub window: i64,
    /// Its number.
    pub number: u32,
    /// Of these shards.
    pub shards: ShardSet,
    /// The samples.
    pub ids: Vec<SampleId>,
}

impl Memory {
    fn window(&mut self, start: i64, at_ms: i64) -> &mut Window {
        // As `first_epoch` of the real one: a window that comes back uses no number again.
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

    /// Appends what is not there yet. Returns the position that has to be durable, also for samples that were there before: they
    /// may not be durable yet.
    pub fn append(&mut self, ids: &[SampleId], at_ms: i64, samples: &Samples) -> usize {
        let ids: Vec<SampleId> = ids.iter().copied().filter(|id| !self.memory.held.contains(*id)).collect();
        if ids.is_empty() { self.log.len() } else { self.push(Record::Append { at_ms, ids }, samples) }
    }

    /// The length of the log.
    pub fn end(&self) -> usize {
        self.log.len()
    }

    /// How much of the log is durable.
    pub fn durable(&self) -> usize {
        self.durable
    }

    /// The log is durable up to a position.
    pub fn synced(&mut self, upto: usize) {
        self.durable = self.durable.max(upto.min(self.log.len()));
    }

    /// The process dies: what is not durable may be lost, from some record on.
    pub fn crash(&mut self, rng: &mut Rng, now_ms: i64, samples: &Samples) {
        let volatile = (self.log.len() - self.durable) as u64;
        self.log.truncate(self.durable + rng.below(volatile + 1) as usize);
        self.replay(now_ms, samples);
    }

    /// The process starts: memory is made from the log, all of which is durable then.
    pub fn replay(&mut self, now_ms: i64, samples: &Samples) {
        self.memory = Memory::default();
        self.durable = self.log.len();
        self.began_empty = self.log.is_empty();
        for record in &self.log {
            self.memory.apply(record, samples);
        }
        self.memory.windows.values_mut().for_each(|window| window.newest_append_ms = now_ms);
    }

    /// What is in memory.
    pub fn held(&self) -> &SampleSet {
        &self.memory.held
    }

    /// What a crash would leave at the least.
    pub fn durable_samples(&self, samples: &Samples) -> SampleSet {
        if self.durable == self.log.len() {
            return self.memory.held.clone();
        }
        let mut memory = Memory::default();
        self.log[..self.durable].iter().for_each(|record| memory.apply(record, samples));
        memory.held
    }

    /// Cuts the unflushed samples of some shards of a window.
    pub fn cut(&mut self, start: i64, shards: &ShardSet, at_ms: i64, samples: &Samples) -> Cut {
        let number = self.end_epoch(start, at_ms, samples);
        let ids = self.unflushed(start, shards, samples);
        Cut { window: start, number, shards: shards.clone(), ids }
    }

    /// The samples of some shards of a window that no flushed cut holds, ascending.
    pub fn unflushed(&self, start: i64, shards: &ShardSet, samples: &Samples) -> Vec<SampleId> {
        let Some(window) = self.memory.windows.get(&start) else { return Vec::new() };
        let wanted = |(id, epoch): &(&SampleId, &u32)| {
            let shard = samples.get(**id).shard;
            shards.contains(shard) && **epoch >= window.flushed(shard)
        };
        window.samples.iter().filter(wanted).map(|(id, _)| *id).collect()
    }

    /// Ends the epoch of a window; returns the number that all samples up to now are below.
    pub fn end_epoch(&mut self, start: i64, at_ms: i64, samples: &Samples) -> u32 {
        let number = self.memory.window(start, at_ms).cuts + 1;
        self.push(Record::Cut { window: start, number, at_ms }, samples);
        number
    }

    /// Digests the samples of some shards of a window. The epoch ends here, unless nothing came since the last cut.
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

    /// Whether a sample is in memory and flushed.
    pub fn is_flushed(&self, id: SampleId, samples: &Samples) -> bool {
        let sample = samples.get(id);
        let window = self.memory.windows.get(&sample.window());
        window.is_some_and(|w| w.samples.get(&id).is_some_and(|epoch| *epoch < w.flushed(sample.shard)))
    }

    /// Marks what is below a number as flushed.
    pub fn mark_flushed(&mut self, window: i64, number: u32, shards: ShardSet, samples: &Samples) -> usize {
        self.push(Record::Flushed { window, number, shards }, samples)
    }

    /// Frees what is flushed of some shards; returns what that was.
    pub fn drop_flushed(&mut self, window: i64, shards: ShardSet, samples: &Samples) -> Vec<SampleId> {
        let goes = |id: &SampleId| shards.contains(samples.get(*id).shard) && self.is_flushed(*id, samples);
        let of_window = self.memory.windows.get(&window);
        let gone = of_window.into_iter().flat_map(|w| w.samples.keys().copied()).filter(goes).collect();
        self.push(Record::Dropped { window, shards }, samples);
        gone
    }

    /// Frees all of some shards.
    pub fn forget(&mut self, shards: ShardSet, samples: &Samples) -> usize {
        self.push(Record::Forgotten { shards }, samples)
    }

    /// The shards with samples in memory.
    pub fn shards(&self, samples: &Samples) -> ShardSet {
        self.memory.held.iter().map(|id| samples.get(id).shard).collect()
    }

    /// What the deciding code gets to see of a window.
    pub fn window(&self, start: i64, samples: &Samples) -> Option<WindowInfo> {
        self.memory.windows.get(&start).map(|window| info(start, window, samples))
    }

    /// Whether the log was empty when the process started.
    pub fn began_empty(&self) -> bool {
        self.began_empty
    }

    /// What the deciding code gets to see of the windows.
    pub fn windows(&self, samples: &Samples) -> Vec<WindowInfo> {
        self.memory.windows.iter().map(|(start, window)| info(*start, window, samples)).collect()
    }
}

fn info(start: i64, window: &Window, samples: &Samples) -> WindowInfo {
    let none =
        |shard| ShardWindow { shard, unflushed_samples: 0, flushed_samples: 0, flushed_cut: window.flushed(shard) };
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
