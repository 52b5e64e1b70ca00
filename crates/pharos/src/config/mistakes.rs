//! Mistakes in configuration files and their exact messages.

use std::fs;

use super::*;

fn error_of(bytes: &[u8]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("p.yml");
    fs::write(&file, bytes).unwrap();
    let error = match Config::load_with(&file, &|_| None) {
        Ok(_) => "no error".to_string(),
        Err(error) => error.to_string(),
    };
    error.replace(&format!("{}/", folder.path().display()), "")
}

/// Reports all differences at once, so that a changed text costs one run.
fn check(cases: &[(&str, &str)]) {
    let wrong: Vec<String> = cases
        .iter()
        .map(|(text, expected)| (text, expected, error_of(text.as_bytes())))
        .filter(|(_, expected, found)| found != *expected)
        .map(|(text, expected, found)| format!("---\n{text}\nexpected: {expected}\n   found: {found}\n"))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.concat());
}

const JOB: &str = "scrape_configs:\n- job_name: a\n  ";

fn job(rest: &str) -> String {
    format!("{JOB}{rest}\n")
}

#[test]
fn unknown_fields_and_wrong_types_are_named() {
    let cases: Vec<(String, &str)> = vec![
        ("scrap_configs: []\n".into(), "p.yml:1:1: scrap_configs: unknown field, did you mean \"scrape_configs\"?"),
        ("zzz: 1\n".into(), "p.yml:1:1: zzz: unknown field"),
        ("tenants: {a: {rules: []}}\n".into(), "p.yml:1:15: tenants.a.rules: unknown field"),
        (
            job("scrape_intervall: 1s"),
            "p.yml:3:3: scrape_configs[0].scrape_intervall: unknown field, did you mean \"scrape_interval\"?",
        ),
        (job("basic_auth: {user: x}"), "p.yml:3:16: scrape_configs[0].basic_auth.user: unknown field"),
        (
            job("static_configs: [{target: [x]}]"),
            "p.yml:3:21: scrape_configs[0].static_configs[0].target: unknown field, did you mean \"targets\"?",
        ),
        ("global: 5\n".into(), "p.yml:1:9: global: expected fields (a mapping)"),
        ("global: [1]\n".into(), "p.yml:1:9: global: expected fields (a mapping)"),
        ("scrape_configs: {a: b}\n".into(), "p.yml:1:17: scrape_configs: expected a list"),
        (job("honor_labels: maybe"), "p.yml:3:17: scrape_configs[0].honor_labels: expected true or false"),
        (
            job("sample_limit: many"),
            "p.yml:3:3: scrape_configs[0].sample_limit: expected a non-negative integer, found string \"many\"",
        ),
        (
            job("sample_limit: -1"),
            "p.yml:3:3: scrape_configs[0].sample_limit: expected a non-negative integer, found integer `-1`",
        ),
        (job("params: {a: b}"), "p.yml:3:15: scrape_configs[0].params.a: expected a list"),
        (job("job_name: b"), "p.yml:3:3: \"job_name\" is set twice"),
        ("rule_files: [{}]\n".into(), "p.yml:1:14: rule_files[0]: expected a single value"),
        ("scrape_configs:\n- job_name:\n".into(), "p.yml:2:3: scrape_configs[0]: job_name is missing or empty"),
        (
            "otlp: {translation_strategy: None}\n".into(),
            "p.yml:1:30: otlp.translation_strategy: unknown value \"None\"; expected one of UnderscoreEscapingWithSuffixes, UnderscoreEscapingWithoutSuffixes, NoUTF8EscapingWithSuffixes, NoTranslation",
        ),
        (
            "runtime: {log_level: loud}\n".into(),
            "p.yml:1:22: runtime.log_level: unknown value \"loud\"; expected one of debug, info, warn, error",
        ),
        (
            "object_store:\n  type: s3\n  bucket: b\n  regio: x\n".into(),
            "p.yml:4:3: object_store.regio: unknown field, did you mean \"region\"?",
        ),
        (
            "object_store: {type: gcs}\n".into(),
            "p.yml:1:16: object_store.type: unknown value \"gcs\"; expected one of filesystem, s3",
        ),
        ("object_store: {type: s3}\n".into(), "p.yml:1:1: object_store: field \"bucket\" is missing"),
        (
            "limits: {defaults: {max_serie: 1}}\n".into(),
            "p.yml:1:21: limits.defaults.max_serie: unknown field, did you mean \"max_series\"?",
        ),
    ];
    let cases: Vec<(&str, &str)> = cases.iter().map(|(text, expected)| (text.as_str(), *expected)).collect();
    check(&cases);
}

