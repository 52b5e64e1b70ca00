use proptest::prelude::*;

use super::ast::{AggregateOp, Cardinality, DurationOp, ValueType};
use super::*;

fn canonical(query: &str) -> String {
    parse(query).unwrap_or_else(|error| panic!("{query}: {error}")).to_string()
}

fn refusal(query: &str) -> String {
    parse(query).map(|expr| panic!("{query} is taken for {expr}")).unwrap_err().to_string()
}

/// Runs on a thread with the stack that a worker has.
fn on_small_stack(test: impl FnOnce() + Send + 'static) {
    std::thread::Builder::new().stack_size(2 << 20).spawn(test).unwrap().join().unwrap();
}

#[test]
fn operators_bind_by_precedence() {
    let shape = |query: &str| match parse(query).unwrap() {
        Expr::Binary(b) => (b.op.as_str(), b.lhs.to_string(), b.rhs.to_string()),
        other => panic!("{other}"),
    };
    let split = |op, lhs: &str, rhs: &str| (op, lhs.to_string(), rhs.to_string());
    assert_eq!(shape("1 - 2 - 3"), split("-", "1 - 2", "3"));
    assert_eq!(shape("2 ^ 3 ^ 4"), split("^", "2", "3 ^ 4"));
    assert_eq!(shape("a or b and c unless d"), split("or", "a", "b and c unless d"));
    assert_eq!(shape("a + b == bool c * d"), split("==", "a + b", "c * d"));
    assert_eq!(shape("-a * b"), split("*", "-a", "b"));
    assert!(matches!(parse("-a ^ b").unwrap(), Expr::Unary(_)));
    assert!(matches!(parse("-a[5m:]").map(drop), Err(e) if e.message.starts_with("unary expression only")));
}

#[test]
fn the_base_of_a_power_is_printed_without_a_sign() {
    for (query, printed) in [
        ("Inf ^ a", "Inf ^ a"),
        ("+Inf ^ a", "+Inf ^ a"),
        ("-Inf ^ Inf ^ +Inf", "-Inf ^ Inf ^ +Inf"),
        ("a != +Inf ^ a", "a != +Inf ^ a"),
        ("+Inf * a", "+Inf * a"),
        ("(-Inf) ^ a", "(-Inf) ^ a"),
    ] {
        assert_eq!(canonical(query), printed);
        assert_eq!(canonical(printed), printed);
        let long = parse(&format!("{query} + {}", "a".repeat(100))).unwrap();
        assert_eq!(canonical(&pretty(&long)), long.to_string());
    }
}

#[test]
fn modifiers_come_in_any_order() {
    assert_eq!(canonical("foo offset -5m @ end()"), "foo @ end() offset -5m");
    assert_eq!(canonical("foo[1h] @ 10 anchored offset 1"), "foo[1h] anchored @ 10.000 offset 1s");
    assert_eq!(refusal("foo @ 1 @ 2"), "1:1: parse error: @ <timestamp> may not be set multiple times");
    assert_eq!(
        refusal("foo anchored smoothed"),
        "1:1: parse error: anchored and smoothed modifiers cannot be used together"
    );
}

#[test]
fn what_follows_an_offset_belongs_to_the_samples_unless_in_parentheses() {
    assert!(matches!(parse("foo offset 5m + 1").unwrap(), Expr::Binary(_)));
    assert!(matches!(parse("foo offset -step() * 2").unwrap(), Expr::Binary(_)));
    let Expr::Vector(selector) = parse("foo offset (5m) + 1").unwrap() else { panic!() };
    assert_eq!(selector.time.offset_expr.unwrap().op, DurationOp::Add);
}

#[test]
fn words_are_names_where_nothing_else_fits() {
    for name in ["sum", "by", "offset", "and", "start", "fill", "step", "smoothed", "max_of", "without"] {
        assert!(matches!(parse(name).unwrap(), Expr::Vector(v) if v.name == name), "{name}");
    }
    assert!(refusal("bool").contains("unexpected <bool>"));
    assert_eq!(canonical("sum by (on, bool, Group_Left) (x)"), "sum by (on, bool, Group_Left) (x)");
    assert!(refusal("sum by (without) (x)").ends_with("unexpected <without> in grouping opts, expected label"));
}

