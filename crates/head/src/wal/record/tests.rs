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
    &framed[crate::wal::segment::FRAME_BYTES..]
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
fn replaced_and_removed_samples_round_trip() {
    let sample = Sample { t: 5, v: 1.5, st: 0 };
    let encoder = || {
        let mut encoder = AppendEncoder::default();
        encoder.sample(3, &sample);
        encoder
    };
    let samples = |body: Reader<'_>| {
        let mut collected = Collected::default();
        read_append(body, &mut collected).unwrap();
        collected.samples
    };
    let replaced = encoded(|out| put_replaced(out, 7, &mut encoder()));
    assert!(!is_control(&replaced) && check(&replaced).is_ok());
    let Ok(Record::Replaced { tenant: 7, body }) = read(&replaced) else { panic!("another record") };
    assert_eq!(samples(body), [(3, sample.t, sample.v.to_bits(), sample.st)]);
    let retracted = encoded(|out| put_retracted(out, 7, &mut encoder()));
    assert!(!is_control(&retracted) && check(&retracted).is_ok());
    let Ok(Record::Retracted { tenant: 7, body }) = read(&retracted) else { panic!("another record") };
    assert_eq!(samples(body), [(3, sample.t, sample.v.to_bits(), sample.st)]);
    let yielded = encoded(|out| put_yielded(out, 7, &mut encoder()));
    assert!(!is_control(&yielded) && check(&yielded).is_ok());
    let Ok(Record::Yielded { tenant: 7, body }) = read(&yielded) else { panic!("another record") };
    assert_eq!(samples(body), [(3, sample.t, sample.v.to_bits(), sample.st)]);
}

fn encoded(put: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    put(&mut out);
    if out.is_empty() { out } else { payload(&out).to_vec() }
}

fn some_shards() -> ShardSet {
    ShardSet::from_iter([1, 2, 3, 77, MAX_SHARDS - 1])
}

fn tenant_record() -> TenantRecord {
    TenantRecord {
        number: 3,
        tenant: TenantId::new("team-a").unwrap(),
        shards: 64,
        newest: Some(-5),
        windows: vec![WindowCuts {
            window: -7_200_000,
            newest: 3,
            flushed: vec![(2, ShardSet::all(64)), (3, some_shards())],
        }],
        metadata: vec![],
        last_deletion: 17,
    }
}

#[test]
fn a_tenant_record_round_trips() {
    let record = tenant_record();
    let bytes = encoded(|out| put_tenant(out, &record));
    assert!(is_tenant(&bytes) && !is_control(&bytes));
    assert!(matches!(read(&bytes), Ok(Record::Tenant(found)) if found == record));
}

#[test]
fn a_tenant_without_samples_round_trips() {
    let record = TenantRecord { newest: None, windows: vec![], last_deletion: 0, ..tenant_record() };
    let bytes = encoded(|out| put_tenant(out, &record));
    assert!(matches!(read(&bytes), Ok(Record::Tenant(found)) if found == record));
}

#[test]
fn a_tenant_record_of_an_earlier_version_has_no_deletion() {
    let mut bytes = encoded(|out| put_tenant(out, &TenantRecord { last_deletion: 5, ..tenant_record() }));
    bytes.pop();
    assert!(matches!(read(&bytes), Ok(Record::Tenant(found)) if found.last_deletion == 0));
}

#[test]
fn a_tenant_record_of_version_2_has_metadata() {
    let mut bytes = encoded(|out| put_tenant(out, &tenant_record()));
    let tail = bytes.split_off(bytes.len() - 2);
    assert_eq!(tail, [0, 17], "no metadata, and the deletion");
    let metadata = Metadata { kind: MetricType::Gauge, unit: "".into(), help: "Is it up?".into() };
    bytes.push(1);
    pharos_model::wire::append::put_metadata(&mut bytes, "up", &metadata);
    bytes.push(17);
    let expected = TenantRecord { metadata: vec![("up".into(), metadata)], ..tenant_record() };
    assert!(matches!(read(&bytes), Ok(Record::Tenant(found)) if found == expected));
}

