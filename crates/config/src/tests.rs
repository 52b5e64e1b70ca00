use super::*;

/// A section as it is written.
fn scrape(yaml: &str) -> Result<ScrapeConfig, String> {
    serde_saphyr::from_str(yaml).map_err(|e| e.to_string())
}

/// A section checked against the default `global`.
fn validated(yaml: &str) -> Result<ResolvedScrapeConfig, String> {
    let global = GlobalConfig::default().resolve().unwrap();
    scrape(yaml)?.validate(&global).map_err(|e| e.to_string())
}

#[test]
fn defaults_are_those_of_prometheus() {
    let config = validated("job_name: node\nstatic_configs: [{targets: ['localhost:9100']}]").unwrap();
    assert_eq!(config.scrape_interval, PromDuration::from_secs(60));
    assert_eq!(config.scrape_timeout, PromDuration::from_secs(10));
    assert_eq!(config.metrics_path, "/metrics");
    assert_eq!(config.scheme, "http");
    assert!(config.honor_timestamps && config.enable_compression && !config.honor_labels);
    assert!(config.http.follow_redirects && config.http.enable_http2);
    assert_eq!(config.protocols, ScrapeProtocol::DEFAULT);
    assert_eq!(config.validation, ValidationScheme::Utf8);
    assert_eq!(config.escaping, EscapingScheme::AllowUtf8);
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
    assert_eq!(config.sample_limit, 3, "the section's own limit wins");
    assert_eq!(config.body_size_limit, 1 << 20);
    assert_eq!(config.scrape_timeout, PromDuration::from_secs(5));
    assert_eq!(config.protocols[0], ScrapeProtocol::PrometheusProto);
}

#[test]
fn invalid_sections_have_the_messages_of_prometheus() {
    for (yaml, message) in [
        ("job_name: ''", "job_name is empty"),
        (
            "job_name: a\nscrape_timeout: 2m",
            "scrape timeout greater than scrape interval for scrape config with job name \"a\"",
        ),
        ("job_name: a\nscrape_interval: 5 apples", "unknown unit \" apples\" in duration \"5 apples\""),
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
        ("job_name: a\nstatic_configs: [{targets: ['']}]", "\"\" is not a valid hostname"),
        ("job_name: a\nfile_sd_configs: [{}]", "must contain at least one path name"),
        ("job_name: a\nfile_sd_configs: [{files: [x.txt]}]", "path name \"x.txt\" is not valid for file discovery"),
        ("job_name: a\nhttp_sd_configs: [{}]", "URL is missing"),
        ("job_name: a\nhttp_sd_configs: [{url: 'ftp://x'}]", "URL scheme must be 'http' or 'https'"),
        ("job_name: a\nbasic_auth: {username: u}\nbearer_token: t", "at most one of basic_auth, oauth2, bearer_token"),
        ("job_name: a\nauthorization: {type: Basic}", "authorization type cannot be set to \"basic\""),
        ("job_name: a\ntls_config: {cert_file: x}", "exactly one of key or key_file must be configured"),
        ("job_name: a\ntls_config: {min_version: TLS11}", "min_version must be TLS12 or TLS13"),
        ("job_name: a\ntls_config: {max_version: TLS10}", "max_version must be TLS12 or TLS13"),
        ("job_name: a\nfile_sd_configs: [{files: ['[x.json']}]", "invalid file pattern"),
        ("job_name: a\nhttp_headers: {Host: {values: [x]}}", "setting header \"Host\" is not allowed"),
        ("job_name: a\noauth2: {token_url: x}", "oauth2 client_id must be configured"),
        ("job_name: a\noauth2: {client_id: x}", "oauth2 token_url must be configured"),
        (
            "job_name: a\noauth2: {client_id: x, token_url: y, client_secret: a, client_secret_file: b}",
            "at most one of oauth2 client_secret, client_secret_file & client_secret_ref must be configured",
        ),
        (
            "job_name: a\noauth2: {client_id: x, token_url: y, grant_type: 'urn:ietf:params:oauth:grant-type:jwt-bearer', signature_algorithm: HS256}",
            "valid signature algorithms are RS256, RS384 and RS512",
        ),
        (
            "job_name: a\nbasic_auth: {username: u}\noauth2: {client_id: x, token_url: y}",
            "at most one of basic_auth, oauth2 & authorization must be configured",
        ),
        ("job_name: a\nno_proxy: x", "if no_proxy is configured, proxy_url must also be configured"),
        (
            "job_name: a\nproxy_url: http://p\nproxy_from_environment: true",
            "if proxy_from_environment is configured, proxy_url must not be configured",
        ),
        (
            "job_name: a\nproxy_connect_header: {X: [y]}",
            "if proxy_connect_header is configured, proxy_url or proxy_from_environment must also be configured",
        ),
        ("job_name: a\nscrape_intervall: 5s", "unknown field"),
    ] {
        let error = validated(yaml).unwrap_err();
        assert!(error.contains(message), "{yaml}\n  is: {error}\n  not: {message}");
    }
}

