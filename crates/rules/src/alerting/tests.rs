use super::*;
use crate::file::RuleGroups;

fn rule(options: &str) -> AlertingRule {
    let text = format!("groups:\n- name: g\n  rules:\n  - alert: Down\n    expr: up == 0\n{options}");
    let group = RuleGroups::parse(&text, false).unwrap().groups.remove(0);
    AlertingRule::new(group.rules[0].clone(), &group.labels, Arc::default())
}

/// Evaluates at a minute, with one sample for each instance.
fn at(rule: &mut AlertingRule, minute: i64, instances: &[&str], limit: usize) -> Result<Vec<VectorSample>, RuleError> {
    let sample = |name: &&str| VectorSample {
        labels: Labels::from_pairs([("__name__", "up"), ("instance", name)]),
        t: 0,
        value: SampleValue::Float(0.0),
    };
    let result: Vec<_> = instances.iter().map(sample).collect();
    let query = |_: &str| Ok(Vec::new());
    let around = TemplateContext { t_ms: minute * 60_000, external_url: "", query: &query };
    rule.update(minute * 60_000, 0, &result, &around, limit)
}

fn states(rule: &AlertingRule) -> Vec<AlertState> {
    rule.active().map(|alert| alert.state).collect()
}

#[test]
fn pending_firing_resolved() {
    let mut rule = rule("    for: 2m\n    annotations: {s: '{{ $labels.instance }} {{ $value }}'}\n");
    at(&mut rule, 0, &["a"], 0).unwrap();
    assert_eq!(states(&rule), [AlertState::Pending]);
    at(&mut rule, 1, &[], 0).unwrap();
    assert!(states(&rule).is_empty(), "a pending alert is forgotten");
    for minute in 2..=4 {
        at(&mut rule, minute, &["a"], 0).unwrap();
    }
    assert_eq!(states(&rule), [AlertState::Firing]);
    let alert = rule.active().next().unwrap();
    assert_eq!((alert.active_at_ms, alert.fired_at_ms), (120_000, Some(240_000)));
    assert_eq!(alert.labels.to_string(), r#"{alertname="Down", instance="a"}"#);
    assert_eq!(alert.annotations["s"], "a 0");
    at(&mut rule, 5, &[], 0).unwrap();
    assert_eq!((states(&rule).len(), rule.alerts().count(), rule.state()), (0, 1, AlertState::Inactive));
    at(&mut rule, 21, &[], 0).unwrap();
    assert_eq!(rule.alerts().count(), 0, "it was kept for a quarter of an hour");
}

#[test]
fn keep_firing_for() {
    let mut rule = rule("    keep_firing_for: 2m\n");
    at(&mut rule, 0, &["a"], 0).unwrap();
    for (minute, fires) in [(1, true), (2, true), (3, false)] {
        at(&mut rule, minute, &[], 0).unwrap();
        assert_eq!(!states(&rule).is_empty(), fires, "minute {minute}");
    }
}

#[test]
fn samples_duplicates_and_limits() {
    let mut rule = rule("    for: 1m\n    labels: {severity: page}\n");
    let samples = at(&mut rule, 1, &["a"], 0).unwrap();
    let labels: Vec<_> = samples.iter().map(|sample| sample.labels.to_string()).collect();
    assert_eq!(
        labels,
        [
            r#"{__name__="ALERTS", alertname="Down", alertstate="pending", instance="a", severity="page"}"#,
            r#"{__name__="ALERTS_FOR_STATE", alertname="Down", instance="a", severity="page"}"#
        ]
    );
    assert_eq!(samples[1].value, SampleValue::Float(60.0));
    assert_eq!(at(&mut rule, 2, &["a", "a"], 0), Err(RuleError::DuplicateAlerts));
    assert_eq!(states(&rule), [AlertState::Pending], "nothing has changed");
    assert_eq!(at(&mut rule, 3, &["a", "b"], 1), Err(RuleError::TooManyAlerts { limit: 1, found: 2 }));
    assert_eq!(rule.alerts().count(), 0);
}
