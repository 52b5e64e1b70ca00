//! The log's queue and the thread that writes it.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::{Condvar, Mutex, RwLock, RwLockReadGuard};
use pharos_model::WriteError;

use super::commit::{Commit, Durable};
use super::record::put_durable;
use super::segment::{file_name, header};
use crate::fs::{Fs, LogFile};
use crate::metrics::HeadMetrics;

/// The wait before the first retry. It doubles with every further one.
const MIN_RETRY_INTERVAL: Duration = Duration::from_millis(20);
const MAX_RETRY_INTERVAL: Duration = Duration::from_secs(2);

/// The settings of the log.
#[derive(Clone, Debug)]
pub(crate) struct LogConfig {
    pub(crate) dir: PathBuf,
    /// The number of the first segment to write.
    pub(crate) first_segment: u32,
    /// The size at which a segment is closed.
    pub(crate) segment_bytes: u64,
    /// Appends are refused while this many bytes are not durable yet.
    pub(crate) max_pending_bytes: u64,
}

/// Appends the first record of a segment, framed.
pub(crate) type Opening = Box<dyn Fn(&mut Vec<u8>) + Send + Sync>;

/// The log, open for appending.
pub(crate) struct Log {
    shared: Arc<Shared>,
    writer: Option<JoinHandle<()>>,
}

struct Shared {
    config: LogConfig,
    fs: Arc<dyn Fs>,
    metrics: Arc<HeadMetrics>,
    opening: Opening,
    /// The current segment. A read lock is held while a record is encoded and queued, so that its series are declared in the
    /// segment to which it goes.
    segment: RwLock<u32>,
    queue: Mutex<Queue>,
    work: Condvar,
    durable: Arc<Durable>,
    /// How many bytes a segment that declares everything spends on that.
    declarable: AtomicI64,
}

#[derive(Default)]
struct Queue {
    batches: Vec<RecordBatch>,
    /// The oldest segment that the writer may be writing to.
    writing: Option<u32>,
    /// Bytes pushed since the log was opened.
    pushed: u64,
    /// Bytes of the current segment.
    segment_bytes: u64,
    /// How many bytes of the current segment declare tenants and series.
    declared_bytes: u64,
    /// Segments that were closed since [`Log::take_closed`], with their sizes in bytes.
    closed: Vec<(u32, u64)>,
    /// The last failure of the writer; `None` when the log can be written.
    error: Option<String>,
    closing: bool,
}

impl Queue {
    /// Whether the current segment has `min_bytes`. Declarations are repeated in every segment, so it grows until those that
    /// the next one will repeat, `declarable` bytes at most, are a small part of it.
    fn is_full(&self, min_bytes: u64, declarable: u64) -> bool {
        self.segment_bytes >= min_bytes.max(4 * self.declared_bytes.min(declarable))
    }
}

/// Encoded records for one segment.
struct RecordBatch {
    segment: u32,
    bytes: Vec<u8>,
}

/// Permission to encode and push records for one segment.
pub(crate) struct Ticket<'a> {
    segment: RwLockReadGuard<'a, u32>,
}

impl Ticket<'_> {
    pub(crate) fn segment(&self) -> u32 {
        *self.segment
    }
}

