//! Tests of combining answers by hand; that random ones equal those of one process is tested above.

use std::sync::Arc;

use pharos_model::Histogram;
use pharos_model::fragment::Terms;

use super::*;

/// A series with floats at steps 0, 1 and so on; `None` leaves a step out.
fn series_of(group: &str, values: &[Option<f64>]) -> FragmentRow {
    let labels = Labels::from_pairs([("g", group)]);
    let mut row = FragmentRow { first: Some(labels.clone()), labels, present: vec![0], ..FragmentRow::default() };
    for (step, value) in values.iter().enumerate() {
        row.values.push(value.unwrap_or(0.0));
        row.present[0] |= u64::from(value.is_some()) << step;
    }
    row
}

fn series(group: &str, values: &[f64]) -> FragmentRow {
    series_of(group, &values.iter().copied().map(Some).collect::<Vec<_>>())
}

fn starting_with(first: &str, row: FragmentRow) -> FragmentRow {
    FragmentRow { first: Some(Labels::from_pairs([("first", first)])), ..row }
}

fn histogram(group: &str) -> FragmentRow {
    FragmentRow { hists: vec![(0, Arc::new(Histogram::default()))], ..series_of(group, &[None]) }
}

fn sum(group: &str, values: &[Option<f64>]) -> FragmentRow {
    let largest = values.iter().flatten().fold(0.0, |a: f64, b| a.max(b.abs()));
    let terms = Terms { count: 1, magnitude: largest, smallest: 1e-3 };
    let sum = PartialSum { lost: vec![0.0; values.len()], terms, special: Vec::new() };
    FragmentRow { sum: Some(Box::new(sum)), ..series_of(group, values) }
}

/// The labels and values of a combined answer.
fn shown(answer: Option<Answer>) -> Option<Vec<(String, Vec<Option<f64>>)>> {
    let values = |row: &FragmentRow| (0..row.values.len()).map(|s| row.has(s).then(|| row.values[s])).collect();
    answer.map(|rows| rows.iter().map(|row| (row.labels.get("g").unwrap_or("").to_string(), values(row))).collect())
}

fn combine(combine: &Combine, nodes: Vec<Answer>) -> Option<Answer> {
    let steps = nodes.iter().flatten().map(|row| row.values.len()).max().unwrap_or(1);
    combine.apply(nodes, steps)
}

fn expected(rows: &[(&str, &[Option<f64>])]) -> Option<Vec<(String, Vec<Option<f64>>)>> {
    Some(rows.iter().map(|(group, values)| (group.to_string(), values.to_vec())).collect())
}

fn top(k: usize) -> Combine {
    Combine::Select { k, largest: true, grouping: Vec::new(), without: false }
}

#[test]
fn series_of_different_nodes_are_concatenated_in_order() {
    let nodes = vec![vec![series("b", &[1.0])], vec![series("a", &[2.0])], vec![]];
    let found = shown(combine(&Combine::Concatenate, nodes));
    assert_eq!(found, expected(&[("a", &[Some(2.0)]), ("b", &[Some(1.0)])]));
}

#[test]
fn a_series_of_two_nodes_is_not_concatenated() {
    let nodes = vec![vec![series("a", &[1.0])], vec![series("a", &[2.0])]];
    assert_eq!(combine(&Combine::Concatenate, nodes), None);
}

#[test]
fn counts_are_added_step_by_step() {
    let nodes =
        vec![vec![series_of("a", &[Some(1.0), None])], vec![series("a", &[2.0, 5.0]), series("b", &[7.0, 8.0])]];
    let found = shown(combine(&Combine::Add, nodes));
    assert_eq!(found, expected(&[("a", &[Some(3.0), Some(5.0)]), ("b", &[Some(7.0), Some(8.0)])]));
}

#[test]
fn groups_are_in_the_order_of_their_first_series_on_any_node() {
    let nodes = vec![
        vec![starting_with("2", series("a", &[1.0])), starting_with("3", series("b", &[1.0]))],
        vec![starting_with("1", series("b", &[1.0]))],
    ];
    let found = shown(combine(&Combine::Add, nodes));
    assert_eq!(found, expected(&[("b", &[Some(2.0)]), ("a", &[Some(1.0)])]));
}

#[test]
fn extremes_are_those_of_all_nodes() {
    let nodes = || vec![vec![series("a", &[1.0, 9.0])], vec![series("a", &[4.0, 5.0])]];
    assert_eq!(shown(combine(&Combine::Min, nodes())), expected(&[("a", &[Some(1.0), Some(5.0)])]));
    assert_eq!(shown(combine(&Combine::Max, nodes())), expected(&[("a", &[Some(4.0), Some(9.0)])]));
}

#[test]
fn extremes_prefer_numbers_to_nan() {
    for pair in [[f64::NAN, 3.0], [3.0, f64::NAN]] {
        let nodes = || pair.iter().map(|value| vec![series("a", &[*value])]).collect();
        assert_eq!(shown(combine(&Combine::Min, nodes())), expected(&[("a", &[Some(3.0)])]));
        assert_eq!(shown(combine(&Combine::Max, nodes())), expected(&[("a", &[Some(3.0)])]));
    }
}

