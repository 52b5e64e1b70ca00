//! The interface between a query and a source of samples: a head, a block, another node, or a merge of them.

use std::ops::Range;
use std::time::Duration;

use crate::batch::SeriesBatch;
use crate::labels::Labels;
use crate::limit::Limit;
use crate::matcher::Matcher;
use crate::memory::MemoryFull;
use crate::time::TimeRange;

/// What a selector asks a source for.
#[derive(Clone, Debug)]
pub struct SelectRequest {
    /// Conditions that all must hold. An empty list selects every series.
    pub matchers: Vec<Matcher>,
    /// The time that will be fetched. No `fetch` reaches beyond it.
    pub range: TimeRange,
    /// Most series that may be selected, 0 for no limit.
    pub max_series: usize,
}

impl SelectRequest {
    /// Fails if a source found more series than the request allows.
    ///
    /// # Errors
    /// [`SelectError::Series`] with the limit of the request.
    pub fn check_series(&self, found: usize) -> Result<(), SelectError> {
        match Limit::new(self.max_series).is_exceeded_by(found) {
            true => Err(SelectError::Series { limit: self.max_series }),
            false => Ok(()),
        }
    }
}

/// The series that a selector matched, with their samples on demand.
///
/// `labels` are distinct and ascending. Several threads may call `fetch` at once, for any series and time; sources are
/// fastest when a thread moves forward. `fetch` blocks, so callers run it on threads that may block.
pub trait SeriesSet: Send + Sync {
    /// The label sets of the series, ascending.
    fn labels(&self) -> &[Labels];

    /// Appends the series at positions `series` of [`SeriesSet::labels`] to `out`, in that order, with their samples in
    /// `range`. A series without samples in the range is appended empty.
    ///
    /// # Errors
    /// The samples are unavailable, or the query must end.
    fn fetch(&self, series: Range<usize>, range: TimeRange, out: &mut SeriesBatch) -> Result<(), SelectError>;

    /// Tells the source that exactly this will be fetched soon, so that a remote one can start to send it. Does not
    /// block. Local sources ignore it.
    fn prefetch(&self, series: Range<usize>, range: TimeRange) {
        let _ = (series, range);
    }
}

/// Why samples are unavailable.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SelectError {
    /// The query was cancelled.
    #[error("query was canceled")]
    Cancelled,
    /// The query took longer than its timeout.
    #[error("query timed out after {0:?}")]
    Timeout(Duration),
    /// The query needs more memory than its budget.
    #[error("query needs more memory than its budget of {limit} bytes (max_query_memory)")]
    Memory {
        /// The size of the budget, bytes.
        limit: u64,
    },
    /// Requests hold as much memory as they may.
    #[error(transparent)]
    Full(MemoryFull),
    /// The query would select too many series.
    #[error("query selects more than {limit} series (max_query_series)")]
    Series {
        /// The most series that a selector may match.
        limit: usize,
    },
    /// A source failed.
    #[error("{0}")]
    Storage(String),
    /// Stored data is damaged or missing. Every source that reads it fails in the same way.
    #[error("{0}")]
    Damaged(String),
}

/// A set that has no series.
pub struct EmptySet;

impl SeriesSet for EmptySet {
    fn labels(&self) -> &[Labels] {
        &[]
    }

    fn fetch(&self, _: Range<usize>, _: TimeRange, _: &mut SeriesBatch) -> Result<(), SelectError> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(max_series: usize) -> SelectRequest {
        SelectRequest { matchers: Vec::new(), range: TimeRange::ALL, max_series }
    }

    #[test]
    fn a_request_allows_as_many_series_as_its_limit() {
        assert!(request(2).check_series(2).is_ok());
        let error = request(2).check_series(3).unwrap_err();
        assert_eq!(error.to_string(), "query selects more than 2 series (max_query_series)");
    }

    #[test]
    fn a_request_without_a_limit_allows_any_number_of_series() {
        assert!(request(0).check_series(usize::MAX).is_ok());
    }

    #[test]
    fn the_empty_set_has_neither_series_nor_samples() {
        let mut out = SeriesBatch::default();
        assert!(EmptySet.labels().is_empty());
        EmptySet.prefetch(0..0, TimeRange::ALL);
        assert!(EmptySet.fetch(0..0, TimeRange::ALL, &mut out).is_ok());
        assert!(out.is_empty());
    }
}
