use serde_json::{Value, json};

use super::*;
use crate::services::AlertingRule;

fn recording(name: &str) -> Rule {
    Rule {
        name: name.into(),
        query: "sum(up)".into(),
        labels: Labels::from_pairs([("team", name)]),
        health: "ok".into(),
        evaluation_seconds: 0.25,
        last_evaluation_ms: Some(1_700_000_000_120),
        ..Rule::default()
    }
}

fn alerting(name: &str) -> Rule {
    let alert = Alert {
        labels: Labels::from_pairs([("alertname", name)]),
        state: "firing".into(),
        active_at_ms: 1_700_000_000_000,
        value: 25.0,
        ..Alert::default()
    };
    let alerting =
        AlertingRule { state: "firing".into(), hold_ms: 90_000, alerts: vec![alert], ..AlertingRule::default() };
    Rule { alerting: Some(alerting), health: "err".into(), last_error: "broken".into(), ..recording(name) }
}

fn group(file: &str, name: &str, rules: Vec<Rule>) -> RuleGroup {
    RuleGroup { name: name.into(), file: file.into(), rules, interval_ms: 15_000, ..RuleGroup::default() }
}

fn groups() -> Vec<RuleGroup> {
    vec![
        group("a.yml", "one", vec![recording("r"), alerting("A")]),
        group("a.yml", "two", vec![alerting("B")]),
        group("b.yml", "one", vec![recording("s")]),
    ]
}

fn page(query: &str) -> Value {
    let selection = Selection::read(&Params::parse(query.as_bytes())).unwrap();
    serde_json::to_value(selection.page(&groups()).unwrap()).unwrap()
}

/// The names of rules by `file/group`.
fn names(query: &str) -> Vec<String> {
    let page = page(query);
    let groups = page["groups"].as_array().unwrap().iter();
    let shown = groups.map(|group| {
        let rules = group["rules"].as_array().unwrap().iter().map(|rule| rule["name"].as_str().unwrap());
        let rules: Vec<_> = rules.collect();
        format!("{}/{}: {}", group["file"].as_str().unwrap(), group["name"].as_str().unwrap(), rules.join(" "))
    });
    shown.collect()
}

#[test]
fn rules_have_the_fields_of_prometheus() {
    let text = serde_json::to_string(&Selection::read(&Params::default()).unwrap().page(&groups()[..1]).unwrap());
    assert_eq!(
        text.unwrap(),
        r#"{"groups":[{"name":"one","file":"a.yml","rules":[{"name":"r","query":"sum(up)","labels":{"team":"r"},"health":"ok","evaluationTime":0.25,"lastEvaluation":"2023-11-14T22:13:20.12Z","type":"recording"},{"state":"firing","name":"A","query":"sum(up)","duration":90,"keepFiringFor":0,"labels":{"team":"A"},"annotations":{},"alerts":[{"labels":{"alertname":"A"},"annotations":{},"state":"firing","activeAt":"2023-11-14T22:13:20Z","value":"2.5e+01"}],"health":"err","lastError":"broken","evaluationTime":0.25,"lastEvaluation":"2023-11-14T22:13:20.12Z","type":"alerting"}],"interval":15,"limit":0,"evaluationTime":0,"lastEvaluation":"0001-01-01T00:00:00Z"}]}"#
    );
}

#[test]
fn rules_are_selected_by_kind_name_group_file_and_labels() {
    assert_eq!(names(""), ["a.yml/one: r A", "a.yml/two: B", "b.yml/one: s"]);
    assert_eq!(names("type=alert"), ["a.yml/one: A", "a.yml/two: B"]);
    assert_eq!(names("type=record"), ["a.yml/one: r", "b.yml/one: s"]);
    assert_eq!(names("rule_name[]=A&rule_name[]=s"), ["a.yml/one: A", "b.yml/one: s"]);
    assert_eq!(names("rule_group[]=one"), ["a.yml/one: r A", "b.yml/one: s"]);
    assert_eq!(names("rule_group[]=one&file[]=b.yml"), ["b.yml/one: s"]);
    assert_eq!(names("match[]={team=~\"A|s\"}&match[]={team=\"B\"}"), ["a.yml/one: A", "a.yml/two: B", "b.yml/one: s"]);
}

#[test]
fn alerts_can_be_left_out() {
    assert_eq!(page("exclude_alerts=true")["groups"][0]["rules"][1]["alerts"], json!(null));
}

#[test]
fn pages_follow_each_other() {
    let first = page("group_limit=2");
    assert_eq!(first["groups"].as_array().unwrap().len(), 2);
    let token = first["groupNextToken"].as_str().unwrap();
    let next = format!("group_limit=2&group_next_token={token}");
    assert_eq!(names(&next), ["b.yml/one: s"]);
    assert!(page(&next).get("groupNextToken").is_none());
}

#[test]
fn a_token_of_a_group_that_is_gone_is_refused() {
    let selection = Selection::read(&Params::parse(b"group_limit=2&group_next_token=abc")).unwrap();
    let Err(error) = selection.page(&groups()) else { panic!("it is accepted") };
    assert!(error.to_string().contains("invalid group_next_token 'abc'. were rule groups changed?"), "{error}");
}

#[test]
fn values_are_printed_with_an_exponent() {
    for (value, text) in [
        (0.0, "0e+00"),
        (1.5, "1.5e+00"),
        (0.001, "1e-03"),
        (-1e100, "-1e+100"),
        (f64::NAN, "NaN"),
        (f64::INFINITY, "+Inf"),
    ] {
        assert_eq!(exponential(value), text);
    }
}
