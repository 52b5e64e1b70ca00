//! The samples of one series that blocks do not show. Pure.

use pharos_model::wire::histogram::same_sample;
use pharos_model::{SeriesBatch, SeriesView, TimeRange};

/// What the newest block that shows a timestamp says about our sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// No block so far shows the timestamp.
    Unknown,
    /// A block shows the sample.
    Shown,
    /// A block shows another value.
    Differs,
}

/// The samples of one series, of which those that blocks show are crossed out.
pub(super) struct Remainder {
    floats: Vec<Verdict>,
    histograms: Vec<Verdict>,
}

impl Remainder {
    /// All samples of a series.
    pub(super) fn of(ours: SeriesView<'_>) -> Self {
        Remainder { floats: vec![Verdict::Unknown; ours.t.len()], histograms: vec![Verdict::Unknown; ours.ht.len()] }
    }

    /// Crosses out what a block shows. Blocks come newest first. `hidden` are the times at which the block shows nothing.
    pub(super) fn subtract(&mut self, ours: SeriesView<'_>, theirs: SeriesView<'_>, hidden: &[TimeRange]) {
        let same_float = |i: usize, j: usize| ours.v[i].to_bits() == theirs.v[j].to_bits();
        let same_histogram = |i: usize, j: usize| same_sample(&ours.h[i], &theirs.h[j]);
        decide(&mut self.floats, ours.t, theirs.t, hidden, same_float);
        decide(&mut self.floats, ours.t, theirs.ht, hidden, |_, _| false);
        decide(&mut self.histograms, ours.ht, theirs.ht, hidden, same_histogram);
        decide(&mut self.histograms, ours.ht, theirs.t, hidden, |_, _| false);
    }

    /// Appends a series of the samples that are not crossed out; false if there are none.
    pub(super) fn push_to(&self, ours: SeriesView<'_>, out: &mut SeriesBatch) -> bool {
        self.push_those(ours, out, |verdict| verdict != Verdict::Shown)
    }

    /// Appends a series of the samples of which blocks show another value; false if there are none.
    pub(super) fn push_differing_to(&self, ours: SeriesView<'_>, out: &mut SeriesBatch) -> bool {
        self.push_those(ours, out, |verdict| verdict == Verdict::Differs)
    }

    fn push_those(&self, ours: SeriesView<'_>, out: &mut SeriesBatch, is_wanted: impl Fn(Verdict) -> bool) -> bool {
        let wanted =
            |verdicts: &[Verdict]| -> Vec<usize> { (0..verdicts.len()).filter(|i| is_wanted(verdicts[*i])).collect() };
        let (floats, histograms) = (wanted(&self.floats), wanted(&self.histograms));
        if floats.is_empty() && histograms.is_empty() {
            return false;
        }
        fn pick<T: Clone>(from: &[T], at: &[usize]) -> Vec<T> {
            if from.is_empty() { Vec::new() } else { at.iter().map(|&i| from[i].clone()).collect() }
        }
        out.push(SeriesView {
            t: &pick(ours.t, &floats),
            v: &pick(ours.v, &floats),
            st: &pick(ours.st, &floats),
            ht: &pick(ours.ht, &histograms),
            h: &pick(ours.h, &histograms),
            hst: &pick(ours.hst, &histograms),
        });
        true
    }
}

