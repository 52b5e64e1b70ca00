//! Dashboards and alerts about Pharos itself name only metrics that it has, by the generated reference.

use std::collections::BTreeSet;
use std::fs;

use crate::sources::root;

/// Folders whose files ask for metrics of Pharos.
const FOLDERS: [&str; 2] = ["deploy/dashboards", "deploy/mixin"];
/// How names of its metrics begin.
const PREFIXES: [&str; 4] = ["pharos_", "alertmanager_", "prometheus_", "process_"];
/// What a query adds to the name of a histogram or summary.
const SUFFIXES: [&str; 3] = ["_bucket", "_sum", "_count"];

/// The metrics of the reference, whose rows begin with a name in backticks.
fn known() -> BTreeSet<String> {
    let reference = fs::read_to_string(root().join("docs/src/reference/metrics.md")).unwrap();
    reference.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).map(str::to_string).collect()
}

/// The names of metrics that a text mentions.
fn mentioned(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| PREFIXES.iter().any(|prefix| word.starts_with(prefix))).collect()
}

fn exists(known: &BTreeSet<String>, name: &str) -> bool {
    known.contains(name) || SUFFIXES.iter().any(|s| name.strip_suffix(s).is_some_and(|name| known.contains(name)))
}

#[test]
fn dashboards_and_alerts_name_metrics_that_exist() {
    let known = known();
    assert!(known.len() > 100, "the reference is not where this test looks for it");
    let files = FOLDERS.iter().flat_map(|folder| fs::read_dir(root().join(folder)).unwrap());
    let (mut checked, mut unknown) = (0, Vec::new());
    for path in files.map(|file| file.unwrap().path()) {
        let text = fs::read_to_string(&path).unwrap();
        checked += mentioned(&text).len();
        let missing = mentioned(&text).into_iter().filter(|name| !exists(&known, name));
        unknown.extend(missing.map(|name| format!("{}: {name}", path.display())));
    }
    assert!(checked > 100, "only {checked} names were found");
    assert!(unknown.is_empty(), "\n{}\n", unknown.join("\n"));
}

#[test]
fn a_metric_that_was_renamed_is_found() {
    let known = BTreeSet::from(["pharos_a_seconds".to_string()]);
    let text = r#"{"expr": "rate(pharos_a_seconds_bucket{job=\"pharos\"}[5m]) + pharos_b_total"}"#;
    let missing: Vec<_> = mentioned(text).into_iter().filter(|name| !exists(&known, name)).collect();
    assert_eq!(missing, ["pharos_b_total"]);
}
