//! The allocator on a small machine.
//!
//! mimalloc keeps freed memory for a second before it returns it to the system. Under load that is hundreds of megabytes, which no
//! account sees: in a container of 512 MB the process is killed. Returned sooner, memory costs queries about a quarter more time, so
//! only a small machine does so. mimalloc reads its options from the environment when the process is loaded, before any code of
//! ours, so the process sets them and replaces itself with the same program.

use std::convert::Infallible;
use std::env;
use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

use crate::server::memory;

/// The memory below which freed memory is returned at once, bytes.
const SMALL: u64 = 2 << 30;

/// Freed memory is returned after 10 ms, and memory that no allocation needs yet is not committed.
const SETTINGS: [(&str, &str); 2] = [("MIMALLOC_PURGE_DELAY", "10"), ("MIMALLOC_ARENA_EAGER_COMMIT", "0")];

/// Makes the allocator return memory sooner if the machine or the cgroup has little of it. Settings that the environment already
/// has stay as they are. Call it before anything is opened and any thread is started: the process starts again.
///
/// Errors: the program could not be run again; everything works without it.
pub fn suit_the_machine() -> io::Result<()> {
    match settings_for(memory::of_machine(), |name| env::var_os(name)) {
        settings if settings.is_empty() => Ok(()),
        settings => run_again(&settings).map(|never| match never {}),
    }
}

/// What the environment lacks where this much memory is there.
fn settings_for(
    memory: Option<u64>,
    environment: impl Fn(&str) -> Option<OsString>,
) -> Vec<(&'static str, &'static str)> {
    if memory.is_none_or(|bytes| bytes >= SMALL) {
        return Vec::new();
    }
    SETTINGS.into_iter().filter(|(name, _)| environment(name).is_none()).collect()
}

fn run_again(settings: &[(&str, &str)]) -> io::Result<Infallible> {
    let mut arguments = env::args_os();
    let mut command = Command::new(env::current_exe()?);
    if let Some(name) = arguments.next() {
        command.arg0(name);
    }
    Err(command.args(arguments).envs(settings.iter().copied()).exec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_small_machine_returns_memory_at_once() {
        let nothing = |_: &str| None;
        assert_eq!(settings_for(Some(SMALL - 1), nothing), SETTINGS);
        assert_eq!(settings_for(Some(SMALL), nothing), []);
        assert_eq!(settings_for(None, nothing), []);
    }

    #[test]
    fn what_the_environment_sets_stays() {
        let delay = |name: &str| (name == "MIMALLOC_PURGE_DELAY").then(|| OsString::from("1000"));
        assert_eq!(settings_for(Some(1), delay), [("MIMALLOC_ARENA_EAGER_COMMIT", "0")]);
        // The process that was started again has them all, so it goes on.
        assert_eq!(settings_for(Some(1), |_| Some(OsString::new())), []);
    }
}
