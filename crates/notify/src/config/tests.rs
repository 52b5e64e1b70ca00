use super::*;

fn read(text: &str) -> Result<ReceiverConfig, String> {
    let mut config: ReceiverConfig = serde_saphyr::from_str(text).map_err(|e| e.to_string())?;
    config.resolve(&GlobalConfig::default()).map_err(|e| e.to_string())?;
    Ok(config)
}

#[track_caller]
fn refused(text: &str, expected: &str) {
    let error = read(text).unwrap_err();
    assert!(error.contains(expected), "{error}");
}

#[test]
fn a_receiver_needs_a_name() {
    refused("webhook_configs: []", "missing name in receiver");
    assert_eq!(read("name: x").unwrap().labels["name"], "x");
    refused("{name: x, labels: {name: y}}", "receiver label \"name\" must match receiver name \"x\", got \"y\"");
}

#[test]
fn unknown_fields_are_refused_where_they_stand() {
    refused("name: x\nwebhook_configs:\n  - url: http://a/\n    max: 3\n", "line 4");
    refused("name: x\nnone_configs: []\n", "unknown field `none_configs`");
}

#[test]
fn mistakes_of_a_section_are_named_where_they_stand() {
    let both = "name: x\nwebhook_configs:\n  - url: http://a/\n    url_file: b\n";
    refused(both, "at most one of url & url_file must be configured");
    refused(both, "line 3");
    refused("{name: x, webhook_configs: [{}]}", "one of url or url_file must be configured");
    refused("{name: x, webhook_configs: [null]}", "missing webhook config");
    refused("{name: x, webhook_configs: [{url: 'ftp://a'}]}", "invalid URL: unsupported scheme \"ftp\" for URL");
    refused("{name: x, webhook_configs: [{url: 'http:///a'}]}", "missing host for URL");
    refused("{name: x, webhook_configs: [{url: 'http://a/{{ if }}'}]}", "invalid template syntax");
}

#[test]
fn secrets_print_as_such() {
    let config =
        read("{name: x, webhook_configs: [{url: 'http://a/token'}], slack_configs: [{api_url: 'http://s/token'}]}");
    let config = config.unwrap();
    let printed = serde_saphyr::to_string(&config).unwrap() + &format!("{config:?}");
    assert!(printed.contains("url: <secret>") && !printed.contains("token'"), "{printed}");
    assert!(!printed.contains("/token"), "{printed}");
}

#[test]
fn a_printed_configuration_can_be_read_again() {
    let config = read("{name: x, discord_configs: [{webhook_url: 'http://a/token'}]}").unwrap();
    read(&serde_saphyr::to_string(&config).unwrap()).unwrap();
}

#[test]
fn receivers_inherit_the_http_client() {
    let global: GlobalConfig = serde_saphyr::from_str("{http_config: {follow_redirects: false}}").unwrap();
    let mut config: ReceiverConfig =
        serde_saphyr::from_str("{name: x, webhook_configs: [{url: 'http://a/'}]}").unwrap();
    config.resolve(&global).unwrap();
    assert!(!config.webhook_configs[0].http_config.as_ref().unwrap().follow_redirects);
}

#[test]
fn slack_needs_a_url_or_a_token() {
    refused(
        "{name: x, slack_configs: [{channel: c}]}",
        "no Slack API URL nor App token set either inline or in a file",
    );
    let config = read("{name: x, slack_configs: [{app_token: t}]}").unwrap();
    let slack = &config.slack_configs[0];
    assert_eq!(slack.http_config.as_ref().unwrap().authorization.as_ref().unwrap().credentials.reveal(), "t");
    refused(
        "{name: x, slack_configs: [{api_url: 'http://a/', update_message: true}]}",
        "update_message can only be used with bot tokens. api_url must be set to https://slack.com/api/chat.postMessage",
    );
}

#[test]
fn global_secrets_are_set_once() {
    let global: GlobalConfig = serde_saphyr::from_str("{opsgenie_api_key: a, opsgenie_api_key_file: b}").unwrap();
    assert_eq!(
        global.check().unwrap_err(),
        "at most one of opsgenie_api_key & opsgenie_api_key_file must be configured"
    );
    assert_eq!(GlobalConfig::default().check(), Ok(()));
}

#[test]
fn durations_are_those_of_go() {
    let config = read("{name: x, webhook_configs: [{url: 'http://a/', timeout: 1m30s}]}").unwrap();
    assert_eq!(config.webhook_configs[0].timeout.positive(), Some(std::time::Duration::from_secs(90)));
    refused("{name: x, webhook_configs: [{url: 'http://a/', timeout: soon}]}", "time: invalid duration \"soon\"");
}

#[test]
fn addresses_need_a_port() {
    let parse = |text: &str| serde_saphyr::from_str::<HostPort>(text).map(|address| address.to_string());
    assert_eq!(parse("mail.example:25").unwrap(), "mail.example:25");
    assert_eq!(parse("'[::1]:25'").unwrap(), "[::1]:25");
    assert!(parse("mail.example").unwrap_err().to_string().contains("missing port in address"));
    assert!(parse("'mail.example:'").unwrap_err().to_string().contains("port cannot be empty"));
}
