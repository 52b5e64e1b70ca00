//! The rules of the house that `cargo metadata` can see: which crate may depend on which, and that there is no crate for
//! whatever has no place. The table is that of the architecture; a new edge is a decision, made here and there.

#![allow(clippy::unwrap_used, reason = "a test that cannot read the workspace shall fail loudly")]

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

/// What each crate may use. Roles never use each other; engines (block, head, promql) know nothing of the network.
const MAY_USE: &[(&str, &[&str])] = &[
    ("gocompat", &[]),
    ("histogram", &["gocompat"]),
    ("model", &["gocompat", "histogram"]),
    ("block", &["model"]),
    ("head", &["gocompat", "model", "block"]),
    ("promql", &["gocompat", "histogram", "model"]),
    ("transport", &["model"]),
    ("cluster", &["model", "transport"]),
    ("config", &["gocompat", "model"]),
    ("http-client", &["config"]),
    ("discovery", &["model", "config", "http-client"]),
    ("scrape", &["gocompat", "histogram", "model", "transport", "cluster", "config", "discovery", "http-client"]),
    ("receive", &["gocompat", "histogram", "model", "transport", "config"]),
    ("distributor", &["model", "transport", "cluster"]),
    ("ingester", &["model", "transport", "cluster", "head", "block", "promql"]),
    ("store", &["model", "transport", "cluster", "block", "promql"]),
    ("compactor", &["model", "transport", "cluster", "block"]),
    ("querier", &["model", "transport", "cluster", "promql"]),
    ("api", &["gocompat", "histogram", "model", "transport", "querier", "promql"]),
    ("rules", &["gocompat", "model", "promql"]),
    ("alertmanager", &["model", "transport", "cluster", "promql"]),
    // A load generator judges from outside.
    ("bench", &[]),
];

/// What tests of any crate may use besides, to have something real to work with.
const TESTS_MAY_USE: &[&str] = &["histogram", "model", "block", "head", "promql", "transport", "cluster"];

/// The binary, the tests across crates and the fuzz targets use everything.
const MAY_USE_ALL: &[&str] = &["pharos", "pharos-fuzz", "pharos-tests"];

/// Names of crates that gather what has no place.
const NO_PLACE: &[&str] = &["common", "utils", "util", "shared", "misc", "helpers", "types", "core"];

/// A crate of the workspace and what it uses of the workspace: (name, whether only its tests do).
type Edges = BTreeMap<String, BTreeSet<(String, bool)>>;

fn workspace() -> Edges {
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml");
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--offline", "--no-deps", "--format-version=1", "--manifest-path", manifest])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_string();
    let is_ours = |dependency: &&Value| !dependency["path"].is_null();
    let edge = |dependency: &Value| (text(&dependency["name"]), dependency["kind"] == "dev");
    let edges =
        |package: &Value| package["dependencies"].as_array().unwrap().iter().filter(is_ours).map(edge).collect();
    packages.iter().map(|package| (text(&package["name"]), edges(package))).collect()
}

/// What breaks the rules, one line an offence.
fn offences(workspace: &Edges) -> Vec<String> {
    let mut offences = Vec::new();
    for (name, edges) in workspace {
        let short = name.strip_prefix("pharos-").unwrap_or(name);
        if NO_PLACE.contains(&short) {
            offences.push(format!("{name}: each crate owns its things, there is no crate for the rest"));
        }
        if MAY_USE_ALL.contains(&name.as_str()) {
            continue;
        }
        let Some((_, allowed)) = MAY_USE.iter().find(|(known, _)| *known == short) else {
            offences.push(format!("{name}: not in the table of crates"));
            continue;
        };
        for (used, only_in_tests) in edges {
            let used = used.strip_prefix("pharos-").unwrap_or(used);
            let fine = allowed.contains(&used) || (*only_in_tests && TESTS_MAY_USE.contains(&used));
            if !fine {
                offences.push(format!("{name} may not depend on {used}, only on {allowed:?}"));
            }
        }
    }
    offences
}

#[test]
fn crates_depend_only_on_what_the_architecture_allows() {
    let workspace = workspace();
    assert!(workspace.contains_key("pharos") && workspace.contains_key("pharos-model"), "{workspace:?}");
    let offences = offences(&workspace);
    assert!(offences.is_empty(), "\n{}\n", offences.join("\n"));
}

#[test]
fn offences_are_found() {
    let edges = |used: &[(&str, bool)]| used.iter().map(|(name, dev)| (name.to_string(), *dev)).collect();
    let workspace = Edges::from([
        ("pharos".to_string(), edges(&[("pharos-scrape", false)])),
        (
            "pharos-scrape".to_string(),
            edges(&[("pharos-store", false), ("pharos-model", false), ("pharos-head", true)]),
        ),
        ("pharos-querier".to_string(), edges(&[("pharos-store", true)])),
        ("pharos-utils".to_string(), edges(&[])),
    ]);
    let found = offences(&workspace);
    assert_eq!(found.len(), 4, "{found:?}");
    assert!(found[0].starts_with("pharos-scrape may not depend on store"));
    assert!(found[1].starts_with("pharos-querier may not depend on store"));
    assert!(found[2].contains("there is no crate for the rest") && found[3].contains("not in the table"));
}
