//! Measures each operator of a query, for `analyze`.
//!
//! An operator is identified by its address in the plan, which does not move during the evaluation.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hashbrown::HashMap;
use pharos_model::{Budget, Clock};

use super::row::Row;
use crate::explanation::OperatorStats;
use crate::plan::{Node, RangeInput, Selector};

/// The measurements of all operators of a plan.
pub(crate) struct Tracker {
    clock: Arc<dyn Clock>,
    slots: HashMap<usize, Slot>,
}

/// The measurements of one operator. All threads add to them.
#[derive(Default)]
pub(crate) struct Slot {
    series: AtomicU64,
    samples: AtomicU64,
    samples_read: AtomicU64,
    nanos: AtomicU64,
    held: AtomicU64,
    peak: AtomicU64,
    reads: Mutex<Vec<Arc<Budget>>>,
    /// Whether this is the selector of a range function, which yields no rows and only spends time on reading.
    only_reads: bool,
}

/// The key of a selector. It may have the same address as its node, which is not a selector in that case.
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
    /// Empty measurements for each operator of a plan.
    pub(crate) fn new(plan: &Node, clock: Arc<dyn Clock>) -> Self {
        let mut slots = HashMap::new();
        add(plan, &mut slots);
        Tracker { clock, slots }
    }

    /// The statistics of an operator so far.
    pub(crate) fn of(&self, node: &Node) -> Option<OperatorStats> {
        self.slots.get(&key(node)).map(Slot::stats)
    }

    /// The statistics of a range function's selector so far.
    pub(crate) fn of_selector(&self, selector: &Selector) -> Option<OperatorStats> {
        self.slot_of_selector(selector).map(Slot::stats)
    }

    pub(crate) fn slot(&self, node: &Node) -> Option<&Slot> {
        self.slots.get(&key(node))
    }

    pub(crate) fn slot_of_selector(&self, selector: &Selector) -> Option<&Slot> {
        self.slots.get(&key_of_selector(selector))
    }

    /// The time since an arbitrary origin.
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

    /// Counts a row that was passed on.
    pub(super) fn passed_on(&self, row: &Row) {
        self.series.fetch_add(1, Ordering::Relaxed);
        self.samples.fetch_add(row.samples() as u64, Ordering::Relaxed);
    }

    pub(super) fn took(&self, time: Duration) {
        self.nanos.fetch_add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Counts samples that took `time` to read.
    pub(crate) fn read(&self, series: usize, samples: usize, time: Duration) {
        self.samples_read.fetch_add(samples as u64, Ordering::Relaxed);
        if self.only_reads {
            self.series.fetch_add(series as u64, Ordering::Relaxed);
            self.samples.fetch_add(samples as u64, Ordering::Relaxed);
            self.took(time);
        }
    }

    /// A sub-account of the query's budget that counts what this operator reads.
    pub(crate) fn account(&self, whole: &Arc<Budget>) -> Arc<Budget> {
        let part = whole.part();
        self.reads.lock().unwrap_or_else(PoisonError::into_inner).push(part.clone());
        part
    }

    /// Counts memory that the operator takes from the budget.
    pub(crate) fn take(&self, bytes: u64) {
        let held = self.held.fetch_add(bytes, Ordering::Relaxed) + bytes;
        self.peak.fetch_max(held, Ordering::Relaxed);
    }

    /// Counts memory that the operator gives back to the budget.
    pub(crate) fn give_back(&self, bytes: u64) {
        self.held.fetch_sub(bytes, Ordering::Relaxed);
    }
}
