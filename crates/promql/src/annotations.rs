//! Warnings and infos about a query's data, in Prometheus's words, with the place in the query that they are about.
//!
//! Annotations are equal when their texts are, wherever they are from: of equal ones the last one's place is shown, of
//! those that collect something the first one's.

use std::collections::BTreeMap;

use pharos_gocompat::GoFloat;
use pharos_gocompat::strconv::format_general;
use pharos_model::fragment::{Note, NoteExtra};

use crate::civil;

/// The place of what is nowhere in the query; shown as its beginning.
pub(crate) const NOWHERE: usize = usize::MAX;

/// A place that is `by` bytes further on; what is nowhere stays there.
pub(crate) fn moved(pos: usize, by: isize) -> usize {
    if pos == NOWHERE { NOWHERE } else { pos.wrapping_add_signed(by) }
}

/// The annotations of a query.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Annotations {
    found: BTreeMap<String, Detail>,
}

#[derive(Clone, Debug, PartialEq)]
struct Detail {
    pos: usize,
    extra: Extra,
}

/// What some annotations collect over all their occurrences.
#[derive(Clone, Debug, PartialEq)]
enum Extra {
    None,
    Count(u64),
    Monotonicity(Monotonicity),
}

/// How classic buckets had to be fixed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Monotonicity {
    /// First and last evaluation time, milliseconds.
    pub(crate) t: (i64, i64),
    /// Lowest and highest bound of the fixed buckets.
    pub(crate) buckets: (f64, f64),
    /// The largest fix.
    pub(crate) max_diff: f64,
    /// How often.
    pub(crate) count: u64,
}

const WARNING: &str = "PromQL warning: ";
const INFO: &str = "PromQL info: ";

impl Annotations {
    /// Adds a warning about the part of the query at byte `pos`.
    pub(crate) fn warn(&mut self, text: impl AsRef<str>, pos: usize) {
        self.add(format!("{WARNING}{}", text.as_ref()), Detail { pos, extra: Extra::None });
    }

    /// Adds an info about the part of the query at byte `pos`.
    pub(crate) fn info(&mut self, text: impl AsRef<str>, pos: usize) {
        self.add(format!("{INFO}{}", text.as_ref()), Detail { pos, extra: Extra::None });
    }

    /// Adds a warning whose occurrences are counted.
    pub(crate) fn warn_counted(&mut self, text: impl AsRef<str>, pos: usize, count: u64) {
        self.add(format!("{WARNING}{}", text.as_ref()), Detail { pos, extra: Extra::Count(count) });
    }

    /// Adds the info that classic buckets were not monotonic.
    pub(crate) fn forced_monotonicity(&mut self, name: &str, pos: usize, what: Monotonicity) {
        let text = with_metric(
            "input to histogram_quantile needed to be fixed for monotonicity (see https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile)",
            name,
        );
        self.add(format!("{INFO}{text}"), Detail { pos, extra: Extra::Monotonicity(what) });
    }

    fn add(&mut self, text: String, mut detail: Detail) {
        if let Some(before) = self.found.get(&text) {
            // What collects something stays where it was first.
            if detail.extra != Extra::None {
                detail.pos = before.pos;
            }
            detail.extra = before.extra.clone().merge(detail.extra);
        }
        self.found.insert(text, detail);
    }

    /// Adds all of `other`, which came later.
    pub(crate) fn absorb(&mut self, other: Annotations) {
        for (text, detail) in other.found {
            self.add(text, detail);
        }
    }

    /// Adds all of `other`, found by the same plan at other steps. False when an annotation is from another place there: only who sees
    /// all steps at once knows which place is the last then.
    pub(crate) fn unite(&mut self, other: Annotations) -> bool {
        let same_place =
            |(text, detail): (&String, &Detail)| self.found.get(text).is_none_or(|own| own.pos == detail.pos);
        let united = other.found.iter().all(same_place);
        self.absorb(other);
        united
    }

    /// The same about the same expression `by` bytes further on in the query.
    pub(crate) fn moved(mut self, by: isize) -> Self {
        self.found.values_mut().for_each(|detail| detail.pos = moved(detail.pos, by));
        self
    }

    /// Adds those of `other` that are not there yet: what was said of the same samples before is not said again.
    pub(crate) fn absorb_new(&mut self, other: Annotations) {
        for (text, detail) in other.found {
            self.found.entry(text).or_insert(detail);
        }
    }

    /// As they travel between nodes.
    pub(crate) fn to_notes(&self) -> Vec<Note> {
        let note = |(text, detail): (&String, &Detail)| {
            let extra = match &detail.extra {
                Extra::None => NoteExtra::None,
                Extra::Count(count) => NoteExtra::Count(*count),
                Extra::Monotonicity(m) => {
                    NoteExtra::Monotonicity { t: m.t, buckets: m.buckets, max_diff: m.max_diff, count: m.count }
                }
            };
            Note { text: text.clone(), pos: detail.pos as u64, extra }
        };
        self.found.iter().map(note).collect()
    }

