//! What a source of samples (head, block, a merge of both) gives to a query.

use std::ops::Range;
use std::time::Duration;

use crate::batch::SeriesBatch;
use crate::labels::Labels;
use crate::matcher::Matcher;
use crate::time::TimeRange;

/// Which series and which time a selector needs.
#[derive(Clone, Debug)]
pub struct SelectRequest {
    /// All must hold. An empty list selects every series.
    pub matchers: Vec<Matcher>,
    /// The time that will be fetched: no later `fetch` goes beyond it.
    pub range: TimeRange,
    /// Most series that may be selected, 0 for no limit.
    pub max_series: usize,
}

/// The series that a selector matched, and their samples on demand.
///
/// `labels` are distinct and in ascending order. `fetch` may be called by several threads at once, for any part of the
/// series and time, and sources are fastest when one thread walks forward. It blocks; it is called on threads that may block.
pub trait SeriesSet: Send + Sync {
    /// The label sets, ascending.
    fn labels(&self) -> &[Labels];

    /// Appends the series at positions `series` of `labels()`, in that order, with their samples in `range`,
    /// to `out`; a series without samples there is appended empty.
    fn fetch(&self, series: Range<usize>, range: TimeRange, out: &mut SeriesBatch) -> Result<(), SelectError>;

    /// Says that exactly this will be fetched soon, so that a source far away can send it already. Does not block, and
    /// does nothing for sources that are near.
    fn announce(&self, series: Range<usize>, range: TimeRange) {
        let _ = (series, range);
    }
}

/// Why samples could not be had.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SelectError {
    /// The query was cancelled.
    #[error("query was canceled")]
    Cancelled,
    /// It took longer than allowed.
    #[error("query timed out after {0:?}")]
    Timeout(Duration),
    /// It needs more memory than its budget.
    #[error("query needs more memory than its budget of {limit} bytes")]
    Memory {
        /// The budget, bytes.
        limit: u64,
    },
    /// It would touch more series than allowed.
    #[error("query selects more than {limit} series")]
    Series {
        /// Most series that a selector may match.
        limit: usize,
    },
    /// A source failed.
    #[error("{0}")]
    Storage(String),
}

/// A set without series.
pub struct EmptySet;

impl SeriesSet for EmptySet {
    fn labels(&self) -> &[Labels] {
        &[]
    }

    fn fetch(&self, _: Range<usize>, _: TimeRange, _: &mut SeriesBatch) -> Result<(), SelectError> {
        Ok(())
    }
}
