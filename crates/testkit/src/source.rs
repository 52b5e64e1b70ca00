//! A role that holds samples, in memory.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use pharos_model::{Budget, Labels, Matcher, Metadata, SelectError, SelectRequest, SeriesSet, TimeRange};
use pharos_transport::{Completeness, Scope, SeriesExemplars, SeriesSource};

use crate::series::MemorySeries;

/// A source of series in memory. Records the time ranges that it is asked for, and fails on demand.
///
/// It holds one tenant's samples, whichever tenant it is asked about, and does not tell shards apart.
pub struct MemorySource {
    series: MemorySeries,
    exemplars: Vec<SeriesExemplars>,
    metadata: Vec<(String, Metadata)>,
    completeness: Completeness,
    asked: Mutex<Vec<TimeRange>>,
    failure: Mutex<Option<SelectError>>,
}

impl MemorySource {
    /// A source of these series, which does not know from when on it is complete.
    pub fn new(series: MemorySeries) -> Self {
        MemorySource {
            series,
            exemplars: Vec::new(),
            metadata: Vec::new(),
            completeness: Completeness::UNKNOWN,
            asked: Mutex::default(),
            failure: Mutex::default(),
        }
    }

    /// Has every sample from a timestamp on, as long as it is not asked forever.
    pub fn complete_from(mut self, from: i64) -> Self {
        self.completeness.from = from;
        self
    }

    /// Adds exemplars.
    pub fn with_exemplars(mut self, exemplars: impl IntoIterator<Item = SeriesExemplars>) -> Self {
        self.exemplars.extend(exemplars);
        self
    }

    /// Adds a description of a metric family.
    pub fn with_metadata(mut self, family: &str, metadata: Metadata) -> Self {
        self.metadata.push((family.into(), metadata));
        self
    }

    /// Fails every later question but the one for completeness; `None` ends that.
    pub fn fail(&self, failure: Option<SelectError>) {
        *self.failure.lock() = failure;
    }

    /// The time ranges of all questions so far, those that failed included.
    pub fn asked(&self) -> Vec<TimeRange> {
        self.asked.lock().clone()
    }

    fn record(&self, range: TimeRange) -> Result<(), SelectError> {
        self.asked.lock().push(range);
        self.failure.lock().clone().map_or(Ok(()), Err)
    }
}

impl SeriesSource for MemorySource {
    fn completeness(&self, _: &Scope, lasting: Duration) -> Result<Completeness, SelectError> {
        // Nobody can promise to keep its samples forever.
        let from = if lasting == Duration::MAX { i64::MAX } else { self.completeness.from };
        Ok(Completeness { from, ..self.completeness })
    }

    fn select(&self, _: &Scope, request: &SelectRequest, _: &Arc<Budget>) -> Result<Arc<dyn SeriesSet>, SelectError> {
        self.record(request.range)?;
        Ok(self.series.select(request))
    }

    fn series(
        &self,
        _: &Scope,
        matchers: &[Matcher],
        range: TimeRange,
        limit: usize,
        _: &Arc<Budget>,
    ) -> Result<Vec<Labels>, SelectError> {
        self.record(range)?;
        let limit = if limit == 0 { usize::MAX } else { limit };
        Ok(self.series.labels(matchers, range).into_iter().take(limit).collect())
    }

    fn names(
        &self,
        _: &Scope,
        label: Option<&str>,
        matchers: &[Matcher],
        range: TimeRange,
        _: &Arc<Budget>,
    ) -> Result<Vec<String>, SelectError> {
        self.record(range)?;
        let series = self.series.labels(matchers, range);
        let found: BTreeSet<&str> = match label {
            Some(label) => series.iter().filter_map(|labels| labels.get(label)).collect(),
            None => series.iter().flat_map(|labels| labels.iter().map(|(name, _)| name)).collect(),
        };
        Ok(found.into_iter().map(str::to_string).collect())
    }

    fn exemplars(
        &self,
        _: &Scope,
        matchers: &[Matcher],
        range: TimeRange,
        _: &Arc<Budget>,
    ) -> Result<Vec<SeriesExemplars>, SelectError> {
        self.record(range)?;
        let matches = |labels: &Labels| matchers.iter().all(|m| m.matches(labels.get(&m.name).unwrap_or("")));
        Ok(self.exemplars.iter().filter(|series| matches(&series.labels)).cloned().collect())
    }

    fn metadata(&self, _: &Scope) -> Result<Vec<(String, Metadata)>, SelectError> {
        self.record(TimeRange::ALL)?;
        Ok(self.metadata.clone())
    }
}

#[cfg(test)]
mod tests {
    use pharos_model::TenantId;

    use super::*;
    use crate::budget;

    fn source() -> MemorySource {
        let labels = |name: &str, job: &str| Labels::from_pairs([("__name__", name), ("job", job)]);
        let series = MemorySeries::new().floats(labels("a", "x"), [(1, 1.0)]).floats(labels("b", "y"), [(5, 1.0)]);
        MemorySource::new(series)
    }

    fn scope() -> Scope {
        Scope::all(TenantId::default())
    }

    #[test]
    fn names_and_values_are_those_of_the_matching_series() {
        let source = source();
        let range = TimeRange::new(0, 2);
        assert_eq!(source.names(&scope(), None, &[], range, &budget()).unwrap(), ["__name__", "job"]);
        assert_eq!(source.names(&scope(), Some("job"), &[], range, &budget()).unwrap(), ["x"]);
        let matchers = [Matcher::equal("__name__", "b")];
        assert_eq!(source.names(&scope(), Some("job"), &matchers, TimeRange::ALL, &budget()).unwrap(), ["y"]);
    }

    #[test]
    fn questions_are_recorded_even_when_they_fail() {
        let source = source();
        source.fail(Some(SelectError::Cancelled));
        assert!(source.series(&scope(), &[], TimeRange::new(0, 2), 0, &budget()).is_err());
        source.fail(None);
        assert_eq!(source.series(&scope(), &[], TimeRange::new(0, 9), 1, &budget()).unwrap().len(), 1);
        assert_eq!(source.asked(), [TimeRange::new(0, 2), TimeRange::new(0, 9)]);
    }

    #[test]
    fn completeness_is_not_promised_forever() {
        let source = source().complete_from(7);
        let from = |lasting| source.completeness(&scope(), lasting).unwrap().from;
        assert_eq!(from(Duration::from_secs(5)), 7);
        assert_eq!(from(Duration::MAX), i64::MAX);
    }
}
