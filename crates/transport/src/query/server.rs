//! The server of the read path, which serves the sources of this node to other nodes.
//!
//! Every read has a budget: the remaining time and memory of the client's query, capped by this node's limits. The
//! server cancels the budget when the client disconnects. Responses are streamed in parts, of which only a few wait for
//! a slow client.

use std::sync::Arc;
use std::time::Duration;

use pharos_model::fragment::FragmentRow;
use pharos_model::wire::columns;
use pharos_model::{Budget, Clock, FragmentAnswer, Labels, MemoryAccount, Purpose, SelectError, SeriesBatch};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tonic::service::RoutesBuilder;
use tonic::{Request, Response, Status, Streaming};

use super::batch::write_batch;
use super::convert::{
    MAX_MESSAGE_BYTES, bytes, fragment_of, matchers_of, millis, range_of, scope_of, status_of, write_summary,
};
use super::error::{ReadError, Refused};
use super::labels::{LabelsWriter, write_labels};
use super::newer_view::write_admitted;
use super::server_select;
use super::source::{Admitted, ReadView, Scope, SeriesSource};
use crate::query_v1 as wire;
use crate::query_v1::query_server::{Query, QueryServer};

/// Maximum number of parts of a response that wait for the client.
const PARTS_IN_FLIGHT: usize = 4;
/// Target size of a part of label sets or names, bytes.
pub(super) const PART_BYTES: usize = 256 << 10;
/// Target number of samples in a part.
pub(super) const PART_SAMPLES: usize = 64 << 10;

/// Most samples that are sent along with a selection, bytes.
const MAX_INLINE_BYTES: u64 = 1 << 20;

/// Limits on reads by other nodes.
#[derive(Clone, Copy, Debug)]
pub struct ReadLimits {
    /// Maximum memory of a read, bytes. Default: 2 GiB.
    pub max_bytes: u64,
    /// Maximum duration of a read. Default: 10 minutes.
    pub max_time: Duration,
    /// Maximum number of concurrent reads. The server refuses more, so that the client reads from another node.
    /// Default: 256.
    pub max_reads: usize,
}

impl Default for ReadLimits {
    fn default() -> Self {
        ReadLimits { max_bytes: 2 << 30, max_time: Duration::from_secs(600), max_reads: 256 }
    }
}

/// The sources that this node serves to other nodes.
pub struct QueryServices {
    /// The ingester's source; `None` if this node is not an ingester.
    pub ingester: Option<Arc<dyn SeriesSource>>,
    /// The store's source; `None` if this node is not a store.
    pub store: Option<Arc<dyn SeriesSource>>,
    /// The clock that budgets measure their time with.
    pub clock: Arc<dyn Clock>,
    /// What the requests of this node hold.
    pub memory: Arc<MemoryAccount>,
    /// Limits on each read and on their number.
    pub limits: ReadLimits,
}

impl QueryServices {
    /// Adds the gRPC service to `routes`.
    pub fn add_to(self, routes: &mut RoutesBuilder) {
        let reads = Arc::new(Semaphore::new(self.limits.max_reads));
        let server = QueryServer::new(Served { services: self, reads });
        routes.add_service(
            server.max_decoding_message_size(MAX_MESSAGE_BYTES).max_encoding_message_size(MAX_MESSAGE_BYTES),
        );
    }
}

struct Served {
    services: QueryServices,
    reads: Arc<Semaphore>,
}

/// A read in progress.
pub(super) struct ServedRead {
    pub(super) source: Arc<dyn SeriesSource>,
    pub(super) scope: Scope,
    pub(super) view: ReadView,
    pub(super) budget: Arc<Budget>,
    _turn: OwnedSemaphorePermit,
}

impl ServedRead {
    /// Checks whether the source can serve the read. Blocks until the source has reached the read's view.
    ///
    /// # Errors
    /// The budget is exhausted, the source refuses the view, or its data is less complete than the read requires.
    pub(super) fn admit(&self) -> Result<Admitted, ReadError> {
        self.budget.check()?;
        let admitted = self.source.admit(&self.scope.tenant, &self.view)?;
        self.source.covers(&self.scope, self.budget.remaining())?;
        Ok(admitted)
    }

