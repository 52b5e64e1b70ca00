//! Keeps the lease of this node's membership by sending heartbeats to the leader.

use std::sync::Arc;
use std::time::Duration;

use pharos_model::Clock;
use tokio::sync::watch;

use crate::backend::Backend;
use crate::feed::Feed;
use crate::state::{Command, Member};

/// How long the view may take to get to the version of the leader's answer, before a sign of life is given again.
const REACH_TIMEOUT: Duration = Duration::from_secs(1);

/// The signs of life of a member.
pub(crate) struct HeartbeatTask {
    pub(crate) backend: Backend,
    pub(crate) feed: Arc<Feed>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) contact: watch::Sender<Option<Duration>>,
    pub(crate) member: Member,
    pub(crate) interval: Duration,
}

impl HeartbeatTask {
    pub(crate) async fn run(self) {
        loop {
            let sent = self.clock.monotonic();
            match self.backend.heartbeat(&self.member.id, false).await {
                Ok(answer) if answer.known => {
                    // The watch brings the view there, if it works; if not, another sign of life finds out.
                    if tokio::time::timeout(REACH_TIMEOUT, self.feed.reach(answer.version)).await.is_ok() {
                        self.contact.send_replace(Some(sent));
                    }
                }
                Ok(_) => {
                    let join = Command::Join { member: self.member.clone(), at_ms: self.clock.now_ms() };
                    if let Err(error) = self.backend.propose(Arc::new(join)).await {
                        tracing::warn!(%error, "this node is no member and could not join");
                    }
                }
                Err(error) => tracing::debug!(%error, "no sign of life could be given"),
            }
            tokio::time::sleep(self.interval).await;
        }
    }
}
