//! The newest exemplars of a tenant, in a bounded ring.

use std::collections::{HashMap, VecDeque};
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

#[derive(Debug)]
pub(crate) struct ExemplarRing {
    entries: VecDeque<Entry>,
    /// Keyed by series number.
    series: HashMap<u32, SeriesEntries>,
    capacity: usize,
}

/// What the ring knows of a series that has entries.
#[derive(Debug)]
struct SeriesEntries {
    count: usize,
    newest: Exemplar,
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
        ExemplarRing { entries: VecDeque::new(), series: HashMap::new(), capacity }
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
        if let Some(SeriesEntries { newest, .. }) = self.series.get(&series.id) {
            if newest.t == exemplar.t
                && newest.value.to_bits() == exemplar.value.to_bits()
                && newest.labels == exemplar.labels
            {
                return ExemplarInsert::Ignored;
            }
            if exemplar.t < newest.t {
                return ExemplarInsert::Rejected("out of order");
            }
        }
        if self.capacity == 0 {
            return ExemplarInsert::Ignored;
        }
        if self.entries.len() >= self.capacity {
            self.remove_oldest();
        }
        let entries =
            self.series.entry(series.id).or_insert_with(|| SeriesEntries { count: 0, newest: exemplar.clone() });
        entries.count += 1;
        entries.newest = exemplar.clone();
        self.entries.push_back(Entry { series: series.clone(), exemplar: exemplar.clone(), generation });
        ExemplarInsert::Added
    }

    /// Removes the exemplars of the series that `removed` selects.
    pub(crate) fn remove_series(&mut self, removed: impl Fn(&Series) -> bool) {
        let series = &mut self.series;
        self.entries.retain(|e| {
            let is_removed = removed(&e.series);
            if is_removed {
                series.remove(&e.series.id);
            }
            !is_removed
        });
    }

    /// Removes the exemplars in a range of the series that `removed` selects.
    pub(crate) fn remove(&mut self, range: TimeRange, removed: impl Fn(&Series) -> bool) {
        let count = self.entries.len();
        self.entries.retain(|e| !(range.contains(e.exemplar.t) && removed(&e.series)));
        if self.entries.len() == count {
            return;
        }
        self.series.clear();
        for Entry { series, exemplar, .. } in &self.entries {
            let known =
                self.series.entry(series.id).or_insert_with(|| SeriesEntries { count: 0, newest: exemplar.clone() });
            known.count += 1;
            known.newest = exemplar.clone();
        }
    }

    fn remove_oldest(&mut self) {
        let Some(oldest) = self.entries.pop_front() else { return };
        if let Some(entries) = self.series.get_mut(&oldest.series.id) {
            entries.count -= 1;
            if entries.count == 0 {
                self.series.remove(&oldest.series.id);
            }
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
        all.sort_by(|a, b| a.labels.cmp(&b.labels));
        all
    }
}

#[cfg(test)]
mod tests;
