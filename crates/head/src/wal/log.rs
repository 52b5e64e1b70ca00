//! The log's queue and the thread that writes it.

use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::{Condvar, Mutex, RwLock, RwLockReadGuard};
use pharos_model::WriteError;

use super::commit::{Commit, Durable};
use super::segment::{file_name, header};
use crate::fs::{Fs, LogFile};
use crate::metrics::HeadMetrics;

const FIRST_RETRY: Duration = Duration::from_millis(20);
const LAST_RETRY: Duration = Duration::from_secs(2);

/// What the log needs to know.
#[derive(Clone, Debug)]
pub(crate) struct LogConfig {
    pub(crate) dir: PathBuf,
    /// The number of the first segment to write.
    pub(crate) first_segment: u32,
    /// A segment ends when it has so many bytes.
    pub(crate) segment_bytes: u64,
    /// Appends are refused while so many bytes wait to become durable.
    pub(crate) max_pending_bytes: u64,
}

/// The log, open for appending.
pub(crate) struct Log {
    shared: Arc<Shared>,
    writer: Option<JoinHandle<()>>,
}

struct Shared {
    config: LogConfig,
    fs: Arc<dyn Fs>,
    metrics: Arc<HeadMetrics>,
    /// Held for reading while a record is made and queued, so that its series are declared in the segment it goes to.
    segment: RwLock<u32>,
    queue: Mutex<Queue>,
    work: Condvar,
    durable: Arc<Durable>,
}

#[derive(Default)]
struct Queue {
    pieces: Vec<Piece>,
    /// The oldest segment to which the writer may be writing.
    writing: Option<u32>,
    /// Bytes pushed since the log was opened.
    pushed: u64,
    /// Bytes of the current segment, and those of series declarations among them.
    segment_bytes: u64,
    declared_bytes: u64,
    error: Option<String>,
    closing: bool,
}

/// Records for one segment.
struct Piece {
    segment: u32,
    bytes: Vec<u8>,
}

/// Permission to make and push a record for the segment that it names.
pub(crate) struct Ticket<'a> {
    segment: RwLockReadGuard<'a, u32>,
}

impl Ticket<'_> {
    pub(crate) fn segment(&self) -> u32 {
        *self.segment
    }
}

impl Log {
    pub(crate) fn open(config: LogConfig, fs: Arc<dyn Fs>, metrics: Arc<HeadMetrics>) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            segment: RwLock::new(config.first_segment),
            config,
            fs,
            metrics,
            queue: Mutex::default(),
            work: Condvar::new(),
            durable: Arc::default(),
        });
        let writer = Writer { shared: shared.clone(), file: None };
        let thread = std::thread::Builder::new().name("wal".into()).spawn(move || writer.run())?;
        Ok(Log { shared, writer: Some(thread) })
    }

    /// Refuses when too much waits to become durable.
    pub(crate) fn check(&self) -> Result<(), WriteError> {
        if let Some(refusal) = self.shared.durable.refusal() {
            return Err(refusal);
        }
        let queue = self.shared.queue.lock();
        let waiting = queue.pushed - self.shared.durable.position();
        if waiting < self.shared.config.max_pending_bytes {
            return Ok(());
        }
        let cause = queue.error.as_ref().map_or(String::new(), |e| format!(": {e}"));
        Err(WriteError::Unavailable(format!("write-ahead log has {waiting} bytes that are not durable yet{cause}")))
    }

    /// Begins making a record.
    pub(crate) fn ticket(&self) -> Ticket<'_> {
        Ticket { segment: self.shared.segment.read() }
    }

    /// Queues records; `declared` of their bytes declare series.
    pub(crate) fn push(&self, ticket: Ticket<'_>, records: &[u8], declared: u64) -> Commit {
        let segment = ticket.segment();
        let mut queue = self.shared.queue.lock();
        if !records.is_empty() {
            match queue.pieces.last_mut().filter(|piece| piece.segment == segment) {
                Some(piece) => piece.bytes.extend_from_slice(records),
                None => queue.pieces.push(Piece { segment, bytes: records.to_vec() }),
            }
            queue.pushed += records.len() as u64;
            queue.segment_bytes += records.len() as u64;
            queue.declared_bytes += declared;
            self.shared.work.notify_one();
        }
        let commit = Commit::new(self.shared.durable.clone(), queue.pushed);
        // Declarations are repeated in each segment: keep them a small part of it.
        let full = self.shared.config.segment_bytes.max(4 * queue.declared_bytes);
        let rotate = queue.segment_bytes >= full;
        drop(queue);
        drop(ticket);
        if rotate {
            self.rotate(full);
        }
        commit
    }

    /// Begins a new segment if the current one has at least `min_bytes`.
    pub(crate) fn rotate(&self, min_bytes: u64) {
        let mut segment = self.shared.segment.write();
        let mut queue = self.shared.queue.lock();
        if queue.segment_bytes >= min_bytes.max(1) {
            *segment += 1;
            (queue.segment_bytes, queue.declared_bytes) = (0, 0);
        }
    }

    /// Resolves when all that was pushed so far is durable.
    pub(crate) fn commit(&self) -> Commit {
        Commit::new(self.shared.durable.clone(), self.shared.queue.lock().pushed)
    }

    /// The segments before this one are written and closed: nothing will be added to them.
    pub(crate) fn oldest_open(&self) -> u32 {
        let segment = self.shared.segment.read();
        let queue = self.shared.queue.lock();
        queue.writing.or(queue.pieces.first().map(|piece| piece.segment)).unwrap_or(*segment)
    }

    /// Bytes that are not durable yet.
    pub(crate) fn pending_bytes(&self) -> u64 {
        self.shared.queue.lock().pushed - self.shared.durable.position()
    }
}