#[test]
fn unsupported_fields_are_named() {
    let config = scrape(
        "job_name: a\nkubernetes_sd_configs: [{role: pod, namespaces: {names: [x]}}]\ndns_sd_configs: [{names: [x]}]",
    )
    .unwrap();
    assert_eq!(config.unsupported(), ["dns_sd_configs", "kubernetes_sd_configs"]);
}

#[test]
fn empty_lists_and_numbers_in_place_of_strings_are_accepted() {
    let config = validated(
        "job_name: 123\nstatic_configs:\nrelabel_configs:\nparams: {module: [1, x]}\nscrape_interval: 90s\nbearer_token: abc",
    )
    .unwrap();
    assert_eq!(config.job_name, "123");
    assert_eq!(config.params["module"], ["1", "x"]);
    assert_eq!(config.http.authorization.unwrap().kind, "Bearer");
}

#[test]
fn relative_paths_are_resolved_against_the_directory_of_the_file() {
    let mut config =
        scrape("job_name: a\nfile_sd_configs: [{files: ['sd/*.yml', /abs/x.json]}]\ntls_config: {ca_file: ca.pem}")
            .unwrap();
    config.set_directory(std::path::Path::new("/etc/pharos"));
    assert_eq!(config.file_sd_configs[0].files, ["/etc/pharos/sd/*.yml", "/abs/x.json"]);
    assert_eq!(config.tls_config.unwrap().ca_file.unwrap(), std::path::Path::new("/etc/pharos/ca.pem"));
}

#[test]
fn secrets_are_hidden_when_a_section_is_printed() {
    let config = scrape("job_name: a\nbasic_auth: {username: u, password: hunter2}\nbearer_token: t0ken").unwrap();
    let printed = serde_saphyr::to_string(&config).unwrap() + &format!("{config:?}");
    assert!(printed.contains("<secret>") && !printed.contains("hunter2") && !printed.contains("t0ken"), "{printed}");
}

fn error_of(yaml: &str) -> String {
    validated(yaml).unwrap_err()
}

/// The resolved section `global`.
fn global(yaml: &str) -> Result<GlobalConfig, String> {
    serde_saphyr::from_str::<GlobalConfig>(yaml).map_err(|e| e.to_string())?.resolve().map_err(|e| e.to_string())
}

#[test]
fn global_defaults_are_those_of_prometheus() {
    let global = GlobalConfig::default().resolve().unwrap();
    assert_eq!(global.scrape_interval, PromDuration::from_secs(60));
    assert_eq!(global.scrape_timeout, PromDuration::from_secs(10));
    assert_eq!(global.evaluation_interval, PromDuration::from_secs(60));
}

#[test]
fn resolving_global_twice_changes_nothing() {
    let once = global("scrape_interval: 5s").unwrap();
    assert_eq!(once.clone().resolve(), Ok(once));
}

#[test]
fn the_global_timeout_must_not_exceed_the_interval() {
    let error = global("scrape_interval: 5s\nscrape_timeout: 6s").unwrap_err();
    assert_eq!(error, "global scrape timeout greater than scrape interval");
}

#[test]
fn external_labels_need_valid_names() {
    let error = global("metric_name_validation_scheme: legacy\nexternal_labels: {a-b: c}").unwrap_err();
    assert_eq!(error, "\"a-b\" is not a valid label name");
}

#[test]
fn global_protocols_are_checked() {
    let error = global("scrape_protocols: []").unwrap_err();
    assert_eq!(error, "scrape_protocols cannot be empty for global config");
}

#[test]
fn an_inherited_timeout_is_capped_by_the_sections_interval() {
    let config = validated("job_name: a\nscrape_interval: 3s").unwrap();
    assert_eq!(config.scrape_timeout, PromDuration::from_secs(3));
}

#[test]
fn a_sections_validation_scheme_sets_the_default_escaping() {
    let config = validated("job_name: a\nmetric_name_validation_scheme: legacy").unwrap();
    assert_eq!(config.escaping, EscapingScheme::Underscores);
}

