//! Ascending lists of series numbers and the operations on them.

/// An ascending list without duplicates. One number takes no memory of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Postings {
    One(u32),
    Many(Vec<u32>),
}

impl Postings {
    /// Appends a number greater than all before.
    pub(crate) fn push(&mut self, id: u32) {
        match self {
            Postings::One(first) => *self = Postings::Many(vec![*first, id]),
            Postings::Many(ids) => {
                if ids.len() == ids.capacity() {
                    ids.reserve_exact(ids.len() / 4 + 4);
                }
                ids.push(id);
            }
        }
    }

    pub(crate) fn as_slice(&self) -> &[u32] {
        match self {
            Postings::One(id) => std::slice::from_ref(id),
            Postings::Many(ids) => ids,
        }
    }

    /// Removes numbers; returns whether none is left.
    pub(crate) fn remove(&mut self, gone: &[u32]) -> bool {
        match self {
            Postings::One(id) => gone.binary_search(id).is_ok(),
            Postings::Many(ids) => {
                ids.retain(|id| gone.binary_search(id).is_err());
                if ids.capacity() > 2 * ids.len() {
                    ids.shrink_to_fit();
                }
                ids.is_empty()
            }
        }
    }

    /// The memory behind the struct, bytes.
    pub(crate) fn heap_bytes(&self) -> usize {
        match self {
            Postings::One(_) => 0,
            Postings::Many(ids) => 4 * ids.capacity(),
        }
    }
}

/// Keeps the numbers of `ids` that are in `other`. Both ascend.
pub(crate) fn intersect(ids: &mut Vec<u32>, other: &[u32]) {
    let mut rest = other;
    ids.retain(|id| {
        rest = advance(rest, *id);
        rest.first() == Some(id)
    });
}

/// Keeps the numbers of `ids` that are not in `other`. Both ascend.
pub(crate) fn subtract(ids: &mut Vec<u32>, other: &[u32]) {
    let mut rest = other;
    ids.retain(|id| {
        rest = advance(rest, *id);
        rest.first() != Some(id)
    });
}

/// The part of an ascending list from `id` on, by galloping.
fn advance(list: &[u32], id: u32) -> &[u32] {
    let mut step = 1;
    while step < list.len() && list[step] < id {
        step *= 2;
    }
    let from = step / 2;
    let to = list.len().min(step + 1);
    if from >= to {
        return list;
    }
    let skip = from + list[from..to].partition_point(|&other| other < id);
    &list[skip..]
}

/// All numbers of all lists, ascending, once.
pub(crate) fn union<'a>(lists: impl IntoIterator<Item = &'a [u32]>) -> Vec<u32> {
    let mut all = Vec::new();
    let mut lists_seen = 0;
    for list in lists {
        all.extend_from_slice(list);
        lists_seen += 1;
    }
    if lists_seen > 1 {
        all.sort_unstable();
        all.dedup();
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::btree_set;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn set_operations_equal_those_of_sets(a in btree_set(0u32..300, 0..100), b in btree_set(0u32..300, 0..100)) {
            let (list_a, list_b): (Vec<u32>, Vec<u32>) = (a.iter().copied().collect(), b.iter().copied().collect());
            let mut both = list_a.clone();
            intersect(&mut both, &list_b);
            prop_assert_eq!(both, a.intersection(&b).copied().collect::<Vec<_>>());
            let mut without = list_a.clone();
            subtract(&mut without, &list_b);
            prop_assert_eq!(without, a.difference(&b).copied().collect::<Vec<_>>());
            prop_assert_eq!(union([&list_a[..], &list_b[..]]), a.union(&b).copied().collect::<Vec<_>>());
        }

        #[test]
        fn pushed_numbers_are_listed_until_removed(ids in btree_set(any::<u32>(), 1..50), gone in btree_set(any::<u32>(), 0..50)) {
            let mut sorted = ids.iter().copied();
            let mut postings = Postings::One(sorted.next().unwrap());
            sorted.for_each(|id| postings.push(id));
            prop_assert_eq!(postings.as_slice(), &ids.iter().copied().collect::<Vec<_>>()[..]);
            let gone: Vec<u32> = gone.into_iter().chain(ids.iter().copied().step_by(2)).collect::<std::collections::BTreeSet<_>>().into_iter().collect();
            let left: Vec<u32> = ids.iter().copied().filter(|id| !gone.contains(id)).collect();
            let empty = postings.remove(&gone);
            prop_assert_eq!(empty, left.is_empty());
            if !empty { prop_assert_eq!(postings.as_slice(), &left[..]); }
        }
    }
}
