//! Tests of decomposition: which fragments a query has, and that answers of several nodes give what one process gives, to the bit.

use std::sync::Arc;

use pharos_model::fragment::{FragmentForm, FragmentRow, Steps};
use pharos_model::{Budget, CounterReset, Fragment, FragmentError, Histogram, Labels, Span};
use proptest::prelude::*;

use super::*;
use crate::promqltest::MemoryStore;
use crate::syntax::parse;
use crate::{Engine, QueryError, QueryOptions, QueryOutput, SampleValue, Value};

const MINUTE: i64 = 60_000;

/// What each node evaluates for each fragment of a query.
fn partials(query: &str) -> Vec<String> {
    decompose(&parse(query).unwrap()).iter().map(|fragment| fragment.partial.to_string()).collect()
}

#[test]
fn aggregations_decompose_into_partials() {
    assert_eq!(partials("sum by (a) (rate(x[5m]))"), ["sum by (a) (rate(x[5m]))"]);
    assert_eq!(partials("group(x)"), ["group(x)"]);
}

#[test]
fn aggregations_that_depend_on_the_order_of_series_do_not_decompose() {
    for op in ["avg", "stddev", "stdvar"] {
        assert_eq!(partials(&format!("{op} by (a) (rate(x[5m]))")), ["rate(x[5m])"]);
        assert_eq!(partials(&format!("{op}(x)")), ["x"]);
    }
    assert_eq!(partials("limitk(2, x)"), ["x"]);
}

#[test]
fn selections_ask_each_node_for_one_series_more() {
    assert_eq!(partials("topk(3, rate(x[5m]))"), ["topk(4, rate(x[5m]))"]);
    assert_eq!(partials("bottomk(2.7, x)"), ["bottomk(3, x)"]);
}

#[test]
fn a_query_may_have_several_fragments() {
    assert_eq!(partials("max(x) / count(abs(y) * 2)"), ["max(x)", "count(abs(y) * 2)"]);
    assert_eq!(partials("rate(x[5m]) + on (a) rate(y[5m])"), ["rate(x[5m])", "rate(y[5m])"]);
}

#[test]
fn fragments_are_found_below_what_does_not_decompose() {
    assert_eq!(partials("histogram_quantile(0.9, sum by (le) (rate(x[5m])))").len(), 1);
    assert_eq!(partials("quantile(0.5, rate(x[5m]))"), ["rate(x[5m])"]);
    assert_eq!(partials("absent(max(x))"), ["max(x)"]);
    assert_eq!(partials("sum by (__name__) (x)"), ["x"]);
    assert_eq!(partials("topk(scalar(y), x)"), ["x"]);
}

#[test]
fn a_selector_is_a_fragment_where_nothing_else_looks_at_it() {
    assert_eq!(partials("x"), ["x"]);
    assert_eq!(partials("(x)"), ["(x)"]);
    for query in ["absent(x)", "x * on (a) y", "timestamp(sort(x))"] {
        assert_eq!(partials(query), [""; 0], "{query}");
    }
}

#[test]
fn some_queries_have_no_fragments() {
    for query in ["sum(sum_over_time(x[5m:1m]))", "absent_over_time(x[5m])", "1 + time()", "x[5m]"] {
        assert_eq!(partials(query), [""; 0], "{query}");
    }
}

#[test]
fn parentheses_belong_to_the_fragment() {
    let fragments = decompose(&parse("2 * (sum(x))").unwrap());
    assert_eq!(fragments[0].whole.to_string(), "(sum(x))");
    assert_eq!(fragments[0].pos.start, 4);
}

/// The values of a series at half minutes from the start on.
#[derive(Clone, Debug)]
enum Samples {
    Floats(Vec<f64>),
    Histograms(Vec<Arc<Histogram>>),
}

fn labels(i: usize) -> Labels {
    // The order of series differs from that of groups and of numbers.
    Labels::from_pairs([
        ("__name__", "x_total".to_string()),
        ("a", format!("{:02}", i * 7 % 31)),
        ("group", (i % 3).to_string()),
        ("h", (i % 2).to_string()),
    ])
}

