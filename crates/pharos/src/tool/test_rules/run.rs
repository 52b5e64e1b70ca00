//! Runs a test group: feeds input and evaluates rules step by step, then compares alerts and expressions.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use pharos_gocompat::{GoQuoted, go_duration};
use pharos_model::{Clock, Labels, SystemClock};
use pharos_promql::promqltest::{SeriesValue, parse_series};
use pharos_promql::syntax;
use pharos_promql::{Engine, EngineOptions};
use pharos_promql::{SampleValue, VectorSample};
use pharos_rules::alerts::ALERT_NAME;
use pharos_rules::file::RuleKind;
use pharos_rules::{AlertState, Group, GroupOptions, RuleGroups};

use super::file::{AlertTest, ExpectedSample, ExprTest, TestGroup};
use super::show::{self, ShownAlert, ShownSample};
use super::store::TestStore;

/// Settings that all groups of a file share.
pub(super) struct Context<'a> {
    pub(super) eval_interval_ms: i64,
    /// Positions of rule groups in `group_eval_order`. Other groups are evaluated first.
    pub(super) order: &'a BTreeMap<&'a str, usize>,
    pub(super) rule_files: &'a [PathBuf],
    pub(super) fuzzy: bool,
    pub(super) ignore_unknown_fields: bool,
    pub(super) diff: bool,
    pub(super) debug: bool,
}

/// Runs a group and returns its failures. Writes debugging output to `debug`.
pub(super) fn run(test: &TestGroup, name: &str, context: &Context<'_>, debug: &mut Vec<String>) -> Vec<String> {
    let clock = SystemClock::new();
    if context.debug {
        debug.push(format!("DEBUG: Starting test {name}"));
    }
    let failures = run_group(test, context, debug);
    if context.debug {
        debug.push(format!("DEBUG: Test {name} finished, took {:?}", clock.monotonic()));
    }
    failures
}

fn run_group(test: &TestGroup, context: &Context<'_>, debug: &mut Vec<String>) -> Vec<String> {
    let mut run = match Run::new(test, context) {
        Ok(run) => run,
        Err(failures) => return failures,
    };
    if let Some(nameless) = test.alert_rule_test.iter().find(|alert| alert.alertname.is_empty()) {
        let group = if test.name.is_empty() { String::new() } else { format!(" (in TestGroup {})", test.name) };
        let time = nameless.eval_time;
        let what = "an item under alert_rule_test misses required attribute alertname";
        return vec![format!("{what} at eval_time {time}{group}")];
    }
    if run.rules() {
        for test in &test.promql_expr_test {
            let outcome = run.expression(test);
            run.failures.extend(outcome.err());
        }
        if context.debug {
            run.dump(debug);
        }
    }
    run.failures
}

struct Run<'a> {
    test: &'a TestGroup,
    context: &'a Context<'a>,
    groups: Vec<Group>,
    store: TestStore,
    failures: Vec<String>,
}

impl<'a> Run<'a> {
    fn new(test: &'a TestGroup, context: &'a Context<'a>) -> Result<Self, Vec<String>> {
        let engine = EngineOptions { default_subquery_step_ms: context.eval_interval_ms, ..EngineOptions::default() };
        let mut store = TestStore::new(Engine::new(engine));
        let step_ms = match test.interval.as_millis() as i64 {
            0 => context.eval_interval_ms,
            ms => ms,
        };
        for (index, input) in test.input_series.iter().enumerate() {
            let line = format!("{} {}", input.series, input.values);
            let (labels, values) = parse_series(&line).map_err(|error| vec![bad_series(&line, index, error.reason)])?;
            store.input(labels, &values, test.start_timestamp, step_ms);
        }
        let groups = load_groups(test, context, step_ms)?;
        Ok(Run { test, context, groups, store, failures: Vec::new() })
    }

