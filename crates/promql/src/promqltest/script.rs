//! Parses scripts into their commands: `load`, `clear`, and `eval` with its expectations.
//!
//! A command ends at an empty line or a comment. Times are milliseconds since the Unix epoch, which is a script's time zero.

use pharos_model::Labels;

use super::expect::EvalCommand;
use super::series::{MAX_VALUES, SeriesValue, parse_metric, parse_series};
use super::words::{Lines, ScriptError, duration};

/// A command with its line, from 1.
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
    /// Whether to load classic histograms as native ones, too.
    pub(super) with_nhcb: bool,
    pub(super) series: Vec<LoadSeries>,
}

/// One series to load.
pub(super) struct LoadSeries {
    pub(super) labels: Labels,
    pub(super) values: Vec<SeriesValue>,
    /// Start timestamps, as offsets from the samples' times in milliseconds; empty when there are none.
    pub(super) start_offsets: Vec<Option<i64>>,
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
            word if word.starts_with("eval") => {
                EvalCommand::parse(line, &mut lines).map(|e| CommandKind::Eval(Box::new(e)))
            }
            _ => Err(ScriptError::new(format!("invalid command {line:?}"))),
        };
        commands.push(Command { line: number, kind: kind.map_err(|error| error.at(number))? });
    }
    Ok(commands)
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

/// Parses start timestamps relative to the samples' times: `-1m`, `-1m+10sx3`, `-1mx2`, `_`, `_x4`.
fn parse_starts(text: &str) -> Result<Vec<Option<i64>>, ScriptError> {
    let mut starts = Vec::new();
    for item in text.split_ascii_whitespace() {
        let bad = || ScriptError::new(format!("invalid start timestamp {item:?}"));
        let (body, times) = match item.split_once('x') {
            Some((body, times)) => {
                (body, Some(times.parse::<usize>().ok().filter(|n| *n <= MAX_VALUES).ok_or_else(bad)?))
            }
            None => (item, None),
        };
        if body == "_" {
            starts.extend(std::iter::repeat_n(None, times.unwrap_or(1)));
            continue;
        }
        let step_at = body.char_indices().skip(1).find(|(_, c)| matches!(c, '+' | '-')).map(|(at, _)| at);
        let (base, step) = body.split_at(step_at.unwrap_or(body.len()));
        if step_at.is_some() && times.is_none() {
            return Err(bad());
        }
        let base = duration(base)?;
        let step = if step.is_empty() { 0 } else { duration(step)? };
        starts.extend((0..=times.unwrap_or(0) as i64).map(|n| Some(base.saturating_add(step.saturating_mul(n)))));
    }
    Ok(starts)
}
