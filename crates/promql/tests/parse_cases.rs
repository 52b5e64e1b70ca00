//! Expressions with the form in which they are printed, or the exact text of their error.
//!
//! The cases of this repository are in `scripts/expressions.parse`. Cases of the Prometheus project are an extra, see `scripts.rs`.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};

use pharos_promql::syntax::parse;

/// The printed form of an expression, or its error.
fn outcome(input: &str) -> Result<String, String> {
    parse(input).map(|expr| expr.to_string()).map_err(|error| error.to_string())
}

#[test]
fn expressions_are_printed_or_refused_as_the_case_file_says() {
    let text = include_str!("scripts/expressions.parse");
    let mut wrong = Vec::new();
    let mut input = None;
    let mut cases = 0;
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if let Some(expression) = line.strip_prefix("> ") {
            assert_eq!(input.replace(expression), None, "a case without an outcome before {line:?}");
            continue;
        }
        let expression = input.take().unwrap_or_else(|| panic!("an outcome without a case: {line:?}"));
        let found = match outcome(expression) {
            Ok(printed) => format!("= {printed}"),
            Err(error) => format!("! {error}"),
        };
        if found != line {
            wrong.push(format!("> {expression}\n  expected {line}\n  found    {found}"));
        }
        cases += 1;
    }
    assert!(wrong.is_empty(), "{} cases:\n{}", wrong.len(), wrong.join("\n"));
    assert!(cases >= 150, "only {cases} cases");
}

#[test]
fn what_is_printed_parses_to_the_same() {
    let text = include_str!("scripts/expressions.parse");
    for printed in text.lines().filter_map(|line| line.strip_prefix("= ")) {
        assert_eq!(outcome(printed).as_deref(), Ok(printed));
    }
}

/// The folder of Prometheus's cases, if it is at hand.
#[allow(clippy::print_stderr, reason = "a skipped test must say so")]
fn extra_folder() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/promqltest/testdata");
    let folder = std::env::var_os("PHAROS_PROMQLTEST").map_or(beside, PathBuf::from);
    if folder.join("parse_cases.jsonl").exists() {
        return Some(folder);
    }
    eprintln!("SKIPPED: no cases of Prometheus in {}; nothing of them was tested", folder.display());
    None
}

#[test]
fn extra_cases_of_prometheus_have_their_outcome_if_present() {
    let Some(folder) = extra_folder() else { return };
    let text = std::fs::read_to_string(folder.join("parse_cases.jsonl")).unwrap();
    let mut wrong = Vec::new();
    for line in text.lines() {
        let case: serde_json::Value = serde_json::from_str(line).unwrap();
        let input = case["input"].as_str().unwrap();
        let expected = match (&case["canonical"], &case["error"]) {
            (serde_json::Value::String(canonical), serde_json::Value::Null) => Ok(canonical.clone()),
            (serde_json::Value::Null, serde_json::Value::String(error)) => Err(error.clone()),
            _ => panic!("neither a canonical form nor an error: {line}"),
        };
        let found = outcome(input);
        if found != expected {
            wrong.push(format!("{input}\n  expected {expected:?}\n  found    {found:?}"));
        }
    }
    assert!(wrong.is_empty(), "{} cases:\n{}", wrong.len(), wrong.join("\n"));
}

/// The query of a script line that evaluates one.
fn evaluated(line: &str) -> Option<&str> {
    let rest = line.trim().strip_prefix("eval")?;
    let (_, rest) = rest.split_once(' ')?;
    if let Some(range) = rest.strip_prefix("range from ") {
        return range.split_once(" step ")?.1.split_once(' ').map(|(_, query)| query);
    }
    let instant = rest.strip_prefix("instant ")?;
    match instant.strip_prefix("at ") {
        Some(at) => at.split_once(' ').map(|(_, query)| query),
        None => Some(instant),
    }
}

/// The queries of the scripts in a folder.
fn queries(folder: &Path) -> Vec<String> {
    let files = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    let scripts = files.filter(|path| path.extension().is_some_and(|e| e == "test"));
    let of_script = |path: PathBuf| {
        let text = std::fs::read_to_string(path).unwrap();
        text.lines().filter_map(evaluated).map(str::to_string).collect::<Vec<_>>()
    };
    scripts.flat_map(of_script).collect()
}

