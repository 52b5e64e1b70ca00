//! Which matchers travel, and that nothing else changes by it.

use proptest::prelude::*;

use crate::eval;
use crate::plan::{self, Node};
use crate::promqltest::MemoryStore;
use crate::syntax::parse;
use crate::{EngineOptions, QueryError, QueryOptions, QueryOutput};
use pharos_model::fragment::Steps;
use pharos_model::{Budget, Histogram, Labels};
use std::sync::Arc;

const MINUTE: i64 = 60_000;
const TIMES: Steps = Steps { start: 10 * MINUTE, end: 20 * MINUTE, step: MINUTE };

/// The matchers that were added to each selector, in the order of the query.
fn implied(query: &str) -> Vec<String> {
    fn visit(node: &Node, out: &mut Vec<String>) {
        let selector = match node {
            Node::Selector(s) => Some(s),
            Node::Range(call) => match &call.input {
                plan::RangeInput::Selector(m) => Some(&m.selector),
                plan::RangeInput::Subquery(_) => None,
            },
            _ => None,
        };
        if let Some(s) = selector {
            let own = s.matchers.len() - s.implied;
            out.push(s.matchers[own..].iter().map(|m| m.to_string()).collect::<Vec<_>>().join(","));
        }
        node.children().into_iter().for_each(|child| visit(child, out));
    }
    let mut out = Vec::new();
    visit(&plan::build(&parse(query).unwrap(), &TIMES).unwrap(), &mut out);
    out
}

#[test]
fn matchers_travel_where_nothing_else_can_change() {
    for (query, left, right) in [
        ("a{i=\"1\"} / b", "", "i=\"1\""),
        ("a / b{i=~\"1|2\"} ", "i=~\"1|2\"", ""),
        ("a{i=\"1\"} and on (i) b", "", "i=\"1\""),
        ("a and on (i) b{i=\"1\", j=\"2\"}", "i=\"1\"", ""),
        ("a{i=\"1\"} unless on (i) b", "", "i=\"1\""),
        ("abs(-a{i!=\"1\"}) * count_over_time(b[5m])", "", "i!=\"1\""),
        ("a * on (i) group_left sum by (i) (b{i=\"1\", j=\"2\"})", "i=\"1\"", ""),
        ("sum by (i) (a{i=\"1\"}) / on (i) count by (i) (b)", "", "i=\"1\""),
        ("a{i=\"\"} == b", "", "i=\"\""),
    ] {
        assert_eq!(implied(query), [left, right], "{query}");
    }
}

#[test]
fn matchers_stay_where_something_else_could_change() {
    for query in [
        "a{i=\"1\"} or b",
        "a unless b{i=\"1\"}",
        // Duplicates on the "one" side are an error that must stay.
        "a{i=\"1\"} / on (i) b",
        "a{i=\"1\"} / ignoring (j) b",
        "a{i=\"1\"} / {__name__=~\"b|c\"}",
        "a{i=\"1\"} / fill(0) b",
        // The label does not take part in the match.
        "a{i=\"1\"} and ignoring (i) b",
        "a{i=\"1\"} and on (j) b",
        // Functions and aggregations that may annotate.
        "a{i=\"1\"} / rate(b[5m])",
        "a{i=\"1\"} / sum by (i) (b)",
        "a{i=\"1\"} / (b > 1)",
        // The label is made, not read.
        "label_replace(a{i=\"1\"}, \"i\", \"2\", \"i\", \".*\") / b",
        "a / count_values by (j) (\"i\", b{i=\"1\"})",
        "a{i=\"1\"} + absent(b)",
        "a{__type__=\"gauge\"} / b",
    ] {
        assert_eq!(implied(query).concat(), "", "{query}");
    }
}

/// Evaluates a plan.
fn run(
    store: &MemoryStore,
    plan: &Node,
    options: &EngineOptions,
    budget: Arc<Budget>,
) -> Result<QueryOutput, QueryError> {
    let shared = eval::Shared::new(store, budget, options, 5 * MINUTE, None);
    eval::run(&shared, plan, &TIMES, &QueryOptions { samples_per_step: true, ..QueryOptions::default() })
}

