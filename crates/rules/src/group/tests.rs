use super::*;
use crate::alerting::AlertState;
use crate::file::RuleGroups;

/// Answers every query with `up` samples of its instances, and keeps what is written.
#[derive(Default)]
struct Store {
    instances: Vec<&'static str>,
    written: Vec<VectorSample>,
    queried: std::cell::RefCell<Vec<(String, i64)>>,
    refuses: bool,
}

impl RuleStore for Store {
    fn query(&self, _: &Expr, text: &str, t_ms: i64) -> Result<Vec<VectorSample>, String> {
        self.queried.borrow_mut().push((text.to_string(), t_ms));
        if text == "broken" {
            return Err("it is broken".into());
        }
        let sample = |name: &&str| VectorSample {
            labels: Labels::from_pairs([("__name__", "up"), ("instance", name)]),
            t: t_ms,
            value: SampleValue::Float(1.0),
        };
        Ok(self.instances.iter().map(sample).collect())
    }

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
    group.rules().map(|(_, error)| error.map(ToString::to_string).unwrap_or_default()).collect()
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
    let mut group = group_with("  - {record: r, expr: up}\n", "  labels: {team: x}\n", &GroupOptions::default());
    group.eval(0, &mut store);
    assert_eq!(store.take(), [r#"{__name__="r", instance="a", team="x"} 1 @0"#]);
}

#[test]
fn the_query_offset_moves_queries_and_samples() {
    let mut store = Store::with(&["a"]);
    let mut group = group_with("  - {record: r, expr: up}\n", "  query_offset: 1m\n", &GroupOptions::default());
    group.eval(120_000, &mut store);
    assert_eq!(*store.queried.borrow(), [("up".to_string(), 60_000)]);
    assert_eq!(store.take(), [r#"{__name__="r", instance="a"} 1 @60000"#]);
}

#[test]
fn groups_without_settings_have_those_of_the_server() {
    let options = GroupOptions { interval_ms: 15_000, query_offset_ms: 5_000, ..GroupOptions::default() };
    let mut store = Store::with(&[]);
    let mut default = group_with("  - {record: r, expr: up}\n", "", &options);
    assert_eq!(default.interval_ms, 15_000);
    default.eval(60_000, &mut store);
    assert_eq!(store.queried.borrow()[0].1, 55_000);
    let own = group_with("  - {record: r, expr: up}\n", "  interval: 1m\n", &options);
    assert_eq!(own.interval_ms, 60_000);
}

#[test]
fn a_series_that_vanishes_gets_one_stale_marker() {
    let mut group = group("  - {record: r, expr: up}\n");
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
    let mut group = group("  - {record: r, expr: up}\n");
    let mut store = Store::with(&["a"]);
    group.eval(0, &mut store);
    store.take();
    let RuleState { rule: Rule::Recording(rule), .. } = &mut group.rules[0] else { panic!("it records") };
    rule.spec.text = "broken".into();
    group.eval(60_000, &mut store);
    assert_eq!(store.take(), Vec::<String>::new());
    assert_eq!(errors(&group), ["it is broken"]);
}

#[test]
fn a_rule_that_fails_does_not_stop_the_next_one() {
    let mut group = group("  - {record: a, expr: broken}\n  - {record: b, expr: up}\n");
    let mut store = Store::with(&["i"]);
    group.eval(0, &mut store);
    assert_eq!(errors(&group), ["it is broken", ""]);
    assert_eq!(store.take(), [r#"{__name__="b", instance="i"} 1 @0"#]);
}

#[test]
fn the_limit_applies_to_each_rule() {
    let rules = "  - {record: a, expr: up}\n  - {alert: B, expr: up}\n";
    let mut group = group_with(rules, "  limit: 1\n", &GroupOptions::default());
    let mut store = Store::with(&["a", "b"]);
    group.eval(0, &mut store);
    assert_eq!(errors(&group), ["exceeded limit of 1 with 2 series", "exceeded limit of 1 with 2 alerts"]);
    assert!(store.written.is_empty());
}

#[test]
fn labels_that_make_series_equal_are_an_error() {
    let mut group = group("  - {record: c, expr: up, labels: {instance: same}}\n");
    group.eval(0, &mut Store::with(&["a", "b"]));
    assert_eq!(errors(&group), ["vector contains metrics with the same labelset after applying rule labels"]);
}

#[test]
fn an_error_ends_with_the_next_evaluation_that_succeeds() {
    let mut group = group("  - {record: a, expr: up}\n");
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
    let mut group = group_with(rules, "  query_offset: 1m\n", &GroupOptions::default());
    let mut store = Store::with(&["a"]);
    group.eval(120_000, &mut store);
    assert_eq!(*store.queried.borrow(), [("up".to_string(), 60_000), ("count(up)".to_string(), 120_000)]);
    let Some((Rule::Alerting(rule), None)) = group.rules().next() else { panic!("it alerts") };
    assert_eq!(rule.alerts().next().unwrap().annotations["n"], "1");
}

#[test]
fn an_invalid_query_of_a_template_is_in_its_text() {
    let rules = "  - alert: A\n    expr: up\n    annotations: {n: '{{ query \"up ==\" }}'}\n";
    let mut group = group(rules);
    group.eval(0, &mut Store::with(&["a"]));
    let Some((Rule::Alerting(rule), None)) = group.rules().next() else { panic!("it alerts") };
    let text = &rule.alerts().next().unwrap().annotations["n"];
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
    let mut group = group_with(rules, "", &options);
    group.eval(0, &mut Store::with(&["a"]));
    let Some((Rule::Alerting(rule), None)) = group.rules().next() else { panic!("it alerts") };
    assert_eq!(rule.alerts().next().unwrap().labels.get("l"), Some("eu http://pharos.example.org"));
}

#[test]
fn an_alert_that_is_resolved_ends_its_series() {
    let mut group = group("  - {alert: A, expr: up}\n");
    let mut store = Store::with(&["a"]);
    group.eval(0, &mut store);
    assert_eq!(store.take().len(), 2);
    store.instances.clear();
    group.eval(60_000, &mut store);
    let written = store.take();
    assert_eq!(written.len(), 2);
    assert!(written.iter().all(|line| line.ends_with("stale @60000")), "{written:?}");
    let Some((Rule::Alerting(rule), None)) = group.rules().next() else { panic!("it alerts") };
    assert_eq!(rule.state(), AlertState::Inactive);
}

#[test]
fn rules_keep_their_order_and_specification() {
    let group = group("  - {record: a, expr: up}\n  - {alert: B, expr: up}\n");
    let names: Vec<_> = group.rules().map(|(rule, _)| rule.spec().name.as_str()).collect();
    assert_eq!(names, ["a", "B"]);
    assert_eq!(group.name, "g");
}
