//! Clusters in one process, which controls their threads and their time, under faults that a seed draws. Everything that
//! decides is production code; there are two worlds.
//!
//! **Storage: nothing acknowledged is lost.** Several nodes run the production `Ingester` with its `Head` over a [`disk`] in
//! memory, a [`network`] between them, a bucket ([`objects`]) and clocks of their own ([`env`]). They follow the cluster state
//! through the production client of [`meta`], which is the real state machine with real heartbeats and placement. [`client`]s
//! write through the production `Distributor` and delete. [`plan`] draws what goes wrong, [`world`] makes it happen. [`model`]
//! is what clients know, and [`invariants`] compare it with what memory and [`blocks`] hold.
//!
//! **Rulers: each slot of a group of rules is evaluated once**; see [`rulers`]. The simulation of scrapes is beside their code,
//! in `pharos-scrape`.
//!
//! [`threads`] makes all of it deterministic, and each run has a [`process`] of its own.
//!
//! `PHAROS_SIM_SEEDS` sets the number of seeds and `PHAROS_SIM_FROM` the first one. To look at one seed:
//! `PHAROS_SIM_SEED=17 cargo test -p pharos-tests --test simulation one_seed -- --nocapture`; with `PHAROS_SIM_WORLD=rulers` it is
//! one of the rulers. [`bugs`] are planted to show that the invariants find them.

#![allow(clippy::unwrap_used, reason = "a test")]
#![allow(unreachable_pub, missing_docs, reason = "the modules of a test")]

mod blocks;
mod bugs;
mod client;
mod disk;
mod env;
mod invariants;
mod meta;
mod model;
mod network;
mod node;
mod objects;
mod plan;
mod process;
mod rulers;
mod threads;
mod world;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use bugs::Bug;
use env::Ms;

/// Number of shards of the cluster.
const SHARDS: u32 = 3;
/// Number of series.
const SERIES: u32 = 6;
/// Width of a window at the start.
const WINDOW_MS: i64 = 20_000;
/// How far a sample may lag behind the newest of its tenant.
const OUT_OF_ORDER_MS: i64 = 40_000;
/// Time for which flushed samples stay in memory.
const GRACE: Duration = Duration::from_secs(10);
/// Time after which a node forgets a replica that moved away.
const FORGET_AFTER: Duration = Duration::from_secs(25);
/// Wall-clock time of the start, which is also the start of a window.
const BASE_MS: i64 = 1_700_000_000_000;
/// Time without a heartbeat after which a member is down.
const LEASE_MS: Ms = 6000;
/// Time after which the replicas of a node that is down move to other nodes.
const REPLACE_MS: Ms = 15_000;
/// Time after which a command is applied again at the latest.
const LONGEST_REPEAT_MS: Ms = 20_000;
/// Interval at which all invariants are checked.
const CHECK_INTERVAL_MS: Ms = 1000;
/// Virtual time from which faults occur.
const CHAOS_FROM_MS: Ms = 6000;
/// Virtual time at which all faults are repaired.
const CHAOS_UNTIL_MS: Ms = 70_000;
/// Virtual time at which clients stop writing.
const WRITES_UNTIL_MS: Ms = 80_000;
/// Virtual time by which the cluster must have settled.
const SETTLE_UNTIL_MS: Ms = 400_000;

/// The themes of which no seed is known to break an invariant: all of them. `PHAROS_SIM_THEMES` sets others, separated by
/// commas.
const HELD: &str = "all";

/// What is simulated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum World {
    Storage,
    Rulers,
}

impl World {
    /// The one that `PHAROS_SIM_WORLD` names.
    fn from_environment() -> World {
        match std::env::var("PHAROS_SIM_WORLD") {
            Ok(name) if name == World::Rulers.name() => World::Rulers,
            _ => World::Storage,
        }
    }

    fn name(self) -> &'static str {
        match self {
            World::Storage => "storage",
            World::Rulers => "rulers",
        }
    }
}

fn from_environment(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// What every other test runs in processes of its own.
#[test]
fn a_run() {
    process::run_if_asked();
}

/// Runs many seeds and prints what has happened in them.
fn every_seed_holds(world: World, usual: u64) {
    let first = from_environment("PHAROS_SIM_FROM").unwrap_or(1);
    let seeds = from_environment("PHAROS_SIM_SEEDS").unwrap_or(usual);
    let (counts, bad) = (Mutex::new(BTreeMap::<String, u64>::new()), Mutex::new(BTreeMap::new()));
    process::run_all(world, first, seeds, None, |seed, outcome| {
        let mut counts = counts.lock().unwrap();
        outcome.counts.iter().for_each(|(name, n)| *counts.entry(name.clone()).or_default() += n);
        if let Some(violation) = outcome.violation {
            eprintln!("seed {seed}: {violation}");
            bad.lock().unwrap().insert(seed, violation);
        }
        true
    });
    eprintln!("{:#?}", counts.lock().unwrap());
    let bad = bad.into_inner().unwrap();
    assert!(bad.is_empty(), "{} of {seeds} seeds: {:?}", bad.len(), bad.keys());
}

#[test]
fn nothing_acknowledged_is_lost() {
    every_seed_holds(World::Storage, 200);
}

/// Seeds beyond the usual ones that have shown faults.
const FOUND: [u64; 15] = [361, 592, 716, 817, 1014, 1223, 1471, 3663, 3666, 4436, 5194, 5591, 6335, 6947, 6967];

#[test]
fn seeds_that_have_shown_faults_hold() {
    for seed in FOUND {
        assert_eq!(process::run(World::Storage, seed, None, false).violation, None, "seed {seed}");
    }
}

#[test]
fn every_slot_of_a_group_of_rules_is_evaluated_once() {
    every_seed_holds(World::Rulers, 200);
}

#[test]
fn a_seed_determines_a_run() {
    let seeds = from_environment("PHAROS_SIM_SEEDS").unwrap_or(10).min(100);
    for world in [World::Storage, World::Rulers] {
        for seed in 1..=seeds {
            let run = || process::run(world, seed, None, false);
            assert_eq!(run(), run(), "seed {seed}");
        }
    }
}

#[test]
fn one_seed() {
    let seed = from_environment("PHAROS_SIM_SEED").unwrap_or(1);
    let is_verbose = std::env::var_os("PHAROS_SIM_SEED").is_some();
    let outcome = process::run(World::from_environment(), seed, None, is_verbose);
    if is_verbose {
        eprintln!("{:#?}", outcome.counts);
    }
    assert_eq!(outcome.violation, None, "seed {seed}");
}

#[test]
fn planted_bugs_are_found() {
    // None of these breaks an invariant without a bug.
    let seeds = from_environment("PHAROS_SIM_SEEDS").unwrap_or(40).min(40);
    for bug in Bug::ALL {
        let found = Mutex::new(None);
        process::run_all(bug.world(), 1, seeds, Some(bug), |seed, outcome| {
            let is_found = outcome.violation.is_some();
            if let Some(violation) = outcome.violation {
                eprintln!("{bug:?} is found by seed {seed}: {violation}");
                found.lock().unwrap().get_or_insert(seed);
            }
            !is_found
        });
        assert_ne!(found.into_inner().unwrap(), None, "{bug:?} is not found by {seeds} seeds");
    }
}
