//! The whole scraper against a server on a local port.

use std::io::Write as _;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use flate2::Compression;
use flate2::write::GzEncoder;
use pharos_model::{MemoryAccount, SystemClock};

use super::*;
use crate::Health;
use crate::targets::tests::resolved;
use crate::tests::Recorder;

const METRICS: &str = "# TYPE a counter\na 1\nb{x=\"y\"} 2\n";

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

async fn serve() -> String {
    let zipped = [("content-type", "text/plain"), ("content-encoding", "gzip")];
    let app = Router::new().route("/gzip", get(move || async move { (zipped, gzip(METRICS.as_bytes())) }));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}

#[tokio::test]
async fn a_scraper_scrapes_reloads_and_stops() {
    let address = serve().await;
    let recorder = Arc::new(Recorder::default());
    let config = |path: &str| {
        let yaml = format!(
            "job_name: j\nscrape_interval: 50ms\nscrape_timeout: 50ms\nmetrics_path: {path}\nstatic_configs: [{{targets: ['{address}']}}]"
        );
        vec![Arc::new(resolved(&yaml))]
    };
    let scraper = Scraper::create(
        ScraperConfig { scrape: config("/gzip"), ..ScraperConfig::default() },
        recorder.clone(),
        MemoryAccount::unlimited(),
        crate::Ownership::everything(""),
        Arc::new(SystemClock::new()),
        &prometheus::Registry::new(),
    )
    .unwrap();
    let (stop, stopped) = watch::channel(false);
    let running = tokio::spawn(scraper.clone().run(stopped));
    let health = |wanted: Health| {
        let scraper = scraper.clone();
        async move {
            loop {
                let targets: Vec<_> = scraper.pools().iter().flat_map(|pool| pool.active()).collect();
                if targets.iter().any(|target| target.status().health == wanted) {
                    return targets[0].clone();
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    };
    let up = tokio::time::timeout(Duration::from_secs(20), health(Health::Up)).await.unwrap();
    assert_eq!(up.url, format!("http://{address}/gzip"));
    assert_eq!(up.metadata().len(), 1);
    scraper.reload(config("/missing")).unwrap();
    let down = tokio::time::timeout(Duration::from_secs(20), health(Health::Down)).await.unwrap();
    assert_eq!(down.status().last_error, "server returned HTTP status 404 Not Found");
    stop.send_replace(true);
    running.await.unwrap();
    let batches = recorder.take();
    assert_eq!(batches[0].len(), 7, "two series and five of the report");
    let all: Vec<_> = batches.iter().flatten().collect();
    let of_a = all.iter().filter(|line| line.contains("__name__=\"a\"")).collect::<Vec<_>>();
    assert_eq!(
        of_a.iter().filter(|line| line.contains("stale")).count(),
        1,
        "the series ends with the first failed scrape"
    );
}

fn create(yaml: &str, registry: &Registry) -> Result<Arc<Scraper>, ScraperError> {
    Scraper::create(
        ScraperConfig { scrape: vec![Arc::new(resolved(yaml))], ..ScraperConfig::default() },
        Arc::new(Recorder::default()),
        MemoryAccount::unlimited(),
        Ownership::everything(""),
        Arc::new(SystemClock::new()),
        registry,
    )
}

const BAD_CERTIFICATE: &str = "job_name: bad\ntls_config: {ca: nonsense}";

#[tokio::test]
async fn a_section_with_a_bad_certificate_is_refused() {
    let error = create(BAD_CERTIFICATE, &Registry::new()).err().unwrap().to_string();
    assert!(error.starts_with("scrape config with job name \"bad\": unable to use specified CA cert"), "{error}");
}

#[tokio::test]
async fn a_missing_certificate_only_fails_the_targets_of_its_section() {
    let yaml = "job_name: j\nscheme: https\nscrape_interval: 50ms\nscrape_timeout: 50ms\n\
                tls_config: {ca_file: /does/not/exist}\nstatic_configs: [{targets: ['127.0.0.1:1']}]";
    let scraper = create(yaml, &Registry::new()).unwrap();
    let (stop, stopped) = watch::channel(false);
    let running = tokio::spawn(scraper.clone().run(stopped));
    let down = async {
        loop {
            let targets: Vec<_> = scraper.pools().iter().flat_map(|pool| pool.active()).collect();
            if let Some(target) = targets.iter().find(|target| target.status().health == Health::Down) {
                return target.status().last_error;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let error = tokio::time::timeout(Duration::from_secs(20), down).await.unwrap();
    assert!(error.contains("unable to read CA cert file /does/not/exist"), "{error}");
    stop.send_replace(true);
    running.await.unwrap();
}

#[tokio::test]
async fn a_failed_reload_keeps_the_previous_configuration() {
    let scraper = create("job_name: good", &Registry::new()).unwrap();
    let config = Arc::new(resolved(BAD_CERTIFICATE));
    assert!(scraper.reload(vec![config]).is_err());
    assert_eq!(scraper.jobs.borrow()[0].config.job_name, "good");
}

#[tokio::test]
async fn an_unchanged_section_keeps_its_client() {
    let scraper = create("job_name: a", &Registry::new()).unwrap();
    let before = scraper.jobs.borrow()[0].fetch.clone();
    scraper.reload(vec![Arc::new(resolved("job_name: a")), Arc::new(resolved("job_name: b"))]).unwrap();
    assert!(Arc::ptr_eq(&before, &scraper.jobs.borrow()[0].fetch));
    assert_eq!(scraper.jobs.borrow().len(), 2);
}

#[tokio::test]
async fn a_registry_has_room_for_one_scraper() {
    let registry = Registry::new();
    create("job_name: a", &registry).unwrap();
    let error = create("job_name: a", &registry).err().unwrap();
    assert!(matches!(error, ScraperError::Metrics(_)), "{error}");
}

#[tokio::test]
async fn a_scraper_that_is_alone_has_nobody_to_hand_off_to() {
    assert!(!create("job_name: a", &Registry::new()).unwrap().hand_off().await);
}

#[tokio::test]
async fn targets_are_listed_by_pool_once_they_are_discovered() {
    let yaml = "job_name: j\nstatic_configs: [{targets: ['127.0.0.1:1', '127.0.0.1:2']}]\n\
                relabel_configs: [{source_labels: [__address__], regex: '.*:2', action: drop}]";
    let scraper = create(yaml, &Registry::new()).unwrap();
    let (stop, stopped) = watch::channel(false);
    let running = tokio::spawn(scraper.clone().run(stopped));
    scraper.discovered().await;
    let request = |pool: &str| TargetsRequest { pool: pool.into(), metadata: false };
    let parts = scraper.targets(&request("j"));
    let urls: Vec<&str> = parts.iter().flat_map(|part| &part.active).map(|target| target.url.as_str()).collect();
    assert_eq!(urls, ["http://127.0.0.1:1/metrics"]);
    assert_eq!(parts[0].dropped_count, 1);
    assert_eq!(scraper.targets(&request("")), parts);
    assert!(scraper.targets(&request("other")).is_empty());
    stop.send_replace(true);
    running.await.unwrap();
}
