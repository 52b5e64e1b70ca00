use super::*;

fn scrape(yaml: &str) -> Result<ScrapeConfig, String> {
    serde_saphyr::from_str(yaml).map_err(|e| e.to_string())
}

fn validated(yaml: &str) -> Result<ResolvedScrapeConfig, String> {
    let global = GlobalConfig::default().resolve().unwrap();
    scrape(yaml)?.validate(&global).map_err(|e| e.to_string())
}

#[test]
fn defaults_are_those_of_prometheus() {
    let config = validated("job_name: node\nstatic_configs: [{targets: ['localhost:9100']}]").unwrap();
    assert_eq!(config.scrape_interval, PromDuration::from_secs(60));
    assert_eq!(config.scrape_timeout, PromDuration::from_secs(10));
    assert_eq!((config.metrics_path.as_str(), config.scheme.as_str()), ("/metrics", "http"));
    assert!(config.honor_timestamps && config.enable_compression && !config.honor_labels);
    assert!(config.http.follow_redirects && config.http.enable_http2);
    assert_eq!(config.protocols, ScrapeProtocol::DEFAULT);
    assert_eq!((config.validation, config.escaping), (ValidationScheme::Utf8, EscapingScheme::AllowUtf8));
}

#[test]
fn global_values_are_inherited() {
    let global: GlobalConfig = serde_saphyr::from_str(
        "scrape_interval: 5s\nsample_limit: 7\nbody_size_limit: 1MB\nscrape_native_histograms: true\nexternal_labels: {a: b}",
    )
    .unwrap();
    let global = global.resolve().unwrap();
    assert_eq!(global.scrape_timeout, PromDuration::from_secs(5));
    let config = scrape("job_name: a\nsample_limit: 3").unwrap().validate(&global).unwrap();
    assert_eq!((config.sample_limit, config.body_size_limit), (3, 1 << 20));
    assert_eq!(config.scrape_timeout, PromDuration::from_secs(5));
    assert_eq!(config.protocols[0], ScrapeProtocol::PrometheusProto);
}

#[test]
fn mistakes_have_clear_messages() {
    for (yaml, message) in [
        ("job_name: ''", "job_name is empty"),
        (
            "job_name: a\nscrape_timeout: 2m",
            "scrape timeout greater than scrape interval for scrape config with job name \"a\"",
        ),
        ("job_name: a\nscrape_interval: 5 apples", "not a valid duration string: \"5 apples\""),
        ("job_name: a\nbody_size_limit: 100", "units: unknown unit  in 100"),
        ("job_name: a\nscrape_protocols: []", "scrape_protocols cannot be empty for scrape config with job name \"a\""),
        ("job_name: a\nscrape_protocols: [Morse]", "unknown scrape protocol Morse, supported: [OpenMetricsText0.0.1"),
        (
            "job_name: a\nscrape_protocols: [PrometheusProto, PrometheusProto]",
            "duplicated protocol in scrape_protocols",
        ),
        ("job_name: a\nrelabel_configs: [{action: jump}]", "unknown relabel action \"jump\""),
        ("job_name: a\nrelabel_configs: [{regex: '('}]", "error parsing regexp: missing closing ): `^(?s:()$`"),
        ("job_name: a\nrelabel_configs: [null]", "empty or null target relabeling rule in scrape config"),
        (
            "job_name: a\nrelabel_configs: [{source_labels: [x]}]",
            "relabel configuration for replace action requires 'target_label' value",
        ),
        ("job_name: a\nrelabel_configs: [{action: hashmod, target_label: x}]", "requires non-zero modulus"),
        (
            "job_name: a\nrelabel_configs: [{action: labeldrop, regex: x, source_labels: [y]}]",
            "labeldrop action requires only 'regex'",
        ),
        (
            "job_name: a\nrelabel_configs: [{action: keepequal, target_label: x, regex: y}]",
            "keepequal action requires only 'source_labels'",
        ),
        (
            "job_name: a\nrelabel_configs: [{action: lowercase, target_label: x, replacement: y}]",
            "'replacement' can not be set for lowercase action",
        ),
        (
            "job_name: a\nmetric_name_validation_scheme: legacy\nrelabel_configs: [{target_label: 'a-b'}]",
            "\"a-b\" is invalid 'target_label' for replace action",
        ),
        (
            "job_name: a\nmetric_name_validation_scheme: legacy\nmetric_name_escaping_scheme: allow-utf-8",
            "utf8 metric names requested but",
        ),
        ("job_name: a\nstatic_configs: [{targets: ['http://x/']}]", "\"http://x/\" is not a valid hostname"),
        ("job_name: a\nfile_sd_configs: [{}]", "must contain at least one path name"),
        ("job_name: a\nfile_sd_configs: [{files: [x.txt]}]", "path name \"x.txt\" is not valid for file discovery"),
        ("job_name: a\nhttp_sd_configs: [{}]", "URL is missing"),
        ("job_name: a\nhttp_sd_configs: [{url: 'ftp://x'}]", "URL scheme must be 'http' or 'https'"),
        ("job_name: a\nbasic_auth: {username: u}\nbearer_token: t", "at most one of basic_auth, oauth2, bearer_token"),
        ("job_name: a\nauthorization: {type: Basic}", "authorization type cannot be set to \"basic\""),
        ("job_name: a\ntls_config: {cert_file: x}", "exactly one of key or key_file must be configured"),
        ("job_name: a\nhttp_headers: {Host: {values: [x]}}", "setting header \"Host\" is not allowed"),
        ("job_name: a\nscrape_intervall: 5s", "unknown field"),
    ] {
        let error = validated(yaml).unwrap_err();
        assert!(error.contains(message), "{yaml}\n  said: {error}\n  not: {message}");
    }
}

#[test]
fn what_is_not_served_is_named() {
    let config = scrape(
        "job_name: a\nkubernetes_sd_configs: [{role: pod, namespaces: {names: [x]}}]\nproxy_url: http://p\noauth2: {client_id: x}",
    )
    .unwrap();
    assert_eq!(config.unsupported(), ["kubernetes_sd_configs", "oauth2", "proxy_url"]);
}

#[test]
fn empty_sections_and_odd_scalars_are_accepted() {
    let config = validated(
        "job_name: 123\nstatic_configs:\nrelabel_configs:\nparams: {module: [1, x]}\nscrape_interval: 90s\nbearer_token: abc",
    )
    .unwrap();
    assert_eq!(config.job_name, "123");
    assert_eq!(config.params["module"], ["1", "x"]);
    assert_eq!(config.http.authorization.unwrap().kind, "Bearer");
}

#[test]
fn relative_paths_are_relative_to_the_file() {
    let mut config =
        scrape("job_name: a\nfile_sd_configs: [{files: ['sd/*.yml', /abs/x.json]}]\ntls_config: {ca_file: ca.pem}")
            .unwrap();
    config.set_directory(std::path::Path::new("/etc/pharos"));
    assert_eq!(config.file_sd_configs[0].files, ["/etc/pharos/sd/*.yml", "/abs/x.json"]);
    assert_eq!(config.tls_config.unwrap().ca_file.unwrap(), std::path::Path::new("/etc/pharos/ca.pem"));
}

#[test]
fn secrets_are_hidden_when_printed() {
    let config = scrape("job_name: a\nbasic_auth: {username: u, password: hunter2}\nbearer_token: t0ken").unwrap();
    let printed = serde_saphyr::to_string(&config).unwrap() + &format!("{config:?}");
    assert!(printed.contains("<secret>") && !printed.contains("hunter2") && !printed.contains("t0ken"), "{printed}");
}
