//! Queries of which parts are evaluated where the samples are.
//!
//! A part's steps fall into three kinds. Where all that a step reads is recent enough for ingesters to have everything, they
//! evaluate it, each over the shards that it answers for, and [`Combine`](pharos_promql::fragment::Combine) puts it together.
//! Where all of it is in blocks, a store evaluates it over all shards, the store of the step's slice of time. Steps that read
//! across are evaluated here on fetched samples, and so is what cannot be put together exactly. The values of parts go into the
//! evaluation of the rest of the query.

use std::collections::HashMap;
use std::sync::Arc;

use futures::future::try_join_all;
use pharos_model::fragment::{FragmentStats, Note, Steps};
use pharos_model::{Budget, Fragment, FragmentAnswer, FragmentError, TimeRange};
use pharos_promql::fragment::{self, FragmentValue, Precomputed, QueryFragment};
use pharos_promql::syntax::ast::Expr;
use pharos_promql::{Engine, MatrixSeries, Querier, QueryError, QueryOptions, QueryOutput};
use pharos_transport::Completeness;
use pharos_transport::query::AskError;

use super::ask::{Answers, NoAnswer, Question};
use super::query::ClusterQuery;
use super::route::{Assignment, Slice, Target};

/// Where some steps are evaluated.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Place {
    /// By ingesters.
    Recent,
    /// By the store of a slice.
    Stored(Slice),
    /// Here, on fetched samples.
    Here,
}

/// Steps that are evaluated in one place.
#[derive(Clone, Debug, PartialEq)]
struct Segment {
    place: Place,
    steps: Steps,
}

/// A query as it is evaluated.
pub(crate) struct Evaluation<'a> {
    pub(crate) engine: &'a Engine,
    /// Where samples are fetched from.
    pub(crate) querier: &'a dyn Querier,
    pub(crate) expr: &'a Expr,
    pub(crate) times: Steps,
    pub(crate) options: &'a QueryOptions,
}

impl Evaluation<'_> {
    fn lookback(&self) -> i64 {
        self.options.lookback_delta_ms.unwrap_or(self.engine.options().lookback_delta_ms)
    }

    fn parts(&self) -> Result<Vec<QueryFragment>, QueryError> {
        fragment::of_query(self.expr, self.times, self.lookback())
    }

    fn fragment(&self, part: &QueryFragment, steps: Steps, whole: bool) -> Fragment {
        let options = self.engine.options();
        let partials = || part.decomposition.partials.iter().map(ToString::to_string).collect();
        Fragment {
            query: self.options.text.clone(),
            place: part.decomposition.pos.start..part.decomposition.pos.end,
            expressions: if whole { vec![part.text.clone()] } else { partials() },
            times: self.times,
            steps,
            lookback_ms: self.lookback(),
            max_samples: options.max_samples as u64,
            max_series: options.max_series as u64,
            type_and_unit_labels: options.type_and_unit_labels,
            use_start_timestamps: options.use_start_timestamps,
            samples_per_step: self.options.samples_per_step,
        }
    }

    /// Evaluates steps of a part on fetched samples.
    fn here(&self, part: &QueryFragment, steps: Steps) -> Result<(FragmentValue, FragmentStats), QueryError> {
        let answer = self.engine.evaluate_fragment(self.querier, part, self.times, steps, self.options)?;
        let (mut values, notes, stats) = taken_apart(answer);
        let (series, names_go) = values.pop().unwrap_or_default();
        Ok((value(series, names_go, notes, &stats, steps), stats))
    }
}

/// The values of the expressions of an answer, each with whether its names go away.
type Values = Vec<(Vec<MatrixSeries>, bool)>;

fn taken_apart(answer: FragmentAnswer) -> (Values, Vec<Note>, FragmentStats) {
    let results = answer.results.into_iter().map(|result| {
        let names_go = result.names_go;
        (fragment::from_result(result), names_go)
    });
    (results.collect(), answer.notes, answer.stats)
}

