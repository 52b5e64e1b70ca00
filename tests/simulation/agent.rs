//! An agent that writes and scrapes. [`Progress`] makes the decisions about a write, and its steps follow the loop of
//! `pharos_distributor::Distributor`. Most clients whose write fails send the same samples again.

use std::collections::BTreeMap;
use std::sync::Arc;

use pharos_cluster::{Command, Member, MemberState, Refusal, Response, Role, View};
use pharos_distributor::progress::{Next, Progress, report_again};
use pharos_transport::append::{Appended, ShardTarget};

use super::bugs::Bug;
use super::env::{Env, Ms, Node};
use super::messages::{Batch, Message, Timer};
use super::proposals::Proposals;
use super::samples::Sample;
use super::scrape::{self, Scraping};
use super::{AGENT_HEARTBEAT_MS, REPLICA_TIMEOUT_MS, SHARDS, WINDOW_MS, WRITE_TIMEOUT_MS};
use pharos_testkit::Rng;

/// Number of series per shard.
const SERIES: u64 = 3;

type Targets = Vec<ShardTarget>;

/// The continuation of a command to meta.
enum Then {
    Joined,
    Reported { write: u64, node: String, shards: Vec<(u32, u64)> },
}

/// The phase of a write.
enum Phase {
    /// The write cannot proceed until the view changes.
    Waiting,
    /// Replicas received requests, which are listed by node, with the nodes by request number and the answers so far.
    Asked { round: u64, requests: BTreeMap<String, Targets>, numbers: BTreeMap<u64, String>, answers: Answers },
    /// Failed replicas are being reported one at a time. One report is in flight, and `left` are still to be sent.
    Reporting { left: Vec<(String, Targets)> },
}

type Answers = BTreeMap<String, Result<Vec<(u32, u64)>, ()>>;

struct Write {
    progress: Progress,
    batch: Batch,
    began: Ms,
    phase: Phase,
    rounds: u64,
}

/// An agent and the writes that it has in flight.
pub struct Agent {
    me: Node,
    identity: String,
    /// The newest view that the agent has received.
    pub view: View,
    joined: bool,
    proposals: Proposals<Then>,
    writes: BTreeMap<u64, Write>,
    scraping: Scraping,
    rng: Rng,
    /// Batches of failed writes that clients send again, with the earliest time to do so.
    again: Vec<(Ms, Batch)>,
    /// Whether clients still write and targets are still scraped.
    pub writes_go_on: bool,
    /// Start and duration of each write that was acknowledged since the last check of the invariants.
    pub took: Vec<(Ms, Ms)>,
    /// The longest duration of an acknowledged write.
    pub slowest: Ms,
    /// Number of failed writes.
    pub failed: u64,
}

impl Agent {
    /// Creates an agent that is not running yet.
    pub fn new(env: &mut Env, number: usize) -> Self {
        let me = Node::Agent(number);
        Agent {
            me,
            identity: me.identity(),
            view: View::default(),
            joined: false,
            proposals: Proposals::default(),
            writes: BTreeMap::new(),
            scraping: Scraping::default(),
            rng: env.rng.fork(),
            again: Vec::new(),
            writes_go_on: true,
            took: Vec::new(),
            slowest: 0,
            failed: 0,
        }
    }

    /// Starts the process, which joins the cluster.
    pub fn start(&mut self, env: &mut Env) {
        env.start(self.me);
        (self.view, self.joined, self.scraping) = (View::default(), false, Scraping::default());
        (self.proposals, self.writes) = (Proposals::default(), BTreeMap::new());
        self.join(env);
    }

    fn join(&mut self, env: &mut Env) {
        let member = Member {
            id: self.identity.clone(),
            address: format!("{}:1", self.identity),
            roles: [Role::Agent].into(),
            weight: 100,
            state: MemberState::Active,
            ..Member::default()
        };
        let at_ms = env.now_ms();
        self.proposals.propose(env, self.me, Command::Join { member, at_ms }, Then::Joined);
    }

    /// Returns whether the agent has joined the cluster.
    pub fn is_ready(&self) -> bool {
        self.joined
    }

    /// Returns the age of the oldest write in flight, or 0 if there is none.
    pub fn longest_wait(&self, now: Ms) -> Ms {
        self.writes.values().map(|write| now - write.began).max().unwrap_or(0)
    }

