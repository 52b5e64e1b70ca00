//! Postings: ascending lists of series numbers, and set operations on them.

/// An ascending list without duplicates. A single number takes no heap memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Postings {
    One(u32),
    Many(Vec<u32>),
}

impl Postings {
    /// Appends a number that is greater than all others.
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

    /// Removes ascending numbers; returns whether the list is empty afterwards. An empty list must be discarded.
    pub(crate) fn remove(&mut self, removed: &[u32]) -> bool {
        match self {
            Postings::One(id) => removed.binary_search(id).is_ok(),
            Postings::Many(ids) => {
                let (Some(first), Some(last)) = (removed.first(), removed.last()) else { return false };
                let touched = ids.partition_point(|id| id < first)..ids.partition_point(|id| id <= last);
                let mut kept = touched.start;
                let mut rest = removed;
                for at in touched.clone() {
                    rest = advance(rest, ids[at]);
                    if rest.first() != Some(&ids[at]) {
                        ids[kept] = ids[at];
                        kept += 1;
                    }
                }
                ids.drain(kept..touched.end);
                if ids.capacity() > 2 * ids.len() {
                    ids.shrink_to_fit();
                }
                ids.is_empty()
            }
        }
    }

    /// The heap memory of the list, in bytes.
    pub(crate) fn heap_bytes(&self) -> usize {
        match self {
            Postings::One(_) => 0,
            Postings::Many(ids) => 4 * ids.capacity(),
        }
    }
}

/// Keeps the numbers of `ids` that are also in `other`. Both ascend.
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

/// The rest of an ascending list from `id` on, found by galloping.
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

/// The numbers that occur in any of the lists, ascending, each once.
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
mod tests;
