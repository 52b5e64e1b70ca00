use super::*;
use crate::routing::GroupBy;

fn parse(text: &str) -> Result<Config, String> {
    Config::parse(text, Path::new("am/alertmanager.yml"), Syntax::Both).map_err(|error| error.to_string())
}

const RECEIVER: &str = "receivers: [{name: team}, {name: other, labels: {owner: x}}]\n";

/// A configuration with the receivers `team` and `other`.
fn with(text: &str) -> Result<Config, String> {
    parse(&format!("{RECEIVER}{text}"))
}

#[test]
fn children_inherit_what_they_do_not_set() {
    let config = with(
        "
route:
  receiver: team
  group_by: [a, b]
  group_wait: 1m
  labels: {tier: one}
  routes:
  - matchers: ['x=\"1\"', y=~z]
    match: {code: 500}
    receiver: other
    group_by: ['...']
    continue: true
    routes:
    - match_re: {q: '1|2'}
      repeat_interval: 1d
      labels: {team: '{{ .Status }}'}
",
    )
    .unwrap();
    let [root, child, grandchild] = &config.routes.0[..] else { panic!("{:?}", config.routes) };
    assert_eq!(root.group_by, GroupBy::Labels(BTreeSet::from(["a".into(), "b".into()])));
    assert_eq!((child.receiver.as_str(), &child.group_by, child.continues), ("other", &GroupBy::All, true));
    assert_eq!(
        (grandchild.group_wait, grandchild.repeat_interval),
        (Duration::from_secs(60), Duration::from_secs(86_400))
    );
    assert_eq!((grandchild.receiver.as_str(), grandchild.continues, grandchild.labels.len()), ("other", false, 2));
    assert_eq!(grandchild.key, "{}/{code=\"500\",x=\"1\",y=~\"z\"}/{q=~\"1|2\"}");
    assert_eq!((&root.children[..], &child.children[..]), (&[1][..], &[2][..]));
}

#[test]
fn defaults_are_those_of_alertmanager() {
    let config = with("route: {receiver: team}\nglobal:\ntemplates:\n").unwrap();
    let root = &config.routes.0[0];
    let seconds = [root.group_wait, root.group_interval, root.repeat_interval].map(|duration| duration.as_secs());
    assert_eq!(seconds, [30, 300, 14_400]);
    assert_eq!(config.resolve_timeout(), Duration::from_secs(300));
    assert_eq!(config.receivers[1].labels["name"], "other");
}

#[test]
fn intervals_inhibition_rules_and_templates_are_taken() {
    let config = with(
        "
route: {receiver: team, routes: [{mute_time_intervals: [night], active_time_intervals: [office]}]}
mute_time_intervals: [{name: night, time_intervals: [{times: [{start_time: '00:00', end_time: '06:00'}]}]}]
time_intervals: [{name: office, time_intervals: [{weekdays: ['monday:friday']}]}]
inhibit_rules:
- name: outage
  source_match: {severity: critical}
  target_matchers: ['severity=~\"warning|info\"']
  equal: [cluster]
templates: ['*.tmpl', /etc/x.tmpl]
tracing: {endpoint: localhost:4317}
",
    )
    .unwrap();
    assert_eq!(config.time_intervals.keys().collect::<Vec<_>>(), ["night", "office"]);
    assert_eq!(config.inhibit_rules[0].target[0].to_string(), "severity=~\"warning|info\"");
    assert_eq!(config.templates, [PathBuf::from("am/*.tmpl"), PathBuf::from("/etc/x.tmpl")]);
    assert_eq!(config.warnings, ["tracing has no effect: it is not supported"]);
}

