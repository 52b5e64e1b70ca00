//! A file system in memory that fails on demand and loses what was not fsynced in a crash, and helpers of the tests.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use pharos_head::fs::{DirLock, Fs, LogFile};
use pharos_head::{Head, HeadConfig, HeadError};
use pharos_model::clock::ManualClock;
use pharos_model::{
    Labels, Sample, SelectRequest, SeriesBatch, ShardSet, TenantId, TimeRange, WriteBatch, WriteOutcome,
};

pub(crate) const HOUR: i64 = 3_600_000;

/// What an injected fault does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Fault {
    /// The operation fails.
    Fail,
    /// A write writes only half of its bytes.
    Short,
    /// This operation and all later ones fail, as if the process had died.
    Die,
}

#[derive(Default)]
struct Disk {
    files: BTreeMap<PathBuf, File>,
    locked: bool,
    operations: u64,
    fault: Option<(u64, Fault)>,
    failing: bool,
    dead: bool,
}

#[derive(Default, Clone)]
struct File {
    bytes: Vec<u8>,
    durable: Vec<u8>,
    named: bool,
}

/// A disk that its clones share.
#[derive(Clone, Default)]
pub(crate) struct MemFs(Arc<Mutex<Disk>>);

impl MemFs {
    /// Loses what was not fsynced. With `keep_torn`, half of the bytes behind the durable ones survive.
    pub(crate) fn crash(&self, keep_torn: bool) {
        let mut disk = self.0.lock();
        disk.files.retain(|_, file| file.named || keep_torn);
        for file in disk.files.values_mut() {
            let torn = file.bytes.get(file.durable.len()..).unwrap_or(&[]);
            let kept = if keep_torn { torn.len() / 2 } else { 0 };
            file.bytes = [&file.durable[..], &torn[..kept]].concat();
            file.durable = file.bytes.clone();
            file.named = true;
        }
        disk.locked = false;
        disk.dead = false;
        disk.failing = false;
        disk.fault = None;
        disk.operations = 0;
    }

    /// Ends the process only. What it wrote without an fsync stays in the page cache.
    pub(crate) fn kill(&self) {
        let mut disk = self.0.lock();
        (disk.locked, disk.dead, disk.failing, disk.fault) = (false, false, false, None);
    }

    /// Injects a fault into an operation, counted from now on.
    pub(crate) fn fault_at(&self, operation: u64, fault: Fault) {
        let mut disk = self.0.lock();
        disk.operations = 0;
        disk.fault = Some((operation, fault));
    }

    /// Makes all writing operations fail, or succeed again.
    pub(crate) fn set_failing(&self, failing: bool) {
        self.0.lock().failing = failing;
    }

    /// Whether [`Fault::Die`] has happened.
    pub(crate) fn is_dead(&self) -> bool {
        self.0.lock().dead
    }

    /// The segment files.
    pub(crate) fn files(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let disk = self.0.lock();
        disk.files.iter().filter(|(p, _)| p.extension().is_some()).map(|(p, f)| (p.clone(), f.bytes.clone())).collect()
    }

    pub(crate) fn set_file(&self, path: &Path, bytes: &[u8]) {
        let file = File { bytes: bytes.to_vec(), durable: bytes.to_vec(), named: true };
        self.0.lock().files.insert(path.into(), file);
    }

    pub(crate) fn remove_file(&self, path: &Path) {
        self.0.lock().files.remove(path);
    }

    fn step(&self) -> io::Result<Option<Fault>> {
        let mut disk = self.0.lock();
        disk.operations += 1;
        let full = || Err(io::Error::new(io::ErrorKind::StorageFull, "no space left on device"));
        if disk.dead || disk.failing {
            return full();
        }
        match disk.fault {
            Some((at, fault)) if at == disk.operations => {
                disk.dead = fault == Fault::Die;
                if fault == Fault::Short { Ok(Some(fault)) } else { full() }
            }
            _ => Ok(None),
        }
    }
}

struct MemFile {
    fs: MemFs,
    path: PathBuf,
}

impl LogFile for MemFile {
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let fault = self.fs.step()?;
        let mut disk = self.fs.0.lock();
        let file = disk.files.entry(self.path.clone()).or_default();
        let len = if fault.is_some() { bytes.len() / 2 } else { bytes.len() };
        let end = offset as usize + len;
        if file.bytes.len() < end {
            file.bytes.resize(end, 0);
        }
        file.bytes[offset as usize..end].copy_from_slice(&bytes[..len]);
        Ok(len)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.fs.step()?;
        let mut disk = self.fs.0.lock();
        let file = disk.files.entry(self.path.clone()).or_default();
        file.durable = file.bytes.clone();
        Ok(())
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        self.fs.step()?;
        self.fs.0.lock().files.entry(self.path.clone()).or_default().bytes.resize(len as usize, 0);
        Ok(())
    }
}

struct MemLock(MemFs);

impl DirLock for MemLock {}

impl Drop for MemLock {
    fn drop(&mut self) {
        self.0.0.lock().locked = false;
    }
}

