//! The reference of metrics, from the calls that create them: a name and a help text beside each other, both literals.
//!
//! Some modules create metrics by a closure that adds a prefix (`format!("pharos_scrape_{name}")`); the prefix is taken
//! from there. The type follows from the constructor, or else from the name.

use std::collections::BTreeMap;

use regex::Regex;

use super::source::SourceFile;
use super::table;

/// What complete names begin with.
const PREFIXES: [&str; 4] = ["pharos_", "process_", "prometheus_", "alertmanager_"];

/// A metric family.
#[derive(Debug, PartialEq)]
struct Metric {
    kind: &'static str,
    help: String,
}

/// All metrics by name.
pub(super) fn reference(files: &[SourceFile]) -> String {
    let mut metrics = BTreeMap::new();
    for file in files {
        metrics.extend(find(&file.text));
    }
    let row = |(name, metric): (String, Metric)| vec![format!("`{name}`"), metric.kind.to_string(), metric.help];
    table(&["Metric", "Type", "Description"], metrics.into_iter().map(row))
}

/// The metrics that a file creates.
fn find(text: &str) -> Vec<(String, Metric)> {
    let Some(Patterns { definition, prefix }) = Patterns::new() else { return Vec::new() };
    let prefix = prefix.captures(text).map_or("", |found| found.get(1).map_or("", |prefix| prefix.as_str()));
    let mut metrics = Vec::new();
    for found in definition.captures_iter(text) {
        let (_, [constructor, name, help]) = found.extract();
        let name = match name {
            complete if PREFIXES.iter().any(|prefix| complete.starts_with(prefix)) => complete.to_string(),
            _ if prefix.is_empty() => continue,
            suffix => format!("{prefix}{suffix}"),
        };
        let kind = kind(constructor, &name);
        metrics.push((name, Metric { kind, help: joined(help) }));
    }
    metrics
}

/// How metrics look in source code.
struct Patterns {
    /// A call whose last arguments are a name and a help text: constructor, name, help.
    definition: Regex,
    /// A name that is made of a prefix and a variable.
    prefix: Regex,
}

impl Patterns {
    fn new() -> Option<Self> {
        let definition =
            Regex::new(r#"([A-Za-z:_]+)\(\s*(?:[a-z_&.]+,\s*)?"([a-z][a-z0-9_]*)",\s*"([A-Z](?:[^"\\]|\\.|\\\n)*\.)""#)
                .ok()?;
        let prefix = Regex::new(r#"format!\("((?:pharos|process|prometheus)_[a-z_]*)\{name\}"\)"#).ok()?;
        Some(Patterns { definition, prefix })
    }
}

fn kind(constructor: &str, name: &str) -> &'static str {
    match constructor.to_lowercase() {
        constructor if constructor.contains("histogram") => "histogram",
        constructor if constructor.contains("summary") => "summary",
        constructor if constructor.contains("gauge") => "gauge",
        constructor if constructor.contains("counter") => "counter",
        _ if name.ends_with("_total") => "counter",
        _ => "gauge",
    }
}

/// A literal that may go on over several lines, as the compiler reads it.
fn joined(literal: &str) -> String {
    let mut lines = literal.split("\\\n");
    let first = lines.next().unwrap_or_default().to_string();
    lines.fold(first, |text, line| text + line.trim_start())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::tool::docs::source;

    fn found(text: &str) -> Vec<(String, &'static str, String)> {
        find(text).into_iter().map(|(name, metric)| (name, metric.kind, metric.help)).collect()
    }

    #[test]
    fn a_constructor_gives_name_type_and_help() {
        let text = r#"IntGauge::new("pharos_head_series", "Series in memory.")?"#;
        assert_eq!(found(text), [("pharos_head_series".to_string(), "gauge", "Series in memory.".to_string())]);
    }

    #[test]
    fn the_type_of_options_follows_from_the_name() {
        let text = r#"Opts::new("pharos_a_total", "All.") Opts::new("pharos_b", "Now.") HistogramOpts::new("pharos_c", "Times.")"#;
        let kinds: Vec<_> = found(text).into_iter().map(|(_, kind, _)| kind).collect();
        assert_eq!(kinds, ["counter", "gauge", "histogram"]);
    }

    #[test]
    fn a_prefix_completes_names() {
        let text = r#"IntCounter::new(format!("pharos_scrape_{name}"), help)?; counter(registry, "samples_total", "Samples.")"#;
        assert_eq!(found(text)[0].0, "pharos_scrape_samples_total");
    }

    #[test]
    fn other_literals_are_not_metrics() {
        assert_eq!(found(r#"error("series", "Too many.")"#), []);
        assert_eq!(found(r#"("pharos_head_series", 7)"#), []);
    }

    #[test]
    fn a_help_may_span_lines() {
        let text = "counter(\n    \"pharos_x_total\",\n    \"Blocks that \\\n     were removed.\",\n)";
        assert_eq!(found(text)[0].2, "Blocks that were removed.");
    }

    #[test]
    fn the_metrics_of_this_repository_are_found() {
        let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let text = reference(&source::read(&crates).unwrap());
        for name in
            ["pharos_head_series", "pharos_query_requests_total", "process_open_fds", "pharos_scrape_scrapes_total"]
        {
            assert!(text.contains(&format!("| `{name}` |")), "{name} is missing in\n{text}");
        }
        assert!(text.lines().count() > 80, "{text}");
    }
}
