//! Values of fragments, as they take part in the evaluation of the rest of the query.

use hashbrown::HashMap;
use pharos_model::Labels;
use pharos_model::fragment::{FragmentRow, Note, Steps};

use crate::syntax::ast::Pos;

/// The value of a fragment over the steps of its query.
#[derive(Clone, Debug)]
pub struct FragmentValue {
    /// The steps. Every row covers all of them.
    pub steps: Steps,
    /// Its series, in the order in which one process would yield them.
    pub rows: Vec<FragmentRow>,
    /// Whether the operation drops metric names. The rows still have them.
    pub names_go: bool,
    /// The annotations of its evaluation.
    pub notes: Vec<Note>,
    /// The number of samples that its steps looked at.
    pub queryable_samples: u64,
    /// The same for each step; empty unless the query asks for it.
    pub queryable_by_step: Vec<u64>,
}

/// A fragment whose value is already known, because other nodes evaluated it.
#[derive(Clone, Debug)]
pub struct Precomputed {
    /// The fragment's position in the query.
    pub pos: Pos,
    /// Whether the value is the same at all steps. If so, it has only the first step.
    pub is_invariant: bool,
    /// Its value.
    pub value: FragmentValue,
    /// Names and values that a displayed plan shows for the fragment.
    pub details: Vec<(&'static str, String)>,
}

impl FragmentValue {
    /// A value without series.
    pub fn empty(steps: Steps) -> Self {
        FragmentValue {
            steps,
            rows: Vec::new(),
            names_go: false,
            notes: Vec::new(),
            queryable_samples: 0,
            queryable_by_step: Vec::new(),
        }
    }

    /// The approximate memory that it holds, bytes.
    pub fn bytes(&self) -> u64 {
        self.rows.iter().map(FragmentRow::bytes).sum::<usize>() as u64
    }

