//! How queries reach samples: one trait for the roles that hold them, whether they live in this process or behind the
//! network. All calls block and are made on threads that may block.

use std::sync::Arc;
use std::time::Duration;

use pharos_model::{
    Budget, Exemplar, Labels, Matcher, Metadata, SelectError, SelectRequest, SeriesSet, TenantId, TimeRange,
};

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
    /// From which timestamp on this source alone has every sample of the tenant, now and until `lasting` has passed, so
    /// that others need not be asked for that time. What it says holds for answers that it begins after saying so.
    /// `i64::MIN` for all time, `i64::MAX` for none, which is what a source says that cannot know.
    fn complete_from(&self, tenant: &TenantId, lasting: Duration) -> i64 {
        let _ = (tenant, lasting);
        i64::MAX
    }

    /// The series that all matchers of the request match, with their samples on demand.
    fn select(
        &self,
        tenant: &TenantId,
        request: &SelectRequest,
        budget: &Arc<Budget>,
    ) -> Result<Arc<dyn SeriesSet>, SelectError>;

    /// The label sets of series with samples in `range`, ascending; at most `limit` of them, 0 for all.
    fn series(
        &self,
        tenant: &TenantId,
        matchers: &[Matcher],
        range: TimeRange,
        limit: usize,
    ) -> Result<Vec<Labels>, SelectError>;

    /// The label names of the matching series, ascending.
    fn label_names(
        &self,
        tenant: &TenantId,
        matchers: &[Matcher],
        range: TimeRange,
    ) -> Result<Vec<String>, SelectError>;

    /// The values of a label over the matching series, ascending.
    fn label_values(
        &self,
        tenant: &TenantId,
        name: &str,
        matchers: &[Matcher],
        range: TimeRange,
    ) -> Result<Vec<String>, SelectError>;

    /// The exemplars of the matching series, ascending by series.
    fn exemplars(
        &self,
        tenant: &TenantId,
        matchers: &[Matcher],
        range: TimeRange,
    ) -> Result<Vec<SeriesExemplars>, SelectError>;

    /// What is known of metric families, by name; a family may have more than one description.
    fn metadata(&self, tenant: &TenantId) -> Result<Vec<(String, Metadata)>, SelectError>;
}