fn store(seed: u64) -> MemoryStore {
    let mut store = MemoryStore::default();
    let mut state = seed;
    let mut random = |below: u64| {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 33) % below
    };
    for name in ["a", "b", "c_total"] {
        for i in ["", "1", "2"] {
            for j in ["1", "2"] {
                if random(4) == 0 {
                    continue;
                }
                let labels = Labels::from_pairs(
                    [("__name__", name), ("i", i), ("j", j)].into_iter().filter(|l| !l.1.is_empty()),
                );
                let times: Vec<i64> = (0..40).map(|s| s * MINUTE / 2).filter(|_| random(5) > 0).collect();
                if random(4) == 0 {
                    let h =
                        Arc::new(Histogram { count: random(9) as f64, sum: random(9) as f64, ..Histogram::default() });
                    store.add_histograms(&labels, times.into_iter().map(|t| (t, h.clone(), 0)));
                } else {
                    store.add_floats(&labels, times.into_iter().map(|t| (t, random(20) as f64, 0)));
                }
            }
        }
    }
    store.finish_load();
    store
}

/// Results as text: NaN equals itself there.
fn shown(result: &Result<QueryOutput, QueryError>) -> String {
    match result {
        Ok(output) => format!("{:?} {:?} {:?}", output.value, output.warnings, output.infos),
        Err(error) => format!("error: {error}"),
    }
}

fn side() -> impl Strategy<Value = String> {
    let selector = (
        prop::sample::select(vec!["a", "b", "c_total", "{__name__=~\"a|b\"}"]),
        prop::sample::select(vec!["", "i=\"1\"", "i!=\"1\"", "j=~\"1|3\"", "i=\"\"", "i=~\"1|2\",j=\"2\""]),
    )
        .prop_map(|(name, matchers)| match name.strip_suffix('}') {
            Some(open) if matchers.is_empty() => format!("{open}}}"),
            Some(open) => format!("{open},{matchers}}}"),
            None => format!("{name}{{{matchers}}}"),
        });
    selector.prop_flat_map(|s| {
        prop::sample::select(vec![
            s.clone(),
            format!("-{s}"),
            format!("abs({s})"),
            format!("rate({s}[3m])"),
            format!("last_over_time({s}[3m])"),
            format!("changes({s}[4m])"),
            format!("({s} > 3)"),
            format!("2 * {s}"),
            format!("sum by (i) ({s})"),
            format!("count by (i, j) ({s})"),
            format!("count without (j) ({s})"),
            format!("topk by (i) (1, {s})"),
            format!("max_over_time(sum by (j) ({s})[3m:1m])"),
            format!("{s} @ 600"),
            format!("{s} offset 1m"),
        ])
    })
}

