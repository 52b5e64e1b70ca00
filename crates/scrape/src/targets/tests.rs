use super::*;
use pharos_config::{GlobalConfig, ScrapeConfig};

pub(crate) fn resolved(yaml: &str) -> ResolvedScrapeConfig {
    let config: ScrapeConfig = serde_saphyr::from_str(yaml).unwrap();
    config.validate(&GlobalConfig::default().resolve().unwrap()).unwrap()
}

fn target(labels: &[(&str, &str)], yaml: &str) -> Result<Option<Target>, String> {
    match populate(&Labels::from_pairs(labels.iter().copied()), &resolved(yaml))? {
        Populated::Active(target) => Ok(Some(*target)),
        Populated::Dropped(_) => Ok(None),
    }
}

#[test]
fn labels_of_a_plain_target() {
    let target =
        target(&[("__address__", "host:9100"), ("zone", "a"), ("__meta_x", "y")], "job_name: node").unwrap().unwrap();
    assert_eq!(target.labels.to_string(), r#"{instance="host:9100", job="node", zone="a"}"#);
    assert_eq!(target.url, "http://host:9100/metrics");
    assert_eq!(target.discovered.get("__scrape_interval__"), Some("1m"));
    assert_eq!(target.discovered.get("__meta_x"), Some("y"));
    assert_eq!(target.status().health, Health::Unknown);
}

#[test]
fn relabelling_may_change_everything() {
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
    let target = target(&[("__address__", "https://a.example/?x=1")], yaml).unwrap().unwrap();
    assert_eq!(target.url, "https://blackbox:9115/probe?module=http_2xx&target=https%3A%2F%2Fa.example%2F%3Fx%3D1");
    assert_eq!(target.labels.get("instance"), Some("https://a.example/?x=1"));
    assert_eq!((target.interval.as_millis(), target.timeout.as_millis()), (5000, 2000));
}

#[test]
fn targets_that_are_none() {
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
        let error = target(&[("__address__", "a:1")], &yaml).err().unwrap();
        assert!(error.contains(message), "{error}");
    }
    let dropped = target(&[("__address__", "a:1")], &rule("{action: drop, source_labels: [job], regex: a}"));
    assert!(dropped.unwrap().is_none());
}
