//! Tests of the target loop and of pools, with scripted targets and paused time.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use http::{HeaderName, HeaderValue};
use parking_lot::Mutex;
use pharos_http_client::{HttpError, ResponseHead};
use pharos_model::clock::Sleep;
use pharos_model::{Clock, Hold, Labels, MemoryAccount, TenantId, WriteBatch, WriteError, WriteOutcome, is_stale_nan};
use pharos_transport::Ingest;

use crate::metrics::ScrapeMetrics;
use crate::ownership::Ownership;
use crate::shared::{Fetch, Shared};
use crate::target_loop::{ForcedError, TargetLoop};
use crate::targets::tests::{resolved, target};
use crate::targets::{Health, Target};

/// A clock that follows tokio's, which is paused and advances when all tasks wait.
/// Its wall clock can be set.
pub(crate) struct TokioClock(tokio::time::Instant, AtomicI64);

/// The start of test time, a multiple of all intervals.
pub(crate) const START_MS: i64 = 1_700_000_000_000 - 1_700_000_000_000 % 60_000;

impl TokioClock {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(TokioClock(tokio::time::Instant::now(), AtomicI64::new(0)))
    }

    /// The same clock, with a wall clock that is ahead by some time.
    pub(crate) fn ahead_by(&self, ms: i64) -> Arc<Self> {
        Arc::new(TokioClock(self.0, AtomicI64::new(self.1.load(Ordering::Relaxed) + ms)))
    }

    /// Moves the wall clock, and nothing else.
    pub(crate) fn step(&self, by_ms: i64) {
        self.1.fetch_add(by_ms, Ordering::Relaxed);
    }
}

impl Clock for TokioClock {
    fn now_ms(&self) -> i64 {
        START_MS + self.0.elapsed().as_millis() as i64 + self.1.load(Ordering::Relaxed)
    }

    fn monotonic(&self) -> Duration {
        self.0.elapsed()
    }

    fn sleep_until(&self, deadline: Duration) -> Sleep {
        Box::pin(tokio::time::sleep(deadline.saturating_sub(self.0.elapsed())))
    }
}

/// Records samples as `series value @ms-since-start`.
#[derive(Default)]
pub(crate) struct Recorder {
    batches: Mutex<Vec<Vec<String>>>,
    metadata: Mutex<Vec<String>>,
    refuse: Mutex<Option<WriteError>>,
}

impl Recorder {
    pub(crate) fn take(&self) -> Vec<Vec<String>> {
        std::mem::take(&mut self.batches.lock())
    }
}

#[async_trait]
impl Ingest for Recorder {
    async fn append(&self, tenant: &TenantId, batch: &WriteBatch) -> Result<WriteOutcome, WriteError> {
        if let Some(error) = self.refuse.lock().take() {
            return Err(error);
        }
        let mut lines = Vec::new();
        for series in batch.series() {
            let canonical = batch.labels_of(series);
            assert_eq!(series.hash, pharos_model::series_hash(tenant, canonical));
            let labels = Labels::from_canonical(canonical).unwrap();
            for sample in batch.samples_of(series) {
                let v = if is_stale_nan(sample.v) { "stale".to_string() } else { sample.v.to_string() };
                lines.push(format!("{labels} {v} @{}", sample.t - START_MS));
            }
            for sample in batch.histograms_of(series) {
                let v = if sample.h.is_stale() { "stale histogram" } else { "histogram" };
                lines.push(format!("{labels} {v} @{}", sample.t - START_MS));
            }
            for exemplar in batch.exemplars_of(series) {
                lines.push(format!(
                    "{labels} exemplar {} {} @{}",
                    exemplar.labels,
                    exemplar.value,
                    exemplar.t - START_MS
                ));
            }
        }
        self.batches.lock().push(lines);
        self.metadata
            .lock()
            .extend(batch.metadata.iter().map(|(family, m)| format!("{family} {} {}", m.kind.as_str(), m.help)));
        Ok(WriteOutcome::default())
    }
}

/// Answers with scripted bodies, then repeats the last one.
struct Script {
    answers: Mutex<VecDeque<Result<String, HttpError>>>,
    content_type: &'static str,
    fetched: Mutex<Vec<String>>,
}

const TEXT: &str = "text/plain; version=0.0.4";