fn query() -> impl Strategy<Value = String> {
    let op = prop::sample::select(vec!["+", "/", "==", "> bool", "and", "or", "unless", "</"]);
    let matching = prop::sample::select(vec!["", "on (i)", "on (i, j)", "ignoring (j)", "on ()", "ignoring (x)"]);
    let group = prop::sample::select(vec!["", "", "group_left ()", "group_right (j)"]);
    let join = (side(), op, matching, group, side()).prop_map(|(l, op, matching, group, r)| {
        let group = if matching.is_empty() || matches!(op, "and" | "or" | "unless") { "" } else { group };
        format!("{l} {op} {matching} {group} {r}")
    });
    (join, prop::sample::select(vec!["", "+ on (i, j)", "and on (i)", "unless"]), side()).prop_map(|(join, op, r)| {
        match op {
            "" => join,
            op => format!("({join}) {op} {r}"),
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    /// Slices of a range change neither values nor annotations nor errors nor counts.
    #[test]
    fn slices_give_equal_results(query in query(), again in query(), twice in any::<bool>(), seed in 0u64..1000, steps in 1usize..6) {
        let text = if twice { format!("({query}) or sum by (i) ({again}) + sum by (i) ({again})") } else { query };
        let Ok(expr) = parse(&text) else { return Ok(()) };
        let plan = plan::build(&expr, &TIMES).unwrap();
        if !eval::may_split(&plan) {
            return Ok(());
        }
        let (store, options) = (store(seed), EngineOptions::default());
        let budget = || Arc::new(Budget::unlimited());
        let whole = run(&store, &plan, &options, budget());
        let slices = eval::split_evenly(eval::Grid::between(TIMES.start, TIMES.end, TIMES.step), steps);
        let shared = eval::Shared::new(&store, budget(), &options, 5 * MINUTE, None);
        let options = QueryOptions { samples_per_step: true, ..QueryOptions::default() };
        let sliced = eval::run_in(&slices, &shared, &plan, &TIMES, &options);
        prop_assert_eq!(shown(&whole), shown(&sliced), "{}", text);
        if let (Ok(whole), Ok(sliced)) = (whole, sliced) {
            prop_assert_eq!(whole.stats.queryable_samples_per_step, sliced.stats.queryable_samples_per_step, "{}", text);
            prop_assert_eq!(whole.stats.queryable_samples, sliced.stats.queryable_samples, "{}", text);
            prop_assert_eq!(whole.stats.series, sliced.stats.series, "{}", text);
        }
    }

    /// Rewrites change neither values nor annotations nor errors.
    #[test]
    fn rewritten_plans_give_equal_results(query in query(), again in query(), twice in any::<bool>(), seed in 0u64..1000) {
        let text = if twice { format!("({query}) or ({again}) or sum by (i) ({query}) + sum by (i) ({query})") } else { query };
        let Ok(expr) = parse(&text) else { return Ok(()) };
        let (plain, full) = (plan::build_plainly(&expr, &TIMES).unwrap(), plan::build(&expr, &TIMES).unwrap());
        let (store, options) = (store(seed), EngineOptions::default());
        let plain = run(&store, &plain, &options, Arc::new(Budget::unlimited()));
        let full_result = run(&store, &full, &options, Arc::new(Budget::unlimited()));
        prop_assert_eq!(shown(&plain), shown(&full_result), "{}", text);
    }
}

/// Five groups of 900 terms.
fn groups(operator: &str, term: impl Fn(usize) -> String) -> String {
    let group = |at: usize| {
        let terms: Vec<String> = (at * 900..(at + 1) * 900).map(&term).collect();
        format!("({})", terms.join(operator))
    };
    (0..5).map(group).collect::<Vec<_>>().join(operator)
}

/// The work that the rewrite takes, and the plan.
fn pushed_down(query: &str) -> (usize, Node) {
    let node = plan::resolve(&parse(query).unwrap(), &TIMES).unwrap();
    let mut pushdown = super::Pushdown::new(&node);
    let allowed = pushdown.work_left;
    let (node, _) = pushdown.visit(node);
    (allowed - pushdown.work_left, node)
}

/// The number of selectors, and of matchers that were added to them.
fn selectors_and_implied(node: &Node) -> (usize, usize) {
    let own = match node {
        Node::Selector(s) => (1, s.implied),
        _ => (0, 0),
    };
    let below = node.children().into_iter().map(selectors_and_implied);
    below.fold(own, |all, one| (all.0 + one.0, all.1 + one.1))
}

#[test]
fn the_work_is_bounded_by_the_size_of_the_plan() {
    let check = || {
        for operator in [" + ", " and ", " or ", " unless "] {
            let (work, node) = pushed_down(&groups(operator, |at| format!("m{at}")));
            let size = node.size();
            assert_eq!(size, 2 * 4500 - 1);
            assert_eq!(work, size, "each node is visited once: {operator}");
            // Each matcher could be added to each of the other terms.
            let (work, node) = pushed_down(&groups(operator, |at| format!("m{at}{{l{at}=\"1\"}}")));
            assert!(work <= super::BASE_WORK + size * super::WORK_PER_NODE, "{operator}: {work}");
            let (selectors, implied) = selectors_and_implied(&node);
            assert!(selectors == 4500 && implied <= 32 * selectors, "{operator}: {implied} of {selectors}");
        }
    };
    // Trees are as high as they may be.
    std::thread::Builder::new().stack_size(256 << 20).spawn(check).unwrap().join().unwrap();
}
