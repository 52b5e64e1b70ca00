//! Tests of pools: reloads, vanished targets and limits on targets.

use tokio::sync::watch;

use super::*;
use crate::handoff::Handoffs;
use crate::pool::{self, PoolInput, ScrapeJob};

/// A pool over one published list of addresses.
struct TestPool {
    recorder: Arc<Recorder>,
    clock: Arc<TokioClock>,
    shared: Arc<Shared>,
    handoffs: Arc<Handoffs>,
}

impl TestPool {
    fn new() -> Self {
        let recorder = Arc::new(Recorder::default());
        let clock = TokioClock::new();
        let shared = shared_with(&recorder, clock.clone());
        TestPool { handoffs: Handoffs::new(shared.clone()), recorder, clock, shared }
    }

    fn start(
        &self,
        yaml: &str,
        script: &Arc<Script>,
        found: watch::Receiver<pharos_discovery::DiscoveredTargets>,
    ) -> pool::PoolHandle {
        pool::start(self.shared.clone(), self.handoffs.clone(), input(yaml, script, found))
    }

    /// Ends the process.
    async fn end(&self, pool: pool::PoolHandle) {
        self.shared.stop();
        pool.stop().await.unwrap();
    }

    /// All recorded samples of a series.
    fn lines_of(&self, name: &str) -> Vec<String> {
        let all = self.recorder.batches.lock();
        all.iter().flatten().filter(|line| line.contains(&format!("\"{name}\""))).cloned().collect()
    }
}

/// A section with an interval of ten seconds, unless `yaml` sets another.
fn input(yaml: &str, script: &Arc<Script>, found: watch::Receiver<pharos_discovery::DiscoveredTargets>) -> PoolInput {
    let interval = if yaml.contains("scrape_interval") { "" } else { "scrape_interval: 10s\n" };
    let config = Arc::new(resolved(&format!("job_name: j\n{interval}scrape_timeout: 1s\n{yaml}")));
    // Each section has a client of its own.
    let fetch: Arc<dyn Fetch> = Arc::new(Shares(script.clone()));
    PoolInput { job: ScrapeJob { config, fetch }, found: vec![found] }
}

/// A client that shares a script with others.
struct Shares(Arc<Script>);

#[async_trait]
impl Fetch for Shares {
    async fn fetch(
        &self,
        url: &str,
        headers: &[(HeaderName, HeaderValue)],
        timeout: Duration,
        limit: u64,
        hold: &Hold,
        body: &mut Vec<u8>,
    ) -> Result<ResponseHead, HttpError> {
        self.0.fetch(url, headers, timeout, limit, hold, body).await
    }
}

fn addresses(list: &[&str]) -> pharos_discovery::DiscoveredTargets {
    Some(Arc::new(list.iter().map(|address| Labels::from_pairs([("__address__", *address)])).collect()))
}

#[tokio::test(start_paused = true)]
async fn a_target_that_vanishes_is_marked_stale_after_two_intervals() {
    let test = TestPool::new();
    let (publish, found) = watch::channel(addresses(&["a:1", "b:1", "a:1"]));
    let pool = test.start("", &Script::new(&["m 1\n"]), found);
    tokio::time::sleep(Duration::from_secs(15)).await;
    assert_eq!(pool.status.active().len(), 2);
    publish.send_replace(addresses(&["a:1"]));
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(pool.status.active().len(), 1);
    assert!(!test.lines_of("m").iter().any(|line| line.contains("stale")), "not yet");
    tokio::time::sleep(Duration::from_secs(30)).await;
    let stale: Vec<_> =
        test.recorder.batches.lock().iter().flatten().filter(|l| l.contains("stale")).cloned().collect();
    assert_eq!(stale.len(), 6, "{stale:?}");
    assert!(stale.iter().all(|line| line.contains("b:1")));
    test.end(pool).await;
}

#[tokio::test(start_paused = true)]
async fn a_reload_leaves_neither_a_gap_nor_a_stale_marker() {
    let test = TestPool::new();
    let script = Script::new(&["m 1\n"]);
    let (_publish, found) = watch::channel(addresses(&["a:1"]));
    let pool = test.start("", &script, found.clone());
    tokio::time::sleep(Duration::from_secs(25)).await;
    pool.reload(input("sample_limit: 9", &script, found.clone()));
    tokio::time::sleep(Duration::from_secs(20)).await;
    // Samples get another label now: the first scrape ends the old series and starts the new one.
    pool.reload(input("metric_relabel_configs: [{target_label: x, replacement: y}]", &script, found));
    tokio::time::sleep(Duration::from_secs(50)).await;
    let times: Vec<i64> =
        test.lines_of("up").iter().map(|line| line.rsplit('@').next().unwrap().parse().unwrap()).collect();
    assert!(times.len() >= 9, "{times:?}");
    assert!(times.windows(2).all(|pair| pair[1] - pair[0] == 10_000), "{times:?}");
    let stale: Vec<_> = test.lines_of("m").into_iter().filter(|line| line.contains("stale")).collect();
    assert_eq!(stale.len(), 1, "{stale:?}");
    assert!(test.lines_of("up").iter().all(|line| !line.contains("stale")));
    test.end(pool).await;
}