/// Decides about the timestamps that both sides have and that no newer block has decided. Both sides ascend.
fn decide(
    verdicts: &mut [Verdict],
    ours: &[i64],
    theirs: &[i64],
    hidden: &[TimeRange],
    is_same: impl Fn(usize, usize) -> bool,
) {
    let mut j = 0;
    for (i, t) in ours.iter().enumerate() {
        while theirs.get(j).is_some_and(|other| other < t) {
            j += 1;
        }
        let is_shown = theirs.get(j) == Some(t) && !hidden.iter().any(|range| range.contains(*t));
        if is_shown && verdicts[i] == Verdict::Unknown {
            verdicts[i] = if is_same(i, j) { Verdict::Shown } else { Verdict::Differs };
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use pharos_model::Histogram;
    use proptest::prelude::*;

    use super::*;

    /// A series: floats, then histograms, which are told apart by their sum.
    fn series(floats: &[(i64, f64)], histograms: &[(i64, f64)]) -> SeriesBatch {
        let (t, v): (Vec<i64>, Vec<f64>) = floats.iter().copied().unzip();
        let ht: Vec<i64> = histograms.iter().map(|(t, _)| *t).collect();
        let h: Vec<Arc<Histogram>> =
            histograms.iter().map(|(_, sum)| Arc::new(Histogram { sum: *sum, ..Histogram::default() })).collect();
        let mut batch = SeriesBatch::default();
        batch.push(SeriesView { t: &t, v: &v, st: &[], ht: &ht, h: &h, hst: &[] });
        batch
    }

    fn left(ours: &SeriesBatch, blocks: &[(&SeriesBatch, &[TimeRange])]) -> Vec<(i64, f64)> {
        let mut remainder = Remainder::of(ours.view(0));
        blocks.iter().for_each(|(theirs, hidden)| remainder.subtract(ours.view(0), theirs.view(0), hidden));
        let mut out = SeriesBatch::default();
        if !remainder.push_to(ours.view(0), &mut out) {
            return Vec::new();
        }
        let view = out.view(0);
        let floats = view.t.iter().copied().zip(view.v.iter().copied());
        floats.chain(view.ht.iter().copied().zip(view.h.iter().map(|h| h.sum))).collect()
    }

    #[test]
    fn only_what_no_block_shows_is_left() {
        let ours = series(&[(1, 1.0), (2, 2.0), (3, 3.0)], &[(7, 7.0), (8, 8.0)]);
        let theirs = series(&[(0, 0.0), (2, 2.0), (9, 9.0)], &[(8, 8.0)]);
        assert_eq!(left(&ours, &[]), [(1, 1.0), (2, 2.0), (3, 3.0), (7, 7.0), (8, 8.0)]);
        assert_eq!(left(&ours, &[(&theirs, &[])]), [(1, 1.0), (3, 3.0), (7, 7.0)]);
        assert_eq!(left(&ours, &[(&theirs, &[]), (&ours, &[])]), []);
    }

    #[test]
    fn a_masked_sample_is_not_shown_but_an_older_block_may_show_it() {
        let ours = series(&[(1, 1.0), (2, 2.0)], &[]);
        let mask = [TimeRange::new(2, 5)];
        assert_eq!(left(&ours, &[(&ours, &mask)]), [(2, 2.0)]);
        assert_eq!(left(&ours, &[(&ours, &mask), (&ours, &[])]), []);
    }

    #[test]
    fn the_newest_block_with_a_timestamp_decides() {
        let ours = series(&[(1, 1.0)], &[]);
        let other = series(&[(1, 5.0)], &[]);
        assert_eq!(left(&ours, &[(&other, &[]), (&ours, &[])]), [(1, 1.0)], "queries see the other value");
        assert_eq!(left(&ours, &[(&ours, &[]), (&other, &[])]), []);
        let histogram = series(&[], &[(1, 1.0)]);
        assert_eq!(left(&ours, &[(&histogram, &[]), (&ours, &[])]), [(1, 1.0)]);
        assert_eq!(left(&histogram, &[(&ours, &[])]), [(1, 1.0)]);
    }

    proptest! {
        #[test]
        fn the_remainder_is_what_a_map_of_the_blocks_lacks(
            ours in proptest::collection::btree_map(0i64..12, 0u8..3, 1..8),
            blocks in proptest::collection::vec(
                (proptest::collection::btree_map(0i64..12, 0u8..3, 0..8), proptest::option::of((0i64..12, 0i64..6))), 0..4
            )
        ) {
            let floats = |of: &BTreeMap<i64, u8>| of.iter().map(|(t, v)| (*t, f64::from(*v))).collect::<Vec<_>>();
            let mut shown: BTreeMap<i64, u8> = BTreeMap::new();
            let mut batches = Vec::new();
            for (block, hidden) in &blocks {
                let hidden: Vec<TimeRange> = hidden.iter().map(|(start, len)| TimeRange::new(*start, start + len)).collect();
                for (t, v) in block.iter().filter(|(t, _)| !hidden.iter().any(|range| range.contains(**t))) {
                    shown.entry(*t).or_insert(*v);
                }
                batches.push((series(&floats(block), &[]), hidden));
            }
            let blocks: Vec<(&SeriesBatch, &[TimeRange])> = batches.iter().map(|(b, h)| (b, h.as_slice())).collect();
            let expected: Vec<(i64, f64)> =
                floats(&ours).into_iter().filter(|(t, v)| shown.get(t).map(|v| f64::from(*v)) != Some(*v)).collect();
            prop_assert_eq!(left(&series(&floats(&ours), &[]), &blocks), expected);
        }
    }
}