#[test]
fn native_histograms_make_protobuf_the_first_choice() {
    let config = validated("job_name: a\nscrape_native_histograms: true").unwrap();
    assert_eq!(config.protocols, ScrapeProtocol::DEFAULT_WITH_NATIVE_HISTOGRAMS);
}

#[test]
fn equal_sections_are_equal_when_checked() {
    let yaml = "job_name: a\nrelabel_configs: [{source_labels: [x], target_label: y}]";
    assert_eq!(validated(yaml), validated(yaml));
    assert_ne!(validated(yaml), validated("job_name: a"));
}

#[test]
fn a_bearer_token_becomes_an_authorization() {
    let http = validated("job_name: a\nbearer_token_file: token").unwrap().http;
    let authorization = http.authorization.unwrap();
    assert_eq!(authorization.kind, "Bearer");
    assert_eq!(authorization.credentials_file.unwrap(), std::path::Path::new("token"));
}

#[test]
fn an_authorization_without_a_type_is_a_bearer_token() {
    let http = validated("job_name: a\nauthorization: {credentials: x}").unwrap().http;
    assert_eq!(http.authorization.unwrap().kind, "Bearer");
}

#[test]
fn credentials_are_given_in_one_way() {
    for (yaml, message) in [
        ("bearer_token: a\nbearer_token_file: b", "at most one of bearer_token & bearer_token_file"),
        ("authorization: {credentials: a}\nbearer_token: b", "authorization is not compatible with bearer_token"),
        (
            "authorization: {credentials: a}\nbasic_auth: {username: b}",
            "at most one of basic_auth, oauth2 & authorization",
        ),
        ("basic_auth: {username: a, username_file: b}", "at most one of basic_auth username, username_file"),
        ("basic_auth: {password: a, password_file: b}", "at most one of basic_auth password, password_file"),
        ("authorization: {credentials: a, credentials_file: b}", "at most one of authorization credentials"),
    ] {
        let error = error_of(&format!("job_name: a\n{yaml}"));
        assert!(error.contains(message), "{yaml}: {error}");
    }
}

#[test]
fn names_in_a_secret_manager_are_rejected() {
    for yaml in ["basic_auth: {username_ref: a}", "authorization: {credentials_ref: a}", "tls_config: {ca_ref: a}"] {
        assert_eq!(error_of(&format!("job_name: a\n{yaml}")), "unable to use secret ref without a secret manager");
    }
}

#[test]
fn certificates_are_given_in_one_way() {
    for (yaml, message) in [
        ("{ca: a, ca_file: b}", "at most one of ca, ca_file & ca_ref must be configured"),
        ("{cert: a, cert_file: b}", "at most one of cert, cert_file & cert_ref must be configured"),
        ("{key: a, key_file: b}", "at most one of key and key_file must be configured"),
        ("{key: a}", "exactly one of cert or cert_file must be configured when a client key is configured"),
    ] {
        assert_eq!(error_of(&format!("job_name: a\ntls_config: {yaml}")), message);
    }
}

#[test]
fn discovery_urls_must_be_absolute() {
    assert!(error_of("job_name: a\nhttp_sd_configs: [{url: '/x'}]").starts_with("parse \"/x\": "));
    assert!(validated("job_name: a\nhttp_sd_configs: [{url: 'http://h/x'}]").is_ok());
}

#[test]
fn wildcards_of_a_discovery_file_are_in_its_last_part() {
    for (path, is_valid) in
        [("a/*.json", true), ("a/sd-*.YAML", true), ("*/a.json", false), ("a/*-*.json", true), ("a.toml", false)]
    {
        let yaml = format!("job_name: a\nfile_sd_configs: [{{files: ['{path}']}}]");
        assert_eq!(validated(&yaml).is_ok(), is_valid, "{path}");
    }
}

#[test]
fn a_label_of_a_static_group_needs_a_name() {
    let error = error_of("job_name: a\nstatic_configs: [{targets: [], labels: {'': x}}]");
    assert_eq!(error, "\"\" is not a valid label name");
}

#[test]
fn a_target_with_a_path_is_accepted_when_relabelling_may_change_it() {
    let yaml = "job_name: a\nstatic_configs: [{targets: ['http://x/']}]\nrelabel_configs: [{target_label: y}]";
    assert!(validated(yaml).is_ok());
}

#[test]
fn unknown_names_of_schemes_are_rejected() {
    assert!(error_of("job_name: a\nmetric_name_validation_scheme: ascii").contains("unrecognized ValidationScheme"));
    assert!(error_of("job_name: a\nmetric_name_escaping_scheme: x").contains("unknown name escaping method"));
}