#[test]
fn matching_is_kept_between_vectors_only() {
    let matching = |query: &str| match parse(query).unwrap() {
        Expr::Binary(b) => b.matching,
        other => panic!("{other}"),
    };
    assert_eq!(matching("1 + on () a"), None);
    assert_eq!(matching("a or b").unwrap().card, Cardinality::ManyToMany);
    let filled = matching("a + on (x) group_left (y) fill_right (-1) fill_left (5m) b").unwrap();
    assert_eq!((filled.fill_left, filled.fill_right), (Some(300.0), Some(-1.0)));
    assert_eq!(canonical("a * fill(1e30) b"), "a * fill (1e+30) b");
    assert_eq!(canonical("a * fill_left(-Inf) b"), "a * fill_left (-Inf) b");
}

#[test]
fn positions_are_bytes_of_the_query() {
    let pos = |query: &str| parse(query).map(|e| (e.pos().start, e.pos().end)).unwrap();
    assert_eq!(pos("  sum(a) by (b)  "), (2, 15));
    assert_eq!(pos("foo [5m] offset (step()) # end"), (0, 24));
    assert_eq!(pos("\"é\""), (0, 4));
    assert_eq!(refusal("a +\n  # note\n  b $"), "3:5: parse error: unexpected character: '$'");
    assert_eq!(refusal(""), "unknown position: parse error: no expression found in input");
}

