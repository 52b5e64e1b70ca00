//! Runs promqltest scripts: our own, and those of the Prometheus project where they lie next to the checkout.
//!
//! Each file has a floor, the number of evaluations that must pass; files without one must pass completely.

use std::path::{Path, PathBuf};

use pharos_promql::engine::Engine;
use pharos_promql::promqltest::{Report, run_script};

/// Evaluations that must pass, of files that do not pass completely yet.
const FLOORS: &[(&str, usize)] = &[];

fn scripts(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let mut scripts: Vec<_> = paths.filter(|path| path.extension().is_some_and(|e| e == "test")).collect();
    scripts.sort();
    scripts
}

fn run(path: &Path) -> Report {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    run_script(&name, &text, &Engine::default())
}

#[allow(clippy::print_stdout, reason = "the report of the test")]
fn check(folder: &Path) {
    let (mut passed, mut failed, mut below) = (0, 0, Vec::new());
    for path in scripts(folder) {
        let report = run(&path);
        println!("{:32} {:5} passed {:5} failed", report.name, report.passed, report.failed.len());
        for failure in &report.failed {
            println!("    {}:{}: {}", report.name, failure.line, failure.message);
        }
        passed += report.passed;
        failed += report.failed.len();
        match FLOORS.iter().find(|(name, _)| *name == report.name) {
            Some((_, floor)) if report.passed < *floor => {
                below.push(format!("{} passes {}, not {floor}", report.name, report.passed))
            }
            None if !report.failed.is_empty() => below.push(format!("{} fails {}", report.name, report.failed.len())),
            _ => {}
        }
    }
    println!("{passed} passed, {failed} failed");
    assert!(below.is_empty(), "{}", below.join("; "));
}

#[test]
fn own_scripts() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts");
    assert!(!scripts(&folder).is_empty());
    check(&folder);
}

#[test]
fn scripts_of_prometheus() {
    check(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/promqltest/testdata"));
}
