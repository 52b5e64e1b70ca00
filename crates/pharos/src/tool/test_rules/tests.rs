use super::*;

/// Runs a test file next to a rule file. Returns the outcome, the output and the errors.
fn run(rules: &str, tests: &str, pattern: Option<&str>) -> (bool, String, String) {
    let run = pattern.map(|p| Regex::new(p).unwrap());
    let options = TestRulesOptions { run, ignore_unknown_fields: false, junit: None, diff: false, debug: false };
    run_with(rules, tests, &options)
}

fn run_with(rules: &str, tests: &str, options: &TestRulesOptions) -> (bool, String, String) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("rules.yml"), rules).unwrap();
    let file = folder.path().join("tests.yml");
    std::fs::write(&file, tests).unwrap();
    let (mut out, mut errors) = (Vec::new(), Vec::new());
    let all_good = test_rules(&[file], options, &mut out, &mut errors).unwrap();
    let plain = |bytes| String::from_utf8(bytes).unwrap().replace(&format!("{}/", folder.path().display()), "");
    (all_good, plain(out), plain(errors))
}

const RULES: &str = "groups:
- name: g
  rules:
  - record: job:up:sum
    expr: sum by (job) (up)
  - alert: Down
    expr: up == 0
    for: 2m
    labels: {severity: page}
    annotations: {summary: '{{ $labels.instance }} is down in {{ $externalLabels.region }}'}
";

const INPUT: &str = "rule_files: [rules.yml]
tests:
- name: first
  interval: 1m
  external_labels: {region: eu}
  input_series:
  - {series: 'up{job=\"a\", instance=\"x\"}', values: '1 0x5'}
  - {series: 'h', values: '{{count:2 sum:3 buckets:[2]}}x5'}
";

#[test]
fn expected_alerts_and_expressions_pass() {
    let tests = format!(
        "{INPUT}  promql_expr_test:
  - {{expr: 'job:up:sum', eval_time: 0, exp_samples: [{{labels: 'job:up:sum{{job=\"a\"}}', value: 1}}]}}
  - {{expr: 'h', eval_time: 1m, exp_samples: [{{labels: h, histogram: '{{{{count:2 sum:3 counter_reset_hint:not_reset buckets:[2]}}}}'}}]}}
  - {{expr: 'count(ALERTS) by (alertstate)', eval_time: 1m, exp_samples: [{{labels: '{{alertstate=\"pending\"}}', value: 1}}]}}
  alert_rule_test:
  - {{eval_time: 2m, alertname: Down}}
  - eval_time: 3m
    alertname: Down
    exp_alerts:
    - exp_labels: {{severity: page, job: a, instance: x}}
      exp_annotations: {{summary: x is down in eu}}
"
    );
    assert_eq!(
        run(RULES, &tests, None),
        (true, "Processing test file: tests.yml\n  SUCCESS\n\n".into(), String::new())
    );
}

#[test]
fn differences_are_printed_like_promtool_does() {
    let tests = format!(
        "{INPUT}  promql_expr_test:
  - {{expr: 'up', eval_time: 1m, exp_samples: [{{labels: 'up', value: 2.5}}]}}
  - {{expr: 'up +', eval_time: 1m}}
  alert_rule_test:
  - {{eval_time: 3m, alertname: Down}}
"
    );
    let (all_good, out, errors) = run(RULES, &tests, None);
    assert!(!all_good);
    assert_eq!(out, "Processing test file: tests.yml\n\n\n\n\n");
    let expected = r#"  FAILED:
    name: first,
    alertname: Down, time: 3m, 
        exp:[], 
        got:[
            0:
              Labels:{alertname="Down", instance="x", job="a", severity="page"}
              Annotations:{summary="x is down in eu"}
            ]
    expr: "up", time: 1m,
        exp: {__name__="up"} 2.5E+00
        got: {__name__="up", instance="x", job="a"} 0E+00
    expr: "up +", time: 1m, err: 1:5: parse error: unexpected end of input
"#;
    assert_eq!(errors, expected);
}

#[test]
fn invalid_files_are_reported() {
    let bad_rules = "groups:\n- name: g\n  rules:\n  - record: x\n    expr: 'up +'\n";
    let (all_good, _, errors) = run(bad_rules, INPUT, None);
    assert!(!all_good);
    assert_eq!(
        errors,
        "  FAILED:\nrules.yml: 5:11: group \"g\", rule 1, \"x\": could not parse expression: 1:5: parse error: unexpected end of input\n"
    );
    let (all_good, _, errors) = run(RULES, "rule_files: [none.yml]\ntest: []\n", None);
    assert!(!all_good && errors.contains("line 2: field test not found in type main.unitTestFile"), "{errors}");
    let (all_good, _, errors) = run(RULES, "rule_files: [none*.yml]\n", None);
    assert!(all_good && errors.contains("WARNING: no file match pattern none*.yml"), "{errors}");
    let nameless = format!("{INPUT}  alert_rule_test: [{{eval_time: 1m}}]\n");
    let (_, _, errors) = run(RULES, &nameless, None);
    assert!(errors.contains("misses required attribute alertname at eval_time 1m (in TestGroup first)"), "{errors}");
}

#[test]
fn groups_are_selected_by_name_and_start_at_their_timestamp() {
    let tests = format!(
        "{INPUT}  promql_expr_test: [{{expr: 'time()', eval_time: 0, exp_samples: [{{value: 7}}]}}]
- name: second
  start_timestamp: '2024-01-01T00:00:00Z'
  promql_expr_test: [{{expr: 'time()', eval_time: 5m, exp_samples: [{{value: 1704067500}}]}}]
"
    );
    assert!(run(RULES, &tests, Some("^second$")).0);
    assert!(!run(RULES, &tests, Some("first|second")).0);
}

#[test]
fn differences_debugging_and_a_report_are_written_on_demand() {
    let tests = format!("{INPUT}  alert_rule_test:\n  - {{eval_time: 3m, alertname: Down}}\n");
    let folder = tempfile::tempdir().unwrap();
    let junit = folder.path().join("junit.xml");
    let options = TestRulesOptions {
        run: None,
        ignore_unknown_fields: false,
        junit: Some(junit.clone()),
        diff: true,
        debug: true,
    };
    let (all_good, _, errors) = run_with(RULES, &tests, &options);
    assert!(!all_good);
    assert!(
        errors
            .contains("\n+               Labels:{alertname=\"Down\", instance=\"x\", job=\"a\", severity=\"page\"}\n"),
        "{errors}"
    );
    assert!(errors.contains("DEBUG: Starting test first\n") && errors.contains("DEBUG: Test first finished, took "));
    assert!(
        errors.contains("at 3m0s:\n") && errors.contains("\n{__name__=\"job:up:sum\", job=\"a\"} 0E+00\n"),
        "{errors}"
    );
    let report = std::fs::read_to_string(junit).unwrap();
    assert!(
        report.contains("tests=\"1\" failures=\"1\" errors=\"0\"")
            && report.contains("<testcase name=\"first\"><failure>"),
        "{report}"
    );
}

#[test]
fn a_difference_shows_what_was_expected_and_what_was_found() {
    assert_eq!(super::show::difference("a\nb\nc", "a\nx\nc\nd"), "  a\n- b\n+ x\n  c\n+ d");
}