/// A store with all series, and stores with the series of each of `nodes` nodes. `placement` changes which node has which.
fn stores(series: &[Samples], nodes: usize, placement: usize) -> (MemoryStore, Vec<MemoryStore>) {
    let mut all = MemoryStore::default();
    let mut parts = vec![MemoryStore::default(); nodes];
    for (i, samples) in series.iter().enumerate() {
        let part = &mut parts[(i * 7 + placement * (i / 2)) % nodes];
        for store in [&mut all, part] {
            let time = |s: usize| s as i64 * MINUTE / 2;
            match samples {
                Samples::Floats(values) => {
                    store.add_floats(&labels(i), values.iter().enumerate().map(|(s, v)| (time(s), *v, 0)));
                }
                Samples::Histograms(values) => {
                    store.add_histograms(&labels(i), values.iter().enumerate().map(|(s, h)| (time(s), h.clone(), 0)));
                }
            }
        }
    }
    all.finish_load();
    parts.iter_mut().for_each(MemoryStore::finish_load);
    (all, parts)
}

/// The answers of all nodes to a form of a fragment.
fn answers(
    (text, fragment): (&str, &QueryFragment),
    times: Steps,
    form: FragmentForm,
    nodes: &[MemoryStore],
) -> Result<Vec<pharos_model::FragmentAnswer>, FragmentError> {
    let pos = fragment.decomposition.pos;
    let request = Fragment {
        query: text.into(),
        place: pos.start..pos.end,
        form,
        times,
        steps: fragment.steps,
        lookback_ms: 5 * MINUTE,
        max_samples: 1_000_000,
        max_series: 0,
        type_and_unit_labels: false,
        use_start_timestamps: false,
        samples_per_step: false,
    };
    nodes.iter().map(|node| evaluate(node, &request, &Arc::new(Budget::unlimited()))).collect()
}

/// The value of a fragment, and whether it was merged from partial values.
fn value_on(
    nodes: &[MemoryStore],
    text: &str,
    fragment: &QueryFragment,
    times: Steps,
) -> Result<(FragmentValue, bool), FragmentError> {
    let steps = fragment.steps;
    let of = |answers: Vec<pharos_model::FragmentAnswer>, combine: &Combine| {
        let mut value = FragmentValue::empty(steps);
        let mut rows = Vec::new();
        for answer in answers {
            value.names_go |= answer.names_go;
            value.notes.extend(answer.notes);
            rows.push(answer.rows);
        }
        combine.apply(rows, steps.count()).map(|rows| FragmentValue { rows, ..value })
    };
    let Decomposition { whole, combine, .. } = &fragment.decomposition;
    match answers((text, fragment), times, FragmentForm::Partial, nodes) {
        Ok(answers) => {
            if let Some(value) = of(answers, combine) {
                return Ok((value, true));
            }
        }
        Err(FragmentError::Inexact(_)) => {}
        Err(error) => return Err(error),
    }
    let argument = fragment.decomposition.argument().expect("series of two nodes are the same");
    let arguments = answers((text, fragment), times, FragmentForm::Argument, nodes)?;
    let value = of(arguments, &Combine::Concatenate).unwrap();
    let known = Precomputed { pos: argument.pos(), is_invariant: false, value, details: Vec::new() };
    let options = QueryOptions { text: text.into(), ..QueryOptions::default() };
    let store = MemoryStore::default();
    let answer = Engine::default()
        .evaluate_fragment(&store, (whole, &[known]), (times, steps), &options)
        .map_err(FragmentError::from)?;
    let empty = FragmentValue::empty(steps);
    Ok((FragmentValue { rows: answer.rows, names_go: answer.names_go, notes: answer.notes, ..empty }, false))
}

