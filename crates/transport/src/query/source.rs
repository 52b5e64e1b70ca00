//! The trait of the roles that hold samples, and the scope of a read.

use std::sync::Arc;
use std::time::Duration;

use pharos_model::{
    Budget, Exemplar, Fragment, FragmentAnswer, FragmentError, Labels, Matcher, Metadata, SelectError, SelectRequest,
    SeriesSet, ShardSet, TenantId, TimeRange,
};

use super::completeness::Completeness;
use super::error::{ReadError, Refused};

/// The view under which a source is read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReadView {
    /// Increases when the state of the cluster is restored from a backup.
    pub incarnation: u64,
    /// The version of the view. The source waits until it knows one that is as new.
    pub version: u64,
    /// Shards with their epochs, ascending; empty for a read that is not about shards.
    pub epochs: Arc<[(u32, u64)]>,
    /// The number of the tenant's newest deletion. An ingester applies it before it answers.
    pub deletions: u64,
}

/// A source's permission to read it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Admitted {
    /// The version of the source's view, if an epoch of a shard that is read is newer there: the reader's view is out of date.
    pub newer_version: Option<u64>,
}

/// The samples that a read is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    /// Whose samples.
    pub tenant: TenantId,
    /// Only samples of these shards; `None` for all shards, which costs nothing.
    pub shards: Option<Arc<ShardSet>>,
    /// The source must have all samples from this timestamp on, because others are read only for the time before it. A source
    /// that has less refuses, see [`SeriesSource::covers`]. `None` requires nothing.
    pub complete_from: Option<i64>,
}

impl Scope {
    /// All samples of a tenant.
    pub fn all(tenant: TenantId) -> Self {
        Scope { tenant, shards: None, complete_from: None }
    }

    /// Requires that the source has all samples from a timestamp on, if there is one.
    pub fn requiring_from(self, complete_from: Option<i64>) -> Self {
        Scope { complete_from, ..self }
    }
}

/// The exemplars of one series.
#[derive(Clone, Debug, PartialEq)]
pub struct SeriesExemplars {
    /// The series.
    pub labels: Labels,
    /// Ascending in time.
    pub exemplars: Vec<Exemplar>,
}

impl SeriesExemplars {
    /// The memory that this takes.
    pub fn bytes(&self) -> usize {
        let exemplar = |e: &Exemplar| e.labels.as_bytes().len() + size_of::<Exemplar>();
        self.labels.as_bytes().len() + size_of::<Self>() + self.exemplars.iter().map(exemplar).sum::<usize>()
    }
}

/// A role that holds samples: an ingester for recent ones, a store for those in blocks. All calls block.
pub trait SeriesSource: Send + Sync + 'static {
    /// Checks that the source may answer for a tenant under a view: waits briefly until it knows one that is as new, and refuses
    /// the shards that it is not in sync for. Called before every read, from this process or another node.
    ///
    /// # Errors
    /// The refused shards, and why.
    fn admit(&self, tenant: &TenantId, view: &ReadView) -> Result<Admitted, Refused> {
        let _ = (tenant, view);
        Ok(Admitted::default())
    }

    /// From when on the source has all samples, now and until `lasting` has passed. Holds for reads that begin afterwards.
    ///
    /// # Errors
    /// The source cannot tell at the moment.
    fn completeness(&self, scope: &Scope, lasting: Duration) -> Result<Completeness, SelectError> {
        let _ = (scope, lasting);
        Ok(Completeness::UNKNOWN)
    }

    /// Checks that the source has what [`Scope::complete_from`] requires, now and until `lasting` has passed. Called before every
    /// read with such a requirement, from this process or another node: the source that answers need not be the one whose
    /// completeness the plan relies on.
    ///
    /// # Errors
    /// Refuses the shards of which the source has less.
    fn covers(&self, scope: &Scope, lasting: Duration) -> Result<(), ReadError> {
        refuse_unless_complete(&|scope| self.completeness(scope, lasting), scope)
    }

    /// The series that all matchers of the request match. Their samples are fetched on demand.
    ///
    /// # Errors
    /// The budget is spent, or the samples are unavailable.
    fn select(
        &self,
        scope: &Scope,
        request: &SelectRequest,
        budget: &Arc<Budget>,
    ) -> Result<Arc<dyn SeriesSet>, SelectError>;

    /// The label sets of matching series with samples in `range`, ascending; at most `limit`, or all for 0.
    ///
    /// # Errors
    /// The budget is spent, or the samples are unavailable.
    fn series(
        &self,
        scope: &Scope,
        matchers: &[Matcher],
        range: TimeRange,
        limit: usize,
        budget: &Arc<Budget>,
    ) -> Result<Vec<Labels>, SelectError>;

    /// The values of `label` over the matching series, or the label names of these series if it is `None`. Ascending.
    ///
    /// # Errors
    /// The budget is spent, or the samples are unavailable.
    fn names(
        &self,
        scope: &Scope,
        label: Option<&str>,
        matchers: &[Matcher],
        range: TimeRange,
        budget: &Arc<Budget>,
    ) -> Result<Vec<String>, SelectError>;

    /// The exemplars of the matching series, ascending by series.
    ///
    /// # Errors
    /// The budget is spent, or the exemplars are unavailable.
    fn exemplars(
        &self,
        scope: &Scope,
        matchers: &[Matcher],
        range: TimeRange,
        budget: &Arc<Budget>,
    ) -> Result<Vec<SeriesExemplars>, SelectError>;

    /// The descriptions of metric families, by name. A family may have several.
    ///
    /// # Errors
    /// They are unavailable.
    fn metadata(&self, scope: &Scope) -> Result<Vec<(String, Metadata)>, SelectError>;

    /// Evaluates a fragment of a query over the series of a scope.
    ///
    /// # Errors
    /// [`FragmentError::Unsupported`] when the caller should fetch the samples instead.
    fn evaluate(
        &self,
        scope: &Scope,
        fragment: &Fragment,
        budget: &Arc<Budget>,
    ) -> Result<FragmentAnswer, FragmentError> {
        let _ = (scope, budget);
        Err(FragmentError::Unsupported(format!("this source evaluates no fragments: {:?}", fragment.query)))
    }
}

/// Checks what [`Scope::complete_from`] requires against what a source tells of its completeness.
///
/// # Errors
/// Refuses the shards of which the source has less.
pub fn refuse_unless_complete(
    completeness: &dyn Fn(&Scope) -> Result<Completeness, SelectError>,
    scope: &Scope,
) -> Result<(), ReadError> {
    let Some(required_from) = scope.complete_from else { return Ok(()) };
    let complete = completeness(scope)?;
    if complete.from <= required_from {
        return Ok(());
    }
    let mut lacking = ShardSet::new();
    for shard in scope.shards.iter().flat_map(|shards| shards.iter()) {
        let of_shard = Scope { shards: Some(Arc::new(ShardSet::of(shard))), ..scope.clone() };
        if completeness(&of_shard)?.from > required_from {
            lacking.insert(shard);
        }
    }
    if lacking.is_empty() && scope.shards.is_some() {
        return Ok(());
    }
    let from = complete.from;
    // A source that promises nothing is not in sync: no other plan would make it answer.
    let complete = (from < i64::MAX).then_some(complete);
    let reason = format!("shards {lacking} are complete only from {from}, not from {required_from}");
    Err(Refused { shards: lacking, reason, complete }.into())
}
