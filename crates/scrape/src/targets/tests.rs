use pharos_config::{GlobalConfig, ScrapeConfig};

use super::*;

/// A checked section.
pub(crate) fn resolved(yaml: &str) -> ResolvedScrapeConfig {
    let config: ScrapeConfig = serde_saphyr::from_str(yaml).unwrap();
    config.validate(&GlobalConfig::default().resolve().unwrap()).unwrap()
}

/// A target `h:1` of a section.
pub(crate) fn target(config: &ResolvedScrapeConfig) -> Target {
    match populate(&Labels::from_pairs([("__address__", "h:1"), ("zone", "z")]), config).unwrap() {
        Populated::Active(target) => *target,
        Populated::Dropped(labels) => panic!("{labels} was dropped"),
    }
}

/// The target of these discovered labels; `None` when relabelling drops it.
fn populated(labels: &[(&str, &str)], yaml: &str) -> Result<Option<Target>, String> {
    match populate(&Labels::from_pairs(labels.iter().copied()), &resolved(yaml))? {
        Populated::Active(target) => Ok(Some(*target)),
        Populated::Dropped(_) => Ok(None),
    }
}

#[test]
fn labels_of_a_plain_target() {
    let target = populated(&[("__address__", "host:9100"), ("zone", "a"), ("__meta_x", "y")], "job_name: node")
        .unwrap()
        .unwrap();
    assert_eq!(target.labels.to_string(), r#"{instance="host:9100", job="node", zone="a"}"#);
    assert_eq!(target.url, "http://host:9100/metrics");
    assert_eq!(target.discovered().get("__scrape_interval__"), Some("1m"));
    assert_eq!(target.discovered().get("__meta_x"), Some("y"));
    assert_eq!(target.status().health, Health::Unknown);
}

#[test]
fn relabelling_can_change_every_part_of_a_target() {
    let yaml = "
job_name: blackbox
metrics_path: /probe
params: {module: [http_2xx], target: [default]}
relabel_configs:
  - {source_labels: [__address__], target_label: __param_target}
  - {source_labels: [__param_target], target_label: instance}
  - {target_label: __address__, replacement: 'blackbox:9115'}
  - {target_label: __scheme__, replacement: https}
  - {target_label: __scrape_interval__, replacement: 5s}
  - {target_label: __scrape_timeout__, replacement: 2s}
";
    let target = populated(&[("__address__", "https://a.example/?x=1")], yaml).unwrap().unwrap();
    assert_eq!(target.url, "https://blackbox:9115/probe?module=http_2xx&target=https%3A%2F%2Fa.example%2F%3Fx%3D1");
    assert_eq!(target.labels.get("instance"), Some("https://a.example/?x=1"));
    assert_eq!(target.interval, PromDuration::from_secs(5));
    assert_eq!(target.timeout, PromDuration::from_secs(2));
}

#[test]
fn labels_that_make_no_target_are_refused() {
    let rule = |rule: &str| format!("job_name: a\nrelabel_configs: [{rule}]");
    for (yaml, message) in [
        (rule("{target_label: __address__, replacement: ''}"), "no address"),
        (rule("{target_label: __address__, replacement: 'a/b'}"), "\"a/b\" is not a valid hostname"),
        (rule("{target_label: __scrape_interval__, replacement: 0s}"), "scrape interval cannot be 0"),
        (rule("{target_label: __scrape_interval__, replacement: x}"), "error parsing scrape interval"),
        (
            rule("{target_label: __scrape_timeout__, replacement: 2m}"),
            "scrape timeout cannot be greater than scrape interval (\"2m\" > \"1m\")",
        ),
        (
            rule("{target_label: __scrape_native_histograms__, replacement: x}"),
            "error parsing scrape native histograms",
        ),
    ] {
        let error = populated(&[("__address__", "a:1")], &yaml).err().unwrap();
        assert!(error.contains(message), "{error}");
    }
}

#[test]
fn relabelling_can_drop_a_target() {
    let yaml = "job_name: a\nrelabel_configs: [{action: drop, source_labels: [job], regex: a}]";
    assert!(populated(&[("__address__", "a:1")], yaml).unwrap().is_none());
}

#[test]
fn a_dropped_target_shows_its_discovered_labels() {
    let config = resolved("job_name: a\nrelabel_configs: [{action: drop, source_labels: [job], regex: a}]");
    match populate(&Labels::from_pairs([("__address__", "a:1")]), &config).unwrap() {
        Populated::Dropped(labels) => assert_eq!(labels.get("__metrics_path__"), Some("/metrics")),
        Populated::Active(target) => panic!("{} was kept", target.labels),
    }
}

#[test]
fn discovered_labels_win_over_the_configuration() {
    let labels = [("__address__", "a:1"), ("job", "own"), ("__scheme__", "https"), ("__metrics_path__", "/m")];
    let target = populated(&labels, "job_name: a").unwrap().unwrap();
    assert_eq!(target.url, "https://a:1/m");
    assert_eq!(target.labels.get("job"), Some("own"));
}

#[test]
fn an_instance_label_is_kept() {
    let target = populated(&[("__address__", "a:1"), ("instance", "i")], "job_name: a").unwrap().unwrap();
    assert_eq!(target.labels.get("instance"), Some("i"));
}

#[test]
fn the_shown_url_keeps_the_default_port() {
    let target = populated(&[("__address__", "a:80")], "job_name: a").unwrap().unwrap();
    assert_eq!(target.url, "http://a:80/metrics");
}

#[test]
fn targets_differ_by_labels_and_by_url() {
    let hash = |labels: &[(&str, &str)]| populated(labels, "job_name: a").unwrap().unwrap().hash;
    let plain = hash(&[("__address__", "a:1")]);
    assert_eq!(plain, hash(&[("__address__", "a:1")]));
    assert_ne!(plain, hash(&[("__address__", "a:1"), ("zone", "z")]));
    assert_ne!(plain, hash(&[("__address__", "a:1"), ("__metrics_path__", "/other")]));
}

#[test]
fn labels_set_the_handling_of_histograms() {
    let labels = [
        ("__address__", "a:1"),
        ("__scrape_native_histograms__", "true"),
        ("__always_scrape_classic_histograms__", "1"),
        ("__convert_classic_histograms_to_nhcb__", "T"),
    ];
    let target = populated(&labels, "job_name: a").unwrap().unwrap();
    assert!(target.native_histograms);
    assert!(target.always_classic_histograms);
    assert!(target.classic_to_nhcb);
}

#[test]
fn a_new_target_has_no_owner() {
    let target = populated(&[("__address__", "a:1")], "job_name: a").unwrap().unwrap();
    assert!(!target.is_owned());
    assert!(!target.set_owned(true), "the previous value");
    assert!(target.is_owned());
}