impl Script {
    fn new(bodies: &[&str]) -> Arc<Self> {
        Script::of(bodies.iter().map(|body| Ok(body.to_string())).collect())
    }

    fn of(answers: VecDeque<Result<String, HttpError>>) -> Arc<Self> {
        Arc::new(Script { answers: Mutex::new(answers), content_type: TEXT, fetched: Mutex::default() })
    }
}

#[async_trait]
impl Fetch for Script {
    async fn fetch(
        &self,
        url: &str,
        _: &[(HeaderName, HeaderValue)],
        _: Duration,
        _: u64,
        _: &Hold,
        body: &mut Vec<u8>,
    ) -> Result<ResponseHead, HttpError> {
        self.fetched.lock().push(url.to_string());
        let mut answers = self.answers.lock();
        let answer = if answers.len() > 1 { answers.pop_front() } else { answers.front().cloned() };
        body.extend_from_slice(answer.unwrap_or(Ok(String::new()))?.as_bytes());
        Ok(ResponseHead { content_type: self.content_type.to_string() })
    }
}

fn shared(recorder: &Arc<Recorder>) -> Arc<Shared> {
    shared_with(recorder, TokioClock::new())
}

/// What the loops of an agent that is alone share.
pub(crate) fn shared_with(recorder: &Arc<Recorder>, clock: Arc<TokioClock>) -> Arc<Shared> {
    let metrics = ScrapeMetrics::new(&prometheus::Registry::new()).unwrap();
    Shared::new(
        recorder.clone(),
        clock,
        TenantId::default(),
        MemoryAccount::unlimited(),
        metrics,
        Ownership::everything(""),
    )
}

/// What the scrapes of a script wrote.
struct Scraped {
    /// Samples of each scrape, without its report.
    samples: Vec<Vec<String>>,
    /// `up`, samples scraped, samples after relabelling and series added of each scrape.
    reports: Vec<String>,
    target: Arc<Target>,
}

/// Scrapes the scripted bodies at 1 s, 2 s and so on.
async fn scrape_all(yaml: &str, script: Arc<Script>) -> Scraped {
    let config = Arc::new(resolved(&format!("job_name: j\n{yaml}")));
    let recorder = Arc::new(Recorder::default());
    let target = Arc::new(target(&config));
    let scrapes = script.answers.lock().len();
    let mut target_loop = TargetLoop::new(shared(&recorder), config, script, target.clone(), ForcedError::default());
    for number in 1..=scrapes as i64 {
        assert!(target_loop.scrape(START_MS + number * 1000).await);
    }
    let is_report = |line: &String| line.contains("\"up\"") || line.contains("\"scrape_");
    let mut reports = Vec::new();
    let samples = recorder.take().into_iter().map(|batch| {
        let (report, samples): (Vec<_>, Vec<_>) = batch.into_iter().partition(is_report);
        let values: Vec<_> =
            [0, 2, 3, 4].iter().map(|i| report[*i].split(' ').rev().nth(1).unwrap().to_string()).collect();
        reports.push(values.join(" "));
        samples
    });
    let samples = samples.collect();
    Scraped { samples, reports, target }
}

