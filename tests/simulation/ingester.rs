//! An ingester. It accepts samples under the fence, answers once they are durable, serves copies to learners, catches
//! up ([`super::catchup`]) and flushes windows ([`super::flush`]). Its head and log are a model ([`super::head`]).

use std::collections::BTreeMap;

use pharos_cluster::{Command, Member, MemberState, Refusal, Response, Role, View};
use pharos_ingester::fence::Fence;
use pharos_model::ShardSet;
use pharos_transport::append::ShardTarget;

use super::bugs::Bug;
use super::catchup::{self, CatchUp};
use super::env::{Env, Ms, Node};
use super::flush::{self, Flush};
use super::head::Head;
use super::invariants;
use super::messages::{Batch, Message, Timer};
use super::proposals::Proposals;
use super::{HEARTBEAT_MS, ROUND_MS, SHARDS};
use pharos_testkit::Rng;

/// The continuation of a command to meta.
#[derive(Clone, Debug)]
pub enum Then {
    /// The ingester has joined the cluster.
    Joined,
    /// Meta knows the shards that the ingester lost.
    LossReported,
    /// Meta has decided about the promotion for a shard of the copy with this number.
    Promoted { number: u64 },
    /// Meta has decided about the commit of a block.
    Committed,
}

/// An action that waits for the log to become durable up to a position.
pub enum OnDurable {
    /// Answer an append.
    Answer { to: Node, number: u64, stale: Vec<(u32, u64)> },
    /// Continue with a copy that is in the log.
    Copied { number: u64 },
    /// Continue with a cut that is in the log.
    Cut,
}

/// An ingester process and its disk.
pub struct Ingester {
    pub me: Node,
    pub identity: String,
    /// The newest view that the ingester has received.
    pub view: View,
    joined: bool,
    pub proposals: Proposals<Then>,
    /// The model of memory and log.
    pub head: Head,
    /// The fence that rejects writers with older epochs.
    pub fence: Fence,
    syncing: bool,
    waiting: Vec<(usize, OnDurable)>,
    /// Requested copies that have not been read yet, by request number: the learner and the shards.
    copies: BTreeMap<u64, (Node, ShardSet)>,
    /// The shards that the ingester is catching up on.
    pub catchup: CatchUp,
    /// Whether the ingester answers for shards that it lost, which is a planted bug.
    lies: bool,
    pub flush: Flush,
    pub rng: Rng,
    /// End of a period in which fsyncs are slow.
    pub slow_disk_until: Ms,
}

impl Ingester {
    /// Creates an ingester with an empty disk that is not running yet.
    pub fn new(env: &mut Env, number: usize) -> Self {
        let me = Node::Ingester(number);
        Ingester {
            me,
            identity: me.identity(),
            view: View::default(),
            joined: false,
            proposals: Proposals::default(),
            head: Head::default(),
            fence: Fence::new(SHARDS),
            syncing: false,
            waiting: Vec::new(),
            copies: BTreeMap::new(),
            catchup: CatchUp::default(),
            lies: env.has(Bug::AnswerForLostShards),
            flush: Flush::default(),
            rng: env.rng.fork(),
            slow_disk_until: 0,
        }
    }

    /// Starts the process: replays the log and joins the cluster. The ingester accepts no samples before it has joined.
    pub fn start(&mut self, env: &mut Env) {
        env.start(self.me);
        self.head.replay(env.now_ms(), &env.samples);
        self.join(env);
    }

    /// Kills the process. Records that are not durable may be lost.
    pub fn crash(&mut self, env: &mut Env) {
        env.stop(self.me);
        self.head.crash(&mut self.rng, env.now_ms(), &env.samples);
        (self.view, self.joined, self.syncing) = (View::default(), false, false);
        self.proposals = Proposals::default();
        self.fence = Fence::new(SHARDS);
        (self.waiting, self.copies) = Default::default();
        (self.catchup, self.flush) = Default::default();
        invariants::epochs::forget(env, self.me);
    }

    /// Returns whether the ingester lost a shard with its disk and meta does not know yet.
    pub fn has_lost(&self, shard: u32) -> bool {
        self.head.began_empty() && (!self.joined || self.catchup.lost.contains_key(&shard))
    }

    /// Erases the disk.
    pub fn wipe(&mut self) {
        self.head = Head::default();
    }

