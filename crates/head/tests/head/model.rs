//! The head against a map, under random appends, cuts, marks, drops, deletions, forgotten shards and restarts.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use pharos_head::{Head, HeadConfig, HeadFilter, WindowCut};
use pharos_model::Clock as _;
use pharos_model::clock::ManualClock;
use pharos_model::hash::shard_of;
use pharos_model::time::window_start;
use pharos_model::{Labels, Matcher, ShardDigest, ShardSet, TimeRange, series_hash};
use proptest::prelude::*;

use crate::support::*;

const W: i64 = 2 * HOUR;
const SHARDS: u32 = 4;
const SERIES: u32 = 8;

#[derive(Clone, Debug)]
enum Op {
    Append(Vec<(u32, i64, u8)>),
    Cut(i64, ShardSet),
    Mark(i64, ShardSet),
    /// Digests, and marks what was digested.
    Digest(i64, ShardSet, bool),
    Drop(i64, ShardSet),
    Delete(u32, i64, i64),
    Forget(ShardSet),
    Export(ShardSet, usize),
    Restart,
}

fn ops() -> impl Strategy<Value = Op> {
    let time = || -10i64..60;
    let shards = || (0u64..1 << SHARDS).prop_map(|bits| (0..SHARDS).filter(|s| bits >> s & 1 == 1).collect());
    let some = move || prop_oneof![Just(ShardSet::all(SHARDS)), shards()];
    let samples = proptest::collection::vec((0u32..SERIES, time(), 0u8..3), 1..40);
    prop_oneof![
        8 => samples.prop_map(Op::Append),
        2 => (time(), some()).prop_map(|(t, shards)| Op::Cut(t, shards)),
        2 => (time(), some()).prop_map(|(t, shards)| Op::Mark(t, shards)),
        2 => (time(), some(), any::<bool>()).prop_map(|(t, shards, mark)| Op::Digest(t, shards, mark)),
        2 => (time(), some()).prop_map(|(t, shards)| Op::Drop(t, shards)),
        1 => (0u32..SERIES, time(), time()).prop_map(|(series, a, b)| Op::Delete(series, a.min(b), a.max(b))),
        1 => shards().prop_map(Op::Forget),
        1 => (some(), 1usize..2000).prop_map(|(shards, bytes)| Op::Export(shards, bytes)),
        2 => Just(Op::Restart),
    ]
}

/// Model time is in steps of ten minutes.
const STEP: i64 = 600_000;

fn hash_of(series: u32) -> u64 {
    series_hash(&tenant(), labels(series).as_bytes())
}

