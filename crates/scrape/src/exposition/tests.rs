use pharos_model::{Labels, METRIC_NAME};
use proptest::prelude::*;

use super::Format;
use super::collect::{read, read_openmetrics, read_text};

/// Writes a series in the text format.
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
        let lines = read_text(&format!("{} {v:?}{suffix}\n", format_series(&labels))).unwrap();
        let at = t.map_or(String::new(), |t| format!(" @{t}"));
        prop_assert_eq!(lines, vec![format!("{labels} {v}{at}")]);
    }

    #[test]
    fn any_bytes_are_parsed_or_refused(body in prop::collection::vec(any::<u8>(), 0..200)) {
        for format in [Format::Text, Format::OpenMetrics, Format::Protobuf] {
            let _ = read(format, &body);
        }
    }

    #[test]
    fn text_that_is_almost_right_is_parsed_or_refused(body in "([a-c{}=\",\\\\ #\t\n1.e+-]|TYPE |HELP |# |\"\\} )*") {
        let _ = read_text(&body);
        let _ = read_openmetrics(&format!("{body}# EOF\n"));
    }
}
