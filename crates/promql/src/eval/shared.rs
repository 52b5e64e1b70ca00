//! The state that all operators of a query share: its source, its limits, and how much of them it has used.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use pharos_model::{Budget, Clock, SelectRequest, SeriesSet, TimeRange};

use super::result_cache::{Footprint, ResultCache};
use super::track::{Slot, Tracker};
use crate::error::QueryError;
use crate::fragment::FragmentValue;
use crate::options::EngineOptions;
use crate::output::ResultMemory;
use crate::plan::Selector;
use crate::querier::Querier;
use crate::stats::QueryStats;

/// The source and the limits of a query, shared by its threads.
pub(crate) struct Shared<'q> {
    querier: &'q dyn Querier,
    /// The values of fragments that other nodes evaluated.
    pub(crate) precomputed: Vec<&'q FragmentValue>,
    /// Whether aggregations yield groups without values: their first series matters for the order of groups of all nodes.
    pub(crate) keeps_empty_groups: bool,
    budget: Arc<Budget>,
    /// The lookback of instant selectors, milliseconds.
    pub(crate) lookback: i64,
    /// The default step of subqueries, milliseconds.
    pub(crate) subquery_step: i64,
    /// The number of threads for a large selection.
    pub(crate) threads: usize,
    /// The most steps of a step range; 0 for a single range.
    pub(crate) max_steps_per_range: usize,
    /// Whether `__type__` tells counters from gauges.
    pub(crate) type_labels: bool,
    /// Whether rates use start timestamps.
    pub(crate) start_timestamps: bool,
    /// The clock of the measurements.
    pub(crate) clock: Arc<dyn Clock>,
    /// Results and samples that may be used again.
    pub(crate) cache: ResultCache,
    /// The measurements of each operator, if there are any.
    pub(crate) tracker: Option<Tracker>,
    max_series: usize,
    max_points: u64,
    max_samples: u64,
    held: AtomicU64,
    peak: AtomicU64,
    read: AtomicU64,
    series: AtomicU64,
    /// The most series that an earlier step range selected.
    most_series: AtomicU64,
    points: AtomicU64,
}

impl<'q> Shared<'q> {
    /// The state at the start of a query.
    pub(crate) fn new(
        querier: &'q dyn Querier,
        budget: Arc<Budget>,
        options: &EngineOptions,
        lookback: i64,
        tracker: Option<Tracker>,
    ) -> Self {
        Shared {
            querier,
            precomputed: Vec::new(),
            keeps_empty_groups: false,
            budget,
            lookback,
            subquery_step: options.default_subquery_step_ms.max(1),
            threads: options.threads.max(1),
            max_steps_per_range: options.max_steps_per_range,
            type_labels: options.type_and_unit_labels,
            start_timestamps: options.use_start_timestamps,
            clock: options.clock.clone(),
            cache: ResultCache::default(),
            tracker,
            max_series: options.max_series,
            max_points: options.max_points,
            max_samples: options.max_samples as u64,
            held: AtomicU64::new(0),
            peak: AtomicU64::new(0),
            read: AtomicU64::new(0),
            series: AtomicU64::new(0),
            most_series: AtomicU64::new(0),
            points: AtomicU64::new(0),
        }
    }

    /// Fails if the query was cancelled or its deadline has passed.
    pub(crate) fn check(&self) -> Result<(), QueryError> {
        Ok(self.budget.check()?)
    }

    /// Selects the series of a selector, of which `range` will be read, for an evaluation at `steps` steps.
    pub(crate) fn select(
        &self,
        selector: &Selector,
        range: TimeRange,
        steps: usize,
    ) -> Result<Arc<dyn SeriesSet>, QueryError> {
        let set = self.set(selector, range)?;
        self.count_points(set.labels().len(), steps)?;
        Ok(set)
    }

