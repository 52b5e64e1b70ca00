//! Runs the commands of a script and reports the evaluations that did not match.

use pharos_model::Labels;

use super::check::{check_annotations, check_value};
use super::expect::EvalCommand;
use super::load::load;
use super::pinned::{other_times, pinned};
use super::script::{CommandKind, parse_script};
use super::store::MemoryStore;
use super::words::Times;
use crate::engine::Engine;
use crate::error::QueryError;
use crate::eval::{MatrixSeries, SampleValue, Value, VectorSample};
use crate::options::QueryOptions;
use crate::output::QueryOutput;
use crate::syntax::ast::{Expr, ValueType};
use crate::syntax::parse;

/// The outcome of a script.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// The name of the script.
    pub name: String,
    /// The number of evaluations with the expected outcome.
    pub passed: usize,
    /// The other evaluations, and commands that failed.
    pub failed: Vec<Failure>,
}

/// A failed evaluation or command.
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    /// The line of the command in the script, from 1.
    pub line: usize,
    /// The difference between the expected and the actual outcome.
    pub message: String,
}

/// Runs a script. A script that cannot be parsed is reported as a single failure.
pub fn run_script(name: &str, text: &str, engine: &Engine) -> Report {
    let mut report = Report { name: name.to_string(), ..Report::default() };
    let commands = match parse_script(text) {
        Ok(commands) => commands,
        Err(error) => {
            report.failed.push(Failure { line: error.line, message: error.reason });
            return report;
        }
    };
    let mut store = MemoryStore::default();
    for command in commands {
        let outcome = match command.kind {
            CommandKind::Clear => {
                store.clear();
                continue;
            }
            CommandKind::Load(samples) => match load(&samples, &mut store) {
                Ok(()) => continue,
                Err(error) => Err(error.reason),
            },
            CommandKind::Eval(eval) => Run { eval: &eval, engine, store: &store }.run(),
        };
        match outcome {
            Ok(()) => report.passed += 1,
            Err(message) => report.failed.push(Failure { line: command.line, message }),
        }
    }
    report
}

/// The evaluation of one `eval` command.
struct Run<'a> {
    eval: &'a EvalCommand,
    engine: &'a Engine,
    store: &'a MemoryStore,
}

impl Run<'_> {
    fn run(&self) -> Result<(), String> {
        let expr = match parse(&self.eval.expr) {
            Ok(expr) => expr,
            Err(error) => return self.check_failure(&error.to_string()),
        };
        match self.eval.times {
            Times::Range { start, end, step } => {
                let output = self.engine.range(self.store, &expr, start, end, step, &self.options());
                self.check(output, (start, end, step)).map(drop)
            }
            Times::Instant(t) => {
                let t = self.eval.range_vector.map_or(t, |(_, end, _)| end);
                self.instant(&expr, t)?;
                let Some(expr) = pinned(&expr, t) else { return Ok(()) };
                let at =
                    |other: i64, error| format!("pinned with @ {}, evaluated at {other} ms: {error}", t as f64 / 1e3);
                other_times(t).into_iter().try_for_each(|t| self.instant(&expr, t).map_err(|error| at(t, error)))
            }
        }
    }

    /// Evaluates at one time, and again as a range query around that time.
    fn instant(&self, expr: &Expr, t: i64) -> Result<(), String> {
        let times = self.eval.range_vector.unwrap_or((t, t, 0));
        let output = self.engine.instant(self.store, expr, t, &self.options());
        let Some(value) = self.check(output, times)? else { return Ok(()) };
        let ranged = matches!(expr.value_type(), ValueType::Scalar | ValueType::Vector);
        let depends_on_range = ["start()", "end()", "range()", "step()"].iter().any(|f| self.eval.expr.contains(f));
        if !ranged || self.eval.range_vector.is_some() || self.eval.result.string.is_some() || depends_on_range {
            return Ok(());
        }
        let in_range = |error: String| format!("as a range query: {error}");
        let output = self.engine.range(
            self.store,
            expr,
            t.saturating_sub(60_000),
            t.saturating_add(60_000),
            60_000,
            &self.options(),
        );
        let output = output.map_err(|error| in_range(error.to_string()))?;
        if self.eval.ordered {
            return Ok(());
        }
        let Value::Matrix(matrix) = output.value else { return Err(in_range("the result is not a matrix".into())) };
        assert_sorted(&matrix)?;
        let vector: Vec<_> = matrix.iter().filter_map(|series| sample_at(series, t)).collect();
        let value = match value {
            Value::Scalar(..) => match vector.first().map(|sample| &sample.value) {
                Some(SampleValue::Float(v)) => Value::Scalar(t, *v),
                _ => return Err(in_range("the scalar has no value".into())),
            },
            _ => Value::Vector(vector),
        };
        check_value(self.eval, &value, times).map_err(in_range)
    }

    fn options(&self) -> QueryOptions {
        QueryOptions { text: self.eval.expr.clone(), ..QueryOptions::default() }
    }

    /// Checks the outcome; returns the value of an evaluation that succeeded.
    fn check(&self, output: Result<QueryOutput, QueryError>, times: (i64, i64, i64)) -> Result<Option<Value>, String> {
        match output {
            Err(error) => self.check_failure(&error.to_string()).map(|()| None),
            Ok(_) if self.eval.fail.is_some() => Err("expected an error, got a value".into()),
            Ok(output) => {
                check_annotations(self.eval, &output.warnings, &output.infos)?;
                if let Value::Matrix(matrix) = &output.value {
                    assert_sorted(matrix)?;
                }
                check_value(self.eval, &output.value, times)?;
                Ok(Some(output.value))
            }
        }
    }

    fn check_failure(&self, error: &str) -> Result<(), String> {
        match &self.eval.fail {
            None => Err(format!("error: {error}")),
            Some(expected) if !expected.matches(error) => Err(format!("expected error {expected}, got {error:?}")),
            Some(_) => Ok(()),
        }
    }
}

/// The sample of a series at time `t`.
fn sample_at(series: &MatrixSeries, t: i64) -> Option<VectorSample> {
    let float = series.floats.iter().find(|(at, _)| *at == t).map(|(_, v)| SampleValue::Float(*v));
    let histogram =
        || series.histograms.iter().find(|(at, _)| *at == t).map(|(_, h)| SampleValue::Histogram(h.clone()));
    Some(VectorSample { labels: series.labels.clone(), t, value: float.or_else(histogram)? })
}

/// Checks that the series of a matrix are sorted by labels.
fn assert_sorted(matrix: &[MatrixSeries]) -> Result<(), String> {
    let unsorted = |[a, b]: &&[MatrixSeries; 2]| a.labels > b.labels;
    let message = |a: &Labels, b: &Labels| format!("the matrix is not sorted: {b} comes after {a}");
    matrix.array_windows().find(unsorted).map_or(Ok(()), |[a, b]| Err(message(&a.labels, &b.labels)))
}
