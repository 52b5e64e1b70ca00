//! The commands of a script: `load`, `clear` and `eval` with its expectations.
//!
//! A command ends at an empty line or a comment. Times are milliseconds from the script's zero, which is the epoch.

use pharos_model::Labels;
use pharos_model::duration::parse_duration;
use regex::Regex;

use super::series::{SeriesValue, parse_metric, parse_number, parse_series};
use crate::parser::parse_metric_selector;

/// What is wrong with a script.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct ScriptError {
    /// Where, from 1; 0 when it is not known.
    pub line: usize,
    /// What.
    pub reason: String,
}

impl ScriptError {
    pub(super) fn new(reason: impl Into<String>) -> Self {
        ScriptError { line: 0, reason: reason.into() }
    }

    /// Sets the line, unless it is known already.
    fn at(mut self, line: usize) -> Self {
        if self.line == 0 {
            self.line = line;
        }
        self
    }
}

/// A command and its line, from 1.
pub(super) struct Command {
    pub(super) line: usize,
    pub(super) kind: CommandKind,
}

pub(super) enum CommandKind {
    Clear,
    Load(Load),
    Eval(Box<EvalCommand>),
}

/// Samples to load.
pub(super) struct Load {
    /// Milliseconds between two positions of a series.
    pub(super) step: i64,
    /// Whether classic histograms are loaded as native ones too.
    pub(super) with_nhcb: bool,
    pub(super) series: Vec<LoadSeries>,
}

/// One series to load.
pub(super) struct LoadSeries {
    pub(super) labels: Labels,
    pub(super) values: Vec<SeriesValue>,
    /// Start timestamps as offsets from the samples' times, milliseconds; empty when there are none.
    pub(super) start_offsets: Vec<Option<i64>>,
}

/// When to evaluate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Times {
    Instant(i64),
    Range { start: i64, end: i64, step: i64 },
}

/// An expression to evaluate and what to expect of it.
pub(super) struct EvalCommand {
    pub(super) expr: String,
    pub(super) times: Times,
    pub(super) ordered: bool,
    /// Present when it must fail.
    pub(super) fail: Option<Expectation>,
    /// `eval_warn`, `eval_info`: at least one.
    pub(super) any_warning: bool,
    pub(super) any_info: bool,
    pub(super) warnings: Vec<Expectation>,
    pub(super) infos: Vec<Expectation>,
    pub(super) no_warnings: bool,
    pub(super) no_infos: bool,
    pub(super) result: Expected,
    /// The times of a range vector that an instant evaluation returns: start, end, step.
    pub(super) range_vector: Option<(i64, i64, i64)>,
}

/// The expected value.
#[derive(Default)]
pub(super) struct Expected {
    pub(super) scalar: Option<f64>,
    pub(super) string: Option<String>,
    /// Series in the order in which they are listed.
    pub(super) series: Vec<(Labels, Vec<SeriesValue>)>,
}

/// What a message must be.
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

/// The lines of a script, trimmed, comments emptied.
struct Lines<'a> {
    lines: Vec<&'a str>,
    next: usize,
}

impl<'a> Lines<'a> {
    /// The next line of the same command.
    fn next_of_command(&mut self) -> Option<&'a str> {
        let line = self.lines.get(self.next).filter(|line| !line.is_empty())?;
        self.next += 1;
        Some(line)
    }
}

/// Parses a script.
pub(super) fn parse_script(text: &str) -> Result<Vec<Command>, ScriptError> {
    let lines = text.split('\n').map(str::trim).map(|line| if line.starts_with('#') { "" } else { line }).collect();
    let mut lines = Lines { lines, next: 0 };
    let mut commands = Vec::new();
    while lines.next < lines.lines.len() {
        let line = lines.lines[lines.next];
        lines.next += 1;
        if line.is_empty() {
            continue;
        }
        let number = lines.next;
        let word = line.split_ascii_whitespace().next().unwrap_or("").to_ascii_lowercase();
        let kind = match word.as_str() {
            "clear" => Ok(CommandKind::Clear),
            word if word.starts_with("load") => parse_load(line, &mut lines).map(CommandKind::Load),
            word if word.starts_with("eval") => parse_eval(line, &mut lines).map(|e| CommandKind::Eval(Box::new(e))),
            _ => Err(ScriptError::new(format!("invalid command {line:?}"))),
        };
        commands.push(Command { line: number, kind: kind.map_err(|error| error.at(number))? });
    }
    Ok(commands)
}

/// A duration with an optional sign.
fn duration(text: &str) -> Result<i64, ScriptError> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    parse_duration(digits).map(|ms| sign * ms).map_err(ScriptError::new)
}

