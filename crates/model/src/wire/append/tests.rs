use proptest::prelude::*;

use super::*;

/// Remembers what a record contains.
#[derive(Default, Debug, PartialEq)]
struct Recorder {
    series: Vec<Vec<u8>>,
    samples: Vec<(u32, [u64; 3])>,
    histograms: Vec<(u32, HistogramSample)>,
    exemplars: Vec<(u32, Exemplar)>,
    metadata: Vec<(String, Metadata)>,
    /// A series whose histograms are not wanted.
    unwanted: Option<u32>,
}

impl AppendVisitor for Recorder {
    fn series(&mut self, canonical: &[u8]) -> Result<(), Malformed> {
        self.series.push(canonical.to_vec());
        Ok(())
    }

    fn sample(&mut self, series: u32, s: &Sample) -> Result<(), Malformed> {
        self.samples.push((series, [s.t as u64, s.v.to_bits(), s.st as u64]));
        Ok(())
    }

    fn wants(&self, series: u32) -> Result<bool, Malformed> {
        Ok(self.unwanted != Some(series))
    }

    fn histogram(&mut self, series: u32, s: HistogramSample) -> Result<(), Malformed> {
        self.histograms.push((series, s));
        Ok(())
    }

    fn exemplar(&mut self, series: u32, e: Exemplar) -> Result<(), Malformed> {
        self.exemplars.push((series, e));
        Ok(())
    }

    fn metadata(&mut self, family: String, metadata: Metadata) {
        self.metadata.push((family, metadata));
    }
}

fn read(bytes: &[u8]) -> Recorder {
    let mut recorder = Recorder::default();
    read_append(Reader::new(bytes), &mut recorder).unwrap();
    recorder
}

fn finished(encoder: &mut AppendEncoder) -> Vec<u8> {
    let mut out = Vec::new();
    encoder.finish(&mut out);
    out
}

/// What a record of these floats reads back as.
fn round_trip(samples: &[(u32, Sample)]) -> Vec<(u32, [u64; 3])> {
    let mut encoder = AppendEncoder::default();
    samples.iter().for_each(|(series, sample)| encoder.sample(*series, sample));
    read(&finished(&mut encoder)).samples
}

fn bits(samples: &[(u32, Sample)]) -> Vec<(u32, [u64; 3])> {
    samples.iter().map(|(series, s)| (*series, [s.t as u64, s.v.to_bits(), s.st as u64])).collect()
}

#[test]
fn a_record_without_content_is_five_empty_sections() {
    let mut encoder = AppendEncoder::default();
    assert!(encoder.is_empty());
    let bytes = finished(&mut encoder);
    assert_eq!(bytes, [0; 5]);
    assert_eq!(read(&bytes), Recorder::default());
}

#[test]
fn declared_series_are_read_in_order() {
    let mut encoder = AppendEncoder::default();
    encoder.series(b"a");
    encoder.series(b"bc");
    assert_eq!(encoder.declared_bytes(), 5);
    assert_eq!(read(&finished(&mut encoder)).series, [b"a".to_vec(), b"bc".to_vec()]);
}

#[test]
fn values_of_every_length_round_trip() {
    let values = [0.0, -0.0, 1.0, -1.0, 255.0, 1e6, 0.1, 1e300, f64::NAN, f64::INFINITY, crate::STALE_NAN];
    let powers = (0..54).map(|power| 2f64.powi(power) - 1.0);
    let samples: Vec<_> = values.into_iter().chain(powers).map(|v| (0, Sample { t: 0, v, st: 0 })).collect();
    assert_eq!(round_trip(&samples), bits(&samples));
}

#[test]
fn the_next_series_at_the_same_time_takes_two_bytes() {
    let mut encoder = AppendEncoder::default();
    encoder.sample(0, &Sample { t: 1000, v: 1.0, st: 0 });
    let before = encoder.bytes();
    encoder.sample(1, &Sample { t: 1000, v: 7.0, st: 0 });
    assert_eq!(encoder.bytes() - before, 2);
}

