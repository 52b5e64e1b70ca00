//! Remote write: sends the fleet's samples with several workers, each of which owns some of the series.

mod message;
mod plan;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use reqwest::Response;
use serde::Serialize;
use tokio::time::Instant;

use crate::api::{Api, is_retryable, quote};
use crate::cli::WriteArgs;
use crate::error::Error;
use crate::fleet::{self, Series};
use crate::process;
use crate::timeline::{self, Timeline};
use message::{WireLabels, WriteRequest};
use plan::Plan;

/// Pause before a request is sent again.
const RETRY_INTERVAL: Duration = Duration::from_millis(50);
/// How often a request is sent again before the command fails.
const MAX_RETRIES: u32 = 200;

/// The result of a run, as it is printed.
#[derive(Serialize, Debug)]
pub(crate) struct Written {
    series: usize,
    samples: u64,
    retries: u64,
    wall_s: f64,
    samples_per_s: f64,
    server_cpu_s_per_million: f64,
    server_peak_rss_mb: u64,
    server_rss_bytes_per_series: u64,
    start: i64,
    end: i64,
}

/// What all workers share.
struct Writer {
    api: Api,
    fleet: Vec<Series>,
    wire_labels: Vec<WireLabels>,
    plan: Plan,
    /// When to stop, if the time is limited.
    deadline: Option<Instant>,
    samples: AtomicU64,
    retries: AtomicU64,
}

/// Writes the fleet.
pub(crate) async fn run(args: WriteArgs) -> Result<Written, Error> {
    let timeline = Timeline::ending_at(args.end.unwrap_or_else(timeline::now), args.interval, args.steps);
    let fleet: Vec<Series> = args.hosts.range().flat_map(fleet::host).collect();
    let series = fleet.len();
    let plan = Plan {
        series,
        workers: args.concurrency as usize,
        timeline,
        samples_per_request: args.batch,
        samples_per_series: args.samples_per_series,
    };
    let cpu_before = process::cpu_seconds(&args.pid);
    let began = Instant::now();
    let writer = Arc::new(Writer {
        api: Api::new(&args.url, args.tenant, plan.workers)?,
        wire_labels: fleet.iter().map(WireLabels::of).collect(),
        fleet,
        deadline: args.limit_s.map(|seconds| began + Duration::from_secs(seconds)),
        plan,
        samples: AtomicU64::new(0),
        retries: AtomicU64::new(0),
    });
    let start_worker = |worker| tokio::spawn(writer.clone().work(worker));
    let workers: Vec<_> = (0..args.concurrency as usize).map(start_worker).collect();
    for worker in workers {
        worker.await??;
    }
    let wall_s = began.elapsed().as_secs_f64();
    let cpu_s = process::cpu_seconds(&args.pid) - cpu_before;
    let peak_bytes = process::peak_bytes(&args.pid);
    let samples = writer.samples.load(Ordering::Relaxed);
    Ok(Written {
        series,
        samples,
        retries: writer.retries.load(Ordering::Relaxed),
        wall_s,
        samples_per_s: samples as f64 / wall_s,
        server_cpu_s_per_million: cpu_s / samples as f64 * 1e6,
        server_peak_rss_mb: peak_bytes / 1_000_000,
        server_rss_bytes_per_series: peak_bytes / series.max(1) as u64,
        start: timeline.start(),
        end: timeline.end,
    })
}

impl Writer {
    /// Sends all samples of a worker's series, or those that fit in the time.
    async fn work(self: Arc<Self>, worker: usize) -> Result<(), Error> {
        for batch in self.plan.batches(worker) {
            if self.deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                break;
            }
            let request = WriteRequest::new(&self.fleet, &self.wire_labels, &self.plan.timeline, &batch);
            self.send(request.compressed()?).await?;
            self.samples.fetch_add(batch.samples(), Ordering::Relaxed);
        }
        Ok(())
    }

    /// Sends a request until the server takes it, refuses it for good, or [`MAX_RETRIES`] is reached.
    async fn send(&self, body: Vec<u8>) -> Result<(), Error> {
        let body = bytes::Bytes::from(body);
        let mut attempts = 0;
        loop {
            let request = self
                .api
                .post("")
                .header("content-encoding", "snappy")
                .header("content-type", "application/x-protobuf")
                .header("x-prometheus-remote-write-version", "0.1.0")
                .body(body.clone());
            let last = match request.send().await {
                Ok(response) if response.status().is_success() => return Ok(()),
                Ok(response) if !is_retryable(response.status()) => return Err(refusal(response).await),
                Ok(response) => refusal(response).await.to_string(),
                Err(error) => format!("{error:?}"),
            };
            attempts += 1;
            self.retries.fetch_add(1, Ordering::Relaxed);
            if attempts > MAX_RETRIES {
                return Err(Error::GaveUp { attempts, last });
            }
            tokio::time::sleep(RETRY_INTERVAL).await;
        }
    }
}

/// The error that a response stands for.
async fn refusal(response: Response) -> Error {
    let url = response.url().to_string();
    let status = response.status();
    let body = response.bytes().await.unwrap_or_default();
    Error::Status { url, status, body: quote(&body) }
}
