//! Fuzz targets, one module each: `run` takes bytes and panics when a property does not hold, `seeds` returns valid inputs to
//! start from.
//!
//! There are two drivers: libFuzzer (`fuzz_targets/`, with `cargo fuzz run <target>`), which is guided by coverage, and
//! `mutate`, which needs nothing but a stable compiler. The allocator of both aborts the process when an input makes it use
//! more memory than any input may.

use std::path::Path;

pub mod answers;
pub mod block;
pub mod exposition;
mod memory;
pub mod promql;
pub mod remote_write;
pub mod wal;

/// A fuzz target.
pub struct Target {
    /// The name of the target and of its folder of seeds.
    pub name: &'static str,
    /// Runs one input.
    pub run: fn(&[u8]),
    /// Valid inputs.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// The targets, in the order in which `.ci/fuzz` runs them.
pub const TARGETS: [Target; 6] = [
    Target { name: "exposition", run: exposition::run, seeds: exposition::seeds },
    Target { name: "remote_write", run: remote_write::run, seeds: remote_write::seeds },
    Target { name: "promql", run: promql::run, seeds: promql::seeds },
    Target { name: "wal", run: wal::run, seeds: wal::seeds },
    Target { name: "block", run: block::run, seeds: block::seeds },
    Target { name: "answers", run: answers::run, seeds: answers::seeds },
];

impl Target {
    /// Writes the seeds to a subfolder of `folder` with the name of the target.
    pub fn write_seeds(&self, folder: &Path) -> std::io::Result<()> {
        let folder = folder.join(self.name);
        std::fs::create_dir_all(&folder)?;
        let write = |(number, seed)| std::fs::write(folder.join(format!("seed-{number:02}")), seed);
        (self.seeds)().into_iter().enumerate().try_for_each(write)
    }
}

/// Writes the seeds of a target to a subfolder of the folder named by `FUZZ_WRITE_SEEDS` and exits, if that variable is set.
pub fn write_seeds_if_asked(name: &str) {
    let Some(folder) = std::env::var_os("FUZZ_WRITE_SEEDS") else { return };
    let target = TARGETS.iter().find(|target| target.name == name);
    let written = target.map(|target| target.write_seeds(Path::new(&folder)));
    std::process::exit(if matches!(written, Some(Ok(()))) { 0 } else { 1 });
}
