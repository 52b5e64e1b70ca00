//! The functions of libc that this process replaces. A thread that takes part goes to [`super`]; any other one, and
//! whatever is not about time, waiting or chance, goes to the system.
//!
//! Executables come before shared libraries when symbols are resolved, so the standard library and all crates call these.

use std::ffi::{CStr, c_char, c_int, c_long, c_uint, c_void};
use std::sync::atomic::{AtomicU32, Ordering};

use libc::{clockid_t, epoll_event, pthread_attr_t, pthread_t, size_t, ssize_t, timespec};

use super::{ME, Nanos, State, end, stand_at, turns, wait};

/// The wall-clock time at which virtual time begins, seconds since the epoch.
const EPOCH: u64 = 1_700_000_000;
const SECOND: u64 = 1_000_000_000;
const MILLISECOND: u64 = 1_000_000;
/// The variable whose presence makes the seeds of hash tables constant.
const SEED: &CStr = c"PHAROS_SIM_RUN";

/// A system call, past everything in this file.
///
/// # Safety
/// As for the system call.
unsafe fn system(number: c_long, args: [c_long; 6]) -> c_long {
    let [a, b, c, d, e, f] = args;
    let returned: c_long;
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the caller's promise; the kernel keeps all registers but these.
    unsafe {
        std::arch::asm!("syscall", inlateout("rax") number => returned, in("rdi") a, in("rsi") b, in("rdx") c,
            in("r10") d, in("r8") e, in("r9") f, lateout("rcx") _, lateout("r11") _, options(nostack));
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: the caller's promise.
    unsafe {
        std::arch::asm!("svc 0", in("x8") number, inlateout("x0") a => returned, in("x1") b, in("x2") c, in("x3") d,
            in("x4") e, in("x5") f, options(nostack));
    }
    returned
}

/// Turns what the kernel returns into what libc returns.
fn result(returned: c_long) -> c_long {
    if (-4095..0).contains(&returned) { fail(-returned as c_int) } else { returned }
}

fn fail(errno: c_int) -> c_long {
    // SAFETY: the location is this thread's.
    unsafe { *libc::__errno_location() = errno };
    -1
}

/// Waits at an address while it has a value, in real time.
pub(super) fn wait_system(address: usize, value: u32) {
    let operation = (libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG) as c_long;
    // SAFETY: the address is that of a leaked atomic.
    unsafe { system(libc::SYS_futex, [address as c_long, operation, value as c_long, 0, 0, 0]) };
}

/// Wakes threads that really wait at an address.
pub(super) fn wake_system(address: usize, most: c_int) -> c_long {
    let operation = (libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG) as c_long;
    // SAFETY: waking reads no memory.
    unsafe { system(libc::SYS_futex, [address as c_long, operation, most as c_long, 0, 0, 0]) }
}

/// Whether an epoll instance has events.
pub(super) fn has_events(epoll: i32) -> bool {
    let mut asked = libc::pollfd { fd: epoll, events: libc::POLLIN, revents: 0 };
    // SAFETY: one entry, and no time to wait.
    unsafe { libc::poll(&mut asked, 1, 0) > 0 }
}

fn nanos(time: &timespec) -> Nanos {
    (time.tv_sec.max(0) as u64).saturating_mul(SECOND).saturating_add(time.tv_nsec.max(0) as u64)
}

#[unsafe(no_mangle)]
unsafe extern "C" fn clock_gettime(clock: clockid_t, out: *mut timespec) -> c_int {
    let since = match (turns(), clock) {
        (Some(turns), libc::CLOCK_MONOTONIC) => turns.now + SECOND,
        (Some(turns), libc::CLOCK_REALTIME) => turns.now + EPOCH * SECOND,
        // SAFETY: the caller's pointer, as libc requires.
        _ => {
            return result(unsafe { system(libc::SYS_clock_gettime, [clock as c_long, out as c_long, 0, 0, 0, 0]) })
                as c_int;
        }
    };
    // SAFETY: the caller's pointer, as libc requires.
    unsafe { *out = timespec { tv_sec: (since / SECOND) as i64, tv_nsec: (since % SECOND) as i64 } };
    0
}

#[unsafe(no_mangle)]
unsafe extern "C" fn syscall(
    number: c_long,
    a: c_long,
    b: c_long,
    c: c_long,
    d: c_long,
    e: c_long,
    f: c_long,
) -> c_long {
    let to_system = || result(unsafe { system(number, [a, b, c, d, e, f]) });
    let (libc::SYS_futex, Some(turns)) = (number, turns()) else { return to_system() };
    let flags = c_long::from(libc::FUTEX_PRIVATE_FLAG | libc::FUTEX_CLOCK_REALTIME);
    let address = a as usize;
    match (b & !flags) as c_int {
        operation @ (libc::FUTEX_WAIT | libc::FUTEX_WAIT_BITSET) => {
            // SAFETY: the caller's address of an atomic, as the system call requires.
            let value = unsafe { (*(a as *const AtomicU32)).load(Ordering::SeqCst) };
            if value != c as u32 {
                return fail(libc::EAGAIN);
            }
            // SAFETY: null, or the caller's pointer.
            let time = unsafe { (d as *const timespec).as_ref() }.map(nanos);
            let is_realtime = b & c_long::from(libc::FUTEX_CLOCK_REALTIME) != 0;
            let until = time.map(|time| match operation {
                libc::FUTEX_WAIT => turns.now.saturating_add(time),
                _ if is_realtime => time.saturating_sub(EPOCH * SECOND),
                _ => time.saturating_sub(SECOND),
            });
            if until.is_some_and(|until| until <= turns.now) {
                return fail(libc::ETIMEDOUT);
            }
            if wait(State::Address { address, until }) { fail(libc::ETIMEDOUT) } else { 0 }
        }
        libc::FUTEX_WAKE | libc::FUTEX_WAKE_BITSET => {
            let most = c.max(0) as usize;
            let woken = turns.wake(address, most);
            if woken < most {
                wake_system(address, (most - woken).min(c_int::MAX as usize) as c_int);
            }
            // Whoever wakes another may or may not run on first.
            if woken > 0 && turns.chance.below(2) == 0 {
                wait(State::Ready);
            }
            woken as c_long
        }
        _ => to_system(),
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn epoll_wait(epoll: c_int, events: *mut epoll_event, most: c_int, timeout: c_int) -> c_int {
    // `epoll_pwait` without a mask exists on every architecture.
    let ask = |timeout: c_int| {
        let args = [epoll as c_long, events as c_long, most as c_long, timeout as c_long, 0, 8];
        // SAFETY: the caller's buffer, as libc requires.
        result(unsafe { system(libc::SYS_epoll_pwait, args) }) as c_int
    };
    let Some(turns) = turns() else { return ask(timeout) };
    if timeout == 0 {
        wait(State::Ready);
        return ask(0);
    }
    let until = (timeout > 0).then(|| turns.now.saturating_add(timeout as u64 * MILLISECOND));
    wait(State::Events { epoll, until });
    ask(0)
}

#[unsafe(no_mangle)]
unsafe extern "C" fn sched_yield() -> c_int {
    match turns() {
        Some(_) => _ = wait(State::Ready),
        // SAFETY: a call without arguments.
        None => _ = unsafe { system(libc::SYS_sched_yield, [0; 6]) },
    }
    0
}

#[unsafe(no_mangle)]
unsafe extern "C" fn clock_nanosleep(
    clock: clockid_t,
    flags: c_int,
    time: *const timespec,
    left: *mut timespec,
) -> c_int {
    let Some(turns) = turns() else {
        let args = [clock as c_long, flags as c_long, time as c_long, left as c_long, 0, 0];
        // SAFETY: the caller's pointers, as libc requires.
        return -unsafe { system(libc::SYS_clock_nanosleep, args) } as c_int;
    };
    // SAFETY: the caller's pointer, as libc requires.
    let time = unsafe { nanos(&*time) };
    let is_absolute = flags & libc::TIMER_ABSTIME != 0;
    let until = if is_absolute { time.saturating_sub(SECOND) } else { turns.now.saturating_add(time) };
    wait(State::Deadline { until });
    0
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nanosleep(time: *const timespec, left: *mut timespec) -> c_int {
    // SAFETY: the caller's pointers, as libc requires.
    unsafe { clock_nanosleep(libc::CLOCK_MONOTONIC, 0, time, left) }
}

/// Constant numbers in the process of a run, so that its hash tables have the same order each time.
#[unsafe(no_mangle)]
unsafe extern "C" fn getrandom(buffer: *mut c_void, length: size_t, flags: c_uint) -> ssize_t {
    // SAFETY: a constant name.
    if unsafe { libc::getenv(SEED.as_ptr()) }.is_null() {
        let args = [buffer as c_long, length as c_long, flags as c_long, 0, 0, 0];
        // SAFETY: the caller's buffer, as libc requires.
        return result(unsafe { system(libc::SYS_getrandom, args) }) as ssize_t;
    }
    // SAFETY: the caller's buffer of this length, as libc requires.
    let bytes = unsafe { std::slice::from_raw_parts_mut(buffer.cast::<u8>(), length) };
    // The same for each thread, so that one more thread changes nothing.
    (0u8..=255).cycle().zip(bytes).for_each(|(n, byte)| *byte = n.wrapping_mul(151));
    length as ssize_t
}

type Routine = extern "C" fn(*mut c_void) -> *mut c_void;
type Create = unsafe extern "C" fn(*mut pthread_t, *const pthread_attr_t, Routine, *mut c_void) -> c_int;
type Join = unsafe extern "C" fn(pthread_t, *mut *mut c_void) -> c_int;

/// The function of libc that one of this file hides.
fn hidden(name: &CStr) -> *mut c_void {
    // SAFETY: a constant name.
    let found = unsafe { libc::dlsym(libc::RTLD_NEXT, name.as_ptr() as *const c_char) };
    assert!(!found.is_null(), "libc has no {name:?}");
    found
}

/// A thread that is about to start.
struct Start {
    number: usize,
    routine: Routine,
    argument: *mut c_void,
    /// Where it waits for its first turn.
    gate: &'static AtomicU32,
}

extern "C" fn run(start: *mut c_void) -> *mut c_void {
    // SAFETY: `pthread_create` below leaked it for this thread.
    let start = unsafe { Box::from_raw(start.cast::<Start>()) };
    stand_at(start.gate);
    ME.set(start.number);
    let returned = (start.routine)(start.argument);
    if ME.get() != 0 {
        end();
    }
    returned
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_create(
    thread: *mut pthread_t,
    attributes: *const pthread_attr_t,
    routine: Routine,
    argument: *mut c_void,
) -> c_int {
    // SAFETY: libc's function of this name has this type.
    let create = unsafe { std::mem::transmute::<*mut c_void, Create>(hidden(c"pthread_create")) };
    let Some(turns) = turns() else {
        // SAFETY: the caller's arguments.
        return unsafe { create(thread, attributes, routine, argument) };
    };
    let number = turns.start();
    let gate = turns.threads[number - 1].gate;
    let start = Box::into_raw(Box::new(Start { number, routine, argument, gate }));
    // SAFETY: the caller's arguments; the thread frees `start`.
    let returned = unsafe { create(thread, attributes, run, start.cast()) };
    assert_eq!(returned, 0, "no thread could be started");
    // SAFETY: filled in above.
    turns.threads[number - 1].handle = unsafe { *thread };
    returned
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_join(thread: pthread_t, returned: *mut *mut c_void) -> c_int {
    // SAFETY: libc's function of this name has this type.
    let join = unsafe { std::mem::transmute::<*mut c_void, Join>(hidden(c"pthread_join")) };
    if let Some(turns) = turns() {
        // Handles are reused once a thread has ended and was joined or detached.
        let number = turns.threads.iter().rposition(|known| known.handle == thread);
        if let Some(thread) = number {
            wait(State::End { thread });
        }
    }
    // SAFETY: the caller's arguments.
    unsafe { join(thread, returned) }
}