#[test]
fn queries_of_the_scripts_print_as_what_parses_to_the_same() {
    // Those that do not parse are expected to fail by their scripts.
    let queries = queries(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts"));
    for printed in queries.iter().filter_map(|query| outcome(query).ok()) {
        assert_eq!(outcome(&printed).as_deref(), Ok(printed.as_str()));
    }
}

#[test]
fn extra_queries_of_prometheus_print_as_what_parses_to_the_same_if_present() {
    let Some(folder) = extra_folder() else { return };
    for query in queries(&folder) {
        let printed = outcome(&query).unwrap_or_else(|error| panic!("{query}: {error}"));
        assert_eq!(outcome(&printed).as_deref(), Ok(printed.as_str()));
    }
}

#[test]
fn unusual_spellings_have_a_canonical_form() {
    for (input, canonical) in [
        ("SUM BY (Job,) (Rate)", "sum by (Job) (Rate)"),
        ("a</b>/c", "a </ b >/ c"),
        ("{\"m\", 'a b'!=`c`, d=~\"e|f\",} offset -.5", "{\"a b\"!=\"c\",__name__=\"m\",d=~\"e|f\"} offset -500ms"),
        ("x[1d1h:90s] @ 0x10", "x[1d1h:1m30s] @ 16.000"),
        ("x[max_of(5m, -(step() * 2)):range()/60]", "x[max_of(5m, -(step() * 2)):range() / 60]"),
        ("x smoothed offset (-step())", "x smoothed offset (-step())"),
        (
            "a + on () group_right fill_right(5m) fill_left(-1) b",
            "a + on () group_right () fill_left (-1) fill_right (300) b",
        ),
        ("fill + fill_left", "fill + fill_left"),
        ("max_of(1, step())", "max_of(1, step())"),
        ("quantile without () (.9, x) # end", "quantile without () (0.9, x)"),
        ("-5m ^ 1e30", "-5m ^ 1000000000000000000000000000000"),
    ] {
        assert_eq!(outcome(input).as_deref(), Ok(canonical), "{input}");
    }
}

#[test]
fn unusual_mistakes_have_their_own_error() {
    for (input, error) in [
        ("foo\n  bar", "2:3: parse error: unexpected identifier \"bar\""),
        ("sum(a b)", "1:7: parse error: unexpected identifier \"b\" in aggregation"),
        ("a !", "1:3: parse error: unexpected character after '!': '\u{fffd}'"),
        ("a{b!c}", "1:4: parse error: unexpected character after '!' inside braces: 'c'"),
        ("a[5m:1m:1s]", "1:8: parse error: unexpected colon ':'"),
        ("a[:1m]", "1:4: parse error: unexpected colon before duration in duration expression"),
        ("a[5m:", "1:6: parse error: unclosed left bracket"),
        ("a[5m 1m]", "1:6: parse error: unexpected duration \"1m\" in subquery or range, expected \":\" or \"]\""),
        ("a[5m:1m 1m]", "1:9: parse error: unexpected duration \"1m\" in subquery selector, expected \"]\""),
        ("a @ start", "1:10: parse error: unexpected end of input in @, expected timestamp"),
        ("a @ 1e19", "1:1: parse error: timestamp out of bounds for @ modifier: 10000000000000000000.000000"),
        ("a on b", "1:3: parse error: unexpected <on>"),
        ("a + on (b) group_left * c", "1:23: parse error: unexpected <op:*> in grouping opts, expected \"(\""),
        ("a - \"x\"", "1:5: parse error: binary expression must contain only scalar and instant vector types"),
        ("1 fill", "1:3: parse error: unexpected identifier \"fill\""),
        ("1 + fill_left(2) a", "1:1: parse error: filling in missing series only allowed between instant vectors"),
        ("a and fill(0) b", "1:1: parse error: filling in missing series not allowed for set operators"),
        ("sum()", "1:1: parse error: no arguments for aggregate expression provided"),
        ("STEP()", "1:1: parse error: unknown function with name \"STEP\""),
        ("abs(1,)", "1:6: parse error: trailing commas not allowed in function call args"),
        ("label_join(a, \"b\")", "1:1: parse error: expected at least 3 argument(s) in call to \"label_join\", got 2"),
        ("foo[1m:5s] smoothed", "1:1: parse error: smoothed modifier is not supported for subqueries"),
        ("1 anchored", "1:1: parse error: anchored modifier not implemented"),
        ("\"\\ud800\"", "1:1: parse error: escape sequence is an invalid Unicode code point"),
        ("sum by (\"\") (a)", "1:9: parse error: invalid label name for grouping: \"\""),
    ] {
        assert_eq!(outcome(input), Err(error.to_string()), "{input}");
    }
}
