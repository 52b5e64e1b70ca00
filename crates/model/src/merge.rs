//! The union of several series sets: series by series, and sample by sample where sources share a series.
//!
//! At equal timestamps the later source wins, so sources come in rising order of authority: block sequences ascending,
//! then the head. Sources rarely overlap in time. Where they do not, their samples are concatenated.

use std::ops::Range;
use std::sync::Arc;

use crate::batch::{SeriesBatch, SeriesColumns, SeriesView};
use crate::labels::Labels;
use crate::series_set::{EmptySet, SelectError, SeriesSet};
use crate::time::TimeRange;
use pharos_histogram::Histogram;

/// The series that several sets have together, and where the series of each set are among them.
pub struct Union {
    labels: Vec<Labels>,
    /// For each set, the position in the union of each of its series, ascending.
    positions: Vec<Vec<u32>>,
}

impl Union {
    /// The union of sets, of which each is given by its label sets in ascending order.
    pub fn of(sets: &[&[Labels]]) -> Self {
        let mut all: Vec<(&Labels, usize)> =
            sets.iter().enumerate().flat_map(|(set, labels)| labels.iter().map(move |l| (l, set))).collect();
        // Each set is sorted, so this stable sort is a merge of runs.
        all.sort_by(|a, b| a.0.cmp(b.0));
        let mut labels: Vec<Labels> = Vec::with_capacity(all.len());
        let mut positions: Vec<Vec<u32>> = sets.iter().map(|labels| Vec::with_capacity(labels.len())).collect();
        for (label_set, set) in all {
            if labels.last() != Some(label_set) {
                labels.push(label_set.clone());
            }
            positions[set].push(labels.len() as u32 - 1);
        }
        Union { labels, positions }
    }

    /// The label sets of the union, ascending.
    pub fn labels(&self) -> &[Labels] {
        &self.labels
    }

    /// The positions within a set of those series of the union that it has.
    pub fn of_set(&self, set: usize, series: &Range<usize>) -> Range<usize> {
        let before = |end: usize| self.positions[set].partition_point(|&p| (p as usize) < end);
        before(series.start)..before(series.end)
    }

    /// Begins to append series of the union to a batch.
    pub fn merger<'a>(&'a self, series: Range<usize>, out: &'a mut SeriesBatch) -> Merger<'a> {
        Merger { union: self, parts: vec![Vec::new(); series.len()], series, out }
    }
}

/// Merges what is fetched of several sets into a batch.
pub struct Merger<'a> {
    union: &'a Union,
    series: Range<usize>,
    /// The parts of each series, as columns of `out`'s own memory, in rising order of authority.
    parts: Vec<Vec<SeriesColumns>>,
    out: &'a mut SeriesBatch,
}

impl Merger<'_> {
    /// Adds the series that a set has, which were fetched from [`Union::of_set`]. Sets are added in rising order of authority.
    pub fn add(&mut self, set: usize, fetched: &SeriesBatch) {
        let own = self.union.of_set(set, &self.series);
        let base = self.out.append_columns(fetched);
        for (position, columns) in self.union.positions[set][own].iter().zip(&fetched.series) {
            if !columns.t.is_empty() || !columns.ht.is_empty() {
                self.parts[*position as usize - self.series.start].push(columns.moved(&base));
            }
        }
    }

    /// Appends the merged series.
    pub fn finish(self) {
        for mut columns in self.parts {
            match columns.len() {
                0 => self.out.push(SeriesView::EMPTY),
                1 => self.out.series.extend(columns.pop()),
                _ => self.out.push_merged(&columns),
            }
        }
    }
}

/// A union of series sets.
pub struct MergedSet {
    union: Union,
    sets: Vec<Arc<dyn SeriesSet>>,
}

impl MergedSet {
    /// The union of sets in rising order of authority. A single set is returned as it is.
    pub fn merge(mut sets: Vec<Arc<dyn SeriesSet>>) -> Arc<dyn SeriesSet> {
        sets.retain(|set| !set.labels().is_empty());
        match sets.len() {
            0 => Arc::new(EmptySet),
            1 => sets.swap_remove(0),
            _ => {
                let union = Union::of(&sets.iter().map(|set| set.labels()).collect::<Vec<_>>());
                Arc::new(MergedSet { union, sets })
            }
        }
    }
}

impl SeriesSet for MergedSet {
    fn labels(&self) -> &[Labels] {
        self.union.labels()
    }

