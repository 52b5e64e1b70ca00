//! `pharos tool rules replay`: evaluates rules over the history of a server, says when each alert would have fired, and
//! writes what recording rules would have recorded.
//!
//! A rule is evaluated piece by piece of the time range: one range query brings the results of its expression, and the rule
//! takes them step by step, as a ruler would have. The pieces of all rules of a group follow each other in the order of the
//! file, so that with `--write` a rule reads what earlier ones recorded.

mod client;
mod history;
mod report;

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pharos_model::METRIC_NAME;
use pharos_promql::VectorSample;
use pharos_rules::file::RuleKind;
use pharos_rules::{Evaluation, Group, GroupOptions, GroupRule, RuleGroups};
use url::Url;

use client::Client;
use history::History;
use report::Report;

/// Evaluations of a rule that one query answers.
const PIECE: i64 = 1000;
/// The most evaluations of a group.
const MAX_EVALUATIONS: i64 = 10_000_000;

/// The options of the command.
#[derive(Debug)]
pub struct ReplayOptions {
    /// The server whose history is read.
    pub server: Url,
    /// The tenant.
    pub tenant: Option<String>,
    /// The first evaluation, milliseconds since the epoch.
    pub start_ms: i64,
    /// The time after which nothing is evaluated, milliseconds since the epoch; now if it is missing.
    pub end_ms: Option<i64>,
    /// The interval of groups that have none, milliseconds.
    pub interval_ms: i64,
    /// Whether the results of recording rules are written.
    pub write: bool,
}

/// Evaluates the rules of files. Writes alerts to `out` and what is wrong to `errors`. `Ok(false)` means that an evaluation failed.
///
/// # Errors
/// The files are not valid, the server does not answer, or the output cannot be written.
pub fn replay_rules(
    files: &[PathBuf],
    options: &ReplayOptions,
    now_ms: i64,
    out: &mut dyn Write,
    errors: &mut dyn Write,
) -> Result<bool, String> {
    let end_ms = options.end_ms.unwrap_or(now_ms);
    if end_ms < options.start_ms {
        return Err("--end is before --start".into());
    }
    let files = files.iter().map(|file| Ok((file, read(file)?))).collect::<Result<Vec<_>, String>>()?;
    let client = Client::new(&options.server, options.tenant.as_deref())?;
    let mut replay = Replay { options, end_ms, client, all_good: true, out, errors };
    replay.warn_of_recorded(files.iter().map(|(_, groups)| groups)).map_err(text)?;
    for (file, groups) in &files {
        for spec in &groups.groups {
            let options = GroupOptions { interval_ms: options.interval_ms, ..GroupOptions::default() };
            let group = Group::new(spec, &options);
            writeln!(replay.out, "group {:?} of {}", group.name, file.display()).map_err(text)?;
            replay.group(&group)?;
        }
    }
    Ok(replay.all_good)
}

fn text(error: io::Error) -> String {
    format!("cannot print the result: {error}")
}

fn read(file: &Path) -> Result<RuleGroups, String> {
    let name = file.display();
    let text = std::fs::read_to_string(file).map_err(|error| format!("{name}: {error}"))?;
    RuleGroups::parse(&text, false)
        .map_err(|mistakes| mistakes.iter().map(|mistake| format!("{name}: {mistake}")).collect::<Vec<_>>().join("\n"))
}

struct Replay<'r> {
    options: &'r ReplayOptions,
    end_ms: i64,
    client: Client,
    all_good: bool,
    out: &'r mut dyn Write,
    errors: &'r mut dyn Write,
}

impl Replay<'_> {
    /// Says which rules read what the files record, unless that is written.
    fn warn_of_recorded<'g>(&mut self, files: impl Iterator<Item = &'g RuleGroups> + Clone) -> io::Result<()> {
        let rules = files.flat_map(|file| &file.groups).flat_map(|group| &group.rules);
        let recorded: BTreeSet<&str> =
            rules.clone().filter(|rule| rule.kind == RuleKind::Recording).map(|rule| rule.name.as_str()).collect();
        if self.options.write {
            return Ok(());
        }
        for rule in rules {
            let mut names = BTreeSet::new();
            rule.expr.for_each_selector(&mut |selector| {
                let name = selector.matchers.iter().find(|matcher| matcher.name == METRIC_NAME);
                names.extend(name.and_then(|name| recorded.get(name.value.as_str())).copied());
            });
            for name in names {
                writeln!(
                    self.errors,
                    "{}: reads {name}, which the files record; the server's samples of it are used (--write writes them first)",
                    rule.name
                )?;
            }
        }
        Ok(())
    }

    fn group(&mut self, group: &Group) -> Result<(), String> {
        let interval_ms = group.interval_ms;
        if (self.end_ms - self.options.start_ms) / interval_ms > MAX_EVALUATIONS {
            return Err(format!("group {:?}: more than {MAX_EVALUATIONS} evaluations", group.name));
        }
        let mut report = Report::default();
        let mut written = 0;
        let mut from_ms = self.options.start_ms;
        while from_ms <= self.end_ms {
            let to_ms = self.end_ms.min(from_ms.saturating_add(interval_ms.saturating_mul(PIECE - 1)));
            let steps = (to_ms - from_ms) / interval_ms;
            let last_ms = from_ms + steps * interval_ms;
            for rule in group.rules() {
                let samples = self.piece(group, rule, (from_ms, last_ms), &mut report)?;
                if self.options.write && rule.spec().kind == RuleKind::Recording && !samples.is_empty() {
                    self.client.write(&samples)?;
                    written += samples.len();
                }
            }
            for line in report.take() {
                writeln!(self.out, "  {line}").map_err(text)?;
            }
            from_ms = last_ms + interval_ms;
        }
        let summary = report.summary(group, written, self.options.write);
        summary.into_iter().try_for_each(|line| writeln!(self.out, "  {line}")).map_err(text)
    }

    /// Evaluates a rule from the first to the last of these times. Returns what it would have written.
    fn piece(
        &mut self,
        group: &Group,
        rule: &Arc<GroupRule>,
        (from_ms, last_ms): (i64, i64),
        report: &mut Report,
    ) -> Result<Vec<VectorSample>, String> {
        let (interval_ms, offset_ms) = (group.interval_ms, group.query_offset_ms);
        let history =
            History::read(&self.client, rule.spec(), (from_ms - offset_ms, last_ms - offset_ms), interval_ms)?;
        let mut samples = Vec::new();
        let mut failure = None;
        for t_ms in (from_ms..=last_ms).step_by(usize::try_from(interval_ms).unwrap_or(usize::MAX)) {
            let evaluation: Evaluation = group.evaluation(t_ms);
            match rule.evaluate(&evaluation, &history) {
                Ok(found) => {
                    let write = rule.write_of(found, &evaluation);
                    samples.extend(write.samples.iter().chain(&write.stale).cloned());
                    rule.wrote(write);
                }
                Err(error) => failure = Some(error),
            }
            report.observe(rule, t_ms);
        }
        if let Some(error) = failure {
            self.all_good = false;
            writeln!(self.errors, "group {:?}, rule {:?}: {error}", group.name, rule.spec().name).map_err(text)?;
        }
        Ok(samples)
    }
}

#[cfg(test)]
mod tests;
