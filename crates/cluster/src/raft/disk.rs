//! Raft's durable data in one redb file: the log, the vote, the committed position and the newest snapshot.
//!
//! Invariant: every write is fsynced when the call returns. Entries and metadata are JSON; the state in a snapshot is
//! compressed JSON ([`crate::codec`]).
//!
//! If the disk fills up while the node runs, a write waits instead of failing: a failed write would end Raft on this node, and
//! with it the process. The node refuses requests meanwhile ([`Disk::is_full`]), and the others go on without it. A node that starts
//! on a full disk fails at its first write.

use std::io;
use std::ops::{Bound, RangeBounds};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::{Condvar, Mutex, RwLock};
use redb::{Database, ReadTransaction, ReadableDatabase, ReadableTable, TableDefinition, WriteTransaction};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::watch;

use super::types::{Entry, LogId, SnapshotMeta, Vote};

/// Page cache. Nearly all reads are of the end of the log, so it can be small.
const CACHE_BYTES: usize = 16 << 20;
/// Index to entry.
const LOG: TableDefinition<u64, &[u8]> = TableDefinition::new("log");
/// The single values below, by name.
const FACTS: TableDefinition<&str, &[u8]> = TableDefinition::new("facts");

const IDENTITY: &str = "identity";
const VOTE: &str = "vote";
const COMMITTED: &str = "committed";
const PURGED: &str = "purged";
const SNAPSHOT_META: &str = "snapshot-meta";
const SNAPSHOT_DATA: &str = "snapshot-data";

/// Wait before a full disk is tried again.
const SPACE_INTERVAL: Duration = Duration::from_millis(500);
/// A full disk is logged every 10 s.
const ATTEMPTS_PER_COMPLAINT: u32 = 20;

/// Opens the file.
type Open = Box<dyn Fn() -> Result<Database, redb::DatabaseError> + Send + Sync>;

/// The file. Only one process can open it at a time.
pub(crate) struct Disk {
    open: Open,
    /// None after [`Disk::close`].
    database: RwLock<Option<Database>>,
    /// Whether anything was written since the file was opened, so that the disk had space once.
    has_written: AtomicBool,
    /// Whether a write waits for space.
    is_full: watch::Sender<bool>,
    /// Whether writes no longer wait for space.
    is_stopping: Mutex<bool>,
    stopping: Condvar,
}