#[test]
fn strings_that_are_no_utf8_keep_their_bytes() {
    let Expr::String(string) = parse(r#""a\xff""#).unwrap() else { panic!() };
    assert_eq!(string.bytes.as_deref(), Some(&b"a\xff"[..]));
    assert_eq!(canonical(r#"label_join(x, "\xe2\x98\xba", "'")"#), "label_join(x, \"☺\", \"'\")");
}

#[test]
fn selectors_alone_may_match_everything() {
    assert_eq!(parse_metric_selector("{}").unwrap(), []);
    let matchers = parse_metric_selector("up{job=~\"a|b\",}").unwrap();
    assert_eq!(matchers.iter().map(ToString::to_string).collect::<Vec<_>>(), ["job=~\"a|b\"", "__name__=\"up\""]);
    let error = |input| parse_metric_selector(input).unwrap_err().to_string();
    assert_eq!(error("up + 1"), "1:4: parse error: unexpected <op:+>");
    assert_eq!(error("up{a=~\"(\"}"), "1:4: parse error: error parsing regexp: missing closing ): `(`");
    assert_eq!(error("rate(x)"), "1:5: parse error: unexpected \"(\"");
}

#[test]
fn long_expressions_are_split_into_lines() {
    let query = "sum by (job) (rate(http_requests_total{code=\"500\", method=\"GET\"}[5m])) / on (job) group_left () \
                 topk(5, -(label_replace(build_information, \"version\", \"$1\", \"revision\", \"(.*)-dirty-from-workspace\")))";
    let want = "  sum by (job) (rate(http_requests_total{code=\"500\",method=\"GET\"}[5m]))
/ on (job) group_left ()
  topk(
    5,
    -(label_replace(build_information, \"version\", \"$1\", \"revision\", \"(.*)-dirty-from-workspace\"))
  )";
    assert_eq!(pretty(&parse(query).unwrap()), want);
    assert_eq!(pretty(&parse("sum( a )").unwrap()), "sum(a)");
}

#[test]
fn nesting_beyond_the_limit_is_an_error() {
    on_small_stack(|| {
        let nested = |open: &str, times: usize, core: &str, close: &str| {
            format!("{}{core}{}", open.repeat(times), close.repeat(times))
        };
        for (open, core, close) in [
            ("(", "1", ")"),
            ("-", "a", ""),
            ("sum(", "a", ")"),
            ("abs(-", "a", ")"),
            ("1^", "1", ""),
            ("a + (", "a", ")"),
            ("max_of(1,", "1", ")"),
        ] {
            let error = refusal(&nested(open, 100_000, core, close));
            assert!(error.ends_with("nested deeper than 200 levels"), "{error}");
            let half = parse(&nested(open, MAX_NESTING / 3, core, close)).unwrap();
            assert_eq!(parse(&half.to_string()).unwrap().to_string(), half.to_string());
        }
        for (open, core, close) in [("(", "1", ")"), ("-", "step()", ""), ("1^", "1", ""), ("max_of(1,", "1", ")")] {
            let error = refusal(&format!("a[{}]", nested(open, 100_000, core, close)));
            assert!(error.ends_with("nested deeper than 200 levels"), "{error}");
            parse(&format!("a offset ({})", nested(open, MAX_NESTING / 3, core, close))).unwrap();
        }
    });
}

#[test]
fn the_highest_tree_fits_the_stack() {
    on_small_stack(|| {
        // Chains within parentheses within chains: as high as the limits allow.
        let mut query = "x".to_string();
        for _ in 0..(MAX_NESTING - 10) {
            query = format!("({query}) + 1 + 1");
        }
        let chain = MAX_HEIGHT - 3 * (MAX_NESTING - 10) - 10;
        let expr = parse(&format!("{query}{}", " + 1".repeat(chain))).unwrap();
        assert_eq!(parse(&expr.to_string()).unwrap().to_string(), expr.to_string());
        assert!(!pretty(&expr).is_empty());
        assert_eq!(expr.clone(), expr);
        assert!(!format!("{expr:?}").is_empty());
        for chain in [" or a", "[1m:1s]", " + 1"] {
            assert!(refusal(&format!("a{}", chain.repeat(100_000))).contains("chain of more than 1000 operations"));
        }
        let error = refusal(&format!("a[1{}]", "+1".repeat(100_000)));
        assert!(error.contains("chain of more than 1000 operations"), "{error}");
    });
}

#[test]
fn hostile_sizes_are_refused_or_read_in_linear_time() {
    assert!(refusal(&" ".repeat(MAX_QUERY_BYTES + 1)).contains("more than the 1048576 allowed"));
    assert!(refusal(&"[".repeat(1_000_000)).contains("unexpected"));
    assert!(refusal(&format!("\"{}", "\\\\".repeat(500_000))).contains("unterminated quoted string"));
    assert!(refusal(&"9".repeat(1_000_000)).contains("value out of range"));
    let wide = format!("label_join(a, \"b\", \"c\"{})", ", \"d\"".repeat(100_000));
    assert_eq!(canonical(&wide).len(), wide.len());
    let matchers = format!("{{{}}}", "a=\"b\",".repeat(100_000));
    assert_eq!(parse_metric_selector(&matchers).unwrap().len(), 100_000);
}

#[test]
fn comments_and_spaces_are_not_kept() {
    assert_eq!(canonical("  a  # comment"), "a");
    assert_eq!(canonical("a\n+\n# comment\nb"), "a + b");
}

#[test]
fn the_grouping_is_printed_before_the_argument() {
    assert_eq!(canonical("sum(a) by (b)"), "sum by (b) (a)");
    assert_eq!(canonical("sum(a) without (b)"), "sum without (b) (a)");
}

#[test]
fn strings_are_printed_with_double_quotes() {
    assert_eq!(canonical("a{b='c'}"), "a{b=\"c\"}");
    assert_eq!(canonical("`a`"), "\"a\"");
}

#[test]
fn durations_are_printed_in_their_largest_units() {
    assert_eq!(canonical("a[60s]"), "a[1m]");
    assert_eq!(canonical("a[90m]"), "a[1h30m]");
}

#[test]
fn parentheses_are_kept() {
    assert_eq!(canonical("((a))"), "((a))");
    assert_eq!(canonical("(a + b) * c"), "(a + b) * c");
}

#[test]
fn subqueries_keep_their_step() {
    assert_eq!(canonical("a[1h:1m]"), "a[1h:1m]");
    assert_eq!(canonical("a[1h:]"), "a[1h:]");
}

#[test]
fn unknown_functions_are_refused() {
    assert_eq!(refusal("foo(1)"), "1:1: parse error: unknown function with name \"foo\"");
}

#[test]
fn functions_refuse_arguments_of_another_type() {
    let error = refusal("rate(a)");
    assert!(error.ends_with("expected type range vector in call to function \"rate\", got instant vector"), "{error}");
}

#[test]
fn functions_refuse_too_few_arguments() {
    assert!(refusal("abs()").ends_with("expected 1 argument(s) in call to \"abs\", got 0"));
    assert!(
        refusal("label_join(a, \"b\")").ends_with("expected at least 3 argument(s) in call to \"label_join\", got 2")
    );
}

#[test]
fn functions_refuse_too_many_arguments() {
    assert!(refusal("round(a, 1, 2)").ends_with("expected at most 2 argument(s) in call to \"round\", got 3"));
    assert!(refusal("pi(1)").ends_with("expected 0 argument(s) in call to \"pi\", got 1"));
}

#[test]
fn a_comma_is_followed_by_an_argument() {
    assert!(refusal("abs(a,)").ends_with("trailing commas not allowed in function call args"));
}

#[test]
fn comparisons_of_numbers_need_bool() {
    assert!(refusal("1 == 2").ends_with("comparisons between scalars must use BOOL modifier"));
    assert_eq!(canonical("1 == bool 2"), "1 == bool 2");
}

#[test]
fn only_comparisons_take_bool() {
    assert!(refusal("a + bool b").ends_with("bool modifier can only be used on comparison operators"));
}

#[test]
fn set_operators_take_vectors() {
    assert!(refusal("1 and 2").ends_with("set operator \"and\" not allowed in binary scalar expression"));
}

#[test]
fn set_operators_take_no_grouping() {
    assert!(refusal("a and on (x) group_left b").ends_with("no grouping allowed for \"and\" operation"));
}

#[test]
fn set_operators_take_no_fill_values() {
    assert!(refusal("a or fill(1) b").ends_with("filling in missing series not allowed for set operators"));
}

#[test]
fn a_label_is_matched_or_included() {
    let error = refusal("a * on (x) group_left (x) b");
    assert!(error.ends_with("label \"x\" must not occur in ON and GROUP clause at once"), "{error}");
}

#[test]
fn numbers_are_not_matched() {
    assert!(refusal("1 + on (x) a").ends_with("vector matching only allowed between instant vectors"));
}

#[test]
fn strings_are_no_operands() {
    let error = refusal("\"x\" + 1");
    assert!(error.ends_with("binary expression must contain only scalar and instant vector types"), "{error}");
}

#[test]
fn a_selector_in_a_query_matches_something() {
    let error = refusal("{}");
    assert!(error.ends_with("vector selector must contain at least one non-empty matcher"), "{error}");
    assert!(refusal("{a=~\".*\"}").ends_with("must contain at least one non-empty matcher"));
}

#[test]
fn the_metric_name_is_given_once() {
    let error = refusal("a{__name__=\"b\"}");
    assert!(error.ends_with("metric name must not be set twice: \"a\" or \"b\""), "{error}");
}

#[test]
fn subqueries_are_of_vectors() {
    assert!(refusal("1[5m:1m]").ends_with("subquery is only allowed on instant vector, got scalar instead"));
}

#[test]
fn aggregations_are_of_vectors() {
    let error = refusal("sum(1)");
    assert!(error.ends_with("expected type instant vector in aggregation expression, got scalar"), "{error}");
}

#[test]
fn the_parameter_of_an_aggregation_has_its_type() {
    let error = refusal("topk(\"a\", b)");
    assert!(error.ends_with("expected type scalar in aggregation parameter, got string"), "{error}");
}

#[test]
fn the_second_argument_of_info_is_a_selector_without_a_name() {
    assert!(refusal("info(a, b)").ends_with("expected label selectors only, got vector selector instead"));
    assert!(refusal("info(a, sum(b))").ends_with("expected label selectors only"));
    assert!(parse("info(a, {data=~\".*\"})").is_ok());
}

#[test]
fn expressions_know_their_type() {
    let type_of = |query: &str| parse(query).unwrap().value_type();
    assert_eq!(type_of("1 + 2"), ValueType::Scalar);
    assert_eq!(type_of("1 + a"), ValueType::Vector);
    assert_eq!(type_of("a[5m]"), ValueType::Matrix);
    assert_eq!(type_of("a[5m:]"), ValueType::Matrix);
    assert_eq!(type_of("\"a\""), ValueType::String);
    assert_eq!(type_of("time()"), ValueType::Scalar);
}

#[test]
fn the_height_is_that_of_the_longest_path() {
    let height_of = |query: &str| height(&parse(query).unwrap());
    assert_eq!(height_of("1"), 1);
    assert_eq!(height_of("a + 1"), 2);
    assert_eq!(height_of("a + (b + (c))"), 5);
    assert_eq!(height_of("sum(rate(x[5m]) + 1)"), 4);
}

#[test]
fn aggregations_with_a_parameter_are_those_that_choose_or_label() {
    assert!(AggregateOp::Topk.has_param());
    assert!(AggregateOp::CountValues.has_param());
    assert!(!AggregateOp::Sum.has_param());
}

#[test]
fn types_are_named_differently_in_messages_and_in_the_api() {
    assert_eq!(ValueType::Matrix.as_str(), "matrix");
    assert_eq!(ValueType::Matrix.documented(), "range vector");
    assert_eq!(ValueType::Scalar.documented(), "scalar");
}

/// Removes positions, so that trees of different texts compare.
fn without_positions(tree: &Expr) -> String {
    let text = format!("{tree:?}");
    let mut out = String::with_capacity(text.len());
    let mut rest = text.as_str();
    while let Some(at) = rest.find("Pos {") {
        out.push_str(&rest[..at]);
        rest = rest[at..].split_once('}').map_or("", |(_, behind)| behind);
    }
    out + rest
}

fn duration() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        "[1-9][0-9]{0,3}(ms|s|m|h|d|w|y)",
        "[1-9][0-9]{0,5}",
        Just("step()".to_string()),
        Just("range()".to_string()),
    ];
    leaf.prop_recursive(4, 16, 2, |inner| {
        prop_oneof![
            (inner.clone(), "[-+*/%^]", inner.clone()).prop_map(|(a, op, b)| format!("{a} {op} {b}")),
            inner.clone().prop_map(|a| format!("({a})")),
            inner.clone().prop_map(|a| format!("-({a})")),
            (inner.clone(), inner).prop_map(|(a, b)| format!("max_of({a}, {b})")),
        ]
    })
}

/// Numbers with signs, as they are written.
fn number() -> impl Strategy<Value = String> {
    ("[-+]{0,2}", "Inf|NaN|0x1F|1e300|[0-9]{1,4}|1h5ms|[.]5|-0").prop_map(|(sign, number)| sign + &number)
}

/// Selectors with sorted matchers, which is how they are printed.
fn selector() -> impl Strategy<Value = String> {
    let matcher = (r#"[a-z_]{1,4}|"[a-zé.]{0,2} [a-zé.]{0,2}""#, "=|!=|=~|!~", r#""[a-z|.*☺]{0,5}""#);
    let matchers = prop::collection::vec(matcher.prop_map(|(a, op, b)| format!("{a}{op}{b}")), 0..4);
    ("[a-z_:][a-z0-9_:]{0,8}", matchers).prop_map(|(name, mut list)| {
        list.sort();
        format!("{name}{{{}}}", list.join(","))
    })
}

/// Expressions that are mostly well typed.
fn vector() -> impl Strategy<Value = String> {
    let modifier = prop_oneof![
        Just(String::new()),
        (0u32..100_000_000).prop_map(|ms| format!(" @ {}", f64::from(ms) / 1000.0)),
        Just(" @ start()".to_string()),
        duration().prop_map(|d| format!(" offset ({d})")),
        "[1-9][0-9]{0,3}(ms|s|m|h|d)".prop_map(|d| format!(" offset -{d}")),
        Just(" smoothed".to_string()),
    ];
    let leaf = (selector(), modifier.clone()).prop_map(|(s, m)| s + &m);
    leaf.prop_recursive(5, 32, 2, move |inner| {
        let op = r"\+|-|\*|/|%|\^|atan2|==|!=|> bool|<=|</|>/";
        prop_oneof![
            (inner.clone(), op, inner.clone()).prop_map(|(a, op, b)| format!("{a} {op} {b}")),
            (inner.clone(), "and|or|unless", inner.clone()).prop_map(|(a, op, b)| format!("{a} {op} on (x) {b}")),
            (inner.clone(), inner.clone())
                .prop_map(|(a, b)| format!("{a} + ignoring (a, \"b c\") group_left (d) fill (2) {b}")),
            (inner.clone(), r"\*|\^|!=", any::<f64>()).prop_map(|(a, op, n)| format!("{a} {op} {n}")),
            (number(), r"\*|\^|</|> bool", inner.clone()).prop_map(|(n, op, a)| format!("{n} {op} {a}")),
            ("[-+]", inner.clone()).prop_map(|(sign, a)| format!("{sign}{a}")),
            inner.clone().prop_map(|a| format!("({a})")),
            inner.clone().prop_map(|a| format!("-({a})")),
            inner.clone().prop_map(|a| format!("topk by (x) (3, {a})")),
            (selector(), duration(), modifier.clone()).prop_map(|(s, d, m)| format!("rate({s}[{d}]{m})")),
            (inner.clone(), duration(), duration()).prop_map(|(a, r, s)| format!("max_over_time(({a})[{r}:{s}])")),
            (inner, r#""[^"\\\n\u{fffd}]{0,8}""#).prop_map(|(a, s)| format!("label_join({a}, \"x\", {s})")),
        ]
    })
}

proptest! {
    #[test]
    fn printed_trees_parse_to_the_same_tree(query in vector()) {
        let Ok(tree) = parse(&query) else { return Ok(()) };
        let printed = tree.to_string();
        let again = parse(&printed).map_err(|e| TestCaseError::fail(format!("{printed}: {e}")))?;
        prop_assert_eq!(without_positions(&again), without_positions(&tree));
        let formatted = pretty(&tree);
        let again = parse(&formatted).map_err(|e| TestCaseError::fail(format!("{formatted}: {e}")))?;
        prop_assert_eq!(without_positions(&again), without_positions(&tree));
    }

    /// What a chain of tokens means is printed so that it means the same, however odd it is.
    #[test]
    fn printed_chains_of_tokens_parse_to_the_same_text(
        words in prop::collection::vec(
            prop::sample::select(vec![
                "a", "a", "1", "Inf", "NaN", "5m", "+", "-", "^", "^", "*", "==", "!=", "or", "and", "atan2", "(", ")", "bool",
                "offset", "@", "[1m:]", "[5m]", "start()", "time()", "abs(", "sum(", "sum by(a)(", "on(a)", "group_left", "fill(1)",
                "ignoring(a, b)", "smoothed", "step()", "max_of(", ",", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
            ]),
            1..20,
        ),
    ) {
        let text = words.join(" ");
        let closed = format!("{text}{}", " )".repeat(text.matches('(').count().saturating_sub(text.matches(')').count())));
        let Ok(tree) = parse(&closed) else { return Ok(()) };
        let printed = tree.to_string();
        for again in [&printed, &pretty(&tree)] {
            let again = parse(again).map_err(|e| TestCaseError::fail(format!("{again}: {e}")))?;
            prop_assert_eq!(again.to_string(), &printed[..], "{}", closed);
        }
    }

    #[test]
    fn arbitrary_text_never_panics(text in any::<String>()) {
        let _ = parse(&text).map(|e| (e.to_string(), pretty(&e)));
        let _ = parse_metric_selector(&text);
    }

    #[test]
    fn arbitrary_tokens_never_panic(
        words in prop::collection::vec(
            prop::sample::select(vec![
                "sum", "foo", "rate", "by", "on", "group_left", "offset", "@", "start", "step", "max_of", "fill", "bool",
                "(", ")", "{", "}", "[", "]", ",", ":", "=", "=~", "-", "+", "^", "/", "</", "or", "1", "5m", "0x", "\"é\"",
                "'\\", "`", "#", "\n", "\u{fffd}", "NaN", "anchored",
            ]),
            0..24,
        ),
        spaced in any::<bool>(),
    ) {
        let text = words.join(if spaced { " " } else { "" });
        let _ = parse(&text).map(|e| (e.to_string(), pretty(&e)));
        let _ = parse_metric_selector(&text);
    }
}
