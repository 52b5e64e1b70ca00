//! The metrics of rules. Their names and labels are Prometheus's, because the alerts and dashboards of mixins read them.

use std::time::Duration;

use pharos_rules::Group;
use prometheus::{Gauge, GaugeVec, Histogram, HistogramOpts, IntCounterVec, IntGaugeVec, Opts, Registry};

use crate::summary::Summary;

const LABELS: &[&str] = &["rule_group"];
const BUCKETS: [f64; 4] = [0.01, 0.1, 1.0, 10.0];

/// The metrics of rules.
#[derive(Clone)]
pub(crate) struct RulerMetrics {
    rule_duration: Summary,
    rule_duration_histogram: Histogram,
    group_duration: Summary,
    group_duration_histogram: Histogram,
    missed: IntCounterVec,
    iterations: IntCounterVec,
    evaluations: IntCounterVec,
    failures: IntCounterVec,
    interval: GaugeVec,
    last_evaluation: GaugeVec,
    last_duration: GaugeVec,
    last_duration_sum: GaugeVec,
    rules: IntGaugeVec,
    samples: IntGaugeVec,
    groups_owned: Gauge,
}

impl RulerMetrics {
    /// Creates the metrics and registers them.
    pub(crate) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let counters = |name: &str, help: &str| {
            let counters = IntCounterVec::new(Opts::new(format!("prometheus_rule_{name}"), help), LABELS)?;
            registry.register(Box::new(counters.clone()))?;
            Ok::<_, prometheus::Error>(counters)
        };
        let gauges = |name: &str, help: &str| {
            let gauges = GaugeVec::new(Opts::new(format!("prometheus_rule_{name}"), help), LABELS)?;
            registry.register(Box::new(gauges.clone()))?;
            Ok::<_, prometheus::Error>(gauges)
        };
        let counts = |name: &str, help: &str| {
            let gauges = IntGaugeVec::new(Opts::new(format!("prometheus_rule_{name}"), help), LABELS)?;
            registry.register(Box::new(gauges.clone()))?;
            Ok::<_, prometheus::Error>(gauges)
        };
        let histogram = |name: &str, help: &str| {
            let options = HistogramOpts::new(format!("prometheus_rule_{name}"), help).buckets(BUCKETS.to_vec());
            let histogram = Histogram::with_opts(options)?;
            registry.register(Box::new(histogram.clone()))?;
            Ok::<_, prometheus::Error>(histogram)
        };
        let summary = |name: &str, help: &str, quantiles| {
            let summary = Summary::new(&format!("prometheus_rule_{name}"), help, None, quantiles)?;
            registry.register(Box::new(summary.clone()))?;
            Ok::<_, prometheus::Error>(summary)
        };
        let groups_owned = Gauge::new("pharos_ruler_groups", "Rule groups that this node knows.")?;
        registry.register(Box::new(groups_owned.clone()))?;
        Ok(RulerMetrics {
            rule_duration: summary("evaluation_duration_seconds", "Time to evaluate a rule.", &[0.5, 0.9, 0.99])?,
            rule_duration_histogram: histogram("evaluation_duration_histogram_seconds", "Time to evaluate a rule.")?,
            group_duration: summary(
                "group_duration_seconds",
                "Time to evaluate a rule group.",
                &[0.01, 0.05, 0.5, 0.9, 0.99],
            )?,
            group_duration_histogram: histogram("group_duration_histogram_seconds", "Time to evaluate a rule group.")?,
            missed: counters(
                "group_iterations_missed_total",
                "Evaluations of rule groups that were left out because an earlier one took too long, or their ruler died.",
            )?,
            iterations: counters(
                "group_iterations_total",
                "Evaluations of rule groups that were due, whether they took place or were missed.",
            )?,
            evaluations: counters("evaluations_total", "Evaluations of rules.")?,
            failures: counters("evaluation_failures_total", "Evaluations of rules that failed.")?,
            interval: gauges("group_interval_seconds", "Interval of a rule group.")?,
            last_evaluation: gauges(
                "group_last_evaluation_timestamp_seconds",
                "Time of the last evaluation of a rule group in seconds since the epoch.",
            )?,
            last_duration: gauges("group_last_duration_seconds", "Duration of the last evaluation of a rule group.")?,
            last_duration_sum: gauges(
                "group_last_rule_duration_sum_seconds",
                "Sum of the durations of all rules in the last evaluation of a rule group.",
            )?,
            rules: counts("group_rules", "Rules of a rule group.")?,
            samples: counts(
                "group_last_evaluation_samples",
                "Samples that the last evaluation of a rule group produced.",
            )?,
            groups_owned,
        })
    }

    /// Creates the metrics of a group.
    pub(crate) fn announce(&self, key: &str, group: &Group) {
        let labels = &[key];
        for counters in [&self.missed, &self.iterations, &self.evaluations, &self.failures] {
            counters.with_label_values(labels);
        }
        for gauges in [&self.last_evaluation, &self.last_duration, &self.last_duration_sum] {
            gauges.with_label_values(labels);
        }
        self.interval.with_label_values(labels).set(group.interval_ms as f64 / 1000.0);
        self.rules.with_label_values(labels).set(group.rules().len() as i64);
        self.samples.with_label_values(labels);
    }

    /// Removes the metrics of a group.
    pub(crate) fn forget(&self, key: &str) {
        let labels = &[key];
        for counters in [&self.missed, &self.iterations, &self.evaluations, &self.failures] {
            // A group without metrics of a kind has nothing to remove.
            let _absent = counters.remove_label_values(labels);
        }
        for gauges in [&self.interval, &self.last_evaluation, &self.last_duration, &self.last_duration_sum] {
            let _absent = gauges.remove_label_values(labels);
        }
        for gauges in [&self.rules, &self.samples] {
            let _absent = gauges.remove_label_values(labels);
        }
    }

    /// Counts an evaluation of a rule.
    pub(crate) fn rule_evaluated(&self, key: &str, duration: Duration, is_ok: bool) {
        self.evaluations.with_label_values(&[key]).inc();
        if !is_ok {
            self.failures.with_label_values(&[key]).inc();
        }
        self.rule_duration.observe("", duration.as_secs_f64());
        self.rule_duration_histogram.observe(duration.as_secs_f64());
    }

    /// Records what the last evaluation of a group produced, and the sum of the durations of its rules.
    pub(crate) fn evaluated(&self, key: &str, samples: usize, durations: Duration) {
        self.samples.with_label_values(&[key]).set(samples as i64);
        self.last_duration_sum.with_label_values(&[key]).set(durations.as_secs_f64());
    }

    /// Counts an evaluation of a group that began at `began_ms`, milliseconds since the epoch.
    pub(crate) fn iterated(&self, key: &str, began_ms: i64, duration: Duration) {
        self.iterations.with_label_values(&[key]).inc();
        self.last_evaluation.with_label_values(&[key]).set(began_ms as f64 / 1000.0);
        self.last_duration.with_label_values(&[key]).set(duration.as_secs_f64());
        self.group_duration.observe("", duration.as_secs_f64());
        self.group_duration_histogram.observe(duration.as_secs_f64());
    }

    /// Counts evaluations of a group that were due and did not take place.
    pub(crate) fn missed(&self, key: &str, missed: u64) {
        self.missed.with_label_values(&[key]).inc_by(missed);
        self.iterations.with_label_values(&[key]).inc_by(missed);
    }

    /// Sets the number of groups that this node knows.
    pub(crate) fn set_groups(&self, groups: usize) {
        self.groups_owned.set(groups as f64);
    }
}
