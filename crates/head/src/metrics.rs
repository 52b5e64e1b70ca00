//! The metrics of the head: `pharos_head_*` and `pharos_wal_*`.

use std::collections::HashMap;

use pharos_model::{RejectReason, WriteOutcome};
use prometheus::core::{Atomic, GenericCounter};
use prometheus::{Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, Registry};

pub(crate) struct HeadMetrics {
    pub(crate) samples: IntCounter,
    pub(crate) histograms: IntCounter,
    pub(crate) exemplars: IntCounter,
    pub(crate) series_created: IntCounter,
    pub(crate) series_removed: IntCounter,
    rejected: HashMap<RejectReason, IntCounter>,
    pub(crate) refused: IntCounter,
    pub(crate) series: IntGauge,
    pub(crate) memory: IntGauge,
    pub(crate) cuts: IntCounter,
    pub(crate) wal_bytes: IntCounter,
    pub(crate) wal_syncs: IntCounter,
    pub(crate) wal_failures: IntCounter,
    pub(crate) wal_segments_removed: IntCounter,
    pub(crate) replay_seconds: Histogram,
    pub(crate) replayed_samples: IntCounter,
}

const REASONS: [RejectReason; 10] = [
    RejectReason::TooOld,
    RejectReason::TooFarInFuture,
    RejectReason::DuplicateTimestamp,
    RejectReason::InvalidLabels,
    RejectReason::InvalidHistogram,
    RejectReason::InvalidExemplar,
    RejectReason::MaxSeries,
    RejectReason::MaxLabels,
    RejectReason::MaxLabelNameLength,
    RejectReason::MaxLabelValueLength,
];

impl HeadMetrics {
    pub(crate) fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let counter = |name: &str, help: &str| -> Result<IntCounter, prometheus::Error> {
            let counter = IntCounter::new(name, help)?;
            registry.register(Box::new(counter.clone()))?;
            Ok(counter)
        };
        let gauge = |name: &str, help: &str| -> Result<IntGauge, prometheus::Error> {
            let gauge = IntGauge::new(name, help)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok(gauge)
        };
        let rejected = IntCounterVec::new(
            Opts::new("pharos_head_rejected_total", "Samples, histograms and exemplars rejected, by reason."),
            &["reason"],
        )?;
        registry.register(Box::new(rejected.clone()))?;
        let replay_seconds = Histogram::with_opts(
            HistogramOpts::new("pharos_head_wal_replay_seconds", "Time taken to replay the write-ahead log.")
                .buckets(vec![0.1, 1.0, 5.0, 15.0, 60.0, 300.0]),
        )?;
        registry.register(Box::new(replay_seconds.clone()))?;
        Ok(HeadMetrics {
            samples: counter("pharos_head_samples_appended_total", "Float samples appended.")?,
            histograms: counter("pharos_head_histograms_appended_total", "Histogram samples appended.")?,
            exemplars: counter("pharos_head_exemplars_appended_total", "Exemplars appended.")?,
            series_created: counter("pharos_head_series_created_total", "Series created.")?,
            series_removed: counter(
                "pharos_head_series_removed_total",
                "Series removed because they had no samples left.",
            )?,
            rejected: REASONS.iter().map(|r| (*r, rejected.with_label_values(&[r.as_str()]))).collect(),
            refused: counter(
                "pharos_head_refused_writes_total",
                "Writes refused as a whole because memory or log had reached a limit.",
            )?,
            series: gauge("pharos_head_series", "Series in memory.")?,
            memory: gauge("pharos_head_memory_bytes", "Approximate memory of the head.")?,
            cuts: counter("pharos_head_cuts_total", "Windows cut.")?,
            wal_bytes: counter("pharos_wal_written_bytes_total", "Bytes written to the write-ahead log.")?,
            wal_syncs: counter("pharos_wal_fsyncs_total", "Fsyncs of the write-ahead log.")?,
            wal_failures: counter(
                "pharos_wal_failures_total",
                "Failed writes and fsyncs of the write-ahead log. Each is retried.",
            )?,
            wal_segments_removed: counter(
                "pharos_wal_segments_removed_total",
                "Segments of the write-ahead log removed.",
            )?,
            replay_seconds,
            replayed_samples: counter(
                "pharos_head_replayed_samples_total",
                "Samples replayed from the write-ahead log.",
            )?,
        })
    }

    /// Counts the outcome of a batch.
    pub(crate) fn count(&self, outcome: &WriteOutcome) {
        add(&self.samples, outcome.samples);
        add(&self.histograms, outcome.histograms);
        add(&self.exemplars, outcome.exemplars);
        add(&self.series_created, outcome.new_series);
        for (reason, rejected) in &outcome.rejected {
            if let Some(counter) = self.rejected.get(reason) {
                add(counter, rejected.count);
            }
        }
    }
}

fn add<P: Atomic<T = u64>>(counter: &GenericCounter<P>, by: u64) {
    if by > 0 {
        counter.inc_by(by);
    }
}
