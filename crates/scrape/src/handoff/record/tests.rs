use super::*;

const NOW_MS: i64 = 1_000_000;

fn record() -> HandoffRecord {
    let canonical = Labels::from_pairs([("__name__", "m"), ("job", "j")]).as_bytes().to_vec();
    let hash = series_hash(&TenantId::default(), &canonical);
    HandoffRecord {
        labels: Labels::from_pairs([("job", "j")]),
        url: "http://h:1/metrics".into(),
        placement: Placement { owner: 8, slot: 7 },
        interval_ms: 5000,
        next_ms: 1_005_000,
        extra: true,
        series: vec![TrackedSeries { canonical: canonical.into(), hash, is_histogram: true }],
        hops: 0,
        epoch: 3,
    }
}

fn request() -> wire::HandOverRequest {
    record().to_parts(usize::MAX).next().unwrap()
}

fn decode(request: wire::HandOverRequest) -> Result<HandoffRecord, String> {
    HandoffRecord::from_request(request, &TenantId::default(), NOW_MS)
}

#[test]
fn a_record_survives_the_wire_and_counts_its_hop() {
    assert_eq!(decode(request()), Ok(HandoffRecord { hops: 1, ..record() }));
}

#[test]
fn a_record_without_hops_left_is_not_sent() {
    assert_eq!(HandoffRecord { hops: MAX_HOPS, ..record() }.to_parts(usize::MAX).count(), 0);
}

#[test]
fn the_last_hop_is_accepted() {
    let last = HandoffRecord { hops: MAX_HOPS - 1, ..record() }.to_parts(usize::MAX).next().unwrap();
    assert_eq!(decode(last).unwrap().hops, MAX_HOPS);
}

#[test]
fn too_many_hops_are_refused() {
    let error = decode(wire::HandOverRequest { hops: MAX_HOPS + 1, ..request() }).unwrap_err();
    assert!(error.contains("forwarded 17 times"), "{error}");
}

#[test]
fn target_labels_that_are_not_canonical_are_refused() {
    let error = decode(wire::HandOverRequest { labels: vec![255].into(), ..request() }).unwrap_err();
    assert!(error.starts_with("target labels: "), "{error}");
}

#[test]
fn series_labels_that_are_not_canonical_are_refused() {
    let truncated = request().series[0].labels.slice(..3);
    let series = vec![wire::HandedSeries { labels: truncated, histogram: false }];
    let error = decode(wire::HandOverRequest { series, ..request() }).unwrap_err();
    assert!(error.starts_with("series labels of {job=\"j\"}: "), "{error}");
}

#[test]
fn an_interval_that_cannot_be_is_refused() {
    for interval_ms in [0, MAX_INTERVAL_MS as u64, u64::MAX] {
        let error = decode(wire::HandOverRequest { interval_ms, ..request() }).unwrap_err();
        assert!(error.contains(&format!("interval of {interval_ms} ms")), "{error}");
    }
}

#[test]
fn a_slot_far_from_now_is_refused() {
    let farthest = NOW_MS + 5000 + MAX_SLOT_DISTANCE_MS;
    assert!(decode(wire::HandOverRequest { next_ms: farthest, ..request() }).is_ok());
    for next_ms in [farthest + 1, i64::MIN, i64::MAX] {
        let error = decode(wire::HandOverRequest { next_ms, ..request() }).unwrap_err();
        assert!(error.contains("too far from now"), "{error}");
    }
}

#[test]
fn hashes_of_series_are_of_the_receivers_tenant() {
    let tenant = TenantId::new("other").unwrap();
    let decoded = HandoffRecord::from_request(request(), &tenant, NOW_MS).unwrap();
    assert_eq!(decoded.series[0].hash, series_hash(&tenant, &decoded.series[0].canonical));
    assert_ne!(decoded.series[0].hash, record().series[0].hash);
}

#[test]
fn a_record_takes_more_memory_with_each_series() {
    let mut larger = record();
    larger.series.push(larger.series[0].clone());
    assert!(larger.bytes() > record().bytes());
}

#[test]
fn the_record_of_an_older_agent_has_one_hash() {
    let decoded = decode(wire::HandOverRequest { owner_hash: 0, ..request() }).unwrap();
    assert_eq!(decoded.placement, Placement { owner: 7, slot: 7 });
}

#[test]
fn a_large_record_survives_the_wire_in_parts() {
    let mut record = record();
    for n in 0..1000 {
        let canonical = Labels::from_pairs([("__name__", "m"), ("n", &n.to_string())]).as_bytes().to_vec();
        let hash = series_hash(&TenantId::default(), &canonical);
        record.series.push(TrackedSeries { canonical: canonical.into(), hash, is_histogram: false });
    }
    let mut parts = record.to_parts(1000);
    let mut decoded = decode(parts.next().unwrap()).unwrap();
    for part in parts {
        assert!(prost::Message::encoded_len(&part) <= 1000);
        decoded.add(part, &TenantId::default()).unwrap();
    }
    assert_eq!(decoded, HandoffRecord { hops: 1, ..record });
}

#[test]
fn a_series_larger_than_a_part_has_one_of_its_own() {
    let mut record = record();
    record.series.push(record.series[0].clone());
    let series: Vec<usize> = record.to_parts(1).map(|part| part.series.len()).collect();
    assert_eq!(series, [1, 1]);
}

#[test]
fn a_record_without_series_has_one_part() {
    assert_eq!(HandoffRecord { series: Vec::new(), ..record() }.to_parts(1).count(), 1);
}
