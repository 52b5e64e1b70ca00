//! Configurations that Prometheus takes or refuses, one for each kind in its own test data. `docs/src/migration.md` lists the
//! intended differences.

use std::fs;

use super::*;

fn load(text: &str) -> Result<Loaded, String> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("p.yml");
    fs::write(&file, text).unwrap();
    Config::load_with(&file, &|_| None).map_err(|error| error.to_string())
}

fn in_job(rest: &str) -> String {
    format!("scrape_configs:\n- job_name: a\n  {rest}\n")
}

#[test]
fn what_prometheus_takes_is_taken() {
    for text in [
        in_job("sample_limit: 1e3"),
        in_job("metrics_path: null\n  sample_limit:\n  honor_labels: ~"),
        in_job("basic_auth: {username: null, password: x}"),
        "storage: {tsdb: {chunk_encoding: {floats: xor2}}}\n".into(),
        "remote_write:\n- url: localhost:9090\n  convert_nhcb_to_classic: true\n".into(),
        "global: {query_max_series: 1e6, query_max_samples_read: 5, query_max_duration: 45s}\n".into(),
        "global:\n  scrape_interval: null\n".into(),
    ] {
        if let Err(error) = load(&text) {
            panic!("{text}{error}");
        }
    }
}

#[test]
fn a_field_that_is_null_has_its_default() {
    let loaded = load(&in_job("metrics_path: ~\n  enable_compression: null\n  sample_limit: 1e3")).unwrap();
    let section = &loaded.config.scrape_configs[0];
    assert_eq!(section.metrics_path, "/metrics");
    assert!(section.enable_compression);
    assert_eq!(section.sample_limit, 1000);
}

#[test]
fn what_prometheus_refuses_is_refused() {
    for (text, mention) in [
        (in_job("static_configs: [null]"), "empty or null section in static_configs"),
        (in_job("static_configs:\n  -"), "empty or null section in static_configs"),
        (in_job("static_configs: [{targets: ['']}]"), "not a valid hostname"),
        (in_job("static_configs: [{targets: ['http://x']}]"), "not a valid hostname"),
        (in_job("sample_limit: 1.5"), "a non-negative integer"),
        (in_job("sample_limit: '5'"), "a non-negative integer"),
        (
            "global: {metric_name_validation_scheme: legacy}\notlp: {translation_strategy: NoTranslation}\n".into(),
            "NoTranslation is not allowed",
        ),
        ("storage: {tsdb: {chunk_encoding: {floats: XOR}}}\n".into(), "must be xor, xor2 or omitted"),
        ("alerting: {alert_relabel_configs: [null]}\n".into(), "relabelling rule is empty"),
        ("alerting: {alertmanagers: [{relabel_configs: [null]}]}\n".into(), "relabelling rule is empty"),
        ("remote_write: [{url: 'http://x', queue_config: {capacity: 0}}]\n".into(), "capacity: must be positive"),
        (
            "remote_write: [{url: 'http://x', queue_config: {min_shards: 9, max_shards: 5}}]\n".into(),
            "min_shards: must not be greater than max_shards",
        ),
        ("remote_read: [{url: 'http://x', headers: {Host: a}}]\n".into(), "headers.Host: a reserved header"),
        ("remote_write: [{url: 'http://x', headers: {authorization: a}}]\n".into(), "fields for credentials"),
        ("tracing: {endpoint: 'x:1', headers: {User-Agent: a}}\n".into(), "headers.User-Agent: a reserved header"),
        ("global: {query_max_series: -1}\n".into(), "a non-negative integer"),
    ] {
        let error = load(&text).err().unwrap_or_else(|| panic!("taken: {text}"));
        assert!(error.contains(mention), "{text}{error}");
    }
}