impl Fs for MemFs {
    fn create_dir_all(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn list(&self, _: &Path) -> io::Result<Vec<(String, u64)>> {
        let disk = self.0.lock();
        let name = |p: &PathBuf| p.file_name().unwrap().to_str().unwrap().to_string();
        Ok(disk.files.iter().map(|(p, f)| (name(p), f.bytes.len() as u64)).collect())
    }

    fn open_write(&self, path: &Path) -> io::Result<Box<dyn LogFile>> {
        self.step()?;
        self.0.lock().files.entry(path.into()).or_default();
        Ok(Box::new(MemFile { fs: self.clone(), path: path.into() }))
    }

    fn open_read(&self, path: &Path) -> io::Result<Box<dyn Read + Send>> {
        let disk = self.0.lock();
        let file = disk.files.get(path).ok_or(io::ErrorKind::NotFound)?;
        Ok(Box::new(io::Cursor::new(file.bytes.clone())))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.step()?;
        self.0.lock().files.remove(path).map(|_| ()).ok_or(io::ErrorKind::NotFound.into())
    }

    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        self.step()?;
        self.0.lock().files.values_mut().for_each(|f| f.named = true);
        Ok(())
    }

    fn lock(&self, _: &Path) -> io::Result<Box<dyn DirLock>> {
        let mut disk = self.0.lock();
        if std::mem::replace(&mut disk.locked, true) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(Box::new(MemLock(self.clone())))
    }
}

pub(crate) fn tenant() -> TenantId {
    TenantId::default()
}

pub(crate) fn all_shards() -> ShardSet {
    ShardSet::all(64)
}

pub(crate) fn config() -> HeadConfig {
    HeadConfig { segment_bytes: 2048, replay_threads: 2, max_future_ms: 0, ..HeadConfig::new("/wal") }
}

pub(crate) fn try_open(fs: &MemFs, config: HeadConfig) -> Result<Head, HeadError> {
    try_open_at(fs, config, 0)
}

/// Opens a head with a clock that stands at `now`.
pub(crate) fn try_open_at(fs: &MemFs, config: HeadConfig, now: i64) -> Result<Head, HeadError> {
    let clock = Arc::new(ManualClock::at(now));
    Head::open(config, clock, Arc::new(fs.clone()), &prometheus::Registry::new(), &mut |_| {})
}

pub(crate) fn open(fs: &MemFs) -> Head {
    try_open(fs, config()).unwrap()
}

pub(crate) fn labels(series: u32) -> Labels {
    let job = format!("job-{}", series % 3);
    let instance = series.to_string();
    Labels::from_pairs([("__name__", "m"), ("instance", &instance), ("job", &job)])
}

/// A batch of samples: series, timestamp and value.
pub(crate) fn batch(samples: &[(u32, i64, f64)]) -> WriteBatch {
    let mut batch = WriteBatch::default();
    for &(series, t, v) in samples {
        batch.begin_series(&tenant(), |out| out.extend_from_slice(labels(series).as_bytes()));
        batch.samples.push(Sample { t, v, st: 0 });
    }
    batch.finish_series();
    batch
}

/// Appends a batch and waits until it is durable.
pub(crate) fn append(head: &Head, samples: &[(u32, i64, f64)]) -> WriteOutcome {
    let (outcome, commit) = head.append(&tenant(), &batch(samples)).unwrap();
    commit.wait().unwrap();
    outcome
}

/// Value bits by labels and timestamp.
pub(crate) type Samples = BTreeMap<(Labels, i64), u64>;

/// All floats of some shards in a range, by series and time. Panics on duplicates and disorder.
pub(crate) fn read(head: &Head, range: TimeRange, shards: Option<&ShardSet>) -> Samples {
    let request = SelectRequest { matchers: Vec::new(), range, max_series: 0 };
    let set = head.select(&tenant(), &request, shards).unwrap();
    assert!(set.labels().is_sorted());
    let mut batch = SeriesBatch::default();
    set.fetch(0..set.labels().len(), range, &mut batch).unwrap();
    assert_eq!(batch.len(), set.labels().len());
    let mut all = Samples::new();
    for (i, labels) in set.labels().iter().enumerate() {
        let view = batch.view(i);
        assert_eq!(view.t.len(), view.v.len());
        assert!(view.t.windows(2).all(|w| w[0] < w[1]), "{labels}: {:?}", view.t);
        all.extend(view.t.iter().zip(view.v).map(|(t, v)| ((labels.clone(), *t), v.to_bits())));
    }
    all
}

/// All floats that are not flushed, as an export gives them.
pub(crate) fn read_unflushed(head: &Head) -> Samples {
    let mut all = Samples::new();
    for batch in head.export(&tenant(), &all_shards(), None, usize::MAX) {
        for series in batch.series() {
            let samples = batch.samples_of(series).iter();
            all.extend(samples.map(|s| ((batch.display_labels(series), s.t), s.v.to_bits())));
        }
    }
    all
}

pub(crate) fn read_all(head: &Head) -> Samples {
    read(head, TimeRange::ALL, None)
}
