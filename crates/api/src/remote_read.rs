//! `/api/v1/read`: serves raw series to other Prometheus servers, as samples or as a stream of chunks.
//!
//! Selection and encoding run on a blocking thread. A stream is encoded a few frames ahead of its reader, and aborted when the
//! reader takes none for a while. When the reader disconnects, the read is cancelled, on other nodes as well. An error before the first frame becomes a status code. A
//! later error aborts the stream, so that no reader mistakes a part for the whole.

mod bits;
mod chunks;
#[cfg(test)]
mod decoding;
mod frames;
mod permits;
pub(crate) mod request;
mod samples;

use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use pharos_model::{Budget, Labels, Matcher, SelectError, SelectRequest, SeriesBatch, SeriesSet, TenantId};
use pharos_promql::Querier;
use pharos_querier::queue::Turn;
use pharos_transport::prometheus::read_request::ResponseType;
use pharos_transport::prometheus::{Chunk, ChunkedReadResponse, ChunkedSeries, Query, ReadRequest};
use prost::Message;
use tokio::sync::oneshot;

use crate::unsent::Unsent;

/// The limits of one remote read, and the labels that it adds.
pub(crate) struct ReadLimits {
    /// Memory, timeout and cancellation of the read.
    pub(crate) budget: Arc<Budget>,
    /// Maximum number of samples in a response of type SAMPLES. 0 means no limit. Prometheus's default: 50,000,000.
    pub(crate) max_samples: usize,
    /// Maximum number of series that a query may select. 0 means no limit.
    pub(crate) max_series: usize,
    /// Maximum size of a frame of chunks, bytes. A frame may exceed it by one chunk. Prometheus's default: 1 MiB.
    pub(crate) max_frame_bytes: usize,
    /// Labels that the read adds to every series.
    pub(crate) external_labels: Labels,
    /// The permit to run, held until the response is encoded.
    pub(crate) _turn: Option<Turn>,
    /// Responses that wait for their clients.
    pub(crate) unsent: Arc<Unsent>,
    /// The tenant that reads.
    pub(crate) tenant: TenantId,
}

impl ReadLimits {
    /// Creates limits with Prometheus's defaults.
    pub(crate) fn new(budget: Arc<Budget>, unsent: Arc<Unsent>) -> Self {
        ReadLimits {
            budget,
            max_samples: 50_000_000,
            max_series: 0,
            max_frame_bytes: 1 << 20,
            external_labels: Labels::empty(),
            _turn: None,
            unsent,
            tenant: TenantId::default(),
        }
    }
}

/// The reason why a remote read fails.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum ReadError {
    /// The request is malformed.
    #[error("{0}")]
    BadRequest(String),
    /// The response exceeds the sample limit.
    #[error("exceeded sample limit ({0})")]
    Samples(usize),
    /// The selection failed.
    #[error(transparent)]
    Select(#[from] SelectError),
    /// A bug in this program.
    #[error("{0}")]
    Internal(String),
    /// The reader disconnected.
    #[error("the reader is gone")]
    Gone,
}

impl IntoResponse for ReadError {
    fn into_response(self) -> Response {
        let status = match &self {
            ReadError::BadRequest(_) | ReadError::Samples(_) => StatusCode::BAD_REQUEST,
            ReadError::Select(SelectError::Memory { .. } | SelectError::Series { .. }) => StatusCode::BAD_REQUEST,
            ReadError::Select(SelectError::Full(full)) if full.is_of_tenant() => StatusCode::TOO_MANY_REQUESTS,
            ReadError::Select(SelectError::Full(_) | SelectError::Timeout(_) | SelectError::Cancelled) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            ReadError::Select(SelectError::Storage(_) | SelectError::Damaged(_))
            | ReadError::Internal(_)
            | ReadError::Gone => StatusCode::INTERNAL_SERVER_ERROR,
        };
        (status, format!("{self}\n")).into_response()
    }
}

pub(crate) use self::permits::RemoteReads;

/// Number of series that are fetched at a time.
const SERIES_AT_A_TIME: usize = 16;

