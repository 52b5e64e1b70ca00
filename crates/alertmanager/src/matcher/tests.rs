use proptest::prelude::*;

use super::*;

fn utf8(input: &str) -> Result<String, String> {
    Syntax::Utf8.matchers(input, "test").map(|matchers| InBraces(&matchers).to_string())
}

#[test]
fn the_utf_8_syntax_takes_quoted_and_unquoted_names_and_values() {
    for (input, printed) in [
        ("", "{}"),
        ("{}", "{}"),
        ("{foo=bar,}", "{foo=\"bar\"}"),
        ("foo = bar , baz !~ \"a b\"", "{foo=\"bar\",baz!~\"a b\"}"),
        ("{foo=🙂}", "{foo=\"🙂\"}"),
        ("{\"foo bar\"=\"\\x62\\141z\"}", "{\"foo bar\"=\"baz\"}"),
    ] {
        assert_eq!(utf8(input), Ok(printed.to_string()), "{input:?}");
    }
}

#[test]
fn errors_of_the_utf_8_syntax_name_the_columns_as_alertmanager_does() {
    for (input, error) in [
        (",", "0:1: unexpected ,: expected label name"),
        ("{,}", "1:2: unexpected ,: expected label name"),
        ("{", "0:1: end of input: expected close brace"),
        ("}", "0:1: }: expected opening brace"),
        ("foo=bar}", "0:8: }: expected opening brace"),
        ("{foo=bar", "0:8: end of input: expected close brace"),
        ("foo=\"\"\"bar\"", "6:11: unexpected \"bar\": expected a comma or close brace"),
        ("{foo=\"bar\\w\"}", "5:12: \"bar\\w\": invalid input"),
        ("{foo=bar\\w}", "8:9: \\: invalid input: expected a comma or close brace"),
        ("{foo=\"\\xf0\\x9f\"}", "5:15: \"\\xf0\\x9f\": invalid input"),
        (
            "foo!",
            "3:4: unexpected end of input, expected one of '=~': expected an operator such as '=', '!=', '=~' or '!~'",
        ),
        ("foo=\"bar", "4:8: \"bar: missing end \": expected label value"),
    ] {
        assert_eq!(utf8(input), Err(error.to_string()), "{input:?}");
    }
}

#[test]
fn the_classic_syntax_leaves_unknown_escapes_alone() {
    let classic = |input: &str| Syntax::Classic.matchers(input, "test").map(|found| InBraces(&found).to_string());
    assert_eq!(classic("{foo=~\"\\d+\", b = x y }"), Ok("{foo=~\"\\\\d+\",b=\"x y\"}".to_string()));
    assert_eq!(classic("foo=a\"b"), Err("matcher value contains unescaped double quote: a\"b".to_string()));
    assert_eq!(classic("foo bar=x"), Err("bad matcher format: foo bar=x".to_string()));
    assert_eq!(classic("a=\"x,y\",b=\"\\\",\""), Ok("{a=\"x,y\",b=\"\\\",\"}".to_string()));
}

#[test]
fn both_syntaxes_together_take_what_either_takes() {
    let both = |input: &str| Syntax::Both.matchers(input, "test").map(|found| InBraces(&found).to_string());
    // Only the classic syntax knows `\d`, only the other one quoted names.
    assert_eq!(both("foo=~\"\\d\""), Ok("{foo=~\"\\\\d\"}".to_string()));
    assert_eq!(both("\"a b\"=c"), Ok("{\"a b\"=\"c\"}".to_string()));
    // They read this differently, and the classic syntax wins.
    assert_eq!(both("foo=\"\\x62\""), Ok("{foo=\"\\\\x62\"}".to_string()));
    assert_eq!(both("-"), Err("bad matcher format: -".to_string()));
}

#[test]
fn a_single_matcher_has_no_braces() {
    assert_eq!(Syntax::Both.matcher("{a=b}", "test").unwrap_err(), "unexpected open or close brace: {a=b}");
    assert_eq!(Syntax::Utf8.matcher("", "test").unwrap_err(), "no matchers");
    assert_eq!(Syntax::Utf8.matcher("a=b,c=d", "test").unwrap_err(), "expected 1 matcher, found 2");
    assert_eq!(Syntax::Both.matcher("a=b", "test").unwrap().to_string(), "a=\"b\"");
}

#[test]
fn a_regular_expression_matches_whole_values_without_newlines() {
    let matcher = Matcher::new(MatchOp::Regex, "a", "b.*").unwrap();
    assert!(matcher.matches("bc") && !matcher.matches("ab") && !matcher.matches("b\n"));
    let alternatives = Matcher::new(MatchOp::NotRegex, "a", "b|c").unwrap();
    assert!(!alternatives.matches("c") && alternatives.matches("bc"));
}

#[test]
fn a_bad_regular_expression_is_reported_in_the_words_of_go() {
    let error = Matcher::new(MatchOp::Regex, "a", "b(").unwrap_err();
    assert_eq!(error, "error parsing regexp: missing closing ): `^(?:b()$`");
}

#[test]
fn label_names_depend_on_the_syntax() {
    assert!(Syntax::Both.is_label_name("a b") && !Syntax::Both.is_label_name(""));
    assert!(Syntax::Classic.is_label_name("a_b") && !Syntax::Classic.is_label_name("a b"));
}

proptest! {
    #[test]
    fn what_is_printed_is_parsed_to_the_same(name in "\\PC{1,12}", value in any::<String>(), is_equal: bool) {
        let op = if is_equal { MatchOp::Equal } else { MatchOp::NotEqual };
        let matcher = Matcher::new(op, &name, &value).unwrap();
        let text = matcher.to_string();
        // An unquoted name keeps raw control characters in the value, which Go's literals allow except for newlines.
        let parsed = Syntax::Utf8.matchers(&text, "test").unwrap();
        prop_assert_eq!(parsed, vec![matcher]);
    }

    #[test]
    fn no_input_ends_the_process(input in any::<String>()) {
        for syntax in [Syntax::Both, Syntax::Classic, Syntax::Utf8] {
            let _refused_or_not = syntax.matchers(&input, "test");
            let _refused_or_not = syntax.matcher(&input, "test");
        }
    }
}
