//! What clients know: which samples they sent with which value, what came of it, and what they deleted when. Independent of the
//! production code.
//!
//! Every attempt to write has a value of its own, unless it is sent again. So a value tells which attempt it is from.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::BASE_MS;
use crate::env::Ms;

/// A series and a timestamp.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) series: u32,
    pub(crate) t: i64,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "series {} at {}", self.series, self.t - BASE_MS)
    }
}

/// Each attempt's value; a whole number.
pub(crate) type Value = u64;

/// What came of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// It has not been answered yet.
    Pending,
    Acknowledged(Ms),
    Refused(Ms),
    /// It failed, and may have taken effect, or still take effect.
    Unknown(Ms),
}

#[derive(Clone, Debug)]
pub(crate) struct Attempt {
    pub(crate) value: Value,
    pub(crate) began: Ms,
    pub(crate) end: End,
    /// Whether the only disk that had it was lost.
    pub(crate) is_lost: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Deletion {
    /// The series that it deletes; none means all.
    pub(crate) series: Option<u32>,
    pub(crate) from: i64,
    pub(crate) to: i64,
    pub(crate) began: Ms,
    pub(crate) end: End,
}

impl Deletion {
    pub(crate) fn covers(&self, key: Key) -> bool {
        self.series.is_none_or(|series| series == key.series) && (self.from..=self.to).contains(&key.t)
    }
}

/// What must be seen of an attempt once everything has settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Must,
    May,
    MustNot,
}

/// What may be seen of a sample.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Allowed {
    pub(crate) values: BTreeSet<Value>,
    /// Whether it may be missing.
    pub(crate) nothing: bool,
}

/// All attempts and deletions.
#[derive(Default)]
pub(crate) struct Model {
    pub(crate) samples: BTreeMap<Key, Vec<Attempt>>,
    pub(crate) deletions: Vec<Deletion>,
    /// The last value that was given out.
    pub(crate) values: Value,
    /// How long after it failed a request may still take effect.
    pub(crate) lasting: Ms,
    /// The width of the narrowest windows.
    pub(crate) window_ms: i64,
}

/// A running write.
pub(crate) type Sent = Vec<(Key, Value)>;

impl Model {
    pub(crate) fn new_value(&mut self) -> Value {
        self.values += 1;
        self.values
    }

    /// Begins a write of some samples.
    pub(crate) fn begin(&mut self, sent: &[(Key, Value)], now: Ms) {
        for (key, value) in sent {
            let attempt = Attempt { value: *value, began: now, end: End::Pending, is_lost: false };
            self.samples.entry(*key).or_default().push(attempt);
        }
    }

    /// Ends a write that began at some time.
    pub(crate) fn end(&mut self, sent: &[(Key, Value)], began: Ms, end: End) {
        for (key, value) in sent {
            let attempts = self.samples.get_mut(key).into_iter().flatten();
            let of_write = |a: &&mut Attempt| a.value == *value && a.began == began && a.end == End::Pending;
            if let Some(attempt) = attempts.into_iter().find(of_write) {
                attempt.end = end;
            }
        }
    }

    /// Notes that a disk was lost. `is_kept` tells what others have, too.
    pub(crate) fn lose(&mut self, is_kept: impl Fn(Key, &Attempt) -> bool) -> usize {
        let mut lost = 0;
        for (key, attempts) in &mut self.samples {
            for attempt in attempts.iter_mut().filter(|attempt| !attempt.is_lost) {
                attempt.is_lost = !is_kept(*key, attempt);
                lost += usize::from(attempt.is_lost);
            }
        }
        lost
    }

    fn fate(&self, key: Key, attempt: &Attempt) -> Fate {
        let acknowledged = match attempt.end {
            End::Acknowledged(at) => at,
            End::Refused(_) => return Fate::MustNot,
            End::Pending | End::Unknown(_) => return Fate::May,
        };
        let mut fate = if attempt.is_lost { Fate::May } else { Fate::Must };
        for deletion in self.deletions.iter().filter(|deletion| deletion.covers(key)) {
            match deletion.end {
                End::Acknowledged(done) if done < attempt.began => {}
                End::Acknowledged(_) if acknowledged < deletion.began => return Fate::MustNot,
                End::Unknown(failed) if failed + self.lasting < attempt.began => {}
                End::Refused(_) => {}
                _ => fate = Fate::May,
            }
        }
        fate
    }

