//! A node without the meta role: follows the view of one meta node and switches to another when that one stops answering.
//! The last view stays readable meanwhile. Each node prefers the meta nodes in an order of its own, so that one that hangs holds
//! up only some followers.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use parking_lot::Mutex;
use pharos_model::hash::name_hash;
use pharos_transport::meta_v1::{DescribeAnswer, HeartbeatAnswer, HeartbeatRequest, WatchRequest, WatchUpdate};
use tokio::sync::watch;
use tokio::time::Instant;
use tonic::{Code, Status};

use crate::codec;
use crate::error::MetaError;
use crate::feed::Feed;
use crate::group::PROPOSE_TIMEOUT;
use crate::raft::types::Answer;
use crate::remote::Remote;
use crate::state::{ClusterState, Command, Member, Role};

/// Maximum size of a compressed state, which comes from another node.
const MAX_STATE_BYTES: usize = 1 << 30;
/// Silence after which a node stops following a meta node, which sends several keep-alives in that time ([`crate::service`]).
/// Earlier versions send one every second.
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_millis(1500);
/// How long a version that another meta node has named may be missing before the next node is followed.
const BEHIND_TIMEOUT: Duration = Duration::from_millis(300);
/// Wait before the next node is tried; doubles up to [`MAX_BACKOFF`].
const MIN_BACKOFF: Duration = Duration::from_millis(100);
/// Longest wait before the next node is tried. Together with the timeouts of calls, it bounds how long a view stays out of date
/// after a network has healed.
const MAX_BACKOFF: Duration = Duration::from_millis(500);
/// Wait for a read index before another meta node is asked as well.
const READ_INDEX_HEDGE: Duration = Duration::from_millis(200);
/// Wait for the answer to any other call before another meta node is called as well.
const CALL_HEDGE: Duration = Duration::from_secs(1);
/// Shortest time between two log lines about meta nodes of other clusters.
const WARN_INTERVAL: Duration = Duration::from_secs(60);

/// Keeps a view up to date from another node.
pub(crate) struct Follower {
    pub(crate) feed: Arc<Feed>,
    pub(crate) remote: Remote,
    /// Member id of this node.
    identity: String,
    seeds: Vec<String>,
    /// The node that is followed, once it has sent something. Calls go to it first.
    current: Mutex<Option<String>>,
    /// The newest version that any meta node has named.
    named: watch::Sender<u64>,
    /// When a meta node of another cluster was last logged.
    warned: Mutex<Option<Instant>>,
    pub(crate) stop: watch::Sender<bool>,
}

impl Follower {
    /// Starts to follow on behalf of a node, beginning with the meta nodes at these addresses.
    pub(crate) fn start(remote: Remote, identity: &str, seeds: Vec<String>) -> Arc<Follower> {
        let feed = Arc::new(Feed::new(ClusterState::default(), remote.identity()));
        let follower = Arc::new(Follower {
            feed,
            remote,
            identity: identity.into(),
            seeds,
            current: Mutex::default(),
            named: watch::Sender::new(0),
            warned: Mutex::default(),
            stop: watch::Sender::new(false),
        });
        let running = follower.clone();
        let mut stop = follower.stop.subscribe();
        tokio::spawn(async move {
            tokio::select! {
                () = running.run() => {}
                _ = stop.wait_for(|stop| *stop) => {}
            }
        });
        follower
    }

    /// The known meta nodes: live members first, then the configured addresses, then members that are down. Within each group they
    /// are in the order in which this node prefers them.
    fn addresses(&self) -> Vec<String> {
        let view = self.feed.view();
        let meta = |live: bool| {
            let has_address = |member: &&Arc<Member>| member.has(Role::Meta) && !member.address.is_empty();
            let members = view.members.values().filter(has_address).filter(move |m| m.state.is_live() == live);
            members.map(|member| member.address.clone()).collect::<Vec<_>>()
        };
        let mut addresses: Vec<String> = Vec::new();
        for mut group in [meta(true), self.seeds.clone(), meta(false)] {
            group.sort_by_cached_key(|address| name_hash(&format!("{}/{address}", self.identity)));
            for address in group {
                if !addresses.contains(&address) {
                    addresses.push(address);
                }
            }
        }
        addresses
    }

    /// The known meta nodes, beginning with the one that is followed.
    fn addresses_to_call(&self) -> Vec<String> {
        let followed = self.current.lock().clone();
        let others = self.addresses().into_iter().filter(|address| Some(address) != followed.as_ref());
        followed.clone().into_iter().chain(others).collect()
    }

