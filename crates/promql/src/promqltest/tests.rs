//! The notation and the judgement of the runner itself.

use std::sync::Arc;

use super::*;
use crate::engine::Engine;

fn values(text: &str) -> Vec<SeriesValue> {
    parse_series(&format!("m {text}")).unwrap().1
}

#[test]
fn series_notation() {
    let floats = |text: &str| -> Vec<Option<f64>> {
        let of = |v: &SeriesValue| match v {
            SeriesValue::Float(v) => Some(*v),
            _ => None,
        };
        values(text).iter().map(of).collect()
    };
    assert_eq!(floats("1+2x3 _ 5"), [Some(1.0), Some(3.0), Some(5.0), Some(7.0), None, Some(5.0)]);
    assert_eq!(
        floats("_x2 0x1 -1-1x1 1e-3+1e3x1"),
        [None, None, Some(0.0), Some(0.0), Some(-1.0), Some(-2.0), Some(0.001), Some(1000.001)]
    );
    assert!(floats("stale NaN -Inf")[0].unwrap().is_nan() && floats("Inf")[0] == Some(f64::INFINITY));
    let (labels, _) = parse_series(r#"{"http.requests",path="a } b",code="200"} 1"#).unwrap();
    assert_eq!((labels.metric_name(), labels.get("path")), ("http.requests", Some("a } b")));
    let histograms = values("{{count:1 sum:2 buckets:[1]}}+{{count:1 buckets:[0 1] offset:0}}x2 {{}}x1");
    assert_eq!(histograms.len(), 5);
    let SeriesValue::Histogram(h, false) = &histograms[2] else { panic!("no histogram") };
    assert_eq!((h.count, h.positive_buckets.as_slice()), (3.0, &[1.0, 2.0][..]));
    for bad in [
        "m 1+x2",
        "m {{a:1}}",
        "m {{count:1",
        "m 1x99999999999",
        "m{a=~\"b\"} 1",
        "1 2",
        "m {{}}+{{schema:-53}}x1",
        "m \u{e9}",
    ] {
        assert!(parse_series(bad).is_err(), "{bad}");
    }
}

#[test]
fn a_script_that_holds_passes_and_one_that_does_not_says_where() {
    let script = "load 1m\n  m{a=\"1\"} 1+1x10\n  m{a=\"2\"} 5\n\neval instant at 2m m\n  m{a=\"1\"} 3\n  m{a=\"2\"} 5\n\n\
                  eval range from 0 to 2m step 1m m{a=\"1\"} * 2\n  {a=\"1\"} 2 4 6\n\neval instant at 1m sum(m)\n  {} 8\n\n\
                  clear\neval instant at 1m m\n\neval instant at 0 1 + 1\n  2\n";
    let report = run_script("own", script, &Engine::default());
    assert_eq!(report.passed, 4, "{report:?}");
    assert_eq!((report.failed.len(), report.failed[0].line), (1, 12));
    assert!(report.failed[0].message.contains("expected 8"), "{report:?}");
    let report = run_script("broken", "load 1m\n  m 1\n\nnonsense\n", &Engine::default());
    assert_eq!(report.failed, [Failure { line: 4, message: "invalid command \"nonsense\"".into() }]);
}

#[test]
fn hints_are_found_as_chunks_would_tell_them() {
    use pharos_model::{CounterReset, Histogram, Labels, MatchOp, Matcher, SelectRequest, SeriesBatch, TimeRange};
    let mut store = MemoryStore::default();
    let h = |count: f64| Arc::new(Histogram { count, ..Histogram::default() });
    let labels = Labels::from_pairs([("__name__", "h")]);
    store.add_histograms(&labels, [(0, h(1.0), 0), (1, h(2.0), 0), (2, h(1.0), 0), (3, h(4.0), 0), (5, h(5.0), 0)]);
    store.add_floats(&labels, [(4, 1.0, 0)]);
    store.finish_load();
    let matchers = vec![Matcher::new(MatchOp::Equal, "__name__", "h").unwrap()];
    let request = SelectRequest { matchers, range: TimeRange::ALL, max_series: 0 };
    let set = crate::Querier::select(&store, &request, &Arc::new(pharos_model::Budget::unlimited())).unwrap();
    let mut batch = SeriesBatch::default();
    set.fetch(0..1, TimeRange::ALL, &mut batch).unwrap();
    let hints: Vec<_> = batch.view(0).h.iter().map(|h| h.counter_reset).collect();
    use CounterReset::{NotReset, Unknown};
    assert_eq!(hints, [Unknown, NotReset, Unknown, NotReset, Unknown]);
}

#[test]
fn start_timestamps_are_relative_to_their_samples() {
    let script = "load 1m\n  c_total@st -1m+10sx2 _ -5s\n  c_total 1+1x4\n\neval instant at 4m c_total\n  c_total 5\n";
    assert_eq!(run_script("starts", script, &Engine::default()).passed, 1);
    for bad in ["-1m", "x3", "\u{e9}", "-1m+10s", "+", "-1mx1x1"] {
        let report = run_script("bad", &format!("load 1m\n  c@st {bad}\n  c 1 2 3\n"), &Engine::default());
        assert_eq!(report.failed.len(), 1, "{bad}");
    }
}

/// Words that scripts are made of, put together in any order.
fn words() -> impl proptest::strategy::Strategy<Value = String> {
    let words = [
        "load",
        "load_with_nhcb",
        "clear",
        "eval",
        "eval_fail",
        "instant",
        "range",
        "at",
        "from",
        "to",
        "step",
        "1m",
        "-5s",
        "0",
        "m",
        "m{a=\"b\"}",
        "m@st",
        "{{",
        "}}",
        "{{count:1 buckets:[1 2]}}",
        "x3",
        "1+2x3",
        "_x2",
        "stale",
        "expect",
        "warn",
        "fail",
        "msg:",
        "regex:(",
        "string",
        "vector",
        "\"a\"",
        "\n",
        "\n",
        "\n\n",
        "#",
        "sum(m)",
        "m[5m]",
        "\u{e9}",
        "1e",
        "+",
        "{",
        "\t",
    ];
    proptest::strategy::Strategy::prop_map(
        proptest::collection::vec(proptest::sample::select(words.to_vec()), 0..40),
        |w| w.join(" "),
    )
}

proptest::proptest! {
    #[test]
    fn no_script_panics(script in words()) {
        run_script("hostile", &script, &Engine::default());
    }
}
