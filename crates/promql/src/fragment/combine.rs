//! Combines the answers of several nodes into the value of a fragment.
//!
//! Each group gets a number when its labels are first seen. Columns are merged by these numbers, so that labels are looked up
//! once for each node and group, and never for a value.

use hashbrown::HashMap;
use pharos_model::Labels;
use pharos_model::fragment::{FragmentRow, PartialSum};

use super::Combine;
use super::value::order;
use crate::eval::{Groups, add, settled, together};

/// The answer of one node.
type Answer = Vec<FragmentRow>;

impl Combine {
    /// Merges the answers of the nodes, in any order, into the value of the fragment over `steps` steps. Its rows are in the order
    /// in which one process would yield them.
    ///
    /// Returns `None` if the answers do not determine the value that one process would compute.
    pub fn apply(&self, answers: Vec<Answer>, steps: usize) -> Option<Answer> {
        let is_of_floats = |row: &FragmentRow| row.hists.is_empty();
        if *self != Combine::Concatenate && !answers.iter().flatten().all(is_of_floats) {
            return None;
        }
        match self {
            Combine::Concatenate => concatenate(answers),
            Combine::Select { k, largest, grouping, without } => {
                let mut rows = concatenate(answers)?;
                let groups = by_group(&mut rows, Groups::new(grouping, *without));
                select(rows, groups, (*k, *largest), steps)
            }
            Combine::Sum => settle(merged(answers, add_sums)?),
            Combine::Add => merged(answers, |row, other| {
                unite(row, other, |a, b| a + b);
                Some(())
            }),
            Combine::Any => merged(answers, |row, other| {
                unite(row, other, |a, _| a);
                Some(())
            }),
            Combine::Min => merged(answers, |row, other| extreme(row, other, |a, b| b < a)),
            Combine::Max => merged(answers, |row, other| extreme(row, other, |a, b| b > a)),
        }
    }
}

/// Merges the groups of all nodes, in the order of their first series. `merge` adds another node's row to a group.
fn merged(answers: Vec<Answer>, mut merge: impl FnMut(&mut FragmentRow, FragmentRow) -> Option<()>) -> Option<Answer> {
    let groups = answers.iter().map(Vec::len).max().unwrap_or(0);
    let mut index: HashMap<Labels, usize> = HashMap::with_capacity(groups);
    let mut rows: Answer = Vec::with_capacity(groups);
    for row in answers.into_iter().flatten() {
        let group = *index.entry(row.labels.clone()).or_insert(rows.len());
        let Some(known) = rows.get_mut(group) else {
            rows.push(row);
            continue;
        };
        if known.values.len() != row.values.len() {
            return None;
        }
        if (&row.first, row.rank) < (&known.first, known.rank) {
            (known.first, known.rank) = (row.first.clone(), row.rank);
        }
        merge(known, row)?;
    }
    rows.retain(|row| row.present.iter().any(|word| *word != 0));
    rows.sort_by(|a, b| order(a).cmp(&order(b)));
    Some(rows)
}

/// Merges the values of steps that both rows have, and adopts the values of steps that only the other one has.
fn unite(row: &mut FragmentRow, other: FragmentRow, both: impl Fn(f64, f64) -> f64) {
    for (step, value) in other.values.iter().enumerate().filter(|(step, _)| other.has(*step)) {
        row.values[step] = if row.has(step) { both(row.values[step], *value) } else { *value };
    }
    row.present.iter_mut().zip(&other.present).for_each(|(a, b)| *a |= b);
}

/// Keeps the better value of each step. Returns `None` if both are zeros of different signs, where the first series decides.
fn extreme(row: &mut FragmentRow, other: FragmentRow, is_better: impl Fn(f64, f64) -> bool) -> Option<()> {
    let is_zero = |value: f64, sign: f64| value == 0.0 && value.is_sign_negative() == sign.is_sign_negative();
    let differ = |step: usize| {
        let (a, b) = (row.values[step], other.values[step]);
        row.has(step) && other.has(step) && (is_zero(a, 0.0) && is_zero(b, -0.0) || is_zero(a, -0.0) && is_zero(b, 0.0))
    };
    if (0..row.values.len()).any(differ) {
        return None;
    }
    unite(row, other, |a, b| if is_better(a, b) || a.is_nan() { b } else { a });
    Some(())
}