    /// As [`ServedRead::admit`]; the outcome also goes to the handler of the call, which answers with it.
    pub(super) fn admit_for(&self, handler: oneshot::Sender<Result<Admitted, Status>>) -> Result<(), Refusal> {
        let admitted = self.admit();
        let is_admitted = admitted.is_ok();
        let told = handler.send(admitted.map_err(|error| status_of(&error)));
        if is_admitted && told.is_ok() { Ok(()) } else { Err(Refusal) }
    }
}

/// The read does not take place, which its client knows unless it is gone.
pub(super) struct Refusal;

/// The response to an admitted call.
async fn admitted_response<T>(
    admission: oneshot::Receiver<Result<Admitted, Status>>,
    parts: mpsc::Receiver<Result<T, Status>>,
) -> Answer<T> {
    let admitted = admission.await.map_err(|_| Status::internal("the read panicked"))??;
    let mut response = Response::new(ReceiverStream::new(parts));
    write_admitted(admitted, response.metadata_mut());
    Ok(response)
}

/// The sender of a response's parts.
pub(super) struct Out<T> {
    sender: mpsc::Sender<Result<T, Status>>,
}

impl<T> Out<T> {
    /// Sends a part. Blocks while [`PARTS_IN_FLIGHT`] parts wait for the client.
    pub(super) fn send(&self, part: T) -> Result<(), ReadError> {
        self.sender.blocking_send(Ok(part)).map_err(|_| SelectError::Cancelled.into())
    }
}

/// A streamed response, or the status that refuses the call.
type Answer<T> = Result<Response<ReceiverStream<Result<T, Status>>>, Status>;

impl Served {
    fn read(&self, asked: Option<wire::Asked>) -> Result<ServedRead, Status> {
        let asked = asked.ok_or_else(|| Status::invalid_argument("the read has no scope"))?;
        let (scope, view) = scope_of(&asked)?;
        let refused = |reason: &str| {
            status_of(&Refused { shards: Default::default(), reason: reason.into(), complete: None }.into())
        };
        let source = match asked.source() {
            wire::Source::Ingester => self.services.ingester.clone(),
            wire::Source::Store => self.services.store.clone(),
        };
        let source = source.ok_or_else(|| refused("this node does not have the requested role"))?;
        let turn = self.reads.clone().try_acquire_owned();
        let turn = turn.map_err(|_| refused("this node serves too many reads"))?;
        let limits = &self.services.limits;
        let time = if asked.remaining_ms == 0 { Duration::MAX } else { Duration::from_millis(asked.remaining_ms) };
        let memory = if asked.max_bytes == 0 { u64::MAX } else { asked.max_bytes };
        let (time, memory) = (time.min(limits.max_time), memory.min(limits.max_bytes));
        let hold = self.services.memory.open(&scope.tenant, Purpose::Query);
        let budget = Arc::new(Budget::drawn(self.services.clock.clone(), time, memory, hold));
        Ok(ServedRead { source, scope, view, budget, _turn: turn })
    }

    /// Runs `work` on a blocking thread and streams the parts that it sends.
    async fn answer<T: Send + 'static>(
        &self,
        asked: Option<wire::Asked>,
        work: impl FnOnce(&ServedRead, &Out<T>) -> Result<(), ReadError> + Send + 'static,
    ) -> Answer<T> {
        let read = self.read(asked)?;
        let (sender, receiver) = mpsc::channel(PARTS_IN_FLIGHT);
        let (handler, admission) = oneshot::channel();
        let (watched, budget) = (sender.clone(), read.budget.clone());
        let working = tokio::task::spawn_blocking(move || {
            let Ok(()) = read.admit_for(handler) else { return };
            let out = Out { sender };
            if let Err(error) = work(&read, &out) {
                let _client_may_be_gone = out.sender.blocking_send(Err(status_of(&error)));
            }
        });
        tokio::spawn(async move {
            let _cancelled = budget.cancel_on_drop();
            tokio::select! {
                () = watched.closed() => {}
                done = working => {
                    if done.is_err() {
                        let _client_may_be_gone = watched.send(Err(Status::internal("the read panicked"))).await;
                    }
                }
            }
        });
        admitted_response(admission, receiver).await
    }
}

