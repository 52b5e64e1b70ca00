//! The client of the read path: a source on another node.
//!
//! Reads take their time and memory from the query's budget and tell the node how much of both remains. A dropped read
//! cancels its work on the node.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use pharos_model::{Budget, SelectError, SelectRequest};
use prost::Message;
use tokio::runtime::Handle;
use tonic::{Response, Status, Streaming};

use super::convert::{MAX_MESSAGE_BYTES, error_of, millis, write_matchers, write_range};
use super::error::ReadError;
use super::newer_view::{NewerView, read_admitted};
use super::remote_set::RemoteSet;
use super::source::{ReadView, Scope};
use crate::query_v1 as wire;
use crate::query_v1::query_client::QueryClient;
use crate::{Connect, Connection};

/// How often a wait checks whether its query was cancelled.
const CANCELLATION_CHECK_INTERVAL: Duration = Duration::from_millis(20);

/// Samples that an ingester sends along with a selection, bytes. A small response takes one round trip then.
const INLINE_BYTES: u64 = 256 << 10;

/// The role of the node that serves a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SourceRole {
    /// An ingester, which holds recent samples in memory.
    Ingester,
    /// A store, which reads blocks.
    Store,
}

/// A source on another node, read under a view.
#[derive(Clone)]
pub struct RemoteSource {
    pub(super) connect: Arc<dyn Connect>,
    pub(super) address: Arc<str>,
    pub(super) role: SourceRole,
    pub(super) view: ReadView,
    pub(super) runtime: Handle,
    pub(super) newer: NewerView,
}

impl RemoteSource {
    /// Creates a client for a role of the node at `address`. `view` must hold the epochs of all shards that it may
    /// read.
    pub fn new(connect: Arc<dyn Connect>, address: &str, role: SourceRole, view: ReadView, runtime: Handle) -> Self {
        RemoteSource { connect, address: address.into(), role, view, runtime, newer: NewerView::default() }
    }

    /// Remembers newer versions of the view that the node names.
    pub fn reporting_to(self, newer: NewerView) -> Self {
        RemoteSource { newer, ..self }
    }

    /// The address of the node.
    pub fn address(&self) -> &str {
        &self.address
    }

    pub(super) fn client(&self) -> Result<QueryClient<Connection>, ReadError> {
        let connection = self.connect.connect(&self.address).map_err(|status| self.failed(&status))?;
        let client = QueryClient::new(connection);
        Ok(client.max_decoding_message_size(MAX_MESSAGE_BYTES).max_encoding_message_size(MAX_MESSAGE_BYTES))
    }

    pub(super) fn failed(&self, status: &Status) -> ReadError {
        error_of(&self.address, status)
    }

    /// The body of a response, after its header was read.
    pub(super) fn opened<T>(&self, response: Result<Response<T>, Status>) -> Result<T, ReadError> {
        let response = response.map_err(|status| self.failed(&status))?;
        self.newer.note(read_admitted(response.metadata()));
        Ok(response.into_inner())
    }

    /// The head of a request: whose samples are read, under which view, and what remains of the budget.
    pub(super) fn asked(&self, scope: &Scope, budget: &Budget) -> wire::Asked {
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
            // Blocks are read on demand, because that takes time.
            inline_bytes: if self.role == SourceRole::Ingester { INLINE_BYTES } else { 0 },
        };
        let opened = RemoteSet::open(self.client()?, self.clone(), selector, budget.clone(), self.runtime.clone());
        within(budget, opened).await
    }

    /// Receives a streamed response and passes each part to `take`, with the memory that the read holds.
    pub(super) async fn receive<T: Message>(
        &self,
        budget: &Arc<Budget>,
        opening: impl Future<Output = Result<Response<Streaming<T>>, Status>>,
        mut take: impl FnMut(T, &mut Held<'_>) -> Result<(), ReadError>,
    ) -> Result<(), ReadError> {
        let mut held = Held::new(budget);
        within(budget, async {
            let mut answers = self.opened(opening.await)?;
            while let Some(answer) = answers.message().await.map_err(|status| self.failed(&status))? {
                budget.count_read(answer.encoded_len() as u64);
                take(answer, &mut held)?;
            }
            Ok(())
        })
        .await
    }
}

/// Waits for a response until the budget is cancelled or out of time. Dropping this ends the wait, and on another node the read.
///
/// # Errors
/// The response's own, or that of the budget.
pub async fn within<T, E: From<SelectError>>(
    budget: &Budget,
    answer: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    let mut answer = std::pin::pin!(answer);
    loop {
        match tokio::time::timeout(CANCELLATION_CHECK_INTERVAL, &mut answer).await {
            Ok(answered) => return answered,
            Err(_) => budget.check()?,
        }
    }
}

/// Memory of received data, which a read takes from a budget until it returns.
pub(super) struct Held<'b> {
    budget: &'b Arc<Budget>,
    bytes: u64,
}

impl<'b> Held<'b> {
    fn new(budget: &'b Arc<Budget>) -> Self {
        Held { budget, bytes: 0 }
    }

    pub(super) fn take(&mut self, bytes: usize) -> Result<(), ReadError> {
        self.budget.take(bytes as u64)?;
        self.bytes += bytes as u64;
        Ok(())
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.budget.give_back(self.bytes);
    }
}