    fn set(&self, selector: &Selector, range: TimeRange) -> Result<Arc<dyn SeriesSet>, QueryError> {
        self.check()?;
        if selector.readers > 1
            && let Some(set) = self.cache.set(selector, range)
        {
            return Ok(set);
        }
        let request = SelectRequest { matchers: selector.matchers.clone(), range, max_series: self.max_series };
        let slot = self.tracker.as_ref().and_then(|tracker| tracker.slot_of_selector(selector));
        let set = match slot {
            Some(slot) => self.querier.select(&request, &slot.account(&self.budget))?,
            None => self.querier.select(&request, &self.budget)?,
        };
        let series = self.series.fetch_add(set.labels().len() as u64, Ordering::Relaxed) + set.labels().len() as u64;
        if self.max_series > 0 && series > self.max_series as u64 {
            return Err(QueryError::Limit(format!(
                "query selects more than {} series (max_query_series)",
                self.max_series
            )));
        }
        if selector.readers > 1 {
            self.cache.cache_set(selector, range, &set);
        }
        Ok(set)
    }

    /// Counts series times steps against the limit on points.
    fn count_points(&self, series: usize, steps: usize) -> Result<(), QueryError> {
        let points = (series as u64).saturating_mul(steps as u64);
        let before = self.points.fetch_add(points, Ordering::Relaxed);
        if self.max_points > 0 && before.saturating_add(points) > self.max_points {
            let limit = self.max_points;
            return Err(QueryError::Limit(format!(
                "query has more than {limit} points, series times steps (max_query_total_points)"
            )));
        }
        Ok(())
    }

    /// Takes memory for the cache; false when that would leave less than half of the budget to the operators.
    pub(crate) fn take_for_cache(&self, footprint: Footprint) -> bool {
        let held = self.held.load(Ordering::Relaxed) + footprint.samples;
        let fits = self.budget.used_bytes().saturating_add(footprint.bytes) <= self.budget.max_bytes() / 2
            && held <= self.max_samples / 2;
        if !fits || self.budget.take(footprint.bytes).is_err() {
            return false;
        }
        let held = self.held.fetch_add(footprint.samples, Ordering::Relaxed) + footprint.samples;
        self.peak.fetch_max(held, Ordering::Relaxed);
        true
    }

    /// Gives back what was taken with [`Shared::take_for_cache`].
    pub(crate) fn give_back(&self, footprint: Footprint) {
        self.budget.give_back(footprint.bytes);
        self.held.fetch_sub(footprint.samples, Ordering::Relaxed);
    }

    /// Evicts everything from the cache and returns whether that released any memory.
    fn release_cache(&self) -> bool {
        let footprint = self.cache.clear();
        self.give_back(footprint);
        footprint != Footprint::default()
    }

    /// Releases what belongs to a step range. The next range selects its series again.
    pub(crate) fn end_step_range(&self) {
        self.release_cache();
        self.cache.forget();
        self.most_series.fetch_max(self.series.swap(0, Ordering::Relaxed), Ordering::Relaxed);
    }

    /// Releases what step ranges used and counted towards limits, before the whole range is evaluated at once.
    pub(crate) fn restart(&self) {
        self.end_step_range();
        self.points.store(0, Ordering::Relaxed);
    }

    /// The most samples that the query may hold at a time.
    pub(crate) fn max_samples(&self) -> usize {
        self.max_samples as usize
    }

    /// An empty memory reservation, on the account of an operator if operators are measured.
    pub(crate) fn reserve_for<'s>(&'s self, operator: Option<&'s Slot>) -> Reservation<'s, 'q> {
        Reservation { shared: self, operator, bytes: 0, samples: 0 }
    }

    /// Counts samples that were read from the source.
    pub(crate) fn count_read(&self, samples: usize) {
        self.read.fetch_add(samples as u64, Ordering::Relaxed);
    }

    /// The statistics so far.
    pub(crate) fn stats(&self) -> QueryStats {
        QueryStats {
            samples_read: self.read.load(Ordering::Relaxed),
            peak_samples: self.peak.load(Ordering::Relaxed),
            series: self.series.load(Ordering::Relaxed).max(self.most_series.load(Ordering::Relaxed)),
            peak_bytes: self.budget.peak_bytes(),
            bytes_read: self.budget.reads().0,
            requests: self.budget.reads().1,
            ..QueryStats::default()
        }
    }
}

/// The memory of an entry of a hash map, bytes, at the worst moment: the table has just doubled, and the smaller one is still there.
pub(crate) fn entry_bytes<K, V>() -> usize {
    let slot = size_of::<(K, V)>() + 1;
    // A table is filled to seven eighths.
    slot * 3 * 8 / 7
}