const SAMPLES_TYPE: &str = "application/x-protobuf";
const CHUNKS_TYPE: &str = "application/x-streamed-protobuf; proto=prometheus.ChunkedReadResponse";

/// Serves a remote-read request. `body` is a snappy-compressed `ReadRequest`.
pub(crate) async fn read(body: Bytes, querier: Arc<dyn Querier>, limits: ReadLimits) -> Response {
    let decoded = request::decode(&body).and_then(|request| Ok((request::response_type(&request)?, request)));
    let answer = match decoded {
        Ok((ResponseType::Samples, request)) => samples(request, querier, limits).await,
        Ok((ResponseType::StreamedXorChunks, request)) => stream(request, querier, limits).await,
        Err(error) => Err(error),
    };
    answer.unwrap_or_else(IntoResponse::into_response)
}

async fn samples(request: ReadRequest, querier: Arc<dyn Querier>, limits: ReadLimits) -> Result<Response, ReadError> {
    // This future is dropped when the reader disconnects.
    let cancel = limits.budget.cancel_on_drop();
    let (unsent, tenant) = (limits.unsent.clone(), limits.tenant.clone());
    let work = move || encode_samples(&request, &*querier, &limits);
    let done = tokio::task::spawn_blocking(work).await;
    cancel.disarm();
    let body = done.map_err(|error| ReadError::Internal(format!("a remote read failed: {error}")))??;
    let (size, unread) = unsent.whole(&tenant, body.into()).await.map_err(SelectError::Full)?;
    let headers = [(header::CONTENT_TYPE, SAMPLES_TYPE), (header::CONTENT_ENCODING, "snappy")];
    let size = [(header::CONTENT_LENGTH, HeaderValue::from(size))];
    Ok((headers, size, Body::from_stream(unread)).into_response())
}

fn encode_samples(request: &ReadRequest, querier: &dyn Querier, limits: &ReadLimits) -> Result<Vec<u8>, ReadError> {
    let mut taken = Taken { budget: &limits.budget, bytes: 0 };
    let mut response = samples::SamplesResponse::default();
    let mut count = 0;
    for query in &request.queries {
        each_series(query, querier, limits, |series, batch, at| {
            let view = batch.view(at);
            count += view.t.len() + view.ht.len();
            if limits.max_samples > 0 && count > limits.max_samples {
                return Err(ReadError::Samples(limits.max_samples));
            }
            let before = response.len();
            response.push(&samples::labels(series, &limits.external_labels), &view);
            taken.take(response.len() - before)
        })?;
        response.end_query();
    }
    let response = response.finish();
    taken.take(snap::raw::max_compress_len(response.len()))?;
    snap::raw::Encoder::new()
        .compress_vec(&response)
        .map_err(|error| ReadError::Internal(format!("compressing {} bytes failed: {error}", response.len())))
}

async fn stream(request: ReadRequest, querier: Arc<dyn Querier>, limits: ReadLimits) -> Result<Response, ReadError> {
    let (writer, unread) = limits.unsent.begin(&limits.tenant);
    let (failed, failure) = oneshot::channel();
    // This future, and then the body, is dropped when the reader disconnects.
    let cancel = limits.budget.cancel_on_drop();
    tokio::task::spawn_blocking(move || {
        let frame = |bytes| writer.send(bytes).map_err(|_| ReadError::Gone);
        match encode_frames(&request, &*querier, &limits, frame) {
            Ok(()) => writer.complete(),
            // Without a complete end, the stream is aborted. If the reader disconnected, nobody receives the error.
            Err(error) => drop(failed.send(error)),
        }
    });
    let headers = [(header::CONTENT_TYPE, CHUNKS_TYPE)];
    match unread.first().await {
        Ok(size) => {
            if size.is_some() {
                cancel.disarm();
                return Ok((headers, Body::from_stream(unread)).into_response());
            }
            let frames = futures::stream::unfold((unread, cancel), |(mut unread, cancel)| async {
                let frame = futures::StreamExt::next(&mut unread).await?;
                Some((frame, (unread, cancel)))
            });
            // Fused, because the compression layer polls again after the end.
            Ok((headers, Body::from_stream(futures::StreamExt::fuse(frames))).into_response())
        }
        Err(full) => {
            cancel.disarm();
            Err(match full {
                Some(full) => SelectError::Full(full).into(),
                None => failure.await.unwrap_or_else(|_| ReadError::Internal("a remote read failed".into())),
            })
        }
    }
}

