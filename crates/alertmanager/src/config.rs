//! `alertmanager.yml`: its sections with Alertmanager's names, defaults and checks.
//!
//! [`written`] is the file as it is written; what is here was checked and completed. An error names the line. A field that
//! is null has its default, as in Alertmanager.

mod routes;
mod written;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use pharos_notify::Templates;
use pharos_notify::config::{GlobalConfig, ReceiverConfig};
use serde_saphyr::{Location, Spanned};

use crate::interval::TimeInterval;
use crate::matcher::{Matcher, Syntax};
use crate::routing::RouteTree;
use written::{Written, WrittenInhibitRule, WrittenIntervals};

/// Largest file, bytes.
const MAX_FILE_BYTES: u64 = 16 << 20;

/// A mistake in the file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct ConfigError {
    file: PathBuf,
    /// Line and column, from 1.
    place: Option<(u64, u64)>,
    reason: String,
}

/// `alertmanager.yml:3:5: undefined receiver "team" used in route`.
impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.file.display())?;
        if let Some((line, column)) = self.place {
            write!(f, "{line}:{column}:")?;
        }
        write!(f, " {}", self.reason)
    }
}

/// A mistake and where it is, before the file is known.
struct Mistake {
    place: Option<(u64, u64)>,
    reason: String,
}

impl Mistake {
    fn at(location: Location, reason: impl Into<String>) -> Mistake {
        let place = (location.line() > 0).then(|| (location.line(), location.column()));
        Mistake { place, reason: reason.into() }
    }

    fn nowhere(reason: impl Into<String>) -> Mistake {
        Mistake { place: None, reason: reason.into() }
    }
}

/// An inhibition rule: while an alert is active that satisfies `source`, alerts that satisfy `target` and have the same
/// values of the labels in `equal` are muted.
#[derive(Clone, Debug, PartialEq)]
pub struct InhibitRule {
    /// The name; may be empty.
    pub name: String,
    /// What an alert that mutes others satisfies.
    pub source: Vec<Matcher>,
    /// What an alert that is muted satisfies.
    pub target: Vec<Matcher>,
    /// Names of labels.
    pub equal: Vec<String>,
}

/// A configuration that was checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// Defaults of receivers.
    pub global: GlobalConfig,
    /// The routing tree.
    pub routes: RouteTree,
    /// Inhibition rules in the order of the file.
    pub inhibit_rules: Vec<InhibitRule>,
    /// Receivers in the order of the file.
    pub receivers: Vec<ReceiverConfig>,
    /// Patterns of template files.
    pub templates: Vec<PathBuf>,
    /// Intervals by name.
    pub time_intervals: BTreeMap<String, Vec<TimeInterval>>,
    /// The file with defaults, and with `<secret>` in place of secrets.
    pub printed: String,
    /// What the operator should know: sections without effect.
    pub warnings: Vec<String>,
}

impl Config {
    /// Reads and checks a file. Blocks while it reads.
    ///
    /// # Errors
    /// The file cannot be read or is invalid.
    pub fn load(file: &Path, syntax: Syntax) -> Result<Config, ConfigError> {
        let unreadable = |reason: String| ConfigError { file: file.to_path_buf(), place: None, reason };
        let metadata = std::fs::metadata(file).map_err(|error| unreadable(format!("cannot read file: {error}")))?;
        if metadata.len() > MAX_FILE_BYTES {
            return Err(unreadable(format!("file is larger than {} MiB", MAX_FILE_BYTES >> 20)));
        }
        let text = std::fs::read_to_string(file).map_err(|error| unreadable(format!("cannot read file: {error}")))?;
        Config::parse(&text, file, syntax)
    }

    /// Checks the text of a file.
    ///
    /// # Errors
    /// The text is invalid.
    pub fn parse(text: &str, file: &Path, syntax: Syntax) -> Result<Config, ConfigError> {
        let folder = file.parent().unwrap_or(Path::new(""));
        let parsed = written::parse(text).and_then(|written| Config::check(written, folder, syntax));
        parsed.map_err(|Mistake { place, reason }| ConfigError { file: file.to_path_buf(), place, reason })
    }

    /// Loads the template files. Blocks while it reads them.
    ///
    /// # Errors
    /// A file cannot be read or is not a template.
    pub fn load_templates(&self, external_url: &str) -> Result<Templates, String> {
        let patterns: Vec<String> = self.templates.iter().map(|path| path.to_string_lossy().into_owned()).collect();
        Templates::load(&patterns, external_url).map_err(|error| format!("failed to parse templates: {error}"))
    }

