//! Tests of the way from request labels to canonical ones.

use pharos_model::Labels;
use proptest::prelude::*;

use super::*;

/// Labels on the fast path; `None` when they have to take the slow one.
fn fast(pairs: &[(&[u8], &[u8])]) -> Option<Vec<u8>> {
    let mut out = vec![7];
    let bytes = pairs.iter().map(|(name, value)| name.len() + value.len() + 4).sum();
    let mut writer = CanonicalWriter::new(&mut out, bytes);
    for (name, value) in pairs {
        writer.push(name, value);
    }
    let good = writer.finish();
    assert!(good || out == [7]);
    good.then(|| out.split_off(1))
}

/// Labels on the slow path.
fn slow(pairs: &[(&[u8], &[u8])]) -> Result<Vec<u8>, LabelError> {
    let mut out = Vec::new();
    write_any_order(pairs.iter().copied(), &mut out).map(|()| out)
}

/// The error of labels, which must not take the fast path.
fn error(pairs: &[(&[u8], &[u8])]) -> String {
    assert_eq!(fast(pairs), None);
    slow(pairs).unwrap_err().to_string()
}

#[test]
fn a_missing_metric_name_is_rejected() {
    assert_eq!(error(&[(b"job", b"x")]), r#"invalid metric name or labels, got {job="x"}"#);
    assert_eq!(error(&[]), "invalid metric name or labels, got {}");
    assert_eq!(error(&[(b"__name__", b"")]), r#"invalid metric name or labels, got {__name__=""}"#);
}

#[test]
fn an_empty_label_name_is_rejected() {
    assert_eq!(
        error(&[(b"", b"x"), (b"__name__", b"up")]),
        r#"invalid metric name or labels, got {""="x", __name__="up"}"#
    );
}

#[test]
fn bytes_that_are_not_utf8_are_rejected() {
    assert!(matches!(slow(&[(b"__name__", b"u\xffp")]), Err(LabelError::Invalid(_))));
    assert_eq!(fast(&[(b"__name__", b"u\xffp")]), None);
    assert_eq!(fast(&[(b"__name__", b"up"), (b"a\xff", b"x")]), None);
}

#[test]
fn a_repeated_name_is_rejected() {
    let twice: &[(&[u8], &[u8])] = &[(b"__name__", b"up"), (b"a", b"1"), (b"a", b"2")];
    assert_eq!(error(twice), r#"invalid labels for series, labels {__name__="up", a="1", a="2"}, duplicated label a"#);
}

#[test]
fn messages_do_not_repeat_huge_labels() {
    let long = vec![b'x'; 100_000];
    let error = slow(&[(b"a", &long), (b"b", b"1")]).unwrap_err().to_string();
    assert!(error.len() < 200, "{error}");
}

#[test]
fn unsorted_labels_take_the_slow_path() {
    let pairs: &[(&[u8], &[u8])] = &[(b"job", b"node"), (b"gone", b""), (b"__name__", b"up")];
    assert_eq!(fast(pairs), None);
    let labels = Labels::from_canonical(&slow(pairs).unwrap()).unwrap();
    assert_eq!(labels, Labels::from_pairs([("__name__", "up"), ("job", "node")]));
}

#[test]
fn labels_with_empty_values_are_left_out() {
    let labels = Labels::from_pairs([("__name__", "up"), ("job", "node")]);
    let sorted: &[(&[u8], &[u8])] = &[(b"__name__", b"up"), (b"gone", b""), (b"job", b"node")];
    assert_eq!(fast(sorted).unwrap(), labels.as_bytes());
}

proptest! {
    #[test]
    fn prefixes_order_as_names_do(a in proptest::collection::vec(0u8..3, 0..12), b in proptest::collection::vec(0u8..3, 0..12), tail in proptest::collection::vec(any::<u8>(), 0..9)) {
        let of = |name: &[u8]| prefix(&[name, &tail].concat(), name.len());
        let (x, y) = (of(&a), of(&b));
        prop_assert!(x == y || (x < y) == (a < b), "{a:?} {b:?}");
    }

    #[test]
    fn both_paths_give_the_canonical_bytes(
        pairs in proptest::collection::btree_map("[a-zé_]{1,3}|[a-z]{120,140}", "é{0,70}|[a-z]{0,200}", 0..6),
    ) {
        let mut pairs = pairs;
        pairs.insert("__name__".into(), "ü".into());
        let expected = Labels::from_pairs(&pairs);
        let raw: Vec<(&[u8], &[u8])> = pairs.iter().map(|(n, v)| (n.as_bytes(), v.as_bytes())).collect();
        prop_assert_eq!(&fast(&raw).unwrap()[..], expected.as_bytes());
        let reversed: Vec<_> = raw.into_iter().rev().collect();
        prop_assert_eq!(&slow(&reversed).unwrap()[..], expected.as_bytes());
    }
}
