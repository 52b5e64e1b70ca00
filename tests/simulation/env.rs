//! The environment that all parts of a run share: virtual time, the event queue, the network, the state of the
//! processes, the samples, the object store, the record of events, and the violations.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque};
use std::fmt::Write as _;

use super::BASE_MS;
use super::bugs::Bug;
use super::messages::{Message, Timer};
use super::network::{Fate, Network};
use super::objects::Objects;
use super::samples::Samples;
use pharos_testkit::Rng;

/// Virtual milliseconds since the run began.
pub type Ms = u64;

/// Number of record lines that are kept for the analysis of a failure.
const LINES: usize = 100_000;

/// A node of the simulated cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Node {
    /// The Raft group, modelled as a single node.
    Meta,
    /// The ingester with this number.
    Ingester(usize),
    /// The agent with this number.
    Agent(usize),
}

impl Node {
    /// Returns the member id of the node.
    pub fn identity(self) -> String {
        match self {
            Node::Meta => "M".into(),
            Node::Ingester(n) => format!("I{n}"),
            Node::Agent(n) => format!("A{n}"),
        }
    }

    /// Returns the ingester or agent with a member id.
    pub fn of(identity: &str) -> Option<Node> {
        let number = identity.get(1..).and_then(|n| n.parse().ok());
        match (identity.chars().next(), number) {
            (Some('I'), Some(n)) => Some(Node::Ingester(n)),
            (Some('A'), Some(n)) => Some(Node::Agent(n)),
            _ => None,
        }
    }
}

/// An event of the queue.
#[derive(Debug)]
pub enum Event {
    /// A message arrives, unless its destination has restarted since it was sent.
    Deliver { from: Node, to: Node, life: u64, message: Message },
    /// A timer of a node fires, unless the node has restarted since it was set.
    Wake { node: Node, life: u64, timer: Timer },
    /// The fault with this index of the plan occurs.
    Fault(usize),
    /// The invariants are checked.
    Check,
}

struct Queued {
    at: Ms,
    number: u64,
    event: Event,
}

impl PartialEq for Queued {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.number) == (other.at, other.number)
    }
}

impl Eq for Queued {}

impl PartialOrd for Queued {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Queued {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

/// The state of a process.
#[derive(Clone, Copy, Debug, Default)]
pub struct Life {
    /// Whether the process is running.
    pub up: bool,
    /// Number of starts. Messages and timers of an earlier life are dropped.
    pub number: u64,
    /// End of a pause. Events that are due earlier are postponed until then.
    pub paused_until: Ms,
    /// Whether the machine refuses connections while the process is down. Otherwise messages are lost silently.
    pub machine_answers: bool,
}

/// The shared environment of a run.
pub struct Env {
    /// The current virtual time.
    pub now: Ms,
    queue: BinaryHeap<Reverse<Queued>>,
    numbers: u64,
    /// The source of randomness.
    pub rng: Rng,
    /// The network, with its current faults.
    pub net: Network,
    lives: BTreeMap<Node, Life>,
    /// All samples and their acknowledgements.
    pub samples: Samples,
    /// The object store with all uploaded blocks.
    pub objects: Objects,
    /// The planted bug, if any.
    pub bug: Option<Bug>,
    /// Violations of invariants. The run ends at the first one.
    pub violations: Vec<String>,
    /// Writes acknowledged in this step, which the world records in `samples`.
    pub acknowledged: Vec<super::messages::Batch>,
    /// Samples that ingesters dropped as flushed in this step.
    pub dropped: Vec<(String, Vec<super::samples::SampleId>)>,
    /// Decisions of agents about scrape slots in this step.
    pub decisions: Vec<super::scrape::Decision>,
    /// The epochs that ingesters have seen.
    pub epochs: super::invariants::epochs::Known,
    /// Number of occurrences, by name.
    pub counts: BTreeMap<&'static str, u64>,
    /// Shards that lost all in-sync replicas forever. Nothing is guaranteed for them.
    pub lost_shards: BTreeSet<u32>,
    hash: u64,
    lines: Option<VecDeque<String>>,
}

impl Env {
    /// Creates the environment of a run.
    pub fn new(seed: u64, bug: Option<Bug>, keep_lines: bool) -> Self {
        let mut rng = Rng::new(seed);
        Env {
            now: 0,
            queue: BinaryHeap::new(),
            numbers: 0,
            net: Network::new(rng.fork()),
            objects: Objects::new(rng.fork()),
            rng,
            lives: BTreeMap::new(),
            samples: Samples::new(),
            bug,
            violations: Vec::new(),
            acknowledged: Vec::new(),
            dropped: Vec::new(),
            decisions: Vec::new(),
            epochs: super::invariants::epochs::Known::default(),
            counts: BTreeMap::new(),
            lost_shards: BTreeSet::new(),
            hash: 0xcbf2_9ce4_8422_2325,
            lines: keep_lines.then(VecDeque::new),
        }
    }

