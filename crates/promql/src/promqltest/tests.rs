//! Tests of the script language: its notation, and what the runner reports.

use std::sync::Arc;

use super::*;
use crate::engine::Engine;

fn values(text: &str) -> Vec<SeriesValue> {
    parse_series(&format!("m {text}")).unwrap().1
}

/// The floats of a series line, `None` for an omitted sample.
fn floats(text: &str) -> Vec<Option<f64>> {
    let of = |v: &SeriesValue| match v {
        SeriesValue::Float(v) => Some(*v),
        _ => None,
    };
    values(text).iter().map(of).collect()
}

#[test]
fn floats_are_repeated_with_a_step() {
    assert_eq!(floats("1+2x3 _ 5"), [Some(1.0), Some(3.0), Some(5.0), Some(7.0), None, Some(5.0)]);
    assert_eq!(floats("-1-1x1"), [Some(-1.0), Some(-2.0)]);
    assert_eq!(floats("0x1"), [Some(0.0), Some(0.0)]);
    assert_eq!(floats("1e-3+1e3x1"), [Some(0.001), Some(1000.001)]);
}

#[test]
fn samples_can_be_omitted_repeatedly() {
    assert_eq!(floats("_x2 1"), [None, None, Some(1.0)]);
}

#[test]
fn special_floats_have_names() {
    let special = floats("stale NaN -Inf Inf");
    assert!(pharos_model::is_stale_nan(special[0].unwrap()));
    assert!(special[1].unwrap().is_nan());
    assert_eq!(special[2], Some(f64::NEG_INFINITY));
    assert_eq!(special[3], Some(f64::INFINITY));
}