/// Encodes the results of all queries. A frame holds chunks of one series.
fn encode_frames(
    request: &ReadRequest,
    querier: &dyn Querier,
    limits: &ReadLimits,
    mut frame: impl FnMut(Bytes) -> Result<(), ReadError>,
) -> Result<(), ReadError> {
    for (index, query) in (0i64..).zip(&request.queries) {
        each_series(query, querier, limits, |series, batch, at| {
            let labels = samples::labels(series, &limits.external_labels);
            let room = limits.max_frame_bytes.saturating_sub(labels.iter().map(Message::encoded_len).sum());
            let (mut chunks, mut bytes, mut sent) = (Vec::new(), 0, Ok(()));
            let mut send = |chunks: &mut Vec<Chunk>| {
                let series = ChunkedSeries { labels: labels.clone(), chunks: std::mem::take(chunks) };
                let message = ChunkedReadResponse { chunked_series: vec![series], query_index: index }.encode_to_vec();
                let mut out = Vec::with_capacity(message.len() + 16);
                frames::append_frame(&mut out, &message);
                frame(Bytes::from(out))
            };
            chunks::encode_series(&batch.view(at), |chunk| {
                bytes += chunk.encoded_len();
                chunks.push(chunk);
                if bytes >= room && sent.is_ok() {
                    sent = send(&mut chunks);
                    bytes = 0;
                }
            });
            sent?;
            if chunks.is_empty() { Ok(()) } else { send(&mut chunks) }
        })?;
    }
    Ok(())
}

/// Calls `each` for every selected series that has samples in the range of the query.
fn each_series(
    query: &Query,
    querier: &dyn Querier,
    limits: &ReadLimits,
    mut each: impl FnMut(&Labels, &SeriesBatch, usize) -> Result<(), ReadError>,
) -> Result<(), ReadError> {
    let request: SelectRequest = request::selection(query, &limits.external_labels, limits.max_series)?;
    if request.matchers.is_empty() {
        // A query without matchers selects nothing, as in Prometheus.
        return Ok(());
    }
    let mut compiled = Taken { budget: &limits.budget, bytes: 0 };
    compiled.take(request.matchers.iter().map(Matcher::regex_bytes).sum())?;
    let set: Arc<dyn SeriesSet> = querier.select(&request, &limits.budget)?;
    let labels = set.labels();
    let mut batch = SeriesBatch::default();
    for start in (0..labels.len()).step_by(SERIES_AT_A_TIME) {
        limits.budget.check()?;
        let part = start..(start + SERIES_AT_A_TIME).min(labels.len());
        batch.clear();
        set.fetch(part.clone(), request.range, &mut batch)?;
        set.prefetch(part.end..(part.end + SERIES_AT_A_TIME).min(labels.len()), request.range);
        let mut taken = Taken { budget: &limits.budget, bytes: 0 };
        taken.take(batch.bytes())?;
        for (at, series) in labels[part].iter().enumerate().take(batch.len()) {
            let view = batch.view(at);
            if view.t.len() + view.ht.len() > 0 {
                each(series, &batch, at)?;
            }
        }
    }
    Ok(())
}

/// Memory taken from a query's budget, returned on drop.
struct Taken<'a> {
    budget: &'a Budget,
    bytes: u64,
}

impl Taken<'_> {
    fn take(&mut self, bytes: usize) -> Result<(), ReadError> {
        self.budget.take(bytes as u64)?;
        self.bytes += bytes as u64;
        Ok(())
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        self.budget.give_back(self.bytes);
    }
}

#[cfg(test)]
mod tests;
