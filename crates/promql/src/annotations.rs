//! Warnings and infos about a query's data, in Prometheus's words, with the place in the query that they are about.
//!
//! Annotations with equal texts are one annotation, wherever they come from. It is shown at the place of the last one, or
//! of the first one if it accumulates something, such as a count.

use std::collections::BTreeMap;

use pharos_gocompat::GoFloat;
use pharos_gocompat::strconv::format_general;
use pharos_model::fragment::{Note, NoteExtra};

use crate::civil;

/// The place of something that is not in the query. It is shown as the beginning of the query.
pub(crate) const NOWHERE: usize = usize::MAX;

/// The place `by` bytes further on; [`NOWHERE`] stays what it is.
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

/// What some annotations accumulate over their occurrences.
#[derive(Clone, Debug, PartialEq)]
enum Extra {
    None,
    Count(u64),
    Monotonicity(Monotonicity),
}

/// How classic buckets were made monotonic.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Monotonicity {
    /// The first and the last evaluation time, milliseconds.
    pub(crate) t: (i64, i64),
    /// The lowest and the highest bound of the buckets that were fixed.
    pub(crate) buckets: (f64, f64),
    /// The largest difference that was added.
    pub(crate) max_diff: f64,
    /// The number of histograms that were fixed.
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

    /// Adds a warning about a quantile that is not between 0 and 1.
    pub(crate) fn quantile_out_of_range(&mut self, q: f64, pos: usize) {
        self.warn(format!("quantile value should be between 0 and 1, got {}", GoFloat(q)), pos);
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
            // An annotation that accumulates something stays where it was first.
            if detail.extra != Extra::None {
                detail.pos = before.pos;
            }
            detail.extra = before.extra.clone().merge(detail.extra);
        }
        self.found.insert(text, detail);
    }

    /// Adds the annotations of `other`, which were found later.
    pub(crate) fn absorb(&mut self, other: Annotations) {
        for (text, detail) in other.found {
            self.add(text, detail);
        }
    }

    /// Adds the annotations that the same plan found at other steps. Returns false when one of them is from another place
    /// there: which place is the last can then only be told by an evaluation of all steps at once.
    pub(crate) fn merge(&mut self, other: Annotations) -> bool {
        let same_place =
            |(text, detail): (&String, &Detail)| self.found.get(text).is_none_or(|own| own.pos == detail.pos);
        let unambiguous = other.found.iter().all(same_place);
        self.absorb(other);
        unambiguous
    }

    /// The annotations of an equal expression that is `by` bytes further on in the query.
    pub(crate) fn moved(mut self, by: isize) -> Self {
        self.found.values_mut().for_each(|detail| detail.pos = moved(detail.pos, by));
        self
    }

    /// The form in which annotations are sent between nodes.
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

    /// The annotations of one or several nodes, in the order of the nodes, from their [`Annotations::to_notes`].
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

    /// Whether the set is empty.
    pub fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// The warnings and the infos, sorted, each with the line and column of its place in `query`.
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

/// `text for metric name "name"`, or only `text` without a name.
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
mod tests;
