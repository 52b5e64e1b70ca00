//! Groups of series: by the labels of `by`, or by all labels except those of `without`.

use hashbrown::HashMap;
use pharos_model::{Labels, METRIC_NAME};

use crate::eval::shared::entry_bytes;
use crate::eval::vector_matching::{LabelFilter, RawLabels};

/// Groups, in the order of their first series.
pub(crate) struct Groups {
    filter: LabelFilter,
    index: HashMap<Box<[u8]>, usize>,
    key: Vec<u8>,
    /// The labels of each group.
    pub(crate) labels: Vec<Labels>,
    /// The first series of each group.
    pub(crate) first: Vec<Labels>,
    /// The place of each group among several that begin with the same series.
    pub(crate) rank: Vec<u32>,
    /// For each group, whether any of its series drops its name.
    pub(crate) drop_name: Vec<bool>,
}

impl Groups {
    /// An empty set of groups. `names` must be sorted.
    pub(crate) fn new(names: &[String], without: bool) -> Self {
        let filter = if without {
            let mut names: Vec<String> = names.iter().cloned().chain([METRIC_NAME.to_string()]).collect();
            names.sort_unstable();
            names.dedup();
            LabelFilter::without(names)
        } else {
            LabelFilter::only(names.to_vec())
        };
        Groups {
            filter,
            index: HashMap::new(),
            key: Vec::new(),
            labels: Vec::new(),
            first: Vec::new(),
            rank: Vec::new(),
            drop_name: Vec::new(),
        }
    }

    /// The number of groups.
    pub(crate) fn len(&self) -> usize {
        self.labels.len()
    }

    /// The group of a series, and whether it is new.
    pub(crate) fn of(&mut self, labels: &Labels, drop_name: bool) -> (usize, bool) {
        self.key.clear();
        self.filter.append(RawLabels::of(labels), &mut self.key);
        if let Some(&group) = self.index.get(&self.key[..]) {
            self.drop_name[group] |= drop_name;
            return (group, false);
        }
        let group = self.labels.len();
        self.index.insert(self.key.as_slice().into(), group);
        self.labels.push(Labels::from_canonical_unchecked(&self.key));
        self.first.push(labels.clone());
        self.rank.push(0);
        self.drop_name.push(drop_name);
        (group, true)
    }

    /// The memory that a group takes, bytes, where lists that grow are copied.
    pub(crate) fn bytes_of(&self, group: usize) -> usize {
        let lists = 2 * size_of::<Labels>() + size_of::<u32>() + size_of::<bool>();
        2 * self.labels[group].as_bytes().len() + 2 * size_of::<usize>() + entry_bytes::<Box<[u8]>, usize>() + 3 * lists
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        Labels::from_pairs(pairs.iter().copied())
    }

    #[test]
    fn series_with_equal_grouping_labels_share_a_group() {
        let mut groups = Groups::new(&["a".to_string()], false);
        assert_eq!(groups.of(&labels(&[("__name__", "m"), ("a", "1"), ("b", "1")]), false), (0, true));
        assert_eq!(groups.of(&labels(&[("__name__", "n"), ("a", "1"), ("b", "2")]), false), (0, false));
        assert_eq!(groups.of(&labels(&[("a", "2")]), false), (1, true));
        assert_eq!(groups.of(&labels(&[("b", "2")]), false), (2, true));
        assert_eq!(groups.labels[0], labels(&[("a", "1")]));
        assert_eq!(groups.first[0], labels(&[("__name__", "m"), ("a", "1"), ("b", "1")]));
        assert_eq!(groups.labels[2], Labels::empty());
    }

    #[test]
    fn without_drops_the_name_as_well() {
        let mut groups = Groups::new(&["a".to_string()], true);
        groups.of(&labels(&[("__name__", "m"), ("a", "1"), ("b", "1")]), false);
        assert_eq!(groups.labels[0], labels(&[("b", "1")]));
    }

    #[test]
    fn one_series_that_drops_its_name_drops_that_of_its_group() {
        let mut groups = Groups::new(&["__name__".to_string()], false);
        groups.of(&labels(&[("__name__", "m"), ("a", "1")]), false);
        assert_eq!(groups.drop_name, [false]);
        groups.of(&labels(&[("__name__", "m"), ("a", "2")]), true);
        assert_eq!(groups.drop_name, [true]);
    }
}
