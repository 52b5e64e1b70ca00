//! Valid configurations: defaults, inheritance, variables, further files, printing, limits.

use std::fs;

use pharos_model::TenantId;

use super::*;

fn load(text: &str) -> Loaded {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("prometheus.yml");
    fs::write(&file, text).unwrap();
    Config::load_with(&file, &|name| (name == "REGION").then(|| "eu-1".into())).unwrap()
}

#[test]
fn an_empty_file_has_all_defaults() {
    for text in ["", "# nothing\n\n", "---\n", "\u{feff}# bom\n", "{}\n", "global:\nscrape_configs:\n"] {
        let loaded = load(text);
        assert_eq!(loaded.config.global.scrape_interval, PromDuration::from_secs(60), "{text:?}");
        assert_eq!(loaded.config.global.scrape_timeout, PromDuration::from_secs(10));
        assert!(loaded.scrape.is_empty() && loaded.warnings.is_empty());
        assert_eq!(loaded.raw_text, text);
    }
}

#[test]
fn without_a_file_the_server_scrapes_itself() {
    let loaded = Config::without_file(9091).unwrap();
    assert_eq!(loaded.scrape.len(), 1);
    assert_eq!(loaded.scrape[0].job_name, "pharos");
    assert_eq!(loaded.scrape[0].scrape_interval, PromDuration::from_secs(15));
    assert_eq!(loaded.scrape[0].static_configs[0].targets, ["localhost:9091"]);
}

#[test]
fn a_typical_prometheus_file_loads() {
    let loaded = load(
        r#"
global:
  scrape_interval: 15s
  evaluation_interval: 15s
  external_labels:
    region: ${REGION}
    replica: "$NONE$$"
alerting:
  alertmanagers:
    - static_configs:
        - targets: ["alertmanager:9093"]
rule_files:
  - "first.rules"
scrape_configs:
  - job_name: prometheus
    static_configs:
      - targets: ["localhost:9090"]
        labels: {app: prometheus, version: 1.10}
  - job_name: node
    scrape_interval: 5s
    kubernetes_sd_configs:
      - role: node
    relabel_configs:
      - source_labels: [__address__]
        regex: "(.*):.*"
        target_label: host
remote_write:
  - url: http://user:pw@mimir:8080/api/v1/push
    basic_auth: {username: me, password: hunter2}
    queue_config: {max_shards: 5}
storage:
  tsdb:
    out_of_order_time_window: 30m
"#,
    );
    let labels = &loaded.config.global.external_labels;
    assert_eq!((labels["region"].as_str(), labels["replica"].as_str()), ("eu-1", "$"));
    assert_eq!(loaded.scrape[0].scrape_timeout, PromDuration::from_secs(10));
    assert_eq!(loaded.scrape[0].static_configs[0].labels["version"], "1.10");
    assert_eq!(loaded.scrape[1].scrape_timeout, PromDuration::from_secs(5));
    assert_eq!(
        loaded.config.limits.of_tenant(&TenantId::default()).out_of_order_time_window,
        PromDuration::from_secs(1800)
    );
    assert_eq!(
        loaded.warnings,
        [
            "global.external_labels: the environment variable \"NONE\" is empty or not set",
            "remote_write has no effect: samples are not forwarded yet",
            "scrape job \"node\": kubernetes_sd_configs has no effect: not supported yet",
        ]
    );
    let yaml = loaded.config.to_yaml();
    for part in ["password: <secret>", "xxxxx@mimir", "scrape_timeout: 5s", "max_shards: 5", "capacity: 10000"] {
        assert!(yaml.contains(part), "{part} is not in\n{yaml}");
    }
    assert!(!yaml.contains("hunter2") && !yaml.contains(":pw@"), "{yaml}");
}

#[test]
fn no_secret_is_printed() {
    let text = "
scrape_configs:
- job_name: a
  basic_auth: {username: u, password: hunter2}
  proxy_url: http://u:hunter2@proxy:1
  tls_config: {cert: c, key: hunter2}
  http_headers: {X-Key: {secrets: [hunter2]}}
  http_sd_configs:
  - {url: 'http://u:hunter2@sd/x', authorization: {credentials: hunter2}}
- job_name: b
  bearer_token: hunter2
- job_name: c
  oauth2: {client_id: i, client_secret: hunter2, token_url: 'http://x'}
  consul_sd_configs: [{server: x, token: hunter2}]
alerting:
  alertmanagers:
  - {basic_auth: {username: u, password: hunter2}, static_configs: [{targets: [a:1]}]}
remote_write:
- {url: 'http://u:hunter2@w/x', authorization: {credentials: hunter2}}
- {url: 'http://w/y', sigv4: {access_key: a, secret_key: hunter2}}
- {url: 'http://w/z', bearer_token: hunter2, proxy_url: 'http://u:hunter2@p:1'}
remote_read:
- {url: 'http://r/x', basic_auth: {username: u, password: hunter2}, http_headers: {X-Key: {secrets: [hunter2]}}}
object_store: {type: s3, bucket: b, endpoint: 'http://s3', access_key: hunter2-id, secret_key: hunter2}
";
    let loaded = load(text);
    let yaml = loaded.config.to_yaml();
    assert!(!yaml.contains("hunter2"), "{yaml}");
    for part in ["access_key: <secret>", "secret_key: <secret>", "bearer_token: <secret>", "xxxxx@proxy", "xxxxx@sd"] {
        assert!(yaml.contains(part), "{part} is not in\n{yaml}");
    }
    let debug = format!("{:?}", loaded.config.object_store);
    assert!(!debug.contains("hunter2"), "{debug}");
    assert!(!loaded.warnings.join("\n").contains("hunter2"));
}

