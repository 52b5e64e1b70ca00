//! The head against a map, under random appends, cuts, marks, drops, deletions and restarts.

use std::collections::BTreeMap;

use pharos_head::{Head, HeadFilter};
use pharos_model::time::window_start;
use pharos_model::{Matcher, TimeRange};
use proptest::prelude::*;

use crate::support::*;

const W: i64 = 2 * HOUR;

#[derive(Clone, Debug)]
enum Op {
    Append(Vec<(u32, i64, u8)>),
    Cut(i64),
    Mark(i64),
    Drop(i64),
    Delete(u32, i64, i64),
    Restart,
}

fn ops() -> impl Strategy<Value = Op> {
    let time = -10i64..60;
    let samples = proptest::collection::vec((0u32..6, time.clone(), 0u8..3), 1..40);
    prop_oneof![
        8 => samples.prop_map(Op::Append),
        2 => time.clone().prop_map(Op::Cut),
        2 => time.clone().prop_map(Op::Mark),
        2 => time.clone().prop_map(Op::Drop),
        1 => (0u32..6, time.clone(), time).prop_map(|(series, a, b)| Op::Delete(series, a.min(b), a.max(b))),
        1 => Just(Op::Restart),
    ]
}

/// Model time is in steps of ten minutes.
const STEP: i64 = 600_000;

#[derive(Default)]
struct Model {
    /// Value and epoch by series and time.
    samples: BTreeMap<(u32, i64), (u64, u32)>,
    cuts: BTreeMap<i64, u32>,
    flushed: BTreeMap<i64, u32>,
    newest: Option<i64>,
}

impl Model {
    fn epoch(&self, t: i64) -> u32 {
        self.cuts.get(&window_start(t, W)).copied().unwrap_or(0)
    }

    fn append(&mut self, samples: &[(u32, i64, f64)]) -> u64 {
        let oldest = self.newest.map_or(i64::MIN, |t| t - W);
        let mut taken = 0;
        for &(series, t, v) in samples {
            match self.samples.get(&(series, t)) {
                Some((bits, _)) => taken += u64::from(*bits == v.to_bits()),
                None if t < oldest => {}
                None => {
                    self.samples.insert((series, t), (v.to_bits(), self.epoch(t)));
                    self.newest = self.newest.max(Some(t));
                    taken += 1;
                }
            }
        }
        taken
    }

    fn is_flushed(&self, t: i64, epoch: u32) -> bool {
        self.flushed.get(&window_start(t, W)).is_some_and(|flushed| epoch < *flushed)
    }

    fn read(&self, filter: HeadFilter) -> Samples {
        let served = |t: i64, epoch: u32| t >= filter.from || (filter.late && !self.is_flushed(t, epoch));
        let found = self.samples.iter().filter(|((_, t), (_, epoch))| served(*t, *epoch));
        found.map(|((series, t), (bits, _))| ((labels(*series), *t), *bits)).collect()
    }
}

fn run(ops: Vec<Op>) {
    let fs = MemFs::default();
    let mut head = Some(open(&fs));
    let mut model = Model::default();
    for op in ops {
        step(&fs, &mut head, &mut model, op);
        let head = head.as_ref().unwrap();
        assert_eq!(read_all(head), model.read(HeadFilter::ALL));
        let late = HeadFilter { from: W, late: true };
        assert_eq!(read(head, TimeRange::ALL, late), model.read(late));
        for window in head.windows(&tenant()) {
            let of_window = |t: &i64| window_start(*t, W) == window.start;
            let all: Vec<_> = model.samples.iter().filter(|((_, t), _)| of_window(t)).collect();
            let flushed = all.iter().filter(|((_, t), (_, epoch))| model.is_flushed(*t, *epoch)).count() as u64;
            assert_eq!((window.unflushed_samples, window.flushed_samples), (all.len() as u64 - flushed, flushed));
        }
    }
}

fn step(fs: &MemFs, slot: &mut Option<Head>, model: &mut Model, op: Op) {
    let head = slot.as_ref().unwrap();
    match op {
        Op::Append(samples) => {
            let samples: Vec<_> = samples.iter().map(|&(s, t, v)| (s, t * STEP, f64::from(v))).collect();
            assert_eq!(append(head, &samples).samples, model.append(&samples));
        }
        Op::Cut(t) => {
            let start = window_start(t * STEP, W);
            let cut = head.cut(&tenant(), start);
            *model.cuts.entry(start).or_default() += 1;
            assert_eq!(cut.number(), model.cuts[&start]);
            let mut found = Samples::new();
            let collected: Result<(), ()> = cut.for_each(|s| {
                found.extend(s.samples.t.iter().zip(s.samples.v).map(|(t, v)| ((s.labels.clone(), *t), v.to_bits())));
                Ok(())
            });
            collected.unwrap();
            let expected = model.read(HeadFilter { from: i64::MAX, late: true });
            assert_eq!(found, expected.into_iter().filter(|((_, t), _)| window_start(*t, W) == start).collect());
        }
        Op::Mark(t) => {
            let start = window_start(t * STEP, W);
            if let Some(&cut) = model.cuts.get(&start) {
                head.mark_flushed_cut(&tenant(), start, cut).wait().unwrap();
                model.flushed.insert(start, cut);
            }
        }
        Op::Drop(t) => {
            let start = window_start(t * STEP, W);
            head.drop_flushed(&tenant(), start).unwrap();
            let flushed = model.flushed.get(&start).copied().unwrap_or(0);
            model.samples.retain(|(_, t), (_, epoch)| window_start(*t, W) != start || *epoch >= flushed);
            // What the head forgets about windows that are gone must not be used again.
            let known: Vec<i64> = head.windows(&tenant()).iter().map(|w| w.start).collect();
            model.cuts.retain(|start, _| known.contains(start));
            model.flushed.retain(|start, _| known.contains(start));
        }
        Op::Delete(series, from, to) => {
            let matchers = [Matcher::equal("instance", series.to_string())];
            let range = TimeRange::new(from * STEP, to * STEP);
            head.delete(&tenant(), &matchers, range).unwrap().wait().unwrap();
            model.samples.retain(|(s, t), _| *s != series || !range.contains(*t));
        }
        Op::Restart => {
            head.commit().wait().unwrap();
            *slot = None;
            fs.crash(false);
            *slot = Some(open(fs));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]
    #[test]
    fn the_head_equals_a_map(ops in proptest::collection::vec(ops(), 1..40)) {
        run(ops);
    }
}
