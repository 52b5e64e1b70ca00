//! Resolves matchers to the numbers of the series that satisfy them.

use std::ops::Bound;

use pharos_model::{MatchOp, Matcher};

use super::postings::{Postings, intersect, subtract, union};
use super::{Index, Values};

impl Index {
    /// The numbers of the series that satisfy all matchers, ascending.
    ///
    /// A matcher that a missing label does not satisfy selects series. Any other matcher excludes the series whose values it
    /// rejects. Cheap selections come first and an empty result stops the search, so that expensive expressions are tested
    /// against few values.
    pub(crate) fn matching(&self, matchers: &[Matcher]) -> Vec<u32> {
        let mut selecting: Vec<&Matcher> = matchers.iter().filter(|m| !m.matches_empty()).collect();
        selecting.sort_by_key(|m| self.cost(m));
        let mut ids: Option<Vec<u32>> = None;
        for matcher in selecting {
            match &mut ids {
                None => ids = Some(self.selected_by(matcher)),
                Some(ids) => self.restrict(ids, matcher),
            }
            if ids.as_ref().is_some_and(Vec::is_empty) {
                return Vec::new();
            }
        }
        let mut ids = ids.unwrap_or_else(|| self.iter().map(|s| s.id).collect());
        for matcher in matchers.iter().filter(|m| m.matches_empty()) {
            if ids.is_empty() {
                break;
            }
            self.exclude(&mut ids, matcher);
        }
        ids
    }

    /// An estimate of the work that a selecting matcher takes.
    fn cost(&self, matcher: &Matcher) -> (u8, usize) {
        match matcher.op {
            MatchOp::Equal => (0, self.postings(&matcher.name, &matcher.value).len()),
            MatchOp::Regex if matcher.set_of_values().is_some() => (1, 0),
            MatchOp::Regex if !matcher.prefix().is_empty() => (2, 0),
            _ => (3, self.names.get(matcher.name.as_str()).map_or(0, |v| v.by_value.len())),
        }
    }

    fn postings(&self, name: &str, value: &str) -> &[u32] {
        self.names.get(name).and_then(|values| values.by_value.get(value)).map_or(&[], Postings::as_slice)
    }

    fn selected_by(&self, matcher: &Matcher) -> Vec<u32> {
        if matcher.op == MatchOp::Equal {
            return self.postings(&matcher.name, &matcher.value).to_vec();
        }
        let Some(values) = self.names.get(matcher.name.as_str()) else { return Vec::new() };
        union(values.matched_by(matcher))
    }

    /// Keeps the series that satisfy a selecting matcher. When there are fewer series than values, the labels of the series
    /// are tested instead of the values.
    fn restrict(&self, ids: &mut Vec<u32>, matcher: &Matcher) {
        if matcher.op == MatchOp::Equal {
            return intersect(ids, self.postings(&matcher.name, &matcher.value));
        }
        let values = self.names.get(matcher.name.as_str()).map_or(0, |v| v.by_value.len());
        if ids.len() < values {
            return self.retain_matching(ids, matcher);
        }
        let selected = self.selected_by(matcher);
        intersect(ids, &selected);
    }

    /// Removes the series that have the label with a value that the matcher rejects.
    fn exclude(&self, ids: &mut Vec<u32>, matcher: &Matcher) {
        let Some(values) = self.names.get(matcher.name.as_str()) else { return };
        if matcher.op == MatchOp::NotEqual && !matcher.value.is_empty() {
            return subtract(ids, self.postings(&matcher.name, &matcher.value));
        }
        if ids.len() < values.by_value.len() {
            return self.retain_matching(ids, matcher);
        }
        let excluded = union(values.by_value.iter().filter(|(v, _)| !matcher.matches(v)).map(|(_, p)| p.as_slice()));
        subtract(ids, &excluded);
    }

    fn retain_matching(&self, ids: &mut Vec<u32>, matcher: &Matcher) {
        ids.retain(|&id| self.get(id).is_some_and(|s| matcher.matches(s.labels.get(&matcher.name).unwrap_or(""))));
    }
}

impl Values {
    /// The postings of the values that a matcher accepts.
    fn matched_by<'a>(&'a self, matcher: &'a Matcher) -> Vec<&'a [u32]> {
        if let (MatchOp::Regex, Some(set)) = (matcher.op, matcher.set_of_values()) {
            return set.iter().filter_map(|v| self.by_value.get(v.as_str())).map(Postings::as_slice).collect();
        }
        let prefix = if matcher.op == MatchOp::Regex { matcher.prefix() } else { "" };
        self.by_value
            .range::<str, _>((Bound::Included(prefix), Bound::Unbounded))
            .take_while(|(value, _)| value.starts_with(prefix))
            .filter(|(value, _)| matcher.matches(value))
            .map(|(_, postings)| postings.as_slice())
            .collect()
    }
}
