//! What all parts of a run share: chance, time, and the log of what happened.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use pharos_model::clock::Sleep;
use pharos_model::{Clock, SystemClock};
use pharos_testkit::Rng;

use crate::threads;

/// Virtual milliseconds since the start of the run.
pub(crate) type Ms = u64;

/// The environment of a run. Clones share it.
#[derive(Clone)]
pub(crate) struct Env(Arc<Shared>);

struct Shared {
    rng: Mutex<Rng>,
    log: Mutex<Log>,
    /// Prints what happens as it happens.
    is_verbose: bool,
}

#[derive(Default)]
struct Log {
    hash: u64,
    counts: BTreeMap<String, u64>,
    violation: Option<String>,
}

/// What a run has come to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// Of all lines of the log. Two runs of a seed have the same.
    pub(crate) hash: u64,
    /// The first broken invariant.
    pub(crate) violation: Option<String>,
    /// How often what happened.
    pub(crate) counts: BTreeMap<String, u64>,
}

impl Env {
    pub(crate) fn new(seed: u64, is_verbose: bool) -> Self {
        let shared = Shared { rng: Mutex::new(Rng::new(seed)), log: Mutex::default(), is_verbose };
        Env(Arc::new(shared))
    }

    /// Virtual time.
    pub(crate) fn now(&self) -> Ms {
        threads::now() / 1_000_000
    }

    pub(crate) async fn sleep(&self, ms: Ms) {
        tokio::time::sleep(Duration::from_millis(ms)).await;
    }

    pub(crate) fn below(&self, bound: u64) -> u64 {
        self.0.rng.lock().below(bound)
    }

    pub(crate) fn between(&self, low: u64, high: u64) -> u64 {
        self.0.rng.lock().between(low, high)
    }

    pub(crate) fn chance(&self, per_mille: u64) -> bool {
        per_mille > 0 && self.0.rng.lock().chance(per_mille)
    }

    pub(crate) fn pick<T: Clone>(&self, items: &[T]) -> Option<T> {
        self.0.rng.lock().pick(items).cloned()
    }

    /// A generator of its own for one part of the run.
    pub(crate) fn fork(&self) -> Rng {
        self.0.rng.lock().fork()
    }

    /// Logs what happens.
    pub(crate) fn note(&self, line: impl AsRef<str>) {
        let mut text = String::new();
        let now = self.now();
        _ = write!(text, "{:>4}.{:03} {}", now / 1000, now % 1000, line.as_ref());
        if self.0.is_verbose {
            eprintln!("{text}");
        }
        let mut log = self.0.log.lock();
        for byte in text.bytes() {
            log.hash = (log.hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }

    /// Counts what happens.
    pub(crate) fn count(&self, what: &str, by: u64) {
        *self.0.log.lock().counts.entry(what.to_string()).or_default() += by;
    }

    /// Records that an invariant is broken. Only the first one counts, since others may follow from it.
    pub(crate) fn violated(&self, what: impl Into<String>) {
        let what = what.into();
        self.note(format!("VIOLATION {what}"));
        self.0.log.lock().violation.get_or_insert(what);
    }

    pub(crate) fn is_violated(&self) -> bool {
        self.0.log.lock().violation.is_some()
    }

    pub(crate) fn outcome(&self) -> Outcome {
        let log = self.0.log.lock();
        Outcome { hash: log.hash, violation: log.violation.clone(), counts: log.counts.clone() }
    }
}

/// The clock of a node: virtual time, and a wall clock that can be wrong.
pub(crate) struct NodeClock {
    system: SystemClock,
    /// How far the wall clock is ahead.
    ahead_ms: Arc<AtomicI64>,
}

impl NodeClock {
    pub(crate) fn new(ahead_ms: Arc<AtomicI64>) -> Arc<Self> {
        Arc::new(NodeClock { system: SystemClock::new(), ahead_ms })
    }
}

impl Clock for NodeClock {
    fn now_ms(&self) -> i64 {
        self.system.now_ms() + self.ahead_ms.load(Ordering::Relaxed)
    }

    fn monotonic(&self) -> Duration {
        self.system.monotonic()
    }

    fn sleep_until(&self, deadline: Duration) -> Sleep {
        self.system.sleep_until(deadline)
    }
}
