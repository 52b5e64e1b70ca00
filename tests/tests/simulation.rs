//! The simulation: many seeds, each a run of a whole cluster with faults, and bugs that are put in on purpose and must be found.
//!
//! `PHAROS_SIM_SEEDS` says how many seeds (1000), `PHAROS_SIM_FROM` the first one, `PHAROS_SIM_SEED` which one to look at.

#![allow(clippy::unwrap_used, reason = "a test")]
#![allow(unreachable_pub, missing_docs, reason = "the modules of a test")]

#[path = "../sim/mod.rs"]
mod sim;

use sim::bugs::Bug;

fn from_environment(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn seeds_keep_every_invariant() {
    let first = from_environment("PHAROS_SIM_FROM").unwrap_or(0);
    let seeds = from_environment("PHAROS_SIM_SEEDS").unwrap_or(1000);
    let mut counts = std::collections::BTreeMap::<&str, u64>::new();
    let mut bad = Vec::new();
    for seed in first..first + seeds {
        let report = sim::run(seed, None, false);
        report.counts.iter().for_each(|(name, n)| *counts.entry(name).or_default() += n);
        bad.extend(report.violation.map(|violation| format!("seed {seed}: {violation}")));
    }
    eprintln!("{counts:#?}");
    assert!(bad.is_empty(), "{} of {seeds} seeds:\n{}", bad.len(), bad.join("\n"));
}

#[test]
fn a_seed_is_a_run() {
    for seed in 0..20 {
        let (one, other) = (sim::run(seed, None, false), sim::run(seed, None, true));
        assert_eq!((one.hash, one.violation), (other.hash, other.violation), "seed {seed}");
    }
}

#[test]
fn one_seed() {
    let seed = from_environment("PHAROS_SIM_SEED").unwrap_or(1);
    let report = sim::run(seed, None, true);
    if std::env::var_os("PHAROS_SIM_SEED").is_some() {
        eprintln!("{}\n{:#?}", report.lines.join("\n"), report.counts);
    }
    assert_eq!(report.violation, None, "seed {seed}");
}

/// Whether a seed finds a bug: that which did so when it was last looked at, then all others.
fn is_found(bug: Bug) -> bool {
    let seeds = from_environment("PHAROS_SIM_SEEDS").unwrap_or(1000);
    let mut order = [bug.seen_at()].into_iter().chain(0..seeds);
    order.any(|seed| sim::run(seed, Some(bug), false).violation.is_some())
}

#[test]
fn bugs_that_are_put_in_are_found() {
    let missed: Vec<Bug> = Bug::ALL.into_iter().filter(|bug| !is_found(*bug)).collect();
    assert!(missed.is_empty(), "{missed:?} were not found");
}
