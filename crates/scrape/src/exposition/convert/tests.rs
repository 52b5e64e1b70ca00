use super::*;
use crate::exposition::collect::Collect;
use crate::exposition::parse_text;

/// Converts a body in the text format.
fn converted(body: &str, keep_classic: bool) -> Collect {
    let mut sink = Collect::default();
    let mut converter = ClassicToNative::new(&mut sink, keep_classic);
    parse_text(body.as_bytes(), &mut converter).unwrap();
    converter.finish().unwrap();
    sink
}

const TWO_HISTOGRAMS: &str = "\
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

#[test]
fn each_classic_histogram_becomes_one_native_histogram() {
    assert_eq!(
        converted(TWO_HISTOGRAMS, false).lines,
        [
            "# h Kind(Histogram)",
            r#"{__name__="h", a="1"} histogram"#,
            "# other Kind(Gauge)",
            r#"{__name__="h", a="2"} histogram"#,
            r#"{__name__="other"} 1"#,
        ]
    );
}

#[test]
fn the_native_form_has_the_buckets_of_the_classic_one() {
    let histogram = &converted(TWO_HISTOGRAMS, false).histograms[0];
    assert_eq!(histogram.schema, CUSTOM_BUCKETS_SCHEMA);
    assert_eq!(histogram.count, 5.0);
    assert_eq!(histogram.sum, 12.0);
    assert_eq!(histogram.custom_values[..], [1.0, 2.0, 4.0]);
    assert_eq!(histogram.positive_buckets, [1.0, 3.0, 1.0]);
    assert_eq!(histogram.positive_spans.len(), 2, "the empty bucket is left out");
    assert!(histogram.integer);
}

#[test]
fn a_malformed_series_ends_the_body_before_the_histogram_in_front_of_it() {
    let mut sink = Collect::default();
    let mut converter = ClassicToNative::new(&mut sink, false);
    let body = b"# TYPE h histogram\nh_bucket{le=\"+Inf\"} 1\nh_sum 1\nh_count 1\n{a=\"b\"} 1\n";
    parse_text(body, &mut converter).unwrap_err();
    assert_eq!(sink.lines, ["# h Kind(Histogram)"]);
}

#[test]
fn classic_series_are_kept_on_demand() {
    let lines = converted(TWO_HISTOGRAMS, true).lines;
    assert_eq!(lines.len(), 5 + 9, "{lines:?}");
}

#[test]
fn parts_that_contradict_one_another_are_not_converted() {
    let body = "# TYPE h histogram\nh_bucket{le=\"+Inf\"} 5\nh_sum 1\nh_count 6\n";
    assert!(converted(body, false).histograms.is_empty());
}

#[test]
fn decreasing_bucket_counts_are_not_converted() {
    let body = "# TYPE h histogram\nh_bucket{le=\"1\"} 5\nh_bucket{le=\"+Inf\"} 3\nh_sum 1\nh_count 3\n";
    assert!(converted(body, false).histograms.is_empty());
}

#[test]
fn a_missing_count_is_that_of_the_last_bucket() {
    let body = "# TYPE h histogram\nh_bucket{le=\"1\"} 2\nh_bucket{le=\"+Inf\"} 3\nh_sum 4\n";
    assert_eq!(converted(body, false).histograms[0].count, 3.0);
}

#[test]
fn fractions_make_a_float_histogram() {
    let body = "# TYPE h histogram\nh_bucket{le=\"+Inf\"} 1.5\nh_sum 4\nh_count 1.5\n";
    assert!(!converted(body, false).histograms[0].integer);
}

#[test]
fn series_outside_a_histogram_family_pass_through() {
    let body = "# TYPE h counter\nh_bucket{le=\"1\"} 5\nh_count 6\n";
    let sink = converted(body, false);
    assert!(sink.histograms.is_empty());
    assert_eq!(sink.lines.len(), 3);
}

#[test]
fn too_many_buckets_are_refused() {
    let mut body = "# TYPE h histogram\n".to_string();
    for bound in 0..=MAX_BUCKETS {
        body += &format!("h_bucket{{le=\"{bound}\"}} 1\n");
    }
    let mut sink = Collect::default();
    let error = parse_text(body.as_bytes(), &mut ClassicToNative::new(&mut sink, false)).unwrap_err();
    assert_eq!(error.reason, "more than 10000 buckets");
}

#[test]
fn ordered_bits_sort_as_floats_do() {
    let floats = [f64::NEG_INFINITY, -2.0, -0.5, 0.0, 1e-300, 0.5, 2.0, f64::INFINITY];
    assert!(floats.windows(2).all(|pair| ordered_bits(pair[0]) < ordered_bits(pair[1])));
    assert!(floats.iter().all(|v| from_ordered_bits(ordered_bits(*v)) == *v));
}

#[test]
fn of_two_spellings_of_a_bound_the_first_counts() {
    let body = "# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_bucket{le=\"1.0\"} 7\nh_bucket{le=\"+Inf\"} 3\nh_count 3\n";
    let histogram = &converted(body, false).histograms[0];
    assert_eq!((&histogram.custom_values[..], &histogram.positive_buckets[..]), (&[1.0][..], &[1.0, 2.0][..]));
}

#[test]
fn bounds_are_read_as_go_reads_numbers() {
    let body = "# TYPE h histogram\nh_bucket{le=\"0x1p-1\"} 1\nh_bucket{le=\"1_0\"} 2\nh_bucket{le=\"NaN\"} 9\n\
                h_bucket{le=\"infinity\"} 3\nh_count 3\n";
    let collected = converted(body, false);
    let histograms: Vec<_> = collected.histograms.iter().map(|h| h.custom_values.to_vec()).collect();
    assert_eq!(collected.lines.iter().filter(|line| line.contains("NaN")).count(), 1, "{:?}", collected.lines);
    assert_eq!(histograms.concat(), [0.5, 10.0]);
}