#[test]
fn a_printed_configuration_loads_again() {
    let first = load(
        "scrape_configs:\n- job_name: a\n  static_configs: [{targets: [b:1]}]\n  body_size_limit: 1MB\n\
         limits: {max_head_memory: 4GB, overrides: {team-a: {max_series: 5}}}\nremote_read: [{url: 'http://x'}]\nobject_store: {type: s3, bucket: b, prefix: p}\n",
    );
    let second = load(&first.config.to_yaml());
    assert_eq!(first.config, second.config);
}

#[test]
fn overrides_apply_to_their_tenant_only() {
    let loaded = load(
        "limits:\n  defaults: {max_series: 100, max_labels: 30}\n  overrides:\n    team-a: {max_series: 0}\n    \
         team-b: {out_of_order_time_window: 1d}\nstorage: {exemplars: {max_exemplars: 7}}\n",
    );
    let of = |name: &str| loaded.config.limits.of_tenant(&TenantId::new(name).unwrap());
    assert_eq!((of("x").max_series, of("x").max_labels, of("x").max_exemplars), (100, 30, 7));
    assert_eq!((of("team-a").max_series, of("team-a").max_labels), (0, 30));
    assert_eq!(of("team-b").out_of_order_time_window, PromDuration::from_secs(86_400));
    assert_eq!(of("team-a").out_of_order_time_window, PromDuration::from_secs(7200));
}

#[test]
fn the_section_otlp_reaches_the_receiver() {
    let loaded = load("otlp: {promote_resource_attributes: [' a '], translation_strategy: NoTranslation}\n");
    assert_eq!(loaded.otlp.promote_resource_attributes, ["a"]);
    assert_eq!(loaded.otlp.translation_strategy, pharos_config::TranslationStrategy::NoTranslation);
    assert_eq!(load("").otlp, pharos_config::OtlpConfig::default());
}

#[test]
fn scrape_config_files_are_relative_to_the_main_file() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    write("p.yml", "scrape_config_files: ['more_*.yml', none.yml]\nscrape_configs: [{job_name: a}]\n");
    write("more_2.yml", "scrape_configs: [{job_name: c}]\n");
    write("more_1.yml", "scrape_configs:\n- job_name: b\n  basic_auth: {username: u, password_file: pw}\n");
    let loaded = Config::load(&folder.path().join("p.yml")).unwrap();
    let jobs: Vec<&str> = loaded.scrape.iter().map(|section| section.job_name.as_str()).collect();
    assert_eq!(jobs, ["a", "b", "c"]);
    let password_file = loaded.scrape[1].http.basic_auth.as_ref().unwrap().password_file.clone().unwrap();
    assert_eq!(password_file, folder.path().join("pw"));
    assert_eq!(loaded.warnings, ["scrape_config_files[1]: no file matches \"none.yml\""]);

    write("more_2.yml", "# a comment\nscrape_configs: [{job_name: b}]\n");
    let error = Config::load(&folder.path().join("p.yml")).unwrap_err().to_string();
    let folder = format!("{}/", folder.path().display());
    assert_eq!(
        error.replace(&folder, ""),
        "more_2.yml:2:29: scrape_configs[0].job_name: \"b\" is already the name of scrape_configs[0] of more_1.yml"
    );
}

#[test]
fn rule_files_are_read_once_and_their_mistakes_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    write("p.yml", "rule_files: ['*.rules', a.rules, none.rules]\n");
    write("a.rules", "groups: [{name: g, rules: [{record: r, expr: up}]}]\n");
    write("b.rules", "");
    let load = || Config::load(&folder.path().join("p.yml"));
    let loaded = load().unwrap();
    let shown = |file: &std::sync::Arc<RuleFile>| {
        let name = file.path.rsplit('/').next().unwrap_or_default().to_string();
        format!("{name}: {}", file.groups.groups.len())
    };
    assert_eq!(loaded.rules.iter().map(shown).collect::<Vec<_>>(), ["a.rules: 1", "b.rules: 0"]);
    assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);

    write("b.rules", "groups:\n- name: g\n  rules:\n  - {record: r, expr: 'up +'}\n  - {record: '', expr: up}\n");
    let error = load().unwrap_err().to_string();
    let lines: Vec<&str> = error.lines().collect();
    assert!(lines[0].contains("b.rules: 4:") && lines[0].contains("could not parse expression"), "{error}");
    assert!(lines[1].contains("one of 'record' or 'alert' must be set"), "{error}");
}

#[test]
fn the_section_alerting_is_checked_and_its_files_are_relative_to_the_main_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("p.yml");
    let text = "alerting:\n  alertmanagers:\n  - {path_prefix: am, timeout: 5s, sigv4: {}, basic_auth: {username: u, password_file: pw}}\n";
    fs::write(&file, text).unwrap();
    let loaded = Config::load(&file).unwrap();
    let [section] = &loaded.alerting.alertmanagers[..] else { panic!("one entry") };
    assert_eq!((section.path.as_str(), section.timeout), ("/am/api/v2/alerts", PromDuration::from_secs(5)));
    let password_file = section.http.basic_auth.as_ref().unwrap().password_file.clone().unwrap();
    assert_eq!(password_file, folder.path().join("pw"));
    assert_eq!(loaded.warnings, ["alerting.alertmanagers[0]: sigv4 has no effect: not supported yet"]);
}
