//! The whole scraper against a server on a local port.

use axum::Router;
use axum::routing::get;
use flate2::Compression;
use flate2::write::GzEncoder;
use pharos_model::SystemClock;
use std::io::Write as _;
use std::time::Duration;

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
async fn an_agent_scrapes_reloads_and_stops() {
    let address = serve().await;
    let recorder = Arc::new(Recorder::default());
    let config = |path: &str| {
        let yaml = format!(
            "job_name: j\nscrape_interval: 50ms\nscrape_timeout: 50ms\nmetrics_path: {path}\nstatic_configs: [{{targets: ['{address}']}}]"
        );
        vec![Arc::new(resolved(&yaml))]
    };
    let agent = Agent::create(
        AgentConfig { scrape: config("/gzip"), ..AgentConfig::default() },
        recorder.clone(),
        crate::Ownership::everything(),
        Arc::new(SystemClock::new()),
        &prometheus::Registry::new(),
    )
    .unwrap();
    let (stop, stopped) = watch::channel(false);
    let running = tokio::spawn(agent.clone().run(stopped));
    let health = |wanted: Health| {
        let agent = agent.clone();
        async move {
            loop {
                let targets: Vec<_> = agent.pools().iter().flat_map(|pool| pool.active()).collect();
                if targets.iter().any(|target| target.status().health == wanted) {
                    return targets[0].clone();
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    };
    let up = tokio::time::timeout(Duration::from_secs(20), health(Health::Up)).await.unwrap();
    assert_eq!((up.url.as_str(), up.metadata().len()), (format!("http://{address}/gzip").as_str(), 1));
    agent.reload(config("/missing")).unwrap();
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
