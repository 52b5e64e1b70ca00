//! Tests of combining answers by hand; that random ones equal those of one process is tested above.

use super::*;

/// A series with floats at steps 0, 1 and so on; NaN leaves a step out.
fn series(group: &str, values: &[f64]) -> MatrixSeries {
    let floats = values.iter().enumerate().filter(|(_, v)| !v.is_nan()).map(|(t, v)| (t as i64, *v)).collect();
    MatrixSeries { labels: Labels::from_pairs([("g", group)]), floats, histograms: Vec::new() }
}

fn histogram(group: &str, count: f64) -> MatrixSeries {
    let h = Arc::new(Histogram { count, zero_count: count, ..Histogram::default() });
    MatrixSeries { labels: Labels::from_pairs([("g", group)]), floats: Vec::new(), histograms: vec![(0, h)] }
}

/// Combines the answers of nodes to a single partial.
fn combine(combine: &Combine, nodes: Vec<Answer>) -> Option<Answer> {
    combine.apply(nodes.into_iter().map(|answer| vec![answer]).collect())
}

fn top(k: usize) -> Combine {
    Combine::Select { k, largest: true, grouping: Vec::new(), without: false }
}

#[test]
fn series_of_different_nodes_are_concatenated_in_order() {
    let nodes = vec![vec![series("b", &[1.0])], vec![series("a", &[2.0])], vec![]];
    assert_eq!(combine(&Combine::Concatenate, nodes), Some(vec![series("a", &[2.0]), series("b", &[1.0])]));
}

#[test]
fn a_series_of_two_nodes_is_not_concatenated() {
    let nodes = vec![vec![series("a", &[1.0])], vec![series("a", &[2.0])]];
    assert_eq!(combine(&Combine::Concatenate, nodes), None);
}

#[test]
fn counts_are_added_step_by_step() {
    let nodes = vec![vec![series("a", &[1.0, f64::NAN])], vec![series("a", &[2.0, 5.0]), series("b", &[7.0])]];
    assert_eq!(combine(&Combine::Add, nodes), Some(vec![series("a", &[3.0, 5.0]), series("b", &[7.0])]));
}

#[test]
fn extremes_are_those_of_all_nodes() {
    let nodes = || vec![vec![series("a", &[1.0, 9.0])], vec![series("a", &[4.0, 5.0])]];
    assert_eq!(combine(&Combine::Min, nodes()), Some(vec![series("a", &[1.0, 5.0])]));
    assert_eq!(combine(&Combine::Max, nodes()), Some(vec![series("a", &[4.0, 9.0])]));
}

#[test]
fn extremes_prefer_numbers_to_nan() {
    let nan = MatrixSeries { floats: vec![(0, f64::NAN)], ..series("a", &[]) };
    for pair in [[nan.clone(), series("a", &[3.0])], [series("a", &[3.0]), nan]] {
        let nodes = || pair.iter().map(|series| vec![series.clone()]).collect();
        assert_eq!(combine(&Combine::Min, nodes()), Some(vec![series("a", &[3.0])]));
        assert_eq!(combine(&Combine::Max, nodes()), Some(vec![series("a", &[3.0])]));
    }
}

#[test]
fn groups_of_several_nodes_are_one_group() {
    let nodes = vec![vec![series("a", &[1.0])], vec![series("a", &[1.0])]];
    assert_eq!(combine(&Combine::Any, nodes), Some(vec![series("a", &[1.0])]));
}

#[test]
fn a_mean_is_the_sum_by_the_count() {
    let node = |sum: f64, count: f64| vec![vec![series("a", &[sum])], vec![series("a", &[count])]];
    assert_eq!(Combine::Mean.apply(vec![node(10.0, 2.0), node(5.0, 1.0)]), Some(vec![series("a", &[5.0])]));
}

#[test]
fn a_variance_combines_counts_means_and_variances() {
    // 1 and 3 on one node, 5 on the other: the mean is 3, the variance 8/3.
    let node = |count: f64, mean: f64, variance: f64| {
        [count, mean, variance].map(|value| vec![series("a", &[value])]).to_vec()
    };
    let nodes = || vec![node(2.0, 2.0, 1.0), node(1.0, 5.0, 0.0)];
    let value = |deviation: bool| Combine::Variance { deviation }.apply(nodes()).unwrap()[0].floats[0].1;
    assert!((value(false) - 8.0 / 3.0).abs() < 1e-12);
    assert!((value(true) - (8.0f64 / 3.0).sqrt()).abs() < 1e-12);
}

#[test]
fn a_sum_of_which_a_node_has_only_the_count_is_not_combined() {
    let complete = vec![vec![series("a", &[1.0])], vec![series("a", &[1.0])]];
    let mixed = vec![vec![], vec![series("a", &[2.0])]];
    assert!(Combine::Sum.apply(vec![complete.clone()]).is_some());
    assert_eq!(Combine::Sum.apply(vec![complete.clone(), mixed.clone()]), None);
    assert_eq!(Combine::Mean.apply(vec![complete, mixed]), None);
}

#[test]
fn sums_of_histograms_are_added() {
    let node = |count: f64| vec![vec![histogram("a", count)], vec![series("a", &[1.0])]];
    let sum = Combine::Sum.apply(vec![node(2.0), node(3.0)]).unwrap();
    assert_eq!(sum[0].histograms[0].1.count, 5.0);
}

#[test]
fn floats_and_histograms_of_one_group_are_not_combined() {
    let floats = vec![vec![series("a", &[1.0])], vec![series("a", &[1.0])]];
    let histograms = vec![vec![histogram("a", 2.0)], vec![series("a", &[1.0])]];
    assert_eq!(Combine::Sum.apply(vec![floats, histograms]), None);
    assert_eq!(combine(&Combine::Add, vec![vec![histogram("a", 2.0)]]), None);
    assert_eq!(combine(&top(1), vec![vec![histogram("a", 2.0)]]), None);
}

#[test]
fn the_best_of_all_nodes_are_selected_best_first() {
    let nodes = vec![vec![series("a", &[1.0]), series("b", &[7.0])], vec![series("c", &[5.0])]];
    assert_eq!(combine(&top(2), nodes), Some(vec![series("b", &[7.0]), series("c", &[5.0])]));
}

#[test]
fn each_step_selects_for_itself() {
    let nodes = vec![vec![series("a", &[1.0, 9.0])], vec![series("b", &[7.0, 2.0])]];
    let expected = vec![series("a", &[f64::NAN, 9.0]), series("b", &[7.0])];
    assert_eq!(combine(&top(1), nodes), Some(expected));
}

#[test]
fn a_tie_at_the_edge_of_the_selection_is_not_combined() {
    let nodes = || vec![vec![series("a", &[5.0]), series("b", &[7.0])], vec![series("c", &[5.0])]];
    assert_eq!(combine(&top(2), nodes()), None);
    assert!(combine(&top(1), nodes()).is_some());
    assert!(combine(&top(3), nodes()).is_some());
}

#[test]
fn the_smallest_are_selected_for_each_group() {
    let bottom = Combine::Select { k: 1, largest: false, grouping: vec!["g".into()], without: false };
    let nodes = vec![vec![series("a", &[5.0])], vec![series("b", &[3.0])]];
    assert_eq!(combine(&bottom, nodes).unwrap().len(), 2);
}

#[test]
fn no_answers_combine_to_nothing() {
    for operation in [Combine::Concatenate, Combine::Add, Combine::Min, Combine::Any, top(1)] {
        assert_eq!(combine(&operation, vec![vec![], vec![]]), Some(vec![]), "{operation}");
    }
}
