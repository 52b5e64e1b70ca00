use super::*;

fn parse(text: &str) -> Result<Vec<RuleGroup>, Vec<String>> {
    let parsed = RuleGroups::parse(text, false);
    parsed.map(|file| file.groups).map_err(|errors| errors.into_iter().map(|error| error.0).collect())
}

/// The errors of a file with one group that has one rule.
fn errors_of_rule(fields: &str) -> Vec<String> {
    let lines: String = fields.lines().map(|line| format!("    {line}\n")).collect();
    parse(&format!("groups:\n- name: g\n  rules:\n  -\n{lines}")).unwrap_err()
}

#[test]
fn a_file_without_content_has_no_groups() {
    for text in ["", "\n\n", "# nothing\n", "---\n", "groups:\n", "groups: []\n"] {
        assert!(parse(text).unwrap().is_empty(), "{text:?}");
    }
}

#[test]
fn a_group_has_its_settings() {
    let text =
        "groups:\n- name: g\n  interval: 30s\n  query_offset: 1m\n  limit: 3\n  labels: {team: a}\n  rules: []\n";
    let group = parse(text).unwrap().remove(0);
    assert_eq!(group.name, "g");
    assert_eq!(group.interval_ms, Some(30_000));
    assert_eq!(group.query_offset_ms, Some(60_000));
    assert_eq!(group.limit, Limit::new(3));
    assert_eq!(group.labels["team"], "a");
}

#[test]
fn settings_of_a_group_are_optional() {
    let group = parse("groups:\n- name: g\n").unwrap().remove(0);
    assert_eq!(group.interval_ms, None);
    assert_eq!(group.query_offset_ms, None);
    assert_eq!(group.limit, Limit::NONE);
    assert!(group.labels.is_empty() && group.rules.is_empty());
}

#[test]
fn a_negative_limit_is_no_limit() {
    assert_eq!(parse("groups:\n- name: g\n  limit: -1\n").unwrap()[0].limit, Limit::NONE);
}

#[test]
fn an_interval_of_zero_is_the_default() {
    assert_eq!(parse("groups:\n- name: g\n  interval: 0s\n").unwrap()[0].interval_ms, None);
}

#[test]
fn a_recording_rule_has_a_name_and_an_expression() {
    let text =
        "groups:\n- name: g\n  rules:\n  - record: job:up:sum\n    expr: sum by (job) (up)\n    labels: {a: b}\n";
    let rule = parse(text).unwrap().remove(0).rules.remove(0);
    assert_eq!(rule.kind, RuleKind::Recording);
    assert_eq!(rule.name, "job:up:sum");
    assert_eq!(rule.text, "sum by (job) (up)");
    assert_eq!(rule.labels["a"], "b");
}

#[test]
fn an_alerting_rule_has_durations_and_annotations() {
    let text = "groups:\n- name: g\n  rules:\n  - alert: Down\n    expr: up == 0\n    for: 5m\n    keep_firing_for: 1m\n    \
                annotations: {summary: '{{ $labels.job }}'}\n";
    let rule = parse(text).unwrap().remove(0).rules.remove(0);
    assert_eq!(rule.kind, RuleKind::Alerting);
    assert_eq!(rule.hold_ms, 300_000);
    assert_eq!(rule.keep_firing_ms, 60_000);
    assert_eq!(rule.annotations["summary"], "{{ $labels.job }}");
}

#[test]
fn an_expression_that_does_not_parse_is_located() {
    let found = parse("groups:\n- name: bad\n  rules:\n  - record: x\n    expr: 'up ==='\n").unwrap_err();
    assert_eq!(found.len(), 1);
    assert!(found[0].starts_with("5:11: group \"bad\", rule 1, \"x\": could not parse expression: 1:"), "{found:?}");
}

#[test]
fn an_expression_is_required() {
    assert_eq!(
        parse("groups:\n- name: g\n  rules:\n  - record: x\n").unwrap_err(),
        ["0:0: group \"g\", rule 1, \"x\": field 'expr' must be set in rule"]
    );
}

#[test]
fn a_rule_either_records_or_alerts() {
    let both = errors_of_rule("record: x\nalert: Y\nexpr: up");
    assert!(both[0].ends_with("only one of 'record' and 'alert' must be set"), "{both:?}");
    let neither = errors_of_rule("expr: up");
    assert_eq!(neither, ["0:0: 0:0: group \"g\", rule 1, \"\": one of 'record' or 'alert' must be set"]);
}

