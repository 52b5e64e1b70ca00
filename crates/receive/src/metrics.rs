//! The metrics of receiving.

use std::time::Duration;

use pharos_model::WriteOutcome;
use prometheus::{Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts, Registry};

/// The metrics of a receiver.
#[derive(Debug)]
pub(super) struct ReceiveMetrics {
    requests: IntCounterVec,
    duration: HistogramVec,
    bytes: IntCounterVec,
    samples: IntCounterVec,
    rejected: IntCounterVec,
    metadata: IntCounter,
    pub(super) inflight: IntGauge,
    pub(super) batch_series: Histogram,
}

impl ReceiveMetrics {
    /// Creates the metrics and registers them.
    pub(super) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let counters = |name: &str, help: &str, labels: &[&str]| {
            let counters = IntCounterVec::new(Opts::new(format!("pharos_receive_{name}"), help), labels)?;
            registry.register(Box::new(counters.clone()))?;
            Ok::<_, prometheus::Error>(counters)
        };
        let metrics = ReceiveMetrics {
            requests: counters("requests_total", "Requests by protocol and HTTP status.", &["protocol", "code"])?,
            bytes: counters("bytes_total", "Bytes of bodies, as sent and decompressed.", &["protocol", "form"])?,
            samples: counters("samples_total", "What was written, by kind.", &["protocol", "kind"])?,
            rejected: counters("rejected_total", "Samples and exemplars that were refused.", &["protocol", "reason"])?,
            duration: HistogramVec::new(
                HistogramOpts::new("pharos_receive_request_duration_seconds", "Time to answer a request.")
                    .buckets(prometheus::exponential_buckets(0.0005, 2.5, 11)?),
                &["protocol"],
            )?,
            batch_series: Histogram::with_opts(
                HistogramOpts::new("pharos_receive_batch_series", "Series in a request.")
                    .buckets(prometheus::exponential_buckets(1.0, 4.0, 9)?),
            )?,
            metadata: IntCounter::new("pharos_receive_metadata_total", "Metric families whose metadata was received.")?,
            inflight: IntGauge::new("pharos_receive_inflight_bytes", "Bytes of requests that are being handled.")?,
        };
        registry.register(Box::new(metrics.duration.clone()))?;
        registry.register(Box::new(metrics.batch_series.clone()))?;
        registry.register(Box::new(metrics.metadata.clone()))?;
        registry.register(Box::new(metrics.inflight.clone()))?;
        Ok(metrics)
    }

    /// Counts a response.
    pub(super) fn answered(&self, protocol: &str, code: u16, took: Duration) {
        self.requests.with_label_values(&[protocol, &code.to_string()]).inc();
        self.duration.with_label_values(&[protocol]).observe(took.as_secs_f64());
    }

    /// Counts the bytes of a body, as sent and decompressed.
    pub(super) fn body(&self, protocol: &str, sent: usize, plain: usize) {
        self.bytes.with_label_values(&[protocol, "sent"]).inc_by(sent as u64);
        self.bytes.with_label_values(&[protocol, "decompressed"]).inc_by(plain as u64);
    }

    /// Counts the samples, rejections and metadata of a request.
    pub(super) fn outcome(&self, protocol: &str, outcome: &WriteOutcome, metadata: usize) {
        let kinds = [("float", outcome.samples), ("histogram", outcome.histograms), ("exemplar", outcome.exemplars)];
        for (kind, count) in kinds.into_iter().filter(|(_, count)| *count > 0) {
            self.samples.with_label_values(&[protocol, kind]).inc_by(count);
        }
        for (reason, rejected) in &outcome.rejected {
            self.rejected.with_label_values(&[protocol, reason.as_str()]).inc_by(rejected.count);
        }
        self.metadata.inc_by(metadata as u64);
    }
}
