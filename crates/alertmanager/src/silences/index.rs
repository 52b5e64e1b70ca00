//! Finds the silences that may apply to labels, without trying all of them.
//!
//! A silence that demands a value of some label is found by that value; the others are tried for all labels. Silences are
//! numbered as they are added, so that whoever looked before sees only what is new.

use std::collections::HashMap;
use std::sync::Arc;

use crate::matcher::Matcher;

/// Silences with their numbers, ascending.
type Numbered = Vec<(u64, Arc<str>)>;

/// The index.
#[derive(Debug, Default)]
pub(super) struct Index {
    newest: u64,
    /// By label name and value.
    by_label: HashMap<String, HashMap<String, Numbered>>,
    others: Numbered,
}

impl Index {
    /// The number of the newest silence.
    pub(super) fn newest(&self) -> u64 {
        self.newest
    }

    /// Adds a silence.
    pub(super) fn add(&mut self, id: &Arc<str>, matcher_sets: &[Vec<Matcher>]) {
        self.newest += 1;
        let demands: Option<Vec<&Matcher>> =
            matcher_sets.iter().map(|set| set.iter().find(|matcher| matcher.required_value().is_some())).collect();
        let Some(demands) = demands else {
            self.others.push((self.newest, id.clone()));
            return;
        };
        for matcher in demands {
            let by_value = self.by_label.entry(matcher.name().to_string()).or_default();
            by_value.entry(matcher.value().to_string()).or_default().push((self.newest, id.clone()));
        }
    }

    /// Silences with higher numbers than `seen` that may apply to labels. One with several sets may appear twice.
    pub(super) fn candidates<'i, 'l>(
        &'i self,
        labels: impl Iterator<Item = (&'l str, &'l str)> + 'i,
        seen: u64,
    ) -> impl Iterator<Item = &'i Arc<str>> {
        let found = labels.filter_map(|(name, value)| self.by_label.get(name)?.get(value));
        found.chain([&self.others]).flat_map(move |silences| {
            let start = silences.partition_point(|(number, _)| *number <= seen);
            silences[start..].iter().map(|(_, id)| id)
        })
    }

    /// Removes the silences for which `keep` is false.
    pub(super) fn retain(&mut self, keep: impl Fn(&str) -> bool) {
        self.others.retain(|(_, id)| keep(id));
        for by_value in self.by_label.values_mut() {
            by_value.retain(|_, silences| {
                silences.retain(|(_, id)| keep(id));
                !silences.is_empty()
            });
        }
        self.by_label.retain(|_, by_value| !by_value.is_empty());
    }
}
