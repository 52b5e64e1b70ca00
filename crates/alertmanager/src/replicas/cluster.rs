//! Replicas that call each other: heartbeats, shared changes and claims.
//!
//! Every replica calls every other one, so a change needs one call to each. A replica that could not be called is missed
//! after a while; when it is heard again, both exchange everything they know, as all do from time to time.

use std::collections::HashSet;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use bytes::Bytes;
use futures::future::{BoxFuture, join_all};
use jiff::Timestamp;
use parking_lot::Mutex;
use pharos_model::Clock;
use thiserror::Error;
use tokio::sync::{Notify, watch};

use super::carrier::Carrier;
use super::claims::{Claim, Claims};
use super::members::Members;
use super::wire::Letter;
use super::{Change, ReplicaInfo, ReplicaStatus, Replicas};
use crate::engine::Engine;

/// How long a call may take. Shorter than the silence after which a replica is missed.
const CALL_TIMEOUT: Duration = Duration::from_secs(3);

/// Settings of the replicas.
#[derive(Clone, Debug)]
pub struct ClusterSettings {
    /// The name of this one.
    pub name: String,
    /// Where the others reach it.
    pub address: String,
    /// The label of the cluster.
    pub label: String,
    /// Addresses of others to begin with.
    pub peers: Vec<String>,
    /// How long a replica leaves notifications to each one before it.
    pub peer_timeout: Duration,
    /// Time between two heartbeats.
    pub heartbeat_interval: Duration,
    /// Time between two exchanges of everything.
    pub exchange_interval: Duration,
    /// How long the start waits for the others.
    pub settle_timeout: Duration,
    /// Time between two calls to a replica that is missed.
    pub reconnect_interval: Duration,
    /// How long a replica may be missed before it is forgotten.
    pub reconnect_timeout: Duration,
}

/// Why a call of another replica is refused.
#[derive(Debug, Error)]
pub(crate) enum Refused {
    /// The bytes are no call.
    #[error("not a call of a replica: {0}")]
    Unreadable(String),
    /// The caller belongs to another cluster.
    #[error("{0}")]
    OtherCluster(String),
}

/// The replicas.
pub struct Cluster {
    settings: ClusterSettings,
    clock: Arc<dyn Clock>,
    carrier: Arc<dyn Carrier>,
    state: Mutex<ClusterState>,
    /// Set once, because the engine is opened after this.
    engine: OnceLock<Weak<Engine>>,
    claims_changed: Notify,
    settled: watch::Sender<bool>,
}

struct ClusterState {
    members: Members,
    claims: Claims,
    /// Addresses that are being called by the heartbeat.
    calling: HashSet<String>,
}

impl Cluster {
    /// Replicas that are not called yet.
    pub fn new(settings: ClusterSettings, carrier: Arc<dyn Carrier>, clock: Arc<dyn Clock>) -> Arc<Self> {
        let own = ReplicaInfo { name: settings.name.clone(), address: settings.address.clone() };
        let members = Members::new(own, &settings.peers, settings.reconnect_interval, settings.reconnect_timeout);
        let state = ClusterState { members, claims: Claims::default(), calling: HashSet::new() };
        Arc::new(Cluster {
            clock,
            carrier,
            state: Mutex::new(state),
            engine: OnceLock::new(),
            claims_changed: Notify::new(),
            settled: watch::Sender::new(settings.peers.is_empty()),
            settings,
        })
    }

    /// Connects the replicas with the engine that they share the changes of.
    pub fn attach(&self, engine: &Arc<Engine>) {
        // A second engine would be a mistake of the caller; the first one stays.
        let _first_stays = self.engine.set(Arc::downgrade(engine));
    }

    /// Takes a new list of the other replicas, such as the members of a cluster. Replicas that are not on it are forgotten.
    pub fn set_peers(&self, peers: &[ReplicaInfo]) {
        self.state.lock().members.set_peers(peers, self.clock.monotonic());
    }