/// Sends names in parts.
fn send_names(names: Vec<String>, out: &Out<wire::NamesAnswer>) -> Result<(), ReadError> {
    let (mut part, mut size) = (Vec::new(), 0);
    for name in names {
        size += name.len() + 4;
        part.push(name);
        if size >= PART_BYTES {
            out.send(wire::NamesAnswer { names: std::mem::take(&mut part) })?;
            size = 0;
        }
    }
    if part.is_empty() { Ok(()) } else { out.send(wire::NamesAnswer { names: part }) }
}

/// Sends the rows of a fragment's value in parts.
fn send_rows(answer: &FragmentAnswer, out: &Out<wire::EvaluateAnswer>) -> Result<(), ReadError> {
    let samples = |row: &FragmentRow| row.values.len() + row.hists.len();
    let mut rest = &answer.rows[..];
    while !rest.is_empty() {
        let mut total = 0;
        let fit = rest.iter().take_while(|row| {
            total += samples(row);
            total <= PART_SAMPLES
        });
        let (part, later) = rest.split_at(fit.count().max(1));
        rest = later;
        let mut encoded = Vec::new();
        columns::encode(part, &mut encoded);
        let first: Option<Vec<&Labels>> = part.iter().map(|row| row.first.as_ref()).collect();
        out.send(wire::EvaluateAnswer {
            labels: bytes(write_labels(part.iter().map(|row| &row.labels))),
            first: bytes(write_labels(first.unwrap_or_default())),
            columns: bytes(encoded),
            names_go: answer.names_go,
            ..wire::EvaluateAnswer::default()
        })?;
    }
    Ok(())
}

/// Encodes the samples of the series at positions `rows`.
pub(super) fn coded(batch: &SeriesBatch, rows: std::ops::Range<usize>) -> Result<bytes::Bytes, ReadError> {
    let coded = write_batch(batch, rows).map_err(|e| SelectError::Storage(format!("encoding samples failed: {e}")))?;
    Ok(bytes(coded))
}

#[tonic::async_trait]
impl Query for Served {
    type SelectStream = ReceiverStream<Result<wire::SelectAnswer, Status>>;
    type SeriesStream = ReceiverStream<Result<wire::SeriesAnswer, Status>>;
    type NamesStream = ReceiverStream<Result<wire::NamesAnswer, Status>>;
    type ExemplarsStream = ReceiverStream<Result<wire::ExemplarsAnswer, Status>>;
    type MetadataStream = ReceiverStream<Result<wire::MetadataAnswer, Status>>;
    type EvaluateStream = ReceiverStream<Result<wire::EvaluateAnswer, Status>>;

    async fn select(&self, request: Request<Streaming<wire::SelectRequest>>) -> Answer<wire::SelectAnswer> {
        let mut requests = request.into_inner();
        let first = requests.message().await?.and_then(|first| first.selector);
        let selector =
            first.ok_or_else(|| Status::invalid_argument("the first message of a stream must be a selector"))?;
        let read = self.read(selector.asked)?;
        let request = pharos_model::SelectRequest {
            matchers: matchers_of(selector.matchers)?,
            range: range_of(selector.range)?,
            max_series: usize::try_from(selector.max_series).unwrap_or(usize::MAX),
        };
        let (sender, receiver) = mpsc::channel(PARTS_IN_FLIGHT);
        let inline_bytes = selector.inline_bytes.min(MAX_INLINE_BYTES);
        let (handler, admission) = oneshot::channel();
        tokio::spawn(server_select::serve(read, request, inline_bytes, requests, sender, handler));
        admitted_response(admission, receiver).await
    }