impl Log {
    /// Every segment begins with the record that `opening` writes.
    pub(crate) fn open(
        config: LogConfig,
        fs: Arc<dyn Fs>,
        metrics: Arc<HeadMetrics>,
        opening: Opening,
    ) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            segment: RwLock::new(config.first_segment),
            config,
            fs,
            metrics,
            opening,
            queue: Mutex::default(),
            work: Condvar::new(),
            durable: Arc::default(),
            declarable: AtomicI64::new(0),
        });
        let writer = Writer { shared: shared.clone(), file: None };
        let thread = std::thread::Builder::new().name("wal".into()).spawn(move || writer.run())?;
        Ok(Log { shared, writer: Some(thread) })
    }

    /// Why the log cannot be written at present; none while it can.
    pub(crate) fn failure(&self) -> Option<WriteError> {
        self.shared.durable.refusal()
    }

    /// Fails while the log cannot be written or too many bytes are not durable yet.
    pub(crate) fn check(&self) -> Result<(), WriteError> {
        if let Some(refusal) = self.shared.durable.refusal() {
            return Err(refusal);
        }
        let queue = self.shared.queue.lock();
        let pending = queue.pushed - self.shared.durable.position();
        if pending < self.shared.config.max_pending_bytes {
            return Ok(());
        }
        let cause = queue.error.as_ref().map_or(String::new(), |e| format!(": {e}"));
        Err(WriteError::Unavailable(format!("write-ahead log has {pending} bytes that are not durable yet{cause}")))
    }

    /// Reserves the current segment for records that are about to be encoded.
    pub(crate) fn ticket(&self) -> Ticket<'_> {
        Ticket { segment: self.shared.segment.read() }
    }

    /// Queues records, of which `declared` bytes declare tenants and series.
    pub(crate) fn push(&self, ticket: Ticket<'_>, records: &[u8], declared: u64) -> Commit {
        let segment = ticket.segment();
        let mut queue = self.shared.queue.lock();
        if !records.is_empty() {
            match queue.batches.last_mut().filter(|batch| batch.segment == segment) {
                Some(batch) => batch.bytes.extend_from_slice(records),
                None => queue.batches.push(RecordBatch { segment, bytes: records.to_vec() }),
            }
            queue.pushed += records.len() as u64;
            queue.segment_bytes += records.len() as u64;
            queue.declared_bytes += declared;
            self.shared.work.notify_one();
        }
        let commit = Commit::new(self.shared.durable.clone(), queue.pushed);
        let full = self.shared.config.segment_bytes;
        let rotate = queue.is_full(full, self.declarable());
        drop(queue);
        drop(ticket);
        if rotate {
            self.rotate(full);
        }
        commit
    }

    /// Starts a new segment if the current one has at least `min_bytes`, and at least one.
    pub(crate) fn rotate(&self, min_bytes: u64) {
        let mut segment = self.shared.segment.write();
        let mut queue = self.shared.queue.lock();
        if queue.is_full(min_bytes.max(1), self.declarable()) {
            let bytes = std::mem::take(&mut queue.segment_bytes);
            queue.closed.push((*segment, bytes));
            *segment += 1;
            queue.declared_bytes = 0;
        }
    }

    /// Notes that a segment has more or fewer bytes to declare.
    pub(crate) fn add_declarable(&self, bytes: i64) {
        self.shared.declarable.fetch_add(bytes, Ordering::Relaxed);
    }

    fn declarable(&self) -> u64 {
        self.shared.declarable.load(Ordering::Relaxed).max(0) as u64
    }

    /// The segments that were closed since the last call, with their sizes in bytes. Some of them may not be written yet.
    pub(crate) fn take_closed(&self) -> Vec<(u32, u64)> {
        std::mem::take(&mut self.shared.queue.lock().closed)
    }

    /// Resolves when everything pushed so far is durable.
    pub(crate) fn commit(&self) -> Commit {
        Commit::new(self.shared.durable.clone(), self.shared.queue.lock().pushed)
    }

    /// The oldest segment that may still be written to. All earlier ones are complete.
    pub(crate) fn oldest_open(&self) -> u32 {
        let segment = self.shared.segment.read();
        let queue = self.shared.queue.lock();
        queue.writing.or(queue.batches.first().map(|batch| batch.segment)).unwrap_or(*segment)
    }

    /// Bytes in the queue that are not durable yet.
    pub(crate) fn pending_bytes(&self) -> u64 {
        self.shared.queue.lock().pushed - self.shared.durable.position()
    }
}

impl Drop for Log {
    /// Tries once to write what is queued. Records that cannot be written were never acknowledged.
    fn drop(&mut self) {
        self.shared.queue.lock().closing = true;
        self.shared.work.notify_all();
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}

/// The state of the writer thread.
struct Writer {
    shared: Arc<Shared>,
    file: Option<OpenSegment>,
}

struct OpenSegment {
    number: u32,
    file: Box<dyn LogFile>,
    /// The durable length of the file.
    durable: u64,
    /// Whether the file may be longer than `durable`.
    dirty: bool,
    /// Whether the directory entry of the file is durable.
    named: bool,
}

impl Writer {
    fn run(mut self) {
        let shared = self.shared.clone();
        let mut position = 0;
        while let Some(batches) = self.next_work() {
            for batch in batches {
                if !self.write_until_durable(&batch) {
                    shared.durable.close();
                    return;
                }
                position += batch.bytes.len() as u64;
                shared.durable.advance(position);
            }
        }
        self.end();
        shared.durable.close();
    }

