use pharos_model::STALE_NAN;
use pharos_promql::SampleValue;
use pharos_promql::syntax::ast::Expr;

use super::*;
use crate::alerts::AlertState;
use crate::file::RuleGroups;
use crate::restore::RestorePolicy;
use crate::store::{QueryFailure, RuleQueries};

/// Answers every query with `up` samples of its instances, and keeps what is written.
#[derive(Default)]
struct Store {
    instances: Vec<&'static str>,
    written: Vec<VectorSample>,
    queried: std::cell::RefCell<Vec<(String, i64)>>,
    refuses: bool,
    fails: bool,
    /// What the series of earlier evaluations say, by the text of queries.
    stored: Vec<(&'static str, VectorSample)>,
}

impl RuleQueries for Store {
    fn query(
        &self,
        _: &Expr,
        text: &str,
        t_ms: i64,
        lookback_ms: Option<i64>,
    ) -> Result<Vec<VectorSample>, QueryFailure> {
        if lookback_ms.is_some() {
            let of_query = self.stored.iter().filter(|(query, _)| *query == text);
            return Ok(of_query.map(|(_, sample)| sample.clone()).collect());
        }
        self.queried.borrow_mut().push((text.to_string(), t_ms));
        if self.fails || text == "broken" {
            return Err("it is broken".into());
        }
        let sample = |name: &&str| VectorSample {
            labels: Labels::from_pairs([("__name__", "up"), ("instance", name)]),
            t: t_ms,
            value: SampleValue::Float(1.0),
        };
        Ok(self.instances.iter().map(sample).collect())
    }
}

impl RuleStore for Store {
    fn append(&mut self, samples: &[VectorSample]) -> Result<(), String> {
        if self.refuses {
            return Err("disk full".into());
        }
        self.written.extend_from_slice(samples);
        Ok(())
    }
}

impl Store {
    fn with(instances: &[&'static str]) -> Self {
        Store { instances: instances.to_vec(), ..Store::default() }
    }

    /// Takes what was written, as `labels value @time`.
    fn take(&mut self) -> Vec<String> {
        let show = |sample: &VectorSample| {
            let value = match &sample.value {
                SampleValue::Float(v) if v.to_bits() == STALE_NAN.to_bits() => "stale".to_string(),
                SampleValue::Float(v) => v.to_string(),
                SampleValue::Histogram(h) => h.to_string(),
            };
            format!("{} {value} @{}", sample.labels, sample.t)
        };
        std::mem::take(&mut self.written).iter().map(show).collect()
    }
}

fn group_with(rules: &str, settings: &str, options: &GroupOptions) -> Group {
    let text = format!("groups:\n- name: g\n{settings}  rules:\n{rules}");
    Group::new(&RuleGroups::parse(&text, false).unwrap().groups[0], options)
}

fn group(rules: &str) -> Group {
    group_with(rules, "", &GroupOptions::default())
}

fn errors(group: &Group) -> Vec<String> {
    let error = |rule: &Arc<GroupRule>| match rule.status().outcome {
        Some(Err(error)) => error.to_string(),
        _ => String::new(),
    };
    group.rules().iter().map(error).collect()
}

/// The first alert of the first rule.
fn first_alert(group: &Group) -> crate::alerts::Alert {
    group.rules()[0].alerts().all().next().unwrap().clone()
}

#[test]
fn a_recording_rule_writes_its_result() {
    let mut store = Store::with(&["a", "b"]);
    group("  - {record: r, expr: up, labels: {x: y}}\n").eval(60_000, &mut store);
    assert_eq!(
        store.take(),
        [r#"{__name__="r", instance="a", x="y"} 1 @60000"#, r#"{__name__="r", instance="b", x="y"} 1 @60000"#]
    );
}

#[test]
fn labels_of_the_group_are_added() {
    let mut store = Store::with(&["a"]);
    let group = group_with("  - {record: r, expr: up}\n", "  labels: {team: x}\n", &GroupOptions::default());
    group.eval(0, &mut store);
    assert_eq!(store.take(), [r#"{__name__="r", instance="a", team="x"} 1 @0"#]);
}

#[test]
fn the_query_offset_moves_queries_and_samples() {
    let mut store = Store::with(&["a"]);
    let group = group_with("  - {record: r, expr: up}\n", "  query_offset: 1m\n", &GroupOptions::default());
    group.eval(120_000, &mut store);
    assert_eq!(*store.queried.borrow(), [("up".to_string(), 60_000)]);
    assert_eq!(store.take(), [r#"{__name__="r", instance="a"} 1 @60000"#]);
}

#[test]
fn groups_without_settings_have_those_of_the_server() {
    let options = GroupOptions { interval_ms: 15_000, query_offset_ms: 5_000, ..GroupOptions::default() };
    let mut store = Store::with(&[]);
    let default = group_with("  - {record: r, expr: up}\n", "", &options);
    assert_eq!(default.interval_ms, 15_000);
    default.eval(60_000, &mut store);
    assert_eq!(store.queried.borrow()[0].1, 55_000);
    let own = group_with("  - {record: r, expr: up}\n", "  interval: 1m\n", &options);
    assert_eq!(own.interval_ms, 60_000);
}

#[test]
fn a_series_that_vanishes_gets_one_stale_marker() {
    let group = group("  - {record: r, expr: up}\n");
    let mut store = Store::with(&["a", "b"]);
    group.eval(0, &mut store);
    store.take();
    store.instances = vec!["b"];
    group.eval(60_000, &mut store);
    assert_eq!(
        store.take(),
        [r#"{__name__="r", instance="b"} 1 @60000"#, r#"{__name__="r", instance="a"} stale @60000"#]
    );
    group.eval(120_000, &mut store);
    assert_eq!(store.take(), [r#"{__name__="r", instance="b"} 1 @120000"#]);
}

#[test]
fn a_failed_query_marks_nothing_as_stale() {
    let group = group("  - {record: r, expr: up}\n");
    let mut store = Store::with(&["a"]);
    group.eval(0, &mut store);
    store.take();
    store.fails = true;
    group.eval(60_000, &mut store);
    assert_eq!(store.take(), Vec::<String>::new());
    assert_eq!(errors(&group), ["it is broken"]);
}

#[test]
fn a_rule_that_fails_does_not_stop_the_next_one() {
    let group = group("  - {record: a, expr: broken}\n  - {record: b, expr: up}\n");
    let mut store = Store::with(&["i"]);
    group.eval(0, &mut store);
    assert_eq!(errors(&group), ["it is broken", ""]);
    assert_eq!(store.take(), [r#"{__name__="b", instance="i"} 1 @0"#]);
}

#[test]
fn the_limit_applies_to_each_rule() {
    let rules = "  - {record: a, expr: up}\n  - {alert: B, expr: up}\n";
    let group = group_with(rules, "  limit: 1\n", &GroupOptions::default());
    let mut store = Store::with(&["a", "b"]);
    group.eval(0, &mut store);
    assert_eq!(errors(&group), ["exceeded limit of 1 with 2 series", "exceeded limit of 1 with 2 alerts"]);
    assert!(store.written.is_empty());
}

#[test]
fn labels_that_make_series_equal_are_an_error() {
    let group = group("  - {record: c, expr: up, labels: {instance: same}}\n");
    group.eval(0, &mut Store::with(&["a", "b"]));
    assert_eq!(errors(&group), ["vector contains metrics with the same labelset after applying rule labels"]);
}

#[test]
fn an_error_ends_with_the_next_evaluation_that_succeeds() {
    let group = group("  - {record: a, expr: up}\n");
    let mut store = Store { refuses: true, ..Store::with(&["a"]) };
    group.eval(0, &mut store);
    assert_eq!(errors(&group), ["disk full"]);
    store.refuses = false;
    group.eval(60_000, &mut store);
    assert_eq!(errors(&group), [""]);
}

#[test]
fn templates_query_the_store_at_the_time_of_the_evaluation() {
    let rules = "  - alert: A\n    expr: up\n    annotations: {n: '{{ query \"count(up)\" | len }}'}\n";
    let group = group_with(rules, "  query_offset: 1m\n", &GroupOptions::default());
    let mut store = Store::with(&["a"]);
    group.eval(120_000, &mut store);
    assert_eq!(*store.queried.borrow(), [("up".to_string(), 60_000), ("count(up)".to_string(), 120_000)]);
    assert_eq!(first_alert(&group).annotations["n"], "1");
}

#[test]
fn an_invalid_query_of_a_template_is_in_its_text() {
    let rules = "  - alert: A\n    expr: up\n    annotations: {n: '{{ query \"up ==\" }}'}\n";
    let group = group(rules);
    group.eval(0, &mut Store::with(&["a"]));
    let text = &first_alert(&group).annotations["n"];
    assert!(text.starts_with("<error expanding template: ") && text.contains("error calling query"), "{text}");
}

#[test]
fn templates_see_the_external_labels_and_the_url() {
    let options = GroupOptions {
        external_labels: Arc::new(Texts::from([("region".to_string(), "eu".to_string())])),
        external_url: "http://pharos.example.org".into(),
        ..GroupOptions::default()
    };
    let rules = "  - alert: A\n    expr: up\n    labels: {l: '{{ $externalLabels.region }} {{ externalURL }}'}\n";
    let group = group_with(rules, "", &options);
    group.eval(0, &mut Store::with(&["a"]));
    assert_eq!(first_alert(&group).labels.get("l"), Some("eu http://pharos.example.org"));
}

#[test]
fn an_alert_that_is_resolved_ends_its_series() {
    let group = group("  - {alert: A, expr: up}\n");
    let mut store = Store::with(&["a"]);
    group.eval(0, &mut store);
    assert_eq!(store.take().len(), 2);
    store.instances.clear();
    group.eval(60_000, &mut store);
    let written = store.take();
    assert_eq!(written.len(), 2);
    assert!(written.iter().all(|line| line.ends_with("stale @60000")), "{written:?}");
    assert_eq!(group.rules()[0].alerts().state(), AlertState::Inactive);
}

#[test]
fn rules_keep_their_order_and_specification() {
    let group = group("  - {record: a, expr: up}\n  - {alert: B, expr: up}\n");
    let names: Vec<_> = group.rules().iter().map(|rule| rule.spec().name.as_str()).collect();
    assert_eq!(names, ["a", "B"]);
    assert_eq!(group.name, "g");
}

#[test]
fn a_changed_group_continues_its_rules_and_abandons_those_that_are_gone() {
    let earlier = group("  - {record: a, expr: up}\n  - {record: b, expr: up}\n  - {alert: C, expr: up, for: 5m}\n");
    let mut store = Store::with(&["i"]);
    earlier.eval(0, &mut store);
    store.take();
    let later = group("  - {alert: C, expr: up, for: 1m}\n  - {record: a, expr: 'up > 0'}\n");
    later.continue_from(&earlier);
    let gone = later.abandoned(60_000, |_| false);
    assert_eq!(
        gone.iter().map(|sample| sample.labels.to_string()).collect::<Vec<_>>(),
        [r#"{__name__="b", instance="i"}"#]
    );
    later.eval(60_000, &mut store);
    assert_eq!(first_alert(&later).state, AlertState::Firing, "its condition holds since the first evaluation");
    store.instances.clear();
    store.take();
    later.eval(120_000, &mut store);
    assert!(store.take().contains(&r#"{__name__="a", instance="i"} stale @120000"#.to_string()));
    later.forget_abandoned();
    assert!(later.abandoned(180_000, |_| false).is_empty());
}

#[test]
fn abandoned_series_that_another_group_writes_get_no_stale_marker() {
    let earlier = group("  - {record: a, expr: up}\n");
    earlier.eval(0, &mut Store::with(&["i"]));
    earlier.abandon();
    assert!(earlier.abandoned(60_000, |_| true).is_empty());
}

fn stored(text: &'static str, labels: &[(&str, &str)], value: f64) -> (&'static str, VectorSample) {
    let labels = Labels::from_pairs(labels.iter().copied());
    (text, VectorSample { labels, t: 0, value: SampleValue::Float(value) })
}

/// A store with the series of an alert that became active and was seen at these times, seconds.
fn store_with_alert(instances: &[&'static str], active_s: f64, seen_s: f64, fired: bool) -> Store {
    let of_alert = [("alertname", "A"), ("instance", "i")];
    let with = |name: &'static str| [("__name__", name), ("alertname", "A"), ("instance", "i")];
    let since = r#"{__name__="ALERTS_FOR_STATE", alertname="A"}"#;
    let seen = r#"timestamp({__name__="ALERTS_FOR_STATE", alertname="A"})"#;
    let mut store = Store::with(instances);
    store.stored.push(stored(since, &with("ALERTS_FOR_STATE"), active_s));
    store.stored.push(stored(seen, &of_alert, seen_s));
    if fired {
        let firing = r#"{__name__="ALERTS", alertname="A", alertstate="firing"}"#;
        store.stored.push(stored(firing, &with("ALERTS"), 1.0));
    }
    store
}

/// Evaluates a restored rule at a time, seconds.
fn eval_restored(rules: &str, store: &Store, t_s: i64) -> (Group, Vec<VectorSample>) {
    let group = group(rules);
    let group = Group { interval_ms: 60_000, ..group };
    mark_collisions([&group]);
    let policy = RestorePolicy { outage_tolerance_ms: 3_600_000, grace_period_ms: 600_000 };
    let evaluation = Evaluation { restore: Some(policy), ..group.evaluation(t_s * 1000) };
    let samples = group.rules()[0].evaluate(&evaluation, store).unwrap();
    (group, samples)
}

#[test]
fn a_firing_alert_fires_on_after_a_restart() {
    let store = store_with_alert(&["i"], 1000.0, 2000.0, true);
    let (group, samples) = eval_restored("  - {alert: A, expr: up, for: 5m}\n", &store, 3000);
    assert_eq!(first_alert(&group).state, AlertState::Firing);
    assert_eq!(first_alert(&group).active_at_ms, 1_000_000);
    assert_eq!(samples[1].value, SampleValue::Float(1000.0));
}

#[test]
fn a_pending_alert_begins_again_after_an_outage_if_it_waits_less_than_the_grace_period() {
    let store = store_with_alert(&["i"], 1000.0, 1100.0, false);
    let (group, _) = eval_restored("  - {alert: A, expr: up, for: 5m}\n", &store, 3000);
    assert_eq!(first_alert(&group).active_at_ms, 3_000_000);
}

#[test]
fn a_pending_alert_waits_at_least_for_the_grace_period_after_an_outage() {
    let store = store_with_alert(&["i"], 1000.0, 2100.0, false);
    let (group, _) = eval_restored("  - {alert: A, expr: up, for: 20m}\n", &store, 3000);
    assert_eq!(first_alert(&group).active_at_ms, 3_000_000 + 600_000 - 1_200_000);
}

#[test]
fn the_time_of_an_outage_does_not_count_for_a_pending_alert() {
    let store = store_with_alert(&["i"], 1000.0, 1100.0, false);
    let (group, _) = eval_restored("  - {alert: A, expr: up, for: 20m}\n", &store, 3000);
    assert_eq!(first_alert(&group).active_at_ms, 1_000_000 + 1_900_000);
}

#[test]
fn an_alert_that_was_evaluated_until_now_goes_on() {
    let store = store_with_alert(&["i"], 1000.0, 1060.0, false);
    let (group, _) = eval_restored("  - {alert: A, expr: up, for: 2m}\n", &store, 1120);
    assert_eq!(first_alert(&group).state, AlertState::Firing);
}

#[test]
fn an_alert_that_was_evaluated_until_now_is_resolved_when_its_condition_ends() {
    let store = store_with_alert(&[], 1000.0, 1060.0, true);
    let (group, samples) = eval_restored("  - {alert: A, expr: up}\n", &store, 1120);
    assert!(samples.is_empty());
    let due = group.rules()[0].alerts_due(1_120_000, 60_000, 60_000);
    assert_eq!(due[0].resolved_at_ms, Some(1_120_000));
}

#[test]
fn an_alert_that_may_belong_to_another_rule_is_not_resolved() {
    let store = store_with_alert(&[], 1000.0, 1060.0, true);
    let (group, _) =
        eval_restored("  - {alert: A, expr: up}\n  - {alert: A, expr: up, labels: {a: b}}\n", &store, 1120);
    assert!(group.rules()[0].alerts_due(1_120_000, 60_000, 60_000).is_empty());
}

#[test]
fn the_series_of_an_earlier_process_end_when_the_rule_does_not_produce_them() {
    let mut store = Store::with(&[]);
    store.stored.push(stored(r#"{__name__="r"}"#, &[("__name__", "r"), ("instance", "gone")], 1.0));
    let (group, samples) = eval_restored("  - {record: r, expr: up}\n", &store, 1120);
    let write = group.rules()[0].write_of(samples, &group.evaluation(1_120_000));
    assert_eq!(write.stale[0].labels.to_string(), r#"{__name__="r", instance="gone"}"#);
}

#[test]
fn rules_with_other_labels_do_not_collide() {
    let rules = group("  - {alert: A, expr: up, labels: {s: a}}\n  - {alert: A, expr: up, labels: {s: b}}\n");
    let [a, b] = rules.rules() else { panic!("two rules") };
    assert!(!crate::restore::may_collide(a.spec(), b.spec()));
    assert!(crate::restore::may_collide(a.spec(), a.spec()));
}
