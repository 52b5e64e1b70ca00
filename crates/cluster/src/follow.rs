//! A node without the meta role: follows the view of one meta node and goes to another when that does not answer. What it
//! has seen stays readable meanwhile.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use pharos_transport::meta_v1::{DescribeAnswer, HeartbeatAnswer, HeartbeatRequest, WatchRequest, WatchUpdate};
use tokio::sync::watch;
use tonic::Status;

use crate::codec;
use crate::error::MetaError;
use crate::feed::Feed;
use crate::group::PROPOSE_TIME;
use crate::raft::types::Answer;
use crate::remote::Remote;
use crate::state::{ClusterState, Command, Role};

/// Most bytes of a packed state; it comes from elsewhere.
const MOST_STATE_BYTES: usize = 1 << 30;
/// Silence after which a node of meta is left: it sends a sign of life each second ([`crate::service`]).
const SILENCE: Duration = Duration::from_secs(3);
/// Pause before the next node is asked, at first and at most.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// Follows the view.
pub(crate) struct Follower {
    pub(crate) feed: Arc<Feed>,
    remote: Remote,
    seeds: Vec<String>,
    /// The node that is followed, once it has sent something: it is asked first.
    current: Mutex<Option<String>>,
    pub(crate) stop: watch::Sender<bool>,
}

impl Follower {
    /// Follows meta from now on, beginning with the nodes at these addresses.
    pub(crate) fn start(remote: Remote, seeds: Vec<String>) -> Arc<Follower> {
        let feed = Arc::new(Feed::new(ClusterState::default()));
        let follower =
            Arc::new(Follower { feed, remote, seeds, current: Mutex::default(), stop: watch::Sender::new(false) });
        let (running, mut stop) = (follower.clone(), follower.stop.subscribe());
        tokio::spawn(async move {
            tokio::select! {
                () = running.run() => {}
                _ = stop.wait_for(|stop| *stop) => {}
            }
        });
        follower
    }

    /// The meta nodes that are known: live ones first, then those of the configuration, then those that are down.
    fn addresses(&self) -> Vec<String> {
        let view = self.feed.view();
        let meta = || view.members.values().filter(|member| member.has(Role::Meta) && !member.address.is_empty());
        let live = meta().filter(|member| member.state.is_live()).map(|member| member.address.clone());
        let rest = meta().filter(|member| !member.state.is_live()).map(|member| member.address.clone());
        let mut addresses: Vec<String> = Vec::new();
        for address in live.chain(self.seeds.iter().cloned()).chain(rest) {
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        addresses
    }

    async fn run(&self) {
        let mut pause = PAUSES.0;
        let mut turn = 0;
        loop {
            let addresses = self.addresses();
            if let Some(address) = addresses.get(turn % addresses.len().max(1)) {
                let before = self.feed.view().version;
                let Err(status) = self.follow(address).await;
                tracing::debug!(address, %status, "the view of this node of meta ended");
                let was_followed = self.current.lock().take().is_some();
                if was_followed || self.feed.view().version > before {
                    pause = PAUSES.0;
                }
            }
            turn += 1;
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSES.1);
        }
    }

    async fn follow(&self, address: &str) -> Result<std::convert::Infallible, Status> {
        let view = self.feed.view();
        let cluster = view.settings.as_ref().map(|settings| settings.cluster.clone()).unwrap_or_default();
        let from = WatchRequest { incarnation: view.incarnation, version: view.version, cluster };
        let mut updates = self.remote.watch(address, from).await?;
        let mut state = ClusterState::clone(view.state());
        let mut packed = Vec::new();
        loop {
            let silent = |_| Status::deadline_exceeded(format!("it gave no sign of life for {SILENCE:?}"));
            let update = tokio::time::timeout(SILENCE, updates.message()).await.map_err(silent)??;
            let update = update.ok_or_else(|| Status::unavailable("it ended"))?;
            self.current.lock().get_or_insert_with(|| address.to_string());
            if update.state.is_empty() && !update.last {
                if !update.commands.is_empty() {
                    self.apply(&mut state, update)?;
                }
                continue;
            }
            if packed.len() + update.state.len() > MOST_STATE_BYTES {
                return Err(Status::resource_exhausted("the state is too large"));
            }
            packed.extend_from_slice(&update.state);
            if update.last {
                state = self.replace(std::mem::take(&mut packed)).await?;
            }
        }
    }

    /// Takes commands over.
    fn apply(&self, state: &mut ClusterState, update: WatchUpdate) -> Result<(), Status> {
        let mut published = Vec::with_capacity(update.commands.len());
        for bytes in update.commands {
            let command: Command = serde_json::from_slice(&bytes)
                .map_err(|error| Status::internal(format!("a command of a newer version: {error}")))?;
            state.apply(&command).map_err(|refusal| Status::internal(format!("the views differ: {refusal}")))?;
            published.push((state.version, bytes));
        }
        if state.version != update.version {
            return Err(Status::internal(format!("version {} where {} was due", state.version, update.version)));
        }
        self.feed.advance(Arc::new(state.clone()), published);
        Ok(())
    }

    async fn replace(&self, packed: Vec<u8>) -> Result<ClusterState, Status> {
        let read = tokio::task::spawn_blocking(move || codec::decode(&packed)).await;
        let failed = |error: String| Status::internal(format!("the state is unreadable: {error}"));
        let state = read.map_err(|e| failed(e.to_string()))?.map_err(|e| failed(e.to_string()))?;
        let view = self.feed.view();
        let cluster = |state: &ClusterState| state.settings.as_ref().map(|settings| settings.cluster.clone());
        let older = (state.incarnation, state.version) < (view.incarnation, view.version);
        if older && cluster(&state) == cluster(&view) {
            return Err(Status::internal("it is behind"));
        }
        self.feed.replace(Arc::new(state.clone()));
        Ok(state)
    }

    /// Asks one node after the other, the one that is followed first, until one answers.
    pub(crate) async fn ask<T, F>(&self, ask: impl Fn(Remote, String) -> F) -> Result<T, MetaError>
    where
        F: Future<Output = Result<T, Status>>,
    {
        let asked = async {
            loop {
                let followed = self.current.lock().clone();
                let others = self.addresses().into_iter().filter(|address| Some(address) != followed.as_ref());
                for address in followed.clone().into_iter().chain(others) {
                    match ask(self.remote.clone(), address.clone()).await {
                        Ok(answer) => return answer,
                        Err(status) => tracing::debug!(address, %status, "a node of meta did not answer"),
                    }
                }
                tokio::time::sleep(PAUSES.0).await;
            }
        };
        let late = |_| MetaError::Unavailable(format!("no node of meta answered in {PROPOSE_TIME:?}"));
        tokio::time::timeout(PROPOSE_TIME, asked).await.map_err(late)
    }

    pub(crate) async fn propose(&self, command: Arc<Command>) -> Result<Answer, MetaError> {
        self.ask(|remote, address| {
            let command = command.clone();
            async move { remote.propose(&address, &command, false).await }
        })
        .await
    }

    /// Who a node of meta is and what it says of the group.
    pub(crate) async fn describe(&self) -> Result<DescribeAnswer, MetaError> {
        self.ask(|remote, address| async move { remote.describe(&address).await }).await
    }

    pub(crate) async fn heartbeat(&self, beat: HeartbeatRequest) -> Result<HeartbeatAnswer, MetaError> {
        self.ask(|remote, address| {
            let beat = beat.clone();
            async move { remote.heartbeat(&address, beat).await }
        })
        .await
    }
}