/// The answer of several nodes to a query all of whose selectors are in fragments, and how many fragments were merged.
fn distributed(nodes: &[MemoryStore], text: &str, times: Steps) -> Result<(QueryOutput, usize), QueryError> {
    let expr = parse(text).unwrap();
    let mut merged = 0;
    let mut precomputed = Vec::new();
    for fragment in of_query(&expr, times, 5 * MINUTE).unwrap() {
        let (value, is_merged) = value_on(nodes, text, &fragment, times)?;
        merged += usize::from(is_merged);
        let (pos, is_invariant) = (fragment.decomposition.pos, fragment.is_invariant);
        precomputed.push(Precomputed { pos, is_invariant, value, details: Vec::new() });
    }
    let options = QueryOptions { text: text.into(), ..QueryOptions::default() };
    let output = Engine::default().evaluate_with(&MemoryStore::default(), &expr, times, &options, &precomputed)?;
    Ok((output, merged))
}

fn alone(store: &MemoryStore, text: &str, times: Steps) -> Result<QueryOutput, QueryError> {
    let options = QueryOptions { text: text.into(), ..QueryOptions::default() };
    Engine::default().evaluate_with(store, &parse(text).unwrap(), times, &options, &[])
}

/// A result to the bit, in its order, with annotations.
fn shown(output: Result<QueryOutput, QueryError>) -> String {
    let output = match output {
        Ok(output) => output,
        Err(error) => return format!("error: {error}"),
    };
    let float = |v: &f64| if v.is_nan() { "NaN".to_string() } else { format!("{v:?}") };
    let value = match &output.value {
        Value::Matrix(series) => {
            let one = |s: &crate::MatrixSeries| {
                let floats: Vec<String> = s.floats.iter().map(|(t, v)| format!("{t}:{}", float(v))).collect();
                format!("{} {floats:?} {:?}", s.labels, s.histograms)
            };
            series.iter().map(one).collect::<Vec<_>>()
        }
        Value::Vector(samples) => {
            let one = |s: &crate::VectorSample| match &s.value {
                SampleValue::Float(v) => format!("{} {}", s.labels, float(v)),
                SampleValue::Histogram(h) => format!("{} {h:?}", s.labels),
            };
            samples.iter().map(one).collect()
        }
        other => vec![format!("{other:?}")],
    };
    format!("{}\n{:?}\n{:?}", value.join("\n"), output.warnings, output.infos)
}

const INSTANT: Steps = Steps { start: 2 * MINUTE, end: 2 * MINUTE, step: 0 };
const RANGE: Steps = Steps { start: MINUTE, end: 5 * MINUTE, step: MINUTE };

const QUERIES: [&str; 41] = [
    "x_total",
    "sum(x_total)",
    "sum by (group) (x_total)",
    "sum without (a) (x_total * 3.3 + 1)",
    "avg(x_total)",
    "avg by (group) (x_total * 3.3 + 1)",
    "min(x_total)",
    "min by (group) (-x_total)",
    "max(x_total)",
    "max without (a, group) (x_total)",
    "count by (group) (x_total)",
    "group by (h) (x_total > 0)",
    "stddev(x_total)",
    "stdvar by (group) (x_total)",
    "topk(2, x_total)",
    "topk by (h) (1, x_total)",
    "bottomk(3, x_total)",
    "sum(topk(4, x_total))",
    "sum by (h) (bottomk by (group) (2, x_total))",
    "topk(1, sum by (group) (x_total))",
    "topk(2, count by (group, h) (x_total))",
    "bottomk(1, max by (group) (x_total))",
    "quantile by (group) (0.3, x_total)",
    "count_values by (group) (\"v\", x_total)",
    "topk(1, count_values(\"v\", x_total))",
    "limitk(3, x_total)",
    "limitk(1, sum by (group) (x_total))",
    "limit_ratio(0.4, x_total)",
    "avg(avg by (group) (x_total))",
    "sum(sum by (group, h) (x_total)) - sum(x_total)",
    "sum(deriv(x_total[2m]))",
    "avg(rate(x_total[2m]))",
    "sum by (group) (rate(x_total[2m]))",
    "sum by (group) (x_total) / on (group) max by (group) (x_total)",
    "sort(sum by (group) (x_total @ 60))",
    "sort(topk(9, x_total @ 60))",
    "sum(x_total @ 60) + sum by (group) (x_total @ end())",
    "sort_desc(max by (group) (x_total))",
    "sum by (h) (sum_over_time(x_total[2m]))",
    "sum(last_over_time(x_total[2m] @ start())) * 2",
    "sum by (__name__, group) (x_total)",
];