    /// Joins the values of a fragment over consecutive runs of steps into its value over `steps`.
    pub fn join(steps: Steps, parts: Vec<FragmentValue>) -> Self {
        let mut parts = parts;
        if let [only] = &mut parts[..]
            && only.steps.count() == steps.count()
        {
            let only = std::mem::replace(only, FragmentValue::empty(steps));
            return FragmentValue { steps, ..only };
        }
        let len = steps.count();
        let mut joined = FragmentValue::empty(steps);
        let mut index: HashMap<Labels, usize> = HashMap::new();
        for part in parts {
            let since = part.steps.start.saturating_sub(steps.start);
            let offset = usize::try_from(since / steps.step.max(1)).unwrap_or(usize::MAX);
            joined.names_go |= part.names_go;
            joined.notes.extend(part.notes);
            joined.queryable_samples += part.queryable_samples;
            if !part.queryable_by_step.is_empty() {
                joined.queryable_by_step.resize(len, 0);
                let steps = joined.queryable_by_step.iter_mut().skip(offset);
                steps.zip(part.queryable_by_step).for_each(|(all, n)| *all += n);
            }
            for row in part.rows {
                let at = *index.entry(row.labels.clone()).or_insert(joined.rows.len());
                if at == joined.rows.len() {
                    joined.rows.push(blank(&row, offset, len));
                }
                copy(row, offset, &mut joined.rows[at]);
            }
        }
        joined.rows.sort_by(|a, b| order(a).cmp(&order(b)));
        joined
    }
}

/// The key by which rows are sorted: groups are in the order of their first series.
pub(super) fn order(row: &FragmentRow) -> (&Labels, u32, &Labels) {
    (row.first.as_ref().unwrap_or(&row.labels), row.rank, &row.labels)
}

/// A row without values for the series of another row, whose first step is the step `offset` of the new one.
fn blank(like: &FragmentRow, offset: usize, len: usize) -> FragmentRow {
    FragmentRow {
        labels: like.labels.clone(),
        first: like.first.clone(),
        rank: later(like.rank, offset),
        present: vec![0; len.div_ceil(64)],
        values: vec![0.0; len],
        ..FragmentRow::default()
    }
}

/// Converts a rank, which counts steps, for rows that begin `offset` steps earlier. 0 stands for no rank.
fn later(rank: u32, offset: usize) -> u32 {
    if rank == 0 { 0 } else { rank.saturating_add(u32::try_from(offset).unwrap_or(u32::MAX)) }
}

/// Copies the values of a row into another one from the step `offset` on. Values past its end are dropped.
fn copy(row: FragmentRow, offset: usize, into: &mut FragmentRow) {
    let rank = later(row.rank, offset);
    if (&row.first, rank) < (&into.first, into.rank) {
        (into.first, into.rank) = (row.first.clone(), rank);
    }
    for (step, value) in row.values.iter().enumerate().filter(|(step, _)| row.has(*step)) {
        if let Some(to) = into.values.get_mut(step + offset) {
            *to = *value;
            into.present[(step + offset) / 64] |= 1 << ((step + offset) % 64);
        }
    }
    into.hists.extend(row.hists.into_iter().filter_map(|(step, h)| {
        let step = step as usize + offset;
        (step < into.values.len()).then_some((step as u32, h))
    }));
    into.hists.sort_by_key(|(step, _)| *step);
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    /// The steps 0 to 5.
    const STEPS: Steps = Steps { start: 0, end: 50, step: 10 };

    fn row(name: &str, first: Option<&str>, values: &[Option<f64>]) -> FragmentRow {
        let labels = |name: &str| Labels::from_pairs([("__name__", name)]);
        let mut row = FragmentRow { labels: labels(name), first: first.map(labels), ..FragmentRow::default() };
        row.present = vec![0];
        for (step, value) in values.iter().enumerate() {
            row.values.push(value.unwrap_or(0.0));
            row.present[0] |= u64::from(value.is_some()) << step;
        }
        row
    }

    fn part(start: i64, end: i64, rows: Vec<FragmentRow>) -> FragmentValue {
        let steps = Steps { start, end, step: 10 };
        FragmentValue {
            rows,
            queryable_samples: 1,
            queryable_by_step: vec![7; steps.count()],
            ..FragmentValue::empty(steps)
        }
    }

    #[test]
    fn values_at_other_steps_are_joined_by_series() {
        let mut earlier = row("b", None, &[Some(1.0), None]);
        earlier.hists = vec![(1, Arc::default())];
        let later = vec![row("a", None, &[Some(3.0); 4]), row("b", None, &[None, Some(2.0), None, None])];
        let joined = FragmentValue::join(STEPS, vec![part(0, 10, vec![earlier]), part(20, 50, later)]);
        let shown = |row: &FragmentRow| (0..6).map(|step| row.has(step).then(|| row.values[step])).collect::<Vec<_>>();
        let names: Vec<&str> = joined.rows.iter().map(|row| row.labels.metric_name()).collect();
        assert_eq!(names, ["a", "b"]);
        assert_eq!(shown(&joined.rows[0]), [None, None, Some(3.0), Some(3.0), Some(3.0), Some(3.0)]);
        assert_eq!(shown(&joined.rows[1]), [Some(1.0), None, None, Some(2.0), None, None]);
        assert_eq!(joined.rows[1].hists, [(1, Arc::default())]);
        assert_eq!(joined.queryable_samples, 2);
        assert_eq!(joined.queryable_by_step, [7; 6]);
    }

    #[test]
    fn joined_groups_are_in_the_order_of_their_first_series() {
        let value = [Some(1.0); 3];
        let earlier = part(0, 20, vec![row("a", Some("y"), &value)]);
        let later = part(30, 50, vec![row("b", Some("x"), &value), row("a", Some("z"), &value)]);
        let joined = FragmentValue::join(STEPS, vec![earlier, later]);
        let names: Vec<&str> = joined.rows.iter().map(|row| row.labels.metric_name()).collect();
        assert_eq!(names, ["b", "a"]);
    }

    #[test]
    fn a_single_part_keeps_its_order() {
        let rows = vec![row("b", None, &[Some(1.0); 6]), row("a", None, &[Some(1.0); 6])];
        assert_eq!(FragmentValue::join(STEPS, vec![part(0, 50, rows.clone())]).rows, rows);
    }

    #[test]
    fn memory_grows_with_steps() {
        let bytes = |values: &[Option<f64>]| part(0, 50, vec![row("a", None, values)]).bytes();
        assert_eq!(bytes(&[Some(1.0); 16]) - bytes(&[Some(1.0); 8]), 65);
    }
}
