//! Reads the log back into a head.
//!
//! The calling thread reads segments and verifies checksums. Workers decode records and append the samples of the series
//! that they own by hash, which keeps the samples of a series in order. Records that concern all series (cuts, flushes,
//! evictions, deletions) and the end of a segment wait until all workers have caught up.
//!
//! A torn tail is truncated. Any other damage is an error that names the file and the offset (INV-TORN-TAIL), unless other
//! nodes have the samples too. Whatever is truncated marks the log as incomplete.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use super::damage::durable_behind;
use super::incomplete;
use super::log::write_all;
use super::record::{self, Record};
use super::segment::{ReadError, SegmentReader, file_name, header, parse_file_name};
use crate::error::HeadError;
use crate::fs::Fs;
use crate::window::WindowSchedule;
use pharos_model::wire::Malformed;

/// The progress of a replay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplayProgress {
    /// Segments read so far.
    pub segments: usize,
    /// Segments in total.
    pub total_segments: usize,
    /// Bytes read so far.
    pub bytes: u64,
    /// Bytes in total.
    pub total_bytes: u64,
}

/// How many records may be queued for a worker.
const MAX_QUEUED_RECORDS: usize = 16;
/// How many bytes are read between two progress reports.
const REPORT_BYTES: u64 = 16 << 20;

/// The target of one worker, which holds the series that the worker owns.
pub(crate) trait Sink: Send {
    /// Applies a tenant or append record.
    fn apply(&mut self, segment: u32, record: Record<'_>) -> Result<(), Malformed>;
    /// Publishes what was counted; at the end of a segment also discards its declarations.
    fn settle(&mut self, end_of_segment: bool);
}

enum Work {
    Record(u32, u64, Arc<[u8]>),
    Settle { end_of_segment: bool, done: SyncSender<Option<(u64, Malformed)>> },
}

/// The segments of a log.
pub(crate) struct Segments {
    pub(crate) files: Vec<(u32, PathBuf, u64)>,
}

impl Segments {
    /// Lists the segments of a directory by ascending number.
    pub(crate) fn list(fs: &dyn Fs, dir: &Path) -> Result<Self, HeadError> {
        let listed = fs.list(dir).map_err(|source| HeadError::Io { action: "list", path: dir.into(), source })?;
        let mut files: Vec<(u32, PathBuf, u64)> = listed
            .into_iter()
            .filter_map(|(name, len)| parse_file_name(&name).map(|number| (number, dir.join(&name), len)))
            .collect();
        files.sort_unstable_by_key(|(number, ..)| *number);
        Ok(Segments { files })
    }

    /// The first number that is missing between two others.
    pub(crate) fn gap(&self) -> Option<u32> {
        self.files.windows(2).find(|pair| pair[0].0 + 1 != pair[1].0).map(|pair| pair[0].0 + 1)
    }

    /// Makes durable what a killed process has written without an fsync. Once it is replayed, it counts as durable, and the
    /// segment is not the last one any more.
    pub(crate) fn sync_last(&self, fs: &dyn Fs, dir: &Path) -> Result<(), HeadError> {
        let Some((_, path, _)) = self.files.last() else { return Ok(()) };
        let synced = fs.open_write(path).and_then(|mut file| file.sync()).and_then(|()| fs.sync_dir(dir));
        synced.map_err(|source| HeadError::Io { action: "fsync", path: path.clone(), source })
    }

    /// The schedule of windows with which the newest segment begins; `None` if no segment says it. Segments that cannot be
    /// read are skipped, since the replay deals with them.
    pub(crate) fn schedule(&self, fs: &dyn Fs) -> Option<WindowSchedule> {
        self.files.iter().rev().find_map(|(number, path, len)| {
            let mut reader = SegmentReader::new(fs.open_read(path).ok()?, *len, *number).ok()?;
            match record::read(reader.next().ok()??) {
                Ok(Record::Opening { schedule, .. }) => Some(schedule),
                _ => None,
            }
        })
    }
}

/// What a replay reads.
pub(crate) struct Source<'a> {
    pub(crate) fs: &'a dyn Fs,
    pub(crate) dir: &'a Path,
    pub(crate) segments: &'a Segments,
    /// Whether damage is truncated like a torn tail, since other nodes have the samples too.
    pub(crate) has_replicas: bool,
    /// Called when records were damaged, before those behind them are applied.
    pub(crate) damaged: &'a dyn Fn(),
}

