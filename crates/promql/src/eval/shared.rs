//! What all operators of a query share: its source, its limits and what it has used of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use pharos_model::{Budget, Clock, SelectRequest, SeriesSet, TimeRange};

use super::result_cache::{Footprint, ResultCache};
use super::track::{Slot, Tracker};
use crate::engine::{EngineOptions, QueryError, QueryStats};
use crate::fragment::FragmentValue;
use crate::plan::Selector;
use crate::querier::Querier;

/// A query's source and limits; shared by its threads.
pub(crate) struct Shared<'q> {
    querier: &'q dyn Querier,
    /// The values of parts that are known already.
    pub(crate) precomputed: Vec<&'q FragmentValue>,
    budget: Arc<Budget>,
    /// How far back a sample is looked for, milliseconds.
    pub(crate) lookback: i64,
    /// The step of subqueries that name none, milliseconds.
    pub(crate) subquery_step: i64,
    /// Threads to use for heavy selections.
    pub(crate) threads: usize,
    /// Most steps that are evaluated at a time.
    pub(crate) max_steps_per_range: usize,
    /// Whether counters are known by `__type__`.
    pub(crate) type_labels: bool,
    /// Whether start timestamps count.
    pub(crate) start_timestamps: bool,
    /// Where time comes from.
    pub(crate) clock: Arc<dyn Clock>,
    /// What is kept to be used again.
    pub(crate) cache: ResultCache,
    /// What operators do, when that is measured.
    pub(crate) tracker: Option<Tracker>,
    max_series: usize,
    max_points: u64,
    max_samples: u64,
    held: AtomicU64,
    peak: AtomicU64,
    read: AtomicU64,
    series: AtomicU64,
    /// The most series of an earlier slice.
    most_series: AtomicU64,
    points: AtomicU64,
}

impl<'q> Shared<'q> {
    /// The shared part of a query.
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

    /// Whether the query may go on.
    pub(crate) fn check(&self) -> Result<(), QueryError> {
        Ok(self.budget.check()?)
    }

    /// The series of a selector, with the time that will be read of them.
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

    /// Counts series that will be evaluated at some steps.
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

    /// Takes memory for what is kept to be used again; false when that would leave less than half for the operators.
    pub(crate) fn take_for_cache(&self, share: Footprint) -> bool {
        let held = self.held.load(Ordering::Relaxed) + share.samples;
        let fits = self.budget.used_bytes().saturating_add(share.bytes) <= self.budget.max_bytes() / 2
            && held <= self.max_samples / 2;
        if !fits || self.budget.take(share.bytes).is_err() {
            return false;
        }
        let held = self.held.fetch_add(share.samples, Ordering::Relaxed) + share.samples;
        self.peak.fetch_max(held, Ordering::Relaxed);
        true
    }

    /// Gives back what was taken with [`Shared::take_for_cache`].
    pub(crate) fn give_back(&self, share: Footprint) {
        self.budget.give_back(share.bytes);
        self.held.fetch_sub(share.samples, Ordering::Relaxed);
    }

    /// Lets go of all that is kept; whether there was any.
    fn release_cache(&self) -> bool {
        let share = self.cache.clear();
        self.give_back(share);
        share != Footprint::default()
    }

    /// Lets go of what only the steps of a slice need; the next slice selects the same series again.
    pub(crate) fn end_step_range(&self) {
        self.release_cache();
        self.cache.forget();
        self.most_series.fetch_max(self.series.swap(0, Ordering::Relaxed), Ordering::Relaxed);
    }

    /// Lets go of all that slices needed and counted towards limits, when the whole is evaluated after all.
    pub(crate) fn restart(&self) {
        self.end_step_range();
        self.points.store(0, Ordering::Relaxed);
    }

    /// Most samples that may be held at a time.
    pub(crate) fn max_samples(&self) -> usize {
        self.max_samples as usize
    }

    /// An empty reservation of memory, for an operator when operators are measured.
    pub(crate) fn reserve_for<'s>(&'s self, operator: Option<&'s Slot>) -> Reservation<'s, 'q> {
        Reservation { shared: self, operator, bytes: 0, samples: 0 }
    }

    /// Counts samples that were read.
    pub(crate) fn count_read(&self, samples: usize) {
        self.read.fetch_add(samples as u64, Ordering::Relaxed);
    }

    /// What the query did so far.
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

/// Memory and samples taken from a query's limits; given back on drop.
pub(crate) struct Reservation<'s, 'q> {
    shared: &'s Shared<'q>,
    operator: Option<&'s Slot>,
    bytes: u64,
    samples: u64,
}

impl Reservation<'_, '_> {
    /// Takes more.
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

    /// Holds exactly this much from now on.
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