/// Memory and samples that are taken from a query's limits until it is dropped.
pub(crate) struct Reservation<'s, 'q> {
    shared: &'s Shared<'q>,
    operator: Option<&'s Slot>,
    bytes: u64,
    samples: u64,
}

impl Reservation<'_, '_> {
    /// Takes more, and evicts the cache if that is necessary.
    pub(crate) fn grow(&mut self, bytes: usize, samples: usize) -> Result<(), QueryError> {
        if let Err(error) = self.shared.budget.take(bytes as u64) {
            if !self.shared.release_cache() {
                return Err(error.into());
            }
            self.shared.budget.take(bytes as u64)?;
        }
        self.bytes += bytes as u64;
        if let Some(operator) = self.operator {
            operator.take(bytes as u64);
        }
        let held = self.shared.held.fetch_add(samples as u64, Ordering::Relaxed) + samples as u64;
        self.samples += samples as u64;
        self.shared.peak.fetch_max(held, Ordering::Relaxed);
        let too_many = |held| held > self.shared.max_samples;
        let released = too_many(held) && self.shared.release_cache();
        let held = if released { self.shared.held.load(Ordering::Relaxed) } else { held };
        if too_many(held) {
            return Err(QueryError::TooManySamples);
        }
        Ok(())
    }

    /// Gives back a part.
    pub(crate) fn shrink(&mut self, bytes: usize) {
        self.shared.budget.give_back(bytes as u64);
        if let Some(operator) = self.operator {
            operator.give_back(bytes as u64);
        }
        self.bytes -= bytes as u64;
    }

    /// Adds an item to a vector whose memory is this reservation's.
    pub(crate) fn push<T>(&mut self, vec: &mut Vec<T>, item: T) -> Result<(), QueryError> {
        self.make_room(vec, vec.len() + 1)?;
        vec.push(item);
        Ok(())
    }

    /// Resizes a vector whose memory is this reservation's.
    pub(crate) fn resize<T: Clone>(&mut self, vec: &mut Vec<T>, len: usize, value: T) -> Result<(), QueryError> {
        self.make_room(vec, len)?;
        vec.resize(len, value);
        Ok(())
    }

    /// Takes the memory of the larger vector before there are both for a moment, and gives that of the smaller one back.
    pub(crate) fn make_room<T>(&mut self, vec: &mut Vec<T>, len: usize) -> Result<(), QueryError> {
        let before = vec.capacity();
        if len > before {
            let capacity = len.max(before + before / 2).max(4);
            self.grow(capacity * size_of::<T>(), 0)?;
            vec.reserve_exact(capacity - vec.len());
            self.shrink(before * size_of::<T>());
        }
        Ok(())
    }

    /// Takes over what another reservation has taken.
    pub(crate) fn absorb(&mut self, mut other: Self) {
        for (operator, is_given) in [(other.operator, false), (self.operator, true)] {
            match operator {
                Some(operator) if is_given => operator.take(other.bytes),
                Some(operator) => operator.give_back(other.bytes),
                None => {}
            }
        }
        self.bytes += std::mem::take(&mut other.bytes);
        self.samples += std::mem::take(&mut other.samples);
    }

    /// Hands over what was taken to the result of the query.
    pub(crate) fn keep(mut self) -> ResultMemory {
        if let Some(operator) = self.operator {
            operator.give_back(self.bytes);
        }
        self.shared.held.fetch_sub(self.samples, Ordering::Relaxed);
        self.samples = 0;
        ResultMemory::of(self.shared.budget.clone(), std::mem::take(&mut self.bytes))
    }

    /// Changes the reservation to exactly this much.
    pub(crate) fn set(&mut self, bytes: usize, samples: usize) -> Result<(), QueryError> {
        if (bytes as u64, samples as u64) == (self.bytes, self.samples) {
            return Ok(());
        }
        self.release();
        self.grow(bytes, samples)
    }

    fn release(&mut self) {
        self.shared.budget.give_back(self.bytes);
        if let Some(operator) = self.operator {
            operator.give_back(self.bytes);
        }
        self.shared.held.fetch_sub(self.samples, Ordering::Relaxed);
        (self.bytes, self.samples) = (0, 0);
    }
}

impl Drop for Shared<'_> {
    fn drop(&mut self) {
        self.release_cache();
    }
}

impl Drop for Reservation<'_, '_> {
    fn drop(&mut self) {
        self.release();
    }
}