    /// Calls the others until `stop` becomes true, then says goodbye.
    pub async fn run(self: Arc<Self>, mut stop: watch::Receiver<bool>) {
        let settle_until = self.clock.monotonic().saturating_add(self.settings.settle_timeout);
        let mut next_exchange = self.clock.monotonic();
        loop {
            let now = self.clock.monotonic();
            let wants_everything = now >= next_exchange;
            if wants_everything {
                next_exchange = now.saturating_add(self.settings.exchange_interval);
            }
            self.heartbeat(wants_everything, now);
            if now >= settle_until {
                self.settle();
            }
            let pause =
                self.settings.heartbeat_interval.min(settle_until.saturating_sub(now).max(Duration::from_millis(1)));
            tokio::select! {
                () = self.clock.sleep(if *self.settled.borrow() { self.settings.heartbeat_interval } else { pause }) => {}
                _ = stop.wait_for(|is_stopped| *is_stopped) => break,
            }
        }
        let mut goodbye = self.letter();
        goodbye.is_goodbye = true;
        self.tell_live(goodbye).await;
    }

    fn settle(&self) {
        if !self.settled.send_replace(true) {
            let replicas = self.status();
            tracing::info!(live = replicas.live.len(), position = replicas.position, "replicas have settled");
        }
    }

    /// Calls all replicas that are due, without waiting for them.
    fn heartbeat(self: &Arc<Self>, wants_everything: bool, now: Duration) {
        let mut state = self.state.lock();
        state.claims.collect_garbage(wall(&*self.clock));
        let ClusterState { members, calling, .. } = &mut *state;
        let due = members.calls(self.settings.heartbeat_interval, now);
        let addresses: Vec<String> = due.into_iter().filter(|address| calling.insert(address.clone())).collect();
        drop(state);
        for address in addresses {
            let cluster = self.clone();
            tokio::spawn(async move {
                cluster.greet(&address, wants_everything).await;
                cluster.state.lock().calling.remove(&address);
            });
        }
    }

    /// Calls a replica. One that was not live before is asked for everything, and told everything.
    async fn greet(&self, address: &str, wants_everything: bool) {
        let mut letter = self.letter();
        letter.wants_everything = wants_everything;
        let Some(is_new) = self.call(address, letter).await else { return };
        if is_new {
            let mut letter = self.letter();
            letter.wants_everything = true;
            letter.changes = self.engine().map(|engine| engine.shared()).unwrap_or_default();
            self.call(address, letter).await;
        }
        let mut state = self.state.lock();
        state.members.found_seed(address);
        let has_found_all = state.members.has_found_all_seeds();
        drop(state);
        if has_found_all {
            self.settle();
        }
    }

    fn engine(&self) -> Option<Arc<Engine>> {
        self.engine.get().and_then(Weak::upgrade)
    }

    /// A letter of this replica that says that it is there.
    fn letter(&self) -> Letter {
        let state = self.state.lock();
        Letter::new(&self.settings.label, state.members.own(), state.members.live(self.clock.monotonic()))
    }

    /// Sends a letter and takes the answer. Whether the replica was not live before; none if it did not answer.
    async fn call(&self, address: &str, letter: Letter) -> Option<bool> {
        let call = self.carrier.carry(address, Bytes::from(letter.encode()));
        let reason = match pharos_model::clock::timeout(&*self.clock, CALL_TIMEOUT, call).await {
            Ok(Ok(answer)) => match Letter::decode(&answer) {
                Ok(answer) => return Some(self.take(answer, false).await),
                Err(error) => format!("the answer cannot be read: {error}"),
            },
            Ok(Err(reason)) => reason,
            Err(elapsed) => elapsed.to_string(),
        };
        tracing::debug!(address, reason, "a replica does not answer; calling it again later");
        None
    }

    /// Takes what another replica says in a call or in an answer. True if it was not live before.
    async fn take(&self, letter: Letter, is_call: bool) -> bool {
        let now = self.clock.monotonic();
        let is_new = {
            let mut state = self.state.lock();
            let is_new = match letter.is_goodbye {
                true => {
                    state.members.left(&letter.sender.name);
                    false
                }
                false if is_call => state.members.called(&letter.sender, now),
                false => state.members.heard(&letter.sender, now),
            };
            state.members.told_of(&letter.members, now);
            let wall = wall(&*self.clock);
            for claim in letter.claims {
                state.claims.take(claim, wall);
            }
            for claim in &letter.released {
                state.claims.release(&claim.key, &claim.holder);
            }
            is_new
        };
        if is_new {
            tracing::info!(name = letter.sender.name, address = letter.sender.address, "a replica is live");
        }
        if let Some(engine) = self.engine() {
            engine.metrics.messages_received.with_label_values(&["update"]).inc();
            engine.merge(letter.changes).await;
        }
        self.claims_changed.notify_waiters();
        is_new
    }