    /// Handles a timer.
    pub fn wake(&mut self, env: &mut Env, timer: Timer) {
        match timer {
            Timer::Heartbeat => {
                env.send(self.me, Node::Meta, Message::Heartbeat { sent: env.now, version: self.view.version });
                env.wake(self.me, AGENT_HEARTBEAT_MS, Timer::Heartbeat);
            }
            Timer::NextWrite => {
                self.new_write(env);
                let after = self.rng.between(150, 900);
                env.wake(self.me, after, Timer::NextWrite);
            }
            Timer::Retry(number) => match self.proposals.retry(env, self.me, number) {
                None => {}
                Some(Then::Joined) => self.join(env),
                Some(Then::Reported { write, .. }) => self.fail(env, write, "meta does not answer"),
            },
            Timer::Scrape(target) if self.writes_go_on => {
                self.scraping.due(self.me, env, &self.view, target);
            }
            Timer::WriteTimeout(write) => self.fail(env, write, "it took too long"),
            Timer::ReplicaTimeout(write, round) => self.replicas_are_late(env, write, round),
            _ => {}
        }
    }

    /// Handles a message.
    pub fn receive(&mut self, env: &mut Env, from: Node, message: Message) {
        match message {
            Message::Heard { sent, version } => self.scraping.answered(self.me, env, &self.view, sent, version),
            Message::View { state } => self.learn_view(env, View::new(state)),
            Message::Proposed { number, result, state } => {
                self.learn_view(env, View::new(state));
                match self.proposals.answered(number) {
                    None => {}
                    Some(Then::Joined) => {
                        self.joined = true;
                        scrape::begin(self.me, env);
                        env.wake(self.me, 0, Timer::Heartbeat);
                        env.wake(self.me, 50, Timer::NextWrite);
                    }
                    Some(Then::Reported { write, node, shards }) => self.reported(env, write, node, &shards, result),
                }
            }
            Message::Appended { number, answer } => self.answered(env, from, number, answer),
            _ => {}
        }
    }

    fn learn_view(&mut self, env: &mut Env, view: View) {
        if view.version <= self.view.version {
            return;
        }
        self.view = view;
        self.scraping.view_changed(self.me, env, &self.view);
        let waiting = self.writes.iter().filter(|(_, w)| matches!(w.phase, Phase::Waiting)).map(|(n, _)| *n);
        for write in waiting.collect::<Vec<_>>() {
            self.step(env, write);
        }
    }

    /// Starts a write with the samples of a failed write that is due, or else with new ones.
    fn new_write(&mut self, env: &mut Env) {
        if !self.writes_go_on {
            return;
        }
        let due = self.again.iter().position(|(at, _)| *at <= env.now);
        let batch = match due {
            Some(at) => self.again.swap_remove(at).1,
            None => self.new_samples(env),
        };
        let write = env.number();
        let progress = Progress::new(batch.iter().map(|(shard, _)| *shard));
        self.writes.insert(write, Write { progress, batch, began: env.now, phase: Phase::Waiting, rounds: 0 });
        env.wake(self.me, WRITE_TIMEOUT_MS, Timer::WriteTimeout(write));
        self.step(env, write);
    }

    fn new_samples(&mut self, env: &mut Env) -> Batch {
        let mut by_shard: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        for _ in 0..self.rng.between(1, 5) {
            let shard = self.rng.below(SHARDS.into()) as u32;
            let late = if self.rng.chance(80) { self.rng.below(2 * WINDOW_MS as u64) as i64 } else { 0 };
            let series = self.rng.below(SERIES) as u32;
            let id = env.samples.add(Sample { shard, series, t: env.now_ms() - late });
            by_shard.entry(shard).or_default().push(id);
        }
        Arc::new(by_shard.into_iter().collect())
    }

    /// Advances a write as far as the current view allows.
    fn step(&mut self, env: &mut Env, number: u64) {
        let Some(write) = self.writes.get_mut(&number) else { return };
        match write.progress.next(&self.view, 0) {
            Next::Done => self.acknowledge(env, number),
            // The heads of this model reject nothing, so there is nothing to repair.
            Next::Wait(_) | Next::Repair(_) => write.phase = Phase::Waiting,
            Next::Send(requests) => {
                write.rounds += 1;
                let round = write.rounds;
                let mut numbers = BTreeMap::new();
                for (node, targets) in &requests {
                    let Some(to) = Node::of(node) else { continue };
                    let request = env.number();
                    numbers.insert(request, node.clone());
                    let (targets, batch) = (targets.clone(), write.batch.clone());
                    env.send(self.me, to, Message::Append { number: request, targets, batch });
                }
                write.phase = Phase::Asked { round, requests, numbers, answers: Answers::new() };
                env.wake(self.me, REPLICA_TIMEOUT_MS, Timer::ReplicaTimeout(number, round));
            }
        }
    }

