//! Keeps this node's membership alive by sending heartbeats to the leader.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use pharos_model::Clock;
use pharos_transport::meta_v1::HeartbeatRequest;
use tokio::sync::watch;

use crate::backend::Backend;
use crate::cluster_clock::{ClusterClock, Report};
use crate::feed::Feed;
use crate::state::{Command, Member};

/// How long the view may take to reach the version that the leader answered before the next heartbeat is sent anyway.
const REACH_TIMEOUT: Duration = Duration::from_secs(1);

/// Sends the heartbeats of one member.
pub(crate) struct HeartbeatTask {
    pub(crate) backend: Backend,
    pub(crate) feed: Arc<Feed>,
    /// The cluster's time, which heartbeats measure.
    pub(crate) time: Arc<ClusterClock>,
    /// When, on the monotonic clock, a heartbeat was sent whose version the view has reached.
    pub(crate) contact: watch::Sender<Option<Duration>>,
    pub(crate) member: Member,
    /// Whether the node cannot write its log.
    pub(crate) unwritable: Arc<AtomicBool>,
    /// Whether the node's log has lost samples.
    pub(crate) incomplete: Arc<AtomicBool>,
    pub(crate) interval: Duration,
}

impl HeartbeatTask {
    /// Runs until it is dropped.
    pub(crate) async fn run(self) {
        let mut report = None;
        loop {
            report = self.beat(report).await;
            tokio::time::sleep(self.interval).await;
        }
    }

    /// Sends a heartbeat with what the previous one measured. Returns what this one has measured.
    async fn beat(&self, report: Option<Report>) -> Option<Report> {
        let sent = self.time.monotonic();
        let beat = HeartbeatRequest {
            node: self.member.id.clone(),
            unwritable: self.unwritable.load(Ordering::Relaxed),
            incomplete: self.incomplete.load(Ordering::Relaxed),
            clock: report.map_or(0, |report| report.clock),
            wall_ms: report.map_or(0, |report| report.wall_ms),
            ..HeartbeatRequest::default()
        };
        let answer = self.backend.heartbeat(beat).await;
        let measured = answer.as_ref().ok().and_then(|answer| self.time.learn(sent, answer));
        match answer {
            Ok(answer) if answer.known => {
                // The watch brings the view up to the leader's version. If it does not, the next heartbeat tries again.
                if tokio::time::timeout(REACH_TIMEOUT, self.feed.reach(answer.version)).await.is_ok() {
                    self.contact.send_replace(Some(sent));
                }
            }
            Ok(_) => {
                let join = Command::Join { member: self.member.clone(), at_ms: self.time.now_ms() };
                if let Err(error) = self.backend.propose(Arc::new(join)).await {
                    tracing::warn!(%error, retry_in = ?self.interval, "the cluster has forgotten this node and rejoining failed");
                }
            }
            Err(error) => tracing::debug!(%error, retry_in = ?self.interval, "heartbeat failed"),
        }
        measured
    }
}