    fn join(&mut self, env: &mut Env) {
        let member = Member {
            id: self.identity.clone(),
            address: format!("{}:1", self.identity),
            roles: [Role::Ingester].into(),
            weight: 100,
            state: MemberState::Active,
            ..Member::default()
        };
        let at_ms = env.now_ms();
        self.proposals.propose(env, self.me, Command::Join { member, at_ms }, Then::Joined);
    }

    /// Returns whether the ingester has joined the cluster and serves requests.
    pub fn is_ready(&self) -> bool {
        self.joined
    }

    /// Returns whether the ingester answers for a shard to a reader whose view has this epoch.
    pub fn answers_for(&self, shard: u32, epoch: u64) -> bool {
        self.view.epoch(shard) >= epoch && self.is_whole(shard)
    }

    /// Returns whether the ingester holds all acknowledged samples of a shard, according to its view and the shards
    /// that it knows to be lost.
    pub fn is_whole(&self, shard: u32) -> bool {
        let known = self.view.shard(shard);
        known.is_some_and(|s| s.is_in_sync(&self.identity)) && (self.lies || !self.catchup.lost.contains_key(&shard))
    }

    /// Handles a timer.
    pub fn wake(&mut self, env: &mut Env, timer: Timer) {
        match timer {
            Timer::Heartbeat => {
                env.send(self.me, Node::Meta, Message::Heartbeat { sent: env.now, version: self.view.version });
                env.wake(self.me, HEARTBEAT_MS, Timer::Heartbeat);
            }
            Timer::Round => {
                env.wake(self.me, ROUND_MS, Timer::Round);
                catchup::view_changed(self, env);
                flush::round(self, env);
            }
            Timer::Retry(number) => {
                if let Some(then) = self.proposals.retry(env, self.me, number) {
                    self.proposed(env, then, None);
                }
            }
            Timer::Synced(upto) => self.synced(env, upto),
            Timer::ReadCopy(number) => self.read_copy(env, number),
            Timer::GiveUp(number) => catchup::give_up(self, env, number),
            Timer::Uploaded(number) => flush::uploaded(self, env, number),
            _ => {}
        }
    }

    /// Handles a message.
    pub fn receive(&mut self, env: &mut Env, from: Node, message: Message) {
        match message {
            Message::View { state } => self.learn_view(env, View::new(state)),
            Message::Proposed { number, result, state } => {
                self.learn_view(env, View::new(state));
                if let Some(then) = self.proposals.answered(number) {
                    self.proposed(env, then, Some(result));
                }
            }
            Message::Append { number, targets, batch } => self.take(env, from, number, &targets, &batch),
            Message::Copy { number, shards } => self.copy(env, from, number, &shards),
            Message::Copied { number, answer } => catchup::copied(self, env, number, answer),
            _ => {}
        }
    }

    fn learn_view(&mut self, env: &mut Env, view: View) {
        if view.version > self.view.version {
            self.view = view;
            if self.joined {
                invariants::epochs::seen(env, self.me, &self.view);
                catchup::view_changed(self, env);
            }
        }
    }

    /// Continues after a command to meta. Without a result, the command timed out.
    fn proposed(&mut self, env: &mut Env, then: Then, result: Option<Result<Response, Refusal>>) {
        match (then, result) {
            (Then::Joined, Some(Ok(_))) => {
                self.joined = true;
                env.note(&[120], || format!("{} is ready", self.identity));
                invariants::epochs::seen(env, self.me, &self.view);
                env.wake(self.me, 0, Timer::Heartbeat);
                let first = self.rng.below(ROUND_MS);
                env.wake(self.me, first, Timer::Round);
                catchup::begin(self, env);
            }
            (Then::Joined, Some(Err(_))) => env.stop(self.me), // A removed member does not return.
            (Then::Joined, None) => self.join(env),
            (Then::Promoted { number }, result) => catchup::promoted(self, env, number, result.is_some()),
            (Then::LossReported, result) => catchup::loss_reported(self, env, result),
            (Then::Committed, result) => flush::committed(self, env, result),
        }
    }