#[test]
fn mistakes_are_refused_with_their_line() {
    for (text, error) in [
        ("route:\n  receiver: nobody\n", "3:13: undefined receiver \"nobody\" used in route"),
        ("route: {receiver: team, routes: [{receiver: x}]}\n", "2:45: undefined receiver \"x\" used in route"),
        ("route: {}\n", "2:8: root route must specify a default receiver"),
        ("route: {receiver: team, match: {a: b}}\n", "2:8: root route must not have any matchers"),
        ("route: {receiver: team, continue: true}\n", "2:8: cannot have continue in root route"),
        ("route: {receiver: team, group_by: [a, a]}\n", "2:39: duplicated label \"a\" in group_by"),
        ("route: {receiver: team, group_by: ['']}\n", "2:36: invalid label name \"\" in group_by list"),
        (
            "route: {receiver: team, group_by: [a, '...']}\n",
            "2:39: cannot have wildcard group_by (`...`) and other labels at the same time",
        ),
        ("route: {receiver: team, group_interval: 0s}\n", "2:41: group_interval cannot be zero"),
        ("route: {receiver: team, group_wait: 5}\n", "2:37: not a valid duration string: \"5\""),
        ("route: {receiver: team, routes: [{matchers: ['a']}]}\n", "2:46: bad matcher format: a"),
        ("route: {receiver: team, routes: [{match_re: {a: }}]}\n", "2:34: invalid regexp value for \"a\""),
        (
            "route: {receiver: team, routes: [{match_re: {a: '('}}]}\n",
            "2:34: error parsing regexp: missing closing ): `^(?:()$`",
        ),
        ("route: {receiver: team, routes: [{match: {a-b: c}}]}\n", "2:34: invalid label name \"a-b\""),
        (
            "route: {receiver: team, routes: [{mute_time_intervals: [x]}]}\n",
            "2:57: undefined time interval \"x\" used in route",
        ),
        (
            "route: {receiver: team}\ntime_intervals: [{name: a}, {name: a}]\n",
            "3:29: time interval \"a\" is not unique",
        ),
        ("route: {receiver: team}\ntime_intervals: [{time_intervals: []}]\n", "3:18: missing name in time interval"),
        ("route: {receiver: team}\ninhibit_rules: [{equal: ['']}]\n", "3:26: invalid label name \"\" in equal list"),
        ("route: {receiver: team}\nroutes: []\n", "3:1: field routes not found"),
        ("route: {receiver: team}\nroute: {receiver: team}\n", "3:1: field route already set"),
        ("route: {receiver: team, grup_by: [a]}\n", "2:25: field grup_by not found"),
        (
            "route: {receiver: team}\nglobal: {opsgenie_api_key: a, opsgenie_api_key_file: b}\n",
            "3:9: at most one of opsgenie_api_key & opsgenie_api_key_file must be configured",
        ),
        ("templates: []\n", " no routes provided"),
    ] {
        let found = with(text).map(drop).unwrap_err();
        assert!(found.starts_with(&format!("am/alertmanager.yml:{error}")), "{text}: {found}");
    }
}

#[test]
fn receivers_must_be_unique_and_complete() {
    for (text, error) in [
        ("receivers: [{name: a}, {name: a}]\n", "1:24: notification config name \"a\" is not unique"),
        ("receivers: [{}]\n", "1:13: missing name in receiver"),
        (
            "receivers: [{name: a, labels: {name: b}}]\n",
            "1:13: receiver label \"name\" must match receiver name \"a\", got \"b\"",
        ),
    ] {
        let found = parse(&format!("{text}route: {{receiver: a}}\n")).map(drop).unwrap_err();
        assert_eq!(found, format!("am/alertmanager.yml:{error}"), "{text}");
    }
}

#[test]
fn a_file_without_content_has_no_route() {
    for text in ["", "# nothing\n---\n"] {
        assert_eq!(parse(text).map(drop).unwrap_err(), "am/alertmanager.yml: no route provided in config");
    }
}

#[test]
fn a_file_that_expands_without_bound_is_refused() {
    let mut text = "route: {receiver: team}\ntemplates:\n- &a0 x\n".to_string();
    for level in 1..40 {
        let before = level - 1;
        text += &format!("- &a{level} [*a{before}, *a{before}]\n");
    }
    assert!(with(&text).is_err());
    let deep = format!("route: {{receiver: team, routes: {}{}}}\n", "[{routes: ".repeat(500), "}]".repeat(500));
    assert!(with(&deep).is_err());
}

#[test]
fn the_printed_configuration_is_a_configuration_without_secrets() {
    let config = parse(
        "
global: {resolve_timeout: 7m, slack_api_url: 'https://hooks.example/T0P'}
route: {receiver: team, group_by: [a], routes: [{matchers: [a=b], continue: true}]}
receivers: [{name: team, webhook_configs: [{url: 'http://user:hunter2@example.org/t0p', send_resolved: false}]}]
time_intervals: [{name: night, time_intervals: [{times: [{start_time: '00:00', end_time: '06:00'}], location: Europe/Berlin}]}]
",
    )
    .unwrap();
    for secret in ["hunter2", "T0P", "t0p"] {
        assert!(!config.printed.contains(secret), "{}", config.printed);
    }
    let again = parse(&config.printed).unwrap_or_else(|error| panic!("{error}\n{}", config.printed));
    assert_eq!((again.routes, again.time_intervals), (config.routes, config.time_intervals));
    assert_eq!(again.global.resolve_timeout, config.global.resolve_timeout);
}
