//! The durable log of the state: redb holds a snapshot and the commands since. A command is on disk before it is
//! carried out; opening reads the snapshot and carries out the commands behind it.

use std::path::Path;

use redb::{Database, ReadableDatabase, TableDefinition};

use crate::state::{ClusterState, Command};

/// Position in the log -> command as JSON.
const COMMANDS: TableDefinition<u64, &[u8]> = TableDefinition::new("commands");
/// Key 0 -> (position of the last command in it, state as JSON).
const SNAPSHOT: TableDefinition<u8, (u64, &[u8])> = TableDefinition::new("snapshot");

/// Commands between two snapshots.
const COMMANDS_PER_SNAPSHOT: u64 = 256;

/// Why the log failed.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The database failed.
    #[error("cluster log: {0}")]
    Database(#[from] redb::Error),
    /// An entry is not what this program writes.
    #[error("cluster log: entry {at} is unreadable: {reason}")]
    Corrupt {
        /// Its position; 0 for the snapshot.
        at: u64,
        /// What is wrong.
        reason: String,
    },
}

/// The log, opened by one process at a time.
pub struct Log {
    database: Database,
    last: u64,
    snapshot_at: u64,
}

fn database_error(error: impl Into<redb::Error>) -> LogError {
    LogError::Database(error.into())
}

impl Log {
    /// Opens or creates the log and rebuilds the state from it.
    pub fn open(path: &Path) -> Result<(Log, ClusterState), LogError> {
        let database = Database::create(path).map_err(database_error)?;
        let write = database.begin_write().map_err(database_error)?;
        write.open_table(COMMANDS).map_err(database_error)?;
        write.open_table(SNAPSHOT).map_err(database_error)?;
        write.commit().map_err(database_error)?;
        let (snapshot_at, last, state) = Self::read(&database)?;
        Ok((Log { database, last, snapshot_at }, state))
    }

    fn read(database: &Database) -> Result<(u64, u64, ClusterState), LogError> {
        let read = database.begin_read().map_err(database_error)?;
        let snapshots = read.open_table(SNAPSHOT).map_err(database_error)?;
        let (snapshot_at, mut state) = match snapshots.get(0).map_err(database_error)? {
            None => (0, ClusterState::default()),
            Some(entry) => {
                let (at, bytes) = entry.value();
                let corrupt = |e: serde_json::Error| LogError::Corrupt { at: 0, reason: e.to_string() };
                (at, serde_json::from_slice(bytes).map_err(corrupt)?)
            }
        };
        let commands = read.open_table(COMMANDS).map_err(database_error)?;
        let mut last = snapshot_at;
        for entry in commands.range(snapshot_at + 1..).map_err(database_error)? {
            let (at, bytes) = entry.map_err(database_error)?;
            let corrupt = |e: serde_json::Error| LogError::Corrupt { at: at.value(), reason: e.to_string() };
            let command: Command = serde_json::from_slice(bytes.value()).map_err(corrupt)?;
            // A refused command is refused again: the state machine is deterministic.
            let _refused_as_before = state.apply(&command);
            last = at.value();
        }
        Ok((snapshot_at, last, state))
    }

    /// Makes a command durable; returns its position.
    pub fn append(&mut self, command: &Command) -> Result<u64, LogError> {
        let at = self.last + 1;
        let bytes = serde_json::to_vec(command).map_err(|e| LogError::Corrupt { at, reason: e.to_string() })?;
        let write = self.database.begin_write().map_err(database_error)?;
        write.open_table(COMMANDS).map_err(database_error)?.insert(at, bytes.as_slice()).map_err(database_error)?;
        write.commit().map_err(database_error)?;
        self.last = at;
        Ok(at)
    }

    /// Replaces the commands up to now by a snapshot, when there are many of them.
    pub fn compact(&mut self, state: &ClusterState) -> Result<(), LogError> {
        if self.last - self.snapshot_at < COMMANDS_PER_SNAPSHOT {
            return Ok(());
        }
        let bytes = serde_json::to_vec(state).map_err(|e| LogError::Corrupt { at: 0, reason: e.to_string() })?;
        let write = self.database.begin_write().map_err(database_error)?;
        write
            .open_table(SNAPSHOT)
            .map_err(database_error)?
            .insert(0, (self.last, bytes.as_slice()))
            .map_err(database_error)?;
        write.open_table(COMMANDS).map_err(database_error)?.retain(|at, _| at > self.last).map_err(database_error)?;
        write.commit().map_err(database_error)?;
        self.snapshot_at = self.last;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::CatalogueCommand;

    fn delete(n: u64) -> Command {
        Command::Catalogue(CatalogueCommand::Delete {
            tenant: format!("t{}", n % 3),
            selector: format!("{{n=\"{n}\"}}"),
            start: 0,
            end: n as i64,
        })
    }

    #[test]
    fn a_reopened_log_gives_the_same_state() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("meta.redb");
        let mut expected = ClusterState::default();
        for round in 0..3 {
            let (mut log, mut state) = Log::open(&path).unwrap();
            assert_eq!(state, expected, "round {round}");
            for n in 0..COMMANDS_PER_SNAPSHOT / 2 + 7 {
                log.append(&delete(n)).unwrap();
                state.apply(&delete(n)).unwrap();
                log.compact(&state).unwrap();
            }
            expected = state;
        }
    }

    #[test]
    fn an_unreadable_entry_is_an_error_that_names_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("meta.redb");
        let (mut log, _) = Log::open(&path).unwrap();
        log.append(&delete(1)).unwrap();
        let write = log.database.begin_write().unwrap();
        write.open_table(COMMANDS).unwrap().insert(2, &b"{\"Unknown\":1}"[..]).unwrap();
        write.commit().unwrap();
        drop(log);
        let error = Log::open(&path).err().unwrap().to_string();
        assert!(error.starts_with("cluster log: entry 2 is unreadable: unknown variant"), "{error}");
    }
}