    fn take(&mut self, env: &mut Env, from: Node, number: u64, targets: &[ShardTarget], batch: &Batch) {
        if !self.joined {
            return env.send(self.me, from, Message::Appended { number, answer: Err(()) });
        }
        let (mut stale, mut taken) = (Vec::new(), Vec::new());
        for target in targets {
            let checked = self.fence.admit().check(&self.view, target.shard, target.epoch);
            match checked {
                Err(known) if !env.has(Bug::SkipFence) => stale.push((target.shard, known)),
                _ => {
                    invariants::epochs::took(env, self.me, target.shard, target.epoch);
                    let of_shard = batch.iter().filter(|(shard, _)| *shard == target.shard);
                    taken.extend(of_shard.flat_map(|(_, ids)| ids.iter().copied()));
                }
            }
        }
        env.note(&[121, number], || format!("{} takes {taken:?} of request {number}, stale {stale:?}", self.identity));
        let position = self.head.append(&taken, env.now_ms(), &env.samples);
        let answer = OnDurable::Answer { to: from, number, stale };
        let at_once = taken.is_empty() || env.has(Bug::AcknowledgeBeforeSync);
        match at_once {
            true => self.durable(env, answer),
            false => self.when_durable(env, position, answer),
        }
        self.sync(env);
    }

    /// Runs an action once the log is durable up to a position.
    pub fn when_durable(&mut self, env: &mut Env, position: usize, then: OnDurable) {
        if self.head.durable() >= position {
            return self.durable(env, then);
        }
        self.waiting.push((position, then));
        self.sync(env);
    }

    fn sync(&mut self, env: &mut Env) {
        if self.syncing || self.head.durable() >= self.head.end() {
            return;
        }
        self.syncing = true;
        let slow = env.now < self.slow_disk_until;
        let after = if slow { self.rng.between(100, 6000) } else { self.rng.between(1, 6) };
        env.wake(self.me, after, Timer::Synced(self.head.end()));
    }

    fn synced(&mut self, env: &mut Env, upto: usize) {
        self.syncing = false;
        self.head.synced(upto);
        let durable = self.head.durable();
        let (done, waiting) = std::mem::take(&mut self.waiting).into_iter().partition(|(at, _)| *at <= durable);
        self.waiting = waiting;
        done.into_iter().for_each(|(_, then)| self.durable(env, then));
        self.sync(env);
    }

    fn durable(&mut self, env: &mut Env, then: OnDurable) {
        match then {
            OnDurable::Answer { to, number, stale } => {
                env.send(self.me, to, Message::Appended { number, answer: Ok(stale) });
            }
            OnDurable::Copied { number } => catchup::copy_is_durable(self, env, number),
            OnDurable::Cut => flush::cut_is_durable(self, env),
        }
    }

    /// Accepts a learner's request for a copy. Fences older epochs at once, and reads the samples after a delay.
    fn copy(&mut self, env: &mut Env, from: Node, number: u64, shards: &[(u32, u64)]) {
        let is_in_sync = |(shard, _): &(u32, u64)| self.is_whole(*shard);
        if !self.joined || !shards.iter().all(is_in_sync) {
            return env.send(self.me, from, Message::Copied { number, answer: Err(()) });
        }
        if !env.has(Bug::CopyWithoutFence) {
            let closed = self.fence.close();
            for (shard, since) in shards {
                closed.raise(*shard, *since);
                invariants::epochs::raised(env, self.me, *shard, *since);
            }
        }
        self.copies.insert(number, (from, shards.iter().map(|(shard, _)| *shard).collect()));
        let after = self.rng.between(1, 400);
        env.wake(self.me, after, Timer::ReadCopy(number));
    }

    fn read_copy(&mut self, env: &mut Env, number: u64) {
        let Some((to, shards)) = self.copies.remove(&number) else { return };
        let windows = self.head.windows(&env.samples);
        let ids = windows.iter().flat_map(|w| self.head.unflushed(w.start, &shards, &env.samples)).collect();
        env.send(self.me, to, Message::Copied { number, answer: Ok(ids) });
    }

    /// Returns the shards that the ingester leads, which are those that it cuts and ships.
    pub fn led(&self) -> ShardSet {
        let me = Some(self.identity.as_str());
        let is_led = |(number, shard): &(u32, &std::sync::Arc<pharos_cluster::Shard>)| {
            shard.leader.as_deref() == me && !self.catchup.lost.contains_key(number)
        };
        self.view.numbered_shards().filter(is_led).map(|(number, _)| number).collect()
    }
}
