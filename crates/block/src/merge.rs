//! Merges the series of several sources (blocks, mostly): a k-way merge on labels, then on time. Pure: no I/O.
//!
//! Sources are ranked; where two have a sample of one series at the same timestamp, that of the higher rank wins, float
//! or histogram. For blocks the rank is [`crate::BlockMeta::sequence`]. Within a source nothing is dropped.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::sync::Arc;

use pharos_model::{Histogram, Labels, SeriesView};

/// A series of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Source {
    /// Position of the source among those that are merged.
    pub source: usize,
    /// Position of the series in the source.
    pub series: usize,
}

/// What a source brings: its labels, ascending and distinct, and its rank.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    /// Label sets, ascending.
    pub labels: &'a [Labels],
    /// Higher wins; of equal ranks, the later input.
    pub rank: u64,
}

/// Walks over the union of the series of all inputs in label order; for each, the sources that have it, winner last.
pub struct Plan<'a> {
    inputs: &'a [Input<'a>],
    heap: BinaryHeap<Reverse<Head<'a>>>,
}

#[derive(PartialEq, Eq)]
struct Head<'a> {
    labels: &'a Labels,
    rank: u64,
    at: Source,
}

impl Ord for Head<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        let key = |head: &Self| (head.rank, head.at.source);
        self.labels.cmp(other.labels).then_with(|| key(self).cmp(&key(other)))
    }
}

impl PartialOrd for Head<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<'a> Plan<'a> {
    /// Begins a walk.
    pub fn new(inputs: &'a [Input<'a>]) -> Self {
        let mut plan = Plan { inputs, heap: BinaryHeap::with_capacity(inputs.len()) };
        (0..inputs.len()).for_each(|source| plan.enqueue(Source { source, series: 0 }));
        plan
    }

    fn enqueue(&mut self, at: Source) {
        let input = &self.inputs[at.source];
        if let Some(labels) = input.labels.get(at.series) {
            self.heap.push(Reverse(Head { labels, rank: input.rank, at }));
        }
    }

    /// The next series; `sources` is cleared and gets those that have it, in the order of their ranks.
    pub fn next(&mut self, sources: &mut Vec<Source>) -> Option<&'a Labels> {
        sources.clear();
        let Reverse(first) = self.heap.pop()?;
        sources.push(first.at);
        while let Some(Reverse(head)) = self.heap.peek()
            && head.labels == first.labels
        {
            sources.push(head.at);
            self.heap.pop();
        }
        sources.iter().for_each(|at| self.enqueue(Source { series: at.series + 1, ..*at }));
        Some(first.labels)
    }
}

/// The merged samples of one series. Reusable: each merge keeps the memory.
#[derive(Clone, Debug, Default)]
pub struct Merged {
    t: Vec<i64>,
    v: Vec<f64>,
    st: Vec<i64>,
    ht: Vec<i64>,
    h: Vec<Arc<Histogram>>,
    hst: Vec<i64>,
}

impl Merged {
    /// The samples.
    pub fn view(&self) -> SeriesView<'_> {
        SeriesView { t: &self.t, v: &self.v, st: &self.st, ht: &self.ht, h: &self.h, hst: &self.hst }
    }

    /// Merges the samples of one series from several sources, winner last.
    pub fn merge(&mut self, views: &[SeriesView<'_>]) {
        self.clear();
        let mut ordered: Vec<&SeriesView<'_>> = views.iter().filter(|view| !is_empty(view)).collect();
        ordered.sort_by_key(|view| first(view));
        if ordered.windows(2).all(|pair| last(pair[0]) < first(pair[1])) {
            ordered.into_iter().for_each(|view| self.append_all(view));
        } else {
            self.interleave(views);
        }
        for st in [&mut self.st, &mut self.hst] {
            if st.iter().all(|st| *st == 0) {
                st.clear();
            }
        }
    }

    fn clear(&mut self) {
        self.t.clear();
        self.v.clear();
        self.st.clear();
        self.ht.clear();
        self.h.clear();
        self.hst.clear();
    }

    fn append_all(&mut self, view: &SeriesView<'_>) {
        self.t.extend_from_slice(view.t);
        self.v.extend_from_slice(view.v);
        self.st.extend_from_slice(view.st);
        self.st.resize(self.t.len(), 0);
        self.ht.extend_from_slice(view.ht);
        self.h.extend_from_slice(view.h);
        self.hst.extend_from_slice(view.hst);
        self.hst.resize(self.ht.len(), 0);
    }

    /// Timestamp by timestamp: the last view that has one gives its samples, the others skip theirs.
    fn interleave(&mut self, views: &[SeriesView<'_>]) {
        let mut at = vec![(0usize, 0usize); views.len()];
        loop {
            let heads = views.iter().zip(&at).map(|(view, (f, h))| (view.t.get(*f).copied(), view.ht.get(*h).copied()));
            let Some(t) = heads.flat_map(|(f, h)| f.into_iter().chain(h)).min() else { return };
            let mut winner = None;
            for (number, (view, at)) in views.iter().zip(&mut at).enumerate() {
                let before = *at;
                at.0 += usize::from(view.t.get(at.0) == Some(&t));
                at.1 += usize::from(view.ht.get(at.1) == Some(&t));
                if *at != before {
                    winner = Some((number, before, *at));
                }
            }
            let Some((number, from, to)) = winner else { return };
            let view = &views[number];
            if to.0 > from.0 {
                self.t.push(t);
                self.v.push(view.v[from.0]);
                self.st.push(view.st.get(from.0).copied().unwrap_or(0));
            }
            if to.1 > from.1 {
                self.ht.push(t);
                self.h.push(view.h[from.1].clone());
                self.hst.push(view.hst.get(from.1).copied().unwrap_or(0));
            }
        }
    }
}

fn is_empty(view: &SeriesView<'_>) -> bool {
    view.t.is_empty() && view.ht.is_empty()
}

fn first(view: &SeriesView<'_>) -> Option<i64> {
    view.t.first().into_iter().chain(view.ht.first()).copied().min()
}

fn last(view: &SeriesView<'_>) -> Option<i64> {
    view.t.last().into_iter().chain(view.ht.last()).copied().max()
}

#[cfg(test)]
mod tests;