fn value(
    series: Vec<MatrixSeries>,
    names_go: bool,
    notes: Vec<Note>,
    stats: &FragmentStats,
    steps: Steps,
) -> FragmentValue {
    let time = |at: usize| steps.start.saturating_add(steps.step.saturating_mul(at as i64));
    FragmentValue {
        series,
        names_go,
        notes,
        queryable_samples: stats.queryable_samples,
        queryable_by_step: stats.queryable_by_step.iter().enumerate().map(|(at, n)| (time(at), *n)).collect(),
    }
}

fn add(all: &mut FragmentStats, one: &FragmentStats) {
    all.samples_read += one.samples_read;
    all.series += one.series;
    all.peak_samples = all.peak_samples.max(one.peak_samples);
    all.peak_bytes = all.peak_bytes.max(one.peak_bytes);
    all.queryable_samples += one.queryable_samples;
    let steps = all.queryable_by_step.len().max(one.queryable_by_step.len());
    all.queryable_by_step.resize(steps, 0);
    all.queryable_by_step.iter_mut().zip(&one.queryable_by_step).for_each(|(a, b)| *a += b);
}

/// The steps of a part by where they are evaluated. Nothing when they would have to be evaluated in several places and the
/// outcome could be another then.
fn segments(part: &QueryFragment, times: Steps, complete: &Completeness, slices: &[Slice]) -> Option<Vec<Segment>> {
    let place = |step: i64| {
        let reads = part.reads(step);
        if reads.start >= complete.from {
            return Place::Recent;
        }
        let slice = slices.iter().find(|slice| slice.range.contains(step));
        match slice {
            Some(slice) if reads.end < complete.unflushed_from => Place::Stored(*slice),
            _ => Place::Here,
        }
    };
    let mut found: Vec<Segment> = Vec::new();
    let mut step = times.start;
    loop {
        let place = place(step);
        match found.last_mut() {
            Some(last) if last.place == place => last.steps.end = step,
            _ => found.push(Segment { place, steps: Steps { start: step, end: step, step: times.step } }),
        }
        match step.checked_add(times.step) {
            Some(next) if times.step > 0 && next <= times.end => step = next,
            _ => break,
        }
    }
    if found.len() > 1 {
        // One step of a range is no moment.
        let widen = |steps: &mut Steps| steps.end = steps.start + steps.step - 1;
        found.iter_mut().map(|s| &mut s.steps).filter(|s| s.start == s.end && s.step > 1).for_each(widen);
        return part.may_split.then_some(found);
    }
    found.iter_mut().for_each(|segment| segment.steps = times);
    Some(found)
}

impl ClusterQuery {
    /// Evaluates a query, parts of it where the samples are.
    pub(crate) fn evaluate(&self, evaluation: &Evaluation<'_>) -> Result<QueryOutput, QueryError> {
        let Evaluation { engine, querier, expr, times, options } = *evaluation;
        let parts = match &options.budget {
            Some(_) if !options.text.is_empty() => evaluation.parts()?,
            _ => Vec::new(),
        };
        let Some(budget) = options.budget.clone().filter(|_| !parts.is_empty()) else {
            return engine.evaluate_with(querier, expr, times, options, &[]);
        };
        let (given, stats) = self.values(evaluation, &parts, &budget)?;
        let max_series = engine.options().max_series;
        if max_series > 0 && stats.series > max_series as u64 {
            return Err(QueryError::Limit(format!("query selects more than {max_series} series (max_query_series)")));
        }
        let held = given.iter().map(|given| given.value.bytes()).sum();
        budget.take(held)?;
        let output = engine.evaluate_with(querier, expr, times, options, &given);
        budget.give_back(held);
        let mut output = output?;
        output.stats.samples_read += stats.samples_read;
        output.stats.series += stats.series;
        output.stats.peak_samples = output.stats.peak_samples.max(stats.peak_samples);
        (output.stats.bytes_read, output.stats.requests) = budget.reads();
        Ok(output)
    }