#[test]
fn fields_of_alerts_are_refused_in_recording_rules() {
    for (field, value) in [("for", "1m"), ("keep_firing_for", "1m"), ("annotations", "{a: b}")] {
        let found = errors_of_rule(&format!("record: x\nexpr: up\n{field}: {value}"));
        let expected = format!("rule 1, \"x\": invalid field '{field}' in recording rule");
        assert!(found[0].ends_with(&expected), "{found:?}");
    }
}

#[test]
fn braces_in_the_name_of_a_recording_rule_are_refused() {
    let found = errors_of_rule("record: 'a{b}'\nexpr: up");
    assert!(found[0].ends_with("braces present in the recording rule name; should it be in expr?: a{b}"), "{found:?}");
}

#[test]
fn invalid_labels_are_refused() {
    let found = errors_of_rule("record: x\nexpr: up\nlabels: {__name__: y}");
    assert_eq!(found, ["group \"g\", rule 1, \"x\": invalid label name: __name__"]);
    let found = parse("groups:\n- name: g\n  labels: {'': y}\n").unwrap_err();
    assert_eq!(found, ["invalid label name: "]);
}

#[test]
fn annotations_have_names() {
    let found = errors_of_rule("alert: A\nexpr: up\nannotations: {'': y}");
    assert_eq!(found, ["group \"g\", rule 1, \"A\": invalid annotation name: "]);
}

#[test]
fn templates_of_alerts_are_checked() {
    let found = errors_of_rule("alert: A\nexpr: up\nannotations: {s: '{{ nope }}'}");
    assert_eq!(
        found,
        ["group \"g\", rule 1, \"A\": annotation \"s\": template: __alert_A:1: function \"nope\" not defined"]
    );
    let found = errors_of_rule("alert: A\nexpr: up\nlabels: {s: '{{ if }}'}");
    assert!(found[0].starts_with("group \"g\", rule 1, \"A\": label \"s\": template: __alert_A:1: "), "{found:?}");
}

#[test]
fn labels_of_recording_rules_are_not_templates() {
    let text = "groups:\n- name: g\n  rules:\n  - record: x\n    expr: up\n    labels: {s: '{{ nope }}'}\n";
    assert_eq!(parse(text).unwrap()[0].rules[0].labels["s"], "{{ nope }}");
}

#[test]
fn all_errors_of_a_file_are_reported() {
    let found =
        parse("groups:\n- name: g\n  rules:\n  - expr: up\n  - record: x\n- name: g\n  rules: []\n").unwrap_err();
    assert_eq!(found.len(), 3, "{found:?}");
}

#[test]
fn names_of_groups_are_unique() {
    let found = parse("groups:\n- name: g\n- name: h\n- name: g\n").unwrap_err();
    assert_eq!(found, ["4:3: groupname: \"g\" is repeated in the same file"]);
}

#[test]
fn groups_have_names() {
    let found = parse("groups:\n- rules: []\n").unwrap_err();
    assert_eq!(found, ["0:0: Groupname must not be empty"]);
}

#[test]
fn unknown_fields_name_their_type() {
    for (text, expected) in [
        ("rules: []\n", "yaml: unmarshal errors:\n  line 1: field rules not found in type rulefmt.RuleGroups"),
        (
            "groups:\n- name: g\n  owner: me\n",
            "yaml: unmarshal errors:\n  line 3: field owner not found in type rulefmt.RuleGroup",
        ),
        (
            "groups:\n- name: g\n  rules:\n  - record: x\n    owner: me\n",
            "yaml: unmarshal errors:\n  line 5: field owner not found in type rulefmt.Rule",
        ),
    ] {
        assert_eq!(parse(text).unwrap_err(), [expected]);
    }
}

#[test]
fn unknown_fields_can_be_ignored() {
    let text = "owner: me\ngroups:\n- name: g\n  owner: me\n  rules:\n  - {record: x, expr: up, owner: me}\n";
    assert_eq!(RuleGroups::parse(text, true).unwrap().groups[0].rules.len(), 1);
}

#[test]
fn values_of_the_wrong_type_are_refused() {
    for text in ["groups: 7\n", "- a\n", "groups:\n- name: g\n  limit: many\n", "groups:\n- [1]\n"] {
        assert_eq!(parse(text).unwrap_err().len(), 1, "{text}");
    }
}

#[test]
fn an_invalid_duration_names_its_unit() {
    let found = parse("groups:\n- name: g\n  interval: 1x\n").unwrap_err();
    assert_eq!(found, ["yaml: unmarshal errors:\n  line 3: unknown unit \"x\" in duration \"1x\""]);
}
