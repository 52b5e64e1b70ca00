//! The `eval` command: an expression, the times of its evaluation, and the expected outcome.

use pharos_model::Labels;
use regex::Regex;

use super::series::{SeriesValue, parse_number, parse_series};
use super::words::{Lines, ScriptError, Times, duration, parse_times, range_times, split_word};
use crate::syntax::parse_metric_selector;

/// An expression with its expected outcome.
pub(super) struct EvalCommand {
    pub(super) expr: String,
    pub(super) times: Times,
    pub(super) ordered: bool,
    /// The expected error, if the evaluation must fail.
    pub(super) fail: Option<Expectation>,
    /// `eval_warn` and `eval_info` expect at least one annotation.
    pub(super) any_warning: bool,
    pub(super) any_info: bool,
    pub(super) warnings: Vec<Expectation>,
    pub(super) infos: Vec<Expectation>,
    pub(super) no_warnings: bool,
    pub(super) no_infos: bool,
    pub(super) result: Expected,
    /// The times of a range vector that an instant evaluation must return: start, end, step.
    pub(super) range_vector: Option<(i64, i64, i64)>,
}

/// An expected value.
#[derive(Default)]
pub(super) struct Expected {
    pub(super) scalar: Option<f64>,
    pub(super) string: Option<String>,
    /// The series, in the order of the script.
    pub(super) series: Vec<(Labels, Vec<SeriesValue>)>,
}

/// The expectation about a message.
pub(super) enum Expectation {
    Anything,
    Message(String),
    Pattern(Regex),
}

impl Expectation {
    pub(super) fn matches(&self, text: &str) -> bool {
        match self {
            Expectation::Anything => true,
            Expectation::Message(message) => message == text,
            Expectation::Pattern(pattern) => pattern.is_match(text),
        }
    }
}

impl std::fmt::Display for Expectation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Expectation::Anything => f.write_str("any message"),
            Expectation::Message(message) => write!(f, "message {message:?}"),
            Expectation::Pattern(pattern) => write!(f, "pattern {pattern}"),
        }
    }
}

impl EvalCommand {
    /// Parses the command that begins with `line`, and consumes the lines that belong to it.
    pub(super) fn parse(line: &str, lines: &mut Lines<'_>) -> Result<Self, ScriptError> {
        let usage = || ScriptError::new(format!("invalid evaluation command {line:?}"));
        let (word, rest) = split_word(line);
        let (kind, rest) = split_word(rest);
        let (times, expr) = match kind {
            "instant" => match split_word(rest) {
                ("at", rest) => {
                    let (at, expr) = split_word(rest);
                    (Times::Instant(duration(at)?), expr)
                }
                _ => (Times::Instant(0), rest),
            },
            "range" => {
                let (start, end, step, expr) = parse_times(rest).ok_or_else(usage)?;
                let (start, end, step) = range_times((start, end, step))?;
                (Times::Range { start, end, step }, expr)
            }
            _ => return Err(usage()),
        };
        let mode =
            word.strip_prefix("eval").and_then(|mode| if mode.is_empty() { Some("") } else { mode.strip_prefix('_') });
        let mode = mode.filter(|mode| ["", "fail", "warn", "ordered", "info"].contains(mode)).ok_or_else(usage)?;
        if expr.trim().is_empty() {
            return Err(usage());
        }
        let mut eval = EvalCommand {
            expr: expr.trim().to_string(),
            times,
            ordered: mode == "ordered",
            fail: (mode == "fail").then_some(Expectation::Anything),
            any_warning: mode == "warn",
            any_info: mode == "info",
            warnings: Vec::new(),
            infos: Vec::new(),
            no_warnings: false,
            no_infos: false,
            result: Expected::default(),
            range_vector: None,
        };
        while let Some(line) = lines.next_of_command() {
            let number = lines.next;
            if !eval.expect_line(line).map_err(|error| error.at(number))? {
                break;
            }
        }
        if !eval.warnings.is_empty() && eval.no_warnings || !eval.infos.is_empty() && eval.no_infos {
            return Err(ScriptError::new("an annotation is both expected and excluded"));
        }
        Ok(eval)
    }

    /// Parses a line of expectations; false when it was the last one.
    fn expect_line(&mut self, line: &str) -> Result<bool, ScriptError> {
        if self.fail.is_some() {
            if let Some(message) = line.strip_prefix("expected_fail_message") {
                self.fail = Some(Expectation::Message(message.trim().to_string()));
                return Ok(false);
            }
            if let Some(pattern) = line.strip_prefix("expected_fail_regexp") {
                self.fail = Some(regex_expectation(pattern)?);
                return Ok(false);
            }
        }
        if let Some(times) = line.strip_prefix("expect range vector") {
            let (start, end, step, _) = parse_times(times)
                .filter(|(.., rest)| rest.is_empty())
                .ok_or_else(|| ScriptError::new(format!("invalid range vector definition {line:?}")))?;
            self.range_vector = Some(range_times((start, end, step))?);
        } else if let Some(literal) = line.strip_prefix("expect string") {
            self.result.string = Some(unquote(literal.trim())?);
        } else if let ("expect", rest) = split_word(line) {
            self.expect(rest.trim())?;
        } else if let Some(scalar) = parse_number(line) {
            self.result.scalar = Some(scalar);
            return Ok(false);
        } else {
            let (labels, values) = parse_series(line)?;
            if values.len() > 1 && matches!(self.times, Times::Instant(_)) && self.range_vector.is_none() {
                let reason = "expecting multiple values in instant evaluation not allowed. consider using 'expect range \
                              vector' directive to enable a range vector result for an instant query";
                return Err(ScriptError::new(reason));
            }
            self.result.series.retain(|(known, _)| *known != labels);
            self.result.series.push((labels, values));
        }
        Ok(true)
    }

    /// Parses the text after `expect`.
    fn expect(&mut self, text: &str) -> Result<(), ScriptError> {
        let (kind, rest) = split_word(text);
        let rest = rest.trim();
        let expectation = if let Some(message) = rest.strip_prefix("msg:") {
            Expectation::Message(message.trim().to_string())
        } else if let Some(pattern) = rest.strip_prefix("regex:") {
            regex_expectation(pattern)?
        } else if rest.is_empty() {
            Expectation::Anything
        } else {
            return Err(ScriptError::new(format!("invalid token {rest:?} after {kind}")));
        };
        match kind {
            "ordered" => self.ordered = true,
            "fail" => self.fail = Some(expectation),
            "warn" => self.warnings.push(expectation),
            "info" => self.infos.push(expectation),
            "no_warn" => self.no_warnings = true,
            "no_info" => self.no_infos = true,
            _ => return Err(ScriptError::new(format!("invalid expected error/annotation type {kind:?}"))),
        }
        Ok(())
    }
}

fn regex_expectation(pattern: &str) -> Result<Expectation, ScriptError> {
    let pattern = pattern.trim();
    let compiled =
        Regex::new(pattern).map_err(|error| ScriptError::new(format!("invalid regex {pattern}: {error}")))?;
    Ok(Expectation::Pattern(compiled))
}

/// The value of a string literal. It is parsed as the value of a matcher, which has the same syntax.
fn unquote(literal: &str) -> Result<String, ScriptError> {
    let bad = || ScriptError::new(format!("expected string literal not valid: {literal}"));
    let matchers = parse_metric_selector(&format!("{{value={literal}}}")).map_err(|_| bad())?;
    match <[_; 1]>::try_from(matchers) {
        Ok([matcher]) => Ok(matcher.value),
        Err(_) => Err(bad()),
    }
}
