use crate::exposition::collect::{Collect, read_openmetrics};
use crate::exposition::{Format, HistogramOptions};

#[test]
fn a_body_with_all_features_is_parsed() {
    let body = "\
# TYPE foo_seconds counter
# UNIT foo_seconds seconds
# HELP foo_seconds Some \\\"help\\\".
foo_seconds_total{a=\"b\"} 17.0 1520879607.789 # {trace_id=\"KOO5S4vxi0o\"} 0.67 1520879607.123
foo_seconds_created{a=\"b\"} 1520430000.123
foo_seconds_total{a=\"c\"} 1 # {} 3
# TYPE h histogram
h_bucket{a=\"x\",le=\"1\"} 1
h_bucket{a=\"x\",le=\"+Inf\"} 2
h_count{a=\"x\"} 2
h_sum{a=\"x\"} 3
h_created{a=\"x\"} 1520430000
# TYPE g gauge
g_created 5
# EOF
";
    assert_eq!(
        read_openmetrics(body).unwrap(),
        [
            "# foo_seconds Kind(Counter)",
            "# foo_seconds Unit(\"seconds\")",
            "# foo_seconds Help(\"Some \\\"help\\\".\")",
            r#"{__name__="foo_seconds_total", a="b"} 17 @1520879607789 # {trace_id="KOO5S4vxi0o"} 0.67 @1520879607123 st=1520430000123"#,
            r#"{__name__="foo_seconds_created", a="b"} 1520430000.123"#,
            r#"{__name__="foo_seconds_total", a="c"} 1 # {} 3"#,
            "# h Kind(Histogram)",
            r#"{__name__="h_bucket", a="x", le="1.0"} 1 st=1520430000000"#,
            r#"{__name__="h_bucket", a="x", le="+Inf"} 2 st=1520430000000"#,
            r#"{__name__="h_count", a="x"} 2 st=1520430000000"#,
            r#"{__name__="h_sum", a="x"} 3 st=1520430000000"#,
            r#"{__name__="h_created", a="x"} 1520430000"#,
            "# g Kind(Gauge)",
            r#"{__name__="g_created"} 5"#,
        ]
    );
}

#[test]
fn errors_name_the_line_and_the_reason() {
    for (body, message) in [
        ("", "line 1: data does not end with # EOF"),
        ("a 1\n", "line 2: data does not end with # EOF"),
        ("a 1\n# EOF\nb 1\n", "line 3: unexpected data after # EOF"),
        ("a 1", "line 1: data does not end with # EOF"),
        ("a  1\n# EOF\n", "line 1: expected a value after the metric"),
        (" a 1\n# EOF\n", "line 1: expected a metric name"),
        ("\n# EOF\n", "line 1: expected a metric name"),
        ("# comment\n# EOF\n", "line 1: expected HELP, TYPE, UNIT or EOF"),
        ("# TYPE a untyped\n# EOF\n", "line 1: invalid metric type \"untyped\""),
        ("# UNIT a_seconds minutes\n# EOF\n", "line 1: unit \"minutes\" not a suffix of metric \"a_seconds\""),
        ("a{b = \"c\"} 1\n# EOF\n", "line 1: expected '='"),
        ("a{b=\"c\" d=\"e\"} 1\n# EOF\n", "line 1: expected ',' or '}'"),
        ("a 1 NaN\n# EOF\n", "line 1: invalid timestamp"),
        ("a 1 # {a=\"b\"}\n# EOF\n", "line 1: expected a value after the exemplar's labels"),
        ("a 1 # {\"b\"} 1\n# EOF\n", "line 1: expected a label name"),
        ("a 1 # x\n# EOF\n", "line 1: expected the end of the line or an exemplar"),
        ("a 1 5 6\n# EOF\n", "line 1: expected the end of the line or an exemplar"),
    ] {
        let error = read_openmetrics(body).unwrap_err();
        assert!(error.starts_with(message), "{body:?}\n said {error}\n not  {message}");
    }
}

#[test]
fn a_created_line_is_recognised_even_when_a_series_of_that_name_is_expected() {
    let body = "# TYPE h histogram\nh_count 2\nh_created 1\n# TYPE s stateset\nh_created 1\n# EOF\n";
    let mut sink = Collect { expected: "h_created".into(), ..Collect::default() };
    Format::OpenMetrics.parse(body.as_bytes(), HistogramOptions::default(), &mut sink).unwrap();
    assert_eq!(sink.lines, read_openmetrics(body).unwrap());
    assert_eq!(sink.expected_hits, 2, "it is a series besides");
}

#[test]
fn a_body_may_end_without_a_line_break_after_eof() {
    assert_eq!(read_openmetrics("a 1\n# EOF").unwrap(), [r#"{__name__="a"} 1"#]);
}

#[test]
fn timestamps_are_seconds_with_a_fraction() {
    assert_eq!(read_openmetrics("a 1 -1.5\n# EOF").unwrap(), [r#"{__name__="a"} 1 @-1500"#]);
}

#[test]
fn a_unit_may_be_empty() {
    assert_eq!(read_openmetrics("# UNIT a \n# EOF").unwrap(), ["# a Unit(\"\")"]);
}

#[test]
fn a_created_line_only_starts_samples_of_its_own_metric() {
    let body = "# TYPE a counter\na_total{x=\"1\"} 1\na_total{x=\"2\"} 2\na_created{x=\"2\"} 3\n# EOF\n";
    let lines = read_openmetrics(body).unwrap();
    assert_eq!(lines[1..3], [r#"{__name__="a_total", x="1"} 1"#, r#"{__name__="a_total", x="2"} 2 st=3000"#]);
}

#[test]
fn a_created_line_starts_the_quantiles_of_a_summary() {
    let body = "# TYPE s summary\ns{quantile=\"0.5\",x=\"1\"} 1\ns_count{x=\"1\"} 2\ns_created{x=\"1\"} 3\n# EOF\n";
    let lines = read_openmetrics(body).unwrap();
    assert!(lines[1..3].iter().all(|line| line.ends_with("st=3000")), "{lines:?}");
    assert_eq!(lines[3], r#"{__name__="s_created", x="1"} 3"#);
}

#[test]
fn a_created_line_with_a_quoted_name_is_recognised() {
    let body = "# TYPE \"a.b\" counter\n{\"a.b_total\",x=\"1\"} 1\n{\"a.b_created\",x=\"1\"} 3\n# EOF\n";
    assert_eq!(read_openmetrics(body).unwrap()[1..2], [r#"{__name__="a.b_total", x="1"} 1 st=3000"#]);
}

#[test]
fn a_timestamp_out_of_range_costs_its_line_only() {
    let body = "# TYPE a gauge\na{x=\"1\"} 1 12345678901234567890.123\na{x=\"2\"} 2\n# EOF\n";
    let lines = read_openmetrics(body).unwrap();
    assert_eq!(
        lines[1..],
        [format!("{{__name__=\"a\", x=\"1\"}} 1 @{}", i64::MAX), r#"{__name__="a", x="2"} 2"#.into()]
    );
}

#[test]
fn nul_bytes_may_be_in_help_texts_and_values() {
    let lines = read_openmetrics("# TYPE a counter\n# HELP a he\0lp\na_total{x=\"\0\"} 1\n# EOF\n").unwrap();
    assert_eq!(lines[1..], ["# a Help(\"he\\0lp\")", "{__name__=\"a_total\", x=\"\\x00\"} 1"]);
}

#[test]
fn an_exemplar_with_a_label_twice_is_left_out() {
    let lines = read_openmetrics("a 1 # {t=\"1\",t=\"2\"} 1 1\nb 2\n# EOF\n").unwrap();
    assert_eq!(lines, ["{__name__=\"a\"} 1", "{__name__=\"b\"} 2"]);
}
