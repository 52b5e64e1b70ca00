use super::*;

fn regex(value: &str) -> Matcher {
    Matcher::new(MatchOp::Regex, "l", value).unwrap()
}

fn values(expression: &str) -> Option<Vec<String>> {
    regex(expression).set_of_values().map(<[String]>::to_vec)
}

#[test]
fn operators_compare_values() {
    let matcher = |op| Matcher::new(op, "l", "a").unwrap();
    assert!(matcher(MatchOp::Equal).matches("a") && !matcher(MatchOp::Equal).matches("b"));
    assert!(!matcher(MatchOp::NotEqual).matches("a") && matcher(MatchOp::NotEqual).matches("b"));
    assert!(matcher(MatchOp::Regex).matches("a") && !matcher(MatchOp::Regex).matches("b"));
    assert!(!matcher(MatchOp::NotRegex).matches("a") && matcher(MatchOp::NotRegex).matches("b"));
}

#[test]
fn expressions_must_match_the_whole_value() {
    assert!(!regex("b").matches("abc"));
    assert!(regex("a|bc").matches("bc") && !regex("a|bc").matches("abc"));
    assert!(regex("^foo$").matches("foo"));
}

#[test]
fn a_dot_matches_newlines() {
    assert!(regex("a.c").matches("a\nc"));
    assert!(regex(".+").matches("\n"));
}

#[test]
fn wildcards_need_no_automaton() {
    assert!(regex(".*").matches("") && regex(".*").matches("a"));
    assert!(!regex(".+").matches("") && regex(".+").matches("a"));
    assert_eq!(regex(".*").regex_bytes() + regex(".+").regex_bytes(), 0);
}

#[test]
fn alternatives_are_expanded() {
    assert_eq!(values("b|a|cd").unwrap(), ["a", "b", "cd"]);
    assert_eq!(values("foo(bar|baz)").unwrap(), ["foobar", "foobaz"]);
    assert_eq!(values("foo").unwrap(), ["foo"]);
    assert_eq!(values(&format!("({})", ["aa"; 300].join("|"))).unwrap(), ["aa"]);
}

#[test]
fn expressions_without_a_list_of_values_are_not_expanded() {
    assert_eq!(values("foo.*"), None);
    assert_eq!(values(r"\ba"), None);
    assert!(regex(r"\ba").matches("a"));
    assert_eq!(Matcher::equal("l", "a").set_of_values(), None);
}

#[test]
fn prefixes_are_found() {
    assert_eq!(regex("foo.*").prefix(), "foo");
    assert_eq!(regex(r"{x.*").prefix(), "{x");
    assert_eq!(regex(".*foo").prefix(), "");
    assert_eq!(Matcher::equal("l", "foo").prefix(), "");
}

#[test]
fn case_can_be_ignored() {
    assert!(regex("(?i)foo").matches("FOO"));
    assert!(!regex("(?i)foo").matches("FOOO"));
}

#[test]
fn ten_thousand_alternatives_are_expanded() {
    let many: Vec<String> = (0..10_000).map(|n| format!("10\\.0\\.{}\\.{}", n / 100, n % 100)).collect();
    let many = regex(&many.join("|"));
    assert_eq!(many.set_of_values().map(<[String]>::len), Some(10_000));
    assert!(many.matches("10.0.99.99"));
    assert!(!many.matches("10.0.99.9999") && !many.matches("10x0.99.99"));
    assert!(many.regex_bytes() > 1_000_000);
}

#[test]
fn the_memory_of_an_expression_is_bounded() {
    assert_eq!(Matcher::equal("l", "x").regex_bytes(), 0);
    assert_eq!(regex("a.*b").regex_bytes(), 16 << 10);
    assert_eq!(regex("\\pL{40}").regex_bytes(), 4 << 20);
}

#[test]
fn shortcuts_know_gos_syntax() {
    assert_eq!(values(r"\Qa|b\E|c").unwrap(), ["a|b", "c"]);
    assert_eq!(values(r"a{,2}").unwrap(), ["a{,2}"]);
    assert_eq!(values(r"\061[[]").unwrap(), ["1["]);
    assert_eq!(values(r"(?)a").unwrap(), ["a"]);
    assert_eq!(values(r"\d").unwrap().len(), 10);
}

/// The error of an expression.
fn error(expression: &str) -> String {
    Matcher::new(MatchOp::NotRegex, "l", expression).unwrap_err().to_string()
}

#[test]
fn invalid_expressions_are_refused_in_gos_words() {
    assert_eq!(error("a(b"), "error parsing regexp: missing closing ): `a(b`");
    assert_eq!(error("*"), "error parsing regexp: missing argument to repetition operator: `*`");
    assert!(Matcher::new(MatchOp::Equal, "l", "a(b").is_ok(), "it is not an expression");
}

#[test]
fn expressions_that_nest_too_deeply_are_refused() {
    let deep = error(&format!("{}a{}", "(".repeat(2000), ")".repeat(2000)));
    assert!(deep.starts_with("error parsing regexp: expression nests too deeply: `((("), "{deep}");
    assert!(Matcher::new(MatchOp::Regex, "l", "(".repeat(10_000)).is_err());
}

#[test]
fn expressions_that_are_too_large_are_refused_in_few_words() {
    assert!(error("((a{1000}){1000}){1000}").contains("invalid repeat count"));
    assert!(error(&"(\\pL{1000}){1000}".repeat(100)).len() < 400);
}

#[test]
fn negative_matchers_match_missing_labels() {
    assert!(Matcher::new(MatchOp::NotRegex, "l", "a+").unwrap().matches_empty());
    assert!(Matcher::new(MatchOp::NotEqual, "l", "a").unwrap().matches_empty());
    assert!(!Matcher::equal("l", "x").matches_empty());
    assert!(Matcher::equal("l", "").matches_empty());
}

#[test]
fn matchers_are_shown_as_promql_writes_them() {
    for (op, expected) in [
        (MatchOp::Equal, r#"l="a\"b""#),
        (MatchOp::NotEqual, r#"l!="a\"b""#),
        (MatchOp::Regex, r#"l=~"a\"b""#),
        (MatchOp::NotRegex, r#"l!~"a\"b""#),
    ] {
        assert_eq!(Matcher::new(op, "l", "a\"b").unwrap().to_string(), expected);
    }
    assert_eq!(Matcher::equal("a.b", "x").to_string(), r#""a.b"="x""#);
}

#[test]
fn matchers_are_equal_when_they_are_written_alike() {
    assert_eq!(regex("a|b"), regex("a|b"));
    assert_ne!(regex("a|b"), regex("b|a"));
    assert_ne!(Matcher::equal("l", "a"), regex("a"));
}
