//! Where the time of a query goes besides its operators, for `analyze`: proving the view, waiting for nodes, merging.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use pharos_model::{Budget, Clock};

use super::route::Target;

/// What a query spent outside of its operators.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueryTiming {
    /// Time until the view was proved to be current.
    pub proving: Duration,
    /// Time spent on finding the parts of the query that other nodes can evaluate.
    pub planning: Duration,
    /// Time spent on merging the responses of nodes.
    pub merging: Duration,
    /// The nodes that were read, ascending by id and role.
    pub nodes: Vec<NodeTiming>,
}

/// What a query spent on one role of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeTiming {
    /// The id of the node.
    pub node: String,
    /// `ingester` or `store`.
    pub role: &'static str,
    /// Requests to the node: completeness, selections, evaluations and fetches of samples.
    pub requests: u64,
    /// Requests without a response that was used: they failed, or another node was faster.
    pub unused: u64,
    /// Time spent on waiting for the node. Requests that run at once add up.
    pub waiting: Duration,
    /// The longest wait.
    pub longest: Duration,
    /// Bytes that came from the node, and that it read from files or objects for them.
    pub bytes: u64,
}

/// The measurements of one query.
pub(crate) struct Timing {
    clock: Arc<dyn Clock>,
    waits: Mutex<Vec<Wait>>,
    phases: Mutex<BTreeMap<Phase, Duration>>,
}

/// A part of the work of a query besides its operators.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// Finding the parts of the query that other nodes can evaluate.
    Planning,
    /// Merging the responses of nodes.
    Merging,
}

#[derive(Default)]
struct Wait {
    node: String,
    role: &'static str,
    time: Duration,
    is_used: bool,
    /// Counts the bytes of this request, and of what is fetched later from its selection.
    account: Option<Arc<Budget>>,
}

/// A request under way. Dropped before [`Waiting::used`], it counts as one without a response.
pub(crate) struct Waiting<'a> {
    timing: &'a Timing,
    began: Duration,
    wait: Wait,
}

impl Timing {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Timing { clock, waits: Mutex::default(), phases: Mutex::default() }
    }

    /// Measures a request to a node, until the returned value is dropped.
    pub(crate) fn waiting(&self, node: &str, target: &Target, account: Option<Arc<Budget>>) -> Waiting<'_> {
        let role = match target {
            Target::Shards(_) => "ingester",
            Target::Blocks(_) => "store",
        };
        let wait = Wait { node: node.into(), role, time: Duration::ZERO, is_used: false, account };
        Waiting { timing: self, began: self.clock.monotonic(), wait }
    }

    /// Measures a part of the query's work.
    pub(crate) fn timed<T>(&self, phase: Phase, work: impl FnOnce() -> T) -> T {
        let began = self.clock.monotonic();
        let done = work();
        let took = self.clock.monotonic().saturating_sub(began);
        *self.phases.lock().entry(phase).or_default() += took;
        done
    }

    /// The measurements so far.
    pub(crate) fn total(&self) -> QueryTiming {
        let mut nodes = BTreeMap::<_, NodeTiming>::new();
        for wait in self.waits.lock().iter() {
            let node = nodes.entry((wait.node.clone(), wait.role)).or_default();
            node.requests += 1;
            node.unused += u64::from(!wait.is_used);
            node.waiting += wait.time;
            node.longest = node.longest.max(wait.time);
            node.bytes += wait.account.as_ref().map_or(0, |account| account.reads().0);
        }
        let nodes = nodes.into_iter().map(|((node, role), timing)| NodeTiming { node, role, ..timing });
        let phase = |phase| self.phases.lock().get(&phase).copied().unwrap_or_default();
        let (planning, merging) = (phase(Phase::Planning), phase(Phase::Merging));
        QueryTiming { proving: Duration::ZERO, planning, merging, nodes: nodes.collect() }
    }
}

impl Waiting<'_> {
    /// The response came, and is used.
    pub(crate) fn used(mut self) {
        self.wait.is_used = true;
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let time = self.timing.clock.monotonic().saturating_sub(self.began);
        self.timing.waits.lock().push(Wait { time, ..std::mem::take(&mut self.wait) });
    }
}
