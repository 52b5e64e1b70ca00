//! Exports of the state to the object store, while this node leads.
//!
//! They are a task of their own, because nothing that the leader decides may wait for the object store.

use std::sync::Arc;
use std::time::Duration;

use object_store::ObjectStore;

use crate::error::MetaError;
use crate::export;
use crate::group::Group;

/// Timeout of one export.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Interval at which a new leader or a changed state is noticed, and the pause after the first failure.
const CHECK_INTERVAL: Duration = Duration::from_secs(10);

/// Exports the state at intervals, until this node is stopped.
pub(crate) async fn run(group: Arc<Group>, objects: Arc<dyn ObjectStore>) {
    let mut stop = group.stop.subscribe();
    tokio::select! {
        () = export_when_due(&group, &*objects) => {}
        _ = stop.wait_for(|stop| *stop) => {}
    }
}

async fn export_when_due(group: &Group, objects: &dyn ObjectStore) {
    let interval = group.config.timing.export;
    let check = interval.min(CHECK_INTERVAL);
    let (mut exported, mut backoff) = (None, check);
    let mut pause = check;
    loop {
        tokio::time::sleep(pause).await;
        let view = group.feed.view();
        let version = (view.incarnation, view.version);
        pause = check;
        if !group.raft.is_leader() || view.settings.is_none() || exported == Some(version) {
            continue;
        }
        let late = |_| MetaError::Unavailable(format!("the object store did not answer within {TIMEOUT:?}"));
        let written = tokio::time::timeout(TIMEOUT, export::write(objects, &view)).await.map_err(late).flatten();
        match written {
            Ok(()) => {
                (exported, backoff, pause) = (Some(version), check, interval);
            }
            Err(error) => {
                tracing::warn!(%error, retry_in = ?backoff, "exporting the cluster state failed");
                pause = backoff;
                backoff = (backoff * 2).min(interval);
            }
        }
    }
}
