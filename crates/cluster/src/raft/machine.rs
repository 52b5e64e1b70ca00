//! The state machine under Raft: applies committed commands to the state and publishes it.
//!
//! The state lives in memory. The disk holds the last snapshot and the log after it.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use futures::{Stream, TryStreamExt};
use openraft::storage::{EntryResponder, RaftSnapshotBuilder, RaftStateMachine};
use openraft::{EntryPayload, OptionalSend};
use pharos_transport::ClusterIdentity;

use super::disk::Disk;
use super::types::{Answer, LogId, Snapshot, SnapshotMeta, StoredMembership, Types};
use crate::codec;
use crate::feed::Feed;
use crate::state::{ClusterState, Response};

/// Applies committed entries.
pub(crate) struct Machine {
    disk: Arc<Disk>,
    feed: Arc<Feed>,
    state: ClusterState,
    applied: Option<LogId>,
    membership: StoredMembership,
}

impl Machine {
    /// Starts from the last snapshot on disk. `identity` follows the state.
    pub(crate) fn open(disk: Arc<Disk>, identity: ClusterIdentity) -> io::Result<Machine> {
        let (applied, membership, state) = match disk.snapshot()? {
            None => (None, StoredMembership::default(), ClusterState::default()),
            Some((meta, data)) => (meta.last_log_id, meta.last_membership, codec::decode(&data)?),
        };
        let feed = Arc::new(Feed::new(state.clone(), identity));
        Ok(Machine { disk, feed, state, applied, membership })
    }

    /// The feed in which the state is published.
    pub(crate) fn feed(&self) -> &Arc<Feed> {
        &self.feed
    }
}

impl RaftStateMachine<Types> for Machine {
    type SnapshotData = Bytes;
    type SnapshotBuilder = Builder;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, StoredMembership)> {
        Ok((self.applied, self.membership.clone()))
    }

    async fn apply<Strm>(&mut self, mut entries: Strm) -> io::Result<()>
    where
        Strm: Stream<Item = Result<EntryResponder<Types>, io::Error>> + Unpin + OptionalSend,
    {
        let mut commands = Vec::new();
        let mut answers = Vec::new();
        while let Some((entry, responder)) = entries.try_next().await? {
            let result = match entry.payload {
                EntryPayload::Blank => Ok(Response::Done),
                EntryPayload::Membership(membership) => {
                    self.membership = StoredMembership::new(Some(entry.log_id), membership);
                    Ok(Response::Done)
                }
                EntryPayload::Normal(proposal) => {
                    let result = self.state.apply(&proposal.0);
                    if result.is_ok() {
                        commands.push((self.state.version, serde_json::to_vec(&*proposal.0)?.into()));
                    }
                    result
                }
            };
            self.applied = Some(entry.log_id);
            let version = self.state.version;
            answers.extend(responder.map(|responder| (responder, Answer { version, result })));
        }
        if !commands.is_empty() {
            self.feed.advance(Arc::new(self.state.clone()), commands);
        }
        // Answered after publishing, so that a proposer finds the effect in the view.
        answers.into_iter().for_each(|(responder, answer)| responder.send(answer));
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Builder {
        let meta = SnapshotMeta { last_log_id: self.applied, last_membership: self.membership.clone() };
        Builder { disk: self.disk.clone(), state: self.state.clone(), meta }
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, data: Bytes) -> io::Result<()> {
        let (disk, kept) = (self.disk.clone(), meta.clone());
        let unpacked = tokio::task::spawn_blocking(move || {
            let state = codec::decode(&data)?;
            disk.save_snapshot(&kept, &data)?;
            io::Result::Ok(state)
        });
        self.state = unpacked.await.map_err(io::Error::other)??;
        self.applied = meta.last_log_id;
        self.membership = meta.last_membership.clone();
        self.feed.replace(Arc::new(self.state.clone()));
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<Snapshot>> {
        let disk = self.disk.clone();
        let read = tokio::task::spawn_blocking(move || disk.snapshot()).await.map_err(io::Error::other)??;
        Ok(read.map(|(meta, snapshot)| Snapshot { meta, snapshot }))
    }
}

/// Compresses a version of the state and saves it on disk while the machine keeps applying.
pub(crate) struct Builder {
    disk: Arc<Disk>,
    state: ClusterState,
    meta: SnapshotMeta,
}

impl RaftSnapshotBuilder<Types> for Builder {
    type SnapshotData = Bytes;

    async fn build_snapshot(&mut self) -> io::Result<Snapshot> {
        let (disk, state, meta) = (self.disk.clone(), self.state.clone(), self.meta.clone());
        let packed = tokio::task::spawn_blocking(move || {
            let data = match codec::encode(&state) {
                Ok(data) => data,
                Err(error) if error.kind() == io::ErrorKind::FileTooLarge => return previous(&disk, error),
                Err(error) => return Err(error),
            };
            disk.save_snapshot(&meta, &data)?;
            io::Result::Ok(Snapshot { meta, snapshot: data })
        });
        packed.await.map_err(io::Error::other)?
    }
}

/// The previous snapshot, in place of one that could not be read back. The log after it stays, so nothing is lost.
fn previous(disk: &Disk, error: io::Error) -> io::Result<Snapshot> {
    match disk.snapshot()? {
        None => Err(error),
        Some((meta, snapshot)) => {
            tracing::error!(
                %error,
                "cannot save a snapshot of the cluster state; the log keeps growing: shorten the retention, so that the \
                 catalogue lists fewer blocks"
            );
            Ok(Snapshot { meta, snapshot })
        }
    }
}