    /// How long an alert without an end is taken to be firing after it was received last.
    pub fn resolve_timeout(&self) -> Duration {
        self.global.resolve_timeout.into()
    }

    fn check(mut written: Written, folder: &Path, syntax: Syntax) -> Result<Config, Mistake> {
        let mut global = match written.global.take() {
            Some(Spanned { value, referenced, .. }) => {
                value.check().map_err(|reason| Mistake::at(referenced, reason))?;
                value
            }
            None => GlobalConfig::default(),
        };
        let printed = written.print(&global);
        let mut receivers = receivers(written.receivers.unwrap_or_default(), &global)?;
        receivers.iter_mut().for_each(|receiver| receiver.set_directory(folder));
        global.set_directory(folder);
        let names: BTreeSet<&str> = receivers.iter().map(|receiver| receiver.name.as_str()).collect();
        let mut time_intervals = BTreeMap::new();
        add_intervals(&mut time_intervals, written.mute_time_intervals, "mute time interval")?;
        add_intervals(&mut time_intervals, written.time_intervals, "time interval")?;
        let root = written.route.ok_or_else(|| Mistake::nowhere("no routes provided"))?;
        let routes = routes::tree(root, &names, &time_intervals, syntax)?;
        let rules = written.inhibit_rules.unwrap_or_default();
        let inhibit_rules = rules.into_iter().map(|rule| inhibit_rule(rule, syntax)).collect::<Result<_, _>>()?;
        let templates = written.templates.unwrap_or_default().into_iter().map(|pattern| folder.join(pattern)).collect();
        let sections = [("tracing", written.tracing.is_some()), ("event_recorder", written.event_recorder.is_some())];
        let without_effect = sections.iter().filter(|(_, is_given)| *is_given);
        let warnings = without_effect.map(|(name, _)| format!("{name} has no effect: it is not supported")).collect();
        Ok(Config { global, routes, inhibit_rules, receivers, templates, time_intervals, printed, warnings })
    }
}

/// Completes receivers with what they inherit.
fn receivers(written: Vec<Spanned<ReceiverConfig>>, global: &GlobalConfig) -> Result<Vec<ReceiverConfig>, Mistake> {
    let mut receivers: Vec<ReceiverConfig> = Vec::new();
    for Spanned { value: mut receiver, referenced, .. } in written {
        if receivers.iter().any(|other| other.name == receiver.name) {
            let reason = format!("notification config name {:?} is not unique", receiver.name);
            return Err(Mistake::at(referenced, reason));
        }
        receiver.resolve(global).map_err(|error| Mistake::at(referenced, error.to_string()))?;
        receivers.push(receiver);
    }
    Ok(receivers)
}

fn add_intervals(
    intervals: &mut BTreeMap<String, Vec<TimeInterval>>,
    written: Option<Vec<Spanned<WrittenIntervals>>>,
    what: &str,
) -> Result<(), Mistake> {
    for Spanned { value, referenced, .. } in written.unwrap_or_default() {
        let name = value.name.filter(|name| !name.is_empty());
        let name = name.ok_or_else(|| Mistake::at(referenced, format!("missing name in {what}")))?;
        if intervals.contains_key(&name) {
            return Err(Mistake::at(referenced, format!("{what} {name:?} is not unique")));
        }
        intervals.insert(name, value.time_intervals.unwrap_or_default());
    }
    Ok(())
}

fn inhibit_rule(rule: Spanned<WrittenInhibitRule>, syntax: Syntax) -> Result<InhibitRule, Mistake> {
    let Spanned { value: rule, referenced, .. } = rule;
    let source =
        written::matchers(&rule.source_match, &rule.source_match_re, &rule.source_matchers, referenced, syntax)?;
    let target =
        written::matchers(&rule.target_match, &rule.target_match_re, &rule.target_matchers, referenced, syntax)?;
    let equal = rule.equal.unwrap_or_default();
    if let Some(name) = equal.iter().find(|name| !syntax.is_label_name(&name.value)) {
        return Err(Mistake::at(name.referenced, format!("invalid label name {:?} in equal list", name.value)));
    }
    let equal = equal.into_iter().map(|name| name.value).collect();
    Ok(InhibitRule { name: rule.name.unwrap_or_default(), source, target, equal })
}

#[cfg(test)]
mod tests;