#[tokio::test(start_paused = true)]
async fn all_targets_fail_beyond_the_target_limit() {
    let test = TestPool::new();
    let script = Script::new(&["m 1\n"]);
    let (publish, found) = watch::channel(addresses(&["a:1", "b:1"]));
    let pool = test.start(
        "target_limit: 1\nrelabel_configs: [{source_labels: [__address__], regex: 'c:1', action: drop}]",
        &script,
        found,
    );
    tokio::time::sleep(Duration::from_secs(11)).await;
    assert!(pool.status.active().iter().all(|target| target.status().last_error.starts_with("target_limit exceeded")));
    assert!(script.fetched.lock().is_empty());
    publish.send_replace(addresses(&["a:1", "c:1"]));
    tokio::time::sleep(Duration::from_secs(11)).await;
    assert_eq!(pool.status.active()[0].status().health, Health::Up);
    assert_eq!(pool.status.dropped_count(), 1);
    assert_eq!(pool.status.dropped().len(), 1);
    test.end(pool).await;
}

/// Answers after a while, and with its own path as a series.
struct Slow(Duration);

#[async_trait]
impl Fetch for Slow {
    async fn fetch(
        &self,
        url: &str,
        _: &[(HeaderName, HeaderValue)],
        _: Duration,
        _: u64,
        _: &Hold,
        body: &mut Vec<u8>,
    ) -> Result<ResponseHead, HttpError> {
        tokio::time::sleep(self.0).await;
        let path = url.rsplit('/').next().unwrap_or_default();
        body.extend_from_slice(format!("m 1\n{path} 1\n").as_bytes());
        Ok(ResponseHead { content_type: TEXT.to_string() })
    }
}

fn slow_input(yaml: &str, found: &watch::Receiver<pharos_discovery::DiscoveredTargets>) -> PoolInput {
    let mut input = input(yaml, &Script::new(&[]), found.clone());
    input.job.fetch = Arc::new(Slow(Duration::from_secs(4)));
    input
}