fn shard(series: u32) -> u32 {
    shard_of(hash_of(series), SHARDS)
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Held {
    bits: u64,
    /// How many cuts there had been in all when it came.
    epoch: usize,
}

#[derive(Default)]
struct Model {
    /// By series and time.
    samples: BTreeMap<(u32, i64), Held>,
    /// The cuts so far: their windows and numbers in the head.
    cuts: Vec<(i64, u32)>,
    /// How many of all cuts there had been at the newest flushed one, by window and shard.
    flushed: BTreeMap<(i64, u32), usize>,
    newest: Option<i64>,
}

impl Model {
    fn append(&mut self, samples: &[(u32, i64, f64)], now: i64) -> u64 {
        let newest = self.newest.map(|t| t.min(now)).filter(|t| *t >= now - W);
        let oldest = newest.map_or(i64::MIN, |t| t - W);
        let mut taken = 0;
        for &(series, t, v) in samples {
            match self.samples.get(&(series, t)) {
                Some(had) => taken += u64::from(had.bits == v.to_bits()),
                None if t < oldest => {}
                None => {
                    self.samples.insert((series, t), Held { bits: v.to_bits(), epoch: self.cuts.len() });
                    self.newest = self.newest.max(Some(t));
                    taken += 1;
                }
            }
        }
        taken
    }

    fn is_flushed(&self, series: u32, t: i64, held: &Held) -> bool {
        self.flushed.get(&(window_start(t, W), shard(series))).is_some_and(|flushed| held.epoch < *flushed)
    }

    fn served<'a>(&'a self, filter: &'a HeadFilter) -> impl Iterator<Item = (u32, i64, u64)> + 'a {
        let asked = |series: u32| filter.shards.as_ref().is_none_or(|shards| shards.contains(shard(series)));
        let served = move |series: u32, t: i64, held: &Held| {
            asked(series) && (t >= filter.from || (filter.late && !self.is_flushed(series, t, held)))
        };
        let found = self.samples.iter().filter(move |((series, t), held)| served(*series, *t, held));
        found.map(|((series, t), held)| (*series, *t, held.bits))
    }

    fn read(&self, filter: &HeadFilter) -> Samples {
        self.served(filter).map(|(series, t, bits)| ((labels(series), t), bits)).collect()
    }

    fn unflushed(&self, shards: &ShardSet) -> Samples {
        self.read(&HeadFilter { from: i64::MAX, shards: Some(Arc::new(shards.clone())), ..HeadFilter::ALL })
    }

    /// A cut was made that the head gave a number.
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
    fn open(&mut self) {
        let config = HeadConfig { shards: SHARDS, ..config() };
        let registry = prometheus::Registry::new();
        let opened = Head::open(config, self.clock.clone(), Arc::new(self.fs.clone()), &registry, &mut |_| {});
        self.head = Some(opened.unwrap());
    }

    fn head(&self) -> &Head {
        self.head.as_ref().unwrap()
    }

    fn step(&mut self, op: Op) {
        self.clock.advance(std::time::Duration::from_secs(1));
        match op {
            Op::Append(samples) => {
                let samples: Vec<_> = samples.iter().map(|&(s, t, v)| (s, t * STEP, f64::from(v))).collect();
                assert_eq!(append(self.head(), &samples).samples, self.model.append(&samples, self.clock.now_ms()));
            }
            Op::Cut(t, shards) => self.cut(window_start(t * STEP, W), &shards),
            Op::Mark(t, shards) => {
                let start = window_start(t * STEP, W);
                if let Some(number) = self.model.mark(start, &shards) {
                    self.head().mark_flushed_cut(&tenant(), start, number, &shards).wait().unwrap();
                }
            }
            Op::Digest(t, shards, mark) => self.digest(window_start(t * STEP, W), &shards, mark),
            Op::Drop(t, shards) => {
                let start = window_start(t * STEP, W);
                self.head().drop_flushed(&tenant(), start, &shards).unwrap();
                let Model { samples, flushed, .. } = &mut self.model;
                samples.retain(|(series, t), held| {
                    let below = flushed.get(&(start, shard(*series))).copied().unwrap_or(0);
                    window_start(*t, W) != start || !shards.contains(shard(*series)) || held.epoch >= below
                });
            }
            Op::Delete(series, from, to) => {
                let matchers = [Matcher::equal("instance", series.to_string())];
                let range = TimeRange::new(from * STEP, to * STEP);
                self.head().delete(&tenant(), &matchers, range).unwrap().wait().unwrap();
                self.model.samples.retain(|(s, t), _| *s != series || !range.contains(*t));
            }
            Op::Forget(shards) => {
                let of = [None, Some(tenant())];
                let of = &of[shards.len() % 2];
                self.head().forget_shards(of.as_ref(), &shards).unwrap().wait().unwrap();
                self.model.samples.retain(|(series, _), _| !shards.contains(shard(*series)));
            }
            Op::Export(shards, bytes) => {
                assert_eq!(exported(self.head(), &shards, bytes), self.model.unflushed(&shards))
            }
            Op::Restart => {
                self.head().commit().wait().unwrap();
                self.head = None;
                self.fs.crash(false);
                self.open();
            }
        }
    }

    fn cut(&mut self, start: i64, shards: &ShardSet) {
        let cut = self.head().cut(&tenant(), start, shards);
        assert_eq!(contents(&cut), of_window(self.model.unflushed(shards), start));
        self.model.cut(start, cut.number());
    }

    fn digest(&mut self, start: i64, shards: &ShardSet, mark: bool) {
        let cuts = |head: &Head| head.windows(&tenant()).iter().find(|w| w.start == start).map_or(0, |w| w.cuts);
        let before = cuts(self.head());
        let digest = self.head().digest(&tenant(), start, shards);
        let mut expected: BTreeMap<u32, (ShardDigest, ShardDigest)> = BTreeMap::new();
        for ((series, t), held) in &self.model.samples {
            if window_start(*t, W) == start && shards.contains(shard(*series)) {
                let (unflushed, all) = expected.entry(shard(*series)).or_default();
                all.add(hash_of(*series), *t, held.bits);
                if !self.model.is_flushed(*series, *t, held) {
                    unflushed.add(hash_of(*series), *t, held.bits);
                }
            }
        }
        let found = digest.shards.iter().map(|(shard, held)| (*shard, (held.unflushed, held.all)));
        assert_eq!(found.collect::<BTreeMap<_, _>>(), expected);
        assert_eq!(self.head().digest(&tenant(), start, shards), digest, "and again, without another number");
        assert_eq!(cuts(self.head()), digest.number.max(before));
        if digest.number > before {
            self.model.cut(start, digest.number);
        }
        if mark {
            self.head().mark_flushed_cut(&tenant(), start, digest.number, shards).wait().unwrap();
            self.model.mark(start, shards);
        }
    }

    fn check(&self) {
        let (head, model) = (self.head(), &self.model);
        assert_eq!(read_all(head), model.read(&HeadFilter::ALL));
        let some = Some(Arc::new(ShardSet::from_iter([1, 3])));
        for filter in [
            HeadFilter { from: W, ..HeadFilter::ALL },
            HeadFilter { from: W, late: false, shards: some.clone() },
            HeadFilter { shards: some, ..HeadFilter::ALL },
        ] {
            let expected = model.read(&filter);
            assert_eq!(read(head, TimeRange::ALL, filter.clone()), expected);
            let series: BTreeSet<&Labels> = expected.keys().map(|(labels, _)| labels).collect();
            let found = head.series(&tenant(), &[], TimeRange::ALL, filter);
            assert_eq!(found.iter().collect::<Vec<_>>(), series.into_iter().collect::<Vec<_>>());
        }
        for window in head.windows(&tenant()) {
            let mut counts: BTreeMap<u32, (u64, u64)> = BTreeMap::new();
            for ((series, t), held) in model.samples.iter().filter(|((_, t), _)| window_start(*t, W) == window.start) {
                let count = counts.entry(shard(*series)).or_default();
                *if model.is_flushed(*series, *t, held) { &mut count.1 } else { &mut count.0 } += 1;
            }
            let found = window.shards.iter().filter(|s| s.unflushed_samples + s.flushed_samples > 0);
            let found = found.map(|s| (s.shard, (s.unflushed_samples, s.flushed_samples)));
            assert_eq!(found.collect::<BTreeMap<_, _>>(), counts);
            assert_eq!(window.unflushed_samples, counts.values().map(|(unflushed, _)| unflushed).sum::<u64>());
        }
    }
}

fn contents(cut: &WindowCut) -> Samples {
    let mut found = Samples::new();
    let collected: Result<(), ()> = cut.for_each(|s| {
        found.extend(s.samples.t.iter().zip(s.samples.v).map(|(t, v)| ((s.labels.clone(), *t), v.to_bits())));
        Ok(())
    });
    collected.unwrap();
    found
}

fn of_window(samples: Samples, start: i64) -> Samples {
    samples.into_iter().filter(|((_, t), _)| window_start(*t, W) == start).collect()
}

/// What an export gives, with breaks after which another one goes on.
fn exported(head: &Head, shards: &ShardSet, bytes: usize) -> Samples {
    let (mut found, mut after) = (Samples::new(), None);
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
            // Not even one series was whole: this one has to be taken to its end.
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
        let (fs, clock, model) = (MemFs::default(), Arc::new(ManualClock::at(30 * STEP)), Model::default());
        let mut run = Run { fs, clock, head: None, model };
        run.open();
        for op in ops {
            run.step(op);
            run.check();
        }
    }
}