/// Whether an error says that the disk is full.
fn is_full(error: &io::Error) -> bool {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<redb::Error>());
    let kind = match inner {
        Some(redb::Error::Io(error)) => error.kind(),
        _ => error.kind(),
    };
    matches!(kind, io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

fn failed(error: impl Into<redb::Error>) -> io::Error {
    let error: redb::Error = error.into();
    io::Error::other(error)
}

fn closed() -> io::Error {
    io::Error::other("the cluster log is closed")
}

fn to_json<T: Serialize>(value: &T) -> io::Result<Vec<u8>> {
    serde_json::to_vec(value).map_err(io::Error::other)
}

fn from_json<T: DeserializeOwned>(what: &str, bytes: &[u8]) -> io::Result<T> {
    let unreadable = |e| io::Error::new(io::ErrorKind::InvalidData, format!("cluster log: {what} is unreadable: {e}"));
    serde_json::from_slice(bytes).map_err(unreadable)
}

impl Disk {
    /// Opens or creates the file. It belongs to the node that created it forever.
    pub(crate) fn open(path: &Path, identity: &str) -> io::Result<Disk> {
        let file = path.to_path_buf();
        let open = move || Database::builder().set_cache_size(CACHE_BYTES).create(&file);
        let disk = Disk::opened_by(Box::new(open))?;
        let known: Option<String> = match disk.is_new()? {
            true => None,
            false => disk.fact(IDENTITY)?,
        };
        match known {
            Some(owner) if owner != identity => {
                let reason = format!("{} belongs to node {owner}, this is node {identity}", path.display());
                Err(io::Error::new(io::ErrorKind::AlreadyExists, reason))
            }
            Some(_) => Ok(disk),
            None => {
                disk.write(|write| {
                    write.open_table(LOG).map_err(failed)?;
                    put(write, IDENTITY, &identity)
                })?;
                Ok(disk)
            }
        }
    }

    fn opened_by(open: Open) -> io::Result<Disk> {
        let database = open().map_err(failed)?;
        Ok(Disk {
            open,
            database: RwLock::new(Some(database)),
            has_written: AtomicBool::new(false),
            is_full: watch::Sender::new(false),
            is_stopping: Mutex::new(false),
            stopping: Condvar::new(),
        })
    }

    /// Whether a write waits for space.
    pub(crate) fn is_full(&self) -> bool {
        *self.is_full.borrow()
    }

    /// Has the disk seem full to [`Disk::is_full`].
    #[cfg(test)]
    pub(crate) fn set_full(&self, is_full: bool) {
        self.is_full.send_replace(is_full);
    }

    /// Waits until a write waits for space. Raft answers nothing from then on.
    pub(crate) async fn full(&self) {
        let mut is_full = self.is_full.subscribe();
        // The sender lives as long as this borrow, so the wait does not fail.
        drop(is_full.wait_for(|is_full| *is_full).await);
    }

    /// Ends the wait of writes for space, and has later ones fail at once. Raft can only be stopped after this.
    pub(crate) fn stop_waiting(&self) {
        *self.is_stopping.lock() = true;
        self.stopping.notify_all();
    }

    /// Closes the file once running calls are done, even if handles to it remain.
    pub(crate) fn close(&self) {
        self.stop_waiting();
        *self.database.write() = None;
    }

    fn read<T>(&self, work: impl FnOnce(&ReadTransaction) -> io::Result<T>) -> io::Result<T> {
        let database = self.database.read();
        work(&database.as_ref().ok_or_else(closed)?.begin_read().map_err(failed)?)
    }

    fn is_new(&self) -> io::Result<bool> {
        self.read(|read| {
            let mut tables = read.list_tables().map_err(failed)?;
            Ok(tables.next().is_none())
        })
    }

    /// Runs a transaction, again and again while the disk is full, unless it always was.
    fn write<T>(&self, work: impl Fn(&WriteTransaction) -> io::Result<T>) -> io::Result<T> {
        let mut attempts = 0;
        loop {
            let error = match self.try_write(&work) {
                Err(error) if is_full(&error) && self.has_written.load(Ordering::Relaxed) => error,
                outcome => {
                    self.has_written.fetch_or(outcome.is_ok(), Ordering::Relaxed);
                    if self.is_full.send_replace(false) && outcome.is_ok() {
                        tracing::info!("the disk of the cluster log has space again");
                    }
                    return outcome;
                }
            };
            self.is_full.send_replace(true);
            if attempts % ATTEMPTS_PER_COMPLAINT == 0 {
                tracing::error!(
                    %error,
                    "the disk of the cluster log is full; this node takes no part in decisions until there is space"
                );
            }
            attempts += 1;
            if !self.reopen_later()? {
                return Err(error);
            }
        }
    }

    fn try_write<T>(&self, work: impl Fn(&WriteTransaction) -> io::Result<T>) -> io::Result<T> {
        let database = self.database.read();
        let write = database.as_ref().ok_or_else(closed)?.begin_write().map_err(failed)?;
        let done = work(&write)?;
        write.commit().map_err(failed)?;
        Ok(done)
    }

    /// Opens the file again after a while, because the database refuses everything after a failed write. Readers wait meanwhile.
    /// Returns false if the node stops first.
    fn reopen_later(&self) -> io::Result<bool> {
        let mut database = self.database.write();
        *database = None;
        loop {
            let mut is_stopping = self.is_stopping.lock();
            if !*is_stopping {
                self.stopping.wait_for(&mut is_stopping, SPACE_INTERVAL);
            }
            if *is_stopping {
                return Ok(false);
            }
            drop(is_stopping);
            match (self.open)().map_err(failed) {
                Ok(opened) => {
                    *database = Some(opened);
                    return Ok(true);
                }
                Err(error) if is_full(&error) => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn raw(&self, name: &str) -> io::Result<Option<Bytes>> {
        self.read(|read| {
            let facts = read.open_table(FACTS).map_err(failed)?;
            let found = facts.get(name).map_err(failed)?;
            Ok(found.map(|value| Bytes::copy_from_slice(value.value())))
        })
    }

    fn fact<T: DeserializeOwned>(&self, name: &str) -> io::Result<Option<T>> {
        self.raw(name)?.map(|bytes| from_json(name, &bytes)).transpose()
    }

    pub(crate) fn vote(&self) -> io::Result<Option<Vote>> {
        self.fact(VOTE)
    }

    pub(crate) fn save_vote(&self, vote: &Vote) -> io::Result<()> {
        self.write(|write| put(write, VOTE, vote))
    }

    pub(crate) fn committed(&self) -> io::Result<Option<LogId>> {
        self.fact(COMMITTED)
    }

    /// The last entry that was purged, after which the log begins.
    pub(crate) fn purged(&self) -> io::Result<Option<LogId>> {
        self.fact(PURGED)
    }

    /// The id of the last entry.
    pub(crate) fn last(&self) -> io::Result<Option<LogId>> {
        self.read(|read| {
            let log = read.open_table(LOG).map_err(failed)?;
            let Some((at, entry)) = log.last().map_err(failed)? else { return Ok(None) };
            let entry: Entry = from_json(&format!("entry {}", at.value()), entry.value())?;
            Ok(Some(entry.log_id))
        })
    }

    pub(crate) fn entries(&self, range: impl RangeBounds<u64>) -> io::Result<Vec<Entry>> {
        self.read(|read| {
            let log = read.open_table(LOG).map_err(failed)?;
            let mut entries = Vec::new();
            for found in log.range(range).map_err(failed)? {
                let (at, entry) = found.map_err(failed)?;
                entries.push(from_json(&format!("entry {}", at.value()), entry.value())?);
            }
            Ok(entries)
        })
    }

    /// Appends entries and saves the committed position with them.
    pub(crate) fn append(&self, entries: &[Entry], committed: Option<&LogId>) -> io::Result<()> {
        self.write(|write| {
            let mut log = write.open_table(LOG).map_err(failed)?;
            for entry in entries {
                log.insert(entry.log_id.index, to_json(entry)?.as_slice()).map_err(failed)?;
            }
            drop(log);
            committed.map_or(Ok(()), |committed| put(write, COMMITTED, committed))
        })
    }

    /// Removes the entries after an index; all of them if there is none.
    pub(crate) fn truncate_after(&self, last: Option<u64>) -> io::Result<()> {
        let from = last.map_or(Bound::Unbounded, Bound::Excluded);
        self.write(|write| {
            let mut log = write.open_table(LOG).map_err(failed)?;
            log.retain_in((from, Bound::Unbounded), |_, _| false).map_err(failed)
        })
    }

    /// Removes the entries up to and including one that a snapshot covers.
    pub(crate) fn purge(&self, upto: &LogId) -> io::Result<()> {
        self.write(|write| {
            put(write, PURGED, upto)?;
            let mut log = write.open_table(LOG).map_err(failed)?;
            log.retain_in(..=upto.index, |_, _| false).map_err(failed)
        })
    }

    pub(crate) fn snapshot(&self) -> io::Result<Option<(SnapshotMeta, Bytes)>> {
        let Some(meta) = self.fact(SNAPSHOT_META)? else { return Ok(None) };
        Ok(self.raw(SNAPSHOT_DATA)?.map(|data| (meta, data)))
    }

    pub(crate) fn save_snapshot(&self, meta: &SnapshotMeta, data: &[u8]) -> io::Result<()> {
        self.write(|write| {
            put(write, SNAPSHOT_META, meta)?;
            let mut facts = write.open_table(FACTS).map_err(failed)?;
            facts.insert(SNAPSHOT_DATA, data).map_err(failed)?;
            Ok(())
        })
    }
}

fn put<T: Serialize>(write: &WriteTransaction, name: &str, value: &T) -> io::Result<()> {
    let bytes = to_json(value)?;
    write.open_table(FACTS).map_err(failed)?.insert(name, bytes.as_slice()).map_err(failed)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use redb::StorageBackend;
    use redb::backends::InMemoryBackend;

    use super::*;

    /// A file in memory, on a disk that may be full.
    #[derive(Clone, Debug, Default)]
    struct File {
        content: Arc<InMemoryBackend>,
        is_full: Arc<AtomicBool>,
    }

    impl File {
        fn check(&self) -> io::Result<()> {
            if self.is_full.load(Ordering::Relaxed) {
                return Err(io::ErrorKind::StorageFull.into());
            }
            Ok(())
        }

        fn disk(&self) -> Disk {
            let file = self.clone();
            Disk::opened_by(Box::new(move || Database::builder().create_with_backend(file.clone()))).unwrap()
        }
    }

    impl StorageBackend for File {
        fn len(&self) -> io::Result<u64> {
            self.content.len()
        }

        fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
            self.content.read(offset, out)
        }

        fn set_len(&self, len: u64) -> io::Result<()> {
            self.check()?;
            self.content.set_len(len)
        }

        fn sync_data(&self) -> io::Result<()> {
            Ok(())
        }

        fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
            self.check()?;
            self.content.write(offset, data)
        }
    }

    fn write_vote(disk: &Arc<Disk>, term: u64) -> std::thread::JoinHandle<io::Result<()>> {
        let disk = disk.clone();
        std::thread::spawn(move || disk.save_vote(&Vote::new(term, 1)))
    }

    #[test]
    fn a_write_waits_while_the_disk_is_full() {
        let file = File::default();
        let disk = Arc::new(file.disk());
        disk.save_vote(&Vote::new(1, 1)).unwrap();
        file.is_full.store(true, Ordering::Relaxed);
        let writing = write_vote(&disk, 2);
        while !disk.is_full() {
            std::thread::yield_now();
        }
        assert!(!writing.is_finished());
        file.is_full.store(false, Ordering::Relaxed);
        writing.join().unwrap().unwrap();
        assert!(!disk.is_full());
        assert_eq!(disk.vote().unwrap(), Some(Vote::new(2, 1)));
    }

    #[test]
    fn a_node_that_starts_on_a_full_disk_fails() {
        let file = File::default();
        file.disk().save_vote(&Vote::new(1, 1)).unwrap();
        let disk = file.disk();
        file.is_full.store(true, Ordering::Relaxed);
        assert!(is_full(&disk.save_vote(&Vote::new(2, 1)).unwrap_err()));
    }

    #[test]
    fn a_write_to_a_full_disk_fails_when_the_node_stops() {
        let file = File::default();
        let disk = Arc::new(file.disk());
        disk.save_vote(&Vote::new(1, 1)).unwrap();
        file.is_full.store(true, Ordering::Relaxed);
        let writing = write_vote(&disk, 2);
        disk.stop_waiting();
        assert!(is_full(&writing.join().unwrap().unwrap_err()));
        disk.close();
        file.is_full.store(false, Ordering::Relaxed);
        assert_eq!(file.disk().vote().unwrap(), Some(Vote::new(1, 1)), "what was written before is there");
    }

    #[test]
    fn a_file_belongs_to_one_node() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("raft.redb");
        drop(Disk::open(&path, "A").unwrap());
        drop(Disk::open(&path, "A").unwrap());
        let error = Disk::open(&path, "B").err().unwrap().to_string();
        assert!(error.ends_with("belongs to node A, this is node B"), "{error}");
    }

    #[test]
    fn unreadable_entries_are_errors_that_name_them() {
        let folder = tempfile::tempdir().unwrap();
        let disk = Disk::open(&folder.path().join("raft.redb"), "A").unwrap();
        disk.write(|write| {
            let mut log = write.open_table(LOG).map_err(failed)?;
            log.insert(3, &b"{\"log_id\":7}"[..]).map_err(failed)?;
            Ok(())
        })
        .unwrap();
        let error = disk.entries(..).err().unwrap().to_string();
        assert!(error.starts_with("cluster log: entry 3 is unreadable"), "{error}");
        assert!(disk.last().is_err());
    }
}
