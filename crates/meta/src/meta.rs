//! The running authority: one log, one catalogue, and a numbered view that everyone watches.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use crate::catalogue::{Catalogue, Command, Refusal};
use crate::log::{Log, LogError};

/// A numbered snapshot of what meta knows.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// Goes up with every change.
    pub version: u64,
    /// Blocks, boundaries and deletions.
    pub catalogue: Arc<Catalogue>,
}

/// Why a command had no effect.
#[derive(Debug, thiserror::Error)]
pub enum MetaError {
    /// The state machine refused it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// It could not be made durable.
    #[error(transparent)]
    Log(#[from] LogError),
}

/// Meta in one process.
pub struct Meta {
    log: Mutex<Log>,
    view: watch::Sender<View>,
}

impl Meta {
    /// Opens the durable state in a folder, creating it when it is not there.
    pub fn open(folder: &Path) -> Result<Meta, LogError> {
        let failed = |e: std::io::Error| LogError::Database(redb::Error::Io(e));
        std::fs::create_dir_all(folder).map_err(failed)?;
        let (log, catalogue) = Log::open(&folder.join("meta.redb"))?;
        let view = View { version: catalogue.sequence, catalogue: Arc::new(catalogue) };
        Ok(Meta { log: Mutex::new(log), view: watch::Sender::new(view) })
    }

    /// Makes a command durable, carries it out and publishes the new view. Blocks for the length of an fsync.
    pub fn propose(&self, command: Command) -> Result<View, MetaError> {
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        let mut catalogue = Catalogue::clone(&self.view.borrow().catalogue);
        // Tried first, so that the log holds no refused command.
        catalogue.apply(command.clone())?;
        log.append(&command)?;
        log.compact(&catalogue)?;
        let view = View { version: self.view.borrow().version + 1, catalogue: Arc::new(catalogue) };
        self.view.send_replace(view.clone());
        Ok(view)
    }

    /// The newest view.
    pub fn view(&self) -> View {
        self.view.borrow().clone()
    }

    /// A watch on the view.
    pub fn watch(&self) -> watch::Receiver<View> {
        self.view.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_proposal_is_durable_and_seen_by_watchers() {
        let folder = tempfile::tempdir().unwrap();
        let meta = Meta::open(folder.path()).unwrap();
        let mut watch = meta.watch();
        let before = meta.view().version;
        let command = Command::Delete { tenant: "t".into(), selector: "{a=\"b\"}".into(), start: 1, end: 2 };
        meta.propose(command).unwrap();
        watch.changed().await.unwrap();
        assert!(watch.borrow().version > before);
        assert_eq!(watch.borrow().catalogue.tenant("t").unwrap().deletions.len(), 1);
        drop(meta);
        let again = Meta::open(folder.path()).unwrap();
        assert_eq!(again.view().catalogue.tenant("t").unwrap().deletions.len(), 1);
    }
}