#[test]
fn invalid_values_are_named() {
    let cases: Vec<(String, &str)> = vec![
        (
            "global:\n  scrape_interval: 15\n".into(),
            "p.yml:2:20: global.scrape_interval: not a valid duration string: \"15\"",
        ),
        (
            job("scrape_timeout: 1x"),
            "p.yml:3:19: scrape_configs[0].scrape_timeout: unknown unit \"x\" in duration \"1x\"",
        ),
        (
            job("honor_labels: 'true'"),
            "p.yml:3:17: scrape_configs[0].honor_labels: expected true or false, found the string \"true\"; remove the quotes",
        ),
        (
            job("static_configs: [{targets: ['a:1'], labels: {a: \"1\", b: 'true'}}]\n  honor_timestamps: \"false\""),
            "p.yml:4:21: scrape_configs[0].honor_timestamps: expected true or false, found the string \"false\"; remove the quotes",
        ),
        (
            job("native_histogram_min_bucket_factor: '1.1'"),
            "p.yml:3:39: scrape_configs[0].native_histogram_min_bucket_factor: expected a number, found the string \"1.1\"; remove the quotes",
        ),
        (
            job("sample_limit: \"10\""),
            "p.yml:3:3: scrape_configs[0].sample_limit: expected a non-negative integer, found string \"10\"",
        ),
        (job("scrape_timeout: ''"), "p.yml:3:19: scrape_configs[0].scrape_timeout: empty duration string"),
        (job("body_size_limit: 5"), "p.yml:3:20: scrape_configs[0].body_size_limit: units: unknown unit  in 5"),
        ("limits: {max_head_memory: lots}\n".into(), "p.yml:1:27: limits.max_head_memory: units: invalid lots"),
        (
            job("scrape_protocols: [Text]"),
            "p.yml:3:22: scrape_configs[0].scrape_protocols[0]: unknown scrape protocol Text, supported: [OpenMetricsText0.0.1 OpenMetricsText1.0.0 OpenMetricsText2.0.0 PrometheusProto PrometheusText0.0.4 PrometheusText1.0.0]",
        ),
        (
            job("relabel_configs: [{action: replaces}]"),
            "p.yml:3:30: scrape_configs[0].relabel_configs[0].action: unknown relabel action \"replaces\"",
        ),
        (
            job("relabel_configs: [{regex: '('}]"),
            "p.yml:3:29: scrape_configs[0].relabel_configs[0].regex: error parsing regexp: missing closing ): `^(?s:()$`",
        ),
        (
            job("relabel_configs: [{action: replace, regex: x}]"),
            "p.yml:3:30: scrape_configs[0].relabel_configs[0].action: relabel configuration for replace action requires 'target_label' value",
        ),
        (job("relabel_configs: [null]"), "p.yml:3:21: scrape_configs[0].relabel_configs[0]: relabelling rule is empty"),
        (
            job("metric_relabel_configs:\n  - action: drop\n  - action: hashmod\n    target_label: x"),
            "p.yml:5:5: scrape_configs[0].metric_relabel_configs[1]: relabel configuration for hashmod requires non-zero modulus",
        ),
        (
            job("static_configs: [{targets: ['http://x/y']}]"),
            "p.yml:3:31: scrape_configs[0].static_configs[0].targets[0]: \"http://x/y\" is not a valid hostname",
        ),
        (
            job("file_sd_configs: [{files: [a.txt]}]"),
            "p.yml:3:30: scrape_configs[0].file_sd_configs[0].files[0]: path name \"a.txt\" is not valid for file discovery",
        ),
        (
            job("bearer_token: a\n  bearer_token_file: b"),
            "p.yml:3:17: scrape_configs[0].bearer_token: at most one of bearer_token & bearer_token_file must be configured",
        ),
        (
            "global: {external_labels: {'': x}}\n".into(),
            "p.yml:1:28: global.external_labels.: \"\" is not a valid label name",
        ),
    ];
    let cases: Vec<(&str, &str)> = cases.iter().map(|(text, expected)| (text.as_str(), *expected)).collect();
    check(&cases);
}

