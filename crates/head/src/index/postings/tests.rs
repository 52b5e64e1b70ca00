use std::collections::BTreeSet;

use proptest::collection::btree_set;
use proptest::prelude::*;

use super::*;

fn postings(ids: &[u32]) -> Postings {
    let mut postings = Postings::One(ids[0]);
    ids[1..].iter().for_each(|id| postings.push(*id));
    postings
}

#[test]
fn a_single_number_takes_no_heap_memory() {
    assert_eq!(postings(&[7]).heap_bytes(), 0);
    assert!(postings(&[7, 8]).heap_bytes() >= 8);
}

#[test]
fn removing_the_only_number_empties_a_list() {
    assert!(postings(&[7]).remove(&[3, 7]));
    assert!(!postings(&[7]).remove(&[3, 8]));
}

#[test]
fn a_list_gives_memory_back_when_most_of_it_is_removed() {
    let mut list = postings(&(0..1000).collect::<Vec<_>>());
    let before = list.heap_bytes();
    assert!(!list.remove(&(0..999).collect::<Vec<_>>()));
    assert_eq!(list.as_slice(), [999]);
    assert!(list.heap_bytes() < before / 100);
}

#[test]
fn intersecting_with_nothing_leaves_nothing() {
    let mut ids = vec![1, 2, 3];
    intersect(&mut ids, &[]);
    assert!(ids.is_empty());
}

#[test]
fn subtracting_nothing_changes_nothing() {
    let mut ids = vec![1, 2, 3];
    subtract(&mut ids, &[]);
    assert_eq!(ids, [1, 2, 3]);
}

#[test]
fn a_union_of_no_lists_is_empty() {
    assert!(union([]).is_empty());
}

#[test]
fn a_union_holds_every_number_once() {
    assert_eq!(union([&[3, 5][..], &[1, 3], &[5]]), [1, 3, 5]);
}

#[test]
fn galloping_finds_numbers_far_ahead() {
    let long: Vec<u32> = (0..100_000).collect();
    let mut ids = vec![0, 1, 63, 64, 65, 99_999];
    intersect(&mut ids, &long);
    assert_eq!(ids, [0, 1, 63, 64, 65, 99_999]);
}

proptest! {
    #[test]
    fn set_operations_equal_those_of_sets(a in btree_set(0u32..300, 0..100), b in btree_set(0u32..300, 0..100)) {
        let list_a: Vec<u32> = a.iter().copied().collect();
        let list_b: Vec<u32> = b.iter().copied().collect();
        let mut both = list_a.clone();
        intersect(&mut both, &list_b);
        prop_assert_eq!(both, a.intersection(&b).copied().collect::<Vec<_>>());
        let mut difference = list_a.clone();
        subtract(&mut difference, &list_b);
        prop_assert_eq!(difference, a.difference(&b).copied().collect::<Vec<_>>());
        prop_assert_eq!(union([&list_a[..], &list_b[..]]), a.union(&b).copied().collect::<Vec<_>>());
    }

    #[test]
    fn pushed_numbers_are_listed_until_removed(ids in btree_set(any::<u32>(), 1..50), removed in btree_set(any::<u32>(), 0..50)) {
        let ids: Vec<u32> = ids.into_iter().collect();
        let mut list = postings(&ids);
        prop_assert_eq!(list.as_slice(), &ids[..]);
        let removed: BTreeSet<u32> = removed.into_iter().chain(ids.iter().copied().step_by(2)).collect();
        let left: Vec<u32> = ids.iter().copied().filter(|id| !removed.contains(id)).collect();
        let is_empty = list.remove(&removed.into_iter().collect::<Vec<_>>());
        prop_assert_eq!(is_empty, left.is_empty());
        if !is_empty {
            prop_assert_eq!(list.as_slice(), &left[..]);
        }
    }
}