    /// Records that everything in the open segment is durable, so that damage at its end is not taken for a torn write.
    fn end(&mut self) {
        let Some(open) = self.file.as_mut().filter(|open| !open.dirty) else { return };
        let mut record = Vec::new();
        put_durable(&mut record, open.durable);
        let written = write_all(&mut *open.file, &record, open.durable).and_then(|_| open.file.sync());
        if let Err(error) = written {
            // What is left of the record looks like a torn write, which it is.
            tracing::debug!(%error, segment = open.number, "could not record that the write-ahead log was closed");
        }
    }

    /// Waits for records; `None` once the log is closing and everything is written.
    fn next_work(&self) -> Option<Vec<RecordBatch>> {
        let mut queue = self.shared.queue.lock();
        queue.writing = None;
        while queue.batches.is_empty() {
            if queue.closing {
                return None;
            }
            self.shared.work.wait(&mut queue);
        }
        queue.writing = queue.batches.first().map(|batch| batch.segment);
        Some(std::mem::take(&mut queue.batches))
    }

    /// Retries until the records are durable; returns false when the log closes first.
    fn write_until_durable(&mut self, batch: &RecordBatch) -> bool {
        let mut pause = MIN_RETRY_INTERVAL;
        loop {
            let error = match self.write(batch) {
                Ok(()) => {
                    if self.shared.queue.lock().error.take().is_some() {
                        tracing::info!(segment = batch.segment, "write-ahead log can be written again");
                    }
                    return true;
                }
                Err(error) => error,
            };
            self.shared.metrics.wal_failures.inc();
            let mut queue = self.shared.queue.lock();
            if queue.error.is_none() {
                tracing::error!(%error, segment = batch.segment, dir = %self.shared.config.dir.display(),
                    "write-ahead log cannot be written; retrying, and acknowledging no writes until it succeeds");
            }
            let again = queue.error.replace(error.to_string()).is_some();
            if again {
                self.shared.durable.fail(&error.to_string());
            }
            if queue.closing {
                tracing::error!(%error, "write-ahead log closed with unwritten records, none of which was acknowledged");
                return false;
            }
            self.pause(&mut queue, pause);
            pause = (pause * 2).min(MAX_RETRY_INTERVAL);
        }
    }

    /// Waits until it is time to retry or the log is closing.
    fn pause(&self, queue: &mut parking_lot::MutexGuard<'_, Queue>, pause: Duration) {
        let closing = |queue: &mut Queue| !queue.closing;
        self.shared.work.wait_while_for(queue, closing, pause);
    }

    fn write(&mut self, batch: &RecordBatch) -> std::io::Result<()> {
        let Shared { config, fs, metrics, .. } = &*self.shared;
        let open = match self.file.take().filter(|open| open.number == batch.segment) {
            Some(open) => open,
            None => {
                let file = fs.open_write(&config.dir.join(file_name(batch.segment)))?;
                OpenSegment { number: batch.segment, file, durable: 0, dirty: true, named: false }
            }
        };
        let open = self.file.insert(open);
        if open.dirty {
            open.file.truncate(open.durable)?;
        }
        open.dirty = true;
        let mut first = Vec::new();
        if open.durable == 0 {
            first.extend_from_slice(&header(batch.segment));
            (self.shared.opening)(&mut first);
        } else {
            put_durable(&mut first, open.durable);
        }
        let end = write_all(&mut *open.file, &first, open.durable)?;
        let end = write_all(&mut *open.file, &batch.bytes, end)?;
        open.file.sync()?;
        if !open.named {
            fs.sync_dir(&config.dir)?;
            open.named = true;
        }
        metrics.wal_bytes.inc_by(end - open.durable);
        metrics.wal_syncs.inc();
        open.durable = end;
        open.dirty = false;
        Ok(())
    }
}

/// Writes all bytes at an offset and returns the offset behind them.
pub(crate) fn write_all(file: &mut dyn LogFile, mut bytes: &[u8], mut offset: u64) -> std::io::Result<u64> {
    while !bytes.is_empty() {
        match file.write_at(bytes, offset) {
            Ok(0) => return Err(std::io::ErrorKind::WriteZero.into()),
            Ok(n) => {
                offset += n as u64;
                bytes = &bytes[n..];
            }
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(offset)
}

#[cfg(test)]
mod tests;
