use super::*;

fn errors(text: &str) -> Vec<String> {
    let found = RuleGroups::parse(text, false).err().unwrap_or_default();
    found.into_iter().map(|error| error.0).collect()
}

#[test]
fn a_good_file() {
    let text = "groups:\n- name: g\n  interval: 30s\n  query_offset: 1m\n  limit: 3\n  labels: {team: a}\n  rules:\n  \
                - record: job:up:sum\n    expr: sum by (job) (up)\n  - alert: Down\n    expr: up == 0\n    for: 5m\n    \
                keep_firing_for: 1m\n    labels: {severity: page}\n    annotations: {summary: '{{ $labels.job }}'}\n";
    let groups = RuleGroups::parse(text, false).unwrap().groups;
    let group = &groups[0];
    assert_eq!(
        (group.name.as_str(), group.interval_ms, group.query_offset_ms, group.limit),
        ("g", Some(30_000), Some(60_000), 3)
    );
    assert_eq!(group.rules[0].kind, RuleKind::Recording);
    let alert = &group.rules[1];
    assert_eq!((alert.kind, alert.hold_ms, alert.keep_firing_ms), (RuleKind::Alerting, 300_000, 60_000));
    assert!(RuleGroups::parse("", false).unwrap().groups.is_empty());
    assert!(RuleGroups::parse("# nothing\n", false).unwrap().groups.is_empty());
}

#[test]
fn mistakes_have_their_place() {
    let text = "groups:\n- name: bad\n  rules:\n  - record: x\n    expr: 'up ==='\n  - record: 'a{b}'\n    expr: up\n    for: 1m\n";
    let found = errors(text);
    assert!(found[0].starts_with("5:11: group \"bad\", rule 1, \"x\": could not parse expression: 1:"), "{found:?}");
    assert_eq!(found[1], "6:13: group \"bad\", rule 2, \"a{b}\": invalid field 'for' in recording rule");
    assert!(found[2].contains("braces present in the recording rule name"), "{found:?}");

    let found = errors("groups:\n- name: g\n  rules:\n  - expr: up\n- name: g\n  rules: []\n");
    assert_eq!(found[0], "0:0: 0:0: group \"g\", rule 1, \"\": one of 'record' or 'alert' must be set");
    assert_eq!(found[1], "5:3: groupname: \"g\" is repeated in the same file");

    let found =
        errors("groups:\n- name: g\n  rules:\n  - alert: A\n    expr: up\n    annotations: {s: '{{ nope }}'}\n");
    assert_eq!(
        found,
        ["group \"g\", rule 1, \"A\": annotation \"s\": template: __alert_A:1: function \"nope\" not defined"]
    );
}

#[test]
fn unknown_fields_are_refused_unless_they_may_stay() {
    let text = "groups:\n- name: g\n  owner: me\n  rules: []\n";
    assert_eq!(errors(text), ["yaml: unmarshal errors:\n  line 3: field owner not found in type rulefmt.RuleGroup"]);
    assert_eq!(RuleGroups::parse(text, true).unwrap().groups.len(), 1);
    assert!(
        !errors("groups: 7\n").is_empty()
            && !errors("- a\n").is_empty()
            && !errors("groups:\n- name: g\n  interval: 1x\n").is_empty()
    );
}
