//! Serves one selection: sends its label sets, with the first samples if they are wanted, then the samples of each fetch, until
//! the client disconnects.

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use pharos_model::{SelectError, SelectRequest, SeriesBatch, SeriesSet, TimeRange};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tonic::{Status, Streaming};

use super::convert::{bytes, range_of, status_of};
use super::error::ReadError;
use super::labels::LabelsWriter;
use super::server::{PART_BYTES, PART_SAMPLES, ServedRead, coded};
use super::source::Admitted;
use crate::query_v1 as wire;

/// Maximum number of fetches of a selection that run at a time.
const FETCHES_AT_A_TIME: usize = 4;
/// Number of series in the first part of a fetch, whose samples per series are still unknown.
const FIRST_SERIES: usize = 64;
/// Number of series whose samples are read first to send them along with a selection.
const FIRST_INLINE_SERIES: usize = 16;
/// Maximum number of series in a part.
const MAX_SERIES: usize = 4096;

type Sender = mpsc::Sender<Result<wire::SelectAnswer, Status>>;

/// A selection in progress.
struct Selection {
    read: ServedRead,
    set: Arc<dyn SeriesSet>,
    sender: Sender,
    /// The bytes and requests that the client was already told about.
    told: Mutex<(u64, u64)>,
}

/// Serves a stream until either side ends it.
pub(super) async fn serve(
    read: ServedRead,
    request: SelectRequest,
    inline_bytes: u64,
    requests: Streaming<wire::SelectRequest>,
    sender: Sender,
    handler: oneshot::Sender<Result<Admitted, Status>>,
) {
    let _cancelled = read.budget.cancel_on_drop();
    let out = sender.clone();
    let working = tokio::task::spawn_blocking(move || {
        let Ok(()) = read.admit_for(handler) else { return Err(SelectError::Cancelled.into()) };
        select(read, &request, inline_bytes, out)
    });
    let selected = tokio::select! {
        done = working => done,
        () = sender.closed() => return,
    };
    let failed = match selected {
        Ok(Ok(Some(selection))) => fetches(Arc::new(selection), requests).await,
        // Everything was sent.
        Ok(Ok(None)) => Ok(()),
        Ok(Err(error)) => Err(status_of(&error)),
        Err(_) => Err(Status::internal("the response was aborted")),
    };
    if let Err(status) = failed {
        let _asker_may_be_gone = sender.send(Err(status)).await;
    }
}

/// Selects the series and sends their label sets, along with the samples of the first ones. Returns the selection unless these
/// were all samples.
fn select(
    read: ServedRead,
    request: &SelectRequest,
    inline_bytes: u64,
    sender: Sender,
) -> Result<Option<Selection>, ReadError> {
    let set = read.source.select(&read.scope, request, &read.budget)?;
    let gone = |_| ReadError::from(SelectError::Cancelled);
    let mut part = LabelsWriter::default();
    for labels in set.labels() {
        part.push(labels);
        if part.len() >= PART_BYTES {
            let labels = bytes(part.take());
            let answer = wire::SelectAnswer { labels, ..wire::SelectAnswer::default() };
            sender.blocking_send(Ok(answer)).map_err(gone)?;
        }
    }
    let first = first_series(&read, set.as_ref(), request.range, inline_bytes)?;
    let is_all = first.len() == set.labels().len();
    let held = first.bytes() as u64;
    read.budget.take(held)?;
    let samples = if first.is_empty() { Ok(Bytes::new()) } else { coded(&first, 0..first.len()) };
    read.budget.give_back(held);
    let samples = samples?;
    let selection = Selection { read, set, sender, told: Mutex::default() };
    let (bytes_read, requests) = selection.reads();
    let labels = bytes(part.take());
    let last =
        wire::SelectAnswer { labels, all_labels: true, samples, bytes_read, requests, ..wire::SelectAnswer::default() };
    selection.sender.blocking_send(Ok(last)).map_err(gone)?;
    Ok((!is_all).then_some(selection))
}

/// Reads the samples of the first series, up to a size that the last of them may exceed.
fn first_series(
    read: &ServedRead,
    set: &dyn SeriesSet,
    range: TimeRange,
    inline_bytes: u64,
) -> Result<SeriesBatch, ReadError> {
    let mut batch = SeriesBatch::default();
    let (mut at, mut width) = (0, FIRST_INLINE_SERIES);
    while at < set.labels().len() && (size_of_samples(&batch) as u64) < inline_bytes {
        read.budget.check()?;
        let end = set.labels().len().min(at + width);
        set.fetch(at..end, range, &mut batch)?;
        let each = size_of_samples(&batch) as u64 / end as u64;
        let left = inline_bytes.saturating_sub(size_of_samples(&batch) as u64);
        width = usize::try_from(left / each.max(1)).unwrap_or(MAX_SERIES).clamp(1, MAX_SERIES);
        at = end;
    }
    Ok(batch)
}

