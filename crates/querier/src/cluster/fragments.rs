//! Evaluates fragments of a query where the samples are.
//!
//! The steps of a fragment fall into three kinds. If ingesters have all samples that a step reads, they evaluate it, each
//! over the shards that it answers for, and [`Combine`](pharos_promql::fragment::Combine) merges their partial values. If those
//! do not determine the value, the ingesters send what the fragment aggregates, and this node aggregates it in the order of
//! series. If all samples of a step are in blocks, the store of the step's time range evaluates it over all shards. Steps that
//! read both are evaluated by this node on fetched samples. The rest of the query is then evaluated with the values of its
//! fragments.
//!
//! Invariant: a fragment has the value that it has in one process, to the bit.

mod segments;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use futures::future::try_join_all;
use pharos_model::fragment::{FragmentForm, FragmentRow, FragmentStats, Note, Steps};
use pharos_model::{Budget, Fragment, FragmentAnswer, FragmentError, SelectError, TimeRange};
use pharos_promql::fragment::{self, Combine, FragmentValue, Precomputed, QueryFragment};
use pharos_promql::syntax::ast::{Expr, Pos};
use pharos_promql::{Engine, Querier, QueryError, QueryOptions, QueryOutput};
use pharos_transport::Completeness;
use pharos_transport::query::ReadError;

use super::cluster_query::ClusterQuery;
use super::dispatch::Responses;
use super::failure::ReadFailure;
use super::route::{Assignment, Target};
use super::small;
use super::timing::Phase;
use segments::{Segment, Site, segments};

/// A query to evaluate.
pub(crate) struct Evaluation<'a> {
    pub(crate) engine: &'a Engine,
    /// Fetches samples.
    pub(crate) querier: &'a dyn Querier,
    pub(crate) expr: &'a Expr,
    pub(crate) times: Steps,
    pub(crate) options: &'a QueryOptions,
}

impl Evaluation<'_> {
    fn lookback(&self) -> i64 {
        self.options.lookback_delta_ms.unwrap_or(self.engine.options().lookback_delta_ms)
    }

    fn fragments(&self) -> Result<Vec<QueryFragment>, QueryError> {
        fragment::of_query(self.expr, self.times, self.lookback())
    }

    /// The request for a form of a fragment at some of its steps.
    fn request(&self, fragment: &QueryFragment, steps: Steps, form: FragmentForm) -> Fragment {
        let options = self.engine.options();
        Fragment {
            query: self.options.text.clone(),
            place: fragment.decomposition.pos.start..fragment.decomposition.pos.end,
            form,
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

    /// Evaluates steps of a fragment: on fetched samples, or on the value of what it aggregates.
    fn evaluate_here(
        &self,
        fragment: &QueryFragment,
        steps: Steps,
        argument: Option<Evaluated>,
    ) -> Result<Evaluated, QueryError> {
        let whole = &fragment.decomposition.whole;
        let (known, stats) = match (argument, fragment.decomposition.argument()) {
            (Some((value, stats)), Some(argument)) => {
                let known = Precomputed { pos: argument.pos(), is_invariant: false, value, details: Vec::new() };
                (vec![known], stats)
            }
            _ => (Vec::new(), FragmentStats::default()),
        };
        let times = (self.times, steps);
        let answer = self.engine.evaluate_fragment(self.querier, (whole, &known), times, self.options)?;
        let mut total = FragmentStats { queryable_samples: 0, queryable_by_step: Vec::new(), ..stats };
        add_stats(&mut total, &answer.stats);
        Ok((value_of(answer.rows, answer.names_go, answer.notes, &total, steps), total))
    }
}

/// The value of a fragment at some steps, and its cost.
type Evaluated = (FragmentValue, FragmentStats);

fn value_of(
    rows: Vec<FragmentRow>,
    names_go: bool,
    notes: Vec<Note>,
    stats: &FragmentStats,
    steps: Steps,
) -> FragmentValue {
    let (queryable_samples, queryable_by_step) = (stats.queryable_samples, stats.queryable_by_step.clone());
    FragmentValue { steps, rows, names_go, notes, queryable_samples, queryable_by_step }
}

fn add_stats(total: &mut FragmentStats, one: &FragmentStats) {
    total.samples_read += one.samples_read;
    total.series += one.series;
    total.peak_samples = total.peak_samples.max(one.peak_samples);
    total.peak_bytes = total.peak_bytes.max(one.peak_bytes);
    total.queryable_samples += one.queryable_samples;
    let steps = total.queryable_by_step.len().max(one.queryable_by_step.len());
    total.queryable_by_step.resize(steps, 0);
    total.queryable_by_step.iter_mut().zip(&one.queryable_by_step).for_each(|(a, b)| *a += b);
}

/// What the nodes gave for a segment.
enum Found {
    /// Its value.
    Value(Evaluated),
    /// The value of what the fragment aggregates.
    Argument(Evaluated),
    /// Nothing. This node has to evaluate the steps.
    Nothing,
}

/// A segment after dispatch.
struct EvaluatedSegment {
    steps: Steps,
    found: Found,
    /// The nodes that evaluated it.
    nodes: Vec<Assignment>,
}

impl EvaluatedSegment {
    fn left_to_this_node(steps: Steps) -> Self {
        EvaluatedSegment { steps, found: Found::Nothing, nodes: Vec::new() }
    }
}

/// A fragment after dispatch.
struct EvaluatedFragment<'f> {
    fragment: &'f QueryFragment,
    segments: Vec<EvaluatedSegment>,
    /// Counts what came over the network.
    account: Arc<Budget>,
}

