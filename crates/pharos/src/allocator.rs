//! The allocator on a small machine.
//!
//! mimalloc keeps freed memory for a second before it returns it to the system. Under load that is hundreds of megabytes, which no
//! account sees: in a container of 512 MB the process is killed. Returned sooner, memory costs queries about a quarter more time, so
//! only a small machine does so. mimalloc reads its options from the environment when the process is loaded, before any code of
//! ours, so the process sets this one and replaces itself with the same program.

use std::convert::Infallible;
use std::env;
use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

use crate::server::memory;

/// The memory below which freed memory is returned at once, bytes.
const SMALL: u64 = 2 << 30;

/// How long freed memory is kept, milliseconds.
const PURGE_DELAY: (&str, &str) = ("MIMALLOC_PURGE_DELAY", "10");

/// Makes the allocator return memory sooner if the machine or the cgroup has little of it, unless the environment says how long
/// it keeps it. Call this before anything is opened and any thread is started: the process starts again.
///
/// Errors: the program could not be run again; everything works without it.
pub fn suit_the_machine() -> io::Result<()> {
    if !is_due(memory::of_machine(), |name| env::var_os(name)) {
        return Ok(());
    }
    run_again().map(|never| match never {})
}

/// Whether memory is to be returned sooner than the environment says, where this much memory is there.
fn is_due(memory: Option<u64>, environment: impl Fn(&str) -> Option<OsString>) -> bool {
    memory.is_some_and(|bytes| bytes < SMALL) && environment(PURGE_DELAY.0).is_none()
}

fn run_again() -> io::Result<Infallible> {
    let mut arguments = env::args_os();
    let mut command = Command::new(env::current_exe()?);
    if let Some(name) = arguments.next() {
        command.arg0(name);
    }
    Err(command.args(arguments).env(PURGE_DELAY.0, PURGE_DELAY.1).exec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_small_machine_returns_memory_at_once() {
        let nothing = |_: &str| None;
        assert!(is_due(Some(SMALL - 1), nothing));
        assert!(!is_due(Some(SMALL), nothing));
        assert!(!is_due(None, nothing));
    }

    #[test]
    fn what_the_environment_sets_stays() {
        // The process that was started again goes on, too.
        assert!(!is_due(Some(1), |name| (name == PURGE_DELAY.0).then(|| OsString::from("1000"))));
    }
}
