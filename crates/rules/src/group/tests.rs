use super::*;
use crate::file::RuleGroups;

/// Answers every query with `up` samples of its instances, and keeps what is written.
#[derive(Default)]
struct Store {
    instances: Vec<&'static str>,
    written: Vec<VectorSample>,
    asked_at: std::cell::Cell<i64>,
}

impl RuleStore for Store {
    fn query(&self, _: &Expr, text: &str, t_ms: i64) -> Result<Vec<VectorSample>, String> {
        self.asked_at.set(t_ms);
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
        self.written.extend_from_slice(samples);
        Ok(())
    }
}

fn group(text: &str) -> Group {
    Group::new(&RuleGroups::parse(text, false).unwrap().groups[0], &GroupOptions::default())
}

#[test]
fn recorded_series_go_stale() {
    let mut group = group(
        "groups:\n- name: g\n  query_offset: 1m\n  labels: {team: a}\n  rules:\n  - record: r\n    expr: up\n    labels: {x: y}\n",
    );
    let mut store = Store { instances: vec!["a", "b"], ..Store::default() };
    group.eval(120_000, &mut store);
    assert_eq!(store.asked_at.get(), 60_000);
    let labels: Vec<_> = store.written.iter().map(|s| (s.labels.to_string(), s.t)).collect();
    assert_eq!(labels[0], (r#"{__name__="r", instance="a", team="a", x="y"}"#.to_string(), 60_000));
    store.instances = vec!["b"];
    store.written.clear();
    group.eval(180_000, &mut store);
    assert_eq!(store.written.len(), 2);
    assert!(matches!(store.written[1].value, SampleValue::Float(v) if v.to_bits() == STALE_NAN.to_bits()));
    assert_eq!(store.written[1].labels.get("instance"), Some("a"));
}

#[test]
fn errors_stay_with_their_rule() {
    let mut group = group(
        "groups:\n- name: g\n  limit: 1\n  rules:\n  - {record: a, expr: broken}\n  - {record: b, expr: up}\n  \
         - {record: c, expr: up, labels: {instance: same}}\n",
    );
    let mut store = Store { instances: vec!["a", "b"], ..Store::default() };
    group.eval(0, &mut store);
    let errors: Vec<_> = group.rules().map(|(_, error)| error.map(ToString::to_string).unwrap_or_default()).collect();
    assert_eq!(
        errors,
        [
            "it is broken",
            "exceeded limit of 1 with 2 series",
            "vector contains metrics with the same labelset after applying rule labels"
        ]
    );
    assert!(store.written.is_empty());
}