#[test]
fn fields_that_contradict_each_other_are_named() {
    check(&[
        (
            "global: {scrape_interval: 5s, scrape_timeout: 6s}\n",
            "p.yml:1:47: global.scrape_timeout: global scrape timeout greater than scrape interval",
        ),
        (
            "scrape_configs:\n- job_name: a\n  scrape_timeout: 2m\n",
            "p.yml:3:19: scrape_configs[0].scrape_timeout: scrape timeout greater than scrape interval for scrape config with job name \"a\"",
        ),
        (
            "scrape_configs:\n- job_name: a\n- job_name: b\n- job_name: a\n",
            "p.yml:4:13: scrape_configs[2].job_name: \"a\" is already the name of scrape_configs[0] of p.yml",
        ),
        ("scrape_configs:\n- metrics_path: /x\n", "p.yml:2:3: scrape_configs[0]: job_name is missing or empty"),
        ("scrape_configs:\n- \n", "p.yml:2:3: scrape_configs[0]: job_name is missing or empty"),
        ("scrape_configs:\n- job_name: ''\n", "p.yml:2:3: scrape_configs[0]: job_name is missing or empty"),
        (
            "rule_files: ['a*/b.yml']\n",
            "p.yml:1:14: rule_files[0]: invalid file pattern \"a*/b.yml\": '*' is only allowed in the last part",
        ),
        (
            "scrape_config_files: ['*/b.yml']\n",
            "p.yml:1:23: scrape_config_files[0]: invalid file pattern \"*/b.yml\": '*' is only allowed in the last part",
        ),
        ("remote_write:\n- name: x\n", "p.yml:2:3: remote_write[0]: url is missing or empty"),
        ("remote_write:\n- url: 'a b'\n", "p.yml:2:8: remote_write[0].url: not a URL"),
        (
            "remote_write:\n- {url: 'http://a', name: x}\n- {url: 'http://b', name: x}\n",
            "p.yml:3:27: remote_write[1].name: \"x\" is already the name of remote_write[0]",
        ),
        (
            "remote_write:\n- {url: 'http://a', protobuf_message: x}\n",
            "p.yml:2:39: remote_write[0].protobuf_message: must be prometheus.WriteRequest or io.prometheus.write.v2.Request",
        ),
        (
            "remote_write:\n- {url: 'http://a', queue_config: {shards: 1}}\n",
            "p.yml:2:36: remote_write[0].queue_config.shards: unknown field",
        ),
        ("remote_read:\n- read_recent: true\n", "p.yml:2:3: remote_read[0]: url is missing or empty"),
        (
            "alerting: {alertmanagers: [{api_version: v1}]}\n",
            "p.yml:1:42: alerting.alertmanagers[0].api_version: api_version must be v2",
        ),
        (
            "alerting: {alertmanagers: [{scheme: ftp}]}\n",
            "p.yml:1:37: alerting.alertmanagers[0].scheme: scheme must be http or https",
        ),
        ("tracing: {insecure: true}\n", "p.yml:1:10: tracing: endpoint is missing or empty"),
        (
            "tracing: {endpoint: x, sampling_fraction: 2}\n",
            "p.yml:1:43: tracing.sampling_fraction: must be between 0 and 1",
        ),
        ("tracing: {endpoint: x, client_type: udp}\n", "p.yml:1:37: tracing.client_type: must be http or grpc"),
        (
            "storage: {tsdb: {retention: {percentage: 101}}}\n",
            "p.yml:1:42: storage.tsdb.retention.percentage: must be between 0 and 100",
        ),
        (
            "limits: {overrides: {a/b: {}}}\n",
            "p.yml:1:27: limits.overrides.a/b: tenant \"a/b\" contains the unsupported character '/'",
        ),
        (
            "otlp: {promote_all_resource_attributes: true, promote_resource_attributes: [a]}\n",
            "p.yml:1:41: otlp.promote_all_resource_attributes: 'promote_all_resource_attributes' and 'promote_resource_attributes' cannot be configured simultaneously",
        ),
    ]);
}

