//! A disk in memory. A crash loses what was not fsynced, or a part of it; bits flip; it fails, or is slow.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use pharos_head::fs::{DirLock, Fs, LogFile};
use pharos_testkit::Rng;

use crate::bugs::Bug;

/// A disk that its clones share.
#[derive(Clone, Default)]
pub(crate) struct Disk(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    files: BTreeMap<PathBuf, File>,
    /// The process that runs on it. A process that has crashed reaches it no more.
    process: u64,
    locked: bool,
    is_full: bool,
    /// How long an fsync takes.
    sync_time: Duration,
}

#[derive(Default, Clone)]
struct File {
    bytes: Vec<u8>,
    durable: Vec<u8>,
    /// Whether its name is durable.
    named: bool,
    /// Whether it was removed, but not durably.
    removed: bool,
}

impl Disk {
    /// The disk as a new process sees it.
    pub(crate) fn mount(&self, bug: Option<Bug>) -> Arc<Mounted> {
        Arc::new(Mounted { disk: self.clone(), process: self.0.lock().process, bug })
    }

    /// Ends the process as a power failure does. Of what was not fsynced any part of a file's end may survive.
    pub(crate) fn crash(&self, chance: &mut Rng) {
        let mut disk = self.0.lock();
        disk.process += 1;
        disk.locked = false;
        disk.files.retain(|_, file| file.named || chance.chance(500));
        for file in disk.files.values_mut() {
            // A removal that was not durable may be undone.
            file.removed &= chance.chance(500);
            let kept = match file.bytes.get(file.durable.len()..) {
                Some(torn) if file.bytes.starts_with(&file.durable) => {
                    let kept = chance.below(torn.len() as u64 + 1) as usize;
                    file.bytes[..file.durable.len() + kept].to_vec()
                }
                // It was truncated or overwritten; the old bytes are back.
                _ => file.durable.clone(),
            };
            file.bytes = kept;
            file.durable = file.bytes.clone();
            file.named = true;
        }
        disk.files.retain(|_, file| !file.removed);
    }

    /// Ends the process in order.
    pub(crate) fn unmount(&self) {
        let mut disk = self.0.lock();
        disk.process += 1;
        disk.locked = false;
    }

    /// Loses everything.
    pub(crate) fn wipe(&self) {
        self.0.lock().files.clear();
    }

    /// Flips a bit of a log segment, anywhere behind its header. Returns where; none if there is nothing to flip.
    pub(crate) fn flip(&self, chance: &mut Rng) -> Option<(PathBuf, usize)> {
        let mut disk = self.0.lock();
        let is_segment = |(path, file): &(&PathBuf, &mut File)| {
            path.extension().is_some_and(|extension| extension == "wal") && file.bytes.len() > 64
        };
        let mut segments: Vec<_> = disk.files.iter_mut().filter(is_segment).collect();
        let picked = chance.below(segments.len() as u64) as usize;
        let (path, file) = segments.get_mut(picked)?;
        let at = chance.between(40, file.bytes.len() as u64 - 1) as usize;
        file.bytes[at] ^= 1 << chance.below(8);
        file.durable = file.bytes.clone();
        Some((path.to_path_buf(), at))
    }

    pub(crate) fn set_full(&self, is_full: bool) {
        self.0.lock().is_full = is_full;
    }

    pub(crate) fn is_full(&self) -> bool {
        self.0.lock().is_full
    }

    pub(crate) fn set_sync_time(&self, time: Duration) {
        self.0.lock().sync_time = time;
    }

    /// Bytes of all files.
    pub(crate) fn bytes(&self) -> usize {
        self.0.lock().files.values().filter(|file| !file.removed).map(|file| file.bytes.len()).sum()
    }
}

/// A disk as one process sees it.
pub(crate) struct Mounted {
    disk: Disk,
    process: u64,
    bug: Option<Bug>,
}

impl Mounted {
    fn with<T>(&self, operation: impl FnOnce(&mut State) -> io::Result<T>) -> io::Result<T> {
        let mut disk = self.disk.0.lock();
        if disk.process != self.process {
            return Err(io::Error::other("the process has ended"));
        }
        operation(&mut disk)
    }

