//! Raft's log on [`Disk`].
//!
//! The committed position is written along with the next entries rather than in a transaction of its own, so a commit
//! costs one fsync. After a crash some entries may be committed a second time, which is harmless.

use std::fmt::Debug;
use std::io;
use std::ops::RangeBounds;
use std::sync::Arc;

use openraft::storage::{IOFlushed, LogState, RaftLogReader, RaftLogStorage};
use openraft::{OptionalSend, RaftTypeConfig};
use parking_lot::Mutex;

use super::disk::Disk;
use super::types::{Entry, LogId, Types, Vote};

/// A handle on the log; cheap to clone.
#[derive(Clone)]
pub(crate) struct LogStore {
    disk: Arc<Disk>,
    committed: Arc<Mutex<Option<LogId>>>,
}

impl LogStore {
    pub(crate) fn new(disk: Arc<Disk>) -> Self {
        LogStore { disk, committed: Arc::default() }
    }

    /// Runs blocking work on the blocking thread pool.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Disk) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let disk = self.disk.clone();
        tokio::task::spawn_blocking(move || work(&disk)).await.map_err(io::Error::other)?
    }
}

impl RaftLogReader<Types> for LogStore {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> io::Result<Vec<Entry>> {
        let range = (range.start_bound().cloned(), range.end_bound().cloned());
        self.blocking(move |disk| disk.entries(range)).await
    }

    async fn read_vote(&mut self) -> io::Result<Option<Vote>> {
        self.blocking(Disk::vote).await
    }
}

impl RaftLogStorage<Types> for LogStore {
    type LogReader = LogStore;

    async fn get_log_state(&mut self) -> io::Result<LogState<Types>> {
        self.blocking(|disk| {
            let last_purged_log_id = disk.purged()?;
            let last_log_id = disk.last()?.or(last_purged_log_id);
            Ok(LogState { last_purged_log_id, last_log_id })
        })
        .await
    }

    async fn get_log_reader(&mut self) -> LogStore {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        let vote = *vote;
        self.blocking(move |disk| disk.save_vote(&vote)).await
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> io::Result<()> {
        *self.committed.lock() = committed;
        Ok(())
    }

    async fn read_committed(&mut self) -> io::Result<Option<LogId>> {
        let newest = *self.committed.lock();
        match newest {
            Some(committed) => Ok(Some(committed)),
            None => self.blocking(Disk::committed).await,
        }
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<Types>) -> io::Result<()>
    where
        I: IntoIterator<Item = <Types as RaftTypeConfig>::Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<Entry> = entries.into_iter().collect();
        let committed = *self.committed.lock();
        let written = self.blocking(move |disk| disk.append(&entries, committed.as_ref())).await;
        callback.io_completed(match &written {
            Ok(()) => Ok(()),
            Err(error) => Err(io::Error::new(error.kind(), error.to_string())),
        });
        written
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> io::Result<()> {
        self.blocking(move |disk| disk.truncate_after(last.map(|id| id.index))).await
    }

    async fn purge(&mut self, upto: LogId) -> io::Result<()> {
        self.blocking(move |disk| disk.purge(&upto)).await
    }
}