#[test]
fn a_tenant_with_many_windows_is_declared_by_several_records() {
    let windows = |count: i64| {
        let flushed = || vec![(2, ShardSet::from_iter((0..MAX_SHARDS).step_by(2))), (3, some_shards())];
        (0..count).map(|window| WindowCuts { window, newest: 3, flushed: flushed() }).collect::<Vec<_>>()
    };
    let record = TenantRecord { windows: windows(1000), ..tenant_record() };
    let mut out = Vec::new();
    put_tenant(&mut out, &record);
    let mut found = Vec::new();
    let mut rest = &out[..];
    let mut records = 0;
    while !rest.is_empty() {
        let len = u32::from_le_bytes(rest[..4].try_into().unwrap()) as usize;
        assert!(len < 2 * SPLIT_BYTES);
        let Ok(Record::Tenant(piece)) = read(&rest[FRAME_BYTES..FRAME_BYTES + len]) else { panic!("another record") };
        assert_eq!(
            TenantRecord { windows: vec![], ..piece.clone() },
            TenantRecord { windows: vec![], ..tenant_record() }
        );
        found.extend(piece.windows);
        rest = &rest[FRAME_BYTES + len..];
        records += 1;
    }
    assert!(records > 1);
    assert_eq!(found, record.windows);
}

#[test]
fn an_opening_round_trips() {
    let mut schedule = WindowSchedule::new(3_600_000);
    assert!(schedule.change(7_200_000, -5));
    let bytes = encoded(|out| put_opening(out, &schedule, 9));
    assert!(is_of_segment(&bytes) && !is_control(&bytes) && !is_tenant(&bytes));
    let Ok(Record::Opening { schedule: found, newest_generation: 9 }) = read(&bytes) else { panic!("another record") };
    assert_eq!(found, schedule);
}

#[test]
fn an_opening_without_a_width_is_malformed() {
    assert!(read(&[OPENING, 0, 0, 9]).is_err());
}

#[test]
fn a_durable_record_has_a_fixed_length() {
    for offset in [0, 1, u64::MAX] {
        let mut out = Vec::new();
        put_durable(&mut out, offset);
        assert_eq!(out.len(), DURABLE_BYTES);
        assert!(is_of_segment(payload(&out)));
        assert!(matches!(read(payload(&out)), Ok(Record::Durable)));
    }
}

#[test]
fn survivors_name_their_generation() {
    let mut encoder = AppendEncoder::default();
    let bytes = encoded(|out| put_survivors(out, 7, 1 << 30, &mut encoder));
    assert!(bytes.is_empty(), "there are none");
    encoder.sample(3, &Sample { t: 5, v: 1.0, st: 0 });
    let bytes = encoded(|out| put_survivors(out, 7, 1 << 30, &mut encoder));
    let Ok(Record::Survivors { tenant: 7, generation, body }) = read(&bytes) else { panic!("another record") };
    assert_eq!(generation, 1 << 30);
    let mut collected = Collected::default();
    read_append(body, &mut collected).unwrap();
    assert_eq!(collected.samples, [(3, 5, 1f64.to_bits(), 0)]);
}

#[test]
fn a_cut_concerns_all_shards() {
    let bytes = encoded(|out| put_step(out, Step::Cut, 3, i64::MIN, 9, &some_shards()));
    assert!(is_control(&bytes));
    assert!(matches!(read(&bytes), Ok(Record::Cut { tenant: 3, window: i64::MIN, cut: 9 })));
}

#[test]
fn a_flushed_cut_round_trips_with_its_shards() {
    let bytes = encoded(|out| put_step(out, Step::Flushed, 3, 0, 1, &some_shards()));
    assert!(is_control(&bytes));
    let Ok(Record::Flushed { tenant: 3, window: 0, cut: 1, shards }) = read(&bytes) else { panic!("another record") };
    assert_eq!(shards, some_shards());
}

