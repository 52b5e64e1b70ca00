//! Write-ahead logs: whatever the files contain, opening a head returns a head or an error, and a head that opens once opens again
//! with the same samples.
//!
//! The first byte decides how the rest becomes a segment: as a whole file, or as records that get a valid header and
//! valid checksums, so that they reach the decoders. The segment stands alone or follows a valid one.

use std::collections::BTreeMap;
use std::io::{self, Cursor, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use pharos_head::fs::{DirLock, Fs, LogFile};
use pharos_head::{Head, HeadConfig, HeadError};
use pharos_model::clock::ManualClock;
use pharos_model::write::HistogramSample;
use pharos_model::{
    Exemplar, Histogram, Labels, MatchOp, Matcher, Sample, SelectRequest, SeriesBatch, ShardSet, TenantId, TimeRange,
    WriteBatch,
};

/// Files in memory.
#[derive(Clone, Default)]
struct MemFs(Arc<Mutex<BTreeMap<PathBuf, Vec<u8>>>>);

impl MemFs {
    fn files<T>(&self, with: impl FnOnce(&mut BTreeMap<PathBuf, Vec<u8>>) -> T) -> T {
        with(&mut self.0.lock())
    }
}

struct MemFile(MemFs, PathBuf);
struct NoLock;

impl DirLock for NoLock {}

impl LogFile for MemFile {
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.0.files(|files| {
            let file = files.entry(self.1.clone()).or_default();
            let end = offset as usize + bytes.len();
            file.resize(end.max(file.len()), 0);
            file[offset as usize..end].copy_from_slice(bytes);
        });
        Ok(bytes.len())
    }

    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        self.0.files(|files| files.entry(self.1.clone()).or_default().resize(len as usize, 0));
        Ok(())
    }
}