/// Replays all segments. `control` gets the records that concern all series, while the sinks are idle, and tenant records.
pub(crate) fn replay<S: Sink>(
    source: Source<'_>,
    sinks: Vec<S>,
    mut control: impl FnMut(u32, Record<'_>) -> Result<(), Malformed>,
    progress: &mut dyn FnMut(ReplayProgress),
) -> Result<(), HeadError> {
    let segments = source.segments;
    let total_bytes = segments.files.iter().map(|(.., len)| len).sum();
    std::thread::scope(|scope| {
        let workers: Vec<SyncSender<Work>> = sinks
            .into_iter()
            .map(|sink| {
                let (sender, receiver) = sync_channel(MAX_QUEUED_RECORDS);
                scope.spawn(move || work(sink, &receiver));
                sender
            })
            .collect();
        let mut done = ReplayProgress { segments: 0, total_segments: segments.files.len(), bytes: 0, total_bytes };
        for (position, (number, path, len)) in segments.files.iter().enumerate() {
            progress(done);
            let segment = Segment { source: &source, number: *number, path, len: *len };
            let last = position + 1 == segments.files.len();
            segment.replay(last, &workers, &mut control, &mut |read| {
                progress(ReplayProgress { bytes: done.bytes + read, ..done });
            })?;
            done = ReplayProgress { segments: done.segments + 1, bytes: done.bytes + len, ..done };
        }
        progress(done);
        Ok(())
    })
}

fn work<S: Sink>(mut sink: S, receiver: &Receiver<Work>) {
    let mut failed: Option<(u64, Malformed)> = None;
    while let Ok(work) = receiver.recv() {
        match work {
            Work::Record(segment, offset, payload) if failed.is_none() => {
                failed = record::read(&payload).and_then(|r| sink.apply(segment, r)).err().map(|e| (offset, e));
            }
            Work::Record(..) => {}
            Work::Settle { end_of_segment, done } => {
                sink.settle(end_of_segment);
                let _ = done.send(failed.take());
            }
        }
    }
}

/// Waits until all workers have caught up; returns the failure with the lowest offset.
fn settle(workers: &[SyncSender<Work>], end_of_segment: bool) -> Option<(u64, Malformed)> {
    let mut replies = Vec::new();
    for worker in workers {
        let (done, reply) = sync_channel(1);
        if worker.send(Work::Settle { end_of_segment, done }).is_ok() {
            replies.push(reply);
        }
    }
    replies.into_iter().filter_map(|reply| reply.recv().ok().flatten()).min_by_key(|(offset, _)| *offset)
}

struct Segment<'a> {
    source: &'a Source<'a>,
    number: u32,
    path: &'a Path,
    len: u64,
}

