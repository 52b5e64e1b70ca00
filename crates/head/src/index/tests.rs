use super::*;
use crate::series::SeriesData;
use pharos_model::{Labels, MatchOp, Matcher};
use proptest::prelude::*;

fn series(id: u32, pairs: &[(&str, &str)]) -> Arc<Series> {
    let labels = Labels::from_pairs(pairs.iter().copied());
    Arc::new(Series { id, shard: 0, hash: 0, labels, data: parking_lot::Mutex::new(SeriesData::new()) })
}

fn index(series: &[Arc<Series>]) -> Index {
    let mut index = Index::default();
    series.iter().for_each(|s| index.add(s));
    index
}

fn thousand_series() -> Vec<Arc<Series>> {
    (0..1000).map(|i| series(i, &[("a", &i.to_string()), ("b", "x")])).collect()
}

#[test]
fn an_empty_index_takes_no_memory_and_matches_nothing() {
    let index = Index::default();
    assert_eq!(index.bytes(), 0);
    assert_eq!(index.len(), 0);
    assert_eq!(index.next_id(), Some(0));
    assert!(index.matching(&[]).is_empty());
    assert!(index.get(0).is_none());
}

#[test]
fn removed_series_leave_the_index() {
    let all = thousand_series();
    let mut index = index(&all);
    index.remove(&all[..999]);
    assert_eq!(index.len(), 1);
    assert!(index.get(5).is_none());
    assert_eq!(index.get(999).unwrap().id, 999);
    assert_eq!(index.names()["a"].by_value.len(), 1);
    assert_eq!(index.matching(&[Matcher::equal("b", "x")]), [999]);
}

#[test]
fn an_index_without_series_keeps_neither_names_nor_memory() {
    let all = thousand_series();
    let mut index = index(&all);
    assert!(index.bytes() > 0);
    index.remove(&all);
    assert!(index.names().is_empty());
    assert!(index.iter().next().is_none());
    assert_eq!(index.bytes(), 0);
}

#[test]
fn numbers_of_removed_series_are_not_reused() {
    let all = thousand_series();
    let mut index = index(&all);
    index.remove(&all);
    assert_eq!(index.next_id(), Some(1000));
}

#[test]
fn removing_a_series_twice_counts_it_once() {
    let all = thousand_series();
    let mut index = index(&all);
    index.remove_from_page(7);
    index.remove_from_page(7);
    assert_eq!(index.len(), 999);
}

#[test]
fn series_are_listed_by_ascending_number() {
    let all = thousand_series();
    let index = index(&all);
    assert!(index.iter().map(|s| s.id).eq(0..1000));
}

#[test]
fn a_matcher_of_an_unknown_name_selects_only_if_it_matches_a_missing_label() {
    let index = index(&thousand_series()[..3]);
    assert!(index.matching(&[Matcher::equal("nothing", "x")]).is_empty());
    assert_eq!(index.matching(&[Matcher::equal("nothing", "")]), [0, 1, 2]);
    assert_eq!(index.matching(&[Matcher::new(MatchOp::NotEqual, "nothing", "x").unwrap()]), [0, 1, 2]);
}

#[test]
fn a_prefix_narrows_the_values_that_an_expression_is_tested_against() {
    let index = index(&thousand_series());
    let matcher = Matcher::new(MatchOp::Regex, "a", "99.*").unwrap();
    assert_eq!(index.matching(&[matcher]), [99, 990, 991, 992, 993, 994, 995, 996, 997, 998, 999]);
}

#[test]
fn no_matchers_select_all_series() {
    assert_eq!(index(&thousand_series()).matching(&[]).len(), 1000);
}

fn matchers() -> impl Strategy<Value = Matcher> {
    let ops = prop_oneof![Just(MatchOp::Equal), Just(MatchOp::NotEqual), Just(MatchOp::Regex), Just(MatchOp::NotRegex)];
    let values = prop_oneof![
        Just(""),
        Just("x"),
        Just("xy"),
        Just("x|y"),
        Just("x.*"),
        Just(".*"),
        Just(".+"),
        Just("(x|)"),
        Just("[xy]+")
    ];
    (ops, prop_oneof![Just("a"), Just("b"), Just("c"), Just("missing")], values)
        .prop_map(|(op, name, value)| Matcher::new(op, name, value).unwrap())
}

proptest! {
    #[test]
    fn the_index_answers_as_a_scan_would(
        sets in proptest::collection::vec(proptest::collection::btree_map("[abc]", "[xyz]{1,2}", 0..4), 0..40),
        matchers in proptest::collection::vec(matchers(), 0..4),
    ) {
        let all: Vec<_> = sets.iter().enumerate().map(|(i, set)| {
            series(i as u32, &set.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect::<Vec<_>>())
        }).collect();
        let expected: Vec<u32> = all.iter()
            .filter(|s| matchers.iter().all(|m| m.matches(s.labels.get(&m.name).unwrap_or(""))))
            .map(|s| s.id).collect();
        prop_assert_eq!(index(&all).matching(&matchers), expected);
    }
}