#[test]
fn times_and_references_at_the_ends_of_their_range_round_trip() {
    let samples = [
        (u32::MAX, Sample { t: i64::MIN, v: 1.0, st: i64::MAX }),
        (0, Sample { t: i64::MAX, v: 1.0, st: i64::MIN }),
        (u32::MAX, Sample { t: 0, v: 1.0, st: 0 }),
    ];
    assert_eq!(round_trip(&samples), bits(&samples));
}

#[test]
fn an_encoder_is_reused_after_a_record() {
    let mut encoder = AppendEncoder::default();
    let sample = Sample { t: 5, v: 1.0, st: 3 };
    encoder.sample(9, &sample);
    let first = finished(&mut encoder);
    assert!(encoder.is_empty());
    encoder.sample(9, &sample);
    assert_eq!(finished(&mut encoder), first, "records do not depend on each other");
}

#[test]
fn histograms_exemplars_and_metadata_round_trip() {
    let mut encoder = AppendEncoder::default();
    let histogram = HistogramSample { t: 3, st: 1, h: Histogram { count: 2.0, ..Histogram::default() }.into() };
    let exemplar = Exemplar { labels: Labels::from_pairs([("trace_id", "x")]), value: 1.5, t: 4 };
    let metadata = Metadata { kind: MetricType::Counter, unit: "s".into(), help: "Helps.".into() };
    encoder.histogram(1, &histogram);
    encoder.exemplar(2, &exemplar);
    encoder.metadata("up", &metadata);
    let read = read(&finished(&mut encoder));
    assert_eq!(read.histograms, [(1, histogram)]);
    assert_eq!(read.exemplars, [(2, exemplar)]);
    assert_eq!(read.metadata, [("up".to_string(), metadata)]);
}

#[test]
fn unwanted_histograms_are_skipped() {
    let mut encoder = AppendEncoder::default();
    for series in 0..3 {
        encoder.histogram(series, &HistogramSample { t: 0, st: 0, h: Histogram::default().into() });
    }
    let mut recorder = Recorder { unwanted: Some(1), ..Recorder::default() };
    read_append(Reader::new(&finished(&mut encoder)), &mut recorder).unwrap();
    assert_eq!(recorder.histograms.iter().map(|(series, _)| *series).collect::<Vec<_>>(), [0, 2]);
}

#[test]
fn bytes_after_the_record_are_an_error() {
    let mut recorder = Recorder::default();
    let error = read_append(Reader::new(&[0, 0, 0, 0, 0, 0]), &mut recorder).unwrap_err();
    assert_eq!(error.to_string(), "bytes after the end");
}

#[test]
fn an_unknown_metric_type_is_an_error() {
    let mut out = Vec::new();
    put_bytes(&mut out, b"up");
    put_bytes(&mut out, b"nope");
    assert_eq!(read_metadata(&mut Reader::new(&out)), Err(Malformed("unknown metric type")));
}

#[test]
fn a_record_that_ends_early_is_an_error() {
    let mut encoder = AppendEncoder::default();
    encoder.series(b"abc");
    encoder.sample(0, &Sample { t: 1000, v: 0.1, st: 0 });
    let bytes = finished(&mut encoder);
    for end in 0..bytes.len() {
        assert!(read_append(Reader::new(&bytes[..end]), &mut Recorder::default()).is_err(), "{end}");
    }
}

fn samples() -> impl Strategy<Value = Vec<(u32, Sample)>> {
    let value = prop_oneof![any::<u64>().prop_map(f64::from_bits), (-1000i64..1_000_000).prop_map(|n| n as f64)];
    let sample = (0u32..5, 0i64..3, value, 0i64..2).prop_map(|(series, t, v, st)| (series, Sample { t, v, st }));
    proptest::collection::vec(sample, 0..50)
}

proptest! {
    #[test]
    fn any_samples_round_trip(samples in samples()) {
        prop_assert_eq!(round_trip(&samples), bits(&samples));
    }

    #[test]
    fn hostile_records_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
        let _any_outcome = read_append(Reader::new(&bytes), &mut Recorder::default());
    }
}
