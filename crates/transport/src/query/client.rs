//! The client of the read path: a source on another node.
//!
//! Reads take their time and memory from the query's budget and tell the node how much of both remains. A dropped read
//! cancels its work on the node.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use pharos_model::fragment::FragmentResult;
use pharos_model::wire::Malformed;
use pharos_model::{
    Budget, Exemplar, Fragment, FragmentAnswer, FragmentError, Labels, Matcher, Metadata, MetricType, SelectError,
    SelectRequest, SeriesSet, TimeRange,
};
use prost::Message;
use tokio::runtime::Handle;
use tonic::{Status, Streaming};

use super::batch::read_batch;
use super::completeness::Completeness;
use super::convert::{MAX_MESSAGE_BYTES, error_of, millis, summary_of, write_fragment, write_matchers, write_range};
use super::error::ReadError;
use super::labels::read_labels;
use super::remote_set::RemoteSet;
use super::source::{ReadView, Scope, SeriesExemplars, SeriesSource};
use crate::query_v1 as wire;
use crate::query_v1::query_client::QueryClient;
use crate::{Connect, Connection};

/// How often a read checks whether its query was cancelled.
const CANCELLATION_CHECK_INTERVAL: Duration = Duration::from_millis(20);

/// Timeout of reads that do not belong to a query with a budget.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(120);
/// Maximum memory of such reads, bytes.
const DEFAULT_MAX_BYTES: u64 = 512 << 20;

/// The role of the node that serves a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SourceRole {
    /// An ingester, which holds recent samples in memory.
    Ingester,
    /// A store, which reads blocks.
    Store,
}

/// A source on another node, read under a view. Its own methods are asynchronous; those of [`SeriesSource`] block.
#[derive(Clone)]
pub struct RemoteSource {
    pub(super) connect: Arc<dyn Connect>,
    pub(super) address: Arc<str>,
    pub(super) role: SourceRole,
    pub(super) view: ReadView,
    pub(super) runtime: Handle,
}

impl RemoteSource {
    /// Creates a client for a role of the node at `address`. `view` must hold the epochs of all shards that it may
    /// read.
    pub fn new(connect: Arc<dyn Connect>, address: &str, role: SourceRole, view: ReadView, runtime: Handle) -> Self {
        RemoteSource { connect, address: address.into(), role, view, runtime }
    }

    /// The address of the node.
    pub fn address(&self) -> &str {
        &self.address
    }

    fn client(&self) -> Result<QueryClient<Connection>, ReadError> {
        let connection = self.connect.connect(&self.address).map_err(|status| self.failed(&status))?;
        let client = QueryClient::new(connection);
        Ok(client.max_decoding_message_size(MAX_MESSAGE_BYTES).max_encoding_message_size(MAX_MESSAGE_BYTES))
    }

    pub(super) fn failed(&self, status: &Status) -> ReadError {
        error_of(&self.address, status)
    }

    fn asked(&self, scope: &Scope, budget: &Budget) -> wire::Asked {
        let of_scope = |shard: &u32| scope.shards.as_ref().is_some_and(|shards| shards.contains(*shard));
        let epochs = self.view.epochs.iter().filter(|(shard, _)| of_scope(shard));
        let remaining = budget.remaining();
        wire::Asked {
            source: match self.role {
                SourceRole::Ingester => wire::Source::Ingester.into(),
                SourceRole::Store => wire::Source::Store.into(),
            },
            tenant: scope.tenant.as_str().into(),
            shards: epochs.map(|(shard, epoch)| wire::ShardEpoch { shard: *shard, epoch: *epoch }).collect(),
            incarnation: self.view.incarnation,
            version: self.view.version,
            deletions: self.view.deletions,
            remaining_ms: if remaining == Duration::MAX { 0 } else { millis(remaining).max(1) },
            max_bytes: match budget.max_bytes() {
                u64::MAX => 0,
                most => most.saturating_sub(budget.used_bytes()).max(1),
            },
            complete_from: scope.complete_from,
        }
    }

