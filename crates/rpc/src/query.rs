//! How queries reach samples: one trait for the roles that hold them, whether they live in this process or behind the
//! network. All calls block and are made on threads that may block.

use std::sync::Arc;
use std::time::Duration;

use pharos_model::{
    Budget, Exemplar, Labels, Matcher, Metadata, SelectError, SelectRequest, SeriesSet, ShardSet, TenantId, TimeRange,
};

/// Whose samples are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    /// The tenant.
    pub tenant: TenantId,
    /// Of these shards only; none for all of them, which costs nothing.
    pub shards: Option<Arc<ShardSet>>,
}

impl Scope {
    /// All samples of a tenant.
    pub fn all(tenant: TenantId) -> Self {
        Scope { tenant, shards: None }
    }
}

/// Of which time a source has what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Completeness {
    /// From this timestamp on the source alone has every sample that is asked for, so that others need not be asked for
    /// that time. `i64::MIN` for all time, `i64::MAX` for none, which is what a source says that cannot know.
    pub from: i64,
    /// No sample before this timestamp is in this source only: what it has there is in blocks too. `i64::MAX` for none at all.
    pub unflushed_from: i64,
    /// The version of the view that lists those blocks.
    pub version: u64,
}

impl Completeness {
    /// What a source says that cannot know: others have to be asked for everything, and it may have what no block has.
    pub const UNKNOWN: Completeness = Completeness { from: i64::MAX, unflushed_from: i64::MIN, version: 0 };
}

/// The exemplars of one series.
#[derive(Clone, Debug, PartialEq)]
pub struct SeriesExemplars {
    /// The series.
    pub labels: Labels,
    /// Its exemplars, ascending in time.
    pub exemplars: Vec<Exemplar>,
}

/// A role that answers for samples: an ingester for recent ones, a store node for those in blocks.
pub trait SeriesSource: Send + Sync + 'static {
    /// Of which time the source has everything, now and until `lasting` has passed. What it says holds for answers that it
    /// begins after saying so.
    fn completeness(&self, scope: &Scope, lasting: Duration) -> Result<Completeness, SelectError> {
        let _ = (scope, lasting);
        Ok(Completeness::UNKNOWN)
    }

    /// The series that all matchers of the request match, with their samples on demand.
    fn select(
        &self,
        scope: &Scope,
        request: &SelectRequest,
        budget: &Arc<Budget>,
    ) -> Result<Arc<dyn SeriesSet>, SelectError>;

    /// The label sets of series with samples in `range`, ascending; at most `limit` of them, 0 for all.
    fn series(
        &self,
        scope: &Scope,
        matchers: &[Matcher],
        range: TimeRange,
        limit: usize,
    ) -> Result<Vec<Labels>, SelectError>;

    /// The label names of the matching series, ascending.
    fn label_names(&self, scope: &Scope, matchers: &[Matcher], range: TimeRange) -> Result<Vec<String>, SelectError>;

    /// The values of a label over the matching series, ascending.
    fn label_values(
        &self,
        scope: &Scope,
        name: &str,
        matchers: &[Matcher],
        range: TimeRange,
    ) -> Result<Vec<String>, SelectError>;

    /// The exemplars of the matching series, ascending by series.
    fn exemplars(
        &self,
        scope: &Scope,
        matchers: &[Matcher],
        range: TimeRange,
    ) -> Result<Vec<SeriesExemplars>, SelectError>;

    /// What is known of metric families, by name; a family may have more than one description.
    fn metadata(&self, scope: &Scope) -> Result<Vec<(String, Metadata)>, SelectError>;
}