    /// What may be seen of a sample.
    pub(crate) fn allowed(&self, key: Key) -> Allowed {
        let attempts = self.samples.get(&key).map_or(&[][..], Vec::as_slice);
        let fates: Vec<(Fate, &Attempt)> = attempts.iter().map(|a| (self.fate(key, a), a)).collect();
        let musts: Vec<&Attempt> = fates.iter().filter(|(fate, _)| *fate == Fate::Must).map(|(_, a)| *a).collect();
        let mut allowed = Allowed { nothing: musts.is_empty(), ..Allowed::default() };
        for (fate, attempt) in &fates {
            let is_allowed = match (fate, attempt.end) {
                (Fate::MustNot, _) => false,
                // A later acknowledged value takes its place.
                (_, End::Acknowledged(at)) => !musts.iter().any(|later| later.began > at),
                // It can take the place of an acknowledged one only after that has left memory, which is after its window. A
                // write that has not ended yet asks again whenever its replicas change.
                _ => musts.iter().all(|must| ended(attempt) > ended(must) && self.is_after_window(key, ended(attempt))),
            };
            if is_allowed {
                allowed.values.insert(attempt.value);
            }
        }
        allowed
    }

    fn is_after_window(&self, key: Key, at: Ms) -> bool {
        let window_end = key.t - key.t.rem_euclid(self.window_ms) + self.window_ms;
        at >= (window_end - BASE_MS).max(0) as Ms
    }

    /// Whether a sample was acknowledged, by any attempt.
    pub(crate) fn acknowledged(&self) -> usize {
        let is_acknowledged = |a: &Attempt| matches!(a.end, End::Acknowledged(_));
        self.samples.values().flatten().filter(|a| is_acknowledged(a)).count()
    }
}

fn ended(attempt: &Attempt) -> Ms {
    match attempt.end {
        End::Acknowledged(at) | End::Refused(at) | End::Unknown(at) => at,
        End::Pending => Ms::MAX,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: Key = Key { series: 1, t: BASE_MS + 5_000 };

    fn model(attempts: &[(Value, Ms, End)], deletions: &[(Ms, End)]) -> Model {
        let mut model = Model { window_ms: 20_000, lasting: 60_000, ..Model::default() };
        for (value, began, end) in attempts {
            model.begin(&[(KEY, *value)], *began);
            model.end(&[(KEY, *value)], *began, *end);
        }
        for (began, end) in deletions {
            model.deletions.push(Deletion { series: Some(1), from: 0, to: i64::MAX, began: *began, end: *end });
        }
        model
    }

    fn allowed(values: &[Value], nothing: bool) -> Allowed {
        Allowed { values: values.iter().copied().collect(), nothing }
    }

    #[test]
    fn an_acknowledged_sample_must_be_seen_and_a_refused_one_must_not() {
        let model = model(&[(7, 1, End::Acknowledged(2)), (8, 3, End::Refused(4))], &[]);
        assert_eq!(model.allowed(KEY), allowed(&[7], false));
    }

    #[test]
    fn a_failed_write_may_be_seen_unless_another_value_was_acknowledged() {
        assert_eq!(model(&[(7, 1, End::Unknown(2))], &[]).allowed(KEY), allowed(&[7], true));
        let both = model(&[(7, 1, End::Unknown(2)), (8, 3, End::Acknowledged(4))], &[]);
        assert_eq!(both.allowed(KEY), allowed(&[8], false));
    }

    #[test]
    fn a_deletion_deletes_what_was_acknowledged_before_it_and_nothing_after() {
        let acknowledged = [(7, 10, End::Acknowledged(20))];
        assert_eq!(model(&acknowledged, &[(21, End::Acknowledged(30))]).allowed(KEY), allowed(&[], true));
        assert_eq!(model(&acknowledged, &[(1, End::Acknowledged(9))]).allowed(KEY), allowed(&[7], false));
        assert_eq!(model(&acknowledged, &[(1, End::Acknowledged(15))]).allowed(KEY), allowed(&[7], true));
        assert_eq!(model(&acknowledged, &[(1, End::Unknown(5))]).allowed(KEY), allowed(&[7], true));
    }

    #[test]
    fn what_was_lost_with_its_only_disk_may_be_missing() {
        let mut model = model(&[(7, 1, End::Acknowledged(2))], &[]);
        assert_eq!(model.lose(|key, attempt| key == KEY && attempt.value == 7), 0);
        assert_eq!(model.allowed(KEY), allowed(&[7], false));
        assert_eq!(model.lose(|_, _| false), 1);
        assert_eq!(model.allowed(KEY), allowed(&[7], true));
    }

    #[test]
    fn of_two_acknowledged_values_the_later_one_is_seen() {
        let model = model(&[(7, 1, End::Acknowledged(2)), (8, 40_000, End::Acknowledged(40_001))], &[]);
        assert_eq!(model.allowed(KEY), allowed(&[8], false));
    }
}
