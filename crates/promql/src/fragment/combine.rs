//! Combines the answers of several nodes into the value of a fragment.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use pharos_histogram::{CompensatedHistogram, kahan_inc};
use pharos_model::{CounterReset, Histogram, Labels};

use super::Combine;
use crate::eval::{Groups, MatrixSeries};

/// The answer of one node to one partial.
type Answer = Vec<MatrixSeries>;

/// The values of each series and step, one for each node that has one, in the order of nodes.
type Cells = BTreeMap<Labels, BTreeMap<i64, Vec<f64>>>;

impl Combine {
    /// The value of the fragment, in order of labels. `answers` holds the answers of each node, in the order of the partials.
    ///
    /// Returns `None` when the answers cannot be combined into the value that one process would compute: a group mixes
    /// floats and histograms, histograms are incompatible, or two nodes answered with the same series.
    pub fn apply(&self, answers: Vec<Vec<Answer>>) -> Option<Answer> {
        match self {
            Combine::Concatenate => concatenate(answers),
            Combine::Select { k, largest, grouping, without } => {
                select(concatenate(answers)?, *k, *largest, Groups::new(grouping, *without))
            }
            Combine::Add => finish(floats(&answers, 0)?, |_, _, counts| Some(total(counts))),
            Combine::Sum => sum(&answers),
            Combine::Min => fold(&answers, |a, b| if b < a || a.is_nan() { b } else { a }),
            Combine::Max => fold(&answers, |a, b| if b > a || a.is_nan() { b } else { a }),
            Combine::Any => fold(&answers, |a, _| a),
            Combine::Mean => {
                let (sums, counts) = (floats(&answers, 0)?, floats(&answers, 1)?);
                agree(&sums, &counts)?;
                finish(sums, |labels, t, sums| Some(total(sums) / total(counts.get(labels)?.get(&t)?)))
            }
            Combine::Variance { deviation } => {
                let [counts, means, variances] = [floats(&answers, 0)?, floats(&answers, 1)?, floats(&answers, 2)?];
                agree(&means, &counts)?;
                agree(&variances, &counts)?;
                finish(counts, |labels, t, counts| {
                    let at = |cells: &Cells| cells.get(labels)?.get(&t).cloned();
                    let variance = merged_variance(counts, &at(&means)?, &at(&variances)?);
                    Some(if *deviation { variance.sqrt() } else { variance })
                })
            }
        }
    }
}

/// The floats of a partial; `None` when it has histograms.
fn floats(answers: &[Vec<Answer>], partial: usize) -> Option<Cells> {
    let mut cells = Cells::new();
    for series in answers.iter().filter_map(|node| node.get(partial)).flatten() {
        if !series.histograms.is_empty() {
            return None;
        }
        let steps = cells.entry(series.labels.clone()).or_default();
        series.floats.iter().for_each(|(t, value)| steps.entry(*t).or_default().push(*value));
    }
    Some(cells)
}

/// Fails when fewer nodes have a value than have a count: a node whose group mixes floats and histograms has no value.
fn agree(values: &Cells, counts: &Cells) -> Option<()> {
    let answers =
        |cells: &Cells, labels: &Labels, t: i64| cells.get(labels).and_then(|s| s.get(&t)).map_or(0, Vec::len);
    let all = counts.iter().all(|(labels, s)| s.iter().all(|(t, c)| answers(values, labels, *t) == c.len()));
    all.then_some(())
}

fn finish(cells: Cells, value: impl Fn(&Labels, i64, &[f64]) -> Option<f64>) -> Option<Answer> {
    let series = cells.into_iter().map(|(labels, steps)| {
        let floats = steps.iter().filter_map(|(t, values)| Some((*t, value(&labels, *t, values)?))).collect();
        MatrixSeries { labels, floats, histograms: Vec::new() }
    });
    Some(series.filter(|s| !s.is_empty()).collect())
}

fn fold(answers: &[Vec<Answer>], f: impl Fn(f64, f64) -> f64) -> Option<Answer> {
    finish(floats(answers, 0)?, |_, _, values| values.iter().copied().reduce(&f))
}

/// A compensated sum.
fn total(values: &[f64]) -> f64 {
    let (sum, lost) = values.iter().fold((0.0, 0.0), |(sum, lost), v| kahan_inc(*v, sum, lost));
    if sum.is_infinite() { sum } else { sum + lost }
}

