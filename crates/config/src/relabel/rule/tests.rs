use pharos_model::{Labels, LabelsBuilder};

use super::*;
use crate::RelabelConfig;

fn rule(yaml: &str) -> RelabelRule {
    let config: RelabelConfig = serde_saphyr::from_str(yaml).unwrap();
    RelabelRule::new(config, ValidationScheme::Utf8).unwrap()
}

/// Applies rules to labels; `None` when they drop them.
fn apply(labels: &[(&str, &str)], rules: &[&str]) -> Option<Labels> {
    let mut builder = LabelsBuilder::from_labels(&Labels::from_pairs(labels.iter().copied()));
    let rules: Vec<_> = rules.iter().map(|yaml| rule(yaml)).collect();
    relabel(&rules, &mut builder).then(|| builder.build())
}

const ABC: [(&str, &str); 3] = [("a", "foo"), ("b", "bar"), ("c", "baz")];

fn check(labels: &[(&str, &str)], rules: &[&str], expected: Option<&str>) {
    let got = apply(labels, rules).map(|l| l.to_string());
    assert_eq!(got.as_deref(), expected, "{rules:?}");
}

#[test]
fn replace_expands_groups_of_the_expression() {
    check(
        &ABC,
        &["{source_labels: [a], regex: 'f(.*)', target_label: d, replacement: 'ch${1}-ch${1}', separator: ';'}"],
        Some(r#"{a="foo", b="bar", c="baz", d="choo-choo"}"#),
    );
}

#[test]
fn replace_joins_source_labels_and_sees_earlier_rules() {
    check(
        &ABC,
        &[
            "{source_labels: [a, b], regex: 'f(.*);(.*)r', target_label: a, replacement: 'b${1}${2}m'}",
            "{source_labels: [c, a], regex: '(b).*b(.*)ba(.*)', target_label: d, replacement: '$1$2$2$3'}",
        ],
        Some(r#"{a="boobam", b="bar", c="baz", d="boooom"}"#),
    );
}

#[test]
fn replace_without_a_match_changes_nothing() {
    check(&ABC, &["{source_labels: [a], regex: 'no', target_label: d}"], Some(r#"{a="foo", b="bar", c="baz"}"#));
}

#[test]
fn replace_with_an_empty_value_removes_the_label() {
    check(&ABC, &["{source_labels: [x], target_label: a}"], Some(r#"{b="bar", c="baz"}"#));
    check(&ABC, &["{target_label: a, replacement: ''}"], Some(r#"{b="bar", c="baz"}"#));
}

#[test]
fn replace_without_source_labels_sets_a_constant() {
    check(&ABC, &["{target_label: d, replacement: fixed}"], Some(r#"{a="foo", b="bar", c="baz", d="fixed"}"#));
}

#[test]
fn replace_expands_the_target_label() {
    check(
        &[("a", "some-name-value")],
        &["{source_labels: [a], regex: 'some-([^-]+)-([^,]+)', target_label: '${1}', replacement: '${2}'}"],
        Some(r#"{a="some-name-value", name="value"}"#),
    );
}

#[test]
fn replace_expands_named_groups_and_dollars() {
    check(
        &[("a", "x")],
        &["{source_labels: [a], regex: '(?P<all>.*)', target_label: b, replacement: '${all}-$$-$1x'}"],
        Some(r#"{a="x", b="x-$-"}"#),
    );
}

#[test]
fn replace_accepts_utf8_label_names() {
    check(
        &[("utf.8", "é")],
        &["{source_labels: [utf.8], target_label: 'neu.é'}"],
        Some(r#"{"neu.é"="é", "utf.8"="é"}"#),
    );
}

#[test]
fn replace_skips_a_target_that_expands_to_no_label_name() {
    let yaml = "{source_labels: [a], regex: '(.*)', target_label: '${1}', replacement: x}";
    let config: RelabelConfig = serde_saphyr::from_str(yaml).unwrap();
    let rule = RelabelRule::new(config, ValidationScheme::Legacy).unwrap();
    let mut labels = LabelsBuilder::from_labels(&Labels::from_pairs([("a", "not-a-name")]));
    assert!(rule.apply(&mut labels));
    assert_eq!(labels.build().to_string(), r#"{a="not-a-name"}"#);
}

#[test]
fn rules_after_one_that_drops_are_not_applied() {
    let mut labels = LabelsBuilder::from_labels(&Labels::from_pairs([("a", "x")]));
    let rules = [rule("{source_labels: [a], regex: x, action: drop}"), rule("{target_label: b, replacement: y}")];
    assert!(!relabel(&rules, &mut labels));
    assert_eq!(labels.get("b"), "");
}

#[test]
fn expressions_and_replacements_are_those_of_go() {
    check(
        &[("a", "é-1{,2}")],
        &[
            r"{source_labels: [a], regex: '(\W)-(?P<1st>\d){,2}', target_label: b, replacement: '$1|$01|${1st}|${a b}|$'}",
            r"{source_labels: [a], regex: '\w.*', target_label: c, replacement: x}",
        ],
        Some(r#"{a="é-1{,2}", b="é||1|${a b}|$"}"#),
    );
}

#[test]
fn expressions_that_go_rejects_are_rejected() {
    assert_eq!(compile_regex("a**").unwrap_err(), "error parsing regexp: invalid nested repetition operator: `**`");
}

#[test]
fn expressions_that_need_too_much_memory_are_rejected() {
    assert!(compile_regex("(a{1000}){1000}").is_err());
}

#[test]
fn keep_and_drop_match_the_whole_value() {
    check(&ABC, &["{source_labels: [a], regex: '.*o.*', action: drop}"], None);
    check(&ABC, &["{source_labels: [a], regex: 'o', action: drop}"], Some(r#"{a="foo", b="bar", c="baz"}"#));
    check(&ABC, &["{source_labels: [a], regex: 'no', action: keep}"], None);
    check(&ABC, &["{source_labels: [a], regex: 'f|foo', action: KEEP}"], Some(r#"{a="foo", b="bar", c="baz"}"#));
    check(&[("a", "line\nbreak")], &["{source_labels: [a], regex: 'line.*', action: drop}"], None);
}

#[test]
fn keepequal_and_dropequal_compare_two_labels() {
    let same = [("__tmp_port", "1234"), ("port", "1234")];
    let other = [("__tmp_port", "1234"), ("port", "5678")];
    let keep = "{source_labels: [__tmp_port], target_label: port, action: keepequal}";
    let drop = "{source_labels: [__tmp_port], target_label: port, action: dropequal}";
    assert!(apply(&same, &[keep]).is_some() && apply(&other, &[keep]).is_none());
    assert!(apply(&same, &[drop]).is_none() && apply(&other, &[drop]).is_some());
}

#[test]
fn hashmod_uses_the_tail_of_md5() {
    check(
        &ABC,
        &["{source_labels: [c], target_label: d, action: hashmod, modulus: 1000}"],
        Some(r#"{a="foo", b="bar", c="baz", d="976"}"#),
    );
    check(
        &[("a", "foo\nbar")],
        &["{source_labels: [a], target_label: b, action: hashmod, modulus: 1000}"],
        Some("{a=\"foo\\nbar\", b=\"734\"}"),
    );
}

#[test]
fn labelmap_copies_labels_whose_names_match() {
    check(
        &[("a", "foo"), ("b1", "bar"), ("b2", "baz")],
        &["{regex: '(b.*)', replacement: 'bar_${1}', action: labelmap}"],
        Some(r#"{a="foo", b1="bar", b2="baz", bar_b1="bar", bar_b2="baz"}"#),
    );
    check(
        &[("a", "foo"), ("__meta_my_bar", "aaa"), ("__meta_my_baz", "bbb")],
        &["{regex: '__meta_(my.*)', action: labelmap}"],
        Some(r#"{__meta_my_bar="aaa", __meta_my_baz="bbb", a="foo", my_bar="aaa", my_baz="bbb"}"#),
    );
}

#[test]
fn labeldrop_and_labelkeep_filter_by_name() {
    let labels = [("a", "foo"), ("b1", "bar"), ("b2", "baz")];
    check(&labels, &["{regex: '(b.*)', action: labeldrop}"], Some(r#"{a="foo"}"#));
    check(&labels, &["{regex: '(b.*)', action: labelkeep}"], Some(r#"{b1="bar", b2="baz"}"#));
}

#[test]
fn lowercase_and_uppercase_map_characters_one_to_one() {
    check(
        &[("foo", "bAr123FooßİΑΣᾳ")],
        &[
            "{source_labels: [foo], target_label: up, action: uppercase}",
            "{source_labels: [foo], target_label: low, action: lowercase}",
        ],
        Some(r#"{foo="bAr123FooßİΑΣᾳ", low="bar123fooßiασᾳ", up="BAR123FOOßİΑΣᾼ"}"#),
    );
}
