//! The metrics, under Alertmanager's names: its mixin's alerts and dashboards read them.

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{
    Gauge, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};

use pharos_notify::FailureReason;

/// The kinds of integrations.
pub const INTEGRATIONS: [&str; 18] = [
    "discord",
    "email",
    "incidentio",
    "jira",
    "mattermost",
    "msteams",
    "msteamsv2",
    "opsgenie",
    "pagerduty",
    "pushover",
    "rocketchat",
    "slack",
    "sns",
    "telegram",
    "victorops",
    "webex",
    "webhook",
    "wechat",
];

/// All metrics but those that are computed when they are read.
pub struct Metrics {
    /// Notifications by integration.
    pub notifications: IntCounterVec,
    /// Notifications that were given up, by integration and reason.
    pub notifications_failed: IntCounterVec,
    /// Attempts by integration.
    pub requests: IntCounterVec,
    /// Attempts that failed, by integration.
    pub requests_failed: IntCounterVec,
    /// Alerts that were not sent, by reason.
    pub suppressed: IntCounterVec,
    /// Durations of attempts by integration.
    pub latency: HistogramVec,
    /// Alerts that were received, by status and API version.
    pub received: IntCounterVec,
    /// Alerts that were refused.
    pub invalid: IntCounterVec,
    /// Alerts beyond the limit of their name.
    pub limited: IntCounter,
    /// The limit on alerts of a name.
    pub per_name_limit: IntGauge,
    /// Groups.
    pub groups: IntGauge,
    /// Durations of routing an alert.
    pub processing: Histogram,
    /// Whether the last reload succeeded.
    pub reload_successful: Gauge,
    /// The time of the last reload that succeeded.
    pub reload_timestamp: Gauge,
    /// A hash of the configuration.
    pub config_hash: Gauge,
    /// Receivers that routes use.
    pub receivers: IntGauge,
    /// Integrations of these.
    pub integrations: IntGauge,
    /// Inhibition rules.
    pub inhibition_rules: IntGauge,
    /// Alerts by state.
    pub alerts: IntGaugeVec,
    /// Silences by state.
    pub silences: IntGaugeVec,
    /// Maintenance of the silences and of the notification log.
    pub maintenance: [Maintenance; 2],
    /// Durations of requests.
    pub request_duration: HistogramVec,
    /// GET requests that are being answered.
    pub in_flight: IntGaugeVec,
    /// GET requests that were refused.
    pub concurrency_exceeded: IntCounterVec,
    /// Whether replicas are enabled.
    pub cluster_enabled: Gauge,
    /// Live replicas, this one included.
    pub cluster_members: IntGauge,
    /// Replicas that are missed.
    pub cluster_failed_peers: IntGauge,
    /// The position among the replicas.
    pub peer_position: IntGauge,
    /// Messages to other replicas.
    pub messages_sent: IntCounterVec,
    /// Messages from other replicas.
    pub messages_received: IntCounterVec,
}

/// Metrics that are computed when they are read; registered by [`Metrics::register_computed`].
type ComputeThem = Box<dyn Fn() + Send + Sync>;

/// Computes metrics and returns them.
struct Computed {
    compute: ComputeThem,
    metrics: Vec<Box<dyn Collector>>,
}

impl Collector for Computed {
    fn desc(&self) -> Vec<&Desc> {
        self.metrics.iter().flat_map(|metric| metric.desc()).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        (self.compute)();
        self.metrics.iter().flat_map(|metric| metric.collect()).collect()
    }
}

/// Metrics of the maintenance of one set of records.
pub struct Maintenance {
    /// Runs.
    pub total: IntCounter,
    /// Runs that failed.
    pub errors: IntCounter,
    /// Size of the last snapshot.
    pub snapshot_bytes: IntGauge,
}

/// Buckets of the latency of notifications, seconds. A receiver may take minutes.
const LATENCY_BUCKETS: [f64; 9] = [1.0, 5.0, 10.0, 15.0, 20.0, 30.0, 60.0, 120.0, 300.0];

struct Registrar<'r>(&'r Registry);

type Registered<M> = Result<M, prometheus::Error>;

