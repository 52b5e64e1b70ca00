//! Filters labels in their encoded form, for match groups and aggregation groups, without building label sets.

use pharos_model::labels::read_uvarint;
use pharos_model::{Labels, METRIC_NAME};

use crate::syntax::ast::VectorMatching;

/// Iterates over encoded labels without decoding their text.
#[derive(Clone, Copy)]
pub(crate) struct RawLabels<'a> {
    rest: &'a [u8],
}

/// A label: its name, its value, and the encoding of both.
pub(crate) struct RawLabel<'a> {
    pub(crate) name: &'a [u8],
    pub(crate) value: &'a [u8],
    pub(crate) encoded: &'a [u8],
}

impl<'a> RawLabels<'a> {
    /// The labels of a set.
    pub(crate) fn of(labels: &'a Labels) -> Self {
        RawLabels { rest: labels.as_bytes() }
    }
}

fn string(bytes: &[u8]) -> Option<(&[u8], usize)> {
    let (len, used) = match bytes.first() {
        Some(&short) if short < 0x80 => (u64::from(short), 1),
        _ => read_uvarint(bytes)?,
    };
    let end = used.checked_add(usize::try_from(len).ok()?)?;
    Some((bytes.get(used..end)?, end))
}

impl<'a> Iterator for RawLabels<'a> {
    type Item = RawLabel<'a>;

    #[inline]
    fn next(&mut self) -> Option<RawLabel<'a>> {
        let (name, name_end) = string(self.rest)?;
        let (value, value_len) = string(&self.rest[name_end..])?;
        let (encoded, rest) = self.rest.split_at(name_end + value_len);
        self.rest = rest;
        Some(RawLabel { name, value, encoded })
    }
}

/// The bytes of the metric's name, empty when there is none.
pub(crate) fn raw_metric_name(labels: &Labels) -> &[u8] {
    let name = RawLabels::of(labels).find(|label| label.name == METRIC_NAME.as_bytes());
    name.map_or(&[], |label| label.value)
}

/// Selects labels: only the named ones, or all but the named ones.
#[derive(Clone, Debug)]
pub(crate) struct LabelFilter {
    names: Vec<String>,
    keep: bool,
}

impl LabelFilter {
    /// Selects only `names`, which must be sorted.
    pub(crate) fn only(names: Vec<String>) -> Self {
        LabelFilter { names, keep: true }
    }

    /// Selects all labels except `names`, which must be sorted.
    pub(crate) fn without(names: Vec<String>) -> Self {
        LabelFilter { names, keep: false }
    }

    /// Selects the labels by which a binary operation matches its sides.
    pub(crate) fn of(matching: &VectorMatching) -> Self {
        let mut names = matching.labels.clone();
        if !matching.on {
            names.push(METRIC_NAME.to_string());
        }
        names.sort_unstable();
        names.dedup();
        LabelFilter { names, keep: matching.on }
    }

    /// Appends the selected labels, in canonical form.
    pub(crate) fn append(&self, labels: RawLabels<'_>, out: &mut Vec<u8>) {
        if self.keep && self.names.is_empty() {
            return;
        }
        let mut names = self.names.iter().map(String::as_bytes).peekable();
        for label in labels {
            while names.next_if(|name| *name < label.name).is_some() {}
            let named = names.peek().is_some_and(|name| *name == label.name);
            if named == self.keep {
                out.extend_from_slice(label.encoded);
            }
        }
    }

    /// The selected labels.
    pub(crate) fn apply(&self, labels: &Labels) -> Labels {
        let mut bytes = Vec::new();
        self.append(RawLabels::of(labels), &mut bytes);
        Labels::from_canonical_unchecked(&bytes)
    }
}

/// Encodes a label set as Prometheus does in memory, for hashes that must equal its own. A length below 255 takes one byte, a
/// longer one takes a 255 and three bytes.
pub(crate) fn prometheus_bytes(labels: &Labels, out: &mut Vec<u8>) {
    out.clear();
    let mut string = |text: &str| {
        match text.len() {
            len @ 0..255 => out.push(len as u8),
            len => out.extend_from_slice(&[255, len as u8, (len >> 8) as u8, (len >> 16) as u8]),
        }
        out.extend_from_slice(text.as_bytes());
    };
    for (name, value) in labels.iter() {
        string(name);
        string(value);
    }
}

/// The labels without those that identify the metric: name, type and unit.
pub(crate) fn without_metadata(labels: &Labels) -> Labels {
    LabelFilter::without(["__name__", "__type__", "__unit__"].map(String::from).to_vec()).apply(labels)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn filters_select_the_same_as_a_check_of_each_label(
            pairs in proptest::collection::btree_map("[a-d]{1,2}", ".{1,200}", 0..6),
            names in proptest::collection::btree_set("[a-d]{1,2}", 0..4),
        ) {
            let labels = Labels::from_pairs(&pairs);
            let names: Vec<String> = names.into_iter().collect();
            let only = labels.without(|n| !names.iter().any(|x| x == n));
            prop_assert_eq!(LabelFilter::only(names.clone()).apply(&labels), only);
            let without = labels.without(|n| names.iter().any(|x| x == n));
            prop_assert_eq!(LabelFilter::without(names).apply(&labels), without);
        }
    }

    #[test]
    fn short_strings_are_encoded_with_a_byte_of_length() {
        let mut bytes = Vec::new();
        prometheus_bytes(&Labels::from_pairs([("a", "bc")]), &mut bytes);
        assert_eq!(bytes, b"\x01a\x02bc");
    }

    #[test]
    fn long_strings_are_encoded_with_three_bytes_of_length() {
        let mut bytes = Vec::new();
        prometheus_bytes(&Labels::from_pairs([("a", "x".repeat(300))]), &mut bytes);
        assert_eq!(bytes[2..6], [255, 44, 1, 0]);
    }

    #[test]
    fn matching_ignores_the_name_unless_on_names_it() {
        let labels = Labels::from_pairs([("__name__", "m"), ("a", "1"), ("b", "2")]);
        let matching = |on: bool, names: &[&str]| {
            let labels = names.iter().map(|name| name.to_string()).collect();
            LabelFilter::of(&VectorMatching { on, labels, ..VectorMatching::default() })
        };
        assert_eq!(matching(false, &[]).apply(&labels).to_string(), "{a=\"1\", b=\"2\"}");
        assert_eq!(matching(false, &["b"]).apply(&labels).to_string(), "{a=\"1\"}");
        assert_eq!(matching(true, &["b", "missing"]).apply(&labels).to_string(), "{b=\"2\"}");
        assert_eq!(matching(true, &["__name__"]).apply(&labels).metric_name(), "m");
        assert_eq!(matching(true, &[]).apply(&labels), Labels::empty());
    }

    #[test]
    fn metadata_is_the_name_the_type_and_the_unit() {
        let labels = Labels::from_pairs([("__name__", "m"), ("__type__", "t"), ("__unit__", "u"), ("a", "1")]);
        assert_eq!(without_metadata(&labels), Labels::from_pairs([("a", "1")]));
    }

    #[test]
    fn the_raw_name_is_empty_when_there_is_none() {
        assert_eq!(raw_metric_name(&Labels::from_pairs([("__name__", "m"), ("a", "1")])), b"m");
        assert_eq!(raw_metric_name(&Labels::from_pairs([("a", "1")])), b"");
    }
}