    /// Selects the series that match. The returned set fetches their samples on demand.
    pub async fn select(
        &self,
        scope: &Scope,
        request: &SelectRequest,
        budget: &Arc<Budget>,
    ) -> Result<RemoteSet, ReadError> {
        let selector = wire::Selector {
            asked: Some(self.asked(scope, budget)),
            matchers: write_matchers(&request.matchers),
            range: Some(write_range(request.range)),
            max_series: request.max_series as u64,
        };
        let opened = RemoteSet::open(self.client()?, self.clone(), selector, budget.clone(), self.runtime.clone());
        within(budget, opened).await
    }

    /// Returns the label sets of matching series that have samples in `range`. A `limit` of 0 means no limit.
    pub async fn read_series(
        &self,
        scope: &Scope,
        matchers: &[Matcher],
        range: TimeRange,
        limit: usize,
        budget: &Arc<Budget>,
    ) -> Result<Vec<Labels>, ReadError> {
        let request = wire::SeriesRequest {
            asked: Some(self.asked(scope, budget)),
            matchers: write_matchers(matchers),
            range: Some(write_range(range)),
            limit: limit as u64,
        };
        let (mut client, mut found) = (self.client()?, Vec::new());
        let mut held = Held::new(budget);
        within(budget, async {
            let mut answers = client.series(request).await.map_err(|s| self.failed(&s))?.into_inner();
            while let Some(answer) = self.next(&mut answers).await? {
                held.count(answer.encoded_len());
                read_labels(&answer.labels, &mut found, |bytes| held.take::<ReadError>(bytes))?;
            }
            Ok(())
        })
        .await?;
        Ok(found)
    }

    /// Returns the values of `label`, or all label names if it is `None`.
    pub async fn read_names(
        &self,
        scope: &Scope,
        label: Option<&str>,
        matchers: &[Matcher],
        range: TimeRange,
        budget: &Arc<Budget>,
    ) -> Result<Vec<String>, ReadError> {
        let request = wire::NamesRequest {
            asked: Some(self.asked(scope, budget)),
            matchers: write_matchers(matchers),
            range: Some(write_range(range)),
            label: label.map(str::to_string),
        };
        let (mut client, mut found) = (self.client()?, Vec::new());
        let mut held = Held::new(budget);
        within(budget, async {
            let mut answers = client.names(request).await.map_err(|s| self.failed(&s))?.into_inner();
            while let Some(answer) = self.next(&mut answers).await? {
                held.count(answer.encoded_len());
                held.take::<ReadError>(answer.encoded_len())?;
                found.extend(answer.names);
            }
            Ok(())
        })
        .await?;
        Ok(found)
    }

    /// Returns the exemplars of the matching series.
    pub async fn read_exemplars(
        &self,
        scope: &Scope,
        matchers: &[Matcher],
        range: TimeRange,
        budget: &Arc<Budget>,
    ) -> Result<Vec<SeriesExemplars>, ReadError> {
        let request = wire::SeriesRequest {
            asked: Some(self.asked(scope, budget)),
            matchers: write_matchers(matchers),
            range: Some(write_range(range)),
            limit: 0,
        };
        let (mut client, mut found) = (self.client()?, Vec::new());
        let mut held = Held::new(budget);
        let labels = |bytes: &[u8]| Labels::from_canonical(bytes).map_err(|_| Malformed("label set is not canonical"));
        within(budget, async {
            let mut answers = client.exemplars(request).await.map_err(|s| self.failed(&s))?.into_inner();
            while let Some(answer) = self.next(&mut answers).await? {
                held.count(answer.encoded_len());
                held.take::<ReadError>(answer.encoded_len())?;
                let exemplar = |e: &wire::Exemplar| Ok(Exemplar { labels: labels(&e.labels)?, value: e.value, t: e.t });
                let exemplars: Result<Vec<Exemplar>, Malformed> = answer.exemplars.iter().map(exemplar).collect();
                found.push(SeriesExemplars { labels: labels(&answer.labels)?, exemplars: exemplars? });
            }
            Ok(())
        })
        .await?;
        Ok(found)
    }

