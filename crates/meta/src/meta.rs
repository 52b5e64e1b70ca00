//! The running authority: one log, one state, and a numbered view that everyone watches.

use std::ops::Deref;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use crate::log::{Log, LogError};
use crate::state::{ClusterState, Command, Refusal, Response};

/// A numbered snapshot of what meta knows; reads as the [`ClusterState`].
#[derive(Clone, Debug, Default)]
pub struct View {
    state: Arc<ClusterState>,
}

impl View {
    /// The view of a state.
    pub fn new(state: Arc<ClusterState>) -> Self {
        View { state }
    }

    /// The state itself.
    pub fn state(&self) -> &Arc<ClusterState> {
        &self.state
    }
}

impl Deref for View {
    type Target = ClusterState;

    fn deref(&self) -> &ClusterState {
        &self.state
    }
}

/// What a command that took effect led to.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// What the state machine answered.
    pub response: Response,
    /// A view that has its effect.
    pub view: View,
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
    /// The work was broken off.
    #[error("broken off: {0}")]
    BrokenOff(String),
}

/// What knows who owns what: every role asks it, watches it, and proposes changes to it.
pub struct Meta {
    inner: Arc<Inner>,
}

struct Inner {
    log: Mutex<Log>,
    view: watch::Sender<View>,
}

impl Inner {
    fn propose(&self, command: &Command) -> Result<Outcome, MetaError> {
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        let mut state = ClusterState::clone(self.view.borrow().state());
        // Tried first, so that the log holds no refused command.
        let response = state.apply(command)?;
        log.append(command)?;
        log.compact(&state)?;
        let view = View::new(Arc::new(state));
        self.view.send_replace(view.clone());
        Ok(Outcome { response, view })
    }
}

impl Meta {
    /// Opens the durable state in a folder, creating it when it is not there.
    pub async fn open(folder: &Path) -> Result<Meta, MetaError> {
        let failed = |e: std::io::Error| LogError::Database(redb::Error::Io(e));
        std::fs::create_dir_all(folder).map_err(failed)?;
        let (log, state) = Log::open(&folder.join("meta.redb"))?;
        let view = watch::Sender::new(View::new(Arc::new(state)));
        Ok(Meta { inner: Arc::new(Inner { log: Mutex::new(log), view }) })
    }

    /// Makes a command durable, carries it out and publishes the new view.
    pub async fn propose(&self, command: impl Into<Command>) -> Result<Outcome, MetaError> {
        let (inner, command) = (self.inner.clone(), command.into());
        let proposed = tokio::task::spawn_blocking(move || inner.propose(&command));
        proposed.await.map_err(|e| MetaError::BrokenOff(e.to_string()))?
    }

    /// As [`Meta::propose`], for threads that may block.
    pub fn propose_blocking(&self, command: impl Into<Command>) -> Result<Outcome, MetaError> {
        self.inner.propose(&command.into())
    }

    /// Ends the work; the folder can be opened again then.
    pub async fn shutdown(self) {}

    /// The newest view.
    pub fn view(&self) -> View {
        self.inner.view.borrow().clone()
    }

    /// A watch on the view.
    pub fn watch(&self) -> watch::Receiver<View> {
        self.inner.view.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::CatalogueCommand;

    #[tokio::test]
    async fn a_proposal_is_durable_and_seen_by_watchers() {
        let folder = tempfile::tempdir().unwrap();
        let meta = Meta::open(folder.path()).await.unwrap();
        let mut watch = meta.watch();
        let before = meta.view().version;
        let command = CatalogueCommand::Delete { tenant: "t".into(), selector: "{a=\"b\"}".into(), start: 1, end: 2 };
        meta.propose(command).await.unwrap();
        watch.changed().await.unwrap();
        assert!(watch.borrow().version > before);
        assert_eq!(watch.borrow().catalogue.tenant("t").unwrap().deletions.len(), 1);
        meta.shutdown().await;
        let again = Meta::open(folder.path()).await.unwrap();
        assert_eq!(again.view().catalogue.tenant("t").unwrap().deletions.len(), 1);
    }
}