    fn fetch(&self, series: Range<usize>, range: TimeRange, out: &mut SeriesBatch) -> Result<(), SelectError> {
        // Remote sources send while others are read.
        self.prefetch(series.clone(), range);
        let mut merger = self.union.merger(series.clone(), out);
        let mut fetched = SeriesBatch::default();
        for (at, set) in self.sets.iter().enumerate() {
            let own = self.union.of_set(at, &series);
            if !own.is_empty() {
                fetched.clear();
                set.fetch(own, range, &mut fetched)?;
                merger.add(at, &fetched);
            }
        }
        merger.finish();
        Ok(())
    }

    fn prefetch(&self, series: Range<usize>, range: TimeRange) {
        for (at, set) in self.sets.iter().enumerate() {
            let own = self.union.of_set(at, &series);
            if !own.is_empty() {
                set.prefetch(own, range);
            }
        }
    }
}

/// The offsets at which the columns of an appended batch begin.
#[derive(Clone, Copy, Default)]
struct Base {
    t: usize,
    v: usize,
    st: usize,
    ht: usize,
    h: usize,
    hst: usize,
}

impl SeriesColumns {
    fn moved(&self, base: &Base) -> SeriesColumns {
        SeriesColumns {
            t: self.t.start + base.t..self.t.end + base.t,
            v: self.v + base.v,
            st: self.st.map(|at| at + base.st),
            ht: self.ht.start + base.ht..self.ht.end + base.ht,
            h: self.h + base.h,
            hst: self.hst.map(|at| at + base.hst),
        }
    }
}

impl SeriesBatch {
    /// Appends the columns of another batch without its series and returns where they begin.
    fn append_columns(&mut self, other: &SeriesBatch) -> Base {
        let base = Base {
            t: self.t.len(),
            v: self.v.len(),
            st: self.st.len(),
            ht: self.ht.len(),
            h: self.h.len(),
            hst: self.hst.len(),
        };
        self.t.extend_from_slice(&other.t);
        self.v.extend_from_slice(&other.v);
        self.st.extend_from_slice(&other.st);
        self.ht.extend_from_slice(&other.ht);
        self.h.extend_from_slice(&other.h);
        self.hst.extend_from_slice(&other.hst);
        base
    }

    /// Appends a series that consists of several parts, in rising order of authority. The columns of the parts are in
    /// this batch already.
    fn push_merged(&mut self, parts: &[SeriesColumns]) {
        let floats: Vec<SeriesColumns> = parts.iter().filter(|p| !p.t.is_empty()).cloned().collect();
        let histograms: Vec<SeriesColumns> = parts.iter().filter(|p| !p.ht.is_empty()).cloned().collect();
        let mut columns = SeriesColumns {
            t: self.t.len()..self.t.len(),
            v: self.v.len(),
            ht: self.ht.len()..self.ht.len(),
            h: self.h.len(),
            ..Default::default()
        };
        if floats.iter().any(|p| p.st.is_some()) {
            columns.st = Some(self.st.len());
        }
        if histograms.iter().any(|p| p.hst.is_some()) {
            columns.hst = Some(self.hst.len());
        }
        let pick = merge_order(&floats.iter().map(|p| &self.t[p.t.clone()]).collect::<Vec<_>>());
        for (part, at) in pick {
            let p = &floats[part];
            self.t.push(self.t[p.t.start + at]);
            self.v.push(self.v[p.v + at]);
            if columns.st.is_some() {
                self.st.push(p.st.map_or(0, |from| self.st[from + at]));
            }
        }
        let pick = merge_order(&histograms.iter().map(|p| &self.ht[p.ht.clone()]).collect::<Vec<_>>());
        for (part, at) in pick {
            let p = &histograms[part];
            let histogram: Arc<Histogram> = self.h[p.h + at].clone();
            self.ht.push(self.ht[p.ht.start + at]);
            self.h.push(histogram);
            if columns.hst.is_some() {
                self.hst.push(p.hst.map_or(0, |from| self.hst[from + at]));
            }
        }
        columns.t.end = self.t.len();
        columns.ht.end = self.ht.len();
        self.series.push(columns);
    }
}

/// Merges ascending lists of timestamps, in rising order of authority, without duplicates. Returns the list and the
/// index within it of each result.
fn merge_order(lists: &[&[i64]]) -> Vec<(usize, usize)> {
    let mut order: Vec<(i64, usize, usize)> = lists
        .iter()
        .enumerate()
        .flat_map(|(part, ts)| ts.iter().enumerate().map(move |(at, &t)| (t, part, at)))
        .collect();
    let concatenated = order.windows(2).all(|pair| pair[0].0 < pair[1].0);
    if !concatenated {
        // The highest authority of each timestamp comes first and survives.
        order.sort_unstable_by_key(|&(t, part, _)| (t, std::cmp::Reverse(part)));
        order.dedup_by_key(|&mut (t, ..)| t);
    }
    order.into_iter().map(|(_, part, at)| (part, at)).collect()
}

#[cfg(test)]
mod tests;