impl Registrar<'_> {
    fn add<M: Collector + Clone + 'static>(&self, metric: M) -> Registered<M> {
        self.0.register(Box::new(metric.clone()))?;
        Ok(metric)
    }

    fn counter(&self, name: &str, help: &str) -> Registered<IntCounter> {
        self.add(IntCounter::new(name, help)?)
    }

    fn counters(&self, name: &str, help: &str, labels: &[&str]) -> Registered<IntCounterVec> {
        self.add(IntCounterVec::new(Opts::new(name, help), labels)?)
    }

    fn int_gauge(&self, name: &str, help: &str) -> Registered<IntGauge> {
        self.add(IntGauge::new(name, help)?)
    }

    fn int_gauges(&self, name: &str, help: &str, labels: &[&str]) -> Registered<IntGaugeVec> {
        self.add(IntGaugeVec::new(Opts::new(name, help), labels)?)
    }

    fn gauge(&self, name: &str, help: &str) -> Registered<Gauge> {
        self.add(Gauge::new(name, help)?)
    }

    fn histograms(&self, name: &str, help: &str, labels: &[&str], buckets: &[f64]) -> Registered<HistogramVec> {
        self.add(HistogramVec::new(HistogramOpts::new(name, help).buckets(buckets.to_vec()), labels)?)
    }
}

fn computed_int_gauge(name: &str, help: &str) -> Registered<IntGauge> {
    IntGauge::new(name, help)
}

fn computed_int_gauges(name: &str, help: &str, labels: &[&str]) -> Registered<IntGaugeVec> {
    IntGaugeVec::new(Opts::new(name, help), labels)
}

fn computed_gauge(name: &str, help: &str) -> Registered<Gauge> {
    Gauge::new(name, help)
}

impl Metrics {
    /// Registers the metrics that `compute` sets whenever they are read.
    ///
    /// # Errors
    /// A metric is registered already.
    pub fn register_computed(
        &self,
        registry: &Registry,
        compute: impl Fn() + Send + Sync + 'static,
    ) -> Result<(), prometheus::Error> {
        let metrics: Vec<Box<dyn Collector>> = vec![
            Box::new(self.groups.clone()),
            Box::new(self.alerts.clone()),
            Box::new(self.silences.clone()),
            Box::new(self.cluster_enabled.clone()),
            Box::new(self.cluster_members.clone()),
            Box::new(self.cluster_failed_peers.clone()),
            Box::new(self.peer_position.clone()),
        ];
        registry.register(Box::new(Computed { compute: Box::new(compute), metrics }))
    }

