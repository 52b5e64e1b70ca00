use proptest::prelude::*;

use super::*;

fn canonical(pairs: &[(&str, &str)]) -> Labels {
    Labels::from_pairs(pairs.iter().copied())
}

#[test]
fn canonical_bytes_are_ordered_by_name_before_value() {
    let ordered = [
        canonical(&[]),
        canonical(&[("a", "1")]),
        canonical(&[("a", "1"), ("b", "1")]),
        canonical(&[("a", "10")]),
        canonical(&[("a", "2")]),
        canonical(&[("aa", "0")]),
        canonical(&[("b", "0")]),
    ];
    for pair in ordered.windows(2) {
        assert!(compare_canonical(pair[0].as_bytes(), pair[1].as_bytes()).is_lt(), "{} < {}", pair[0], pair[1]);
    }
}

#[test]
fn values_longer_than_127_bytes_are_compared_whole() {
    let long = "x".repeat(300);
    let a = canonical(&[("a", &format!("{long}1"))]);
    let b = canonical(&[("a", &format!("{long}2"))]);
    assert!(compare_canonical(a.as_bytes(), b.as_bytes()).is_lt());
    assert!(compare_canonical(a.as_bytes(), a.as_bytes()).is_eq());
}

#[test]
fn kept_positions_move_to_the_front() {
    let mut column = vec![0, 1, 2, 3, 4, 5];
    keep_only(&mut column, 2, &(1..3));
    assert_eq!(column, [0, 1, 3, 4]);
    keep_only(&mut column, 2, &(2..2));
    assert_eq!(column, [0, 1]);
}

proptest! {
    #[test]
    fn canonical_bytes_are_ordered_like_labels(
        a in proptest::collection::btree_map("[a-c]{1,3}", "[a-c]{0,3}", 0..4),
        b in proptest::collection::btree_map("[a-c]{1,3}", "[a-c]{0,3}", 0..4),
    ) {
        let a = Labels::from_pairs(a);
        let b = Labels::from_pairs(b);
        prop_assert_eq!(compare_canonical(a.as_bytes(), b.as_bytes()), a.cmp(&b));
    }
}
