use super::*;
use crate::matcher::Syntax;

fn time(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn labels(text: &str) -> LabelMap {
    let pairs = text.split(',').filter_map(|pair| pair.split_once('='));
    pairs.map(|(name, value)| (name.to_string(), value.to_string())).collect()
}

fn alert(text: &str, ends: i64) -> Arc<Alert> {
    Arc::new(Alert {
        labels: labels(text),
        annotations: LabelMap::new(),
        starts_at: time(0),
        ends_at: Some(time(ends)),
        updated_at: time(0),
        generator_url: String::new(),
        timed_out: false,
    })
}

fn rule(source: &str, target: &str, equal: &[&str]) -> InhibitRule {
    let matchers = |text: &str| Syntax::Both.matchers(text, "test").unwrap();
    InhibitRule {
        name: String::new(),
        source: matchers(source),
        target: matchers(target),
        equal: equal.iter().map(ToString::to_string).collect(),
    }
}

#[test]
fn an_active_source_mutes_targets_with_equal_labels() {
    let mut inhibition = Inhibition::new(vec![rule("severity=critical", "severity=warning", &["cluster", "zone"])]);
    let source = alert("severity=critical,cluster=a", 100);
    inhibition.put(&source);
    let muting = |text: &str, at: i64| inhibition.muting(&labels(text), time(at));
    assert_eq!(muting("severity=warning,cluster=a", 50), Some(source.fingerprint()));
    assert_eq!(muting("severity=warning,cluster=a", 100), None);
    assert_eq!(muting("severity=warning,cluster=b", 50), None);
    // A label that both lack is equal.
    assert_eq!(muting("severity=warning,cluster=a,zone=1", 50), None);
    assert_eq!(muting("severity=info,cluster=a", 50), None);
}

#[test]
fn any_of_several_sources_and_rules_suffices() {
    let rules = vec![rule("a=1", "x=1", &[]), rule("b=1", "x=1", &[])];
    let mut inhibition = Inhibition::new(rules);
    inhibition.put(&alert("a=1,n=1", 10));
    inhibition.put(&alert("a=1,n=2", 20));
    let b = alert("b=1", 30);
    inhibition.put(&b);
    assert!(inhibition.muting(&labels("x=1"), time(15)).is_some());
    assert_eq!(inhibition.muting(&labels("x=1"), time(25)), Some(b.fingerprint()));
}

#[test]
fn alerts_on_both_sides_of_a_rule_do_not_mute_each_other() {
    let mut inhibition = Inhibition::new(vec![rule("a=1", "b=1", &[])]);
    inhibition.put(&alert("a=1,b=1,n=1", 100));
    assert_eq!(inhibition.muting(&labels("a=1,b=1,n=2"), time(1)), None);
    assert!(inhibition.muting(&labels("b=1"), time(1)).is_some());
    inhibition.put(&alert("a=1", 100));
    assert!(inhibition.muting(&labels("a=1,b=1,n=2"), time(1)).is_some());
}

#[test]
fn resolved_sources_are_forgotten() {
    let mut inhibition = Inhibition::new(vec![rule("a=1", "b=1", &[])]);
    inhibition.put(&alert("a=1", 10));
    inhibition.collect_garbage(time(10));
    // At this moment it would be active.
    assert_eq!(inhibition.muting(&labels("b=1"), time(5)), None);
}
