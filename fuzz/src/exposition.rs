//! Bodies of scrape targets in the text format, OpenMetrics and protobuf.
//!
//! The first byte holds format and options, the rest is the body. A body is parsed twice. The second time the parser expects
//! the series of the first pass, so that its fast path must find exactly what the slow one found.

use pharos_model::{Histogram, LabelsBuilder, labels::check_canonical};
use pharos_scrape::exposition::{
    ClassicToNative, ExpositionError, Format, HistogramOptions, MetadataField, SampleIndex, SampleInfo, SeriesKey, Sink,
};

/// Records what it is given, and expects the series of an earlier pass in their order.
#[derive(Default)]
struct Notes {
    expected: Vec<Vec<u8>>,
    keys: Vec<Vec<u8>>,
    found: Vec<String>,
}

impl Notes {
    fn note(&mut self, series: SeriesKey<'_>, what: String, info: SampleInfo<'_>) -> Result<(), ExpositionError> {
        let mut builder = LabelsBuilder::default();
        series.labels.read(&mut builder).map_err(ExpositionError::new)?;
        let labels = builder.build();
        check_canonical(labels.as_bytes()).expect("labels are canonical");
        self.keys.push(series.key.to_vec());
        self.found.push(format!("{labels} {what} {:?} {} {:?}", info.t, info.st, info.exemplars));
        Ok(())
    }
}

impl Sink for Notes {
    fn expected(&self) -> &[u8] {
        self.expected.get(self.keys.len()).map_or(b"", Vec::as_slice)
    }

    fn metadata(&mut self, family: &str, field: MetadataField<'_>) {
        self.found.push(format!("{family} {field:?}"));
    }

    fn float(&mut self, series: SeriesKey<'_>, v: f64, info: SampleInfo<'_>) -> Result<SampleIndex, ExpositionError> {
        self.note(series, format!("{:x}", v.to_bits()), info)?;
        Ok(Some(self.found.len() as u32 - 1))
    }

    fn histogram(&mut self, series: SeriesKey<'_>, h: Histogram, info: SampleInfo<'_>) -> Result<(), ExpositionError> {
        self.note(series, format!("{h:?}"), info)
    }

    fn set_start(&mut self, slot: SampleIndex, st: i64) {
        if let Some(line) = slot {
            self.found[line as usize] += &format!(" start {st}");
        }
    }
}

fn read(choice: u8, body: &[u8], expected: Vec<Vec<u8>>) -> (Result<(), ExpositionError>, Notes) {
    let format = match choice & 3 {
        0 => Format::Text,
        1 => Format::OpenMetrics,
        _ => Format::Protobuf,
    };
    let options = HistogramOptions {
        native: choice & 4 != 0,
        always_classic: choice & 8 != 0,
        classic_to_nhcb: choice & 16 != 0,
    };
    let mut notes = Notes { expected, ..Notes::default() };
    let result = if options.classic_to_nhcb {
        let mut converting = ClassicToNative::new(&mut notes, choice & 32 != 0);
        format.parse(body, options, &mut converting).and_then(|()| converting.finish())
    } else {
        format.parse(body, options, &mut notes)
    };
    (result, notes)
}

/// Feeds one input.
pub fn run(data: &[u8]) {
    let Some((&choice, body)) = data.split_first() else { return };
    let (first, notes) = read(choice, body, Vec::new());
    let (second, again) = read(choice, body, notes.keys.clone());
    assert_eq!(first, second, "expected series change the outcome");
    assert_eq!(notes.found, again.found, "expected series change what is found");
}

/// Valid inputs.
pub fn seeds() -> Vec<Vec<u8>> {
    let text = "# HELP a_total Help \\\\ with\\nescapes.\n# TYPE a_total counter\na_total{b=\"c\\\"\\\\\",d=\"\"} 1.5e3 1395066363000\n\
        # TYPE h histogram\nh_bucket{le=\"0.5\"} 1\nh_bucket{le=\"+Inf\"} 3\nh_sum 2.5\nh_count 3\n{\"quoted.name\",\"l.n\"=\"v\"} NaN\nup -Inf\n";
    let open = "# TYPE a counter\n# UNIT a_seconds seconds\n# HELP a help\na_total{x=\"y\"} 17 1520879607.789 # {trace_id=\"z\"} 0.5 1520879607.5\n\
        a_created{x=\"y\"} 1520430000.123\n# TYPE h histogram\nh_bucket{le=\"1\"} 1 # {t=\"u\"} 1\nh_bucket{le=\"+Inf\"} 2\nh_count 2\nh_sum 3\nh_created 1\n\
        # TYPE s stateset\ns{s=\"on\"} 1\n# EOF\n";
    let mut seeds = Vec::new();
    for options in [0u8, 4, 8 | 4, 16, 16 | 32, 4 | 16] {
        seeds.push([&[options][..], text.as_bytes()].concat());
        seeds.push([&[1 | options][..], open.as_bytes()].concat());
        seeds.push([&[2 | options][..], &protobuf()].concat());
    }
    seeds
}

fn protobuf() -> Vec<u8> {
    use pharos_transport::client::{
        Bucket, BucketSpan, Counter, Exemplar, Histogram, LabelPair, Metric, MetricFamily, MetricType,
    };
    use prost::Message;
    let label = |n: &str, v: &str| LabelPair { name: Some(n.into()), value: Some(v.into()) };
    let exemplar = Exemplar { label: vec![label("trace", "x")], value: Some(0.7), ..Default::default() };
    let counter = Metric {
        label: vec![label("job", "a")],
        counter: Some(Counter { value: Some(7.0), exemplar: Some(exemplar.clone()), ..Default::default() }),
        timestamp_ms: Some(1000),
        ..Default::default()
    };
    let bucket = |le, count| Bucket {
        cumulative_count: Some(count),
        upper_bound: Some(le),
        exemplar: Some(exemplar.clone()),
        ..Default::default()
    };
    let histogram = Histogram {
        sample_count: Some(9),
        sample_sum: Some(12.5),
        bucket: vec![bucket(0.5, 4), bucket(1.0, 9)],
        schema: Some(2),
        zero_threshold: Some(0.001),
        zero_count: Some(2),
        positive_span: vec![
            BucketSpan { offset: Some(-2), length: Some(2) },
            BucketSpan { offset: Some(3), length: Some(1) },
        ],
        positive_delta: vec![2, 1, -1],
        ..Default::default()
    };
    let histogram = Metric { label: vec![label("job", "a")], histogram: Some(histogram), ..Default::default() };
    let family = |name: &str, kind: MetricType, metric| MetricFamily {
        name: Some(name.into()),
        help: Some("help".into()),
        r#type: Some(kind as i32),
        metric: vec![metric],
        ..Default::default()
    };
    let mut out = family("a_total", MetricType::Counter, counter).encode_length_delimited_to_vec();
    out.extend(family("h", MetricType::Histogram, histogram).encode_length_delimited_to_vec());
    out
}
