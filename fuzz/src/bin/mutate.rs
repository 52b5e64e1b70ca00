//! The plain driver: runs a target on seeds and on random mutants of them, where libFuzzer cannot be built.
//!
//! `mutate run <target> <seconds> <folder>…` runs a target on the files of folders and on mutants of them. An input that
//! fails is left in `artifacts/<target>/`. `mutate seeds <folder>` writes the seeds of all targets. `mutate write <target> <count>
//! <folder>…` writes mutants to the standard output, each after its length (four bytes, little endian), for those who send them to a
//! server. `FUZZ_SEED` seeds the random generator of the mutants.

#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a tool for developers: it uses the real clock and panics when something is wrong"
)]

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use pharos_fuzz::{TARGETS, Target};

/// The time limit of an input.
const MAX_DURATION: Duration = Duration::from_secs(10);
/// The size limit of a mutant, in bytes.
const MAX_INPUT_BYTES: usize = 64 << 10;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match &args[..] {
        ["seeds", folder] => write_seeds(Path::new(folder)),
        ["run", target, seconds, folders @ ..] => {
            let target = TARGETS.iter().find(|t| t.name == *target);
            match (target, seconds.parse()) {
                (Some(target), Ok(seconds)) => drive(target, Duration::from_secs(seconds), folders),
                _ => usage(),
            }
        }
        ["write", target, count, folders @ ..] => {
            let target = TARGETS.iter().find(|t| t.name == *target);
            match (target, count.parse()) {
                (Some(target), Ok(count)) => write_mutants(target, count, folders),
                _ => usage(),
            }
        }
        _ => usage(),
    }
}

fn usage() -> ExitCode {
    let names: Vec<&str> = TARGETS.iter().map(|t| t.name).collect();
    let names = names.join("|");
    eprintln!(
        "usage: mutate run {{{names}}} <seconds> <folder>... | mutate write {{{names}}} <count> <folder>... | mutate seeds <folder>"
    );
    ExitCode::FAILURE
}

fn write_seeds(folder: &Path) -> ExitCode {
    match TARGETS.iter().try_for_each(|target| target.write_seeds(folder)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}: {error}", folder.display());
            ExitCode::FAILURE
        }
    }
}

/// The seeds of a target, and the files of folders.
fn inputs(target: &Target, folders: &[&str]) -> Vec<Vec<u8>> {
    let mut inputs = (target.seeds)();
    for folder in folders {
        let files = std::fs::read_dir(folder).into_iter().flatten().flatten();
        let mut paths: Vec<_> = files.map(|file| file.path()).collect();
        paths.sort();
        inputs.extend(paths.into_iter().filter_map(|path| std::fs::read(path).ok()));
    }
    inputs
}

fn write_mutants(target: &Target, count: usize, folders: &[&str]) -> ExitCode {
    let (inputs, mut random) = (inputs(target, folders), Random::from_environment());
    let mut out = std::io::stdout().lock();
    for _ in 0..count {
        let mutant = random.mutant(&inputs);
        let length = u32::try_from(mutant.len()).unwrap_or(u32::MAX).to_le_bytes();
        if out.write_all(&length).and_then(|()| out.write_all(&mutant)).is_err() {
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

fn drive(target: &Target, time: Duration, folders: &[&str]) -> ExitCode {
    let inputs = inputs(target, folders);
    let began = Instant::now();
    for input in &inputs {
        run(target, input);
    }
    let mut random = Random::from_environment();
    let mut runs = inputs.len();
    while began.elapsed() < time {
        let input = random.mutant(&inputs);
        run(target, &input);
        runs += 1;
    }
    println!("{}: {runs} inputs in {:.1} s", target.name, began.elapsed().as_secs_f64());
    ExitCode::SUCCESS
}

/// Runs one input. The input is on disk meanwhile, so that it survives an abort.
fn run(target: &Target, input: &[u8]) {
    let folder = Path::new("artifacts").join(target.name);
    let saved = folder.join("running");
    std::fs::create_dir_all(&folder).and_then(|()| std::fs::write(&saved, input)).expect("artifacts can be written");
    let began = Instant::now();
    (target.run)(input);
    let took = began.elapsed();
    assert!(took < MAX_DURATION, "an input took {took:?}; it is in {}", saved.display());
    std::fs::remove_file(&saved).expect("the file was written");
}

/// A xorshift generator: a seed always yields the same mutants.
struct Random(u64);

impl Random {
    /// The generator of `FUZZ_SEED`.
    fn from_environment() -> Self {
        let seed: u64 = std::env::var("FUZZ_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
        Random(0x9e37_79b9_7f4a_7c15 ^ seed << 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }

    fn mutant(&mut self, inputs: &[Vec<u8>]) -> Vec<u8> {
        let mut input = inputs[self.below(inputs.len())].clone();
        for _ in 0..1 << self.below(5) {
            let other = &inputs[self.below(inputs.len())];
            self.change(&mut input, other);
        }
        input.truncate(MAX_INPUT_BYTES);
        input
    }

    fn change(&mut self, input: &mut Vec<u8>, other: &[u8]) {
        const EXTREMES: [u64; 8] = [0, 1, 0x7f, 0xff, 0x7fff_ffff, 0xffff_ffff, i64::MAX as u64, u64::MAX];
        let at = self.below(input.len());
        if input.is_empty() {
            input.push(self.next() as u8);
            return;
        }
        match self.below(8) {
            0 => input[at] ^= 1 << self.below(8),
            1 => input[at] = self.next() as u8,
            2 => drop(input.remove(at)),
            3 => input.insert(at, self.next() as u8),
            4 => input.truncate(at),
            5 => {
                let bytes = EXTREMES[self.below(EXTREMES.len())].to_le_bytes();
                let end = (at + (1 << self.below(4))).min(input.len());
                input[at..end].copy_from_slice(&bytes[..end - at]);
            }
            6 => {
                let end = at + self.below(input.len() - at).min(256);
                let piece = input[at..end].to_vec();
                let to = self.below(input.len());
                input.splice(to..to, piece);
            }
            _ => {
                let from = self.below(other.len());
                let piece = other[from..(from + self.below(256)).min(other.len())].to_vec();
                let end = (at + self.below(64)).min(input.len());
                input.splice(at..end, piece);
            }
        }
    }
}
