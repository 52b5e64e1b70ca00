//! The entry point of the crate: evaluates an expression over a source of samples, at one time or at the steps of a range.
//!
//! An engine holds limits and nothing else. It is synchronous: callers run it on a thread that may block, and cancel a
//! query through its [`Budget`].

use std::sync::Arc;

use pharos_model::fragment::Steps;
use pharos_model::{Budget, FragmentAnswer};

use crate::error::QueryError;
use crate::eval::{self, FragmentTask, NoValue};
use crate::explain;
use crate::explanation::Explanation;
use crate::fragment::Precomputed;
use crate::options::{EngineOptions, QueryOptions};
use crate::output::QueryOutput;
use crate::plan::{self, MAX_TIME, Place};
use crate::querier::Querier;
use crate::syntax;
use crate::syntax::ast::{Expr, ValueType};

/// The number of steps that a range query may have, so that the values of one series always fit into memory. The HTTP API
/// allows far fewer.
const MAX_STEPS: i64 = 10_000_000;

/// Evaluates PromQL.
#[derive(Clone, Default)]
pub struct Engine {
    options: EngineOptions,
}

impl Engine {
    /// Creates an engine with these limits.
    pub fn new(options: EngineOptions) -> Self {
        Engine { options }
    }

    /// The engine's limits and defaults.
    pub fn options(&self) -> &EngineOptions {
        &self.options
    }

    /// Evaluates `expr` at `t_ms`.
    pub fn instant(
        &self,
        querier: &dyn Querier,
        expr: &Expr,
        t_ms: i64,
        options: &QueryOptions,
    ) -> Result<QueryOutput, QueryError> {
        self.run(querier, expr, Steps { start: t_ms, end: t_ms, step: 0 }, options)
    }

    /// Evaluates `expr` from `start_ms` to `end_ms` at steps of `step_ms`. The value is a matrix sorted by labels. The
    /// expression must be a scalar or an instant vector.
    pub fn range(
        &self,
        querier: &dyn Querier,
        expr: &Expr,
        start_ms: i64,
        end_ms: i64,
        step_ms: i64,
        options: &QueryOptions,
    ) -> Result<QueryOutput, QueryError> {
        check_range(expr, start_ms, end_ms, step_ms)?;
        self.run(querier, expr, Steps { start: start_ms, end: end_ms, step: step_ms }, options)
    }

    /// The value of `expr` at the steps of a query, of which some parts are known already.
    pub fn evaluate_with(
        &self,
        querier: &dyn Querier,
        expr: &Expr,
        times: Steps,
        options: &QueryOptions,
        precomputed: &[Precomputed],
    ) -> Result<QueryOutput, QueryError> {
        if times.step > 0 {
            check_range(expr, times.start, times.end, times.step)?;
        }
        self.run_with(querier, expr, times, options, precomputed)
    }

    /// The value of a part of a query at some of its steps: `times` are those of the query.
    pub(crate) fn evaluate_part(
        &self,
        querier: &dyn Querier,
        (expr, precomputed): (&Expr, &[Precomputed]),
        (times, steps): (Steps, Steps),
        options: &QueryOptions,
        task: FragmentTask,
    ) -> Result<Result<FragmentAnswer, NoValue>, QueryError> {
        let budget = self.budget(options);
        budget.check()?;
        let times = bounded(times);
        let steps = bounded(steps);
        if steps.step > 0 && steps.end.saturating_sub(steps.start) / steps.step > MAX_STEPS {
            return Err(QueryError::Limit(format!("the fragment has more than {MAX_STEPS} steps")));
        }
        let lookback = options.lookback_delta_ms.unwrap_or(self.options.lookback_delta_ms).clamp(0, MAX_TIME);
        let height = syntax::height(expr);
        let deep = height > MAX_HEIGHT_ON_CALLER;
        let limits = EngineOptions { threads: if deep { 1 } else { self.options.threads }, ..self.options.clone() };
        let work = || {
            let plan = plan::build_with(expr, &times, &places(precomputed), &budget)?;
            let mut shared = eval::Shared::new(querier, budget, &limits, lookback, None);
            shared.precomputed = precomputed.iter().map(|precomputed| &precomputed.value).collect();
            shared.keeps_empty_groups = task.is_partial;
            eval::run_fragment(&shared, &plan, &steps, options.samples_per_step, task)
        };
        if deep { on_large_stack(height, work) } else { work() }
    }