fn parse_load(line: &str, lines: &mut Lines<'_>) -> Result<Load, ScriptError> {
    let usage = || ScriptError::new("invalid load command. (load[_with_nhcb] <step:duration>)");
    let (word, step) = line.split_once(char::is_whitespace).ok_or_else(usage)?;
    let with_nhcb = match word {
        "load" => false,
        "load_with_nhcb" => true,
        _ => return Err(usage()),
    };
    let mut load = Load { step: duration(step.trim())?, with_nhcb, series: Vec::new() };
    let mut pending: Option<(Labels, Vec<Option<i64>>)> = None;
    let dangling = || ScriptError::new("@st line has no following sample line");
    while let Some(line) = lines.next_of_command() {
        let number = lines.next;
        let head = line.split(char::is_whitespace).next().unwrap_or("");
        if let Some(metric) = head.strip_suffix("@st").filter(|_| head.len() < line.len()) {
            if pending.is_some() {
                return Err(dangling().at(number));
            }
            let (labels, _) = parse_metric(metric).map_err(|e| e.at(number))?;
            pending = Some((labels, parse_starts(&line[head.len()..]).map_err(|e| e.at(number))?));
            continue;
        }
        let (labels, values) = parse_series(line).map_err(|e| e.at(number))?;
        let start_offsets = match pending.take() {
            Some((metric, starts)) if metric != labels || starts.len() != values.len() => {
                return Err(ScriptError::new("@st line does not match the following sample line").at(number));
            }
            pending => pending.map(|(_, starts)| starts).unwrap_or_default(),
        };
        load.series.retain(|series| series.labels != labels);
        load.series.push(LoadSeries { labels, values, start_offsets });
    }
    if pending.is_some() { Err(dangling()) } else { Ok(load) }
}

/// Parses start timestamps: `-1m`, `-1m+10sx3`, `-1mx2`, `_`, `_x4`, all relative to the samples' times.
fn parse_starts(text: &str) -> Result<Vec<Option<i64>>, ScriptError> {
    let mut starts = Vec::new();
    for item in text.split_ascii_whitespace() {
        let bad = || ScriptError::new(format!("invalid start timestamp {item:?}"));
        let (body, times) = match item.split_once('x') {
            Some((body, times)) => {
                (body, Some(times.parse::<usize>().ok().filter(|n| *n < 10_000_000).ok_or_else(bad)?))
            }
            None => (item, None),
        };
        if body == "_" {
            starts.extend(std::iter::repeat_n(None, times.unwrap_or(1)));
            continue;
        }
        let step_at = body[1..].find(['+', '-']).map(|at| at + 1);
        let (base, step) = body.split_at(step_at.unwrap_or(body.len()));
        if step_at.is_some() && times.is_none() {
            return Err(bad());
        }
        let base = duration(base)?;
        let step = if step.is_empty() { 0 } else { duration(step)? };
        starts.extend((0..=times.unwrap_or(0) as i64).map(|n| Some(base + n * step)));
    }
    Ok(starts)
}

/// Splits off the first word.
fn split_word(text: &str) -> (&str, &str) {
    let text = text.trim_start();
    text.split_at(text.find(char::is_whitespace).unwrap_or(text.len()))
}

/// Parses `from A to B step C` and returns start, end, step and what follows.
fn parse_times(text: &str) -> Option<(&str, &str, &str, &str)> {
    let (from, rest) = split_word(text);
    let (start, rest) = split_word(rest);
    let (to, rest) = split_word(rest);
    let (end, rest) = split_word(rest);
    let (step_word, rest) = split_word(rest);
    let (step, rest) = split_word(rest);
    ((from, to, step_word) == ("from", "to", "step")).then_some((start, end, step, rest.trim()))
}

fn range_times((start, end, step): (&str, &str, &str)) -> Result<(i64, i64, i64), ScriptError> {
    let times = (duration(start)?, duration(end)?, duration(step)?);
    if times.1 < times.0 {
        return Err(ScriptError::new(format!("end timestamp ({end}) is before start timestamp ({start})")));
    }
    Ok(times)
}

fn parse_eval(line: &str, lines: &mut Lines<'_>) -> Result<EvalCommand, ScriptError> {
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
        return Err(ScriptError::new("an annotation is expected and excluded"));
    }
    Ok(eval)
}

impl EvalCommand {
    /// Takes a line of expectations; false when it was the last one.
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

    /// Takes what follows `expect`.
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

/// The value of a string literal; read as the value of a matcher, which has the same syntax.
fn unquote(literal: &str) -> Result<String, ScriptError> {
    let bad = || ScriptError::new(format!("expected string literal not valid: {literal}"));
    let matchers = parse_metric_selector(&format!("{{value={literal}}}")).map_err(|_| bad())?;
    match <[_; 1]>::try_from(matchers) {
        Ok([matcher]) => Ok(matcher.value),
        Err(_) => Err(bad()),
    }
}