    async fn run(&self) {
        let mut pause = MIN_BACKOFF;
        let mut turn = 0;
        loop {
            let addresses = self.addresses();
            if let Some(address) = addresses.get(turn % addresses.len().max(1)) {
                let before = self.feed.view().version;
                let Err(status) = self.follow(address).await;
                self.report(address, &status);
                let was_followed = self.current.lock().take().is_some();
                if was_followed || self.feed.view().version > before {
                    pause = MIN_BACKOFF;
                }
            }
            turn += 1;
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(MAX_BACKOFF);
        }
    }

    /// Logs why a meta node is not followed any more. One of another cluster is a matter for an operator.
    fn report(&self, address: &str, status: &Status) {
        let mut warned = self.warned.lock();
        let is_foreign = status.code() == Code::FailedPrecondition;
        if is_foreign && warned.is_none_or(|at| at.elapsed() >= WARN_INTERVAL) {
            *warned = Some(Instant::now());
            tracing::error!(
                address, %status,
                "this address belongs to a meta node of another cluster; keeping the last view and trying the other meta nodes. \
                 If they are lost for good, restore their state on the new ones, or restart this node to join those"
            );
        } else {
            tracing::debug!(address, %status, "stopped following this meta node; trying the next");
        }
    }

    async fn follow(&self, address: &str) -> Result<std::convert::Infallible, Status> {
        let view = self.feed.view();
        let cluster = view.settings.as_ref().map(|settings| settings.cluster.clone()).unwrap_or_default();
        let from = WatchRequest { incarnation: view.incarnation, version: view.version, cluster };
        let mut updates = self.remote.watch(address, from).await?;
        let mut state = ClusterState::clone(view.state());
        let mut packed = Vec::new();
        let mut left_behind = pin!(self.left_behind());
        loop {
            let silent = |_| {
                self.remote.reconnect(address);
                Status::deadline_exceeded(format!("silent for {KEEP_ALIVE_TIMEOUT:?}"))
            };
            let update = tokio::select! {
                update = tokio::time::timeout(KEEP_ALIVE_TIMEOUT, updates.message()) => update.map_err(silent)??,
                named = &mut left_behind => {
                    return Err(Status::unavailable(format!("does not send version {named}")));
                }
            };
            let update = update.ok_or_else(|| Status::unavailable("the stream ended"))?;
            self.current.lock().get_or_insert_with(|| address.to_string());
            let is_keep_alive = update.state.is_empty() && update.commands.is_empty();
            if !is_keep_alive {
                left_behind.set(self.left_behind());
            }
            if update.state.is_empty() && !update.last {
                if !update.commands.is_empty() {
                    self.apply(&mut state, update)?;
                }
                continue;
            }
            if packed.len() + update.state.len() > MAX_STATE_BYTES {
                return Err(Status::resource_exhausted("the state is too large"));
            }
            packed.extend_from_slice(&update.state);
            if update.last {
                state = self.replace(std::mem::take(&mut packed)).await?;
            }
        }
    }

    /// Notes that there is a version.
    fn note_named(&self, version: u64) {
        self.named.send_if_modified(|named| std::mem::replace(named, version.max(*named)) < version);
    }

