//! Keeps this node's membership alive by sending heartbeats to the leader.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use pharos_model::Clock;
use pharos_transport::meta_v1::HeartbeatRequest;
use tokio::sync::watch;

use crate::backend::Backend;
use crate::feed::Feed;
use crate::state::{Command, Member};

/// How long the view may take to reach the version that the leader answered before the next heartbeat is sent anyway.
const REACH_TIMEOUT: Duration = Duration::from_secs(1);

/// Sends the heartbeats of one member.
pub(crate) struct HeartbeatTask {
    pub(crate) backend: Backend,
    pub(crate) feed: Arc<Feed>,
    pub(crate) clock: Arc<dyn Clock>,
    /// When, on the monotonic clock, a heartbeat was sent whose version the view has reached.
    pub(crate) contact: watch::Sender<Option<Duration>>,
    pub(crate) member: Member,
    /// Whether the node cannot write its log.
    pub(crate) unwritable: Arc<AtomicBool>,
    pub(crate) interval: Duration,
}

impl HeartbeatTask {
    /// Runs until it is dropped.
    pub(crate) async fn run(self) {
        loop {
            self.beat().await;
            tokio::time::sleep(self.interval).await;
        }
    }

    async fn beat(&self) {
        let sent = self.clock.monotonic();
        let beat = HeartbeatRequest {
            node: self.member.id.clone(),
            unwritable: self.unwritable.load(Ordering::Relaxed),
            ..HeartbeatRequest::default()
        };
        match self.backend.heartbeat(beat).await {
            Ok(answer) if answer.known => {
                // The watch brings the view up to the leader's version. If it does not, the next heartbeat tries again.
                if tokio::time::timeout(REACH_TIMEOUT, self.feed.reach(answer.version)).await.is_ok() {
                    self.contact.send_replace(Some(sent));
                }
            }
            Ok(_) => {
                let join = Command::Join { member: self.member.clone(), at_ms: self.clock.now_ms() };
                if let Err(error) = self.backend.propose(Arc::new(join)).await {
                    tracing::warn!(%error, retry_in = ?self.interval, "the cluster has forgotten this node and rejoining failed");
                }
            }
            Err(error) => tracing::debug!(%error, retry_in = ?self.interval, "heartbeat failed"),
        }
    }
}
