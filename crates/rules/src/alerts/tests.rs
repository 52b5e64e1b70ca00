use std::sync::Arc;

use super::*;
use crate::alerting::AlertingRule;
use crate::file::RuleGroups;
use crate::template::TemplateContext;

const MINUTE_MS: i64 = 60_000;

/// A rule with its alerts.
struct Tested {
    rule: AlertingRule,
    alerts: Alerts,
}

impl Tested {
    fn active(&self) -> impl Iterator<Item = &Alert> {
        self.alerts.active()
    }

    fn alerts(&self) -> impl Iterator<Item = &Alert> {
        self.alerts.all()
    }

    fn state(&self) -> AlertState {
        self.alerts.state()
    }
}

fn rule(options: &str) -> Tested {
    let text = format!("groups:\n- name: g\n  rules:\n  - alert: Down\n    expr: up == 0\n{options}");
    let group = RuleGroups::parse(&text, false).unwrap().groups.remove(0);
    let rule = AlertingRule::new(group.rules[0].clone(), &group.labels, Arc::default());
    Tested { rule, alerts: Alerts::default() }
}

fn sample(instance: &str, value: SampleValue) -> VectorSample {
    VectorSample { labels: Labels::from_pairs([("__name__", "up"), ("instance", instance)]), t: 0, value }
}

fn update(rule: &mut Tested, t_ms: i64, result: &[VectorSample], limit: Limit) -> Result<Vec<VectorSample>, RuleError> {
    let query = |_: &str| Ok(Vec::new());
    let context = TemplateContext { t_ms, external_url: "", query: &query };
    let found = rule.rule.found(t_ms, result, &context)?;
    rule.alerts.update(&rule.rule.spec, t_ms, 0, found, limit)
}

/// Evaluates at a minute, with one sample for each instance.
fn at(rule: &mut Tested, minute: i64, instances: &[&str]) -> Vec<VectorSample> {
    let result: Vec<_> = instances.iter().map(|name| sample(name, SampleValue::Float(0.0))).collect();
    update(rule, minute * MINUTE_MS, &result, Limit::NONE).unwrap()
}

fn states(rule: &Tested) -> Vec<AlertState> {
    rule.active().map(|alert| alert.state).collect()
}

#[test]
fn an_alert_without_a_duration_fires_at_once() {
    let mut rule = rule("");
    at(&mut rule, 0, &["a"]);
    assert_eq!(states(&rule), [AlertState::Firing]);
    assert_eq!(rule.active().next().unwrap().fired_at_ms, Some(0));
}

#[test]
fn an_alert_fires_when_its_condition_has_held_for_long_enough() {
    let mut rule = rule("    for: 2m\n");
    for minute in 2..4 {
        at(&mut rule, minute, &["a"]);
        assert_eq!(states(&rule), [AlertState::Pending], "minute {minute}");
    }
    at(&mut rule, 4, &["a"]);
    assert_eq!(states(&rule), [AlertState::Firing]);
    let alert = rule.active().next().unwrap();
    assert_eq!(alert.active_at_ms, 2 * MINUTE_MS);
    assert_eq!(alert.fired_at_ms, Some(4 * MINUTE_MS));
}

#[test]
fn a_pending_alert_whose_condition_ends_is_forgotten() {
    let mut rule = rule("    for: 2m\n");
    at(&mut rule, 0, &["a"]);
    at(&mut rule, 1, &[]);
    assert_eq!(rule.alerts().count(), 0);
    at(&mut rule, 2, &["a"]);
    assert_eq!(rule.active().next().unwrap().active_at_ms, 2 * MINUTE_MS);
}

#[test]
fn a_resolved_alert_stays_known_for_a_quarter_of_an_hour() {
    let mut rule = rule("");
    at(&mut rule, 0, &["a"]);
    at(&mut rule, 1, &[]);
    assert!(states(&rule).is_empty());
    let alert = rule.alerts().next().unwrap();
    assert_eq!(alert.state, AlertState::Inactive);
    assert_eq!(alert.resolved_at_ms, Some(MINUTE_MS));
    at(&mut rule, 16, &[]);
    assert_eq!(rule.alerts().count(), 1);
    at(&mut rule, 17, &[]);
    assert_eq!(rule.alerts().count(), 0);
}

#[test]
fn an_alert_that_returns_begins_again() {
    let mut rule = rule("    for: 1m\n");
    at(&mut rule, 0, &["a"]);
    at(&mut rule, 1, &["a"]);
    at(&mut rule, 2, &[]);
    at(&mut rule, 3, &["a"]);
    let alert = rule.active().next().unwrap();
    assert_eq!(alert.state, AlertState::Pending);
    assert_eq!(alert.active_at_ms, 3 * MINUTE_MS);
    assert_eq!(alert.resolved_at_ms, None);
}