    /// The value of a part of a query at some of its steps, where the query is evaluated. Some parts of that part may be known.
    pub fn evaluate_fragment(
        &self,
        querier: &dyn Querier,
        part: (&Expr, &[Precomputed]),
        times: (Steps, Steps),
        options: &QueryOptions,
    ) -> Result<FragmentAnswer, QueryError> {
        let answer = self.evaluate_part(querier, part, times, options, FragmentTask::default())?;
        answer.map_err(|reason| QueryError::Execution(format!("the fragment has no value: {reason:?}")))
    }

    /// The plan by which `expr` would be evaluated from the first to the second time at steps of the third, or at the first
    /// time alone if the step is 0, all in milliseconds. No sample is read. Planning may take as long as a query.
    pub fn explain(&self, expr: &Expr, times: (i64, i64, i64)) -> Result<Explanation, QueryError> {
        self.explain_with(expr, times, &[])
    }

    /// The same for a query some parts of which are evaluated elsewhere.
    pub fn explain_with(
        &self,
        expr: &Expr,
        (start_ms, end_ms, step_ms): (i64, i64, i64),
        precomputed: &[Precomputed],
    ) -> Result<Explanation, QueryError> {
        if step_ms > 0 {
            check_range(expr, start_ms, end_ms, step_ms)?;
        }
        let times = bounded(Steps { start: start_ms, end: end_ms, step: step_ms.max(0) });
        let height = syntax::height(expr);
        let budget = self.budget(&QueryOptions::default());
        let work = || {
            let threads = if height > MAX_HEIGHT_ON_CALLER { 1 } else { self.options.threads };
            let plan = plan::build_with(expr, &times, &places(precomputed), &budget)?;
            let max_steps_per_range = if precomputed.is_empty() { self.options.max_steps_per_range } else { 0 };
            let slices = eval::step_ranges_of(&plan, &times, max_steps_per_range, self.options.lookback_delta_ms);
            let mut physical = explain::describe_with(&plan, threads, None, &details(precomputed));
            physical.note_step_ranges(&slices);
            budget.check()?;
            Ok(Explanation { logical: explain::describe(&plan::resolve(expr, &times)?, 1, None), physical })
        };
        if height > MAX_HEIGHT_ON_CALLER { on_large_stack(height, work) } else { work() }
    }

    fn budget(&self, options: &QueryOptions) -> Arc<Budget> {
        options.budget.clone().unwrap_or_else(|| {
            Arc::new(Budget::new(self.options.clock.clone(), self.options.timeout, self.options.max_memory_bytes))
        })
    }

    fn run(
        &self,
        querier: &dyn Querier,
        expr: &Expr,
        times: Steps,
        options: &QueryOptions,
    ) -> Result<QueryOutput, QueryError> {
        self.run_with(querier, expr, times, options, &[])
    }