    /// Answers a call of another replica.
    ///
    /// # Errors
    /// It is none, or one of another cluster.
    pub(crate) async fn answer(&self, call: &[u8]) -> Result<Vec<u8>, Refused> {
        let letter = Letter::decode(call).map_err(Refused::Unreadable)?;
        let label = &self.settings.label;
        if letter.label != *label {
            return Err(Refused::OtherCluster(format!(
                "the label of this cluster is {label:?}, the call's {:?}",
                letter.label
            )));
        }
        let wants_everything = letter.wants_everything;
        let asked: Vec<String> = letter.claims.iter().map(|claim| claim.key.clone()).collect();
        self.take(letter, true).await;
        let mut answer = self.letter();
        let now = wall(&*self.clock);
        answer.claims = {
            let state = self.state.lock();
            asked.iter().filter_map(|key| state.claims.get(key, now).cloned()).collect()
        };
        if wants_everything {
            answer.changes = self.engine().map(|engine| engine.shared()).unwrap_or_default();
        }
        Ok(answer.encode())
    }

    /// Sends a letter to all live replicas and waits for their answers.
    async fn tell_live(&self, letter: Letter) {
        let addresses = self.state.lock().members.live_addresses(self.clock.monotonic());
        if let Some(engine) = self.engine() {
            engine.metrics.messages_sent.with_label_values(&["update"]).inc_by(addresses.len() as u64);
        }
        join_all(addresses.iter().map(|address| self.call(address, letter.clone()))).await;
    }

    /// The claim of a live replica other than this one on a notification.
    fn foreign_claim(&self, key: &str) -> Option<Claim> {
        let state = self.state.lock();
        let claim = state.claims.get(key, wall(&*self.clock))?;
        state.members.is_live(&claim.holder, self.clock.monotonic()).then(|| claim.clone())
    }
}

/// The wall-clock time of a clock.
fn wall(clock: &dyn Clock) -> Timestamp {
    Timestamp::from_millisecond(clock.now_ms()).unwrap_or(Timestamp::UNIX_EPOCH)
}

impl Replicas for Cluster {
    fn share(&self, changes: Vec<Change>) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let mut letter = self.letter();
            letter.changes = changes;
            self.tell_live(letter).await;
        })
    }

    fn settled(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            // The sender lives as long as this.
            let mut settled = self.settled.subscribe();
            drop(settled.wait_for(|is_settled| *is_settled).await);
        })
    }

    fn turn(&self) -> Duration {
        let position = self.state.lock().members.position(self.clock.monotonic());
        self.settings.peer_timeout.saturating_mul(u32::try_from(position).unwrap_or(u32::MAX))
    }

    fn claim<'a>(&'a self, key: &'a str, until: Timestamp) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            loop {
                let changed = self.claims_changed.notified();
                if self.foreign_claim(key).is_none() {
                    let claim = Claim { key: key.to_string(), holder: self.settings.name.clone(), until };
                    let mut letter = self.letter();
                    letter.claims = vec![claim.clone()];
                    {
                        // A claim of a replica that is not live any more has no effect.
                        let mut state = self.state.lock();
                        let now = wall(&*self.clock);
                        if let Some(dead) = state.claims.get(key, now).cloned() {
                            state.claims.release(key, &dead.holder);
                        }
                        state.claims.take(claim, now);
                    }
                    self.tell_live(letter).await;
                    if self.foreign_claim(key).is_none() {
                        return;
                    }
                }
                tokio::select! {
                    () = changed => {}
                    // The holder may have died, or the claim have ended.
                    () = self.clock.sleep(self.settings.heartbeat_interval) => {}
                }
            }
        })
    }

    fn release<'a>(&'a self, key: &'a str) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let holder = self.settings.name.clone();
            self.state.lock().claims.release(key, &holder);
            let mut letter = self.letter();
            letter.released = vec![Claim { key: key.to_string(), holder, until: Timestamp::UNIX_EPOCH }];
            self.tell_live(letter).await;
        })
    }

    fn status(&self) -> ReplicaStatus {
        let now = self.clock.monotonic();
        let members = &self.state.lock().members;
        ReplicaStatus {
            name: Some(self.settings.name.clone()),
            is_settled: *self.settled.borrow(),
            live: members.live(now),
            failed: members.failed(now),
            position: members.position(now),
        }
    }
}

#[cfg(test)]
mod tests;
