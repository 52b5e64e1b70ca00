//! Tests of remote read from the request to the response.

use std::ops::Range;

use pharos_histogram::Histogram;
use pharos_model::{Matcher, SeriesView, TimeRange};
use pharos_transport::prometheus::label_matcher::Type;
use pharos_transport::prometheus::{LabelMatcher, ReadResponse};

use super::*;

type MemorySeries = (Labels, Vec<(i64, f64)>, Vec<(i64, Arc<Histogram>)>);

/// A series set in memory.
#[derive(Default)]
struct Memory {
    series: Vec<MemorySeries>,
    fail: Option<SelectError>,
}

struct Selected {
    labels: Vec<Labels>,
    memory: Arc<Memory>,
    positions: Vec<usize>,
}

struct MemoryQuerier(Arc<Memory>);

impl Querier for MemoryQuerier {
    fn select(&self, request: &SelectRequest, _: &Arc<Budget>) -> Result<Arc<dyn SeriesSet>, SelectError> {
        if let Some(error) = &self.0.fail {
            return Err(error.clone());
        }
        let all =
            |labels: &Labels| request.matchers.iter().all(|m: &Matcher| m.matches(labels.get(&m.name).unwrap_or("")));
        let positions: Vec<usize> = (0..self.0.series.len()).filter(|at| all(&self.0.series[*at].0)).collect();
        let labels = positions.iter().map(|at| self.0.series[*at].0.clone()).collect();
        Ok(Arc::new(Selected { labels, memory: self.0.clone(), positions }))
    }
}

impl SeriesSet for Selected {
    fn labels(&self) -> &[Labels] {
        &self.labels
    }

    fn fetch(&self, series: Range<usize>, range: TimeRange, out: &mut SeriesBatch) -> Result<(), SelectError> {
        for at in &self.positions[series] {
            let (_, floats, histograms) = &self.memory.series[*at];
            let (t, v): (Vec<i64>, Vec<f64>) = floats.iter().filter(|(t, _)| range.contains(*t)).copied().unzip();
            let (ht, h): (Vec<i64>, Vec<_>) = histograms.iter().filter(|(t, _)| range.contains(*t)).cloned().unzip();
            out.push(SeriesView { t: &t, v: &v, ht: &ht, h: &h, ..SeriesView::EMPTY });
        }
        Ok(())
    }
}

fn memory(series: usize, samples: i64) -> Memory {
    let series = (0..series).map(|i| {
        let labels = Labels::from_pairs([("__name__", "up"), ("i", &format!("{i:04}"))]);
        (labels, (0..samples).map(|t| (t * 1000, (t + i as i64) as f64 / 3.0)).collect(), vec![])
    });
    Memory { series: series.collect(), fail: None }
}

