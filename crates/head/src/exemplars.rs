//! The newest exemplars of a tenant, in a bounded ring.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use pharos_model::{Exemplar, Labels, TimeRange};

use crate::series::Series;

/// The longest set of exemplar labels that OpenMetrics allows, characters.
const MAX_LABEL_CHARS: usize = 128;

/// The exemplars of one series.
#[derive(Clone, Debug, PartialEq)]
pub struct SeriesExemplars {
    /// The series.
    pub labels: Labels,
    /// Its exemplars, oldest first.
    pub exemplars: Vec<Exemplar>,
}

#[derive(Debug)]
struct Entry {
    series: Arc<Series>,
    exemplar: Exemplar,
    /// How often its window had been cut when it came.
    epoch: u32,
}

/// The ring.
#[derive(Debug)]
pub(crate) struct ExemplarRing {
    entries: VecDeque<Entry>,
    /// Of each series that has entries: how many, and the newest.
    newest: HashMap<u32, (usize, Exemplar)>,
    capacity: usize,
}

/// Whether an exemplar was taken.
#[derive(Debug, PartialEq)]
pub(crate) enum Taken {
    New,
    Same,
    Refused(&'static str),
}

impl ExemplarRing {
    pub(crate) fn new(capacity: usize) -> Self {
        ExemplarRing { entries: VecDeque::new(), newest: HashMap::new(), capacity }
    }

    /// Changes how many are kept; the oldest go when there are more.
    pub(crate) fn set_capacity(&mut self, capacity: usize) {
        self.capacity = capacity;
        while self.entries.len() > capacity {
            self.forget_oldest();
        }
    }

    pub(crate) fn add(&mut self, series: &Arc<Series>, exemplar: &Exemplar, epoch: u32) -> Taken {
        let chars: usize = exemplar.labels.iter().map(|(n, v)| n.chars().count() + v.chars().count()).sum();
        if chars > MAX_LABEL_CHARS {
            return Taken::Refused("labels are longer than 128 characters");
        }
        if let Some((_, newest)) = self.newest.get(&series.id) {
            if newest.t == exemplar.t
                && newest.value.to_bits() == exemplar.value.to_bits()
                && newest.labels == exemplar.labels
            {
                return Taken::Same;
            }
            if exemplar.t < newest.t {
                return Taken::Refused("out of order");
            }
        }
        if self.capacity == 0 {
            return Taken::Same;
        }
        if self.entries.len() >= self.capacity {
            self.forget_oldest();
        }
        let newest = self.newest.entry(series.id).or_insert_with(|| (0, exemplar.clone()));
        (newest.0, newest.1) = (newest.0 + 1, exemplar.clone());
        self.entries.push_back(Entry { series: series.clone(), exemplar: exemplar.clone(), epoch });
        Taken::New
    }

    /// Forgets the exemplars of series for which `gone` holds.
    pub(crate) fn forget(&mut self, gone: impl Fn(&Series) -> bool) {
        let newest = &mut self.newest;
        self.entries.retain(|e| {
            let gone = gone(&e.series);
            if gone {
                newest.remove(&e.series.id);
            }
            !gone
        });
    }

    fn forget_oldest(&mut self) {
        let Some(oldest) = self.entries.pop_front() else { return };
        if let Some(newest) = self.newest.get_mut(&oldest.series.id) {
            newest.0 -= 1;
            if newest.0 == 0 {
                self.newest.remove(&oldest.series.id);
            }
        }
    }

    /// The exemplars for whose series, time and epoch `wanted` holds, by series in ascending order of labels.
    pub(crate) fn select(
        &self,
        range: TimeRange,
        mut wanted: impl FnMut(&Series, u32) -> bool,
    ) -> Vec<SeriesExemplars> {
        let mut by_series: HashMap<u32, SeriesExemplars> = HashMap::new();
        for e in self.entries.iter().filter(|e| range.contains(e.exemplar.t)) {
            if wanted(&e.series, e.epoch) {
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
mod tests {
    use super::*;
    use crate::series::SeriesData;

    #[test]
    fn bounded_ordered_and_without_duplicates() {
        let labels = Labels::from_pairs([("a", "b")]);
        let data = parking_lot::Mutex::new(SeriesData::new());
        let series = Arc::new(Series { id: 1, shard: 0, hash: 0, labels, data });
        let mut ring = ExemplarRing::new(3);
        let at = |t| Exemplar { labels: Labels::from_pairs([("trace_id", "x")]), value: 1.0, t };
        for t in 0..10 {
            assert_eq!(ring.add(&series, &at(t), 0), Taken::New);
        }
        assert_eq!(ring.add(&series, &at(9), 0), Taken::Same);
        assert!(matches!(ring.add(&series, &at(3), 0), Taken::Refused(_)));
        let long = Exemplar { labels: Labels::from_pairs([("trace_id", "x".repeat(200))]), ..at(99) };
        assert!(matches!(ring.add(&series, &long, 0), Taken::Refused(_)));
        let found = ring.select(TimeRange::new(8, 9), |_, _| true);
        assert_eq!(found[0].exemplars, [at(8), at(9)]);
        assert_eq!(ring.select(TimeRange::ALL, |_, _| true)[0].exemplars.len(), 3);
        ring.forget(|series| series.id == 1);
        assert!(ring.select(TimeRange::ALL, |_, _| true).is_empty());
        assert_eq!(ring.add(&series, &at(0), 0), Taken::New);
    }
}
