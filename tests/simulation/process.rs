//! Each run has a process of its own: it controls the time and the threads of the whole process, and nothing that an earlier
//! run has left behind may change a later one.

use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::bugs::Bug;
use crate::env::Outcome;
use crate::{HELD, World, rulers, threads, world};

/// The variables that tell a process what to run.
const WORLD: &str = "PHAROS_SIM_WORLD";
const SEED: &str = "PHAROS_SIM_RUN";
const BUG: &str = "PHAROS_SIM_BUG";
const VERBOSE: &str = "PHAROS_SIM_VERBOSE";
/// The themes that runs may have, separated by commas.
const THEMES: &str = "PHAROS_SIM_THEMES";
/// The line of the output with the outcome begins with this.
const MARK: &str = "OUTCOME ";
/// Real time after which a run has gone wrong.
const LIMIT: Duration = Duration::from_secs(120);

/// The test that is a run when the variables say so.
pub(crate) fn run_if_asked() {
    let Some(seed) = std::env::var(SEED).ok().and_then(|seed| seed.parse().ok()) else { return };
    let world = World::from_environment();
    let bug = std::env::var(BUG).ok().and_then(|name| Bug::from_name(&name));
    let themes = std::env::var(THEMES).unwrap_or_else(|_| HELD.to_string());
    let is_enabled = |theme: &str| themes == "all" || themes.split(',').any(|enabled| enabled == theme);
    let is_verbose = std::env::var_os(VERBOSE).is_some();
    // In real time, since it does not take part.
    std::thread::spawn(|| {
        std::thread::sleep(LIMIT);
        eprintln!("the run takes longer than {LIMIT:?}");
        std::process::exit(3);
    });
    if is_verbose {
        // In another thread, so that the hash tables of this one are as they are without logs.
        _ = std::thread::spawn(show_logs).join();
    }
    threads::begin(seed);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let outcome = match runtime {
        Ok(runtime) => runtime.block_on(async {
            match world {
                World::Storage => world::run(seed, bug, is_enabled, is_verbose).await,
                World::Rulers => rulers::run(seed, bug, is_verbose).await,
            }
        }),
        Err(error) => Outcome { violation: Some(error.to_string()), ..Outcome::default() },
    };
    let line = json!({ "hash": outcome.hash, "violation": outcome.violation, "counts": outcome.counts });
    _ = writeln!(std::io::stdout(), "\n{MARK}{line}");
    // Other threads wait for turns that never come.
    std::process::exit(0);
}

/// Prints the logs of the production code.
fn show_logs() {
    use tracing_subscriber::EnvFilter;
    let filter = EnvFilter::try_from_env("PHAROS_SIM_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false);
    logs.without_time().init();
}

/// Runs a seed in a process of its own.
pub(crate) fn run(world: World, seed: u64, bug: Option<Bug>, is_verbose: bool) -> Outcome {
    match try_run(world, seed, bug, is_verbose) {
        Ok(outcome) => outcome,
        Err(error) => Outcome { violation: Some(error), ..Outcome::default() },
    }
}

fn try_run(world: World, seed: u64, bug: Option<Bug>, is_verbose: bool) -> Result<Outcome, String> {
    let program = std::env::current_exe().map_err(|e| e.to_string())?;
    let mut command = Command::new(program);
    command.args(["--exact", "a_run", "--nocapture", "--test-threads=1"]).env(SEED, seed.to_string());
    command.env(WORLD, world.name());
    if let Some(bug) = bug {
        command.env(BUG, format!("{bug:?}"));
    }
    if is_verbose {
        command.env(VERBOSE, "1");
    }
    let stderr = if is_verbose { Stdio::inherit() } else { Stdio::piped() };
    let output = command.stdin(Stdio::null()).stderr(stderr).output().map_err(|e| e.to_string())?;
    let (text, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let line = text.lines().find_map(|line| line.strip_prefix(MARK));
    let line = line.ok_or_else(|| format!("the run ended with {}: {}", output.status, last_lines(&errors)))?;
    let outcome: Value = serde_json::from_str(line).map_err(|e| e.to_string())?;
    let counts = outcome["counts"].as_object().into_iter().flatten();
    Ok(Outcome {
        hash: outcome["hash"].as_u64().unwrap_or_default(),
        violation: outcome["violation"].as_str().map(str::to_string),
        counts: counts.map(|(name, n)| (name.clone(), n.as_u64().unwrap_or_default())).collect(),
    })
}

fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(12)..].join("\n")
}

/// Runs seeds on all cores and passes each outcome on as it comes.
pub(crate) fn run_all(
    world: World,
    first: u64,
    seeds: u64,
    bug: Option<Bug>,
    each: impl Fn(u64, Outcome) -> bool + Sync,
) {
    let next = AtomicU64::new(first);
    let workers = std::thread::available_parallelism().map_or(2, |n| n.get());
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + seeds || !each(seed, run(world, seed, bug, false)) {
                        next.store(u64::MAX / 2, Ordering::Relaxed);
                        return;
                    }
                }
            });
        }
    });
}