/// Samples without the labels of the target.
fn short(batches: &[Vec<String>]) -> Vec<Vec<String>> {
    let plain = |line: &String| line.replace(r#", instance="h:1", job="j", zone="z""#, "").replace("__name__=", "");
    batches.iter().map(|batch| batch.iter().map(plain).collect()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_series_that_vanishes_gets_a_stale_marker() {
    let script = Script::new(&["a 1\nb 2\n", "a 3\n", "a 4\nb 5\n", ""]);
    let Scraped { samples, reports, .. } = scrape_all("", script).await;
    assert_eq!(
        short(&samples),
        [
            vec![r#"{"a"} 1 @1000"#, r#"{"b"} 2 @1000"#],
            vec![r#"{"a"} 3 @2000"#, r#"{"b"} stale @2000"#],
            vec![r#"{"a"} 4 @3000"#, r#"{"b"} 5 @3000"#],
            vec![r#"{"a"} stale @4000"#, r#"{"b"} stale @4000"#],
        ]
    );
    assert_eq!(reports, ["1 2 2 2", "1 1 1 0", "1 2 2 1", "1 0 0 0"]);
}

#[tokio::test(start_paused = true)]
async fn a_long_body_is_parsed_elsewhere_and_its_series_are_known_afterwards() {
    let comment = "# ".to_string() + &"x".repeat(300 << 10) + "\n";
    let script = Script::new(&[&format!("{comment}a 1\nb 2\n"), "a 3\n", &format!("{comment}a 4\n")]);
    let Scraped { samples, reports, .. } = scrape_all("", script).await;
    assert_eq!(short(&samples)[1..], [vec![r#"{"a"} 3 @2000"#, r#"{"b"} stale @2000"#], vec![r#"{"a"} 4 @3000"#]]);
    assert_eq!(reports, ["1 2 2 2", "1 1 1 0", "1 1 1 0"]);
}

#[tokio::test(start_paused = true)]
async fn a_failed_scrape_stores_no_samples_and_marks_all_series_stale() {
    let answers = [
        Ok("a 1\nb 1\n".to_string()),
        Ok("a 2\nb oops\n".to_string()),
        Err(HttpError::Timeout("http://h:1/metrics".into())),
        Ok("a 3\n".to_string()),
    ];
    let Scraped { samples, reports, target } = scrape_all("", Script::of(answers.into())).await;
    assert_eq!(
        short(&samples)[1..],
        [vec![r#"{"a"} stale @2000"#, r#"{"b"} stale @2000"#], vec![], vec![r#"{"a"} 3 @4000"#]]
    );
    assert_eq!(reports, ["1 2 2 2", "0 1 1 0", "0 0 0 0", "1 1 1 0"]);
    assert_eq!(target.status().health, Health::Up);
}

#[tokio::test(start_paused = true)]
async fn an_error_shows_in_the_status() {
    let Scraped { target, .. } = scrape_all("", Script::new(&["a 1\nb 2\nc{ 1\n"])).await;
    assert_eq!(target.status().last_error, "line 3: unexpected end of line inside of braces");
    assert_eq!(target.status().last_scrape_ms, Some(START_MS + 1000));
}

#[tokio::test(start_paused = true)]
async fn timestamps_of_the_target_are_honoured() {
    let body = format!("a 1 {}\nb 2\nfar 3 {}\n", START_MS + 500, START_MS + 3_600_000);
    let Scraped { samples, reports, .. } = scrape_all("", Script::new(&[&body, ""])).await;
    assert_eq!(short(&samples), [vec![r#"{"a"} 1 @500"#, r#"{"b"} 2 @1000"#], vec![r#"{"b"} stale @2000"#]]);
    assert_eq!(reports[0], "1 3 3 2");
    let Scraped { samples, .. } = scrape_all("track_timestamps_staleness: true", Script::new(&[&body, ""])).await;
    assert_eq!(samples[1].len(), 2);
    let Scraped { samples, .. } = scrape_all("honor_timestamps: false", Script::new(&[&body, ""])).await;
    assert_eq!(short(&samples)[0], [r#"{"a"} 1 @1000"#, r#"{"b"} 2 @1000"#, r#"{"far"} 3 @1000"#]);
}

#[tokio::test(start_paused = true)]
async fn labels_of_the_target_win_unless_those_of_samples_are_honoured() {
    let body = "a{job=\"own\",exported_job=\"x\",zone=\"\"} 1\n";
    let Scraped { samples, .. } = scrape_all("", Script::new(&[body])).await;
    let expected =
        r#"{__name__="a", exported_exported_job="own", exported_job="x", instance="h:1", job="j", zone="z"} 1 @1000"#;
    assert_eq!(samples[0], [expected]);
    let Scraped { samples, .. } = scrape_all("honor_labels: true", Script::new(&[body])).await;
    assert_eq!(samples[0], [r#"{__name__="a", exported_job="x", instance="h:1", job="own"} 1 @1000"#]);
}

#[tokio::test(start_paused = true)]
async fn samples_are_relabelled_and_dropped() {
    let yaml = "
metric_relabel_configs:
  - {source_labels: [__name__], regex: go_.*, action: drop}
  - {source_labels: [__name__], target_label: __name__, replacement: 'x_$1'}
";
    let Scraped { samples, reports, .. } = scrape_all(yaml, Script::new(&["go_a 1\nb 2\n", "go_a 1\nb 2\n"])).await;
    assert_eq!(short(&samples), [[r#"{"x_b"} 2 @1000"#], [r#"{"x_b"} 2 @2000"#]]);
    assert_eq!(reports, ["1 2 1 1", "1 2 1 0"]);
}

#[tokio::test(start_paused = true)]
async fn a_scrape_beyond_a_limit_fails() {
    let body = "a{long_label_name=\"x\"} 1\nb 2\nc 3\n";
    for (yaml, error, report) in [
        ("sample_limit: 2", "sample limit exceeded", "0 3 3 2"),
        ("label_limit: 3", "label_limit exceeded (metric: a, number of labels: 5, limit: 3)", "0 1 0 0"),
        (
            "label_name_length_limit: 10",
            "label_name_length_limit exceeded (metric: a, label name: long_label_name, length: 15, limit: 10)",
            "0 1 0 0",
        ),
        (
            "label_value_length_limit: 2",
            "label_value_length_limit exceeded (metric: a, label name: instance, value: \"h:1\", length: 3, limit: 2)",
            "0 1 0 0",
        ),
    ] {
        let Scraped { samples, reports, target } = scrape_all(yaml, Script::new(&[body])).await;
        assert!(samples[0].is_empty(), "{yaml}");
        assert!(target.status().last_error.ends_with(error), "{}", target.status().last_error);
        assert_eq!(reports, [report], "{yaml}");
    }
    let Scraped { reports, .. } = scrape_all("sample_limit: 3", Script::new(&[body])).await;
    assert_eq!(reports, ["1 3 3 3"]);
}

#[tokio::test(start_paused = true)]
async fn the_first_sample_of_a_repeated_series_wins() {
    let Scraped { samples, reports, .. } = scrape_all("", Script::new(&["a 1\na 2\n", "a 3\na 4\n"])).await;
    assert_eq!(short(&samples), [[r#"{"a"} 1 @1000"#], [r#"{"a"} 3 @2000"#]]);
    assert_eq!(reports, ["1 2 2 1", "1 2 2 0"]);
}

#[tokio::test(start_paused = true)]
async fn names_are_checked_against_the_validation_scheme() {
    let body = "{\"with.dots\"} 1\n";
    let Scraped { samples, .. } = scrape_all("", Script::new(&[body])).await;
    assert_eq!(samples[0].len(), 1);
    let Scraped { target, .. } = scrape_all("metric_name_validation_scheme: legacy", Script::new(&[body])).await;
    assert!(target.status().last_error.contains("invalid metric name or label names"));
}

#[tokio::test(start_paused = true)]
async fn classic_histograms_are_converted_on_demand() {
    let body = "# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_bucket{le=\"+Inf\"} 2\nh_sum 3\nh_count 2\n";
    let script = Script::new(&[body, body, ""]);
    let Scraped { samples, .. } = scrape_all("convert_classic_histograms_to_nhcb: true", script).await;
    assert_eq!(
        short(&samples),
        [[r#"{"h"} histogram @1000"#], [r#"{"h"} histogram @2000"#], [r#"{"h"} stale histogram @3000"#]]
    );
}

#[tokio::test(start_paused = true)]
async fn metadata_is_sent_once_and_again_after_a_rejected_append() {
    let config = Arc::new(resolved("job_name: j"));
    let recorder = Arc::new(Recorder::default());
    let script = Script::new(&["# TYPE a counter\n# HELP a text\na 1\n"]);
    let target = Arc::new(target(&config));
    let forced = ForcedError::default();
    let mut target_loop = TargetLoop::new(shared(&recorder), config, script, target.clone(), forced.clone());
    *recorder.refuse.lock() = Some(WriteError::Overloaded("full".into()));
    for number in 1..4 {
        target_loop.scrape(START_MS + number * 1000).await;
    }
    assert_eq!(*recorder.metadata.lock(), ["a counter text"]);
    assert_eq!(target.metadata()["a"].help, "text");
    *forced.lock() = Some("target_limit exceeded".into());
    target_loop.scrape(START_MS + 9000).await;
    assert_eq!(target.status().last_error, "target_limit exceeded");
    assert!(short(&recorder.take()).last().unwrap().contains(&r#"{"a"} stale @9000"#.to_string()));
}

#[tokio::test(start_paused = true)]
async fn a_scrape_that_the_store_refuses_is_down_and_claims_nothing() {
    let config = Arc::new(resolved("job_name: j"));
    let recorder = Arc::new(Recorder::default());
    let script = Script::new(&["a 1\nb 1\n", "a 2\nc 2\n", "a 3\nc 3\n"]);
    let target = Arc::new(target(&config));
    let mut target_loop = TargetLoop::new(shared(&recorder), config, script, target.clone(), ForcedError::default());
    target_loop.scrape(START_MS + 1000).await;
    *recorder.refuse.lock() = Some(WriteError::Overloaded("the head is full".into()));
    target_loop.scrape(START_MS + 2000).await;
    assert_eq!(target.status().health, Health::Down);
    assert_eq!(target.status().last_error, "the scrape was not stored: the head is full");
    target_loop.scrape(START_MS + 3000).await;
    assert_eq!(target.status().health, Health::Up);
    let batches = short(&recorder.take());
    assert_eq!(batches[1][..3], [r#"{"a"} 3 @3000"#, r#"{"c"} 3 @3000"#, r#"{"b"} stale @3000"#]);
    assert_eq!(batches[1][7], r#"{"scrape_series_added"} 1 @3000"#, "c was not stored before");
}

#[tokio::test(start_paused = true)]
async fn lines_of_a_failed_scrape_count_as_added_once() {
    let script = Script::new(&["a 1\n", "a 1\nb 1\nc oops\n", "a 1\nb 1\n", "a 1\nb 1\nd 1\n"]);
    let Scraped { samples, reports, .. } = scrape_all("", script).await;
    assert_eq!(reports, ["1 1 1 1", "0 2 2 1", "1 2 2 0", "1 3 3 1"]);
    assert_eq!(short(&samples)[1], [r#"{"a"} stale @2000"#]);
}

#[tokio::test(start_paused = true)]
async fn series_beyond_the_limit_of_samples_count_as_added_once_there_is_room() {
    let script = Script::new(&["a 1\nb 1\nc 1\n", "c 1\n"]);
    let Scraped { reports, .. } = scrape_all("sample_limit: 2", script).await;
    assert_eq!(reports, ["0 3 3 2", "1 1 1 1"]);
}

#[tokio::test(start_paused = true)]
async fn series_that_come_back_after_an_empty_page_are_not_new() {
    let Scraped { samples, reports, .. } = scrape_all("", Script::new(&["a 1\n", "", "a 2\n", "\n", "a 3\n"])).await;
    assert_eq!(reports, ["1 1 1 1", "1 0 0 0", "1 1 1 0", "1 0 0 0", "1 1 1 1"]);
    let stale = [r#"{"a"} stale @2000"#, r#"{"a"} stale @4000"#];
    assert_eq!([&short(&samples)[1][0], &short(&samples)[3][0]], stale);
}

#[tokio::test(start_paused = true)]
async fn a_series_whose_labels_are_malformed_does_not_count() {
    let Scraped { reports, .. } = scrape_all("", Script::new(&["a 1\nb{c=} 1\n"])).await;
    assert_eq!(reports, ["0 1 1 1"]);
}

#[tokio::test(start_paused = true)]
async fn an_exemplar_without_a_timestamp_is_stored_once() {
    let body = |trace: &str| format!("# TYPE r counter\nr_total 5 # {{t=\"{trace}\"}} 1.5\n# EOF\n");
    // A page that ends early fails the scrape, and its exemplars are not stored.
    let half = |trace: &str| body(trace).replace("# EOF\n", "");
    let bodies = [body("a"), body("a"), half("b"), body("b"), body("b"), half("c"), body("b")];
    let answers = bodies.iter().map(|body| Ok(body.clone())).collect();
    let script = Arc::new(Script {
        answers: Mutex::new(answers),
        content_type: "application/openmetrics-text; version=1.0.0",
        fetched: Mutex::default(),
    });
    let Scraped { samples, .. } = scrape_all("", script).await;
    let exemplars: Vec<_> = short(&samples).into_iter().flatten().filter(|line| line.contains("exemplar")).collect();
    // The failed scrape of "c" took the place of "b".
    assert_eq!(
        exemplars,
        [
            r#"{"r_total"} exemplar {t="a"} 1.5 @1000"#,
            r#"{"r_total"} exemplar {t="b"} 1.5 @4000"#,
            r#"{"r_total"} exemplar {t="b"} 1.5 @7000"#,
        ]
    );
}

mod pools;