#[test]
fn quoted_names_and_braces_in_values_are_parsed() {
    let (labels, _) = parse_series(r#"{"http.requests",path="a } b",code="200"} 1"#).unwrap();
    assert_eq!(labels.metric_name(), "http.requests");
    assert_eq!(labels.get("path"), Some("a } b"));
    assert_eq!(labels.get("code"), Some("200"));
}

#[test]
fn histograms_are_repeated_with_a_step() {
    let histograms = values("{{count:1 sum:2 buckets:[1]}}+{{count:1 buckets:[0 1] offset:0}}x2 {{}}x1");
    assert_eq!(histograms.len(), 5);
    let SeriesValue::Histogram(h, hint_given) = &histograms[2] else { panic!("not a histogram") };
    assert_eq!(h.count, 3.0);
    assert_eq!(h.positive_buckets, [1.0, 2.0]);
    assert!(!hint_given);
}

#[test]
fn histograms_are_printed_as_they_are_parsed() {
    for text in [
        "{{}}",
        "{{schema:1 count:2 sum:3 buckets:[1 0 1]}}",
        "{{count:4 sum:-1 z_bucket:1 z_bucket_w:0.5 offset:2 buckets:[3]}}",
        "{{schema:-53 count:3 sum:9 custom_values:[5 10] buckets:[1 2]}}",
        "{{count:2 sum:-4 counter_reset_hint:gauge n_offset:1 n_buckets:[2]}}",
    ] {
        let SeriesValue::Histogram(h, _) = &values(text)[0] else { panic!("not a histogram: {text}") };
        assert_eq!(histogram_notation(h), text);
    }
}

#[test]
fn malformed_series_lines_are_refused() {
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
fn a_failed_evaluation_is_reported_with_its_line() {
    let script = "load 1m\n  m{a=\"1\"} 1+1x10\n  m{a=\"2\"} 5\n\neval instant at 2m m\n  m{a=\"1\"} 3\n  m{a=\"2\"} 5\n\n\
                  eval range from 0 to 2m step 1m m{a=\"1\"} * 2\n  {a=\"1\"} 2 4 6\n\neval instant at 1m sum(m)\n  {} 8\n\n\
                  clear\neval instant at 1m m\n\neval instant at 0 1 + 1\n  2\n";
    let report = run_script("own", script, &Engine::default());
    assert_eq!(report.passed, 4, "{report:?}");
    assert_eq!(report.failed.len(), 1);
    assert_eq!(report.failed[0].line, 12);
    assert!(report.failed[0].message.contains("expected 8"), "{report:?}");
}

#[test]
fn a_script_that_does_not_parse_is_one_failure() {
    let report = run_script("broken", "load 1m\n  m 1\n\nnonsense\n", &Engine::default());
    assert_eq!(report.failed, [Failure { line: 4, message: "invalid command \"nonsense\"".into() }]);
}

/// The failures of a single evaluation.
fn failures(eval: &str) -> Vec<String> {
    let script =
        format!("load 1m\n  m{{a=\"1\"}} 1 2\n  m{{a=\"2\"}} 5 5\n  h {{{{count:1 buckets:[1]}}}}x1\n\n{eval}\n");
    let report = run_script("one", &script, &Engine::default());
    report.failed.into_iter().map(|failure| failure.message).collect()
}

#[test]
fn missing_and_unexpected_series_are_failures() {
    assert!(failures("eval instant at 0 m{a=\"1\"}\n  m{a=\"1\"} 1\n  m{a=\"9\"} 1")[0].starts_with("expected series"));
    assert!(failures("eval instant at 0 m\n  m{a=\"1\"} 1")[0].starts_with("unexpected series"));
}

#[test]
fn a_wrong_order_is_a_failure_only_if_it_matters() {
    let expected = "  m{a=\"1\"} 1\n  m{a=\"2\"} 5";
    assert_eq!(failures(&format!("eval instant at 0 sort_desc(m)\n{expected}")), [""; 0]);
    assert_eq!(failures(&format!("eval instant at 0 sort_desc(m)\n  expect ordered\n{expected}")).len(), 1);
}

#[test]
fn annotations_are_only_checked_on_request() {
    let query = "eval instant at 0 quantile(2, m)";
    assert_eq!(failures(&format!("{query}\n  {{}} Inf")), [""; 0]);
    assert_eq!(failures(&format!("{query}\n  expect warn\n  {{}} Inf")), [""; 0]);
    assert_eq!(failures(&format!("{query}\n  expect no_warn\n  {{}} Inf")).len(), 1);
    assert_eq!(failures(&format!("{query}\n  expect info\n  {{}} Inf")).len(), 1);
    assert_eq!(failures(&format!("{query}\n  expect warn msg: something else\n  {{}} Inf")).len(), 1);
}

#[test]
fn an_expected_error_must_occur_with_its_text() {
    assert_eq!(failures("eval instant at 0 -m{a=~\"1|2\"} + on () m\n  expect fail"), [""; 0]);
    assert_eq!(failures("eval instant at 0 m\n  expect fail"), ["expected an error, got a value"]);
    assert_eq!(failures("eval instant at 0 m +\n  expect fail msg: something else").len(), 1);
    assert_eq!(failures("eval instant at 0 m +\n  expect fail regex: unexpected end").len(), 0);
}

#[test]
fn histograms_are_compared_bucket_by_bucket() {
    assert_eq!(failures("eval instant at 0 h\n  h {{count:1 buckets:[1]}}"), [""; 0]);
    assert_eq!(failures("eval instant at 0 h\n  h {{count:1 buckets:[1 0]}}"), [""; 0]);
    assert_eq!(failures("eval instant at 0 h\n  h {{count:1 buckets:[0 1]}}").len(), 1);
    assert_eq!(failures("eval instant at 0 h\n  h {{count:2 buckets:[1]}}").len(), 1);
}

#[test]
fn counter_reset_hints_follow_from_the_order_of_samples() {
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
    let script = "load 1m\n  c_total@st -1m+10sx2 _ -5s\n  c_total 1+1x4\n\neval range from 0 to 4m step 1m start_timestamp(c_total)\n  {} -60 10 80 0 235\n";
    assert_eq!(run_script("starts", script, &Engine::default()).failed, []);
}

#[test]
fn malformed_start_timestamps_are_refused() {
    for bad in ["-1m", "x3", "\u{e9}", "-1m+10s", "+", "-1mx1x1"] {
        let report = run_script("bad", &format!("load 1m\n  c@st {bad}\n  c 1 2 3\n"), &Engine::default());
        assert_eq!(report.failed.len(), 1, "{bad}");
    }
}

#[test]
fn classic_histograms_are_converted_to_native_ones() {
    let script = "load_with_nhcb 1m\n  h_bucket{le=\"1\"} 2\n  h_bucket{le=\"+Inf\"} 5\n  h_count 5\n  h_sum 9\n\n\
                  eval instant at 0 h\n  h {{schema:-53 count:5 sum:9 custom_values:[1] buckets:[2 3]}}\n";
    assert_eq!(run_script("nhcb", script, &Engine::default()).failed, []);
}

#[test]
fn classic_histograms_that_contradict_themselves_are_refused() {
    for series in [
        "h_bucket{le=\"1\"} 6\n  h_bucket{le=\"+Inf\"} 5",
        "h_bucket{le=\"1\"} 2\n  h_bucket{le=\"+Inf\"} 5\n  h_count 6",
    ] {
        let report = run_script("nhcb", &format!("load_with_nhcb 1m\n  {series}\n"), &Engine::default());
        assert_eq!(report.failed.len(), 1, "{series}");
    }
}

/// The words of scripts, in random order.
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
