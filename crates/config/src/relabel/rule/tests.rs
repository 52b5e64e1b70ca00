use pharos_model::{Labels, LabelsBuilder};

use super::*;
use crate::RelabelConfig;

fn rule(yaml: &str) -> RelabelRule {
    let config: RelabelConfig = serde_saphyr::from_str(yaml).unwrap();
    RelabelRule::new(config, ValidationScheme::Utf8).unwrap()
}

/// Applies rules to `{a="foo", b="bar", c="baz"}` and more; `None` when they drop it.
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
fn replace() {
    check(
        &ABC,
        &["{source_labels: [a], regex: 'f(.*)', target_label: d, replacement: 'ch${1}-ch${1}', separator: ';'}"],
        Some(r#"{a="foo", b="bar", c="baz", d="choo-choo"}"#),
    );
    check(
        &ABC,
        &[
            "{source_labels: [a, b], regex: 'f(.*);(.*)r', target_label: a, replacement: 'b${1}${2}m'}",
            "{source_labels: [c, a], regex: '(b).*b(.*)ba(.*)', target_label: d, replacement: '$1$2$2$3'}",
        ],
        Some(r#"{a="boobam", b="bar", c="baz", d="boooom"}"#),
    );
    check(&ABC, &["{source_labels: [a], regex: 'no', target_label: d}"], Some(r#"{a="foo", b="bar", c="baz"}"#));
    check(&ABC, &["{source_labels: [x], target_label: a}"], Some(r#"{b="bar", c="baz"}"#));
    check(&ABC, &["{target_label: d, replacement: fixed}"], Some(r#"{a="foo", b="bar", c="baz", d="fixed"}"#));
    check(&ABC, &["{target_label: a, replacement: ''}"], Some(r#"{b="bar", c="baz"}"#));
    check(
        &[("a", "some-name-value")],
        &["{source_labels: [a], regex: 'some-([^-]+)-([^,]+)', target_label: '${1}', replacement: '${2}'}"],
        Some(r#"{a="some-name-value", name="value"}"#),
    );
    check(
        &[("a", "x")],
        &["{source_labels: [a], regex: '(?P<all>.*)', target_label: b, replacement: '${all}-$$-$1x'}"],
        Some(r#"{a="x", b="x-$-"}"#),
    );
    check(
        &[("utf.8", "é")],
        &["{source_labels: [utf.8], target_label: 'neu.é'}"],
        Some(r#"{"neu.é"="é", "utf.8"="é"}"#),
    );
}

#[test]
fn expressions_and_replacements_are_gos() {
    check(
        &[("a", "é-1{,2}")],
        &[
            r"{source_labels: [a], regex: '(\W)-(?P<1st>\d){,2}', target_label: b, replacement: '$1|$01|${1st}|${a b}|$'}",
            r"{source_labels: [a], regex: '\w.*', target_label: c, replacement: x}",
        ],
        Some(r#"{a="é-1{,2}", b="é||1|${a b}|$"}"#),
    );
    assert_eq!(compile_regex("a**").unwrap_err(), "error parsing regexp: invalid nested repetition operator: `**`");
    assert!(compile_regex("(a{1000}){1000}").is_err(), "bounded memory");
}

#[test]
fn keep_and_drop() {
    check(&ABC, &["{source_labels: [a], regex: '.*o.*', action: drop}"], None);
    check(&ABC, &["{source_labels: [a], regex: 'o', action: drop}"], Some(r#"{a="foo", b="bar", c="baz"}"#));
    check(&ABC, &["{source_labels: [a], regex: 'no', action: keep}"], None);
    check(&ABC, &["{source_labels: [a], regex: 'f|foo', action: KEEP}"], Some(r#"{a="foo", b="bar", c="baz"}"#));
    check(&[("a", "line\nbreak")], &["{source_labels: [a], regex: 'line.*', action: drop}"], None);
}

#[test]
fn keepequal_and_dropequal() {
    let same = [("__tmp_port", "1234"), ("port", "1234")];
    let other = [("__tmp_port", "1234"), ("port", "5678")];
    let keep = "{source_labels: [__tmp_port], target_label: port, action: keepequal}";
    let drop = "{source_labels: [__tmp_port], target_label: port, action: dropequal}";
    assert!(apply(&same, &[keep]).is_some() && apply(&other, &[keep]).is_none());
    assert!(apply(&same, &[drop]).is_none() && apply(&other, &[drop]).is_some());
}

#[test]
fn hashmod_is_the_tail_of_md5() {
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
fn labelmap() {
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
fn labeldrop_and_labelkeep() {
    let labels = [("a", "foo"), ("b1", "bar"), ("b2", "baz")];
    check(&labels, &["{regex: '(b.*)', action: labeldrop}"], Some(r#"{a="foo"}"#));
    check(&labels, &["{regex: '(b.*)', action: labelkeep}"], Some(r#"{b1="bar", b2="baz"}"#));
}

#[test]
fn lowercase_and_uppercase() {
    check(
        &[("foo", "bAr123Fooß")],
        &[
            "{source_labels: [foo], target_label: up, action: uppercase}",
            "{source_labels: [foo], target_label: low, action: lowercase}",
        ],
        Some(r#"{foo="bAr123Fooß", low="bar123fooß", up="BAR123FOOß"}"#),
    );
}
