//! The metrics of notifications. Their names and labels are Prometheus's.

use prometheus::{Gauge, HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Opts, Registry};

use crate::summary::Summary;

const LABEL: &str = "alertmanager";

/// The metrics of notifications.
#[derive(Clone)]
pub(crate) struct NotifierMetrics {
    latency: Summary,
    latency_histogram: HistogramVec,
    errors: IntCounterVec,
    sent: IntCounterVec,
    dropped: IntCounterVec,
    queue_length: IntGaugeVec,
    discovered: Gauge,
}

impl NotifierMetrics {
    /// Creates the metrics and registers them.
    pub(crate) fn new(registry: &Registry, queue_capacity: usize) -> Result<Self, prometheus::Error> {
        let counters = |name: &str, help: &str| {
            let counters = IntCounterVec::new(Opts::new(format!("prometheus_notifications_{name}"), help), &[LABEL])?;
            registry.register(Box::new(counters.clone()))?;
            Ok::<_, prometheus::Error>(counters)
        };
        let gauge = |name: &str, help: &str| {
            let gauge = Gauge::new(format!("prometheus_notifications_{name}"), help)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok::<_, prometheus::Error>(gauge)
        };
        let gauges = |name: &str, help: &str| {
            let gauges = IntGaugeVec::new(Opts::new(format!("prometheus_notifications_{name}"), help), &[LABEL])?;
            registry.register(Box::new(gauges.clone()))?;
            Ok::<_, prometheus::Error>(gauges)
        };
        let histograms = |name: &str, help: &str| {
            let options = HistogramOpts::new(format!("prometheus_notifications_{name}"), help);
            let histograms = HistogramVec::new(options.buckets(vec![0.01, 0.1, 1.0, 10.0]), &[LABEL])?;
            registry.register(Box::new(histograms.clone()))?;
            Ok::<_, prometheus::Error>(histograms)
        };
        let summary = |name: &str, help: &str| {
            let name = format!("prometheus_notifications_{name}");
            let summary = Summary::new(&name, help, Some(LABEL), &[0.5, 0.9, 0.99])?;
            registry.register(Box::new(summary.clone()))?;
            Ok::<_, prometheus::Error>(summary)
        };
        gauge("queue_capacity", "Alerts that may wait for one Alertmanager.")?.set(queue_capacity as f64);
        Ok(NotifierMetrics {
            latency: summary("latency_seconds", "Time to send alerts to an Alertmanager.")?,
            latency_histogram: histograms("latency_histogram_seconds", "Time to send alerts to an Alertmanager.")?,
            errors: counters("errors_total", "Alerts in requests that failed.")?,
            sent: counters("sent_total", "Alerts that were sent.")?,
            dropped: counters(
                "dropped_total",
                "Alerts that were dropped because a request failed or a queue was full.",
            )?,
            queue_length: gauges("queue_length", "Alerts that wait for an Alertmanager.")?,
            discovered: gauge("alertmanagers_discovered", "Alertmanagers that get alerts.")?,
        })
    }

    /// Creates the metrics of an Alertmanager.
    pub(super) fn announce(&self, url: &str) {
        for counters in [&self.errors, &self.sent, &self.dropped] {
            counters.with_label_values(&[url]);
        }
        self.queue_length.with_label_values(&[url]);
    }

    /// Removes the metrics of an Alertmanager.
    pub(super) fn forget(&self, url: &str) {
        self.latency.remove(url);
        // An Alertmanager without metrics of a kind has nothing to remove.
        let _absent = self.latency_histogram.remove_label_values(&[url]);
        for counters in [&self.errors, &self.sent, &self.dropped] {
            let _absent = counters.remove_label_values(&[url]);
        }
        let _absent = self.queue_length.remove_label_values(&[url]);
    }

    pub(super) fn sent(&self, url: &str, alerts: usize, seconds: f64) {
        self.sent.with_label_values(&[url]).inc_by(alerts as u64);
        self.latency.observe(url, seconds);
        self.latency_histogram.with_label_values(&[url]).observe(seconds);
    }

    pub(super) fn failed(&self, url: &str, alerts: usize) {
        self.errors.with_label_values(&[url]).inc_by(alerts as u64);
    }

    pub(super) fn dropped(&self, url: &str, alerts: usize) {
        self.dropped.with_label_values(&[url]).inc_by(alerts as u64);
    }

    pub(super) fn set_queue_length(&self, url: &str, alerts: usize) {
        self.queue_length.with_label_values(&[url]).set(alerts as i64);
    }

    pub(super) fn set_discovered(&self, alertmanagers: usize) {
        self.discovered.set(alertmanagers as f64);
    }
}