fn times(lines: &[String]) -> Vec<i64> {
    lines.iter().map(|line| line.rsplit('@').next().unwrap().parse().unwrap()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_reload_breaks_off_no_scrape() {
    let test = TestPool::new();
    let (_publish, found) = watch::channel(addresses(&["a:1"]));
    let pool = pool::start(test.shared.clone(), test.handoffs.clone(), slow_input("", &found));
    for limit in 1..=5 {
        // In the middle of each scrape, which takes four seconds.
        let scrapes = test.shared.metrics.scrapes.with_label_values(&["up"]).get();
        while !test.shared.is_busy() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        tokio::time::sleep(Duration::from_secs(2)).await;
        pool.reload(slow_input(&format!("sample_limit: {}", limit + 100), &found));
        tokio::time::sleep(Duration::from_secs(3)).await;
        assert_eq!(test.shared.metrics.scrapes.with_label_values(&["up"]).get(), scrapes + 1);
    }
    let times = times(&test.lines_of("up"));
    assert!(times.windows(2).all(|pair| pair[1] - pair[0] == 10_000), "{times:?}");
    assert_eq!(times.len(), 5);
    test.end(pool).await;
}

#[tokio::test(start_paused = true)]
async fn a_target_that_goes_during_its_scrape_delays_no_other() {
    let test = TestPool::new();
    let (publish, found) = watch::channel(addresses(&["a:1"]));
    let pool = pool::start(test.shared.clone(), test.handoffs.clone(), slow_input("", &found));
    while !test.shared.is_busy() {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    publish.send_replace(addresses(&["b:1"]));
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(pool.status.active()[0].labels.get("instance"), Some("b:1"), "before the scrape of a:1 has ended");
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(test.lines_of("up").iter().filter(|line| line.contains("a:1")).count(), 1, "it was completed");
    test.end(pool).await;
}

#[tokio::test(start_paused = true)]
async fn a_job_that_is_added_again_while_its_scrapes_end_keeps_its_gauge() {
    let test = TestPool::new();
    let (_publish, found) = watch::channel(addresses(&["a:1"]));
    let start = || pool::start(test.shared.clone(), test.handoffs.clone(), slow_input("", &found));
    let first = start();
    while !test.shared.is_busy() {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let ending = first.stop();
    let second = start();
    ending.await.unwrap();
    second.status.discovered().await;
    let targets = || {
        let families = prometheus::core::Collector::collect(&test.shared.metrics.targets);
        families[0].get_metric().iter().map(|metric| metric.get_gauge().get_value()).collect::<Vec<_>>()
    };
    assert_eq!(targets(), [1.0]);
    test.end(second).await;
    assert!(targets().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_reload_keeps_health_last_scrape_and_metadata() {
    let test = TestPool::new();
    let (publish, found) = watch::channel(addresses(&["a:1"]));
    let script = Script::new(&["# TYPE m counter\nm 1\n"]);
    let pool = test.start("", &script, found.clone());
    tokio::time::sleep(Duration::from_secs(15)).await;
    let before = pool.status.active()[0].status();
    assert_eq!(before.health, Health::Up);
    for yaml in ["sample_limit: 9", "scrape_interval: 30s", "metrics_path: /other"] {
        pool.reload(input(yaml, &script, found.clone()));
        tokio::time::sleep(Duration::from_millis(1)).await;
        let target = pool.status.active()[0].clone();
        assert_eq!(target.status().health, Health::Up, "{yaml}");
        assert_eq!(target.metadata().len(), 1, "{yaml}");
    }
    let mut labels = pharos_model::LabelsBuilder::default();
    labels.set("__address__", "a:1").set("__meta_pod", "p");
    publish.send_replace(Some(Arc::new(vec![labels.build()])));
    tokio::time::sleep(Duration::from_millis(1)).await;
    let target = pool.status.active()[0].clone();
    assert_eq!(target.discovered().get("__meta_pod"), Some("p"), "discovered labels follow");
    assert_eq!(target.status().health, Health::Up);
    test.end(pool).await;
}

#[tokio::test(start_paused = true)]
async fn another_path_ends_the_series_of_the_old_one_at_its_first_scrape() {
    let test = TestPool::new();
    let (_publish, found) = watch::channel(addresses(&["a:1"]));
    let pool = pool::start(test.shared.clone(), test.handoffs.clone(), slow_input("metrics_path: /old", &found));
    tokio::time::sleep(Duration::from_secs(25)).await;
    // Two reloads within an interval: the loop in between never scrapes.
    pool.reload(slow_input("metrics_path: /between", &found));
    pool.reload(slow_input("metrics_path: /new", &found));
    tokio::time::sleep(Duration::from_secs(40)).await;
    assert!(test.lines_of("between").is_empty());
    let stale: Vec<String> =
        ["old", "m", "up"].iter().flat_map(|name| test.lines_of(name)).filter(|l| l.contains("stale")).collect();
    assert_eq!(stale.len(), 1, "{stale:?}");
    assert!(stale[0].contains("\"old\""), "{stale:?}");
    let first_new = times(&test.lines_of("new"))[0];
    assert_eq!(times(&stale), [first_new]);
    let added = test.lines_of("scrape_series_added");
    let at_first: Vec<&String> = added.iter().filter(|l| l.ends_with(&format!("@{first_new}"))).collect();
    assert!(at_first[0].contains(" 1 @"), "only one series is new: {at_first:?}");
    test.end(pool).await;
}

#[tokio::test(start_paused = true)]
async fn a_longer_interval_brings_no_early_stale_markers() {
    let test = TestPool::new();
    let (_publish, found) = watch::channel(addresses(&["a:1"]));
    let script = Script::new(&["m 1\n"]);
    let pool = test.start("", &script, found.clone());
    tokio::time::sleep(Duration::from_secs(25)).await;
    pool.reload(input("scrape_interval: 10m", &script, found));
    tokio::time::sleep(Duration::from_secs(1800)).await;
    assert!(test.lines_of("m").iter().all(|line| !line.contains("stale")));
    assert!(test.lines_of("m").len() >= 4);
    test.end(pool).await;
}

#[tokio::test(start_paused = true)]
async fn targets_with_equal_labels_keep_their_own_series() {
    let test = TestPool::new();
    let (publish, found) = watch::channel(None);
    let at = |path: &str| {
        let mut labels = pharos_model::LabelsBuilder::default();
        labels.set("__address__", "a:1").set("__metrics_path__", path);
        labels.build()
    };
    publish.send_replace(Some(Arc::new(vec![at("/one"), at("/two")])));
    let pool = pool::start(test.shared.clone(), test.handoffs.clone(), slow_input("", &found));
    tokio::time::sleep(Duration::from_secs(25)).await;
    // One goes, and comes back before it is given up.
    publish.send_replace(Some(Arc::new(vec![at("/one")])));
    tokio::time::sleep(Duration::from_secs(8)).await;
    publish.send_replace(Some(Arc::new(vec![at("/one"), at("/two")])));
    tokio::time::sleep(Duration::from_secs(30)).await;
    let stale: Vec<String> =
        ["one", "two"].iter().flat_map(|name| test.lines_of(name)).filter(|l| l.contains("stale")).collect();
    assert!(stale.is_empty(), "{stale:?}");
    test.end(pool).await;
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_set_back_stops_no_scrape() {
    let test = TestPool::new();
    let (_publish, found) = watch::channel(addresses(&["a:1"]));
    let script = Script::new(&["m 1\n"]);
    let pool = test.start("", &script, found);
    tokio::time::sleep(Duration::from_secs(25)).await;
    // For an hour it is one hour behind, and half an interval; then it is right again.
    for step_ms in [-3_605_000, 3_605_000] {
        test.clock.step(step_ms);
        let before = script.fetched.lock().len();
        tokio::time::sleep(Duration::from_secs(100)).await;
        let scrapes = script.fetched.lock().len() - before;
        assert!((9..=11).contains(&scrapes), "{scrapes} scrapes in ten intervals after a step of {step_ms} ms");
    }
    test.end(pool).await;
}
