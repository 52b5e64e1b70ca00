//! How queries reach samples: one trait for the roles that hold them, whether they live in this process or behind the
//! network. All calls of it block and are made on threads that may block.
//!
//! [`QueryServices`] serves the sources of a node to others; [`RemoteSource`] is a source on another node.

mod batch;
mod client;
mod convert;
mod labels;
mod remote_set;
mod server;
mod server_select;

#[cfg(test)]
mod tests;

pub use batch::{BatchError, read_batch, write_batch};
pub use client::{RemoteSource, SourceRole};
pub use convert::AskError;
pub use labels::{LabelsWriter, read_labels, write_labels};
pub use remote_set::RemoteSet;
pub use server::{AskLimits, QueryServices};

use std::sync::Arc;
use std::time::Duration;

use pharos_model::{
    Budget, Exemplar, Fragment, FragmentAnswer, FragmentError, Labels, Matcher, Metadata, SelectError, SelectRequest,
    SeriesSet, ShardSet, TenantId, TimeRange,
};

/// No message is larger, bytes.
const MOST_MESSAGE_BYTES: usize = 256 << 20;

/// The view under which a source is asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AskedView {
    /// Goes up when the state of the cluster was restored.
    pub incarnation: u64,
    /// The version of the view.
    pub version: u64,
    /// Shards with their epochs, ascending; none when nothing is asked about shards.
    pub epochs: Arc<[(u32, u64)]>,
}

/// A source may not answer for some shards: another replica has to be asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Refused {
    /// Which; all that were asked for if there are none.
    pub shards: ShardSet,
    /// Why.
    pub reason: String,
    /// What the source has, when that is less than the asker counts on ([`Scope::complete_from`]): a plan that counts on no
    /// more may be answered.
    pub complete: Option<Completeness>,
}

/// Whose samples are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    /// The tenant.
    pub tenant: TenantId,
    /// Of these shards only; none for all of them, which costs nothing.
    pub shards: Option<Arc<ShardSet>>,
    /// The asker counts on everything from this timestamp on, because it asks others only for what is before it. A source that
    /// has less refuses, see [`SeriesSource::covers`]. None when nothing is counted on.
    pub complete_from: Option<i64>,
}

impl Scope {
    /// All samples of a tenant.
    pub fn all(tenant: TenantId) -> Self {
        Scope { tenant, shards: None, complete_from: None }
    }

    /// The same samples, of which everything from a timestamp on is counted on, if there is one.
    pub fn counting_on(self, complete_from: Option<i64>) -> Self {
        Scope { complete_from, ..self }
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

    /// What two sources have together, each of its own shards.
    pub fn and(self, other: Completeness) -> Self {
        Completeness {
            from: self.from.max(other.from),
            unflushed_from: self.unflushed_from.min(other.unflushed_from),
            version: self.version.max(other.version),
        }
    }
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
    /// Whether this source may answer under a view: waits a little until it knows one that is as new, and refuses the
    /// shards of which it knows that it lacks samples. Asked before everything else that comes from another node.
    fn admit(&self, view: &AskedView) -> Result<(), Refused> {
        let _ = view;
        Ok(())
    }

    /// Of which time the source has everything, now and until `lasting` has passed. What it says holds for answers that it
    /// begins after saying so.
    fn completeness(&self, scope: &Scope, lasting: Duration) -> Result<Completeness, SelectError> {
        let _ = (scope, lasting);
        Ok(Completeness::UNKNOWN)
    }

    /// Whether the source has what the asker counts on, [`Scope::complete_from`], now and until `lasting` has passed; refuses
    /// the shards of which it has less. Asked before a question with such a bound, whether it comes from this process or from
    /// another node: whoever answers need not be who said of which time it has everything.
    fn covers(&self, scope: &Scope, lasting: Duration) -> Result<(), AskError> {
        let Some(counted_on) = scope.complete_from else { return Ok(()) };
        let complete = self.completeness(scope, lasting)?;
        if complete.from <= counted_on {
            return Ok(());
        }
        let mut lacking = ShardSet::new();
        for shard in scope.shards.iter().flat_map(|shards| shards.iter()) {
            let of_shard = Scope { shards: Some(Arc::new(ShardSet::of(shard))), ..scope.clone() };
            if self.completeness(&of_shard, lasting)?.from > counted_on {
                lacking.insert(shard);
            }
        }
        if lacking.is_empty() && scope.shards.is_some() {
            return Ok(()); // Each of them is there.
        }
        let from = complete.from;
        // Who can promise nothing is not in sync, and no plan makes it answer.
        let complete = (from < i64::MAX).then_some(complete);
        let reason = format!("it has not everything of shards {lacking} from {counted_on} on, only from {from} on");
        Err(Refused { shards: lacking, reason, complete }.into())
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

    /// The value of a part of a query over the series of a scope.
    fn evaluate(
        &self,
        scope: &Scope,
        fragment: &Fragment,
        budget: &Arc<Budget>,
    ) -> Result<FragmentAnswer, FragmentError> {
        let _ = (scope, budget);
        Err(FragmentError::Unsupported(format!("this source does not evaluate {:?}", fragment.expressions)))
    }
}