    /// What [`Annotations::to_notes`] made of annotations, of several nodes one after the other.
    pub(crate) fn from_notes(notes: &[Note]) -> Self {
        let mut found = Annotations::default();
        for note in notes {
            let extra = match note.extra {
                NoteExtra::None => Extra::None,
                NoteExtra::Count(count) => Extra::Count(count),
                NoteExtra::Monotonicity { t, buckets, max_diff, count } => {
                    Extra::Monotonicity(Monotonicity { t, buckets, max_diff, count })
                }
            };
            let pos = usize::try_from(note.pos).unwrap_or(NOWHERE);
            found.add(note.text.clone(), Detail { pos, extra });
        }
        found
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// The warnings and the infos with the line and column of their place in `query`, sorted.
    pub fn render(&self, query: &str) -> (Vec<String>, Vec<String>) {
        let all = self.found.iter().map(|(text, detail)| (text, detail.render(text, query)));
        let (infos, warnings): (Vec<_>, Vec<_>) = all.partition(|(text, _)| text.starts_with(INFO));
        let texts = |list: Vec<(&String, String)>| list.into_iter().map(|(_, rendered)| rendered).collect();
        (texts(warnings), texts(infos))
    }
}

impl Detail {
    fn render(&self, text: &str, query: &str) -> String {
        let place = place(query, self.pos);
        match &self.extra {
            Extra::Count(n) if *n > 1 => format!("{text} ({n} occurrences) ({place})"),
            Extra::Monotonicity(m) => format!(
                "{text}, from buckets {} to {}, with a max diff of {}, over {} samples from {} to {} ({place})",
                GoFloat(m.buckets.0),
                GoFloat(m.buckets.1),
                format_general(m.max_diff, 2),
                m.count,
                rfc3339(m.t.0),
                rfc3339(m.t.1),
            ),
            _ => format!("{text} ({place})"),
        }
    }
}

impl Extra {
    fn merge(self, later: Extra) -> Extra {
        match (self, later) {
            (Extra::Count(a), Extra::Count(b)) => Extra::Count(a + b),
            (Extra::Monotonicity(a), Extra::Monotonicity(b)) => Extra::Monotonicity(Monotonicity {
                t: (a.t.0.min(b.t.0), a.t.1.max(b.t.1)),
                buckets: (a.buckets.0.min(b.buckets.0), a.buckets.1.max(b.buckets.1)),
                max_diff: a.max_diff.max(b.max_diff),
                count: a.count + b.count,
            }),
            (_, later) => later,
        }
    }
}

/// `text for metric name "name"`, or only `text` when there is no name.
pub(crate) fn with_metric(text: &str, name: &str) -> String {
    if name.is_empty() {
        return text.to_string();
    }
    format!("{text} for metric name {}", pharos_gocompat::GoQuoted(name))
}

/// `line:column`, both from 1.
fn place(query: &str, pos: usize) -> String {
    let pos = if pos == NOWHERE { 0 } else { pos };
    let before = query.as_bytes().get(..pos).unwrap_or(&[]);
    let line = before.iter().filter(|b| **b == b'\n').count() + 1;
    let column = match before.iter().rposition(|b| *b == b'\n') {
        Some(newline) => pos - newline,
        None => pos + 1,
    };
    format!("{line}:{column}")
}

fn rfc3339(ms: i64) -> String {
    let t = civil::Moment::at_seconds(ms / 1000);
    format!("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z", t.year, t.month, t.day, t.hour, t.minute, t.second)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_texts_are_one_annotation_at_the_last_place() {
        let mut notes = Annotations::default();
        notes.warn("something", 3);
        notes.warn("something", 9);
        notes.info("else", 0);
        notes.warn_counted("overlap", 0, 1);
        notes.warn_counted("overlap", 0, 2);
        let (warnings, infos) = notes.render("rate(\nx[5m])");
        assert_eq!(warnings, ["PromQL warning: overlap (3 occurrences) (1:1)", "PromQL warning: something (2:4)"]);
        assert_eq!(infos, ["PromQL info: else (1:1)"]);
    }

    #[test]
    fn what_collects_stays_at_its_first_place() {
        let what = |t| Monotonicity { t: (t, t), buckets: (1.0, 2.0), max_diff: 3.0, count: 1 };
        let mut notes = Annotations::default();
        notes.forced_monotonicity("", 2, what(1000));
        notes.forced_monotonicity("", 5, what(0));
        let infos = notes.render("x").1;
        assert!(
            infos[0].ends_with("over 2 samples from 1970-01-01T00:00:00Z to 1970-01-01T00:00:01Z (1:3)"),
            "{infos:?}"
        );
    }

    #[test]
    fn times_have_no_fraction() {
        assert_eq!(rfc3339(1_700_000_000_999), "2023-11-14T22:13:20Z");
    }
}
