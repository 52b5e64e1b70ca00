use pharos_histogram::CUSTOM_BUCKETS_SCHEMA;
use pharos_model::{Labels, METRIC_NAME};
use pharos_transport::client;
use proptest::prelude::*;
use prost::Message;

use super::collect::Collect;
use super::*;

fn read(format: Format, body: &[u8]) -> Result<Vec<String>, String> {
    let mut sink = Collect::default();
    let options = HistogramOptions { native: true, ..HistogramOptions::default() };
    format.parse(body, options, &mut sink).map_err(|e| e.to_string())?;
    Ok(sink.lines)
}

fn text(body: &str) -> Result<Vec<String>, String> {
    read(Format::Text, body.as_bytes())
}

fn openmetrics(body: &str) -> Result<Vec<String>, String> {
    read(Format::OpenMetrics, body.as_bytes())
}

#[test]
fn text_format() {
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
        text(body).unwrap(),
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
fn text_mistakes_name_line_and_reason() {
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
        ("a 1\n\0", "line 2: unexpected NUL byte"),
        ("a\r\n", "line 1: expected a metric name"),
    ] {
        let error = text(body).unwrap_err();
        assert!(error.starts_with(message) || body.ends_with("\r\n"), "{body:?}\n said {error}\n not  {message}");
    }
    let error = read(Format::Text, b"ok 1\nbad{a=\"\xff\"} 1\n").unwrap_err();
    assert_eq!(error, "line 2: invalid UTF-8");
}

#[test]
fn openmetrics_text() {
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
        openmetrics(body).unwrap(),
        [
            "# foo_seconds Kind(Counter)",
            "# foo_seconds Unit(\"seconds\")",
            "# foo_seconds Help(\"Some \\\"help\\\".\")",
            r#"{__name__="foo_seconds_total", a="b"} 17 @1520879607789 # {trace_id="KOO5S4vxi0o"} 0.67 @1520879607123 st=1520430000123"#,
            r#"{__name__="foo_seconds_total", a="c"} 1 # {} 3"#,
            "# h Kind(Histogram)",
            r#"{__name__="h_bucket", a="x", le="1.0"} 1 st=1520430000000"#,
            r#"{__name__="h_bucket", a="x", le="+Inf"} 2 st=1520430000000"#,
            r#"{__name__="h_count", a="x"} 2 st=1520430000000"#,
            r#"{__name__="h_sum", a="x"} 3 st=1520430000000"#,
            "# g Kind(Gauge)",
            r#"{__name__="g_created"} 5"#,
        ]
    );
}

#[test]
fn openmetrics_is_strict() {
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
        let error = openmetrics(body).unwrap_err();
        assert!(error.starts_with(message), "{body:?}\n said {error}\n not  {message}");
    }
}

#[test]
fn an_expected_series_is_recognised_and_its_lookalikes_are_not() {
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
        assert_eq!(sink.lines, text(body).unwrap());
    }
}

#[test]
fn a_created_line_is_one_although_a_series_of_its_name_is_expected() {
    let body = "# TYPE h histogram\nh_count 2\nh_created 1\n# TYPE s stateset\nh_created 1\n# EOF\n";
    let mut sink = Collect { expected: "h_created".into(), ..Collect::default() };
    Format::OpenMetrics.parse(body.as_bytes(), HistogramOptions::default(), &mut sink).unwrap();
    assert_eq!(sink.lines, openmetrics(body).unwrap());
    assert_eq!(sink.expected_hits, 1, "that of no histogram is a series");
}

#[test]
fn formats_are_negotiated_by_content_type() {
    let negotiate = |kind: &str| Format::negotiate(kind, None);
    assert_eq!(negotiate("text/plain; version=0.0.4; charset=utf-8"), Ok(Format::Text));
    assert_eq!(negotiate("application/openmetrics-text; version=1.0.0"), Ok(Format::OpenMetrics));
    assert_eq!(
        negotiate("application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"),
        Ok(Format::Protobuf)
    );
    assert!(negotiate("").unwrap_err().reason.contains("blank Content-Type"));
    assert!(negotiate("text/html").unwrap_err().reason.contains("unsupported Content-Type"));
    assert_eq!(Format::negotiate("text/html", Some(ScrapeProtocol::PrometheusText0_0_4)), Ok(Format::Text));
}

fn pair(name: &str, value: &str) -> client::LabelPair {
    client::LabelPair { name: Some(name.into()), value: Some(value.into()) }
}

fn native() -> client::Histogram {
    client::Histogram {
        sample_count: Some(6),
        sample_sum: Some(12.5),
        schema: Some(1),
        zero_threshold: Some(0.001),
        zero_count: Some(1),
        positive_span: vec![client::BucketSpan { offset: Some(0), length: Some(2) }],
        positive_delta: vec![2, 1],
        bucket: vec![client::Bucket { cumulative_count: Some(4), upper_bound: Some(1.0), ..Default::default() }],
        created_timestamp: Some(prost_types::Timestamp { seconds: 1, nanos: 500_000_000 }),
        ..Default::default()
    }
}

fn histogram_family(histogram: client::Histogram) -> Vec<u8> {
    client::MetricFamily {
        name: Some("h".into()),
        help: Some("help".into()),
        r#type: Some(client::MetricType::Histogram as i32),
        metric: vec![client::Metric {
            label: vec![pair("z", "1"), pair("a", "2")],
            histogram: Some(histogram),
            ..Default::default()
        }],
        unit: None,
    }
    .encode_length_delimited_to_vec()
}