    /// What is shown of the parts that would be evaluated elsewhere, without values.
    pub(crate) fn describe(&self, evaluation: &Evaluation<'_>) -> Result<Vec<Precomputed>, QueryError> {
        let routes = self.asking().routes(&self.shards());
        let given = |part: QueryFragment| Precomputed {
            pos: part.decomposition.pos,
            value: FragmentValue::default(),
            details: described(&part, &routes.assignments),
        };
        Ok(evaluation.parts()?.into_iter().map(given).collect())
    }

    /// The values of all parts, and what they took.
    fn values(
        &self,
        evaluation: &Evaluation<'_>,
        parts: &[QueryFragment],
        budget: &Arc<Budget>,
    ) -> Result<(Vec<Precomputed>, FragmentStats), QueryError> {
        let runtime = self.runtime();
        let complete = runtime.block_on(self.completeness(budget)).map_err(query_error)?;
        let mut known: HashMap<&str, usize> = HashMap::new();
        let mut asked = Vec::new();
        for (at, part) in parts.iter().enumerate() {
            if !known.contains_key(part.text.as_str()) {
                known.insert(&part.text, at);
                asked.push(self.of_part(evaluation, part, &complete, budget));
            }
        }
        let answered = runtime.block_on(try_join_all(asked)).map_err(query_error)?;
        let (mut values, mut all) = (HashMap::new(), FragmentStats::default());
        for (part, segments) in answered {
            let account = segments.account.reads();
            let mut value = FragmentValue::default();
            let mut here = 0;
            for (steps, outcome) in segments.outcomes {
                let (at_steps, stats) = match outcome {
                    Some(outcome) => outcome,
                    None => {
                        here += 1;
                        evaluation.here(part, steps)?
                    }
                };
                add(&mut all, &stats);
                value.extend(at_steps);
            }
            let mut details = described(part, &segments.asked);
            details.push(("bytes", account.0.to_string()));
            details.push(("requests", account.1.to_string()));
            if here > 0 {
                details.push(("evaluated here", format!("{here} of the part's runs of steps")));
            }
            values.insert(part.text.as_str(), (part.decomposition.pos, value, details));
        }
        let given = parts.iter().filter_map(|part| {
            let (pos, value, details) = values.get(part.text.as_str())?;
            let mut value = value.clone();
            let by = part.decomposition.pos.start as i64 - pos.start as i64;
            let moved = |note: &mut Note| note.pos = note.pos.checked_add_signed(by).unwrap_or(note.pos);
            value.notes.iter_mut().for_each(moved);
            Some(Precomputed { pos: part.decomposition.pos, value, details: details.clone() })
        });
        Ok((given.collect(), all))
    }

