//! The exemplars of a tenant that arrived last, in a bounded ring.
//!
//! They are taken in any order of time: what one request, or several senders, observed is not sorted.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use pharos_model::{Exemplar, Labels, TimeRange};

use crate::series::Series;

/// The limit that OpenMetrics sets on the labels of an exemplar, in characters.
const MAX_LABEL_CHARS: usize = 128;

/// The exemplars of one series.
#[derive(Clone, Debug, PartialEq)]
pub struct SeriesExemplars {
    /// The labels of the series.
    pub labels: Labels,
    /// Oldest first.
    pub exemplars: Vec<Exemplar>,
}

#[derive(Debug)]
struct Entry {
    series: Arc<Series>,
    exemplar: Exemplar,
    /// The generation of its window when the exemplar was added.
    generation: u32,
}

/// The exemplars in the order in which they arrived, whatever their timestamps.
#[derive(Debug)]
pub(crate) struct ExemplarRing {
    entries: VecDeque<Entry>,
    /// The keys of `entries`, so that an exemplar that is sent again is not added again.
    keys: HashSet<Key>,
    capacity: usize,
}

/// What distinguishes an exemplar from all others. The value is given by its bits.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Key {
    /// The number of the series.
    series: u32,
    t: i64,
    value: u64,
    labels: Labels,
}

impl Key {
    fn of(series: &Series, exemplar: &Exemplar) -> Self {
        Key { series: series.id, t: exemplar.t, value: exemplar.value.to_bits(), labels: exemplar.labels.clone() }
    }
}

/// The result of adding an exemplar.
#[derive(Debug, PartialEq)]
pub(crate) enum ExemplarInsert {
    Added,
    /// The series holds it already, or the ring has no room for any.
    Ignored,
    Rejected(&'static str),
}

impl ExemplarRing {
    pub(crate) fn new(capacity: usize) -> Self {
        ExemplarRing { entries: VecDeque::new(), keys: HashSet::new(), capacity }
    }

    /// Changes the capacity, removing the oldest exemplars beyond it.
    pub(crate) fn set_capacity(&mut self, capacity: usize) {
        self.capacity = capacity;
        while self.entries.len() > capacity {
            self.remove_oldest();
        }
    }

    pub(crate) fn add(&mut self, series: &Arc<Series>, exemplar: &Exemplar, generation: u32) -> ExemplarInsert {
        let chars: usize = exemplar.labels.iter().map(|(n, v)| n.chars().count() + v.chars().count()).sum();
        if chars > MAX_LABEL_CHARS {
            return ExemplarInsert::Rejected("labels are longer than 128 characters");
        }
        if self.capacity == 0 || !self.keys.insert(Key::of(series, exemplar)) {
            return ExemplarInsert::Ignored;
        }
        if self.entries.len() >= self.capacity {
            self.remove_oldest();
        }
        self.entries.push_back(Entry { series: series.clone(), exemplar: exemplar.clone(), generation });
        ExemplarInsert::Added
    }

    /// Removes the exemplars of the series that `removed` selects.
    pub(crate) fn remove_series(&mut self, removed: impl Fn(&Series) -> bool) {
        self.remove(TimeRange::ALL, removed);
    }

    /// Removes the exemplars in a range of the series that `removed` selects.
    pub(crate) fn remove(&mut self, range: TimeRange, removed: impl Fn(&Series) -> bool) {
        let keys = &mut self.keys;
        self.entries.retain(|e| {
            let is_removed = range.contains(e.exemplar.t) && removed(&e.series);
            if is_removed {
                keys.remove(&Key::of(&e.series, &e.exemplar));
            }
            !is_removed
        });
    }

    fn remove_oldest(&mut self) {
        if let Some(oldest) = self.entries.pop_front() {
            self.keys.remove(&Key::of(&oldest.series, &oldest.exemplar));
        }
    }

    /// The exemplars in a range whose series and generation `wanted` selects, by ascending labels.
    pub(crate) fn select(
        &self,
        range: TimeRange,
        mut wanted: impl FnMut(&Series, u32) -> bool,
    ) -> Vec<SeriesExemplars> {
        let mut by_series: HashMap<u32, SeriesExemplars> = HashMap::new();
        for e in self.entries.iter().filter(|e| range.contains(e.exemplar.t)) {
            if wanted(&e.series, e.generation) {
                let empty = || SeriesExemplars { labels: e.series.labels.clone(), exemplars: Vec::new() };
                by_series.entry(e.series.id).or_insert_with(empty).exemplars.push(e.exemplar.clone());
            }
        }
        let mut all: Vec<_> = by_series.into_values().collect();
        all.iter_mut().for_each(|series| series.exemplars.sort_by_key(|e| e.t));
        all.sort_by(|a, b| a.labels.cmp(&b.labels));
        all
    }
}

#[cfg(test)]
mod tests;
