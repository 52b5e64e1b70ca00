use pharos_model::Labels;
use pharos_promql::SampleValue;

use super::*;
use crate::file::RuleGroups;

fn rule(group_labels: &[(&str, &str)], labels: &str) -> RecordingRule {
    let text = format!("groups:\n- name: g\n  rules:\n  - {{record: r, expr: up, labels: {{{labels}}}}}\n");
    let spec = RuleGroups::parse(&text, false).unwrap().groups.remove(0).rules.remove(0);
    let group_labels = group_labels.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
    RecordingRule::new(spec, &group_labels)
}

fn sample(labels: &[(&str, &str)], value: f64) -> VectorSample {
    VectorSample { labels: Labels::from_pairs(labels.iter().copied()), t: 0, value: SampleValue::Float(value) }
}

fn labels_of(samples: &[VectorSample]) -> Vec<String> {
    samples.iter().map(|sample| sample.labels.to_string()).collect()
}

#[test]
fn the_name_of_the_rule_replaces_that_of_the_metric() {
    let samples = rule(&[], "").samples(vec![sample(&[("__name__", "up"), ("a", "b")], 1.0)], Limit::NONE).unwrap();
    assert_eq!(labels_of(&samples), [r#"{__name__="r", a="b"}"#]);
}

#[test]
fn labels_of_the_rule_replace_those_of_the_group_and_of_the_result() {
    let rule = rule(&[("a", "group"), ("b", "group")], "a: rule");
    let samples = rule.samples(vec![sample(&[("a", "result"), ("b", "result"), ("c", "result")], 1.0)], Limit::NONE);
    assert_eq!(labels_of(&samples.unwrap()), [r#"{__name__="r", a="rule", b="group", c="result"}"#]);
}

#[test]
fn an_empty_label_of_the_rule_removes_a_label() {
    let samples = rule(&[], "a: ''").samples(vec![sample(&[("a", "b")], 1.0)], Limit::NONE).unwrap();
    assert_eq!(labels_of(&samples), [r#"{__name__="r"}"#]);
}

#[test]
fn samples_that_become_the_same_series_are_refused() {
    let result = vec![sample(&[("__name__", "x"), ("a", "b")], 1.0), sample(&[("__name__", "y"), ("a", "b")], 2.0)];
    assert_eq!(rule(&[], "").samples(result, Limit::NONE), Err(RuleError::DuplicateSeries));
}

#[test]
fn the_limit_bounds_the_number_of_series() {
    let result = || vec![sample(&[("a", "1")], 1.0), sample(&[("a", "2")], 2.0)];
    assert_eq!(rule(&[], "").samples(result(), Limit::new(2)).unwrap().len(), 2);
    let refused = rule(&[], "").samples(result(), Limit::new(1)).unwrap_err();
    assert_eq!(refused.to_string(), "exceeded limit of 1 with 2 series");
}

#[test]
fn an_empty_result_gives_no_samples() {
    assert_eq!(rule(&[], "").samples(Vec::new(), Limit::new(1)), Ok(Vec::new()));
}
