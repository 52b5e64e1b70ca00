//! Evaluates fragments of a query where the samples are.
//!
//! The steps of a fragment fall into three kinds. Where ingesters have all samples that a step reads, they evaluate it, each
//! over the shards that it answers for, and [`Combine`](pharos_promql::fragment::Combine) merges their values. Where all of
//! these samples are in blocks, the store of the step's time range evaluates it over all shards. This node evaluates steps that
//! read across the seam, and values that cannot be combined exactly, on fetched samples. The values of fragments then take
//! part in the evaluation of the rest of the query.
//!
//! Invariant: a fragment has the value that it has in one process, up to the rounding of sums.

mod segments;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use futures::future::try_join_all;
use pharos_model::fragment::{FragmentStats, Note, Steps};
use pharos_model::{Budget, Fragment, FragmentAnswer, FragmentError, SelectError, TimeRange};
use pharos_promql::fragment::{self, FragmentValue, Precomputed, QueryFragment};
use pharos_promql::syntax::ast::Expr;
use pharos_promql::{Engine, MatrixSeries, Querier, QueryError, QueryOptions, QueryOutput};
use pharos_transport::Completeness;
use pharos_transport::query::ReadError;

use super::cluster_query::ClusterQuery;
use super::dispatch::{ReadFailure, Responses};
use super::route::{Assignment, Target};
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

    /// The request for some steps of a fragment: for its value, or for the partial values of which it is combined.
    fn request(&self, fragment: &QueryFragment, steps: Steps, is_whole: bool) -> Fragment {
        let options = self.engine.options();
        let partials = || fragment.decomposition.partials.iter().map(ToString::to_string).collect();
        Fragment {
            query: self.options.text.clone(),
            place: fragment.decomposition.pos.start..fragment.decomposition.pos.end,
            expressions: if is_whole { vec![fragment.text.clone()] } else { partials() },
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

    /// Evaluates steps of a fragment on fetched samples.
    fn evaluate_locally(
        &self,
        fragment: &QueryFragment,
        steps: Steps,
    ) -> Result<(FragmentValue, FragmentStats), QueryError> {
        let answer = self.engine.evaluate_fragment(self.querier, fragment, self.times, steps, self.options)?;
        let NodeValues { mut values, notes, stats } = NodeValues::from(answer);
        let (series, names_go) = values.pop().unwrap_or_default();
        Ok((value_of(series, names_go, notes, &stats, steps), stats))
    }
}

/// The answer of one node.
struct NodeValues {
    /// By expression, with whether the metric names are dropped.
    values: Vec<(Vec<MatrixSeries>, bool)>,
    notes: Vec<Note>,
    stats: FragmentStats,
}

impl From<FragmentAnswer> for NodeValues {
    fn from(answer: FragmentAnswer) -> Self {
        let values = answer.results.into_iter().map(|result| {
            let names_go = result.names_go;
            (fragment::from_result(result), names_go)
        });
        NodeValues { values: values.collect(), notes: answer.notes, stats: answer.stats }
    }
}

fn value_of(
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

/// A segment after dispatch.
struct EvaluatedSegment {
    steps: Steps,
    /// `None` when this node has to evaluate the steps.
    value: Option<(FragmentValue, FragmentStats)>,
    /// The nodes that evaluated it.
    nodes: Vec<Assignment>,
}

impl EvaluatedSegment {
    fn left_to_this_node(steps: Steps) -> Self {
        EvaluatedSegment { steps, value: None, nodes: Vec::new() }
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
        let Evaluation { engine, querier, expr, times, options } = *evaluation;
        let fragments = match &options.budget {
            Some(_) if !options.text.is_empty() => evaluation.fragments()?,
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
            value: FragmentValue::default(),
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
        let mut values = HashMap::new();
        let mut total = FragmentStats::default();
        for evaluated in evaluated {
            let fragment = evaluated.fragment;
            let (value, details) = self.complete_locally(evaluation, evaluated, &mut total)?;
            values.insert(fragment.text.as_str(), (fragment.decomposition.pos, value, details));
        }
        let precomputed = fragments.iter().filter_map(|fragment| {
            let (pos, value, details) = values.get(fragment.text.as_str())?;
            let mut value = value.clone();
            let offset = fragment.decomposition.pos.start as i64 - pos.start as i64;
            let shift = |note: &mut Note| note.pos = note.pos.checked_add_signed(offset).unwrap_or(note.pos);
            value.notes.iter_mut().for_each(shift);
            Some(Precomputed { pos: fragment.decomposition.pos, value, details: details.clone() })
        });
        Ok((precomputed.collect(), total))
    }

    /// Evaluates the segments that no other node could, and joins all of them. Adds the cost to `total`.
    fn complete_locally(
        &self,
        evaluation: &Evaluation<'_>,
        evaluated: EvaluatedFragment<'_>,
        total: &mut FragmentStats,
    ) -> Result<(FragmentValue, Details), QueryError> {
        let EvaluatedFragment { fragment, segments, account } = evaluated;
        let (bytes, requests) = account.reads();
        let mut value = FragmentValue::default();
        let mut nodes = Vec::new();
        let mut local_segments = 0;
        for segment in segments {
            let (of_segment, stats) = match segment.value {
                Some(evaluated) => evaluated,
                None => {
                    local_segments += 1;
                    evaluation.evaluate_locally(fragment, segment.steps)?
                }
            };
            add_stats(total, &stats);
            value.extend(of_segment);
            nodes.extend(segment.nodes);
        }
        let mut details = details(fragment, &nodes);
        details.push(("bytes", bytes.to_string()));
        details.push(("requests", requests.to_string()));
        if local_segments > 0 {
            details.push(("evaluated here", format!("{local_segments} of the part's runs of steps")));
        }
        Ok((value, details))
    }

    /// Has the steps of a fragment evaluated by other nodes, as far as possible.
    async fn evaluate_fragment<'f>(
        &self,
        evaluation: &Evaluation<'_>,
        fragment: &'f QueryFragment,
        complete: &Completeness,
        budget: &Arc<Budget>,
    ) -> Result<EvaluatedFragment<'f>, ReadFailure> {
        let times = evaluation.times;
        let account = budget.part();
        let store_ranges = self.store_ranges(TimeRange::new(times.start, times.end.max(times.start)));
        let Some(segments) = segments(fragment, times, complete, &store_ranges) else {
            return Ok(EvaluatedFragment {
                fragment,
                segments: vec![EvaluatedSegment::left_to_this_node(times)],
                account,
            });
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
        let is_whole = site != Site::Ingesters;
        let target = match site {
            Site::Local => return Ok(EvaluatedSegment::left_to_this_node(steps)),
            Site::Ingesters => self.all_shards(),
            Site::Store(store_range) => Target::Blocks(store_range),
        };
        let request = Arc::new(evaluation.request(fragment, steps, is_whole));
        // The first step reads the earliest samples.
        let required_from = (!is_whole).then(|| fragment.reads(steps.start).start);
        let reading = self.reading(request, account).requiring_from(required_from);
        match reading.compared_with(|cluster| &cluster.fragments).targets(vec![target]).await {
            Ok(responses) => {
                let nodes = responses.iter().map(|(assignment, _)| assignment.clone()).collect();
                Ok(EvaluatedSegment { steps, value: combine(fragment, is_whole, steps, responses), nodes })
            }
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
}

/// Combines the answers of nodes. `None` when they cannot be combined exactly.
fn combine(
    fragment: &QueryFragment,
    is_whole: bool,
    steps: Steps,
    responses: Responses<FragmentAnswer>,
) -> Option<(FragmentValue, FragmentStats)> {
    let mut total = FragmentStats::default();
    let mut notes = Vec::new();
    let mut names_go = false;
    let mut by_node = Vec::with_capacity(responses.len());
    for (_, answer) in responses {
        let of_node = NodeValues::from(answer);
        add_stats(&mut total, &of_node.stats);
        notes.extend(of_node.notes);
        names_go |= of_node.values.iter().any(|(series, names_go)| *names_go && !series.is_empty());
        by_node.push(of_node.values.into_iter().map(|(series, _)| series).collect::<Vec<_>>());
    }
    let series = match is_whole {
        true => by_node.pop()?.pop()?,
        false => fragment.decomposition.combine.apply(by_node)?,
    };
    Some((value_of(series, names_go, notes, &total, steps), total))
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
mod tests;