    async fn series(&self, request: Request<wire::SeriesRequest>) -> Answer<wire::SeriesAnswer> {
        let request = request.into_inner();
        let (matchers, range) = (matchers_of(request.matchers)?, range_of(request.range)?);
        let limit = usize::try_from(request.limit).unwrap_or(usize::MAX);
        self.answer(request.asked, move |read, out| {
            let found = read.source.series(&read.scope, &matchers, range, limit, &read.budget)?;
            let mut part = LabelsWriter::default();
            for labels in &found {
                part.push(labels);
                if part.len() >= PART_BYTES {
                    out.send(wire::SeriesAnswer { labels: bytes(part.take()) })?;
                }
            }
            if part.is_empty() { Ok(()) } else { out.send(wire::SeriesAnswer { labels: bytes(part.take()) }) }
        })
        .await
    }

    async fn names(&self, request: Request<wire::NamesRequest>) -> Answer<wire::NamesAnswer> {
        let request = request.into_inner();
        let (matchers, range, label) = (matchers_of(request.matchers)?, range_of(request.range)?, request.label);
        self.answer(request.asked, move |read, out| {
            let label = label.as_deref();
            send_names(read.source.names(&read.scope, label, &matchers, range, &read.budget)?, out)
        })
        .await
    }

    async fn exemplars(&self, request: Request<wire::SeriesRequest>) -> Answer<wire::ExemplarsAnswer> {
        let request = request.into_inner();
        let (matchers, range) = (matchers_of(request.matchers)?, range_of(request.range)?);
        self.answer(request.asked, move |read, out| {
            for series in read.source.exemplars(&read.scope, &matchers, range, &read.budget)? {
                let exemplars = series.exemplars.iter().map(|e| wire::Exemplar {
                    labels: bytes(e.labels.as_bytes().to_vec()),
                    value: e.value,
                    t: e.t,
                });
                let labels = bytes(series.labels.as_bytes().to_vec());
                out.send(wire::ExemplarsAnswer { labels, exemplars: exemplars.collect() })?;
            }
            Ok(())
        })
        .await
    }

    async fn metadata(&self, request: Request<wire::MetadataRequest>) -> Answer<wire::MetadataAnswer> {
        self.answer(request.into_inner().asked, move |read, out| {
            let known = read.source.metadata(&read.scope)?;
            for part in known.chunks(1000) {
                let family = |(name, m): &(String, pharos_model::Metadata)| wire::Family {
                    name: name.clone(),
                    r#type: m.kind.as_str().into(),
                    unit: m.unit.clone(),
                    help: m.help.clone(),
                };
                out.send(wire::MetadataAnswer { families: part.iter().map(family).collect() })?;
            }
            Ok(())
        })
        .await
    }

    async fn completeness(
        &self,
        request: Request<wire::CompletenessRequest>,
    ) -> Result<Response<wire::CompletenessAnswer>, Status> {
        let request = request.into_inner();
        let lasting = Duration::from_millis(request.lasting_ms);
        let lasting = if millis(lasting) == u64::MAX { Duration::MAX } else { lasting };
        let read = self.read(request.asked)?;
        let _cancelled = read.budget.cancel_on_drop();
        let working = tokio::task::spawn_blocking(move || {
            let admitted = read.admit()?;
            Ok::<_, ReadError>((admitted, read.source.completeness(&read.scope, lasting)?))
        });
        let broken = |_| Status::internal("the read panicked");
        let (admitted, found) = working.await.map_err(broken)?.map_err(|error| status_of(&error))?;
        let mut response = Response::new(found.into());
        write_admitted(admitted, response.metadata_mut());
        Ok(response)
    }

    async fn evaluate(&self, request: Request<wire::EvaluateRequest>) -> Answer<wire::EvaluateAnswer> {
        let mut request = request.into_inner();
        let asked = request.asked.take();
        let fragment = fragment_of(request)?;
        self.answer(asked, move |read, out| {
            let answer = read.source.evaluate(&read.scope, &fragment, &read.budget)?;
            send_rows(&answer, out)?;
            let summary = Some(write_summary(&answer.notes, &answer.stats));
            out.send(wire::EvaluateAnswer { summary, ..wire::EvaluateAnswer::default() })
        })
        .await
    }
}