fn hostile() -> impl Strategy<Value = f64> {
    prop_oneof![
        3 => prop::sample::select(vec![1e16, -1e16, 1.0, 3.3, -2.5, 1e100, -1e100]),
        2 => prop::sample::select(vec![0.0, -0.0, 1.0, 2.0]),
        1 => prop::sample::select(vec![f64::INFINITY, f64::NEG_INFINITY, f64::NAN, 1.7e308, -1.7e308, 1e308]),
        3 => -1.0..1.0f64,
        1 => any::<f64>(),
    ]
}

fn histogram(n: u8, schema: i32, hint: u8) -> Arc<Histogram> {
    let n = f64::from(n) / 3.0;
    let counter_reset = [CounterReset::Unknown, CounterReset::Reset, CounterReset::NotReset, CounterReset::Gauge];
    Arc::new(Histogram {
        schema,
        count: 3.0 * n,
        sum: 7.7 * n - 1e-9,
        zero_count: n,
        positive_spans: vec![Span { offset: 0, length: 2 }],
        positive_buckets: vec![n, n * 1.1],
        counter_reset: counter_reset[usize::from(hint % 4)],
        ..Histogram::default()
    })
}

fn samples() -> impl Strategy<Value = Samples> {
    let histograms = prop::collection::vec((0u8..9, 0i32..2, 0u8..4), 1..12);
    prop_oneof![
        3 => prop::collection::vec(hostile(), 1..12).prop_map(Samples::Floats),
        4 => prop::collection::vec(prop_oneof![0.0..1e6f64, (0u32..5).prop_map(f64::from)], 1..12).prop_map(Samples::Floats),
        1 => histograms.prop_map(|all| Samples::Histograms(all.iter().map(|(n, s, h)| histogram(*n, *s, *h)).collect())),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// Whatever the values and wherever the series lie: values to the bit, their order, errors and annotations.
    #[test]
    fn several_nodes_answer_as_one_process(
        series in prop::collection::vec(samples(), 0..14),
        nodes in 1usize..5,
        placement in 0usize..5,
    ) {
        let (all, parts) = stores(&series, nodes, placement);
        for times in [INSTANT, RANGE] {
            for text in QUERIES {
                let found = distributed(&parts, text, times).map(|(output, _)| output);
                prop_assert_eq!(shown(found), shown(alone(&all, text, times)), "{} {:?}", text, times);
            }
        }
    }
}

/// Ordinary series: a hundred gauges with fractions.
fn gauges() -> Vec<Samples> {
    let value = |i: usize, s: usize| (((i * 7919 + s * 104_729) % 1_000_003) as f64) / 7.0;
    (0..100).map(|i| Samples::Floats((0..12).map(|s| value(i, s)).collect())).collect()
}

#[test]
fn partial_values_of_ordinary_series_are_merged() {
    let (all, parts) = stores(&gauges(), 3, 1);
    for text in
        ["sum(x_total)", "sum by (group) (rate(x_total[2m]))", "max(x_total)", "topk(2, x_total)", "count(x_total)"]
    {
        let (output, merged) = distributed(&parts, text, RANGE).unwrap();
        assert_eq!(merged, 1, "{text}");
        assert_eq!(shown(Ok(output)), shown(alone(&all, text, RANGE)), "{text}");
    }
}

#[test]
fn a_series_that_two_nodes_hold_is_not_combined() {
    let (_, mut nodes) = stores(&gauges(), 2, 0);
    nodes[1] = nodes[0].clone();
    let fragment = of_query(&parse("deriv(x_total[5m])").unwrap(), RANGE, 5 * MINUTE).unwrap().remove(0);
    let found = answers(("deriv(x_total[5m])", &fragment), RANGE, FragmentForm::Partial, &nodes).unwrap();
    let rows: Vec<Vec<FragmentRow>> = found.into_iter().map(|answer| answer.rows).collect();
    assert_eq!(fragment.decomposition.combine.apply(rows, RANGE.count()), None);
}