    /// Has the steps of a part evaluated elsewhere, as far as that is possible.
    async fn of_part<'p>(
        &self,
        evaluation: &Evaluation<'_>,
        part: &'p QueryFragment,
        complete: &Completeness,
        budget: &Arc<Budget>,
    ) -> Result<(&'p QueryFragment, Outcomes), NoAnswer> {
        let times = evaluation.times;
        let account = budget.part();
        let slices: Vec<Slice> = self
            .slices(TimeRange::new(times.start, times.end.max(times.start)))
            .into_iter()
            .filter_map(|target| match target {
                Target::Time(slice) => Some(slice),
                Target::Shards(_) => None,
            })
            .collect();
        let mut outcomes = Outcomes { account: account.clone(), outcomes: Vec::new(), asked: Vec::new() };
        let Some(segments) = segments(part, times, complete, &slices) else {
            outcomes.outcomes.push((times, None));
            return Ok((part, outcomes));
        };
        let each = segments.into_iter().map(|segment| {
            let whole = segment.place != Place::Recent;
            let fragment = Arc::new(evaluation.fragment(part, segment.steps, whole));
            let account = account.clone();
            async move {
                let target = match segment.place {
                    Place::Here => return Ok((segment.steps, None, Vec::new())),
                    Place::Recent => self.shards(),
                    Place::Stored(slice) => Target::Time(slice),
                };
                // Later steps read no earlier samples.
                let counted_on = (!whole).then(|| part.reads(segment.steps.start).start);
                let question: Question<FragmentAnswer> = Arc::new(move |node, scope, _| {
                    let (fragment, account) = (fragment.clone(), account.clone());
                    let scope = scope.counting_on(counted_on);
                    Box::pin(async move { node.evaluate(scope, fragment, account).await })
                });
                let answers = self.asking().ask(vec![target], |cluster| &cluster.fragments, question).await;
                match answers {
                    Ok(answers) => {
                        let asked = answers.iter().map(|(assignment, _)| assignment.clone()).collect();
                        Ok((segment.steps, together(part, whole, segment.steps, answers), asked))
                    }
                    Err(NoAnswer::Failed(AskError::Failed(FragmentError::Unsupported(reason)))) => {
                        tracing::debug!(part = %part.text, %reason, "a part is evaluated on fetched samples");
                        Ok((segment.steps, None, Vec::new()))
                    }
                    Err(none) => {
                        // Fetched samples are of stores too, for what the replicas that can answer do not have.
                        self.learn_completeness(none.behind().ok_or(none)?);
                        Ok((segment.steps, None, Vec::new()))
                    }
                }
            }
        });
        for (steps, outcome, asked) in try_join_all(each).await? {
            outcomes.outcomes.push((steps, outcome));
            outcomes.asked.extend::<Vec<Assignment>>(asked);
        }
        Ok((part, outcomes))
    }
}

/// What came of a part.
struct Outcomes {
    /// By steps; nothing where they have to be evaluated here.
    outcomes: Vec<(Steps, Option<(FragmentValue, FragmentStats)>)>,
    asked: Vec<Assignment>,
    /// Counts what came over the network.
    account: Arc<Budget>,
}

/// What nodes have answered, put together. Nothing when it does not fit exactly.
fn together(
    part: &QueryFragment,
    whole: bool,
    steps: Steps,
    answers: Answers<FragmentAnswer>,
) -> Option<(FragmentValue, FragmentStats)> {
    let (mut stats, mut notes, mut names_go) = (FragmentStats::default(), Vec::new(), false);
    let mut nodes = Vec::with_capacity(answers.len());
    for (_, answer) in answers {
        let (values, of_node, took) = taken_apart(answer);
        add(&mut stats, &took);
        notes.extend(of_node);
        names_go |= values.iter().any(|(series, names_go)| *names_go && !series.is_empty());
        nodes.push(values.into_iter().map(|(series, _)| series).collect::<Vec<_>>());
    }
    let series = match whole {
        true => nodes.pop()?.pop()?,
        false => part.decomposition.combine.apply(nodes)?,
    };
    Some((value(series, names_go, notes, &stats, steps), stats))
}

/// What is shown of a part in plans.
fn described(part: &QueryFragment, asked: &[Assignment]) -> Vec<(&'static str, String)> {
    let mut details = vec![("expression", part.text.clone()), ("combine", part.decomposition.combine.to_string())];
    let (mut shards, mut blocks) = (Vec::new(), Vec::new());
    for Assignment { member, target } in asked {
        match target {
            Target::Shards(of_node) => shards.push(format!("{}: {of_node}", member.id)),
            Target::Time(_) => blocks.push(member.id.clone()),
        }
    }
    if !shards.is_empty() {
        details.push(("shards", shards.join("; ")));
    }
    if !blocks.is_empty() {
        blocks.sort();
        blocks.dedup();
        details.push(("stores", blocks.join(", ")));
    }
    details
}

/// An error of asking as one of the query.
fn query_error(none: NoAnswer) -> QueryError {
    match none {
        NoAnswer::Failed(AskError::Failed(error)) => error.into(),
        other => pharos_model::SelectError::from(other).into(),
    }
}

#[cfg(test)]
mod tests;
