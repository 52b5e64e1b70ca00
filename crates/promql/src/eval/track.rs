//! What each operator of a query did, measured only when it is asked for.
//!
//! Operators are known by their address in the plan, which does not move while it is evaluated.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hashbrown::HashMap;
use pharos_model::{Budget, Clock};

use super::row::{Grid, Row};
use super::{Eval, Outcome, Sink};
use crate::explanation::OperatorStats;
use crate::plan::{Node, RangeInput, Selector};

/// The figures of all operators of a plan.
pub(crate) struct Tracker {
    clock: Arc<dyn Clock>,
    slots: HashMap<usize, Slot>,
}

/// The figures of one operator; added to by all threads.
#[derive(Default)]
pub(crate) struct Slot {
    series: AtomicU64,
    samples: AtomicU64,
    samples_read: AtomicU64,
    nanos: AtomicU64,
    held: AtomicU64,
    peak: AtomicU64,
    reads: Mutex<Vec<Arc<Budget>>>,
    /// Whether the operator is the selector of a range function: it has no rows and takes no time but to read.
    only_reads: bool,
}

/// What a selector is known by. It may begin at the same address as its node, which is no selector then.
fn key_of_selector(selector: &Selector) -> usize {
    std::ptr::from_ref(selector) as usize | 1
}

fn key(node: &Node) -> usize {
    match node {
        Node::Selector(selector) => key_of_selector(selector),
        other => std::ptr::from_ref(other) as usize,
    }
}

impl Tracker {
    /// A place for the figures of each operator of a plan.
    pub(crate) fn new(plan: &Node, clock: Arc<dyn Clock>) -> Self {
        let mut slots = HashMap::new();
        add(plan, &mut slots);
        Tracker { clock, slots }
    }

    /// What an operator did so far.
    pub(crate) fn of(&self, node: &Node) -> Option<OperatorStats> {
        self.slots.get(&key(node)).map(Slot::stats)
    }

    /// What the selector of a range function did so far.
    pub(crate) fn of_selector(&self, selector: &Selector) -> Option<OperatorStats> {
        self.slot_of_selector(selector).map(Slot::stats)
    }

    pub(crate) fn slot(&self, node: &Node) -> Option<&Slot> {
        self.slots.get(&key(node))
    }

    pub(crate) fn slot_of_selector(&self, selector: &Selector) -> Option<&Slot> {
        self.slots.get(&key_of_selector(selector))
    }

    /// Time since an arbitrary moment.
    pub(crate) fn now(&self) -> Duration {
        self.clock.monotonic()
    }
}

fn add(node: &Node, slots: &mut HashMap<usize, Slot>) {
    slots.insert(key(node), Slot::default());
    let selector = match node {
        Node::Range(call) => match &call.input {
            RangeInput::Selector(s) => Some(&s.selector),
            RangeInput::Subquery(_) => None,
        },
        Node::Matrix(matrix) => Some(&matrix.selector),
        _ => None,
    };
    if let Some(selector) = selector {
        slots.insert(key_of_selector(selector), Slot { only_reads: true, ..Slot::default() });
    }
    node.children().into_iter().for_each(|child| add(child, slots));
}

impl Slot {
    fn stats(&self) -> OperatorStats {
        let get = |at: &AtomicU64| at.load(Ordering::Relaxed);
        let reads = self.reads.lock().unwrap_or_else(PoisonError::into_inner);
        let (bytes_read, requests) = reads.iter().map(|b| b.reads()).fold((0, 0), |a, b| (a.0 + b.0, a.1 + b.1));
        OperatorStats {
            series: get(&self.series),
            samples: get(&self.samples),
            samples_read: get(&self.samples_read),
            wall: Duration::from_nanos(get(&self.nanos)),
            peak_bytes: get(&self.peak),
            bytes_read,
            requests,
        }
    }

    /// Counts a row that was handed on.
    fn handed(&self, row: &Row) {
        self.series.fetch_add(1, Ordering::Relaxed);
        self.samples.fetch_add(row.samples() as u64, Ordering::Relaxed);
    }

    fn took(&self, time: Duration) {
        self.nanos.fetch_add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Counts samples that were read in `time`.
    pub(crate) fn read(&self, series: usize, samples: usize, time: Duration) {
        self.samples_read.fetch_add(samples as u64, Ordering::Relaxed);
        if self.only_reads {
            self.series.fetch_add(series as u64, Ordering::Relaxed);
            self.samples.fetch_add(samples as u64, Ordering::Relaxed);
            self.took(time);
        }
    }

    /// A part of the query's budget that counts what is read for this operator.
    pub(crate) fn account(&self, whole: &Arc<Budget>) -> Arc<Budget> {
        let part = whole.part();
        self.reads.lock().unwrap_or_else(PoisonError::into_inner).push(part.clone());
        part
    }

    /// Counts memory that the operator takes.
    pub(crate) fn take(&self, bytes: u64) {
        let held = self.held.fetch_add(bytes, Ordering::Relaxed) + bytes;
        self.peak.fetch_max(held, Ordering::Relaxed);
    }

    /// Counts memory that it gives back.
    pub(crate) fn give_back(&self, bytes: u64) {
        self.held.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// Evaluates an operator and measures it: its time is that of itself and what is below it, without what is done with
/// its rows.
pub(crate) fn measured<'s>(
    ev: &Eval<'s, '_>,
    (tracker, slot): (&'s Tracker, &'s Slot),
    node: &Node,
    grid: Grid,
    sink: Sink<'_>,
) -> Outcome {
    let before = ev.operator.replace(Some(slot));
    let started = tracker.now();
    let mut outside = Duration::ZERO;
    let outcome = ev.evaluate(node, grid, &mut |row| {
        slot.handed(row);
        let handed = tracker.now();
        ev.operator.set(before);
        let outcome = sink(row);
        ev.operator.set(Some(slot));
        outside += tracker.now().saturating_sub(handed);
        outcome
    });
    slot.took(tracker.now().saturating_sub(started).saturating_sub(outside));
    ev.operator.set(before);
    outcome
}