#[test]
fn zeros_of_both_signs_are_not_combined() {
    let nodes = |a: f64, b: f64| vec![vec![series("a", &[a])], vec![series("a", &[b])]];
    assert_eq!(combine(&Combine::Min, nodes(0.0, -0.0)), None);
    assert_eq!(combine(&Combine::Max, nodes(-0.0, 0.0)), None);
    assert!(combine(&Combine::Max, nodes(-0.0, -0.0)).unwrap()[0].values[0].is_sign_negative());
    assert!(combine(&Combine::Max, nodes(0.0, 1.0)).is_some());
}

#[test]
fn groups_of_several_nodes_are_one_group() {
    let nodes = vec![vec![series("a", &[1.0])], vec![series("a", &[1.0])]];
    assert_eq!(shown(combine(&Combine::Any, nodes)), expected(&[("a", &[Some(1.0)])]));
}

#[test]
fn sums_are_added_with_what_they_lost() {
    let nodes = vec![vec![sum("a", &[Some(1.0), None, Some(0.1)])], vec![sum("a", &[Some(2.0), Some(5.0), Some(0.2)])]];
    let found = shown(combine(&Combine::Sum, nodes));
    assert_eq!(found, expected(&[("a", &[Some(3.0), Some(5.0), Some(0.1 + 0.2)])]));
}

#[test]
fn sums_that_depend_on_the_order_of_terms_are_not_combined() {
    let nodes = vec![vec![sum("a", &[Some(1e300)])], vec![sum("a", &[Some(-1e300)])]];
    assert_eq!(combine(&Combine::Sum, nodes), None);
}

#[test]
fn sums_without_what_they_lost_are_not_combined() {
    assert_eq!(combine(&Combine::Sum, vec![vec![series("a", &[1.0])], vec![sum("a", &[Some(1.0)])]]), None);
}

#[test]
fn infinite_terms_of_several_nodes_are_added() {
    let node = |value: f64| {
        let mut row = sum("a", &[Some(value), Some(1.0)]);
        let partial = row.sum.as_mut().unwrap();
        partial.special = vec![(0, value)];
        partial.terms.magnitude = 1.0;
        vec![row]
    };
    let values = |nodes| combine(&Combine::Sum, nodes).unwrap()[0].values.clone();
    assert_eq!(values(vec![node(f64::INFINITY), node(f64::INFINITY)]), [f64::INFINITY, 2.0]);
    assert!(values(vec![node(f64::INFINITY), node(f64::NEG_INFINITY)])[0].is_nan());
}

#[test]
fn rows_of_different_lengths_are_not_combined() {
    let nodes = || vec![vec![series("a", &[1.0])], vec![series("a", &[1.0, 2.0])]];
    for operation in [Combine::Add, Combine::Min, Combine::Max, Combine::Any] {
        assert_eq!(combine(&operation, nodes()), None, "{operation}");
    }
}

#[test]
fn histograms_are_only_concatenated() {
    for operation in [Combine::Add, Combine::Sum, Combine::Min, Combine::Any, top(1)] {
        assert_eq!(combine(&operation, vec![vec![histogram("a")], vec![]]), None, "{operation}");
    }
    assert!(combine(&Combine::Concatenate, vec![vec![histogram("a")], vec![]]).is_some());
}

#[test]
fn the_best_of_all_nodes_are_selected_best_first() {
    let nodes = vec![vec![series("a", &[1.0]), series("b", &[7.0])], vec![series("c", &[5.0])]];
    assert_eq!(shown(combine(&top(2), nodes)), expected(&[("b", &[Some(7.0)]), ("c", &[Some(5.0)])]));
}

#[test]
fn each_step_selects_for_itself() {
    let nodes = vec![vec![series("a", &[1.0, 9.0])], vec![series("b", &[7.0, 2.0])]];
    assert_eq!(shown(combine(&top(1), nodes)), expected(&[("a", &[None, Some(9.0)]), ("b", &[Some(7.0), None])]));
}

#[test]
fn a_tie_at_the_edge_of_the_selection_is_not_combined() {
    let nodes = || vec![vec![series("a", &[5.0, 5.0]), series("b", &[7.0, 7.0])], vec![series("c", &[5.0, 5.0])]];
    assert_eq!(combine(&top(2), nodes()), None);
    assert!(combine(&top(1), nodes()).is_some());
    assert!(combine(&top(3), nodes()).is_some());
}

#[test]
fn a_tie_within_the_selection_matters_where_the_order_shows() {
    let nodes = |values: &[f64]| vec![vec![series("a", values)], vec![series("c", values)]];
    assert_eq!(combine(&top(3), nodes(&[5.0])), None);
    assert!(combine(&top(3), nodes(&[5.0, 5.0])).is_some());
}

#[test]
fn the_smallest_are_selected_for_each_group() {
    let bottom = Combine::Select { k: 1, largest: false, grouping: vec!["g".into()], without: false };
    let nodes =
        vec![vec![starting_with("2", series("a", &[5.0, 5.0]))], vec![starting_with("1", series("b", &[3.0, 3.0]))]];
    let found = shown(combine(&bottom, nodes));
    assert_eq!(found, expected(&[("b", &[Some(3.0), Some(3.0)]), ("a", &[Some(5.0), Some(5.0)])]));
}

#[test]
fn no_answers_combine_to_nothing() {
    for operation in [Combine::Concatenate, Combine::Add, Combine::Sum, Combine::Min, Combine::Any, top(1)] {
        assert_eq!(combine(&operation, vec![vec![], vec![]]), Some(vec![]), "{operation}");
    }
}