fn matcher(kind: Type, name: &str, value: &str) -> LabelMatcher {
    LabelMatcher { r#type: kind.into(), name: name.into(), value: value.into() }
}

fn body(queries: Vec<Query>, types: &[i32]) -> Bytes {
    let request = ReadRequest { queries, accepted_response_types: types.to_vec() };
    snap::raw::Encoder::new().compress_vec(&request.encode_to_vec()).unwrap().into()
}

fn query(matchers: Vec<LabelMatcher>) -> Query {
    Query { start_timestamp_ms: 0, end_timestamp_ms: i64::MAX, matchers, hints: None }
}

fn everything() -> Query {
    query(vec![matcher(Type::Re, "__name__", ".+")])
}

fn limits() -> ReadLimits {
    let clock = Arc::new(pharos_model::SystemClock::new());
    ReadLimits::new(Arc::new(Budget::unlimited()), Unsent::new(pharos_model::MemoryAccount::unlimited(), clock))
}

async fn ask(memory: Memory, body: Bytes, limits: ReadLimits) -> (u16, String, Result<Vec<u8>, axum::Error>) {
    let response = read(body, Arc::new(MemoryQuerier(Arc::new(memory))), limits).await;
    let kind = response.headers().get("content-type").map(|v| v.to_str().unwrap().to_string()).unwrap_or_default();
    let status = response.status().as_u16();
    let bytes = axum::body::to_bytes(response.into_body(), usize::MAX).await;
    (status, kind, bytes.map(|b| b.to_vec()))
}

fn samples_of(body: &[u8]) -> ReadResponse {
    ReadResponse::decode(&snap::raw::Decoder::new().decompress_vec(body).unwrap()[..]).unwrap()
}

fn frames_of(mut body: &[u8]) -> Vec<ChunkedReadResponse> {
    let mut frames = Vec::new();
    while !body.is_empty() {
        let (len, used) = pharos_model::labels::read_uvarint(body).unwrap();
        let (checksum, rest) = body[used..].split_at(4);
        let (message, rest) = rest.split_at(len as usize);
        assert_eq!(checksum, frames::crc32c(message).to_be_bytes());
        frames.push(ChunkedReadResponse::decode(message).unwrap());
        body = rest;
    }
    frames
}

#[tokio::test]
async fn samples_are_grouped_by_query() {
    let queries = vec![
        query(vec![matcher(Type::Eq, "i", "0001")]),
        query(vec![matcher(Type::Re, "i", "000[12]"), matcher(Type::Neq, "i", "0001")]),
        query(vec![matcher(Type::Nre, "i", ".*")]),
    ];
    let (status, kind, bytes) = ask(memory(3, 2), body(queries, &[]), limits()).await;
    assert_eq!((status, kind.as_str()), (200, "application/x-protobuf"));
    let response = samples_of(&bytes.unwrap());
    let names: Vec<Vec<&str>> =
        response.results.iter().map(|r| r.timeseries.iter().map(|s| s.labels[1].value.as_str()).collect()).collect();
    assert_eq!(names, [vec!["0001"], vec!["0002"], vec![]]);
    assert_eq!(response.results[0].timeseries[0].samples[1].timestamp, 1000);
}

#[tokio::test]
async fn chunks_are_streamed_in_frames() {
    let limits = ReadLimits { max_frame_bytes: 1000, ..limits() };
    let (status, kind, bytes) =
        ask(memory(50, 1000), body(vec![everything(), query(vec![matcher(Type::Eq, "i", "0003")])], &[1, 0]), limits)
            .await;
    assert_eq!((status, kind.as_str()), (200, "application/x-streamed-protobuf; proto=prometheus.ChunkedReadResponse"));
    let frames = frames_of(&bytes.unwrap());
    assert!(frames.len() > 51 && frames.iter().all(|f| f.encoded_len() < 2500), "{}", frames.len());
    for i in 0..50usize {
        let label = format!("{i:04}");
        let of_series = frames.iter().filter(|f| f.query_index == 0 && f.chunked_series[0].labels[1].value == label);
        let samples: Vec<(i64, f64)> =
            of_series.flat_map(|f| &f.chunked_series[0].chunks).flat_map(decoding::floats).collect();
        assert_eq!(samples, (0..1000i64).map(|t| (t * 1000, (t + i as i64) as f64 / 3.0)).collect::<Vec<_>>());
    }
    assert!(frames.iter().any(|f| f.query_index == 1));
}

#[tokio::test]
async fn histograms_are_sent_in_both_forms() {
    let h = Arc::new(Histogram {
        integer: true,
        count: 4.0,
        sum: 2.5,
        positive_spans: vec![pharos_model::Span { offset: 1, length: 2 }],
        positive_buckets: vec![1.0, 3.0],
        ..Default::default()
    });
    let labels = Labels::from_pairs([("__name__", "h")]);
    let make = || Memory { series: vec![(labels.clone(), vec![(1, 1.0)], vec![(2, h.clone())])], fail: None };
    let (_, _, bytes) = ask(make(), body(vec![everything()], &[0]), limits()).await;
    let series = &samples_of(&bytes.unwrap()).results[0].timeseries[0];
    assert_eq!((&series.histograms[0].positive_deltas[..], series.samples.len()), (&[1, 2][..], 1));
    let (_, _, bytes) = ask(make(), body(vec![everything()], &[1]), limits()).await;
    let frames = frames_of(&bytes.unwrap());
    let chunks = &frames[0].chunked_series[0].chunks;
    assert_eq!(decoding::histograms(&chunks[1]), [(2, (*h).clone())]);
}

#[tokio::test]
async fn external_labels_are_added_and_matched_as_absent() {
    let external_labels = Labels::from_pairs([("cluster", "a"), ("i", "external")]);
    let limits = ReadLimits { external_labels, ..limits() };
    let queries = vec![query(vec![matcher(Type::Eq, "cluster", "a")])];
    let (_, _, bytes) = ask(memory(1, 1), body(queries, &[]), limits).await;
    let response = samples_of(&bytes.unwrap());
    let labels: Vec<&str> = response.results[0].timeseries[0].labels.iter().map(|l| l.value.as_str()).collect();
    assert_eq!(labels, ["up", "a", "0000"]);
}

#[tokio::test]
async fn limits_and_bad_requests_map_to_status_codes() {
    let all = || vec![everything()];
    let few = ReadLimits { max_samples: 10, ..limits() };
    assert_eq!(ask(memory(3, 5), body(all(), &[]), few).await.0, 400);
    let clock = Arc::new(pharos_model::SystemClock::new());
    for types in [0, 1] {
        let budget = Arc::new(Budget::new(clock.clone(), std::time::Duration::MAX, 100));
        let poor = ReadLimits { budget, ..limits() };
        assert_eq!(ask(memory(3, 500), body(all(), &[types]), poor).await.0, 400);
    }
    assert_eq!(ask(memory(1, 1), body(all(), &[7]), limits()).await.0, 400);
    assert_eq!(ask(memory(1, 1), body(all(), &[7, 1]), limits()).await.0, 200);
    assert_eq!(ask(memory(1, 1), body(vec![query(vec![matcher(Type::Re, "a", "(")])], &[1]), limits()).await.0, 400);
    assert_eq!(ask(memory(1, 1), Bytes::from_static(b"\xff\xff\xff\xff\x0f"), limits()).await.0, 400);
    assert_eq!(ask(memory(1, 1), Bytes::from_static(b"garbage"), limits()).await.0, 400);
    for (fail, expected) in [(SelectError::Cancelled, 503), (SelectError::Storage("disk".into()), 500)] {
        let memory = Memory { fail: Some(fail), ..Memory::default() };
        assert_eq!(ask(memory, body(all(), &[1]), limits()).await.0, expected);
    }
}

/// A querier whose series after the first ones are only there once the budget ends.
struct Stuck {
    first: MemoryQuerier,
    budget: Arc<Budget>,
}

struct StuckSet {
    first: Arc<dyn SeriesSet>,
    budget: Arc<Budget>,
}

impl Querier for Stuck {
    fn select(&self, request: &SelectRequest, budget: &Arc<Budget>) -> Result<Arc<dyn SeriesSet>, SelectError> {
        let first = self.first.select(request, budget)?;
        Ok(Arc::new(StuckSet { first, budget: self.budget.clone() }))
    }
}

impl SeriesSet for StuckSet {
    fn labels(&self) -> &[Labels] {
        self.first.labels()
    }

    fn fetch(&self, series: Range<usize>, range: TimeRange, out: &mut SeriesBatch) -> Result<(), SelectError> {
        if series.start == 0 {
            return self.first.fetch(series, range, out);
        }
        loop {
            self.budget.check()?;
            std::thread::yield_now();
        }
    }
}

#[tokio::test]
async fn a_disconnected_reader_ends_the_stream() {
    let limits = limits();
    let budget = limits.budget.clone();
    let first = MemoryQuerier(Arc::new(memory(2 * SERIES_AT_A_TIME, 20_000)));
    let querier = Arc::new(Stuck { first, budget: budget.clone() });
    let response = read(body(vec![everything()], &[1]), querier.clone(), limits).await;
    assert!(budget.check().is_ok());
    drop(response);
    assert!(budget.check().is_err(), "whatever other nodes still do for it is cancelled");
    // The producer drops the querier once it notices that the reader disconnected.
    while Arc::strong_count(&querier) > 1 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_query_without_matchers_selects_nothing() {
    let (status, _, answer) = ask(memory(3, 2), body(vec![query(vec![])], &[]), limits()).await;
    assert_eq!(status, 200);
    assert!(samples_of(&answer.unwrap()).results[0].timeseries.is_empty());
}

/// A querier whose selections wait until their budget ends.
struct Waiting {
    began: tokio::sync::Notify,
    ended: tokio::sync::Notify,
}

impl Querier for Waiting {
    fn select(&self, _: &SelectRequest, budget: &Arc<Budget>) -> Result<Arc<dyn SeriesSet>, SelectError> {
        self.began.notify_one();
        loop {
            if let Err(error) = budget.check() {
                self.ended.notify_one();
                return Err(error);
            }
            std::thread::yield_now();
        }
    }
}

#[tokio::test]
async fn a_reader_that_leaves_before_the_response_cancels_the_read() {
    for types in [0, 1] {
        let querier = Arc::new(Waiting { began: Default::default(), ended: Default::default() });
        let reading = tokio::spawn(read(body(vec![everything()], &[types]), querier.clone(), limits()));
        querier.began.notified().await;
        reading.abort();
        querier.ended.notified().await;
    }
}

#[tokio::test]
async fn the_regular_expressions_of_a_query_are_bounded_together() {
    let regex = |n: usize| LabelMatcher {
        r#type: Type::Re as i32,
        name: "a".into(),
        value: format!("{}{n}", "x{1000}".repeat(40)),
    };
    for (count, expected) in [(2, 200), (200, 400)] {
        let request = body(vec![query((0..count).map(regex).collect())], &[]);
        let (status, _, answer) = ask(memory(1, 1), request, limits()).await;
        assert_eq!(status, expected, "{count} regular expressions: {}", String::from_utf8_lossy(&answer.unwrap()));
    }
}
