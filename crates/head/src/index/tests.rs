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

#[test]
fn removed_series_leave_nothing_behind() {
    let all: Vec<_> = (0..1000).map(|i| series(i, &[("a", &i.to_string()), ("b", "x")])).collect();
    let mut index = index(&all);
    index.remove(&all[..999]);
    assert_eq!(index.len(), 1);
    assert_eq!(index.names()["a"].by_value.len(), 1);
    assert_eq!(index.matching(&[Matcher::equal("b", "x")]), [999]);
    index.remove(&all[999..]);
    assert!(index.names().is_empty() && index.iter().next().is_none());
    assert_eq!(index.next_id(), Some(1000));
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
