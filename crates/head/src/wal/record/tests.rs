use super::*;
use pharos_model::write::HistogramSample;
use pharos_model::{Histogram, Labels, MetricType};
use proptest::prelude::*;

#[derive(Default, Debug, PartialEq)]
struct Collected {
    series: Vec<Vec<u8>>,
    samples: Vec<(u32, i64, u64, i64)>,
    histograms: Vec<(u32, i64, i64)>,
    exemplars: Vec<(u32, Exemplar)>,
    metadata: Vec<(String, Metadata)>,
}

impl AppendVisitor for Collected {
    fn series(&mut self, canonical: &[u8]) -> Result<(), Malformed> {
        self.series.push(canonical.to_vec());
        Ok(())
    }
    fn sample(&mut self, series: u32, s: &Sample) -> Result<(), Malformed> {
        self.samples.push((series, s.t, s.v.to_bits(), s.st));
        Ok(())
    }
    fn wants(&self, _: u32) -> Result<bool, Malformed> {
        Ok(true)
    }
    fn histogram(&mut self, series: u32, s: HistogramSample) -> Result<(), Malformed> {
        self.histograms.push((series, s.t, s.st));
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

fn payload(framed: &[u8]) -> &[u8] {
    &framed[crate::wal::segment::FRAME..]
}

fn collect(framed: &[u8]) -> Collected {
    let Record::Append { tenant: 7, body } = read(payload(framed)).unwrap() else { panic!("no append record") };
    let mut collected = Collected::default();
    read_append(body, &mut collected).unwrap();
    collected
}

#[test]
fn a_steady_batch_takes_few_bytes_a_sample() {
    let mut encoder = AppendEncoder::default();
    for series in 0..1000 {
        encoder.sample(series, &Sample { t: 1_700_000_000_000, v: f64::from(series * 10), st: 0 });
    }
    let mut out = Vec::new();
    put_append(&mut out, 7, &mut encoder);
    assert!(out.len() < 4000, "{}", out.len());
    assert_eq!(collect(&out).samples.len(), 1000);
}

#[test]
fn other_records_round_trip() {
    let shards = ShardSet::from_iter([1, 2, 3, 77, MAX_SHARDS - 1]);
    let record = TenantRecord {
        number: 3,
        tenant: TenantId::new("team-a").unwrap(),
        shards: 64,
        newest: Some(-5),
        windows: vec![WindowCuts {
            window: -7_200_000,
            cuts: 3,
            flushed: vec![(2, ShardSet::all(64)), (3, shards.clone())],
        }],
        metadata: vec![("up".into(), Metadata { kind: MetricType::Gauge, unit: "".into(), help: "Is it up?".into() })],
        deleted: 17,
    };
    let mut out = Vec::new();
    put_tenant(&mut out, &record);
    assert!(matches!(read(payload(&out)), Ok(Record::Tenant(found)) if found == record));
    out.clear();
    put_step(&mut out, Step::Cut, 3, i64::MIN, 9, &shards);
    assert!(matches!(read(payload(&out)), Ok(Record::Cut { tenant: 3, window: i64::MIN, cut: 9 })));
    out.clear();
    put_step(&mut out, Step::Flushed, 3, 0, 1, &shards);
    let of = |found: &ShardSet| *found == shards;
    assert!(matches!(read(payload(&out)), Ok(Record::Flushed { tenant: 3, window: 0, cut: 1, shards }) if of(&shards)));
    out.clear();
    put_step(&mut out, Step::Dropped, 3, 0, 1, &ShardSet::new());
    assert!(matches!(read(payload(&out)), Ok(Record::Dropped { cut: 1, shards, .. }) if shards.is_empty()));
    out.clear();
    put_forget(&mut out, 3, &shards);
    assert!(matches!(read(payload(&out)), Ok(Record::Forget { tenant: 3, shards }) if of(&shards)));
    // Ranges far beyond the last shard.
    for ranges in [[1, 0, 0xff], [1, 0xff, 1]] {
        let ranges: Vec<u8> =
            ranges.iter().flat_map(|&n| if n == 0xff { vec![0xff, 0xff, 3] } else { vec![n] }).collect();
        assert!(read(&[&[FORGET, 3], &ranges[..]].concat()).is_err());
    }
    out.clear();
    let matchers = [Matcher::equal("a", "b"), Matcher::new(MatchOp::NotRegex, "c", "d.*").unwrap()];
    put_delete(&mut out, 3, TimeRange::ALL, &matchers, 9);
    let Ok(Record::Delete { tenant: 3, range: TimeRange::ALL, matchers: found, number: 9 }) = read(payload(&out))
    else {
        panic!()
    };
    assert_eq!(found, matchers);
}

prop_compose! {
    fn samples()(
        series in prop_oneof![0u32..4, any::<u32>()], t in prop_oneof![Just(5i64), any::<i64>()],
        bits in prop_oneof![any::<u64>(), (-100_000i64..100_000).prop_map(|i| (i as f64).to_bits()), Just(0)],
        st in prop_oneof![Just(0i64), any::<i64>()],
    ) -> (u32, i64, u64, i64) { (series, t, bits, st) }
}

proptest! {
    #[test]
    fn appends_round_trip(
        samples in proptest::collection::vec(samples(), 0..50),
        series in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..20), 0..5),
        exemplar in any::<(u32, i64, i32)>(), family in ".{0,8}",
    ) {
        let mut encoder = AppendEncoder::default();
        series.iter().for_each(|s| encoder.series(s));
        for &(series, t, bits, st) in &samples {
            encoder.sample(series, &Sample { t, v: f64::from_bits(bits), st });
        }
        let h = HistogramSample { t: exemplar.1, st: 4, h: Histogram { sum: 3.0, ..Histogram::default() }.into() };
        encoder.histogram(exemplar.0, &h);
        let e = Exemplar { labels: Labels::from_pairs([("a", "b")]), value: f64::from(exemplar.2), t: exemplar.1 };
        encoder.exemplar(exemplar.0, &e);
        encoder.metadata(&family, &Metadata::default());
        let mut out = Vec::new();
        put_append(&mut out, 7, &mut encoder);
        let expected = Collected {
            series, samples, histograms: vec![(exemplar.0, exemplar.1, 4)], exemplars: vec![(exemplar.0, e)],
            metadata: vec![(family, Metadata::default())],
        };
        prop_assert_eq!(collect(&out), expected);
        prop_assert!(check(payload(&out)).is_err() || out.len() > 8);
    }

    #[test]
    fn hostile_payloads_are_refused_or_read(mut bytes in proptest::collection::vec(any::<u8>(), 0..200), kind in 0u8..7) {
        if let Some(first) = bytes.first_mut() { *first = kind; }
        let _ = check(&bytes);
        if let Ok(Record::Append { body, .. }) = read(&bytes) {
            let _ = read_append(body, &mut Collected::default());
        }
    }
}
