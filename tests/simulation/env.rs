//! What all parts of a run share: virtual time and the event queue, the network, which processes run, the samples, the object
//! store, the record of events, and the violations.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque};
use std::fmt::Write as _;

use super::BASE_MS;
use super::bugs::Bug;
use super::messages::{Message, Timer};
use super::network::{Fate, Network};
use super::objects::Objects;
use super::rng::Rng;
use super::samples::Samples;

/// Virtual milliseconds since the run began.
pub type Ms = u64;

/// Lines that are kept for who looks at a failure.
const LINES: usize = 100_000;

/// Who takes part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Node {
    /// The group of meta, as one.
    Meta,
    /// An ingester, by its number.
    Ingester(usize),
    /// An agent, by its number.
    Agent(usize),
}

impl Node {
    /// Its identity as a member.
    pub fn identity(self) -> String {
        match self {
            Node::Meta => "M".into(),
            Node::Ingester(n) => format!("I{n}"),
            Node::Agent(n) => format!("A{n}"),
        }
    }

    /// The node of an identity.
    pub fn of(identity: &str) -> Option<Node> {
        let number = identity.get(1..).and_then(|n| n.parse().ok());
        match (identity.chars().next(), number) {
            (Some('I'), Some(n)) => Some(Node::Ingester(n)),
            (Some('A'), Some(n)) => Some(Node::Agent(n)),
            _ => None,
        }
    }
}

/// What happens next.
#[derive(Debug)]
pub enum Event {
    /// A message arrives.
    Deliver { from: Node, to: Node, life: u64, message: Message },
    /// A node wanted to be woken.
    Wake { node: Node, life: u64, timer: Timer },
    /// The plan of faults goes on.
    Fault(usize),
    /// The invariants are looked at.
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

/// How a process is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Life {
    /// Whether it runs.
    pub up: bool,
    /// Counts its starts: what was meant for an earlier one is lost.
    pub number: u64,
    /// It does nothing before this time; what it is sent waits.
    pub paused_until: Ms,
    /// Whether its machine answers for it when it does not run.
    pub machine_answers: bool,
}

/// See the module.
pub struct Env {
    /// Virtual time.
    pub now: Ms,
    queue: BinaryHeap<Reverse<Queued>>,
    numbers: u64,
    /// Chance.
    pub rng: Rng,
    /// The network.
    pub net: Network,
    lives: BTreeMap<Node, Life>,
    /// All samples.
    pub samples: Samples,
    /// The object store.
    pub objects: Objects,
    /// The bug that was put in on purpose.
    pub bug: Option<Bug>,
    /// What was wrong; the run ends at the first.
    pub violations: Vec<String>,
    /// Writes that were acknowledged in this step; the world enters them into the samples.
    pub acknowledged: Vec<super::messages::Batch>,
    /// What ingesters freed in this step as flushed.
    pub dropped: Vec<(String, Vec<super::samples::SampleId>)>,
    /// What agents decided about targets in this step.
    pub decisions: Vec<super::scrape::Decision>,
    /// What ingesters know of epochs.
    pub epochs: super::invariants::epochs::Known,
    /// Things that happened, counted by name.
    pub counts: BTreeMap<&'static str, u64>,
    /// Shards of which all that was in sync is gone for good: nothing is promised for them.
    pub lost_shards: BTreeSet<u32>,
    hash: u64,
    lines: Option<VecDeque<String>>,
}

impl Env {
    /// The beginning of a run.
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

    /// Wall-clock time, milliseconds since the epoch.
    pub fn now_ms(&self) -> i64 {
        BASE_MS + self.now as i64
    }

    /// A number that was not given before.
    pub fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    /// Whether this bug was put in.
    pub fn has(&self, bug: Bug) -> bool {
        self.bug == Some(bug)
    }

    /// Counts that something happened.
    pub fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    /// Puts an event into the queue.
    pub fn at(&mut self, at: Ms, event: Event) {
        let number = self.number();
        self.queue.push(Reverse(Queued { at: at.max(self.now), number, event }));
    }

    /// Wakes a node after some time, if it has not died till then.
    pub fn wake(&mut self, node: Node, after: Ms, timer: Timer) {
        let life = self.life(node).number;
        self.at(self.now + after, Event::Wake { node, life, timer });
    }

    /// Sends a message.
    pub fn send(&mut self, from: Node, to: Node, message: Message) {
        let to_life = self.life(to);
        match self.net.fate(from, to, &to_life) {
            Fate::Lost => self.count("messages lost"),
            Fate::Refused(after) => {
                // Whoever asks is told that nobody listens there.
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

    /// The next event; those for processes that have ended are left out, those for paused ones are put off.
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

    /// How a node is.
    pub fn life(&self, node: Node) -> Life {
        self.lives.get(&node).copied().unwrap_or_default()
    }

    /// A process starts.
    pub fn start(&mut self, node: Node) {
        let number = self.life(node).number + 1;
        self.lives.insert(node, Life { up: true, number, paused_until: 0, machine_answers: true });
    }

    /// A process ends, and maybe its machine with it.
    pub fn stop(&mut self, node: Node) {
        let machine_answers = self.rng.chance(600);
        if let Some(life) = self.lives.get_mut(&node) {
            (life.up, life.machine_answers) = (false, machine_answers);
        }
    }

    /// A process stands still for some time.
    pub fn pause(&mut self, node: Node, until: Ms) {
        if let Some(life) = self.lives.get_mut(&node) {
            life.paused_until = until;
        }
    }

    /// Notes something in the record of the run.
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

    /// The hash of the record.
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// The last lines of the record, if they were kept.
    pub fn lines(&self) -> impl Iterator<Item = &String> {
        self.lines.iter().flatten()
    }

    /// An invariant does not hold.
    pub fn violated(&mut self, invariant: &str, what: impl FnOnce() -> String) {
        if self.violations.is_empty() {
            let text = format!("{invariant}: {} (at {} ms)", what(), self.now);
            self.note(&[], || format!("VIOLATED {text}"));
            self.violations.push(text);
        }
    }
}