/// The bytes of the samples of a batch, without unused memory.
fn size_of_samples(batch: &SeriesBatch) -> usize {
    let SeriesBatch { t, v, st, ht, h, hst, .. } = batch;
    8 * (t.len() + v.len() + st.len() + ht.len() + hst.len()) + h.iter().map(|h| h.bytes()).sum::<usize>()
}

/// Serves fetches, up to [`FETCHES_AT_A_TIME`] of them concurrently.
async fn fetches(selection: Arc<Selection>, mut requests: Streaming<wire::SelectRequest>) -> Result<(), Status> {
    let turns = Arc::new(Semaphore::new(FETCHES_AT_A_TIME));
    loop {
        let request = tokio::select! {
            request = requests.message() => request,
            () = selection.sender.closed() => return Ok(()),
        };
        // The client closed its side of the stream or disconnected.
        let Ok(Some(request)) = request else { return Ok(()) };
        let fetch = request.fetch.ok_or_else(|| Status::invalid_argument("a stream has one selector"))?;
        let (from, to) = (usize::try_from(fetch.from), usize::try_from(fetch.to));
        let (Ok(from), Ok(to)) = (from, to) else { return Err(Status::invalid_argument("no such series")) };
        if from > to || to > selection.set.labels().len() || fetch.id == 0 {
            let of = selection.set.labels().len();
            return Err(Status::invalid_argument(format!("fetch {} of series {from} to {to} of {of}", fetch.id)));
        }
        let range = range_of(fetch.range)?;
        let turn = tokio::select! {
            turn = turns.clone().acquire_owned() => turn,
            () = selection.sender.closed() => return Ok(()),
        };
        let Ok(turn) = turn else { return Ok(()) };
        let selection = selection.clone();
        let sender = selection.sender.clone();
        let working = tokio::task::spawn_blocking(move || answer(&selection, fetch.id, from..to, range, turn));
        tokio::spawn(async move {
            if working.await.is_err() {
                let _asker_may_be_gone = sender.send(Err(Status::internal("the response was aborted"))).await;
            }
        });
    }
}

fn answer(
    selection: &Selection,
    id: u64,
    series: std::ops::Range<usize>,
    range: TimeRange,
    _turn: OwnedSemaphorePermit,
) {
    if let Err(error) = send(selection, id, series, range) {
        let _asker_may_be_gone = selection.sender.blocking_send(Err(status_of(&error)));
    }
}

/// Sends the samples of a range of series in parts. Adapts the series per part to the samples per series.
fn send(selection: &Selection, id: u64, series: std::ops::Range<usize>, range: TimeRange) -> Result<(), ReadError> {
    let budget = &selection.read.budget;
    let mut batch = SeriesBatch::default();
    let (mut at, mut width) = (series.start, FIRST_SERIES);
    loop {
        budget.check()?;
        let end = series.end.min(at + width);
        batch.clear();
        selection.set.fetch(at..end, range, &mut batch)?;
        let held = batch.bytes() as u64;
        budget.take(held)?;
        let coded = coded(&batch, 0..batch.len());
        budget.give_back(held);
        let (bytes_read, requests) = selection.reads();
        let last = end == series.end;
        let answer = wire::SelectAnswer {
            fetch: id,
            samples: coded?,
            last,
            bytes_read,
            requests,
            ..wire::SelectAnswer::default()
        };
        let gone = |_| ReadError::from(SelectError::Cancelled);
        selection.sender.blocking_send(Ok(answer)).map_err(gone)?;
        if last {
            return Ok(());
        }
        width = (PART_SAMPLES * width / batch.samples().max(1)).clamp(1, MAX_SERIES);
        at = end;
    }
}

impl Selection {
    /// Returns the bytes and requests that the source read since the last call.
    fn reads(&self) -> (u64, u64) {
        let mut told = self.told.lock();
        let now = self.read.budget.reads();
        let new = (now.0.saturating_sub(told.0), now.1.saturating_sub(told.1));
        *told = now;
        new
    }
}