/// What `explain` and `analyze` say about a fragment: names and texts.
type Details = Vec<(&'static str, String)>;

impl ClusterQuery {
    /// Evaluates a query, fragments of it where the samples are.
    pub(crate) fn evaluate(&self, evaluation: &Evaluation<'_>) -> Result<QueryOutput, QueryError> {
        let text = &evaluation.options.text;
        if text.is_empty() {
            return self.evaluate_on_nodes(evaluation);
        }
        let small = &self.dispatcher().cluster.small;
        let key = small::key(&self.dispatcher().tenant, text, evaluation.times);
        if small.contains(key) {
            self.dispatcher().ask_few_nodes(key);
        }
        let output = self.evaluate_on_nodes(evaluation)?;
        small.note(key, output.stats.samples_read, output.stats.series);
        Ok(output)
    }

    fn evaluate_on_nodes(&self, evaluation: &Evaluation<'_>) -> Result<QueryOutput, QueryError> {
        let Evaluation { engine, querier, expr, times, options } = *evaluation;
        let fragments = match &options.budget {
            Some(_) if !options.text.is_empty() => {
                self.dispatcher().timed(Phase::Planning, || evaluation.fragments())?
            }
            _ => Vec::new(),
        };
        let Some(budget) = options.budget.clone().filter(|_| !fragments.is_empty()) else {
            return engine.evaluate_with(querier, expr, times, options, &[]);
        };
        let (precomputed, stats) = self.precompute(evaluation, &fragments, &budget)?;
        let max_series = engine.options().max_series;
        if max_series > 0 && stats.series > max_series as u64 {
            return Err(QueryError::Limit(format!("query selects more than {max_series} series (max_query_series)")));
        }
        let held = precomputed.iter().map(|precomputed| precomputed.value.bytes()).sum();
        budget.take(held)?;
        let output = engine.evaluate_with(querier, expr, times, options, &precomputed);
        budget.give_back(held);
        let mut output = output?;
        output.stats.samples_read += stats.samples_read;
        output.stats.series += stats.series;
        output.stats.peak_samples = output.stats.peak_samples.max(stats.peak_samples);
        (output.stats.bytes_read, output.stats.requests) = budget.reads();
        Ok(output)
    }

    /// The fragments that would be evaluated elsewhere, for a plan: without values.
    pub(crate) fn describe(&self, evaluation: &Evaluation<'_>) -> Result<Vec<Precomputed>, QueryError> {
        let routes = self.dispatcher().routes(&self.all_shards());
        let described = |fragment: QueryFragment| Precomputed {
            pos: fragment.decomposition.pos,
            is_invariant: fragment.is_invariant,
            value: FragmentValue::empty(fragment.steps),
            details: details(&fragment, &routes.assignments),
        };
        Ok(evaluation.fragments()?.into_iter().map(described).collect())
    }

    /// The values of all fragments, and their cost. Fragments of the same text are evaluated once.
    fn precompute(
        &self,
        evaluation: &Evaluation<'_>,
        fragments: &[QueryFragment],
        budget: &Arc<Budget>,
    ) -> Result<(Vec<Precomputed>, FragmentStats), QueryError> {
        let runtime = self.runtime();
        // The first step reads the earliest samples.
        let first = fragments.iter().map(|fragment| fragment.reads(evaluation.times.start).start).min();
        let expected = self.expected_completeness(first.unwrap_or(i64::MIN), budget);
        let complete = runtime.block_on(expected).map_err(query_error)?;
        let mut texts = HashSet::new();
        let distinct = fragments.iter().filter(|fragment| texts.insert(fragment.text.as_str()));
        let evaluating = distinct.map(|fragment| self.evaluate_fragment(evaluation, fragment, &complete, budget));
        let evaluated = runtime.block_on(try_join_all(evaluating)).map_err(query_error)?;
        let (mut values, mut uses) = (HashMap::new(), HashMap::new());
        fragments.iter().for_each(|fragment| *uses.entry(fragment.text.as_str()).or_insert(0usize) += 1);
        let mut total = FragmentStats::default();
        for evaluated in evaluated {
            let fragment = evaluated.fragment;
            if evaluated.segments.iter().all(|segment| matches!(segment.found, Found::Nothing)) {
                // It is evaluated with the rest of the query, which need not hold the value of the whole fragment.
                continue;
            }
            let (value, details) = self.complete_here(evaluation, evaluated, &mut total)?;
            values.insert(fragment.text.as_str(), (fragment.decomposition.pos, value, details));
        }
        let precomputed = fragments.iter().filter_map(|fragment| {
            let text = fragment.text.as_str();
            let left = uses.get_mut(text)?;
            *left -= 1;
            // Values may be large, so the last use takes the value itself.
            let known = if *left == 0 { values.remove(text) } else { values.get(text).cloned() };
            let (pos, mut value, details): (Pos, FragmentValue, Details) = known?;
            let offset = fragment.decomposition.pos.start as i64 - pos.start as i64;
            let shift = |note: &mut Note| note.pos = note.pos.checked_add_signed(offset).unwrap_or(note.pos);
            value.notes.iter_mut().for_each(shift);
            let (pos, is_invariant) = (fragment.decomposition.pos, fragment.is_invariant);
            Some(Precomputed { pos, is_invariant, value, details })
        });
        Ok((precomputed.collect(), total))
    }

    /// Evaluates what no other node could, and joins all segments. Adds the cost to `total`.
    fn complete_here(
        &self,
        evaluation: &Evaluation<'_>,
        evaluated: EvaluatedFragment<'_>,
        total: &mut FragmentStats,
    ) -> Result<(FragmentValue, Details), QueryError> {
        let EvaluatedFragment { fragment, segments, account } = evaluated;
        let (bytes, requests) = account.reads();
        let mut parts = Vec::new();
        let mut nodes = Vec::new();
        let (mut on_samples, mut on_values) = (0, 0);
        for EvaluatedSegment { steps, found, nodes: asked } in segments {
            let (value, stats) = match found {
                Found::Value(evaluated) => evaluated,
                Found::Argument(argument) => {
                    on_values += 1;
                    evaluation.evaluate_here(fragment, steps, Some(argument))?
                }
                Found::Nothing => {
                    on_samples += 1;
                    evaluation.evaluate_here(fragment, steps, None)?
                }
            };
            add_stats(total, &stats);
            parts.push(value);
            nodes.extend(asked);
        }
        let mut details = details(fragment, &nodes);
        details.push(("bytes", bytes.to_string()));
        details.push(("requests", requests.to_string()));
        if on_samples > 0 {
            details.push(("evaluated here", format!("{on_samples} of the part's runs of steps")));
        }
        if on_values > 0 {
            details.push(("aggregated here", format!("{on_values} of the part's runs of steps")));
        }
        Ok((FragmentValue::join(fragment.steps, parts), details))
    }

    /// Has the steps of a fragment evaluated by other nodes, as far as possible.
    async fn evaluate_fragment<'f>(
        &self,
        evaluation: &Evaluation<'_>,
        fragment: &'f QueryFragment,
        complete: &Completeness,
        budget: &Arc<Budget>,
    ) -> Result<EvaluatedFragment<'f>, ReadFailure> {
        let times = fragment.steps;
        let account = budget.part();
        let store_ranges = self.store_ranges(TimeRange::new(times.start, times.end.max(times.start)));
        let Some(segments) = segments(fragment, times, complete, &store_ranges) else {
            let segments = vec![EvaluatedSegment::left_to_this_node(times)];
            return Ok(EvaluatedFragment { fragment, segments, account });
        };
        let each = segments.into_iter().map(|segment| self.evaluate_segment(evaluation, fragment, segment, &account));
        Ok(EvaluatedFragment { fragment, segments: try_join_all(each).await?, account: account.clone() })
    }

    async fn evaluate_segment(
        &self,
        evaluation: &Evaluation<'_>,
        fragment: &QueryFragment,
        Segment { site, steps }: Segment,
        account: &Arc<Budget>,
    ) -> Result<EvaluatedSegment, ReadFailure> {
        let evaluated = match site {
            Site::Local => return Ok(EvaluatedSegment::left_to_this_node(steps)),
            Site::Ingesters => self.evaluate_on_ingesters(evaluation, fragment, steps, account).await,
            Site::Store(store_range) => {
                let target = Target::Blocks(store_range);
                let responses = self.ask(evaluation, (fragment, FragmentForm::Whole), steps, target, account).await;
                responses.map(|responses| segment_of(responses, steps, |mut rows| rows.pop(), Found::Value))
            }
        };
        match evaluated {
            Ok(evaluated) => Ok(evaluated),
            Err(ReadFailure::Fatal(ReadError::Failed(FragmentError::Unsupported(reason)))) => {
                tracing::debug!(fragment = %fragment.text, %reason, "evaluating a fragment on fetched samples");
                Ok(EvaluatedSegment::left_to_this_node(steps))
            }
            Err(failure) => {
                // Fetching reads from stores what the replicas that can answer lack.
                self.fell_short(failure.behind().ok_or(failure)?);
                Ok(EvaluatedSegment::left_to_this_node(steps))
            }
        }
    }

    /// Has ingesters evaluate a segment: its partial values, and what it aggregates where these do not decide its value.
    async fn evaluate_on_ingesters(
        &self,
        evaluation: &Evaluation<'_>,
        fragment: &QueryFragment,
        steps: Steps,
        account: &Arc<Budget>,
    ) -> Result<EvaluatedSegment, ReadFailure> {
        let combine = &fragment.decomposition.combine;
        let ask = |form| self.ask(evaluation, (fragment, form), steps, self.all_shards(), account);
        match ask(FragmentForm::Partial).await {
            Ok(responses) => {
                let merge = |rows| self.dispatcher().timed(Phase::Merging, || combine.apply(rows, steps.count()));
                let segment = segment_of(responses, steps, merge, Found::Value);
                if !matches!(segment.found, Found::Nothing) || fragment.decomposition.argument().is_none() {
                    return Ok(segment);
                }
            }
            Err(ReadFailure::Fatal(ReadError::Failed(FragmentError::Inexact(_)))) => {}
            Err(failure) => return Err(failure),
        }
        let responses = ask(FragmentForm::Argument).await?;
        let merge = |rows| self.dispatcher().timed(Phase::Merging, || Combine::Concatenate.apply(rows, steps.count()));
        Ok(segment_of(responses, steps, merge, Found::Argument))
    }

    /// Asks the nodes of a target for a form of a fragment.
    async fn ask(
        &self,
        evaluation: &Evaluation<'_>,
        (fragment, form): (&QueryFragment, FragmentForm),
        steps: Steps,
        target: Target,
        account: &Arc<Budget>,
    ) -> Result<Responses<FragmentAnswer>, ReadFailure> {
        // The first step reads the earliest samples.
        let required_from = matches!(target, Target::Shards(_)).then(|| fragment.reads(steps.start).start);
        let request = Arc::new(evaluation.request(fragment, steps, form));
        let reading = self.reading(request, account).requiring_from(required_from);
        reading.compared_with(|cluster| &cluster.fragments).targets(vec![target]).await
    }
}

