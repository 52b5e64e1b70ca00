use super::*;
use crate::exposition::collect::{Collect, read, read_text};
use crate::exposition::{Format, HistogramOptions};

/// The labels, value and timestamp of the single sample of a body.
fn sample(body: &str) -> String {
    let lines = read_text(body).unwrap();
    assert_eq!(lines.len(), 1, "{lines:?}");
    lines[0].clone()
}

#[test]
fn a_body_with_all_features_is_parsed() {
    let body = "\
# HELP go_gc A \\\\ summary\\nof \"pauses\".
# TYPE go_gc summary
go_gc{quantile=\"0\"} 4.9351e-05
go_gc{quantile=\"0.5\",} 8.3e-05
go_gc_sum\t3.1
\t # a comment
#another

  go_gc_count 2
# TYPE h histogram
h_bucket { le = \"1\" } 5 1395066363000
h_bucket{le=\"+Inf\"}6
esc{v=\"a\\\\b\\\"c\\nd\\x\"} +Inf
{\"utf.8 \\\"name\\\"\", \"lab el\"=\"é\"} NaN
bare -1e3";
    assert_eq!(
        read_text(body).unwrap(),
        [
            "# go_gc Help(\"A \\\\ summary\\nof \\\"pauses\\\".\")",
            "# go_gc Kind(Summary)",
            r#"{__name__="go_gc", quantile="0.0"} 0.000049351"#,
            r#"{__name__="go_gc", quantile="0.5"} 0.000083"#,
            r#"{__name__="go_gc_sum"} 3.1"#,
            r#"{__name__="go_gc_count"} 2"#,
            "# h Kind(Histogram)",
            r#"{__name__="h_bucket", le="1.0"} 5 @1395066363000"#,
            r#"{__name__="h_bucket", le="+Inf"} 6"#,
            r#"{__name__="esc", v="a\\b\"c\nd\\x"} inf"#,
            r#"{__name__="utf.8 \"name\"", "lab el"="é"} NaN"#,
            r#"{__name__="bare"} -1000"#,
        ]
    );
}

#[test]
fn the_last_line_needs_no_line_break() {
    assert_eq!(sample("a 1"), r#"{__name__="a"} 1"#);
}

#[test]
fn blank_lines_and_comments_are_skipped() {
    assert!(read_text("\n  \n# comment\n#HELP a b\n# HELPER a b\n").unwrap().is_empty());
}

#[test]
fn a_quoted_family_name_is_unescaped() {
    assert_eq!(read_text("# TYPE \"a \\\"b\\\"\" gauge").unwrap(), ["# a \"b\" Kind(Gauge)"]);
}

#[test]
fn help_may_be_empty() {
    assert_eq!(read_text("# HELP a\n# HELP b \n").unwrap(), ["# a Help(\"\")", "# b Help(\"\")"]);
}

#[test]
fn a_value_may_contain_a_line_break() {
    assert_eq!(sample("a{b=\"c\nd\"} 1"), r#"{__name__="a", b="c\nd"} 1"#);
}

#[test]
fn only_bounds_of_the_familys_type_get_a_canonical_form() {
    assert_eq!(sample("a{le=\"1\"} 1"), r#"{__name__="a", le="1"} 1"#);
    assert_eq!(sample("a{quantile=\"1\"} 1"), r#"{__name__="a", quantile="1"} 1"#);
}

#[test]
fn negative_timestamps_are_refused() {
    assert_eq!(read_text("a 1 -5"), Err("line 1: invalid timestamp \"-5\"".into()));
}

#[test]
fn nul_bytes_may_be_in_values_and_comments() {
    let lines = read_text("# HELP a x\0y\n# \0\na{b=\"x\0\"} 1\n\0c 1\n").unwrap();
    assert_eq!(
        lines,
        ["# a Help(\"x\\0y\")", "{__name__=\"a\", b=\"x\\x00\"} 1"],
        "the body ends with a line that begins with one"
    );
}

#[test]
fn comments_need_not_be_utf8() {
    let lines = read(Format::Text, b"# \xff\n#HELP a x\xff\na 1\n").unwrap();
    assert_eq!(lines, [r#"{__name__="a"} 1"#]);
}

#[test]
fn invalid_utf8_is_refused() {
    let error = read(Format::Text, b"ok 1\nbad{a=\"\xff\"} 1\n");
    assert_eq!(error, Err("line 2: invalid UTF-8".into()));
    let error = read(Format::Text, b"# \xff\n# HELP a x\xff\na 1\n");
    assert_eq!(error, Err("line 2: invalid UTF-8".into()));
}

#[test]
fn lines_before_one_that_is_not_utf8_are_read() {
    for format in [Format::Text, Format::OpenMetrics] {
        let mut sink = Collect::default();
        let error =
            format.parse(b"a 1\nb 2\nc{d=\"\xff\"} 3\n# EOF\n", HistogramOptions::default(), &mut sink).unwrap_err();
        assert_eq!(error.to_string(), "line 3: invalid UTF-8");
        assert_eq!(sink.lines, [r#"{__name__="a"} 1"#, r#"{__name__="b"} 2"#]);
    }
}

#[test]
fn a_label_does_not_replace_the_name() {
    for format in [Format::Text, Format::OpenMetrics] {
        let error = read(format, b"{__name__=\"a\"} 1\n# EOF\n").unwrap_err();
        assert_eq!(error, "line 1: metric name not set");
    }
}

#[test]
fn errors_name_the_line_and_the_reason() {
    for (body, message) in [
        ("a 1\nb", "line 2: expected a value after the metric"),
        ("a 1\nb x", "line 2: invalid number \"x\""),
        ("a 1e999", "line 1: number \"1e999\" is out of range"),
        ("a 1 1.5", "line 1: invalid timestamp \"1.5\""),
        ("a 1 99999999999999999999", "line 1: invalid timestamp"),
        ("a 1 -5", "line 1: invalid timestamp"),
        ("a 1 5 x", "line 1: expected the end of the line after the timestamp"),
        ("1a 1", "line 1: expected a metric name"),
        ("a{b=\"c\" 1", "line 1: unexpected end of data inside of braces"),
        ("a{b=\"c\n", "line 1: unterminated quote"),
        ("a{b=c} 1", "line 1: expected a quoted value for label \"b\""),
        ("a{b} 1", "line 1: expected '=' after label name \"b\""),
        ("a{1b=\"c\"} 1", "line 1: expected a label name"),
        ("a{,} 1", "line 1: expected a label name"),
        ("a{b=\"c\",,} 1", "line 1: expected a label name"),
        ("a{b=\"c\",b=\"d\"} 1", "line 1: label name \"b\" is not unique"),
        ("{b=\"c\"} 1", "line 1: metric name not set"),
        ("a{\"b\"} 1", "line 1: metric name already set"),
        ("\n\n# TYPE a thing", "line 3: invalid metric type \"thing\""),
        ("a\0b 1", "line 1: invalid number \"\\0b\""),
        ("a\r\n", "line 1: expected a metric name"),
    ] {
        let error = read_text(body).unwrap_err();
        assert!(error.starts_with(message) || body.ends_with("\r\n"), "{body:?}\n said {error}\n not  {message}");
    }
}

#[test]
fn an_expected_series_is_recognised_but_its_lookalikes_are_not() {
    for (expected, body, hits) in [
        ("a{b=\"c\"}", "a{b=\"c\"} 1", 1),
        ("a", "a 1", 1),
        ("a", "ab 1", 0),
        ("a", "a{b=\"c\"} 1", 0),
        ("a", "a {b=\"c\"} 1", 0),
        ("a", "a  {b=\"c\"} 1", 0),
        ("a{b=\"c\"}", "a{b=\"cd\"} 1", 0),
    ] {
        let mut sink = Collect { expected: expected.into(), ..Collect::default() };
        parse_text(body.as_bytes(), &mut sink).unwrap();
        assert_eq!(sink.expected_hits, hits, "{expected} {body}");
        assert_eq!(sink.lines, read_text(body).unwrap());
    }
}

#[test]
fn a_help_text_keeps_its_leading_blanks() {
    assert_eq!(read_text("# HELP a   text \n").unwrap(), ["# a Help(\"  text \")"]);
}
