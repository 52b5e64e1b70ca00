//! Tests of the fragments of a query: which there are, and what they read.

use super::*;
use crate::syntax::parse;

const MINUTE: i64 = 60_000;
const TIMES: Steps = Steps { start: 10 * MINUTE, end: 20 * MINUTE, step: MINUTE };

fn fragments(query: &str) -> Vec<QueryFragment> {
    of_query(&parse(query).unwrap(), TIMES, 5 * MINUTE).unwrap()
}

/// What the only fragment of a query reads for the step at ten minutes, in minutes.
fn reads(query: &str) -> [i64; 2] {
    let fragments = fragments(query);
    assert_eq!(fragments.len(), 1, "{query}");
    let range = fragments[0].reads(10 * MINUTE);
    [range.start / MINUTE, range.end / MINUTE]
}

#[test]
fn a_selector_reads_back_to_the_lookback() {
    assert_eq!(reads("sum(x)"), [5, 10]);
    assert_eq!(reads("sum(x offset 2m)"), [3, 8]);
    assert_eq!(reads("sum(x @ 120)"), [-3, 2]);
}

#[test]
fn a_range_selector_reads_its_range() {
    assert_eq!(reads("rate(x[3m])"), [7, 10]);
    assert_eq!(reads("rate(x[3m] offset 1m)"), [6, 9]);
}

#[test]
fn extended_selectors_read_further() {
    assert_eq!(reads("rate(x[3m] anchored)"), [2, 10]);
    assert_eq!(reads("rate(x[3m] smoothed)"), [2, 15]);
}

#[test]
fn all_selectors_of_a_fragment_are_covered() {
    assert_eq!(fragments("sum(x) / sum(y offset 30m)").len(), 2);
}

#[test]
fn fragments_have_the_text_of_the_query() {
    let texts: Vec<String> =
        fragments("max(x) - on (a) sum by (a) (rate(y[5m]))").into_iter().map(|f| f.text).collect();
    assert_eq!(texts, ["max(x)", "sum by (a) (rate(y[5m]))"]);
}

#[test]
fn a_query_that_needs_only_counts_of_histograms_has_no_fragments() {
    assert!(fragments("sum(histogram_count(x)) + max(y)").is_empty());
}

#[test]
fn a_query_with_info_has_no_fragments() {
    assert!(fragments("info(max by (instance, job) (x))").is_empty());
    assert!(fragments("sum(rate(x[5m])) + on () group_left sum(info(y))").is_empty());
}

#[test]
fn fragments_that_depend_on_the_whole_range_may_not_be_split() {
    assert!(fragments("sum(rate(x[5m]))")[0].may_split);
    assert!(!fragments("count_values(\"__name__\", x)")[0].may_split);
}

#[test]
fn a_fragment_of_a_fixed_time_is_evaluated_once() {
    let fixed = &fragments("sum(x @ 120)")[0];
    assert!(fixed.is_invariant);
    assert_eq!(fixed.steps, Steps { start: TIMES.start, end: TIMES.start, step: 0 });
    assert_eq!(fragments("sum(x)")[0].steps, TIMES);
}
