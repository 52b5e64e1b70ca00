//! Proofs that the view of this node is current (INV-CURRENT-VIEW).
//!
//! A view on its own says nothing about what has been agreed on since. For a proof, this node asks the leader of meta for its
//! version. The leader answers once a majority has confirmed that it still leads, and the proof is complete when this node's
//! view has reached that version. Callers share proofs ([`Rounds`]). While proofs fail, no caller waits for one: a background
//! task keeps trying, and callers learn at once up to which time the view is known to be current.

use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use parking_lot::Mutex;
use pharos_model::Clock;
use tokio::sync::watch;

use crate::backend::Backend;
use crate::feed::Feed;
use crate::rounds::Rounds;
use crate::view::View;

/// Maximum time that a caller waits for a proof: longer than meta takes to elect another leader (1.2 to 1.6 s).
const PROOF_TIMEOUT: Duration = Duration::from_millis(2500);
/// Wait between proofs while they fail.
const RETRY_INTERVAL: Duration = Duration::from_millis(250);
/// Wait after a failed question to meta before the next one within a proof.
const ASK_AGAIN_INTERVAL: Duration = Duration::from_millis(50);
/// How long a question to meta stays unanswered before another one is asked beside it: its leader may just have been replaced.
const HEDGE_INTERVAL: Duration = Duration::from_millis(300);

/// A view could not be proved to be current.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unproven {
    /// The view includes everything that was agreed on before this time, in milliseconds since the epoch. `None` if this node
    /// does not know that the view was ever current.
    pub as_of_ms: Option<i64>,
    /// Why there is no proof.
    pub reason: String,
}

impl fmt::Display for Unproven {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

/// Proves that views are current, which queries rely on.
pub trait ProveView: Send + Sync + 'static {
    /// Returns a view that includes everything agreed on before the call. Takes at most [`PROOF_TIMEOUT`].
    ///
    /// # Errors
    /// Meta has not confirmed the view in that time, or did not confirm the last one.
    fn prove(&self) -> BoxFuture<'_, Result<View, Unproven>>;
}

/// Proves the views of one node.
pub(crate) struct Prover {
    shared: Arc<Shared>,
}

struct Shared {
    backend: Backend,
    feed: Arc<Feed>,
    clock: Arc<dyn Clock>,
    /// When the newest heartbeat was sent whose version the view has reached, on the monotonic clock.
    contact: watch::Receiver<Option<Duration>>,
    rounds: Rounds<Result<(), String>>,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// When the last successful proof began, on the monotonic clock.
    proved_at: Option<Duration>,
    /// Why the last proof failed; `None` if it succeeded. While it is set, a task keeps trying.
    failure: Option<String>,
}

impl Prover {
    pub(crate) fn new(
        backend: Backend,
        feed: Arc<Feed>,
        clock: Arc<dyn Clock>,
        contact: watch::Receiver<Option<Duration>>,
    ) -> Self {
        let (rounds, known) = (Rounds::default(), Mutex::default());
        Prover { shared: Arc::new(Shared { backend, feed, clock, contact, rounds, known }) }
    }

    pub(crate) async fn prove(&self) -> Result<View, Unproven> {
        let shared = &self.shared;
        if shared.backend.is_alone() {
            // Nothing is agreed on without this node.
            return Ok(shared.feed.view());
        }
        let failure = shared.known.lock().failure.clone();
        if let Some(reason) = failure {
            return Err(shared.unproven(reason));
        }
        match tokio::time::timeout(PROOF_TIMEOUT, shared.next_round()).await.unwrap_or_else(|_| Err(late())) {
            Ok(()) => Ok(shared.feed.view()),
            Err(reason) => Err(shared.unproven(reason)),
        }
    }
}

fn late() -> String {
    format!("meta did not confirm the view within {PROOF_TIMEOUT:?}")
}

impl Shared {
    /// Joins the next round. A round runs to its end in a task of its own, because its outcome counts even if its callers leave.
    fn next_round(self: &Arc<Self>) -> impl Future<Output = Result<(), String>> + use<> {
        let shared = self.clone();
        self.rounds.join(|| async move {
            let proved = tokio::spawn(shared.round()).await;
            proved.unwrap_or_else(|error| Err(format!("proving the view ended unexpectedly: {error}")))
        })
    }

    /// Tries to prove the view for as long as a caller waits, and records the outcome.
    fn round(self: Arc<Self>) -> BoxFuture<'static, Result<(), String>> {
        Box::pin(async move {
            let began = self.clock.monotonic();
            let mut failure = None;
            let proving = async {
                let version = self.ask_meta(&mut failure).await;
                self.feed.reach(version).await
            };
            let proved = tokio::time::timeout(PROOF_TIMEOUT, proving).await;
            let outcome = proved.map(|_view| ()).map_err(|_| failure.unwrap_or_else(late));
            self.record(began, &outcome);
            outcome
        })
    }

    /// Asks meta for a version that includes everything agreed on before the call, until it answers. `failure` is why the last
    /// question failed.
    async fn ask_meta(&self, failure: &mut Option<String>) -> u64 {
        let mut asked = FuturesUnordered::new();
        loop {
            asked.push(self.backend.read_index());
            let mut wait = HEDGE_INTERVAL;
            while let Ok(Some(answer)) = tokio::time::timeout(wait, asked.next()).await {
                match answer {
                    Ok(version) => return version,
                    Err(error) => *failure = Some(error.to_string()),
                }
                wait = ASK_AGAIN_INTERVAL;
            }
            if asked.is_empty() {
                tokio::time::sleep(ASK_AGAIN_INTERVAL).await;
            }
        }
    }

    /// Records the outcome of a proof. `began` is when it began, on the monotonic clock. The first failure starts a task that
    /// keeps trying.
    fn record(self: &Arc<Self>, began: Duration, outcome: &Result<(), String>) {
        let mut known = self.known.lock();
        let was_failing = known.failure.is_some();
        match outcome {
            Ok(()) => {
                known.proved_at = known.proved_at.max(Some(began));
                known.failure = None;
                if was_failing {
                    tracing::info!("meta confirms this node's view again; responses are complete");
                }
            }
            Err(reason) => {
                known.failure = Some(reason.clone());
                if !was_failing {
                    tracing::warn!(
                        %reason,
                        "could not confirm that this node's view is current; retrying, and queries warn or fail until then"
                    );
                    tokio::spawn(keep_proving(Arc::downgrade(self), self.backend.stopped()));
                }
            }
        }
    }

    fn unproven(&self, reason: String) -> Unproven {
        // A node that has left the cluster sets `MAX` so that nobody waits for contact. That does not count as contact.
        let contact = self.contact.borrow().filter(|at| *at != Duration::MAX);
        let known_at = self.known.lock().proved_at.max(contact);
        let age = known_at.map(|at| self.clock.monotonic().saturating_sub(at));
        let as_of_ms = age.map(|age| self.clock.now_ms().saturating_sub(age.as_millis() as i64));
        Unproven { as_of_ms, reason }
    }
}

/// Repeats proofs until one succeeds or the node stops.
async fn keep_proving(shared: Weak<Shared>, mut stopped: watch::Receiver<bool>) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(RETRY_INTERVAL) => {}
            _ = stopped.wait_for(|stopped| *stopped) => return,
        }
        let Some(shared) = shared.upgrade() else { return };
        if shared.next_round().await.is_ok() {
            return;
        }
    }
}
