//! The queue in front of `--query.max-concurrency`. Tenants take turns, so that no tenant waits for all the queries of
//! another. Names of tenants cost nothing, so those without samples share one line: a client that invents tenants gets the turns
//! of one.
//!
//! Invariants: `turns` contains a party exactly once if it has waiting queries, and otherwise not at all. `running` is
//! the number of turns that were granted and not yet returned.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use pharos_model::TenantId;
use tokio::sync::oneshot;

/// Who takes turns in a queue.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Party {
    /// A tenant with samples or limits of its own.
    Tenant(TenantId),
    /// All other tenants together.
    Unknown,
}

impl fmt::Display for Party {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Party::Tenant(tenant) => write!(f, "tenant {tenant}"),
            Party::Unknown => f.write_str("tenants without samples"),
        }
    }
}

/// A queue that grants turns to the queries of all parties in round-robin order.
pub struct FairQueue {
    max_running: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    running: usize,
    lines: HashMap<Party, Line>,
    /// The parties with waiting queries, in the order of their turns.
    turns: VecDeque<Party>,
}

/// The queue of one party.
#[derive(Default)]
struct Line {
    running: usize,
    /// Maximum number of running queries. 0 means no limit.
    max_running: usize,
    waiting: VecDeque<oneshot::Sender<()>>,
}

/// The error of a query that arrives while its party's queue is full.
#[derive(Debug, PartialEq, Eq)]
pub struct Full {
    /// Maximum number of queries that may wait.
    pub limit: usize,
}

/// The permit to run one query, returned on drop.
pub struct Turn {
    queue: Arc<FairQueue>,
    party: Party,
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.queue.give_back(&self.party);
    }
}

/// A place in the queue, which resolves to the turn. Dropping it leaves the queue.
pub struct Waiting {
    granted: oneshot::Receiver<()>,
    queue: Arc<FairQueue>,
    party: Party,
    done: bool,
}

impl Future for Waiting {
    /// `None` if the queue dropped the place without granting a turn.
    type Output = Option<Turn>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Turn>> {
        let granted = std::task::ready!(Pin::new(&mut self.granted).poll(context));
        self.done = true;
        Poll::Ready(granted.ok().map(|()| Turn { queue: self.queue.clone(), party: self.party.clone() }))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if self.done {
            return;
        }
        self.granted.close();
        if self.granted.try_recv().is_ok() {
            self.queue.give_back(&self.party);
        } else {
            self.queue.forget_closed(&self.party);
        }
    }
}

impl FairQueue {
    /// Creates a queue that runs `max_running` queries at a time. 0 counts as 1.
    pub fn new(max_running: usize) -> Arc<Self> {
        Arc::new(FairQueue { max_running: max_running.max(1), state: Mutex::default() })
    }

    /// Takes a place for a query of a party.
    ///
    /// The party may have `max_running` running and `max_waiting` waiting queries. 0 means no limit in both cases.
    ///
    /// # Errors
    /// `max_waiting` queries of the party are waiting already.
    pub fn enter(queue: &Arc<Self>, party: &Party, max_running: usize, max_waiting: usize) -> Result<Waiting, Full> {
        let (sender, granted) = oneshot::channel();
        let mut state = queue.lock();
        let line = state.lines.entry(party.clone()).or_default();
        line.max_running = max_running;
        line.waiting.push_back(sender);
        let waits = line.waiting.len();
        if waits == 1 {
            state.turns.push_back(party.clone());
        }
        queue.grant(&mut state);
        let still_waits = state.lines.get(party).map_or(0, |line| line.waiting.len());
        let waiting = Waiting { granted, queue: queue.clone(), party: party.clone(), done: false };
        drop(state);
        // A query that gets its turn at once does not count as waiting.
        if max_waiting > 0 && still_waits > max_waiting { Err(Full { limit: max_waiting }) } else { Ok(waiting) }
    }