#[test]
fn broken_yaml_is_located() {
    check(&[
        ("global:\n\tscrape_interval: 5s\n", "p.yml:2:2: tabs cannot indent YAML; use spaces"),
        ("global: {scrape_interval: 5s\n", "p.yml:1:9: unclosed bracket '{'"),
        ("global:\n  a: 1\n b: 2\n", "p.yml:2:3: a: unknown field"),
        ("scrape_configs:\n- job_name: \"a\n", "p.yml:3:1: invalid indentation in multiline quoted scalar"),
        ("global: *nowhere\n", "p.yml:1:9: alias references unknown anchor"),
        ("global: {}\n---\nglobal: {}\n", "p.yml:3:1: a file may hold only one YAML document"),
        ("- a\n- b\n", "p.yml:1:1: expected fields (a mapping)"),
        ("just text\n", "p.yml:1:1: expected fields (a mapping)"),
    ]);
}

#[test]
fn invalid_utf8_is_located() {
    assert_eq!(error_of(b"global:\n  a: \xff\n"), "p.yml:2:6: not UTF-8 text");
    assert_eq!(error_of(b"# \xc3\xa4\xff"), "p.yml:1:4: not UTF-8 text");
}

#[test]
fn unreadable_files_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let missing = Config::load(&folder.path().join("x.yml")).unwrap_err().to_string();
    assert!(missing.ends_with("x.yml: cannot read file: No such file or directory (os error 2)"), "{missing}");
    let is_folder = Config::load(folder.path()).unwrap_err().to_string();
    assert!(is_folder.ends_with(": cannot read file: Is a directory (os error 21)"), "{is_folder}");
}

#[test]
fn yaml_bombs_are_refused() {
    let mut laughs = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..12 {
        let items = vec![format!("*a{}", level - 1); 10].join(", ");
        laughs.push_str(&format!("a{level}: &a{level} [{items}]\n"));
    }
    laughs.push_str("rule_files: *a11\n");
    let deep = format!("global: {}\n", "[".repeat(100_000));
    let nested = (0..10_000).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect::<String>();
    let list_bomb =
        format!("rule_files: &r [{}]\nscrape_config_files: [{}]\n", "x, ".repeat(1000), "*r, ".repeat(1000));
    for text in [laughs, deep, nested, list_bomb] {
        let error = error_of(text.as_bytes());
        assert!(error.starts_with("p.yml:") && error.len() < 300, "{error}");
    }
    let sparse = tempfile::NamedTempFile::new().unwrap();
    sparse.as_file().set_len(1 << 40).unwrap();
    let error = Config::load(sparse.path()).unwrap_err().to_string();
    assert!(error.ends_with(": file is larger than 32 MiB"), "{error}");
}

proptest::proptest! {
    #[test]
    fn no_text_panics(text in "[a-z_:\\- \n\\[\\]{}&*'\"|>#!%@\t]{0,200}") {
        error_of(text.as_bytes());
    }

    #[test]
    fn no_truncated_file_panics(cut in 0usize..170) {
        let text = "global: {scrape_interval: 15s}\nscrape_configs:\n- job_name: a\n  relabel_configs:\n  - {source_labels: [x], target_label: y}\n\
                    remote_write: [{url: 'http://x'}]\n";
        error_of(&text.as_bytes()[..cut.min(text.len())]);
    }
}