impl Drop for Log {
    /// Writes what is queued, once; what cannot be written then was never acknowledged.
    fn drop(&mut self) {
        self.shared.queue.lock().closing = true;
        self.shared.work.notify_all();
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}

/// The thread behind the log.
struct Writer {
    shared: Arc<Shared>,
    file: Option<OpenSegment>,
}

struct OpenSegment {
    number: u32,
    file: Box<dyn LogFile>,
    /// All bytes before are durable.
    durable: u64,
    /// There may be other bytes behind `durable`.
    dirty: bool,
    /// The directory knows the file.
    named: bool,
}

impl Writer {
    fn run(mut self) {
        let shared = self.shared.clone();
        let mut position = 0;
        while let Some(pieces) = self.next_work() {
            for piece in pieces {
                if !self.write_until_durable(&piece) {
                    shared.durable.close();
                    return;
                }
                position += piece.bytes.len() as u64;
                shared.durable.advance(position);
            }
        }
        shared.durable.close();
    }

    /// Waits for something to write; nothing when the log is closing and all is written.
    fn next_work(&self) -> Option<Vec<Piece>> {
        let mut queue = self.shared.queue.lock();
        queue.writing = None;
        while queue.pieces.is_empty() {
            if queue.closing {
                return None;
            }
            self.shared.work.wait(&mut queue);
        }
        queue.writing = queue.pieces.first().map(|piece| piece.segment);
        Some(std::mem::take(&mut queue.pieces))
    }

    /// Tries until it succeeds; gives up only when the log is closing.
    fn write_until_durable(&mut self, piece: &Piece) -> bool {
        let mut pause = FIRST_RETRY;
        loop {
            let error = match self.write(piece) {
                Ok(()) => {
                    if self.shared.queue.lock().error.take().is_some() {
                        tracing::info!(segment = piece.segment, "write-ahead log can be written again");
                    }
                    return true;
                }
                Err(error) => error,
            };
            self.shared.metrics.wal_failures.inc();
            let mut queue = self.shared.queue.lock();
            if queue.error.is_none() {
                tracing::error!(%error, segment = piece.segment, dir = %self.shared.config.dir.display(),
                    "write-ahead log cannot be written, trying again; writes are not acknowledged meanwhile");
            }
            let again = queue.error.replace(error.to_string()).is_some();
            if again {
                self.shared.durable.fail(&error.to_string());
            }
            if queue.closing {
                tracing::error!(%error, "write-ahead log closes with bytes that were never acknowledged");
                return false;
            }
            self.pause(&mut queue, pause);
            pause = (pause * 2).min(LAST_RETRY);
        }
    }

    /// Waits for the time to try again, or for the log to close.
    fn pause(&self, queue: &mut parking_lot::MutexGuard<'_, Queue>, pause: Duration) {
        let closing = |queue: &mut Queue| !queue.closing;
        self.shared.work.wait_while_for(queue, closing, pause);
    }

    fn write(&mut self, piece: &Piece) -> std::io::Result<()> {
        let Shared { config, fs, metrics, .. } = &*self.shared;
        let open = match self.file.take().filter(|open| open.number == piece.segment) {
            Some(open) => open,
            None => {
                let file = fs.open_write(&config.dir.join(file_name(piece.segment)))?;
                OpenSegment { number: piece.segment, file, durable: 0, dirty: true, named: false }
            }
        };
        let open = self.file.insert(open);
        if open.dirty {
            open.file.truncate(open.durable)?;
        }
        open.dirty = true;
        let mut end = open.durable;
        if end == 0 {
            end = write_all(&mut *open.file, &header(piece.segment), 0)?;
        }
        end = write_all(&mut *open.file, &piece.bytes, end)?;
        open.file.sync()?;
        if !open.named {
            fs.sync_dir(&config.dir)?;
            open.named = true;
        }
        metrics.wal_bytes.inc_by(end - open.durable);
        metrics.wal_syncs.inc();
        (open.durable, open.dirty) = (end, false);
        Ok(())
    }
}

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
