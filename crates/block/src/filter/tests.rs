use proptest::prelude::*;

use super::*;

fn filter(pairs: &[(&str, &str)]) -> LabelFilter {
    LabelFilter::build(pairs.iter().map(|(name, value)| fingerprint(name, value)))
}

fn matcher(op: MatchOp, value: &str) -> Matcher {
    Matcher::new(op, "job", value).unwrap()
}

#[test]
fn few_of_the_positive_answers_are_wrong() {
    let pairs: Vec<(String, String)> = (0..5000).map(|i| (format!("l{}", i % 7), format!("v{i}"))).collect();
    let filter = LabelFilter::build(pairs.iter().map(|(n, v)| fingerprint(n, v)));
    assert!(pairs.iter().all(|(n, v)| filter.may_contain(n, v)));
    let wrong = (0..10_000).filter(|i| filter.may_contain("l1", &format!("w{i}"))).count();
    assert!(wrong < 200, "{wrong} of 10,000");
}

#[test]
fn the_bytes_are_stable() {
    let bytes = filter(&[("__name__", "up"), ("job", "node")]).as_bytes().to_vec();
    assert_eq!(bytes.len(), 8);
    let restored = LabelFilter::from_bytes(bytes).unwrap();
    assert_eq!(restored, filter(&[("job", "node"), ("__name__", "up")]), "whatever the order");
}

#[test]
fn name_and_value_are_told_apart() {
    assert_ne!(fingerprint("ab", "c"), fingerprint("a", "bc"));
    assert_ne!(fingerprint("a", "b"), fingerprint("b", "a"));
}

#[test]
fn equality_excludes_a_block_without_the_value() {
    let filter = filter(&[("job", "node")]);
    assert!(filter.may_match(&matcher(MatchOp::Equal, "node")));
    assert!(!filter.may_match(&matcher(MatchOp::Equal, "api")));
}

#[test]
fn an_expression_with_known_values_excludes_a_block_without_any_of_them() {
    let filter = filter(&[("job", "node")]);
    assert!(filter.may_match(&matcher(MatchOp::Regex, "api|node")));
    assert!(!filter.may_match(&matcher(MatchOp::Regex, "api|web")));
}

#[test]
fn other_expressions_and_negative_matchers_exclude_nothing() {
    let filter = filter(&[("job", "node")]);
    assert!(filter.may_match(&matcher(MatchOp::Regex, "a.*")));
    assert!(filter.may_match(&matcher(MatchOp::NotRegex, "node")));
    assert!(filter.may_match(&matcher(MatchOp::NotEqual, "node")));
}

#[test]
fn matchers_that_a_missing_label_satisfies_exclude_nothing() {
    let filter = filter(&[("job", "node")]);
    assert!(filter.may_match(&matcher(MatchOp::Equal, "")));
    assert!(filter.may_match(&matcher(MatchOp::Regex, "api|")));
}

#[test]
fn a_filter_without_bytes_excludes_nothing() {
    assert!(LabelFilter::default().may_match(&matcher(MatchOp::Equal, "api")));
}

#[test]
fn a_filter_over_the_size_limit_is_refused() {
    assert!(LabelFilter::from_bytes(vec![0; MAX_FILTER_BYTES]).is_some());
    assert!(LabelFilter::from_bytes(vec![0; MAX_FILTER_BYTES + 1]).is_none());
}

#[test]
fn many_entries_do_not_exceed_the_size_limit() {
    let filter = LabelFilter::build((0..200_000usize).map(|i| fingerprint("i", &i.to_string())));
    assert_eq!(filter.as_bytes().len(), MAX_FILTER_BYTES);
}

proptest! {
    #[test]
    fn an_entry_is_never_denied(pairs in proptest::collection::vec((".{0,5}", ".{0,5}"), 0..100)) {
        let filter = LabelFilter::build(pairs.iter().map(|(n, v)| fingerprint(n, v)));
        prop_assert!(pairs.iter().all(|(n, v)| filter.may_contain(n, v)));
    }
}