/// A segment that nodes answered. `merge` makes one value of theirs, and returns `None` when they do not decide it.
fn segment_of(
    responses: Responses<FragmentAnswer>,
    steps: Steps,
    merge: impl FnOnce(Vec<Vec<FragmentRow>>) -> Option<Vec<FragmentRow>>,
    found: fn(Evaluated) -> Found,
) -> EvaluatedSegment {
    let mut total = FragmentStats::default();
    let (mut notes, mut nodes) = (Vec::new(), Vec::new());
    let mut names_go = false;
    let mut by_node = Vec::with_capacity(responses.len());
    for (assignment, answer) in responses {
        add_stats(&mut total, &answer.stats);
        notes.extend(answer.notes);
        names_go |= answer.names_go;
        by_node.push(answer.rows);
        nodes.push(assignment);
    }
    let value = merge(by_node).map(|rows| (value_of(rows, names_go, notes, &total, steps), total));
    EvaluatedSegment { steps, found: value.map_or(Found::Nothing, found), nodes }
}

/// What a plan shows of a fragment.
fn details(fragment: &QueryFragment, assignments: &[Assignment]) -> Details {
    let mut details =
        vec![("expression", fragment.text.clone()), ("combine", fragment.decomposition.combine.to_string())];
    let mut ingesters = Vec::new();
    let mut stores = Vec::new();
    for Assignment { member, target } in assignments {
        match target {
            Target::Shards(shards) => ingesters.push(format!("{}: {shards}", member.id)),
            Target::Blocks(_) => stores.push(member.id.clone()),
        }
    }
    if !ingesters.is_empty() {
        details.push(("shards", ingesters.join("; ")));
    }
    if !stores.is_empty() {
        stores.sort();
        stores.dedup();
        details.push(("stores", stores.join(", ")));
    }
    details
}

fn query_error(failure: ReadFailure) -> QueryError {
    match failure {
        ReadFailure::Fatal(ReadError::Failed(error)) => error.into(),
        other => SelectError::from(other).into(),
    }
}

#[cfg(test)]
mod same_answers;
#[cfg(test)]
mod tests;