#[test]
fn keep_firing_for_extends_a_firing_alert() {
    let mut rule = rule("    keep_firing_for: 2m\n");
    at(&mut rule, 0, &["a"]);
    for (minute, fires) in [(1, true), (2, true), (3, false)] {
        at(&mut rule, minute, &[]);
        assert_eq!(!states(&rule).is_empty(), fires, "minute {minute}");
    }
}

#[test]
fn keep_firing_for_starts_again_when_the_condition_returns() {
    let mut rule = rule("    keep_firing_for: 2m\n");
    at(&mut rule, 0, &["a"]);
    at(&mut rule, 1, &[]);
    assert_eq!(rule.active().next().unwrap().keep_firing_since_ms, Some(MINUTE_MS));
    at(&mut rule, 2, &["a"]);
    assert_eq!(rule.active().next().unwrap().keep_firing_since_ms, None);
    at(&mut rule, 3, &[]);
    at(&mut rule, 4, &[]);
    assert_eq!(states(&rule), [AlertState::Firing]);
}

#[test]
fn keep_firing_for_does_not_extend_a_pending_alert() {
    let mut rule = rule("    for: 5m\n    keep_firing_for: 2m\n");
    at(&mut rule, 0, &["a"]);
    at(&mut rule, 1, &[]);
    assert_eq!(rule.alerts().count(), 0);
}

#[test]
fn a_longer_duration_makes_a_firing_alert_pending() {
    let mut rule = rule("    for: 1m\n");
    at(&mut rule, 0, &["a"]);
    at(&mut rule, 1, &["a"]);
    assert_eq!(states(&rule), [AlertState::Firing]);
    rule.rule.spec.hold_ms = 10 * MINUTE_MS;
    at(&mut rule, 2, &["a"]);
    assert_eq!(states(&rule), [AlertState::Pending]);
    assert_eq!(rule.active().next().unwrap().fired_at_ms, None);
}

#[test]
fn alerts_of_a_rule_have_states_of_their_own() {
    let mut rule = rule("    for: 1m\n");
    at(&mut rule, 0, &["a"]);
    at(&mut rule, 1, &["a", "b"]);
    assert_eq!(states(&rule), [AlertState::Firing, AlertState::Pending]);
    assert_eq!(rule.state(), AlertState::Firing);
}

#[test]
fn a_rule_without_alerts_is_inactive() {
    assert_eq!(rule("").state(), AlertState::Inactive);
}