#[test]
fn an_eviction_round_trips_with_no_shards() {
    let bytes = encoded(|out| put_step(out, Step::Evicted, 3, 0, 1, &ShardSet::new()));
    assert!(is_control(&bytes));
    assert!(matches!(read(&bytes), Ok(Record::Evicted { cut: 1, shards, .. }) if shards.is_empty()));
}

#[test]
fn forgotten_shards_round_trip() {
    let bytes = encoded(|out| put_forget(out, 3, &some_shards()));
    assert!(is_control(&bytes));
    assert!(matches!(read(&bytes), Ok(Record::Forget { tenant: 3, shards }) if shards == some_shards()));
}

#[test]
fn shards_out_of_range_are_malformed() {
    let beyond = [0xff, 0xff, 3];
    for ranges in [[&[1, 0][..], &beyond].concat(), [&[1][..], &beyond, &[1]].concat()] {
        assert!(read(&[&[FORGET, 3], &ranges[..]].concat()).is_err());
    }
}

fn matchers() -> [Matcher; 4] {
    [
        Matcher::equal("a", "b"),
        Matcher::new(MatchOp::NotEqual, "a", "").unwrap(),
        Matcher::new(MatchOp::Regex, "c", "d|e").unwrap(),
        Matcher::new(MatchOp::NotRegex, "c", "d.*").unwrap(),
    ]
}

#[test]
fn a_deletion_round_trips_with_all_kinds_of_matchers() {
    let bytes = encoded(|out| put_delete(out, 3, TimeRange::ALL, &matchers(), 9));
    assert!(is_control(&bytes));
    let Ok(Record::Delete { tenant: 3, range: TimeRange::ALL, matchers: found, number: 9 }) = read(&bytes) else {
        panic!("another record")
    };
    assert_eq!(found, matchers());
}

#[test]
fn a_deletion_of_an_earlier_version_has_no_number() {
    let mut bytes = encoded(|out| put_delete(out, 3, TimeRange::ALL, &matchers(), 9));
    bytes.pop();
    assert!(matches!(read(&bytes), Ok(Record::Delete { number: 0, .. })));
}

#[test]
fn a_matcher_of_an_unknown_kind_is_malformed() {
    let mut bytes = encoded(|out| put_delete(out, 3, TimeRange::new(0, 0), &[Matcher::equal("a", "b")], 0));
    assert_eq!(bytes[..5], [DELETE, 3, 0, 0, 1]);
    bytes[5] = 4;
    assert!(read(&bytes).is_err());
}

#[test]
fn a_record_of_an_unknown_kind_is_malformed() {
    assert!(read(&[0, 3]).is_err());
    assert!(read(&[99, 3]).is_err());
    assert!(read(&[]).is_err());
}

#[test]
fn an_encoder_without_entries_makes_no_record() {
    let mut out = Vec::new();
    put_append(&mut out, 7, &mut AppendEncoder::default());
    assert!(out.is_empty());
}

#[test]
fn truncated_records_are_malformed() {
    let records = [
        encoded(|out| put_tenant(out, &tenant_record())),
        encoded(|out| put_step(out, Step::Cut, 3, 1 << 40, 900, &ShardSet::new())),
        encoded(|out| put_step(out, Step::Flushed, 3, 1 << 40, 900, &some_shards())),
        encoded(|out| put_forget(out, 3, &some_shards())),
        encoded(|out| put_delete(out, 3, TimeRange::new(1 << 40, 1 << 41), &matchers(), 9)),
    ];
    for record in records {
        // The number of a deletion, which ends two of the kinds, may be absent.
        for len in 0..record.len() - 1 {
            assert!(read(&record[..len]).is_err(), "kind {} with {len} of {} bytes", record[0], record.len());
        }
    }
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
    fn hostile_payloads_are_malformed_or_read(mut bytes in proptest::collection::vec(any::<u8>(), 0..200), kind in 0u8..12) {
        if let Some(first) = bytes.first_mut() { *first = kind; }
        let _ = check(&bytes);
        if let Ok(Record::Append { body, .. } | Record::Survivors { body, .. }) = read(&bytes) {
            let _ = read_append(body, &mut Collected::default());
        }
    }
}
