//! The head against a map, under random appends, copies, retractions, cuts, marks, evictions, deletions, forgotten shards,
//! restarts and changes of the width of windows.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use pharos_head::{Head, HeadConfig, HeldDigest, ShardWindow, WindowInfo};
use pharos_model::Clock as _;
use pharos_model::clock::ManualClock;
use pharos_model::hash::shard_of;
use pharos_model::{Labels, Matcher, ShardSet, TimeRange, series_hash};
use proptest::prelude::*;

use crate::cuts::contents;
use crate::support::*;

const W: i64 = 2 * HOUR;
const SHARDS: u32 = 4;
const SERIES: u32 = 8;

#[derive(Clone, Debug)]
enum Op {
    Append(Vec<(u32, i64, u8)>),
    /// Appends samples for which another head has decided.
    Copy(Vec<(u32, i64, u8)>),
    /// Takes back samples of some shards.
    Retract(Vec<(u32, i64, u8)>, ShardSet),
    /// Removes what differs from what another head has flushed.
    Yield(Vec<(u32, i64, u8)>),
    Cut(i64, ShardSet),
    Mark(i64, ShardSet),
    /// Digests, and with `true` marks what was digested.
    Digest(i64, ShardSet, bool),
    Evict(i64, ShardSet),
    Delete(u32, i64, i64),
    Forget(ShardSet),
    Export(ShardSet, usize),
    /// Restarts, perhaps with windows of another width.
    Restart(i64),
}

fn ops() -> impl Strategy<Value = Op> {
    let time = || -10i64..60;
    let shards = || (0u64..1 << SHARDS).prop_map(|bits| (0..SHARDS).filter(|s| bits >> s & 1 == 1).collect());
    let some = move || prop_oneof![Just(ShardSet::all(SHARDS)), shards()];
    let samples = move || proptest::collection::vec((0u32..SERIES, time(), 0u8..3), 1..40);
    prop_oneof![
        8 => samples().prop_map(Op::Append),
        3 => samples().prop_map(Op::Copy),
        3 => (samples(), some()).prop_map(|(samples, shards)| Op::Retract(samples, shards)),
        1 => samples().prop_map(Op::Yield),
        2 => (time(), some()).prop_map(|(t, shards)| Op::Cut(t, shards)),
        2 => (time(), some()).prop_map(|(t, shards)| Op::Mark(t, shards)),
        2 => (time(), some(), any::<bool>()).prop_map(|(t, shards, mark)| Op::Digest(t, shards, mark)),
        2 => (time(), some()).prop_map(|(t, shards)| Op::Evict(t, shards)),
        1 => (0u32..SERIES, time(), time()).prop_map(|(series, a, b)| Op::Delete(series, a.min(b), a.max(b))),
        1 => shards().prop_map(Op::Forget),
        1 => (some(), 1usize..2000).prop_map(|(shards, bytes)| Op::Export(shards, bytes)),
        2 => prop_oneof![3 => Just(W), 1 => Just(HOUR), 1 => Just(3 * HOUR)].prop_map(Op::Restart),
    ]
}

/// Model time is in steps of ten minutes.
const STEP: i64 = 600_000;

fn in_time(samples: &[(u32, i64, u8)]) -> Vec<(u32, i64, f64)> {
    samples.iter().map(|&(series, t, v)| (series, t * STEP, f64::from(v))).collect()
}

fn hash_of(series: u32) -> u64 {
    series_hash(&tenant(), labels(series).as_bytes())
}