    fn write<T>(&self, operation: impl FnOnce(&mut State) -> io::Result<T>) -> io::Result<T> {
        self.with(|disk| match disk.is_full {
            true => Err(io::Error::new(io::ErrorKind::StorageFull, "no space left on device")),
            false => operation(disk),
        })
    }
}

struct OpenFile {
    mounted: Arc<Mounted>,
    path: PathBuf,
}

impl LogFile for OpenFile {
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.mounted.write(|disk| {
            let file = disk.files.entry(self.path.clone()).or_default();
            let end = offset as usize + bytes.len();
            if file.bytes.len() < end {
                file.bytes.resize(end, 0);
            }
            file.bytes[offset as usize..end].copy_from_slice(bytes);
            Ok(bytes.len())
        })
    }

    fn sync(&mut self) -> io::Result<()> {
        let time = self.mounted.with(|disk| Ok(disk.sync_time))?;
        if !time.is_zero() {
            std::thread::sleep(time);
        }
        if self.mounted.bug == Some(Bug::DisksForget) {
            return Ok(());
        }
        self.mounted.write(|disk| {
            let file = disk.files.entry(self.path.clone()).or_default();
            file.durable = file.bytes.clone();
            Ok(())
        })
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        self.mounted.write(|disk| {
            disk.files.entry(self.path.clone()).or_default().bytes.resize(len as usize, 0);
            Ok(())
        })
    }
}

struct Lock(Arc<Mounted>);

impl DirLock for Lock {}

impl Drop for Lock {
    fn drop(&mut self) {
        // A process that has ended holds no lock.
        let _ended = self.0.with(|disk| {
            disk.locked = false;
            Ok(())
        });
    }
}

/// The file system that a head takes.
pub(crate) struct DiskFs(pub(crate) Arc<Mounted>);

impl Fs for DiskFs {
    fn create_dir_all(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<(String, u64)>> {
        self.0.with(|disk| {
            let here = disk.files.iter().filter(|(path, file)| path.parent() == Some(dir) && !file.removed);
            let is_blind = matches!(self.0.bug, Some(Bug::EmptyLogsAreComplete | Bug::DamageIsNotNoticed));
            let is_missed = |path: &PathBuf| is_blind && path.extension().is_none();
            let here = here.filter(|(path, _)| !is_missed(path));
            let name = |path: &PathBuf| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            Ok(here.map(|(path, file)| (name(path), file.bytes.len() as u64)).collect())
        })
    }

    fn open_write(&self, path: &Path) -> io::Result<Box<dyn LogFile>> {
        self.0.write(|disk| {
            let file = disk.files.entry(path.into()).or_default();
            if file.removed {
                *file = File::default();
            }
            Ok(())
        })?;
        Ok(Box::new(OpenFile { mounted: self.0.clone(), path: path.into() }))
    }

    fn open_read(&self, path: &Path) -> io::Result<Box<dyn Read + Send>> {
        self.0.with(|disk| {
            let file = disk.files.get(path).filter(|file| !file.removed).ok_or(io::ErrorKind::NotFound)?;
            Ok(Box::new(io::Cursor::new(file.bytes.clone())) as Box<dyn Read + Send>)
        })
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.0.with(|disk| {
            let file = disk.files.get_mut(path).filter(|file| !file.removed).ok_or(io::ErrorKind::NotFound)?;
            file.removed = true;
            Ok(())
        })
    }

    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        self.0.write(|disk| {
            disk.files.retain(|_, file| !file.removed);
            disk.files.values_mut().for_each(|file| file.named = true);
            Ok(())
        })
    }

    fn lock(&self, _: &Path) -> io::Result<Box<dyn DirLock>> {
        self.0.with(|disk| match std::mem::replace(&mut disk.locked, true) {
            true => Err(io::ErrorKind::WouldBlock.into()),
            false => Ok(()),
        })?;
        Ok(Box::new(Lock(self.0.clone())))
    }
}
