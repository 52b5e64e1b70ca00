//! Which crate uses which, exactly as `cargo metadata` says, and that the edges point down the layers.
//!
//! A new edge is a decision: it is made in the `Cargo.toml` and in the table here. An edge that is no longer used leaves
//! both. No crate may be a catch-all.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

use crate::sources::root;

/// The layers, lowest first. A crate uses crates of lower layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Layer {
    /// Pure vocabulary without I/O.
    Vocabulary,
    /// Engines, which know nothing of the network, of Raft or of a role's configuration.
    Engine,
    /// Messages between nodes, and what the cluster agrees on.
    Cluster,
    /// What a configuration file says, and what follows from it.
    Configuration,
    /// Roles. They meet in the binary only; the frontend is two crates, of which `api` uses `querier`.
    Role,
    /// The program.
    Binary,
    /// Tests across crates, fuzz targets and measurements.
    Tests,
}

use Layer::{Binary, Cluster, Configuration, Engine, Role, Tests, Vocabulary};

/// A crate, its layer, the crates that it uses, and those that its tests depend on in addition or with other features.
type Row = (&'static str, Layer, &'static [&'static str], &'static [&'static str]);

/// Every crate of the workspace, without the prefix `pharos-`.
const TABLE: &[Row] = &[
    ("gocompat", Vocabulary, &[], &[]),
    ("histogram", Vocabulary, &["gocompat"], &[]),
    ("model", Vocabulary, &["gocompat", "histogram"], &[]),
    ("block", Engine, &["model"], &["histogram"]),
    ("head", Engine, &["gocompat", "model"], &[]),
    ("promql", Engine, &["gocompat", "histogram", "model"], &[]),
    ("rules", Engine, &["gocompat", "model", "promql"], &[]),
    ("transport", Cluster, &["model"], &[]),
    ("cluster", Cluster, &["model", "transport"], &["block"]),
    ("config", Configuration, &["gocompat", "model"], &[]),
    ("http-client", Configuration, &["config", "model"], &[]),
    ("discovery", Configuration, &["config", "http-client", "model"], &[]),
    ("notify", Configuration, &["config", "gocompat", "http-client"], &[]),
    (
        "scrape",
        Role,
        &["cluster", "config", "discovery", "gocompat", "histogram", "http-client", "model", "transport"],
        &[],
    ),
    ("ruler", Role, &["cluster", "config", "discovery", "http-client", "model", "promql", "rules", "transport"], &[]),
    ("receive", Role, &["config", "gocompat", "histogram", "model", "transport"], &[]),
    ("distributor", Role, &["cluster", "model", "transport"], &[]),
    ("ingester", Role, &["block", "cluster", "head", "model", "promql", "transport"], &[]),
    ("store", Role, &["block", "cluster", "model", "promql", "transport"], &["block"]),
    ("compactor", Role, &["cluster", "model"], &[]),
    ("querier", Role, &["cluster", "model", "promql", "transport"], &["testkit"]),
    ("web", Role, &[], &[]),
    ("alertmanager", Role, &["cluster", "config", "gocompat", "http-client", "model", "notify", "transport"], &[]),
    ("api", Role, &["gocompat", "histogram", "model", "promql", "querier", "transport"], &["testkit"]),
    (
        "pharos",
        Binary,
        &[
            "alertmanager",
            "api",
            "block",
            "cluster",
            "compactor",
            "config",
            "distributor",
            "gocompat",
            "head",
            "ingester",
            "model",
            "promql",
            "querier",
            "receive",
            "ruler",
            "rules",
            "scrape",
            "store",
            "transport",
            "web",
        ],
        &[],
    ),
    ("bench", Tests, &[], &[]),
    ("testkit", Tests, &["histogram", "model", "transport"], &[]),
    ("fuzz", Tests, &["block", "head", "model", "promql", "receive", "scrape", "transport"], &[]),
    (
        "tests",
        Tests,
        &[],
        &[
            "block",
            "cluster",
            "compactor",
            "distributor",
            "head",
            "ingester",
            "model",
            "promql",
            "querier",
            "ruler",
            "rules",
            "store",
            "testkit",
            "transport",
        ],
    ),
];

/// Edges between two roles.
const BETWEEN_ROLES: &[(&str, &str)] = &[("api", "querier")];

/// Names of crates that gather what has no place.
const NO_PLACE: &[&str] = &["common", "utils", "util", "shared", "misc", "helpers", "types", "core"];

/// What a crate uses of the workspace.
#[derive(Debug, Default, PartialEq, Eq)]
struct Uses {
    in_production: BTreeSet<String>,
    in_tests_only: BTreeSet<String>,
}

/// A name without the prefix of the workspace.
fn short(name: &str) -> String {
    name.strip_prefix("pharos-").unwrap_or(name).to_string()
}

fn metadata() -> BTreeMap<String, Uses> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--offline", "--no-deps", "--format-version=1", "--manifest-path"])
        .arg(root().join("Cargo.toml"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_string();
    let mut crates = BTreeMap::new();
    for package in metadata["packages"].as_array().unwrap() {
        let mut uses = Uses::default();
        for dependency in package["dependencies"].as_array().unwrap() {
            if dependency["path"].is_null() {
                continue;
            }
            let kind = match dependency["kind"] == "dev" {
                true => &mut uses.in_tests_only,
                false => &mut uses.in_production,
            };
            kind.insert(short(&text(&dependency["name"])));
        }
        crates.insert(short(&text(&package["name"])), uses);
    }
    crates
}

fn table() -> BTreeMap<String, Uses> {
    let set = |names: &[&str]| names.iter().map(|name| name.to_string()).collect();
    let row =
        |(name, _, uses, tests): &Row| (name.to_string(), Uses { in_production: set(uses), in_tests_only: set(tests) });
    TABLE.iter().map(row).collect()
}

/// Where two sets of crates differ, one line a crate.
fn differences(real: &BTreeMap<String, Uses>, table: &BTreeMap<String, Uses>) -> Vec<String> {
    let names: BTreeSet<&String> = real.keys().chain(table.keys()).collect();
    let differing = names.into_iter().filter(|name| real.get(*name) != table.get(*name));
    differing.map(|name| format!("{name}: cargo says {:?}, the table {:?}", real.get(name), table.get(name))).collect()
}

fn layer(name: &str) -> Layer {
    TABLE.iter().find(|(known, ..)| *known == name).map(|(_, layer, ..)| *layer).unwrap()
}

/// Whether a crate may use another.
fn may_use(name: &str, used: &str) -> bool {
    let (above, below) = (layer(name), layer(used));
    match above == below {
        true if above == Role => BETWEEN_ROLES.contains(&(name, used)),
        true => above != Engine || (name, used) == ("rules", "promql"),
        false => below < above,
    }
}

#[test]
fn the_table_is_what_cargo_says() {
    let differences = differences(&metadata(), &table());
    assert!(differences.is_empty(), "\n{}\n", differences.join("\n"));
}

#[test]
fn edges_point_down_the_layers() {
    for (name, _, uses, _) in TABLE {
        let wrong: Vec<_> = uses.iter().filter(|used| !may_use(name, used)).collect();
        assert!(wrong.is_empty(), "{name} of layer {:?} may not use {wrong:?}", layer(name));
    }
}

#[test]
fn vocabulary_and_engines_are_tested_without_the_cluster() {
    for (name, of, uses, tests) in TABLE.iter().filter(|(_, of, ..)| *of <= Engine) {
        let wrong: Vec<_> = uses.iter().chain(*tests).filter(|used| layer(used) >= Cluster).collect();
        assert!(wrong.is_empty() || wrong == [&"testkit"], "{name} of layer {of:?} uses {wrong:?}");
    }
}

#[test]
fn no_crate_gathers_what_has_no_place() {
    let names: Vec<String> = metadata().into_keys().filter(|name| NO_PLACE.contains(&name.as_str())).collect();
    assert_eq!(names, Vec::<String>::new());
}

#[test]
fn roles_do_not_use_each_other() {
    assert!(!may_use("store", "ingester"));
    assert!(may_use("api", "querier"));
    assert!(!may_use("querier", "api"));
}

#[test]
fn an_engine_uses_no_role_and_nothing_of_the_cluster() {
    assert!(!may_use("head", "ingester"));
    assert!(!may_use("promql", "cluster"));
    assert!(may_use("ingester", "head"));
}

#[test]
fn a_missing_and_a_superfluous_edge_are_differences() {
    let uses = |names: &[&str]| Uses {
        in_production: names.iter().map(|name| name.to_string()).collect(),
        in_tests_only: BTreeSet::new(),
    };
    let real = BTreeMap::from([("a".to_string(), uses(&["b", "c"])), ("new".to_string(), uses(&[]))]);
    let table = BTreeMap::from([("a".to_string(), uses(&["b"])), ("old".to_string(), uses(&[]))]);
    let found = differences(&real, &table);
    assert_eq!(found.len(), 3, "{found:?}");
    assert!(found[0].starts_with("a: cargo says"));
    assert!(found[1].starts_with("new: cargo says Some"));
    assert!(found[2].starts_with("old: cargo says None"));
}

#[test]
fn an_edge_that_only_tests_use_is_no_edge_of_production() {
    let mut tested = Uses::default();
    tested.in_tests_only.insert("b".to_string());
    let mut used = Uses::default();
    used.in_production.insert("b".to_string());
    assert_ne!(tested, used);
}
