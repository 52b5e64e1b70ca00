use proptest::prelude::*;

use super::*;

#[test]
fn labels_are_sorted_by_name() {
    let labels = Labels::from_pairs([("b", "2"), ("a", "1")]);
    assert_eq!(labels.iter().collect::<Vec<_>>(), [("a", "1"), ("b", "2")]);
    assert_eq!(labels.len(), 2);
}

#[test]
fn the_last_value_of_a_name_wins() {
    assert_eq!(Labels::from_pairs([("b", "2"), ("a", "1"), ("b", "3")]).get("b"), Some("3"));
}

#[test]
fn an_empty_value_is_no_label() {
    let labels = Labels::from_pairs([("a", "1"), ("b", ""), ("a", "")]);
    assert_eq!(labels.get("b"), None);
    assert!(labels.is_empty());
    assert_eq!(labels, Labels::empty());
}

#[test]
fn names_that_are_absent_have_no_value() {
    let labels = Labels::from_pairs([("b", "1"), ("d", "2")]);
    for name in ["a", "c", "e", ""] {
        assert_eq!(labels.get(name), None, "{name}");
    }
}

#[test]
fn the_metric_name_may_be_missing() {
    assert_eq!(Labels::from_pairs([("__name__", "up")]).metric_name(), "up");
    assert_eq!(Labels::empty().metric_name(), "");
}

#[test]
fn labels_are_shown_as_prometheus_shows_them() {
    let labels = Labels::from_pairs([("__name__", "up"), ("job", "a\"b\n"), ("a.b", "x")]);
    assert_eq!(labels.to_string(), r#"{__name__="up", "a.b"="x", job="a\"b\n"}"#);
    assert_eq!(format!("{labels:?}"), labels.to_string());
    assert_eq!(Labels::empty().to_string(), "{}");
}

#[test]
fn labels_are_dropped_by_name() {
    let labels = Labels::from_pairs([("a", "1"), ("b", "2"), ("c", "3")]);
    assert_eq!(labels.without(|name| name == "b"), Labels::from_pairs([("a", "1"), ("c", "3")]));
    assert_eq!(labels.without(|_| true), Labels::default());
}

#[test]
fn sets_are_ordered_pair_by_pair() {
    let prefix = Labels::from_pairs([("a", "b")]);
    let longer = Labels::from_pairs([("a", "b"), ("c", "d")]);
    let larger = Labels::from_pairs([("a", "bb")]);
    assert!(prefix < longer);
    assert!(longer < larger);
}

#[test]
fn names_that_need_no_quotes_are_legacy_names() {
    for name in ["a", "_", "a1_B"] {
        assert!(is_legacy_label_name(name), "{name}");
    }
    for name in ["", "1a", "a.b", "a:b", "é"] {
        assert!(!is_legacy_label_name(name), "{name}");
    }
    assert!(is_legacy_metric_name(":a:b") && !is_legacy_metric_name("a.b") && !is_legacy_metric_name(""));
}

#[test]
fn a_builder_starts_from_a_set() {
    let mut builder = LabelsBuilder::from_labels(&Labels::from_pairs([("a", "1"), ("b", "2")]));
    builder.set("c", "3").remove("a");
    assert_eq!(builder.build(), Labels::from_pairs([("b", "2"), ("c", "3")]));
}

#[test]
fn a_builder_knows_labels_that_were_set_to_the_empty_value() {
    let mut builder = LabelsBuilder::default();
    builder.set("a", "");
    assert!(builder.contains("a"));
    assert!(!builder.contains("b"));
    assert_eq!(builder.get("a"), "");
    assert_eq!(builder.iter().count(), 0);
    assert!(builder.build().is_empty());
}

#[test]
fn a_builder_that_was_cleared_is_empty() {
    let mut builder = LabelsBuilder::default();
    builder.set("a", "1").clear();
    assert!(builder.build().is_empty());
}

#[test]
fn bytes_that_end_early_are_refused() {
    assert_eq!(Labels::from_canonical(&[5, b'a']), Err(LabelsError::Truncated(0)));
    assert_eq!(Labels::from_canonical(&[1, b'a', 2, b'x']), Err(LabelsError::Truncated(0)));
    assert_eq!(Labels::from_canonical(&[0xff; 12]), Err(LabelsError::Truncated(0)));
}

#[test]
fn bytes_out_of_order_are_refused() {
    let out_of_order = [1, b'b', 1, b'x', 1, b'a', 1, b'x'];
    assert_eq!(Labels::from_canonical(&out_of_order), Err(LabelsError::Unsorted("a".into())));
    let duplicate = [1, b'a', 1, b'x', 1, b'a', 1, b'x'];
    assert_eq!(Labels::from_canonical(&duplicate), Err(LabelsError::Unsorted("a".into())));
}

#[test]
fn bytes_that_are_not_utf8_are_refused() {
    assert_eq!(Labels::from_canonical(&[1, 0xff, 1, b'x']), Err(LabelsError::NotUtf8("\u{fffd}".into())));
    assert_eq!(Labels::from_canonical(&[1, b'a', 1, 0xff]), Err(LabelsError::NotUtf8("a".into())));
}

#[test]
fn unchecked_bytes_that_are_not_canonical_have_fewer_labels() {
    let broken = [1, b'a', 1, b'x', 9, b'b'];
    assert_eq!(Labels::from_canonical_unchecked(&broken).len(), 1);
    assert_eq!(LabelsIter::over(&broken).collect::<Vec<_>>(), [("a", "x")]);
}

#[test]
fn numbers_of_more_than_64_bits_are_refused() {
    assert_eq!(read_uvarint(&[0x80; 10]), None);
    assert_eq!(read_uvarint(&[]), None);
    assert_eq!(read_uvarint(&[0x80, 1, 7]), Some((128, 2)));
}

proptest! {
    #[test]
    fn canonical_bytes_round_trip(pairs in proptest::collection::btree_map("[a-zé_]{1,8}", ".{1,40}", 0..8)) {
        let labels = Labels::from_pairs(&pairs);
        prop_assert_eq!(&Labels::from_canonical(labels.as_bytes()).unwrap(), &labels);
        let read: std::collections::BTreeMap<_, _> = labels.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect();
        prop_assert_eq!(read, pairs);
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
        if let Ok(labels) = Labels::from_canonical(&bytes) {
            prop_assert_eq!(labels.as_bytes(), &bytes[..]);
            labels.iter().count();
        }
    }
}

/// The builder looks names up by an index once there are many labels.
#[test]
fn a_builder_with_many_labels_behaves_as_one_with_few() {
    for count in [FEW - 1, FEW, FEW + 1, FEW + 2, 3 * FEW] {
        let mut builder = LabelsBuilder::default();
        let mut expected = std::collections::BTreeMap::new();
        for n in (0..count).rev() {
            builder.set(&format!("l{n}"), "1");
            expected.insert(format!("l{n}"), "1".to_string());
        }
        builder.build();
        for n in (0..count).step_by(3) {
            builder.append(&format!("l{n}"), ';', "2");
            expected.insert(format!("l{n}"), "1;2".to_string());
        }
        for n in (0..count).step_by(5) {
            builder.remove(&format!("l{n}"));
            expected.remove(&format!("l{n}"));
            assert!(!builder.contains(&format!("l{n}")));
        }
        builder.append("new", ';', "3").set("newer", "4").set("newer", "");
        expected.insert("new".into(), "3".into());
        assert_eq!(builder.get("new"), "3");
        assert!(builder.contains("newer"));
        assert_eq!(builder.build(), Labels::from_pairs(&expected), "{count} labels");
    }
}
