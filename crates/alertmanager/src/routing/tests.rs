use super::*;
use crate::matcher::Syntax;

fn labels(pairs: &[(&str, &str)]) -> LabelMap {
    pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
}

/// A tree from lines of parent, matchers and whether it continues.
fn tree(lines: &[(usize, &str, bool)]) -> RouteTree {
    let mut routes = vec![Route::defaults()];
    for (parent, matchers, continues) in lines {
        let matchers = Syntax::Both.matchers(matchers, "test").unwrap();
        let child = Route { continues: *continues, ..routes[*parent].child(matchers) };
        let at = routes.len();
        routes[*parent].children.push(at);
        routes.push(child);
    }
    RouteTree(routes)
}

#[test]
fn the_deepest_routes_that_match_are_taken() {
    let tree =
        tree(&[(0, "team=a", false), (1, "env=prod", true), (1, "env=~\"p.*\"", false), (0, "team=~\".+\"", false)]);
    assert_eq!(tree.matching(&labels(&[])), [0]);
    assert_eq!(tree.matching(&labels(&[("team", "a")])), [1]);
    assert_eq!(tree.matching(&labels(&[("team", "a"), ("env", "prod")])), [2, 3]);
    assert_eq!(tree.matching(&labels(&[("team", "b")])), [4]);
}

#[test]
fn the_key_of_a_route_has_the_matchers_of_its_parents() {
    let tree = tree(&[(0, "team=a", false), (1, "env=prod", false)]);
    assert_eq!(tree.0[2].key, "{}/{team=\"a\"}/{env=\"prod\"}");
}

#[test]
fn a_group_has_the_labels_that_the_alert_has() {
    let alert = labels(&[("a", "1"), ("b", "2")]);
    let by = |names: &[&str]| GroupBy::Labels(names.iter().map(ToString::to_string).collect());
    assert_eq!(by(&["b", "c"]).labels_of(&alert), labels(&[("b", "2")]));
    assert_eq!(by(&[]).labels_of(&alert), labels(&[]));
    assert_eq!(GroupBy::All.labels_of(&alert), alert);
    assert_eq!(label_text(&alert), "{a=\"1\", b=\"2\"}");
}