#[test]
fn an_alert_has_the_labels_of_the_sample_and_the_rule() {
    let mut rule = rule("    labels: {severity: page, instance: other}\n");
    at(&mut rule, 0, &["a"]);
    let labels = rule.active().next().unwrap().labels.to_string();
    assert_eq!(labels, r#"{alertname="Down", instance="other", severity="page"}"#);
}

#[test]
fn labels_and_annotations_are_expanded() {
    let mut rule = rule("    labels: {l: '{{ $labels.instance }}!'}\n    annotations: {s: '{{ $value }}', t: plain}\n");
    at(&mut rule, 0, &["a"]);
    let alert = rule.active().next().unwrap();
    assert_eq!(alert.labels.get("l"), Some("a!"));
    assert_eq!(alert.annotations["s"], "0");
    assert_eq!(alert.annotations["t"], "plain");
}

#[test]
fn a_template_that_fails_is_replaced_by_its_error() {
    let mut rule = rule("    annotations: {s: '{{ query \"none\" | first }}'}\n");
    at(&mut rule, 0, &["a"]);
    let text = &rule.active().next().unwrap().annotations["s"];
    assert!(text.starts_with("<error expanding template: error executing template __alert_Down: "), "{text}");
}

#[test]
fn annotations_follow_the_value() {
    let mut rule = rule("    annotations: {s: '{{ $value }}'}\n");
    for (t_ms, value) in [(0, 1.0), (MINUTE_MS, 2.5)] {
        update(&mut rule, t_ms, &[sample("a", SampleValue::Float(value))], Limit::NONE).unwrap();
    }
    let alert = rule.active().next().unwrap();
    assert_eq!(alert.value, 2.5);
    assert_eq!(alert.annotations["s"], "2.5");
    assert_eq!(alert.active_at_ms, 0);
}

#[test]
fn the_value_of_a_histogram_is_zero() {
    let histogram = SampleValue::Histogram(Arc::new(pharos_model::Histogram { count: 3.0, ..Default::default() }));
    let mut rule = rule("    annotations: {s: '{{ $value.Count }}'}\n");
    update(&mut rule, 0, &[sample("a", histogram)], Limit::NONE).unwrap();
    let alert = rule.active().next().unwrap();
    assert_eq!(alert.value, 0.0);
    assert_eq!(alert.annotations["s"], "3");
}

#[test]
fn active_alerts_are_written_as_samples() {
    let mut rule = rule("    for: 1m\n    labels: {severity: page}\n");
    let samples = at(&mut rule, 1, &["a"]);
    let labels: Vec<_> = samples.iter().map(|sample| sample.labels.to_string()).collect();
    assert_eq!(
        labels,
        [
            r#"{__name__="ALERTS", alertname="Down", alertstate="pending", instance="a", severity="page"}"#,
            r#"{__name__="ALERTS_FOR_STATE", alertname="Down", instance="a", severity="page"}"#
        ]
    );
    assert_eq!(samples[0].value, SampleValue::Float(1.0));
    assert_eq!(samples[1].value, SampleValue::Float(60.0), "since when the condition holds, seconds");
}

#[test]
fn resolved_alerts_are_not_written() {
    let mut rule = rule("");
    at(&mut rule, 0, &["a"]);
    assert!(at(&mut rule, 1, &[]).is_empty());
}

#[test]
fn the_offset_moves_the_samples() {
    let mut rule = rule("");
    let query = |_: &str| Ok(Vec::new());
    let context = TemplateContext { t_ms: MINUTE_MS, external_url: "", query: &query };
    let result = [sample("a", SampleValue::Float(0.0))];
    let found = rule.rule.found(MINUTE_MS, &result, &context).unwrap();
    let samples = rule.alerts.update(&rule.rule.spec, MINUTE_MS, 20_000, found, Limit::NONE).unwrap();
    assert!(samples.iter().all(|sample| sample.t == 40_000));
    assert_eq!(rule.active().next().unwrap().active_at_ms, MINUTE_MS, "states have the time of the evaluation");
}

#[test]
fn alerts_with_the_same_labels_change_nothing() {
    let mut rule = rule("    for: 5m\n");
    at(&mut rule, 0, &["a"]);
    let twice = [sample("b", SampleValue::Float(0.0)), sample("b", SampleValue::Float(1.0))];
    assert_eq!(update(&mut rule, MINUTE_MS, &twice, Limit::NONE), Err(RuleError::DuplicateAlerts));
    assert_eq!(states(&rule), [AlertState::Pending]);
    assert_eq!(rule.active().next().unwrap().labels.get("instance"), Some("a"));
}

#[test]
fn too_many_alerts_drop_all() {
    let mut rule = rule("");
    at(&mut rule, 0, &["a"]);
    let two = [sample("a", SampleValue::Float(0.0)), sample("b", SampleValue::Float(0.0))];
    let refused = update(&mut rule, MINUTE_MS, &two, Limit::new(1));
    assert_eq!(refused, Err(RuleError::TooManyAlerts { limit: 1, found: 2 }));
    assert_eq!(rule.alerts().count(), 0);
}

#[test]
fn resolved_alerts_do_not_count_towards_the_limit() {
    let mut rule = rule("");
    at(&mut rule, 0, &["a"]);
    let other = [sample("b", SampleValue::Float(0.0))];
    assert!(update(&mut rule, MINUTE_MS, &other, Limit::new(1)).is_ok());
    assert_eq!(rule.alerts().count(), 2);
}

#[test]
fn an_alert_is_sent_when_it_fires_and_again_after_the_delay() {
    let mut rule = rule("    for: 1m\n");
    let mut sent = Vec::new();
    for minute in 0..6 {
        at(&mut rule, minute, &["a"]);
        sent.push(rule.alerts.due(minute * MINUTE_MS, MINUTE_MS, 2 * MINUTE_MS - 1).len());
    }
    assert_eq!(sent, [0, 1, 0, 1, 0, 1]);
    let alert = rule.active().next().unwrap();
    assert_eq!(alert.valid_until_ms, 5 * MINUTE_MS + 4 * (2 * MINUTE_MS - 1));
}

#[test]
fn a_resolved_alert_is_sent_at_once() {
    let mut rule = rule("");
    at(&mut rule, 0, &["a"]);
    assert_eq!(rule.alerts.due(0, MINUTE_MS, 10 * MINUTE_MS).len(), 1);
    at(&mut rule, 1, &[]);
    let due = rule.alerts.due(MINUTE_MS, MINUTE_MS, 10 * MINUTE_MS);
    assert_eq!(due[0].resolved_at_ms, Some(MINUTE_MS));
    at(&mut rule, 2, &[]);
    assert!(rule.alerts.due(2 * MINUTE_MS, MINUTE_MS, 10 * MINUTE_MS).is_empty());
}