    /// Returns the number of waiting queries of all parties.
    pub fn waiting(&self) -> usize {
        self.lock().lines.values().map(|line| line.waiting.len()).sum()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Grants turns to waiting queries while the queue has capacity, one per party in round-robin order.
    fn grant(&self, state: &mut State) {
        let mut passed = 0;
        while state.running < self.max_running && passed < state.turns.len() {
            let Some(party) = state.turns.pop_front() else { return };
            let Some(line) = state.lines.get_mut(&party) else { continue };
            if line.max_running > 0 && line.running >= line.max_running {
                state.turns.push_back(party);
                passed += 1;
                continue;
            }
            let granted = line.waiting.pop_front().is_some_and(|waiter| waiter.send(()).is_ok());
            line.running += usize::from(granted);
            state.running += usize::from(granted);
            if !line.waiting.is_empty() {
                state.turns.push_back(party);
            } else if line.running == 0 {
                state.lines.remove(&party);
            }
            passed = 0;
        }
    }

    fn give_back(&self, party: &Party) {
        let mut state = self.lock();
        state.running -= 1;
        if let Some(line) = state.lines.get_mut(party) {
            line.running -= 1;
            if line.running == 0 && line.waiting.is_empty() {
                state.lines.remove(party);
            }
        }
        self.grant(&mut state);
    }

    /// Removes the places of dropped queries from a party's queue.
    fn forget_closed(&self, party: &Party) {
        let mut state = self.lock();
        let Some(line) = state.lines.get_mut(party) else { return };
        line.waiting.retain(|waiter| !waiter.is_closed());
        if !line.waiting.is_empty() {
            return;
        }
        if line.running == 0 {
            state.lines.remove(party);
        }
        state.turns.retain(|other| other != party);
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use proptest::prelude::*;

    use super::*;

    fn tenant(name: &str) -> Party {
        Party::Tenant(TenantId::new(name).unwrap())
    }

    fn enter(queue: &Arc<FairQueue>, name: &str) -> Waiting {
        FairQueue::enter(queue, &tenant(name), 0, 100).unwrap()
    }

    #[test]
    fn tenants_take_turns() {
        let queue = FairQueue::new(1);
        let first = enter(&queue, "a").now_or_never().flatten().unwrap();
        let mut waiting: Vec<_> = ["a", "a", "a", "b", "c"].iter().map(|name| Some(enter(&queue, name))).collect();
        let mut order = Vec::new();
        let mut turn = Some(first);
        while order.len() < waiting.len() {
            drop(turn.take());
            for (at, place) in waiting.iter_mut().enumerate() {
                if let Some(Some(granted)) = place.as_mut().and_then(|place| place.now_or_never()) {
                    order.push(at);
                    (turn, *place) = (Some(granted), None);
                    break;
                }
            }
        }
        assert_eq!(order, [0, 3, 4, 1, 2]);
        drop(turn);
        assert!(queue.lock().lines.is_empty() && queue.lock().turns.is_empty() && queue.lock().running == 0);
    }

    #[test]
    fn tenants_without_samples_take_the_turns_of_one() {
        let queue = FairQueue::new(1);
        let running = enter(&queue, "a").now_or_never().flatten();
        let unknown = || FairQueue::enter(&queue, &Party::Unknown, 0, 100).unwrap();
        let (first, mut second, known) = (unknown(), unknown(), enter(&queue, "a"));
        drop(running);
        drop(first.now_or_never().flatten().unwrap());
        assert!((&mut second).now_or_never().is_none() && known.now_or_never().flatten().is_some());
    }

    #[test]
    fn queues_are_bounded_and_tenants_have_their_own_concurrency() {
        let queue = FairQueue::new(4);
        let limited = |max_waiting| FairQueue::enter(&queue, &tenant("a"), 1, max_waiting);
        let running = limited(2).unwrap().now_or_never().flatten().unwrap();
        let (mut second, third) = (limited(2).unwrap(), limited(2).unwrap());
        assert_eq!(limited(2).err(), Some(Full { limit: 2 }));
        assert_eq!(queue.waiting(), 2);
        let other = enter(&queue, "b").now_or_never().flatten();
        assert!(other.is_some() && (&mut second).now_or_never().is_none());
        drop(third);
        assert_eq!(queue.waiting(), 1);
        drop(running);
        assert!(second.now_or_never().flatten().is_some());
    }

    #[test]
    fn a_query_that_leaves_with_a_turn_passes_it_on() {
        let queue = FairQueue::new(1);
        let turn = enter(&queue, "a").now_or_never().flatten();
        let (leaves, stays) = (enter(&queue, "a"), enter(&queue, "a"));
        drop(turn);
        drop(leaves);
        assert!(stays.now_or_never().flatten().is_some());
    }

    proptest! {
        #[test]
        fn all_turns_are_returned(steps in prop::collection::vec((0..4u8, 0..3usize, 0..8usize), 0..200)) {
            let queue = FairQueue::new(2);
            let names = ["a", "b", "c"];
            let (mut places, mut turns) = (Vec::new(), Vec::new());
            for (step, name, at) in steps {
                match step {
                    0 | 1 => places.extend(FairQueue::enter(&queue, &tenant(names[name]), name, 3).ok()),
                    2 if !places.is_empty() => {
                        let mut place: Waiting = places.remove(at % places.len());
                        turns.extend((&mut place).now_or_never().flatten());
                    }
                    _ if !turns.is_empty() => drop(turns.remove(at % turns.len())),
                    _ => {}
                }
                prop_assert!(turns.len() <= 2 && queue.lock().running <= 2);
            }
            drop((places, turns));
            let state = queue.lock();
            prop_assert!(state.running == 0 && state.lines.is_empty() && state.turns.is_empty());
        }
    }
}
