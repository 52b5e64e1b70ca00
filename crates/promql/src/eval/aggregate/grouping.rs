//! Groups of series: by the labels that `by` names, or by all but those that `without` names.

use hashbrown::HashMap;
use pharos_model::{Labels, METRIC_NAME};

use crate::eval::vector_matching::{LabelFilter, RawLabels};

/// Groups in the order in which their first series came.
pub(crate) struct Groups {
    filter: LabelFilter,
    index: HashMap<Box<[u8]>, usize>,
    key: Vec<u8>,
    /// Their labels.
    pub(crate) labels: Vec<Labels>,
    /// Whether any of their series drops its name.
    pub(crate) drop_name: Vec<bool>,
}

impl Groups {
    /// No groups. `names` are sorted.
    pub(crate) fn new(names: &[String], without: bool) -> Self {
        let filter = if without {
            let mut names: Vec<String> = names.iter().cloned().chain([METRIC_NAME.to_string()]).collect();
            names.sort_unstable();
            names.dedup();
            LabelFilter::without(names)
        } else {
            LabelFilter::only(names.to_vec())
        };
        Groups { filter, index: HashMap::new(), key: Vec::new(), labels: Vec::new(), drop_name: Vec::new() }
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
        self.drop_name.push(drop_name);
        (group, true)
    }

    /// The bytes that one more group takes, for the budget.
    pub(crate) fn bytes_of(&self, group: usize) -> usize {
        2 * self.labels[group].as_bytes().len() + 96
    }
}
