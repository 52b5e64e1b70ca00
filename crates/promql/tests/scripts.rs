//! Runs promqltest scripts: those of this repository, one test a file, and those of the Prometheus project if they are at hand.
//!
//! Prometheus's scripts are an extra. They are looked for in the folder that `PHAROS_PROMQLTEST` names, else in
//! `shared/promqltest/testdata` beside the checkout; without them the test prints that it was skipped.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use pharos_promql::Engine;
use pharos_promql::promqltest::{Report, run_script};

/// The number of evaluations that the scripts of this repository must have at least.
const MIN_EVALUATIONS: usize = 1200;

/// Declares one test for each script, and the list of all of them.
macro_rules! scripts {
    ($($name:ident),* $(,)?) => {
        const SCRIPTS: &[&str] = &[$(stringify!($name)),*];

        $(#[test]
        fn $name() {
            assert_passes(&folder().join(concat!(stringify!($name), ".test")));
        })*
    };
}

scripts! {
    absent,
    aggregations,
    annotations,
    at_and_offset,
    classic_histograms,
    collisions,
    counters,
    duration_expressions,
    errors,
    extended_vectors,
    fill_modifiers,
    info,
    label_functions,
    literals,
    math_functions,
    name_dropping,
    native_histogram_operators,
    native_histograms,
    operators,
    over_time,
    range_queries,
    regressions,
    scalars,
    selections,
    selectors,
    set_operators,
    sorting,
    staleness,
    start_timestamps,
    subqueries,
    time_functions,
    trigonometry,
    type_and_unit_labels,
    utf8_names,
    vector_matching,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts")
}

/// The scripts in a folder, sorted by name; none when there is no such folder.
fn scripts_in(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let mut scripts: Vec<_> = paths.filter(|path| path.extension().is_some_and(|e| e == "test")).collect();
    scripts.sort();
    scripts
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn run(path: &Path) -> Report {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    run_script(&name, &read(path), &Engine::default())
}

/// The failures of a report, a line each: `file:line: what was wrong`.
fn failures(report: &Report) -> String {
    let lines = report.failed.iter().map(|failure| format!("{}:{}: {}", report.name, failure.line, failure.message));
    lines.collect::<Vec<_>>().join("\n")
}

fn assert_passes(path: &Path) {
    let report = run(path);
    assert!(report.failed.is_empty(), "{} evaluations failed:\n{}", report.failed.len(), failures(&report));
    assert!(report.passed > 0, "{} evaluates nothing", report.name);
}

#[test]
fn every_script_has_a_test() {
    let files: BTreeSet<_> = scripts_in(&folder())
        .iter()
        .filter_map(|path| Some(path.file_stem()?.to_string_lossy().into_owned()))
        .collect();
    let tests: BTreeSet<_> = SCRIPTS.iter().map(|name| (*name).to_string()).collect();
    assert_eq!(files, tests);
}

#[test]
fn the_scripts_evaluate_enough() {
    let evaluations = |path: &PathBuf| read(path).lines().filter(|line| line.starts_with("eval")).count();
    let total: usize = scripts_in(&folder()).iter().map(evaluations).sum();
    assert!(total >= MIN_EVALUATIONS, "{total} evaluations, there should be at least {MIN_EVALUATIONS}");
}

/// The identifiers of all evaluated lines.
fn evaluated_words() -> BTreeSet<String> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut words = BTreeSet::new();
    for path in scripts_in(&folder()) {
        for line in read(&path).lines().filter(|line| line.starts_with("eval")) {
            words.extend(line.split(|c| !is_word(c)).map(str::to_string));
        }
    }
    words
}

#[test]
fn every_function_occurs_in_the_scripts() {
    let words = evaluated_words();
    let missing: Vec<_> = pharos_promql::functions::Function::ALL
        .iter()
        .map(|f| f.name())
        .filter(|name| !words.contains(*name))
        .collect();
    assert!(missing.is_empty(), "not evaluated anywhere: {missing:?}");
}

#[test]
fn every_aggregation_occurs_in_the_scripts() {
    let words = evaluated_words();
    let aggregations = [
        "avg",
        "bottomk",
        "count",
        "count_values",
        "group",
        "limit_ratio",
        "limitk",
        "max",
        "min",
        "quantile",
        "stddev",
        "stdvar",
        "sum",
        "topk",
    ];
    let missing: Vec<_> = aggregations.into_iter().filter(|name| !words.contains(*name)).collect();
    assert!(missing.is_empty(), "not evaluated anywhere: {missing:?}");
}

#[test]
#[allow(clippy::print_stderr, reason = "a skipped test must say so")]
fn extra_scripts_of_prometheus_pass_if_present() {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/promqltest/testdata");
    let folder = std::env::var_os("PHAROS_PROMQLTEST").map_or(beside, PathBuf::from);
    let scripts = scripts_in(&folder);
    if scripts.is_empty() {
        eprintln!("SKIPPED: no scripts of Prometheus in {}; nothing of them was tested", folder.display());
        return;
    }
    let reports: Vec<_> = scripts.iter().map(|path| run(path)).collect();
    let failed: Vec<_> = reports.iter().filter(|report| !report.failed.is_empty()).map(failures).collect();
    let passed: usize = reports.iter().map(|report| report.passed).sum();
    eprintln!("{passed} evaluations of Prometheus's own scripts passed");
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}