    /// Returns the metadata of all metric families by name.
    pub async fn read_metadata(
        &self,
        scope: &Scope,
        budget: &Arc<Budget>,
    ) -> Result<Vec<(String, Metadata)>, ReadError> {
        let request = wire::MetadataRequest { asked: Some(self.asked(scope, budget)) };
        let (mut client, mut found) = (self.client()?, Vec::new());
        let mut held = Held::new(budget);
        within(budget, async {
            let mut answers = client.metadata(request).await.map_err(|s| self.failed(&s))?.into_inner();
            while let Some(answer) = self.next(&mut answers).await? {
                held.count(answer.encoded_len());
                held.take::<ReadError>(answer.encoded_len())?;
                found.extend(answer.families.into_iter().map(|family| {
                    let kind = MetricType::parse(&family.r#type).unwrap_or_default();
                    (family.name, Metadata { kind, unit: family.unit, help: family.help })
                }));
            }
            Ok(())
        })
        .await?;
        Ok(found)
    }

    /// Returns from which timestamp the source has every sample, now and until `lasting` has passed.
    pub async fn read_completeness(
        &self,
        scope: &Scope,
        lasting: Duration,
        budget: &Arc<Budget>,
    ) -> Result<Completeness, ReadError> {
        let request = wire::CompletenessRequest { asked: Some(self.asked(scope, budget)), lasting_ms: millis(lasting) };
        let mut client = self.client()?;
        within(budget, async {
            let answer = client.completeness(request).await.map_err(|s| self.failed(&s))?.into_inner();
            Ok(answer.into())
        })
        .await
    }

    /// Evaluates a fragment of a query on the node.
    pub async fn read_fragment(
        &self,
        scope: &Scope,
        fragment: &Fragment,
        budget: &Arc<Budget>,
    ) -> Result<FragmentAnswer, ReadError> {
        let request = write_fragment(self.asked(scope, budget), fragment);
        let mut client = self.client()?;
        let mut held = Held::new(budget);
        let mut results: Vec<FragmentResult> = Vec::new();
        results.resize_with(fragment.expressions.len(), FragmentResult::default);
        let mut summary = None;
        within(budget, async {
            let mut answers = client.evaluate(request).await.map_err(|s| self.failed(&s))?.into_inner();
            while let Some(answer) = self.next(&mut answers).await? {
                held.count(answer.encoded_len());
                held.take::<ReadError>(answer.encoded_len())?;
                if let Some(last) = answer.summary {
                    summary = Some(last);
                    continue;
                }
                let result = results.get_mut(answer.expression as usize).ok_or(Malformed("no such expression"))?;
                result.names_go = answer.names_go;
                read_labels(&answer.labels, &mut result.labels, |bytes| held.take::<ReadError>(bytes))?;
                read_batch(&answer.samples, &mut result.samples)
                    .map_err(|e| ReadError::Unreachable(format!("node {}: {e}", self.address)))?;
                if result.labels.len() != result.samples.len() {
                    return Err(Malformed("as many label sets as series were expected").into());
                }
            }
            Ok(())
        })
        .await?;
        let broken = || ReadError::Unreachable(format!("node {}: the response stream ended early", self.address));
        let (notes, stats) = summary_of(summary.ok_or_else(broken)?);
        Ok(FragmentAnswer { results, notes, stats })
    }

    async fn next<T>(&self, answers: &mut Streaming<T>) -> Result<Option<T>, ReadError> {
        answers.message().await.map_err(|status| self.failed(&status))
    }

    fn wait<T>(&self, future: impl Future<Output = Result<T, ReadError>>) -> Result<T, SelectError> {
        self.runtime.block_on(future).map_err(ReadError::into_select_error)
    }

    /// A budget for reads that come without one.
    fn default_budget(&self) -> Arc<Budget> {
        Arc::new(Budget::new(Arc::new(pharos_model::SystemClock::new()), DEFAULT_TIMEOUT, DEFAULT_MAX_BYTES))
    }
}

/// Waits for a response until the budget is cancelled or out of time. Dropping the response ends the read on the node.
pub(super) async fn within<T>(
    budget: &Budget,
    answer: impl Future<Output = Result<T, ReadError>>,
) -> Result<T, ReadError> {
    let mut answer = std::pin::pin!(answer);
    loop {
        match tokio::time::timeout(CANCELLATION_CHECK_INTERVAL, &mut answer).await {
            Ok(answered) => return answered,
            Err(_) => budget.check()?,
        }
    }
}

/// Memory of received data, which a read takes from a budget until it returns.
struct Held<'b> {
    budget: &'b Arc<Budget>,
    bytes: u64,
}

