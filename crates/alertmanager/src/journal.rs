//! A set of records on disk: a snapshot, and a journal of the records that were written since.
//!
//! A record is durable once [`Journal::append`] returns. One thread at a time writes, and writes that wait together share an
//! fsync. The snapshot is in Alertmanager's format and replaces the previous one as a whole; a journal that a crash tore is
//! read up to the tear.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use tokio::sync::{mpsc, oneshot};

use crate::records::{Record, decode_all};

/// Writes that may wait.
const MAX_WAITING: usize = 4096;
/// Largest file that is read, bytes.
const MAX_FILE_BYTES: u64 = 1 << 30;

/// Encodes all records. Called when the snapshot is written, so that it has every record that was appended before.
pub type EncodeAll = Box<dyn FnOnce() -> Vec<u8> + Send>;

enum Command {
    Append(Vec<u8>, oneshot::Sender<io::Result<()>>),
    Snapshot(EncodeAll, oneshot::Sender<io::Result<u64>>),
}

/// The end of a journal that writers hold. Cheap to clone.
#[derive(Clone)]
pub struct Journal {
    commands: mpsc::Sender<Command>,
}

/// The files of a journal.
struct Files {
    snapshot: PathBuf,
    path: PathBuf,
    journal: File,
    /// Length of the complete records in the journal.
    length: u64,
}

impl Journal {
    /// Reads the records of `name` in a folder, the oldest first, and starts the writer. Blocks while it reads.
    ///
    /// # Errors
    /// The files cannot be read or created; the text names the file.
    pub fn open<R: Record>(folder: &Path, name: &str) -> Result<(Self, Vec<R>), String> {
        let snapshot = folder.join(name);
        let path = folder.join(format!("{name}.journal"));
        let failed = |path: &Path, error: io::Error| format!("{}: {error}", path.display());
        let bytes = read(&snapshot).map_err(|error| failed(&snapshot, error))?;
        let (mut records, used) = decode_all(&bytes);
        if used < bytes.len() {
            tracing::error!(file = %snapshot.display(), offset = used, "the snapshot is damaged; what is behind the damage is lost");
        }
        let bytes = read(&path).map_err(|error| failed(&path, error))?;
        let (newer, used) = decode_all(&bytes);
        if used < bytes.len() {
            tracing::warn!(file = %path.display(), offset = used, "the journal was torn by a crash; truncating it");
        }
        records.extend(newer);
        let mut options = OpenOptions::new();
        let journal =
            options.create(true).truncate(false).write(true).open(&path).map_err(|error| failed(&path, error))?;
        let mut files = Files { snapshot, path, journal, length: used as u64 };
        files.continue_behind(bytes.len() as u64).map_err(|error| failed(&files.path, error))?;
        let (commands, waiting) = mpsc::channel(MAX_WAITING);
        tokio::spawn(write(files, waiting));
        Ok((Journal { commands }, records))
    }

    /// Appends an encoded record and waits until it is durable.
    ///
    /// # Errors
    /// The record could not be written.
    pub async fn append(&self, record: Vec<u8>) -> io::Result<()> {
        self.run(|done| Command::Append(record, done)).await
    }

    /// Replaces the snapshot by all records and empties the journal. Returns the size of the snapshot, bytes.
    ///
    /// # Errors
    /// The snapshot could not be written; the previous one and the journal are unchanged.
    pub async fn snapshot(&self, encode_all: EncodeAll) -> io::Result<u64> {
        self.run(|done| Command::Snapshot(encode_all, done)).await
    }

    async fn run<T>(&self, command: impl FnOnce(oneshot::Sender<io::Result<T>>) -> Command) -> io::Result<T> {
        let ended = || io::Error::other("the writer of the journal ended");
        let (done, outcome) = oneshot::channel();
        self.commands.send(command(done)).await.map_err(|_| ended())?;
        outcome.await.map_err(|_| ended())?
    }
}

/// The bytes of a file; none if it does not exist.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
        Ok(metadata) if metadata.len() > MAX_FILE_BYTES => Err(io::Error::other("the file is larger than 1 GiB")),
        Ok(_) => fs::read(path),
    }
}

/// Runs commands until all writers are gone.
async fn write(mut files: Files, mut waiting: mpsc::Receiver<Command>) {
    let mut next = Vec::new();
    while waiting.recv_many(&mut next, MAX_WAITING).await > 0 {
        let commands = std::mem::take(&mut next);
        let written = tokio::task::spawn_blocking(move || {
            files.run(commands);
            files
        });
        match written.await {
            Ok(returned) => files = returned,
            Err(error) => {
                tracing::error!(%error, "the writer of the journal ended unexpectedly");
                return;
            }
        }
    }
}

impl Files {
    /// Runs commands in order. Records that follow each other share an fsync.
    fn run(&mut self, commands: Vec<Command>) {
        let mut bytes = Vec::new();
        let mut appended = Vec::new();
        for command in commands {
            match command {
                Command::Append(record, done) => {
                    bytes.extend(record);
                    appended.push(done);
                }
                Command::Snapshot(encode_all, done) => {
                    self.append(&mut bytes, &mut appended);
                    // Nobody waits for the size of a snapshot at a shutdown that took too long.
                    let _abandoned = done.send(self.replace(&encode_all()));
                }
            }
        }
        self.append(&mut bytes, &mut appended);
    }

    fn append(&mut self, bytes: &mut Vec<u8>, appended: &mut Vec<oneshot::Sender<io::Result<()>>>) {
        if appended.is_empty() {
            return;
        }
        let outcome = self.journal.write_all(bytes).and_then(|()| self.journal.sync_data());
        match &outcome {
            Ok(()) => self.length += bytes.len() as u64,
            Err(error) => {
                tracing::error!(%error, file = %self.path.display(), "could not write to the journal");
                if let Err(error) = self.truncate() {
                    tracing::error!(%error, file = %self.path.display(), "could not remove an incomplete record");
                }
            }
        }
        bytes.clear();
        for done in appended.drain(..) {
            let copy = outcome.as_ref().copied().map_err(|error| io::Error::new(error.kind(), error.to_string()));
            // The writer of the record may have given up waiting.
            let _abandoned = done.send(copy);
        }
    }

    /// Begins to write behind the last complete record of a journal that has this length.
    fn continue_behind(&mut self, length: u64) -> io::Result<()> {
        if length == self.length {
            // Nothing was torn, so the start need not wait for the disk.
            return self.journal.seek(SeekFrom::Start(length)).map(drop);
        }
        self.truncate()
    }

    /// Cuts the journal behind its last complete record.
    fn truncate(&mut self) -> io::Result<()> {
        self.journal.set_len(self.length)?;
        self.journal.seek(SeekFrom::Start(self.length))?;
        self.journal.sync_data()
    }

    fn replace(&mut self, snapshot: &[u8]) -> io::Result<u64> {
        let new = self.snapshot.with_extension("new");
        let mut file = File::create(&new)?;
        file.write_all(snapshot)?;
        file.sync_all()?;
        fs::rename(&new, &self.snapshot)?;
        if let Some(folder) = self.snapshot.parent() {
            File::open(folder)?.sync_all()?;
        }
        self.length = 0;
        self.truncate()?;
        Ok(snapshot.len() as u64)
    }
}

#[cfg(test)]
mod tests;