    fn run_with(
        &self,
        querier: &dyn Querier,
        expr: &Expr,
        times: Steps,
        options: &QueryOptions,
        precomputed: &[Precomputed],
    ) -> Result<QueryOutput, QueryError> {
        let budget = self.budget(options);
        budget.check()?;
        let times = bounded(times);
        let lookback = options.lookback_delta_ms.unwrap_or(self.options.lookback_delta_ms).clamp(0, MAX_TIME);
        let height = syntax::height(expr);
        // An expression that needs a large stack is evaluated by the one thread that has it.
        let deep = height > MAX_HEIGHT_ON_CALLER;
        let threads = if deep { 1 } else { self.options.threads };
        // Precomputed values are in memory for the whole range, so splitting the range would save nothing.
        let max_steps_per_range = if precomputed.is_empty() { self.options.max_steps_per_range } else { 0 };
        let limits = EngineOptions { threads, max_steps_per_range, ..self.options.clone() };
        let work = || {
            let started = limits.clock.monotonic();
            let plan = plan::build_with(expr, &times, &places(precomputed), &budget)?;
            let prepared = limits.clock.monotonic();
            let tracker = options.analyze.then(|| eval::Tracker::new(&plan, limits.clock.clone()));
            let mut shared = eval::Shared::new(querier, budget, &limits, lookback, tracker);
            shared.precomputed = precomputed.iter().map(|precomputed| &precomputed.value).collect();
            let mut output = eval::run(&shared, &plan, &times, options)?;
            let ended = limits.clock.monotonic();
            let timings = &mut output.stats.timings;
            timings.preparation = prepared.saturating_sub(started);
            timings.inner_eval = ended.saturating_sub(prepared).saturating_sub(timings.result_sort);
            timings.eval_total = ended.saturating_sub(started);
            timings.exec_total = timings.eval_total;
            output.plan = shared.tracker.as_ref().map(|tracker| {
                let mut shown = explain::describe_with(&plan, threads, Some(tracker), &details(precomputed));
                shown.note_step_ranges(&eval::step_ranges_of(&plan, &times, limits.max_steps_per_range, lookback));
                shown
            });
            Ok(output)
        };
        if deep { on_large_stack(height, work) } else { work() }
    }
}

fn places(precomputed: &[Precomputed]) -> Vec<Place> {
    let place = |precomputed: &Precomputed| Place { pos: precomputed.pos, is_invariant: precomputed.is_invariant };
    precomputed.iter().map(place).collect()
}

fn details(precomputed: &[Precomputed]) -> explain::PrecomputedDetails {
    precomputed.iter().map(|precomputed| precomputed.details.clone()).collect()
}

/// Clamps times so that arithmetic on them does not overflow.
pub(crate) fn bounded(times: Steps) -> Steps {
    let near = |t: i64| t.clamp(-MAX_TIME, MAX_TIME);
    Steps { start: near(times.start), end: near(times.end), step: near(times.step).max(0) }
}

/// Fails when an expression cannot be evaluated over a range.
fn check_range(expr: &Expr, start_ms: i64, end_ms: i64, step_ms: i64) -> Result<(), QueryError> {
    if step_ms <= 0 {
        return Err(QueryError::BadData("zero or negative query resolution step widths are not accepted".into()));
    }
    let kind = match expr.value_type() {
        ValueType::Scalar | ValueType::Vector => None,
        ValueType::Matrix => Some("range vector"),
        ValueType::String => Some("string"),
    };
    if let Some(kind) = kind {
        let reason = format!("invalid expression type {kind:?} for range query, must be Scalar or instant Vector");
        return Err(QueryError::BadData(reason));
    }
    if end_ms.saturating_sub(start_ms) / step_ms > MAX_STEPS {
        return Err(QueryError::Limit(format!("the range query has more than {MAX_STEPS} steps")));
    }
    Ok(())
}

/// Expressions up to this height are evaluated on the stack of the caller.
const MAX_HEIGHT_ON_CALLER: usize = 60;
/// The stack that each level of a higher expression needs, bytes.
const STACK_PER_LEVEL: usize = 32 << 10;

/// Runs `work` on a thread that has enough stack for an expression of this height.
fn on_large_stack<T: Send>(
    height: usize,
    work: impl FnOnce() -> Result<T, QueryError> + Send,
) -> Result<T, QueryError> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("promql-deep".into()).stack_size(height * STACK_PER_LEVEL);
        let handle = thread.spawn_scoped(scope, work).map_err(|error| {
            QueryError::Limit(format!("could not start a thread for an expression of height {height}: {error}"))
        })?;
        handle.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

#[cfg(test)]
mod tests;
