//! All threads of the process take turns, in virtual time: one runs at a time, until it has to wait.
//!
//! Production code is not deterministic by itself: the log has a thread, blocking work has others, timers and the seeds of
//! hash tables come from the system. So the simulation stands between this process and the system. [`calls`] replaces the few
//! functions of libc through which threads start, wait, wake each other and read the time; this file decides what they do.
//!
//! A *turn* belongs to one thread. Whoever waits passes it on to a thread that can run, which the seed picks. If none can,
//! virtual time jumps to the earliest deadline that any of them waits for. Nothing else makes time pass. The same seed
//! therefore gives the same run, whatever the machine does.
//!
//! Threads that exist before [`begin`], such as those of the test runner, are not part of it. There is no end: the process
//! exits when its run is over.

mod calls;

use std::cell::{Cell, UnsafeCell};
use std::sync::atomic::{AtomicU32, Ordering};

use pharos_testkit::Rng;

/// Nanoseconds of virtual time.
pub(crate) type Nanos = u64;

thread_local! {
    /// The number of this thread, from 1; 0 while it takes no part. Without a destructor, so that it can be read at any time.
    static ME: Cell<usize> = const { Cell::new(0) };
}

/// What a thread waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nothing: it can run.
    Ready,
    /// A wake-up at an address, or a deadline.
    Address { address: usize, until: Option<Nanos> },
    /// Events of an epoll instance, or a deadline.
    Events { epoll: i32, until: Option<Nanos> },
    /// A deadline.
    Deadline { until: Nanos },
    /// The end of a thread.
    End { thread: usize },
    /// Nothing any more: it has ended.
    Ended,
}

struct Thread {
    state: State,
    /// Whether the last wait ended at its deadline.
    timed_out: bool,
    /// What `pthread_create` called it.
    handle: libc::pthread_t,
    /// 1 while the thread has the turn. Leaked, so that it outlives whoever waits at it.
    gate: &'static AtomicU32,
}

/// The state of all threads. Only the thread that has the turn touches it.
struct Turns {
    threads: Vec<Thread>,
    now: Nanos,
    chance: Rng,
}

struct Shared(UnsafeCell<Option<Turns>>);

// SAFETY: one thread at a time has the turn, and passing it on through a futex orders what they do.
unsafe impl Sync for Shared {}

static TURNS: Shared = Shared(UnsafeCell::new(None));

/// The threads, if this one takes part.
fn turns() -> Option<&'static mut Turns> {
    if ME.get() == 0 {
        return None;
    }
    // SAFETY: this thread has the turn, so no other touches the state. No caller keeps the reference over a wait.
    unsafe { (*TURNS.0.get()).as_mut() }
}

/// Makes this thread the first one that takes part. From now on its time is virtual, and so is that of the threads it starts.
pub(crate) fn begin(seed: u64) {
    let first = Thread { state: State::Ready, timed_out: false, handle: 0, gate: gate(1) };
    // SAFETY: nobody takes part yet.
    unsafe { *TURNS.0.get() = Some(Turns { threads: vec![first], now: 0, chance: Rng::new(seed) }) };
    ME.set(1);
}

/// Virtual time since the beginning.
pub(crate) fn now() -> Nanos {
    turns().map_or(0, |turns| turns.now)
}

fn gate(value: u32) -> &'static AtomicU32 {
    Box::leak(Box::new(AtomicU32::new(value)))
}

impl Turns {
    /// The thread that runs next, at the time at which it can.
    fn next(&mut self) -> usize {
        loop {
            let ready: Vec<usize> = (0..self.threads.len()).filter(|at| self.can_run(*at)).collect();
            match ready.as_slice() {
                [] => self.advance(),
                [only] => return *only,
                several => return several[self.chance.below(several.len() as u64) as usize],
            }
        }
    }

    fn can_run(&self, at: usize) -> bool {
        match self.threads[at].state {
            State::Ready => true,
            State::Events { epoll, .. } => calls::has_events(epoll),
            State::End { thread } => self.threads[thread].state == State::Ended,
            State::Address { .. } | State::Deadline { .. } | State::Ended => false,
        }
    }

    /// Lets time pass until the earliest deadline.
    fn advance(&mut self) {
        let deadline = |state: &State| match state {
            State::Address { until, .. } | State::Events { until, .. } => *until,
            State::Deadline { until } => Some(*until),
            _ => None,
        };
        let Some(earliest) = self.threads.iter().filter_map(|thread| deadline(&thread.state)).min() else {
            eprintln!("every thread waits for another: {:?}", self.threads.iter().map(|t| t.state).collect::<Vec<_>>());
            std::process::abort();
        };
        self.now = self.now.max(earliest);
        for thread in &mut self.threads {
            if deadline(&thread.state).is_some_and(|until| until <= self.now) {
                thread.state = State::Ready;
                thread.timed_out = true;
            }
        }
    }

    /// Wakes threads that wait at an address, and returns how many.
    fn wake(&mut self, address: usize, most: usize) -> usize {
        let at_address =
            |thread: &&mut Thread| matches!(thread.state, State::Address { address: at, .. } if at == address);
        let woken = self.threads.iter_mut().filter(at_address).take(most);
        woken.map(|thread| thread.state = State::Ready).count()
    }

    /// Registers a thread that is about to start, and returns its number.
    fn start(&mut self) -> usize {
        self.threads.push(Thread { state: State::Ready, timed_out: false, handle: 0, gate: gate(0) });
        self.threads.len()
    }
}

/// Passes the turn on and returns when this thread has it again. Returns whether its wait ended at the deadline.
fn wait(state: State) -> bool {
    let me = ME.get() - 1;
    if let Some(turns) = turns() {
        turns.threads[me].state = state;
        turns.threads[me].timed_out = false;
        let next = turns.next();
        if next != me {
            let (mine, theirs) = (turns.threads[me].gate, turns.threads[next].gate);
            mine.store(0, Ordering::Release);
            open(theirs);
            stand_at(mine);
        }
    }
    // Looked up again: others had the turn meanwhile.
    turns().is_some_and(|turns| {
        turns.threads[me].state = State::Ready;
        turns.threads[me].timed_out
    })
}

/// Ends the part of this thread: passes the turn on for good.
fn end() {
    let me = ME.get() - 1;
    let Some(turns) = turns() else { return };
    turns.threads[me].state = State::Ended;
    let next = turns.next();
    let next = turns.threads[next].gate;
    ME.set(0);
    open(next);
}

fn open(gate: &'static AtomicU32) {
    gate.store(1, Ordering::Release);
    calls::wake_system(gate.as_ptr() as usize, 1);
}

fn stand_at(gate: &'static AtomicU32) {
    while gate.load(Ordering::Acquire) == 0 {
        calls::wait_system(gate.as_ptr() as usize, 0);
    }
}
