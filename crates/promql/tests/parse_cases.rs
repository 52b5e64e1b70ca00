//! Expressions with their canonical form or the exact text of their error. The shared cases lie next to the checkout;
//! without them, that test says that it was skipped.

use std::path::Path;

use pharos_promql::parser::parse;

fn shared(name: &str) -> Option<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/promqltest/testdata");
    let text = std::fs::read_to_string(folder.join(name)).ok();
    if text.is_none() {
        eprintln!("skipped: no {name} in {}", folder.display());
    }
    text
}

#[test]
fn shared_cases_have_their_canonical_form_or_error() {
    let Some(text) = shared("parse_cases.jsonl") else { return };
    let mut wrong = Vec::new();
    for line in text.lines() {
        let case: serde_json::Value = serde_json::from_str(line).unwrap();
        let input = case["input"].as_str().unwrap();
        let want = match (&case["canonical"], &case["error"]) {
            (serde_json::Value::String(canonical), serde_json::Value::Null) => Ok(canonical.as_str()),
            (serde_json::Value::Null, serde_json::Value::String(error)) => Err(error.as_str()),
            _ => panic!("neither a canonical form nor an error: {line}"),
        };
        let got = parse(input).map(|expr| expr.to_string()).map_err(|error| error.to_string());
        if got.as_deref().map_err(String::as_str) != want {
            wrong.push(format!("{input}\n  want {want:?}\n  got  {got:?}"));
        }
    }
    assert!(wrong.is_empty(), "{} cases:\n{}", wrong.len(), wrong.join("\n"));
}

/// The query of a line that evaluates one, in a script of the shared test data.
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

#[test]
fn queries_of_shared_scripts_parse_and_print() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/promqltest/testdata");
    let Ok(files) = std::fs::read_dir(&folder) else {
        eprintln!("skipped: no {}", folder.display());
        return;
    };
    for file in files.map(|file| file.unwrap().path()).filter(|path| path.extension().is_some_and(|e| e == "test")) {
        let text = std::fs::read_to_string(&file).unwrap();
        for query in text.lines().filter_map(evaluated) {
            let expr = parse(query).unwrap_or_else(|error| panic!("{}: {query}: {error}", file.display()));
            let printed = expr.to_string();
            assert_eq!(parse(&printed).unwrap().to_string(), printed);
        }
    }
}

#[test]
fn own_cases_have_their_canonical_form() {
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
        let got = parse(input).map(|expr| expr.to_string());
        assert_eq!(got.as_deref(), Ok(canonical), "{input}");
    }
}

#[test]
fn own_cases_have_their_error() {
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
        let got = parse(input).map(|expr| expr.to_string()).unwrap_err().to_string();
        assert_eq!(got, error, "{input}");
    }
}