    /// Waits until some meta node has named a version that does not reach this node for [`BEHIND_TIMEOUT`], and returns it.
    async fn left_behind(&self) -> u64 {
        let mut named = self.named.subscribe();
        loop {
            let version = *named.borrow_and_update();
            if tokio::time::timeout(BEHIND_TIMEOUT, self.feed.reach(version)).await.is_err() {
                return version;
            }
            if named.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Applies the commands of an update and publishes the result.
    fn apply(&self, state: &mut ClusterState, update: WatchUpdate) -> Result<(), Status> {
        let mut published = Vec::with_capacity(update.commands.len());
        for bytes in update.commands {
            let command: Command = serde_json::from_slice(&bytes).map_err(|error| {
                Status::internal(format!("unreadable command, perhaps of a newer version: {error}"))
            })?;
            state.apply(&command).map_err(|refusal| Status::internal(format!("the views differ: {refusal}")))?;
            published.push((state.version, bytes));
        }
        if state.version != update.version {
            return Err(Status::internal(format!("reached version {}, expected {}", state.version, update.version)));
        }
        self.feed.advance(Arc::new(state.clone()), published);
        Ok(())
    }

    /// Replaces the view by a whole state, unless that one is older.
    async fn replace(&self, packed: Vec<u8>) -> Result<ClusterState, Status> {
        let read = tokio::task::spawn_blocking(move || codec::decode(&packed)).await;
        let failed = |error: String| Status::internal(format!("unreadable state: {error}"));
        let state = read.map_err(|e| failed(e.to_string()))?.map_err(|e| failed(e.to_string()))?;
        let view = self.feed.view();
        let cluster = |state: &ClusterState| state.settings.as_ref().map(|settings| settings.cluster.clone());
        state.check_taken_by(&self.feed.cluster()).map_err(Status::failed_precondition)?;
        let older = (state.incarnation, state.version) < (view.incarnation, view.version);
        if older && cluster(&state) == cluster(&view) {
            return Err(Status::internal("this node is behind"));
        }
        if state.incarnation != view.incarnation {
            // Versions of another incarnation may never come.
            self.named.send_replace(0);
        }
        self.feed.replace(Arc::new(state.clone()));
        Ok(state)
    }

    /// Calls the meta nodes until one answers, beginning with the one that is followed. Calls have to be idempotent, because one
    /// that hangs may be carried out as well.
    async fn call<T, F>(&self, call: impl Fn(Remote, String) -> F) -> Result<T, MetaError>
    where
        F: Future<Output = Result<T, Status>>,
    {
        let last = Mutex::new("no meta node is known".to_string());
        let calling = async {
            loop {
                match self.first_answer(CALL_HEDGE, &call).await {
                    Ok(answer) => return answer,
                    Err(reason) => *last.lock() = reason,
                }
                tokio::time::sleep(MIN_BACKOFF).await;
            }
        };
        let answered = tokio::time::timeout(PROPOSE_TIMEOUT, calling).await;
        let late =
            |_| MetaError::Unavailable(format!("no meta node answered within {PROPOSE_TIMEOUT:?}; {}", last.lock()));
        answered.map_err(late)
    }

    /// The first answer of a meta node. Another one is asked whenever all that were asked have failed, or after `hedge`. If none
    /// answers, returns what the last one said.
    async fn first_answer<T, F>(&self, hedge: Duration, call: impl Fn(Remote, String) -> F) -> Result<T, String>
    where
        F: Future<Output = Result<T, Status>>,
    {
        let mut asked = FuturesUnordered::new();
        let mut reason = "no meta node is known".to_string();
        let mut addresses = self.addresses_to_call().into_iter();
        loop {
            let next = addresses.next();
            let is_last = next.is_none();
            if let Some(address) = next {
                let answer = call(self.remote.clone(), address.clone());
                asked.push(async move { answer.await.map_err(|status| format!("{address}: {}", status.message())) });
            }
            let answered = async {
                while let Some(answer) = asked.next().await {
                    match answer {
                        Ok(answer) => return Some(answer),
                        Err(error) => {
                            tracing::debug!(error, "meta node did not answer; trying the next");
                            reason = error;
                        }
                    }
                }
                None
            };
            let hedge = if is_last { Duration::MAX } else { hedge };
            match tokio::time::timeout(hedge, answered).await {
                Ok(Some(answer)) => return Ok(answer),
                Ok(None) if is_last => return Err(reason),
                Ok(None) | Err(_) => {}
            }
        }
    }

    pub(crate) async fn propose(&self, command: Arc<Command>) -> Result<Answer, MetaError> {
        self.call(|remote, address| {
            let command = command.clone();
            async move { remote.propose(&address, &command, false).await }
        })
        .await
        .inspect(|answer| self.note_named(answer.version))
    }

    /// Returns a version that includes everything agreed on before the call.
    pub(crate) async fn read_index(&self) -> Result<u64, MetaError> {
        let ask = |remote: Remote, address: String| async move { remote.read_index(&address, false).await };
        let answer = self.first_answer(READ_INDEX_HEDGE, ask).await.map_err(MetaError::Unavailable);
        answer.inspect(|version| self.note_named(*version))
    }

    /// Describes the group as a meta node sees it.
    pub(crate) async fn describe(&self) -> Result<DescribeAnswer, MetaError> {
        self.call(|remote, address| async move { remote.describe(&address).await }).await
    }

    pub(crate) async fn heartbeat(&self, beat: HeartbeatRequest) -> Result<HeartbeatAnswer, MetaError> {
        self.call(|remote, address| {
            let beat = beat.clone();
            async move { remote.heartbeat(&address, beat).await }
        })
        .await
        .inspect(|answer| self.note_named(answer.version))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use pharos_transport::Channels;

    use super::*;

    #[tokio::test]
    async fn each_node_prefers_the_meta_nodes_in_an_order_of_its_own() {
        let seeds: Vec<String> = ["127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"].map(String::from).into();
        let mut first = BTreeSet::new();
        for node in 0..20 {
            let remote = Remote::new(Arc::new(Channels::new()));
            let follower = Follower::start(remote, &format!("N{node}"), seeds.clone());
            let addresses = follower.addresses();
            assert_eq!(addresses.iter().collect::<BTreeSet<_>>(), seeds.iter().collect());
            first.insert(addresses[0].clone());
            follower.stop.send_replace(true);
        }
        assert_eq!(first.len(), 3, "none of them is the first of all nodes");
    }
}