fn shard(series: u32) -> u32 {
    shard_of(hash_of(series), SHARDS)
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Held {
    bits: u64,
    /// How many cuts of any window there had been when the sample was appended.
    generation: usize,
}

struct Model {
    /// From when on windows have which width, ascending.
    widths: Vec<(i64, i64)>,
    /// Keyed by series and timestamp.
    samples: BTreeMap<(u32, i64), Held>,
    /// The cuts so far: window, and number in the head.
    cuts: Vec<(i64, u32)>,
    /// By window and shard, how many cuts there had been up to the newest flushed one.
    flushed: BTreeMap<(i64, u32), usize>,
    newest: Option<i64>,
}

impl Model {
    fn new() -> Self {
        Model {
            widths: vec![(i64::MIN, W)],
            samples: BTreeMap::new(),
            cuts: Vec::new(),
            flushed: BTreeMap::new(),
            newest: None,
        }
    }

    /// The start of the window that contains `t`.
    fn start(&self, t: i64) -> i64 {
        let (_, width) = self.widths.iter().rfind(|(from, _)| *from <= t).unwrap();
        t - t.rem_euclid(*width)
    }

    /// Makes windows this wide behind those that exist, the last of which ends at `end`.
    fn set_width(&mut self, width: i64, end: i64) {
        if self.widths.last().unwrap().1 == width {
            return;
        }
        while self.widths.len() > 1 && self.widths.last().unwrap().0 >= end {
            self.widths.pop();
        }
        let before = self.widths.last().unwrap().1;
        if before != width {
            let is_boundary = |t: &i64| *t >= end && t % before == 0 && t % width == 0;
            let from = (end / HOUR..).map(|hour| hour * HOUR).find(is_boundary).unwrap();
            self.widths.push((from, width));
        }
    }

    fn append(&mut self, samples: &[(u32, i64, f64)], now: i64) -> u64 {
        let newest = self.newest.map(|t| t.min(now)).filter(|t| *t >= now - W);
        let oldest = newest.map_or(i64::MIN, |t| t - W);
        let mut taken = 0;
        for &(series, t, v) in samples {
            match self.samples.get(&(series, t)) {
                Some(had) => taken += u64::from(had.bits == v.to_bits()),
                None if t < oldest => {}
                None => {
                    self.samples.insert((series, t), Held { bits: v.to_bits(), generation: self.cuts.len() });
                    self.newest = self.newest.max(Some(t));
                    taken += 1;
                }
            }
        }
        taken
    }

    /// Returns how many samples took the place of another value.
    fn copy(&mut self, samples: &[(u32, i64, f64)]) -> u64 {
        let mut replaced = 0;
        for &(series, t, v) in samples {
            let held = Held { bits: v.to_bits(), generation: self.cuts.len() };
            match self.samples.get(&(series, t)).map(|had| had.bits == held.bits) {
                Some(true) => continue,
                Some(false) => replaced += 1,
                None => self.newest = self.newest.max(Some(t)),
            }
            self.samples.insert((series, t), held);
        }
        replaced
    }

    /// Removes samples that are held like this, or with another value; returns how many there were.
    fn remove(&mut self, samples: &[(u32, i64, f64)], shards: &ShardSet, is_same: bool) -> u64 {
        let mut retracted = 0;
        for &(series, t, v) in samples.iter().filter(|(series, ..)| shards.contains(shard(*series))) {
            let held = self.samples.get(&(series, t)).filter(|held| (held.bits == v.to_bits()) == is_same);
            if held.is_some_and(|held| !self.is_flushed(series, t, held)) {
                self.samples.remove(&(series, t));
                retracted += 1;
            }
        }
        retracted
    }

    fn is_flushed(&self, series: u32, t: i64, held: &Held) -> bool {
        self.flushed.get(&(self.start(t), shard(series))).is_some_and(|flushed| held.generation < *flushed)
    }

    fn read(&self, keep: impl Fn(u32, i64, &Held) -> bool) -> Samples {
        let kept = self.samples.iter().filter(|((series, t), held)| keep(*series, *t, held));
        kept.map(|((series, t), held)| ((labels(*series), *t), held.bits)).collect()
    }

    fn unflushed(&self, shards: &ShardSet) -> Samples {
        self.read(|series, t, held| shards.contains(shard(series)) && !self.is_flushed(series, t, held))
    }

    /// Records a cut that the head made, with its number there.
    fn cut(&mut self, window: i64, number: u32) {
        let newest = self.cuts.iter().filter(|(of, _)| *of == window).map(|(_, number)| *number).max();
        assert!(newest < Some(number), "no number is used twice, though the window was forgotten meanwhile");
        self.cuts.push((window, number));
    }

    fn mark(&mut self, window: i64, shards: &ShardSet) -> Option<u32> {
        let at = self.cuts.iter().rposition(|(of, _)| *of == window)?;
        for shard in shards.iter() {
            self.flushed.insert((window, shard), at + 1);
        }
        Some(self.cuts[at].1)
    }
}

struct Run {
    fs: MemFs,
    clock: Arc<ManualClock>,
    head: Option<Head>,
    model: Model,
}

impl Run {
    fn open(&mut self, window_ms: i64) {
        let config = HeadConfig { shards: SHARDS, window_ms, ..config() };
        let had_no_log = self.fs.files().is_empty();
        let registry = prometheus::Registry::new();
        let opened = Head::open(config, self.clock.clone(), Arc::new(self.fs.clone()), &registry, &mut |_| {});
        if had_no_log {
            self.model.widths = vec![(i64::MIN, window_ms)];
        }
        let ends = opened.as_ref().unwrap().windows(&tenant()).into_iter().map(|w| w.end);
        self.model.set_width(window_ms, ends.fold(self.clock.now_ms(), i64::max));
        self.head = Some(opened.unwrap());
    }

    fn head(&self) -> &Head {
        self.head.as_ref().unwrap()
    }

    fn step(&mut self, op: Op) {
        self.clock.advance(std::time::Duration::from_secs(1));
        match op {
            Op::Copy(samples) => {
                let samples = in_time(&samples);
                let copied = self.head().append_copy(&tenant(), &batch(&samples), 0).unwrap();
                copied.commit.wait().unwrap();
                assert_eq!(copied.counted.samples, samples.len() as u64);
                assert_eq!(copied.replaced, self.model.copy(&samples));
            }
            Op::Retract(samples, shards) => {
                let samples = in_time(&samples);
                let (retracted, commit) = self.head().retract(&tenant(), &batch(&samples), &shards, None).unwrap();
                commit.wait().unwrap();
                assert_eq!(retracted, self.model.remove(&samples, &shards, true));
            }
            Op::Yield(samples) => {
                let samples = in_time(&samples);
                let (removed, commit) = self.head().yield_to(&tenant(), &batch(&samples), 0).unwrap();
                commit.wait().unwrap();
                assert_eq!(removed, self.model.remove(&samples, &ShardSet::all(SHARDS), false));
            }
            Op::Append(samples) => {
                let samples = in_time(&samples);
                assert_eq!(append(self.head(), &samples).samples, self.model.append(&samples, self.clock.now_ms()));
            }
            Op::Cut(t, shards) => self.cut(self.model.start(t * STEP), &shards),
            Op::Mark(t, shards) => {
                let start = self.model.start(t * STEP);
                if let Some(number) = self.model.mark(start, &shards) {
                    self.head().mark_flushed_cut(&tenant(), start, number, &shards).wait().unwrap();
                }
            }
            Op::Digest(t, shards, mark) => self.digest(self.model.start(t * STEP), &shards, mark),
            Op::Evict(t, shards) => {
                let start = self.model.start(t * STEP);
                self.head().evict_flushed(&tenant(), start, &shards).unwrap();
                let mut samples = std::mem::take(&mut self.model.samples);
                samples.retain(|(series, t), held| {
                    let is_asked = self.model.start(*t) == start && shards.contains(shard(*series));
                    !is_asked || !self.model.is_flushed(*series, *t, held)
                });
                self.model.samples = samples;
            }
            Op::Delete(series, from, to) => {
                let matchers = [Matcher::equal("instance", series.to_string())];
                let range = TimeRange::new(from * STEP, to * STEP);
                self.head().delete(&tenant(), &matchers, range, 0).unwrap().wait().unwrap();
                self.model.samples.retain(|(s, t), _| *s != series || !range.contains(*t));
            }
            Op::Forget(shards) => {
                let of_tenant = [None, Some(tenant())];
                self.head().forget_shards(of_tenant[shards.len() % 2].as_ref(), &shards).unwrap().wait().unwrap();
                self.model.samples.retain(|(series, _), _| !shards.contains(shard(*series)));
            }
            Op::Export(shards, bytes) => {
                assert_eq!(exported(self.head(), &shards, bytes), self.model.unflushed(&shards))
            }
            Op::Restart(width) => {
                self.head().commit().wait().unwrap();
                self.head = None;
                self.fs.crash(false);
                self.open(width);
            }
        }
    }

    fn cut(&mut self, start: i64, shards: &ShardSet) {
        let cut = self.head().cut(&tenant(), start, shards);
        assert_eq!(contents(&cut), self.of_window(self.model.unflushed(shards), start));
        self.model.cut(start, cut.number());
    }

    fn digest(&mut self, start: i64, shards: &ShardSet, mark: bool) {
        let cuts = |head: &Head| head.windows(&tenant()).iter().find(|w| w.start == start).map_or(0, |w| w.newest_cut);
        let before = cuts(self.head());
        let digest = self.head().digest(&tenant(), start, shards);
        let mut expected: BTreeMap<u32, HeldDigest> = BTreeMap::new();
        for ((series, t), held) in &self.model.samples {
            if self.model.start(*t) == start && shards.contains(shard(*series)) {
                let of_shard = expected.entry(shard(*series)).or_default();
                of_shard.all.add(hash_of(*series), *t, held.bits);
                if !self.model.is_flushed(*series, *t, held) {
                    of_shard.unflushed.add(hash_of(*series), *t, held.bits);
                }
            }
        }
        assert_eq!(digest.shards, expected);
        assert_eq!(self.head().digest(&tenant(), start, shards), digest, "a repeated digest reuses the number");
        assert_eq!(cuts(self.head()), digest.number.max(before));
        if digest.number > before {
            self.model.cut(start, digest.number);
        }
        if mark {
            self.head().mark_flushed_cut(&tenant(), start, digest.number, shards).wait().unwrap();
            self.model.mark(start, shards);
        }
    }

    fn of_window(&self, samples: Samples, start: i64) -> Samples {
        samples.into_iter().filter(|((_, t), _)| self.model.start(*t) == start).collect()
    }

    fn check(&self) {
        let head = self.head();
        let model = &self.model;
        assert_eq!(read_all(head), model.read(|_, _, _| true));
        assert_eq!(read(head, TimeRange::new(W, 2 * W), None), model.read(|_, t, _| (W..=2 * W).contains(&t)));
        let some = ShardSet::from_iter([1, 3]);
        let expected = model.read(|series, _, _| some.contains(shard(series)));
        assert_eq!(read(head, TimeRange::ALL, Some(&some)), expected);
        let series: BTreeSet<&Labels> = expected.keys().map(|(labels, _)| labels).collect();
        let found = head.series(&tenant(), &[], TimeRange::ALL, Some(&some));
        assert_eq!(found.iter().collect::<Vec<_>>(), series.into_iter().collect::<Vec<_>>());
        head.windows(&tenant()).iter().for_each(|window| self.check_window(window));
    }

    fn check_window(&self, window: &WindowInfo) {
        let of_window = |t: i64| self.model.start(t) == window.start;
        let mut unflushed: BTreeMap<u32, u64> = BTreeMap::new();
        let mut flushed: BTreeMap<u32, u64> = BTreeMap::new();
        for ((series, t), held) in self.model.samples.iter().filter(|((_, t), _)| of_window(*t)) {
            let counts = if self.model.is_flushed(*series, *t, held) { &mut flushed } else { &mut unflushed };
            *counts.entry(shard(*series)).or_default() += 1;
        }
        let counted = |count: fn(&ShardWindow) -> u64| -> BTreeMap<u32, u64> {
            window.shards.iter().map(|s| (s.shard, count(s))).filter(|(_, count)| *count > 0).collect()
        };
        assert_eq!(counted(|s| s.unflushed_samples), unflushed);
        assert_eq!(counted(|s| s.flushed_samples), flushed);
        assert_eq!(window.unflushed_samples, unflushed.values().sum::<u64>());
        assert_eq!(window.flushed_samples, flushed.values().sum::<u64>());
    }
}

/// The samples of an export that is interrupted every other batch and resumed from its position.
fn exported(head: &Head, shards: &ShardSet, bytes: usize) -> Samples {
    let mut found = Samples::new();
    let mut after = None;
    loop {
        let mut export = head.export(&tenant(), shards, after, bytes);
        let batches: Vec<_> = export.by_ref().take(2).collect();
        for batch in &batches {
            for series in batch.series() {
                let samples = batch.samples_of(series).iter();
                found.extend(samples.map(|s| ((batch.display_labels(series), s.t), s.v.to_bits())));
            }
        }
        if batches.len() < 2 {
            return found;
        }
        if export.position() == after {
            // No series was complete after two batches, so this export is taken to its end.
            let rest = export.collect::<Vec<_>>();
            let series = rest.iter().flat_map(|batch| batch.series().iter().map(move |series| (batch, series)));
            for (batch, series) in series {
                let samples = batch.samples_of(series).iter();
                found.extend(samples.map(|s| ((batch.display_labels(series), s.t), s.v.to_bits())));
            }
            return found;
        }
        after = export.position();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]
    #[test]
    fn the_head_equals_a_map(ops in proptest::collection::vec(ops(), 1..40)) {
        let clock = Arc::new(ManualClock::at(30 * STEP));
        let mut run = Run { fs: MemFs::default(), clock, head: None, model: Model::new() };
        run.open(W);
        for op in ops {
            run.step(op);
            run.check();
        }
    }
}