    /// Returns the wall-clock time, in milliseconds since the epoch.
    pub fn now_ms(&self) -> i64 {
        BASE_MS + self.now as i64
    }

    /// Returns a number that is unique in this run.
    pub fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    /// Returns whether a bug is planted.
    pub fn has(&self, bug: Bug) -> bool {
        self.bug == Some(bug)
    }

    /// Counts an occurrence by name.
    pub fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    /// Schedules an event.
    pub fn at(&mut self, at: Ms, event: Event) {
        let number = self.number();
        self.queue.push(Reverse(Queued { at: at.max(self.now), number, event }));
    }

    /// Sets a timer of a node. The timer is dropped if the node restarts first.
    pub fn wake(&mut self, node: Node, after: Ms, timer: Timer) {
        let life = self.life(node).number;
        self.at(self.now + after, Event::Wake { node, life, timer });
    }

    /// Sends a message, whose fate the network decides.
    pub fn send(&mut self, from: Node, to: Node, message: Message) {
        let to_life = self.life(to);
        match self.net.fate(from, to, &to_life) {
            Fate::Lost => self.count("messages lost"),
            Fate::Refused(after) => {
                // The sender of a request learns that the connection was refused.
                if let Some(answer) = message.refused() {
                    let life = self.life(from).number;
                    self.at(self.now + after, Event::Deliver { from: to, to: from, life, message: answer });
                }
            }
            Fate::Arrives(delays) => {
                for after in delays {
                    let (life, message) = (to_life.number, message.clone());
                    self.at(self.now + after, Event::Deliver { from, to, life, message });
                }
            }
        }
    }

    /// Returns the next event and advances the time to it. Drops events for earlier lives of a process, and postpones
    /// those for paused processes.
    pub fn next(&mut self) -> Option<Event> {
        while let Some(Reverse(Queued { at, event, .. })) = self.queue.pop() {
            self.now = at;
            let (node, life) = match &event {
                Event::Deliver { to, life, .. } => (*to, *life),
                Event::Wake { node, life, .. } => (*node, *life),
                Event::Fault(_) | Event::Check => return Some(event),
            };
            let known = self.life(node);
            if !known.up || known.number != life {
                continue;
            }
            if known.paused_until > at {
                self.at(known.paused_until, event);
                continue;
            }
            return Some(event);
        }
        None
    }

    /// Returns the state of a node's process.
    pub fn life(&self, node: Node) -> Life {
        self.lives.get(&node).copied().unwrap_or_default()
    }

    /// Starts the process of a node.
    pub fn start(&mut self, node: Node) {
        let number = self.life(node).number + 1;
        self.lives.insert(node, Life { up: true, number, paused_until: 0, machine_answers: true });
    }

    /// Stops the process of a node, and at random its machine, too.
    pub fn stop(&mut self, node: Node) {
        let machine_answers = self.rng.chance(600);
        if let Some(life) = self.lives.get_mut(&node) {
            (life.up, life.machine_answers) = (false, machine_answers);
        }
    }

    /// Pauses the process of a node.
    pub fn pause(&mut self, node: Node, until: Ms) {
        if let Some(life) = self.lives.get_mut(&node) {
            life.paused_until = until;
        }
    }

    /// Adds an entry to the record of the run. The hash covers `parts`; `line` is for humans.
    pub fn note(&mut self, parts: &[u64], line: impl FnOnce() -> String) {
        for part in [self.now].iter().chain(parts) {
            for byte in part.to_le_bytes() {
                self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
            }
        }
        if let Some(lines) = &mut self.lines {
            let mut text = String::new();
            let _infallible = write!(text, "{:>7} {}", self.now, line());
            lines.push_back(text);
            if lines.len() > LINES {
                lines.pop_front();
            }
        }
    }

    /// Returns the hash of the record.
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// Returns the last lines of the record, if they are kept.
    pub fn lines(&self) -> impl Iterator<Item = &String> {
        self.lines.iter().flatten()
    }

    /// Reports that an invariant does not hold.
    pub fn violated(&mut self, invariant: &str, what: impl FnOnce() -> String) {
        if self.violations.is_empty() {
            let text = format!("{invariant}: {} (at {} ms)", what(), self.now);
            self.note(&[], || format!("VIOLATED {text}"));
            self.violations.push(text);
        }
    }
}