/// Sums of floats or of histograms. The partials are sums and counts.
fn sum(answers: &[Vec<Answer>]) -> Option<Answer> {
    let counts = floats(answers, 1)?;
    let mut of_floats = Cells::new();
    let mut of_histograms: BTreeMap<Labels, BTreeMap<i64, Vec<&Histogram>>> = BTreeMap::new();
    for series in answers.iter().filter_map(|node| node.first()).flatten() {
        let steps = of_floats.entry(series.labels.clone()).or_default();
        series.floats.iter().for_each(|(t, v)| steps.entry(*t).or_default().push(*v));
        let steps = of_histograms.entry(series.labels.clone()).or_default();
        series.histograms.iter().for_each(|(t, h)| steps.entry(*t).or_default().push(h));
    }
    for (labels, steps) in &counts {
        for (t, counted) in steps {
            let floats = of_floats.get(labels).and_then(|s| s.get(t)).map_or(0, Vec::len);
            let histograms = of_histograms.get(labels).and_then(|s| s.get(t)).map_or(0, Vec::len);
            if floats + histograms != counted.len() || (floats > 0 && histograms > 0) {
                return None;
            }
        }
    }
    let mut sums = finish(of_floats, |_, _, values| Some(total(values)))?;
    for (labels, steps) in of_histograms.into_iter().filter(|(_, steps)| !steps.is_empty()) {
        let summed: Option<Vec<_>> = steps.into_iter().map(|(t, hs)| Some((t, add_histograms(&hs)?))).collect();
        match sums.binary_search_by(|s| s.labels.cmp(&labels)) {
            Ok(at) => sums[at].histograms = summed?,
            Err(at) => sums.insert(at, MatrixSeries { labels, floats: Vec::new(), histograms: summed? }),
        }
    }
    Some(sums)
}

fn add_histograms(histograms: &[&Histogram]) -> Option<Arc<Histogram>> {
    let (first, rest) = histograms.split_first()?;
    let mut sum = CompensatedHistogram::new(first);
    let reset = |hint: CounterReset| histograms.iter().any(|h| h.counter_reset == hint);
    if reset(CounterReset::Reset) && reset(CounterReset::NotReset) {
        // One process would annotate this.
        return None;
    }
    rest.iter().try_for_each(|h| sum.add(h).ok().filter(|combined| !combined.bounds_reconciled).map(|_| ()))?;
    Some(Arc::new(sum.finish()))
}

/// The overall variance, from the count, mean and variance of each node (Chan et al.).
fn merged_variance(counts: &[f64], means: &[f64], variances: &[f64]) -> f64 {
    let mut n = 0.0;
    let mut mean = 0.0;
    let mut squares = 0.0;
    for ((&m, &node_mean), &variance) in counts.iter().zip(means).zip(variances) {
        let delta = node_mean - mean;
        let all = n + m;
        squares += variance * m + delta * delta * n * m / all;
        mean += delta * m / all;
        n = all;
    }
    squares / n
}

/// All series in order of labels; `None` when two nodes answered with the same series.
fn concatenate(answers: Vec<Vec<Answer>>) -> Option<Answer> {
    let mut all: Answer = answers.into_iter().filter_map(|node| node.into_iter().next()).flatten().collect();
    all.sort_by(|a, b| a.labels.cmp(&b.labels));
    all.is_sorted_by(|a, b| a.labels < b.labels).then_some(all)
}

/// The `k` best series of each group at each step; at a single step, best first. `None` when the last selected value is
/// tied with one that is not selected.
fn select(series: Answer, k: usize, largest: bool, mut groups: Groups) -> Option<Answer> {
    if series.iter().any(|s| !s.histograms.is_empty()) {
        return None;
    }
    let mut cells: BTreeMap<(usize, i64), Vec<(f64, usize)>> = BTreeMap::new();
    for (at, s) in series.iter().enumerate() {
        let (group, _) = groups.of(&s.labels, false);
        s.floats.iter().for_each(|(t, value)| cells.entry((group, *t)).or_default().push((*value, at)));
    }
    let mut selected: Answer =
        series.into_iter().map(|s| MatrixSeries { labels: s.labels, ..MatrixSeries::default() }).collect();
    let mut steps = BTreeSet::new();
    let mut order = Vec::new();
    for ((_, t), mut values) in cells {
        let better = |a: f64, b: f64| if largest { b.partial_cmp(&a) } else { a.partial_cmp(&b) };
        // NaN is selected last.
        values.sort_by(|(a, _), (b, _)| better(*a, *b).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan())));
        if let (Some((last, _)), Some((next, _))) = (values.get(k - 1), values.get(k))
            && (last == next || last.is_nan() && next.is_nan())
        {
            return None;
        }
        steps.insert(t);
        values.iter().take(k).for_each(|(value, at)| selected[*at].floats.push((t, *value)));
        order.extend(values.iter().take(k).map(|(_, at)| *at));
    }
    if steps.len() == 1 {
        return Some(order.into_iter().map(|at| std::mem::take(&mut selected[at])).collect());
    }
    selected.iter_mut().for_each(|s| s.floats.sort_by_key(|(t, _)| *t));
    selected.retain(|s| !s.is_empty());
    Some(selected)
}

#[cfg(test)]
mod tests;