    /// Evaluates rules up to the last test. Returns false when an evaluation failed, which makes further tests pointless.
    fn rules(&mut self) -> bool {
        let last_ms = self.last_ms();
        let mut since_ms = 0;
        while since_ms <= last_ms {
            let t_ms = self.test.start_timestamp.saturating_add(since_ms);
            self.failures.extend(self.store.advance(t_ms).err());
            let mut errors = Vec::new();
            for group in &self.groups {
                group.eval(t_ms, &mut self.store);
                errors.extend(group.rules().iter().filter_map(|rule| {
                    let error = rule.status().outcome?.err()?;
                    let (name, time) = (&rule.spec().name, go_duration(t_ms.saturating_mul(1_000_000)));
                    Some(format!("    rule: {name}, time: {time}, err: {error}"))
                }));
            }
            if !errors.is_empty() {
                self.failures.extend(errors);
                return false;
            }
            let next_ms = since_ms + self.context.eval_interval_ms;
            let mut due: Vec<&AlertTest> = self.test.alert_rule_test.iter().collect();
            due.retain(|test| (since_ms..next_ms).contains(&(test.eval_time.as_millis() as i64)));
            due.sort_by_key(|test| test.eval_time);
            for test in due {
                let outcome = self.alert(test);
                self.failures.extend(outcome.err());
            }
            since_ms = next_ms;
        }
        true
    }

    /// The time of the last test since the start, milliseconds.
    fn last_ms(&self) -> i64 {
        let alerts = self.test.alert_rule_test.iter().map(|test| test.eval_time);
        let expressions = self.test.promql_expr_test.iter().map(|test| test.eval_time);
        alerts.chain(expressions).max().unwrap_or_default().as_millis() as i64
    }

    /// Shows all samples at the time of the last test.
    fn dump(&self, out: &mut Vec<String>) {
        let last_ms = self.last_ms();
        let time = go_duration(last_ms.saturating_mul(1_000_000));
        out.push(format!("DEBUG: Dump of all data (input_series and rules) at {time}:"));
        let everything = r#"{__name__!=""}"#;
        let parsed = syntax::parse(everything).map_err(|error| error.to_string());
        let t_ms = self.test.start_timestamp.saturating_add(last_ms);
        match parsed.and_then(|expr| self.store.vector(&expr, everything, t_ms)) {
            Ok(found) => {
                let mut lines: Vec<String> = found.into_iter().map(|sample| show::samples(&[shown(sample)])).collect();
                lines.sort();
                out.extend(lines);
            }
            Err(error) => out.push(error),
        }
    }

    fn alert(&self, test: &AlertTest) -> Result<(), String> {
        let mut found: Vec<ShownAlert> = Vec::new();
        for rule in self.groups.iter().flat_map(Group::rules) {
            let spec = rule.spec();
            if spec.kind == RuleKind::Alerting && spec.name == test.alertname {
                let alerts = rule.alerts();
                let firing = alerts.active().filter(|alert| alert.state == AlertState::Firing);
                found.extend(firing.map(|alert| ShownAlert::new(alert.labels.clone(), alert.annotations.clone())));
            }
        }
        let expected = test.exp_alerts.iter().map(|alert| {
            let mut labels = alert.exp_labels.clone();
            labels.insert(ALERT_NAME.into(), test.alertname.clone());
            ShownAlert::new(Labels::from_pairs(labels), alert.exp_annotations.clone())
        });
        let mut expected: Vec<ShownAlert> = expected.collect();
        found.sort();
        expected.sort();
        if found == expected {
            return Ok(());
        }
        let group = if self.test.name.is_empty() { String::new() } else { format!("    name: {},\n", self.test.name) };
        let (name, time) = (&test.alertname, test.eval_time);
        let (expected, found) = (show::alerts(&expected), show::alerts(&found));
        if self.context.diff {
            let diff = show::difference(&expected, &found);
            return Err(format!("{group}    alertname: {name}, time: {time}, \n        diff: {diff}"));
        }
        Err(format!("{group}    alertname: {name}, time: {time}, \n        exp:{expected}, \n        got:{found}"))
    }