impl Fs for MemFs {
    fn create_dir_all(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn list(&self, _: &Path) -> io::Result<Vec<(String, u64)>> {
        let name = |path: &PathBuf| path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        Ok(self.files(|files| files.iter().map(|(path, bytes)| (name(path), bytes.len() as u64)).collect()))
    }

    fn open_write(&self, path: &Path) -> io::Result<Box<dyn LogFile>> {
        self.files(|files| {
            files.entry(path.into()).or_default();
        });
        Ok(Box::new(MemFile(self.clone(), path.into())))
    }

    fn open_read(&self, path: &Path) -> io::Result<Box<dyn Read + Send>> {
        let bytes = self.files(|files| files.get(path).cloned()).ok_or(io::ErrorKind::NotFound)?;
        Ok(Box::new(Cursor::new(bytes)))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.files(|files| files.remove(path)).map(|_| ()).ok_or(io::ErrorKind::NotFound.into())
    }

    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn lock(&self, _: &Path) -> io::Result<Box<dyn DirLock>> {
        Ok(Box::new(NoLock))
    }
}

fn open(fs: &MemFs) -> Result<Head, HeadError> {
    let config = HeadConfig {
        segment_bytes: 4096,
        replay_threads: 2,
        max_future_ms: 0,
        max_memory_bytes: 64 << 20,
        ..HeadConfig::new("/wal")
    };
    let clock = Arc::new(ManualClock::at(0));
    Head::open(config, clock, Arc::new(fs.clone()), &prometheus::Registry::new(), &mut |_| {})
}

/// The samples of all tenants, as text.
fn contents(head: &Head) -> Vec<String> {
    let mut tenants = head.tenants();
    tenants.sort_by_key(|t| t.as_str().to_string());
    let mut all = Vec::new();
    for tenant in tenants {
        let request = SelectRequest { matchers: Vec::new(), range: TimeRange::ALL, max_series: 0 };
        let set = head.select(&tenant, &request, None).expect("no limit is set");
        let mut batch = SeriesBatch::default();
        set.fetch(0..set.labels().len(), TimeRange::ALL, &mut batch).expect("it is in memory");
        for (at, labels) in set.labels().iter().enumerate() {
            let view = batch.view(at);
            assert!(view.t.windows(2).all(|t| t[0] < t[1]) && view.ht.windows(2).all(|t| t[0] < t[1]), "order");
            let values: Vec<u64> = view.v.iter().map(|v| v.to_bits()).collect();
            all.push(format!("{} {labels} {:?} {values:?} {:?} {:?}", tenant.as_str(), view.t, view.ht, view.h));
        }
    }
    all
}

/// The default number of shards.
const SHARDS: u32 = 64;

/// The bytes are a whole segment file.
const AS_FILE: u8 = 1;
/// A valid segment precedes this one.
const AFTER_ANOTHER: u8 = 2;

/// Runs one input.
pub fn run(data: &[u8]) {
    let Some((&choice, bytes)) = data.split_first() else { return };
    let fs = MemFs::default();
    let mut number = 1;
    if choice & AFTER_ANOTHER != 0 {
        fs.files(|files| files.insert(segment(1), valid_segment().clone()));
        number = 2;
    }
    let bytes = if choice & AS_FILE != 0 { bytes.to_vec() } else { framed(bytes, number) };
    fs.files(|files| files.insert(segment(number), bytes));
    let Ok(head) = open(&fs) else { return };
    let before = contents(&head);
    drop(head);
    let again = open(&fs).unwrap_or_else(|e| panic!("a log that opened once does not open again: {e}"));
    assert_eq!(contents(&again), before, "a log holds other samples when it is opened again");
    // Writes and a cut on top of what the log holds.
    let tenant = TenantId::default();
    if let Ok((_, commit)) = again.append(&tenant, &batch(5_000)) {
        let _ = commit.wait();
    }
    let cut = again.cut(&tenant, 0, &ShardSet::all(SHARDS));
    let _ = cut.for_each(|_| Ok::<_, ()>(()));
    let _ = again.mark_flushed(&cut).wait();
    let _ = again.evict_flushed(&tenant, 0, &ShardSet::all(SHARDS));
    let left = contents(&again);
    drop(again);
    let last = open(&fs).unwrap_or_else(|e| panic!("a log that was written to does not open again: {e}"));
    assert_eq!(contents(&last), left, "a log that was written to holds other samples when it is opened again");
}

fn segment(number: u32) -> PathBuf {
    format!("/wal/{number:08}.wal").into()
}

/// Turns records of the form "length u16 | payload" into a segment with valid checksums.
fn framed(mut bytes: &[u8], number: u32) -> Vec<u8> {
    let mut out = b"PHAROSWL".to_vec();
    out.extend(valid_segment()[8..12].iter());
    out.extend(number.to_le_bytes());
    out.extend(crc32fast::hash(&out).to_le_bytes());
    while let Some((length, rest)) = bytes.split_at_checked(2) {
        let length = usize::from(u16::from_le_bytes([length[0], length[1]])).min(rest.len());
        let (payload, rest) = rest.split_at(length);
        out.extend((length as u32).to_le_bytes());
        out.extend(crc32fast::hash(payload).to_le_bytes());
        out.extend(payload);
        bytes = rest;
    }
    out
}

/// Reverses [`framed`].
fn unframed(file: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = &file[20..];
    while let Some((frame, behind)) = rest.split_at_checked(8) {
        let length = u32::from_le_bytes([frame[0], frame[1], frame[2], frame[3]]) as usize;
        out.extend((length as u16).to_le_bytes());
        out.extend(&behind[..length]);
        rest = &behind[length..];
    }
    out
}

/// Two series of floats and one of histograms.
fn batch(t: i64) -> WriteBatch {
    let tenant = TenantId::default();
    let mut batch = WriteBatch::default();
    for (name, v) in [("a", t as f64), ("b", 0.1 * t as f64)] {
        let labels = Labels::from_pairs([("__name__", name), ("job", "j")]);
        batch.begin_series(&tenant, |out| out.extend_from_slice(labels.as_bytes()));
        batch.samples.push(Sample { t, v, st: t / 2 });
        batch.exemplars.push(Exemplar { labels: Labels::from_pairs([("trace", "x")]), value: v, t });
    }
    let labels = Labels::from_pairs([("__name__", "h")]);
    batch.begin_series(&tenant, |out| out.extend_from_slice(labels.as_bytes()));
    let h = Arc::new(Histogram { sum: 1.5, count: 3.0, zero_count: 3.0, ..Histogram::default() });
    batch.histograms.push(HistogramSample { t, st: 0, h });
    batch.finish_series();
    batch
}

fn valid_segment() -> &'static Vec<u8> {
    static SEGMENT: OnceLock<Vec<u8>> = OnceLock::new();
    SEGMENT.get_or_init(|| {
        let fs = MemFs::default();
        let head = open(&fs).expect("an empty log");
        let tenant = TenantId::default();
        for t in [1000, 2000, 900] {
            head.append(&tenant, &batch(t)).expect("a write").1.wait().expect("a log");
        }
        let matcher = Matcher::new(MatchOp::Equal, "__name__", "b").expect("a matcher");
        head.delete(&tenant, &[matcher], TimeRange::new(0, 950), 0).expect("a deletion").wait().expect("a log");
        drop(head);
        let bytes = fs.files(|files| files.get(&segment(1)).cloned());
        bytes.expect("a segment")
    })
}

/// Valid inputs.
pub fn seeds() -> Vec<Vec<u8>> {
    let fs = MemFs::default();
    let head = open(&fs).expect("an empty log");
    let tenant = TenantId::default();
    for t in [1000, 2000, 3000, 7_300_000] {
        head.append(&tenant, &batch(t)).expect("a write").1.wait().expect("a log");
    }
    let cut = head.cut(&tenant, 0, &ShardSet::all(SHARDS));
    head.mark_flushed(&cut).wait().expect("a log");
    head.evict_flushed(&tenant, 0, &ShardSet::all(SHARDS)).expect("a log");
    head.append(&tenant, &batch(1500)).expect("a write").1.wait().expect("a log");
    drop(head);
    let mut seeds = Vec::new();
    let mut files: Vec<Vec<u8>> = fs.files(|files| files.values().filter(|f| f.len() > 20).cloned().collect());
    files.push(valid_segment().clone());
    for file in files {
        seeds.push([&[AS_FILE][..], &file].concat());
        seeds.push([&[0][..], &unframed(&file)].concat());
        seeds.push([&[AFTER_ANOTHER][..], &unframed(&file)].concat());
    }
    seeds
}
