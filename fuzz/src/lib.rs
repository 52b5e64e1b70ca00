//! What hostile bytes are fed to, one module a target: `run` takes bytes and panics when a property does not hold, `seeds`
//! gives good inputs to begin from.
//!
//! Two drivers use them: libFuzzer (`fuzz_targets/`, by `cargo fuzz run <target>`), which is led by coverage, and
//! `mutate`, which needs nothing but a stable compiler. The allocator of both ends the process when an input makes it take
//! more memory than any input may.

use std::path::Path;

pub mod answers;
pub mod block;
pub mod exposition;
mod memory;
pub mod promql;
pub mod remote_write;
pub mod wal;

/// A target.
pub struct Target {
    /// Its name, also that of its folder of seeds.
    pub name: &'static str,
    /// Feeds it.
    pub run: fn(&[u8]),
    /// Good inputs.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// All targets.
pub const TARGETS: [Target; 6] = [
    Target { name: "exposition", run: exposition::run, seeds: exposition::seeds },
    Target { name: "remote_write", run: remote_write::run, seeds: remote_write::seeds },
    Target { name: "promql", run: promql::run, seeds: promql::seeds },
    Target { name: "wal", run: wal::run, seeds: wal::seeds },
    Target { name: "block", run: block::run, seeds: block::seeds },
    Target { name: "answers", run: answers::run, seeds: answers::seeds },
];

impl Target {
    /// Writes the seeds into a folder of their own below `folder`.
    pub fn write_seeds(&self, folder: &Path) -> std::io::Result<()> {
        let folder = folder.join(self.name);
        std::fs::create_dir_all(&folder)?;
        let write = |(number, seed)| std::fs::write(folder.join(format!("seed-{number:02}")), seed);
        (self.seeds)().into_iter().enumerate().try_for_each(write)
    }
}

/// Writes the seeds of a target below the folder that `FUZZ_WRITE_SEEDS` names, if it does, and ends.
pub fn write_seeds_if_asked(name: &str) {
    let Some(folder) = std::env::var_os("FUZZ_WRITE_SEEDS") else { return };
    let target = TARGETS.iter().find(|target| target.name == name);
    let written = target.map(|target| target.write_seeds(Path::new(&folder)));
    std::process::exit(if matches!(written, Some(Ok(()))) { 0 } else { 1 });
}