    fn answered(&mut self, env: &mut Env, _from: Node, request: u64, answer: Result<Vec<(u32, u64)>, ()>) {
        let of_request = |(_, write): &(&u64, &mut Write)| match &write.phase {
            Phase::Asked { numbers, .. } => numbers.contains_key(&request),
            _ => false,
        };
        let Some((number, write)) = self.writes.iter_mut().find(of_request) else { return };
        let number = *number;
        let Phase::Asked { requests, numbers, answers, .. } = &mut write.phase else { return };
        if let Some(node) = numbers.get(&request) {
            answers.entry(node.clone()).or_insert(answer);
        }
        if answers.len() == requests.len() {
            self.all_answered(env, number);
        }
    }

    fn replicas_are_late(&mut self, env: &mut Env, number: u64, asked: u64) {
        let Some(write) = self.writes.get_mut(&number) else { return };
        let Phase::Asked { round, requests, answers, .. } = &mut write.phase else { return };
        if *round == asked {
            requests.keys().for_each(|node| _ = answers.entry(node.clone()).or_insert(Err(())));
            env.count("replicas that were late");
            self.all_answered(env, number);
        }
    }

    fn all_answered(&mut self, env: &mut Env, number: u64) {
        let Some(write) = self.writes.get_mut(&number) else { return };
        let phase = std::mem::replace(&mut write.phase, Phase::Waiting);
        let Phase::Asked { requests, answers, .. } = phase else { return };
        let mut failed = Vec::new();
        for (node, targets) in requests {
            match answers.get(&node) {
                Some(Ok(stale)) => {
                    let appended = Appended { stale: stale.clone(), ..Appended::default() };
                    write.progress.appended(&node, &targets, &appended);
                }
                _ if env.has(Bug::SkipReport) => write.progress.appended(&node, &targets, &Appended::default()),
                _ => failed.push((node, targets)),
            }
        }
        failed.reverse();
        write.phase = Phase::Reporting { left: failed };
        self.report_next(env, number);
    }

    fn report_next(&mut self, env: &mut Env, number: u64) {
        let Some(Write { phase: Phase::Reporting { left }, .. }) = self.writes.get_mut(&number) else { return };
        let Some((node, targets)) = left.pop() else { return self.step(env, number) };
        let shards = targets.iter().map(|target| (target.shard, target.epoch)).collect();
        self.report(env, number, node, shards);
    }

    fn report(&mut self, env: &mut Env, write: u64, node: String, shards: Vec<(u32, u64)>) {
        env.count("reports");
        let (shards_sent, reporter) = (shards.clone(), self.identity.clone());
        let command = Command::ReportFailed { node: node.clone(), shards: shards_sent, reporter };
        self.proposals.propose(env, self.me, command, Then::Reported { write, node, shards });
    }

    fn reported(
        &mut self,
        env: &mut Env,
        number: u64,
        node: String,
        shards: &[(u32, u64)],
        result: Result<Response, Refusal>,
    ) {
        let again = match result {
            Ok(Response::Unchanged(unchanged)) => report_again(&self.view, &node, shards, &unchanged),
            Ok(_) => Vec::new(),
            Err(_) => return self.fail(env, number, "the report was refused"),
        };
        match again.is_empty() {
            true => self.report_next(env, number),
            false => self.report(env, number, node, again),
        }
    }

    fn acknowledge(&mut self, env: &mut Env, number: u64) {
        let Some(write) = self.writes.remove(&number) else { return };
        env.count("writes acknowledged");
        let took = env.now - write.began;
        self.slowest = self.slowest.max(took);
        self.took.push((write.began, took));
        env.note(&[110, number], || {
            format!("{} acknowledges write {number} {:?} after {took} ms", self.identity, write.batch)
        });
        env.acknowledged.push(write.batch);
    }

    fn fail(&mut self, env: &mut Env, number: u64, why: &'static str) {
        let Some(write) = self.writes.remove(&number) else { return };
        env.count("writes failed");
        self.failed += 1;
        env.note(&[111, number], || format!("{} fails write {number}: {why}", self.identity));
        if self.rng.chance(700) {
            let at = env.now + self.rng.between(100, 3000);
            self.again.push((at, write.batch));
        }
    }
}