impl Segment<'_> {
    fn replay(
        &self,
        last: bool,
        workers: &[SyncSender<Work>],
        control: &mut impl FnMut(u32, Record<'_>) -> Result<(), Malformed>,
        progress: &mut dyn FnMut(u64),
    ) -> Result<(), HeadError> {
        let file = self.open()?;
        let mut reader = match SegmentReader::new(file, self.len, self.number) {
            Ok(reader) => reader,
            Err(error) => return self.bad(0, error, last),
        };
        let mut reported = 0;
        loop {
            let offset = reader.offset();
            let payload = match reader.next() {
                Ok(Some(payload)) => payload,
                Ok(None) => break,
                Err(error) => {
                    self.settle(workers)?;
                    return self.bad(offset, error, last);
                }
            };
            if record::is_of_segment(payload) {
                let applied = record::read(payload).and_then(|r| control(self.number, r));
                applied.map_err(|e| self.corrupt(offset, e.to_string()))?;
            } else if record::is_control(payload) {
                if let Some(failure) = settle(workers, false) {
                    return Err(self.corrupt(failure.0, failure.1.to_string()));
                }
                let applied = record::read(payload).and_then(|r| control(self.number, r));
                applied.map_err(|e| self.corrupt(offset, e.to_string()))?;
            } else {
                if record::is_tenant(payload) {
                    let applied = record::read(payload).and_then(|r| control(self.number, r));
                    applied.map_err(|e| self.corrupt(offset, e.to_string()))?;
                }
                let payload: Arc<[u8]> = Arc::from(payload);
                for worker in workers {
                    let _ = worker.send(Work::Record(self.number, offset, payload.clone()));
                }
            }
            if reader.offset() - reported >= REPORT_BYTES {
                reported = reader.offset();
                progress(reported);
            }
        }
        self.settle(workers)
    }

    fn settle(&self, workers: &[SyncSender<Work>]) -> Result<(), HeadError> {
        settle(workers, true).map_or(Ok(()), |(offset, error)| Err(self.corrupt(offset, error.to_string())))
    }

    /// Handles an unreadable record. It ends the segment if a crash may have torn it, or if other nodes have the samples;
    /// otherwise it is an error.
    fn bad(&self, offset: u64, error: ReadError, last: bool) -> Result<(), HeadError> {
        let reason = match error {
            ReadError::Bad(reason) => reason,
            ReadError::Io(source) => return Err(self.io("read", source)),
            ReadError::Version(_) => {
                return Err(HeadError::Version { file: self.path.into(), reason: error.to_string() });
            }
        };
        let Source { fs, dir, has_replicas, .. } = *self.source;
        let (file, lost_bytes) = (self.path.display(), self.len - offset);
        let durable = if last { durable_behind(self.open()?, offset).map_err(|e| self.io("read", e))? } else { None };
        let is_torn = last && durable.is_none();
        if is_torn {
            tracing::warn!(%file, offset, lost_bytes, reason, "write-ahead log ends in a torn record; truncating it");
        } else if has_replicas {
            tracing::error!(%file, offset, lost_bytes, reason,
                "write-ahead log is damaged; truncating the segment and copying what it lost from other replicas");
            (self.source.damaged)();
        } else {
            return Err(self.corrupt(offset, reason));
        }
        if lost_bytes > 0 {
            incomplete::mark(fs, dir)?;
        }
        truncate(fs, dir, self.path, self.number, offset)
    }

    fn open(&self) -> Result<Box<dyn std::io::Read + Send>, HeadError> {
        self.source.fs.open_read(self.path).map_err(|source| self.io("open", source))
    }

    fn corrupt(&self, offset: u64, reason: String) -> HeadError {
        HeadError::Corrupt { file: self.path.into(), offset, reason, dir: self.source.dir.into() }
    }

    fn io(&self, action: &'static str, source: std::io::Error) -> HeadError {
        HeadError::Io { action, path: self.path.into(), source }
    }
}

/// Truncates a segment to `len` bytes, durably. At length 0 a header is written, so that the numbers stay without a gap.
pub(crate) fn truncate(fs: &dyn Fs, dir: &Path, path: &Path, number: u32, len: u64) -> Result<(), HeadError> {
    let cut = || {
        let mut file = fs.open_write(path)?;
        file.truncate(len)?;
        if len == 0 {
            write_all(&mut *file, &header(number), 0)?;
        }
        file.sync()?;
        fs.sync_dir(dir)
    };
    cut().map_err(|source| HeadError::Io { action: "truncate", path: path.into(), source })
}

pub(crate) fn segment_path(dir: &Path, number: u32) -> PathBuf {
    dir.join(file_name(number))
}
