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