    /// Registers all metrics but those that are computed.
    ///
    /// # Errors
    /// A metric is registered already.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let r = Registrar(registry);
        let metrics = Metrics {
            notifications: r.counters("alertmanager_notifications_total", "The total number of attempted notifications.", &["integration"])?,
            notifications_failed: r.counters("alertmanager_notifications_failed_total", "The total number of failed notifications.", &["integration", "reason"])?,
            requests: r.counters("alertmanager_notification_requests_total", "The total number of attempted notification requests.", &["integration"])?,
            requests_failed: r.counters("alertmanager_notification_requests_failed_total", "The total number of failed notification requests.", &["integration"])?,
            suppressed: r.counters("alertmanager_notifications_suppressed_total", "Alerts that were not sent because they were silenced, inhibited, or outside of the active time of their route.", &["reason"])?,
            latency: r.histograms("alertmanager_notification_latency_seconds", "The latency of notifications in seconds.", &["integration"], &LATENCY_BUCKETS)?,
            received: r.counters("alertmanager_alerts_received_total", "The total number of received alerts.", &["status", "version"])?,
            invalid: r.counters("alertmanager_alerts_invalid_total", "The total number of received alerts that were invalid.", &["version"])?,
            limited: r.counter("alertmanager_alerts_limited_total", "The total number of alerts that were dropped due to the limit per alert name.")?,
            per_name_limit: r.int_gauge("alertmanager_alerts_per_alert_limit", "The limit on alerts of a name; 0 means no limit.")?,
            groups: computed_int_gauge("alertmanager_dispatcher_aggregation_groups", "Number of active aggregation groups.")?,
            processing: {
                let options = HistogramOpts::new("alertmanager_dispatcher_alert_processing_duration_seconds", "Time to route an alert and to put it into its groups.");
                r.add(Histogram::with_opts(options.buckets(vec![1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 0.1, 1.0]))?)?
            },
            reload_successful: r.gauge("alertmanager_config_last_reload_successful", "Whether the last configuration reload attempt was successful.")?,
            reload_timestamp: r.gauge("alertmanager_config_last_reload_success_timestamp_seconds", "Timestamp of the last successful configuration reload.")?,
            config_hash: r.gauge("alertmanager_config_hash", "Hash of the currently loaded configuration. It changes whenever the file does.")?,
            receivers: r.int_gauge("alertmanager_receivers", "Number of configured receivers.")?,
            integrations: r.int_gauge("alertmanager_integrations", "Number of configured integrations.")?,
            inhibition_rules: r.int_gauge("alertmanager_inhibition_rules", "Number of configured inhibition rules.")?,
            alerts: computed_int_gauges("alertmanager_alerts", "How many alerts by state.", &["state"])?,
            silences: computed_int_gauges("alertmanager_silences", "How many silences by state.", &["state"])?,
            maintenance: [
                Maintenance {
                    total: r.counter("alertmanager_silences_maintenance_total", "How many maintenances were executed for silences.")?,
                    errors: r.counter("alertmanager_silences_maintenance_errors_total", "How many maintenances were executed for silences that failed.")?,
                    snapshot_bytes: r.int_gauge("alertmanager_silences_snapshot_size_bytes", "Size of the last silence snapshot in bytes.")?,
                },
                Maintenance {
                    total: r.counter("alertmanager_nflog_maintenance_total", "How many maintenances were executed for the notification log.")?,
                    errors: r.counter("alertmanager_nflog_maintenance_errors_total", "How many maintenances were executed for the notification log that failed.")?,
                    snapshot_bytes: r.int_gauge("alertmanager_nflog_snapshot_size_bytes", "Size of the last notification log snapshot in bytes.")?,
                },
            ],
            request_duration: r.histograms("alertmanager_http_request_duration_seconds", "Histogram of latencies for HTTP requests.", &["handler", "method", "code"], prometheus::DEFAULT_BUCKETS)?,
            in_flight: r.int_gauges("alertmanager_http_requests_in_flight", "Current number of HTTP requests being processed.", &["method"])?,
            concurrency_exceeded: r.counters("alertmanager_http_concurrency_limit_exceeded_total", "Total number of times an HTTP request failed because the concurrency limit was reached.", &["method"])?,
            cluster_enabled: computed_gauge("alertmanager_cluster_enabled", "Indicates whether the clustering is enabled or not.")?,
            cluster_members: computed_int_gauge("alertmanager_cluster_members", "Number indicating current number of members in cluster.")?,
            cluster_failed_peers: computed_int_gauge("alertmanager_cluster_failed_peers", "Number indicating the current number of failed peers in the cluster.")?,
            peer_position: computed_int_gauge("alertmanager_peer_position", "Position the Alertmanager instance believes it's in. The position determines a peer's behavior in the cluster.")?,
            messages_sent: r.counters("alertmanager_cluster_messages_sent_total", "Total number of cluster messages sent.", &["msg_type"])?,
            messages_received: r.counters("alertmanager_cluster_messages_received_total", "Total number of cluster messages received.", &["msg_type"])?,
        };
        metrics.begin_at_zero();
        Ok(metrics)
    }

    /// Shows all integrations and reasons from the start, so that rates over them are right from the first failure on.
    fn begin_at_zero(&self) {
        for integration in INTEGRATIONS {
            for counters in [&self.notifications, &self.requests, &self.requests_failed] {
                counters.with_label_values(&[integration]);
            }
            self.latency.with_label_values(&[integration]);
            for reason in FailureReason::ALL {
                self.notifications_failed.with_label_values(&[integration, reason.as_str()]);
            }
        }
        for status in ["firing", "resolved"] {
            self.received.with_label_values(&[status, "v2"]);
        }
        self.invalid.with_label_values(&["v2"]);
        self.in_flight.with_label_values(&["get"]);
        self.concurrency_exceeded.with_label_values(&["get"]);
    }
}