fn add_sums(row: &mut FragmentRow, mut other: FragmentRow) -> Option<()> {
    let (mut mine, theirs) = (row.sum.take()?, other.sum.take()?);
    let len = row.values.len();
    if other.values.len() != len || mine.lost.len() != len || theirs.lost.len() != len {
        return None;
    }
    mine.terms = together(mine.terms, theirs.terms);
    mine.special = with_specials(&mine.special, &theirs.special);
    let is_full = |present: &[u64]| present.iter().map(|word| word.count_ones() as usize).sum::<usize>() == len;
    let both_are_full = is_full(&row.present) && is_full(&other.present);
    for step in 0..len {
        let (value, lost) = (other.values[step], theirs.lost[step]);
        if both_are_full || row.has(step) && other.has(step) {
            (row.values[step], mine.lost[step]) = add(value, row.values[step], mine.lost[step] + lost);
        } else if other.has(step) {
            (row.values[step], mine.lost[step]) = (value, lost);
        }
    }
    row.present.iter_mut().zip(&other.present).for_each(|(a, b)| *a |= b);
    row.sum = Some(mine);
    Some(())
}

/// The sums of infinite and NaN terms of two nodes, by step.
fn with_specials(mine: &[(u32, f64)], theirs: &[(u32, f64)]) -> Vec<(u32, f64)> {
    let mut all: Vec<(u32, f64)> = mine.iter().chain(theirs).copied().collect();
    all.sort_by_key(|(step, _)| *step);
    all.dedup_by(|later, earlier| {
        let same = later.0 == earlier.0;
        if same {
            earlier.1 += later.1;
        }
        same
    });
    all
}

/// Replaces partial sums by sums. Returns `None` if the order of the terms might change one.
fn settle(mut rows: Answer) -> Option<Answer> {
    for row in &mut rows {
        let PartialSum { lost, terms, special } = *row.sum.take()?;
        let mut special = special.into_iter().peekable();
        for step in 0..row.values.len() {
            let special = special.next_if(|(at, _)| *at as usize == step).map(|(_, value)| value);
            if row.has(step) {
                row.values[step] = settled(&terms, row.values[step], *lost.get(step)?, special)?;
            }
        }
    }
    Some(rows)
}

/// All series in the order of their labels. Returns `None` if two nodes answered with the same series.
fn concatenate(answers: Vec<Answer>) -> Option<Answer> {
    let mut all: Answer = answers.into_iter().flatten().collect();
    all.sort_by(|a, b| a.labels.cmp(&b.labels));
    all.is_sorted_by(|a, b| a.labels < b.labels).then_some(all)
}

/// Selects the `k` best series of each group at each step; at a single step, best first. Returns `None` if equal values decide what
/// is selected, or in which order.
fn select(mut rows: Answer, groups: Vec<Vec<usize>>, (k, largest): (usize, bool), steps: usize) -> Option<Answer> {
    let mut chosen: Vec<Vec<u64>> = rows.iter().map(|_| vec![0; steps.div_ceil(64)]).collect();
    let mut selected = Vec::new();
    let better = |a: f64, b: f64| if largest { b.partial_cmp(&a) } else { a.partial_cmp(&b) };
    for group in &groups {
        for step in 0..steps {
            let candidates = group.iter().filter(|at| rows[**at].has(step));
            let mut values: Vec<(f64, usize)> = candidates.map(|at| (rows[*at].values[step], *at)).collect();
            // NaN is selected last.
            values.sort_by(|(a, _), (b, _)| better(*a, *b).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan())));
            let is_tie = |pair: &[(f64, usize)]| pair[0].0 == pair[1].0 || pair[0].0.is_nan() && pair[1].0.is_nan();
            // At a single step, the order of the selected series shows as well.
            let from = if steps == 1 { 0 } else { k - 1 };
            if values.get(from..values.len().min(k + 1)).is_some_and(|deciding| deciding.windows(2).any(is_tie)) {
                return None;
            }
            for (_, at) in values.iter().take(k) {
                chosen[*at][step / 64] |= 1 << (step % 64);
                selected.push(*at);
            }
        }
    }
    if steps > 1 {
        selected = groups.concat();
    }
    let mut take =
        |at: usize| FragmentRow { present: std::mem::take(&mut chosen[at]), ..std::mem::take(&mut rows[at]) };
    let selected = selected.into_iter().map(&mut take);
    Some(selected.filter(|row| row.present.iter().any(|word| *word != 0)).collect())
}

/// The positions of the rows of each group, groups in the order of their first series. Every row learns the first series of its
/// group, which may be on another node.
fn by_group(rows: &mut [FragmentRow], mut groups: Groups) -> Vec<Vec<usize>> {
    let mut members: Vec<Vec<usize>> = Vec::new();
    for (at, row) in rows.iter().enumerate() {
        let (group, new) = groups.of(&row.labels, false);
        if new {
            members.push(Vec::new());
        }
        members[group].push(at);
    }
    for group in &members {
        let first = group.iter().filter_map(|at| rows[*at].first.as_ref()).min().cloned();
        group.iter().for_each(|at| rows[*at].first.clone_from(&first));
    }
    members.sort_by(|a, b| rows[a[0]].first.cmp(&rows[b[0]].first));
    members
}

#[cfg(test)]
mod tests;