impl<'b> Held<'b> {
    fn new(budget: &'b Arc<Budget>) -> Self {
        Held { budget, bytes: 0 }
    }

    fn take<E: From<SelectError>>(&mut self, bytes: usize) -> Result<(), E> {
        self.budget.take(bytes as u64)?;
        self.bytes += bytes as u64;
        Ok(())
    }

    /// Counts bytes received from the network.
    fn count(&self, bytes: usize) {
        self.budget.count_read(bytes as u64);
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.budget.give_back(self.bytes);
    }
}

impl SeriesSource for RemoteSource {
    /// Always succeeds, because the node checks its coverage before it responds.
    fn covers(&self, _: &Scope, _: Duration) -> Result<(), ReadError> {
        Ok(())
    }

    fn completeness(&self, scope: &Scope, lasting: Duration) -> Result<Completeness, SelectError> {
        self.wait(self.read_completeness(scope, lasting, &self.default_budget()))
    }

    fn select(
        &self,
        scope: &Scope,
        request: &SelectRequest,
        budget: &Arc<Budget>,
    ) -> Result<Arc<dyn SeriesSet>, SelectError> {
        Ok(Arc::new(self.wait(RemoteSource::select(self, scope, request, budget))?))
    }

    fn series(
        &self,
        scope: &Scope,
        matchers: &[Matcher],
        range: TimeRange,
        limit: usize,
    ) -> Result<Vec<Labels>, SelectError> {
        self.wait(self.read_series(scope, matchers, range, limit, &self.default_budget()))
    }

    fn label_names(&self, scope: &Scope, matchers: &[Matcher], range: TimeRange) -> Result<Vec<String>, SelectError> {
        self.wait(self.read_names(scope, None, matchers, range, &self.default_budget()))
    }

    fn label_values(
        &self,
        scope: &Scope,
        name: &str,
        matchers: &[Matcher],
        range: TimeRange,
    ) -> Result<Vec<String>, SelectError> {
        self.wait(self.read_names(scope, Some(name), matchers, range, &self.default_budget()))
    }

    fn exemplars(
        &self,
        scope: &Scope,
        matchers: &[Matcher],
        range: TimeRange,
    ) -> Result<Vec<SeriesExemplars>, SelectError> {
        self.wait(self.read_exemplars(scope, matchers, range, &self.default_budget()))
    }

    fn metadata(&self, scope: &Scope) -> Result<Vec<(String, Metadata)>, SelectError> {
        self.wait(self.read_metadata(scope, &self.default_budget()))
    }

    fn evaluate(
        &self,
        scope: &Scope,
        fragment: &Fragment,
        budget: &Arc<Budget>,
    ) -> Result<FragmentAnswer, FragmentError> {
        let answered = self.runtime.block_on(self.read_fragment(scope, fragment, budget));
        answered.map_err(|error| match error {
            ReadError::Failed(error) => error,
            other => SelectError::Storage(other.to_string()).into(),
        })
    }
}