#[test]
fn protobuf_with_native_histograms() {
    let mut sink = Collect::default();
    let options = HistogramOptions { native: true, always_classic: true, classic_to_nhcb: false };
    parse_protobuf(&histogram_family(native()), options, &mut sink).unwrap();
    assert_eq!(
        sink.lines,
        [
            "# h Help(\"help\")",
            "# h Kind(Histogram)",
            r#"{__name__="h", a="2", z="1"} histogram st=1500"#,
            r#"{__name__="h_count", a="2", z="1"} 6 st=1500"#,
            r#"{__name__="h_sum", a="2", z="1"} 12.5 st=1500"#,
            r#"{__name__="h_bucket", a="2", le="1.0", z="1"} 4 st=1500"#,
            r#"{__name__="h_bucket", a="2", le="+Inf", z="1"} 6 st=1500"#,
        ]
    );
    let h = &sink.histograms[0];
    assert_eq!((h.integer, h.positive_buckets.as_slice(), h.zero_count, h.count), (true, &[2.0, 3.0][..], 1.0, 6.0));
}

#[test]
fn hostile_protobuf_is_refused() {
    let good = histogram_family(native());
    for cut in 1..good.len() {
        assert!(read(Format::Protobuf, &good[..cut]).is_err(), "cut at {cut}");
    }
    let spans_without_buckets = client::Histogram {
        positive_span: vec![client::BucketSpan { offset: Some(0), length: Some(u32::MAX) }],
        ..native()
    };
    assert!(read(Format::Protobuf, &histogram_family(spans_without_buckets)).unwrap_err().contains("native histogram"));
    assert!(read(Format::Protobuf, &[0xff; 20]).is_err());
    let huge = [&[0xff, 0xff, 0xff, 0xff, 0x0f][..], b"x"].concat();
    assert!(read(Format::Protobuf, &huge).unwrap_err().contains("cut off"));
}

#[test]
fn classic_histograms_become_native_ones() {
    let body = "\
# TYPE h histogram
h_bucket{a=\"1\",le=\"1\"} 1
h_bucket{a=\"1\",le=\"2\"} 1
h_bucket{a=\"1\",le=\"4\"} 4
h_bucket{a=\"1\",le=\"+Inf\"} 5
h_sum{a=\"1\"} 12
h_count{a=\"1\"} 5
h_bucket{a=\"2\",le=\"+Inf\"} 0
h_sum{a=\"2\"} 0
h_count{a=\"2\"} 0
# TYPE other gauge
other 1
";
    let mut sink = Collect::default();
    let mut converter = ClassicToNative::new(&mut sink, false);
    parse_text(body.as_bytes(), &mut converter).unwrap();
    converter.finish().unwrap();
    assert_eq!(
        sink.lines,
        [
            "# h Kind(Histogram)",
            r#"{__name__="h", a="1"} histogram"#,
            "# other Kind(Gauge)",
            r#"{__name__="h", a="2"} histogram"#,
            r#"{__name__="other"} 1"#,
        ]
    );
    let h = &sink.histograms[0];
    assert_eq!((h.schema, h.count, h.sum), (CUSTOM_BUCKETS_SCHEMA, 5.0, 12.0));
    assert_eq!((&h.custom_values[..], &h.positive_buckets[..]), (&[1.0, 2.0, 4.0][..], &[1.0, 3.0, 1.0][..]));
    assert_eq!(h.positive_spans.len(), 2);
}

/// Writes a series as the text format has it.
fn format_series(labels: &Labels) -> String {
    let quote = |v: &str| format!("\"{}\"", v.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"));
    let others = labels.iter().filter(|(name, _)| *name != METRIC_NAME);
    let pairs: Vec<_> = others.map(|(name, value)| format!("{}={}", quote(name), quote(value))).collect();
    format!("{{{},{}}}", quote(labels.metric_name()), pairs.join(","))
}

proptest! {
    #[test]
    fn formatted_series_parse_back(
        name in "[^\0]{1,12}",
        pairs in prop::collection::btree_map("[^\0]{1,8}", "[^\0]{1,12}", 0..6),
        v in any::<f64>().prop_filter("a number", |v| v.is_finite()),
        t in prop::option::of(0i64..1 << 50),
    ) {
        let mut all = pairs.clone();
        all.insert(METRIC_NAME.to_string(), name);
        let labels = Labels::from_pairs(&all);
        let suffix = t.map_or(String::new(), |t| format!(" {t}"));
        let lines = text(&format!("{} {v:?}{suffix}\n", format_series(&labels))).unwrap();
        let at = t.map_or(String::new(), |t| format!(" @{t}"));
        prop_assert_eq!(lines, vec![format!("{labels} {v}{at}")]);
    }

    #[test]
    fn any_bytes_are_read_or_refused(body in prop::collection::vec(any::<u8>(), 0..200)) {
        for format in [Format::Text, Format::OpenMetrics, Format::Protobuf] {
            let _ = read(format, &body);
        }
    }

    #[test]
    fn almost_right_text_is_read_or_refused(body in "([a-c{}=\",\\\\ #\t\n1.e+-]|TYPE |HELP |# |\"\\} )*") {
        let _ = text(&body);
        let _ = openmetrics(&format!("{body}# EOF\n"));
    }
}