    fn expression(&self, test: &ExprTest) -> Result<(), String> {
        let about = format!("    expr: {}, time: {}", GoQuoted(&test.expr), test.eval_time);
        let t_ms = self.test.start_timestamp.saturating_add(test.eval_time.as_millis() as i64);
        let failed = |reason: String| format!("{about}, err: {reason}");
        let expr = syntax::parse(&test.expr).map_err(|error| failed(error.to_string()))?;
        let found = self.store.vector(&expr, &test.expr, t_ms).map_err(failed)?;
        let mut found: Vec<ShownSample> = found.into_iter().map(shown).collect();
        let expected = test.exp_samples.iter().map(expected).collect::<Result<Vec<_>, _>>();
        let mut expected = expected.map_err(failed)?;
        expected.sort_by(|a, b| a.labels.cmp(&b.labels));
        found.sort_by(|a, b| a.labels.cmp(&b.labels));
        let same =
            expected.len() == found.len() && expected.iter().zip(&found).all(|(a, b)| a.same_as(b, self.context.fuzzy));
        if same {
            return Ok(());
        }
        Err(format!("{about},\n        exp: {}\n        got: {}", show::samples(&expected), show::samples(&found)))
    }
}

/// The error of an input series. For a selector it names the position in the `load` command that promtool generates from all
/// input series.
fn bad_series(line: &str, index: usize, reason: String) -> String {
    let error = syntax::parse_metric_selector(line).err().map(|error| error.to_string());
    match error.as_deref().and_then(|error| error.strip_prefix("1:")).filter(|_| reason.starts_with("invalid series")) {
        Some(error) => format!("{}:{error}", index + 2),
        None => reason,
    }
}

fn shown(sample: VectorSample) -> ShownSample {
    match sample.value {
        SampleValue::Float(value) => ShownSample { labels: sample.labels, value, histogram: None },
        SampleValue::Histogram(h) => ShownSample { labels: sample.labels, value: 0.0, histogram: Some(h) },
    }
}

fn expected(sample: &ExpectedSample) -> Result<ShownSample, String> {
    let wrong = |reason: String| format!("labels {}: {reason}", GoQuoted(&sample.labels));
    let labels = match sample.labels.trim() {
        "" => Labels::empty(),
        text => match parse_series(text).map_err(|error| wrong(error.reason))? {
            (labels, values) if values.is_empty() => labels,
            _ => return Err(wrong("values follow the labels".into())),
        },
    };
    let mut histogram = None;
    if !sample.histogram.is_empty() {
        let (_, values) = parse_series(&format!("{{}} {}", sample.histogram)).map_err(|error| wrong(error.reason))?;
        histogram = match values.as_slice() {
            [SeriesValue::Histogram(h, _)] => Some(h.clone()),
            [_] => return Err(wrong("expected histogram, got a float".into())),
            values => return Err(wrong(format!("expected 1 value, got {}", values.len()))),
        };
    }
    Ok(ShownSample { labels, value: sample.value, histogram })
}

/// The groups of all rule files in evaluation order.
fn load_groups(test: &TestGroup, context: &Context<'_>, interval_ms: i64) -> Result<Vec<Group>, Vec<String>> {
    let options = GroupOptions {
        interval_ms,
        external_labels: Arc::new(test.external_labels.clone()),
        external_url: test.external_url.clone(),
        query_offset_ms: 0,
    };
    let mut groups = Vec::new();
    for file in context.rule_files {
        let name = file.display();
        let text = std::fs::read_to_string(file).map_err(|error| vec![format!("{name}: {error}")])?;
        let parsed = RuleGroups::parse(&text, context.ignore_unknown_fields);
        let parsed =
            parsed.map_err(|errors| errors.iter().map(|error| format!("{name}: {error}")).collect::<Vec<_>>())?;
        groups.extend(parsed.groups.iter().map(|group| Group::new(group, &options)));
    }
    groups.sort_by_key(|group| context.order.get(group.name.as_str()).copied().unwrap_or(0));
    Ok(groups)
}
