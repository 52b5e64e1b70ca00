//! What all commands of a script are made of: lines, words, durations and times, and the error of a script.

use pharos_gocompat::parse_duration;

/// An error in a script.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct ScriptError {
    /// The line, from 1; 0 while it is unknown.
    pub line: usize,
    /// The reason, without the position.
    pub reason: String,
}

impl ScriptError {
    pub(super) fn new(reason: impl Into<String>) -> Self {
        ScriptError { line: 0, reason: reason.into() }
    }

    /// Sets the line, unless it is already known.
    pub(super) fn at(mut self, line: usize) -> Self {
        if self.line == 0 {
            self.line = line;
        }
        self
    }
}

/// The times of an evaluation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Times {
    Instant(i64),
    Range { start: i64, end: i64, step: i64 },
}

/// The lines of a script. They are trimmed, and comments are empty.
pub(super) struct Lines<'a> {
    pub(super) lines: Vec<&'a str>,
    /// The number of lines read so far.
    pub(super) next: usize,
}

impl<'a> Lines<'a> {
    /// The next line of the same command.
    pub(super) fn next_of_command(&mut self) -> Option<&'a str> {
        let line = self.lines.get(self.next).filter(|line| !line.is_empty())?;
        self.next += 1;
        Some(line)
    }
}

/// A duration with an optional sign.
pub(super) fn duration(text: &str) -> Result<i64, ScriptError> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    parse_duration(digits).map(|ms| sign * ms).map_err(ScriptError::new)
}

/// Splits off the first word.
pub(super) fn split_word(text: &str) -> (&str, &str) {
    let text = text.trim_start();
    text.split_at(text.find(char::is_whitespace).unwrap_or(text.len()))
}

/// Parses `from A to B step C`. Returns start, end, step and the remaining text.
pub(super) fn parse_times(text: &str) -> Option<(&str, &str, &str, &str)> {
    let (from, rest) = split_word(text);
    let (start, rest) = split_word(rest);
    let (to, rest) = split_word(rest);
    let (end, rest) = split_word(rest);
    let (step_word, rest) = split_word(rest);
    let (step, rest) = split_word(rest);
    ((from, to, step_word) == ("from", "to", "step")).then_some((start, end, step, rest.trim()))
}

pub(super) fn range_times((start, end, step): (&str, &str, &str)) -> Result<(i64, i64, i64), ScriptError> {
    let times = (duration(start)?, duration(end)?, duration(step)?);
    if times.1 < times.0 {
        return Err(ScriptError::new(format!("end timestamp ({end}) is before start timestamp ({start})")));
    }
    Ok(times)
}
