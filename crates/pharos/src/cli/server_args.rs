//! The flags of `pharos server` with their meaning, unit and default.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Arg, Args, ValueEnum};
use pharos_api::viewer::TenantDetails;
use pharos_config::ByteSize;
use pharos_gocompat::format_duration;
use regex::Regex;
use url::Url;

use super::alertmanager_args::BuiltInAlertmanagerArgs;
use super::cluster_args::ClusterArgs;
use super::features::Features;
use super::inert::InertFlags;
use super::roles::{Role, Roles};
use super::values::{ListenAddress, byte_size, count, duration, positive_count, positive_duration};

/// The longest time range of a merged block by default, milliseconds.
const MAX_BLOCK_MS: i64 = 31 * 86_400_000;

const WEB: &str = "Web: addresses and endpoints (--web.listen-address=:9090 --web.enable-lifecycle)";
const STORAGE: &str = "Storage: where samples live and how long (--storage.path=/var/lib/pharos)";
const QUERY: &str = "Query: what one query may cost (--query.timeout=30s)";
const RULES: &str = "Rules: how rules are evaluated and alerts are sent (--rules.alert.resend-delay=5m)";
const CLUSTER: &str = "Cluster: how nodes find and trust each other (--roles=ingester --join=meta-1:7946)";
const ALERTMANAGER: &str = "Alertmanager: notify receivers (--alertmanager.config-file=alertmanager.yml)";
const LOG: &str = "Log: what is written to stderr (--log.level=debug --log.format=json)";

/// The flags of the server. Durations and sizes are checked and converted; [`ServerArgs::flags`] has the original text.
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "Switches can be written as --flag, --no-flag and --flag=false. Flags of Prometheus that have no \
                        effect in Pharos are accepted with a warning."
)]
pub struct ServerArgs {
    /// Configuration file in the format of prometheus.yml. Without one, Pharos scrapes itself every 15s
    #[arg(long = "config.file", value_name = "FILE")]
    pub config_file: Option<PathBuf>,

    /// Reload the configuration when its file or a file named by scrape_config_files or rule_files changes
    #[arg(long = "config.auto-reload", num_args = 0..=1, require_equals = true, value_name = "BOOL",
          default_value_t = false, default_missing_value = "true", hide_possible_values = true)]
    pub auto_reload: bool,

    /// Time between two checks of these files for changes
    #[arg(long = "config.auto-reload-interval", value_name = "DURATION", default_value = "30s",
          value_parser = positive_duration)]
    pub auto_reload_interval: Duration,

    /// Roles of this process: all, or a comma-separated list of agent, ingester, store, frontend, compactor, ruler,
    /// alertmanager, meta
    #[arg(long, value_name = "ROLE,…", default_value = "all")]
    pub roles: Roles,

    /// Features to enable, as a comma-separated list of Prometheus's names
    #[arg(long = "enable-feature", value_name = "NAME,…")]
    enable_feature: Vec<String>,

    /// Flags that begin with `--web.`.
    #[command(flatten, next_help_heading = WEB)]
    pub web: WebArgs,

    /// Flags that begin with `--storage.`.
    #[command(flatten, next_help_heading = STORAGE)]
    pub storage: StorageArgs,

    /// Flags that begin with `--query.`.
    #[command(flatten, next_help_heading = QUERY)]
    pub query: QueryArgs,

    /// Flags that begin with `--rules.` and `--alertmanager.`.
    #[command(flatten, next_help_heading = RULES)]
    pub rules: RuleArgs,

    /// `--join` and the flags that begin with `--cluster.` and `--tls.`.
    #[command(flatten, next_help_heading = CLUSTER)]
    pub cluster: ClusterArgs,

    /// Flags of the Alertmanager inside of the server.
    #[command(flatten, next_help_heading = ALERTMANAGER)]
    pub alertmanager: BuiltInAlertmanagerArgs,

    /// Flags that begin with `--log.`.
    #[command(flatten, next_help_heading = LOG)]
    pub log: LogArgs,

    #[command(flatten)]
    inert: InertFlags,

    #[arg(skip)]
    pub(super) values: BTreeMap<String, String>,
}

/// Listeners, endpoints and their limits.
#[derive(Clone, Debug, Args)]
pub struct WebArgs {
    /// Address to listen on for the API, pushes and /metrics; :9090 and 0.0.0.0:9090 mean all addresses, IPv6 too. Repeatable
    #[arg(long = "web.listen-address", value_name = "HOST:PORT", default_value = "0.0.0.0:9090")]
    pub listen_address: Vec<ListenAddress>,

    /// Serve /-/reload and /-/quit
    #[arg(long = "web.enable-lifecycle", num_args = 0..=1, require_equals = true, value_name = "BOOL",
          default_value_t = false, default_missing_value = "true", hide_possible_values = true)]
    pub enable_lifecycle: bool,

    /// Serve /api/v1/admin/tsdb for deletions and snapshots, and allow changes to the cluster without a token
    #[arg(long = "web.enable-admin-api", num_args = 0..=1, require_equals = true, value_name = "BOOL",
          default_value_t = false, default_missing_value = "true", hide_possible_values = true)]
    pub enable_admin_api: bool,

    /// Serve /config/v1/rules, by which tenants read and change rule groups in the bucket
    #[arg(long = "web.enable-rule-api", num_args = 0..=1, require_equals = true, value_name = "BOOL",
          default_value_t = true, default_missing_value = "true", hide_possible_values = true)]
    pub enable_rule_api: bool,

    /// Accept remote write on /api/v1/write and /api/v1/push
    #[arg(long = "web.enable-remote-write-receiver", num_args = 0..=1, require_equals = true, value_name = "BOOL",
          default_value_t = true, default_missing_value = "true", hide_possible_values = true)]
    pub enable_remote_write_receiver: bool,

    /// Remote write messages to accept: prometheus.WriteRequest, io.prometheus.write.v2.Request. Repeatable
    #[arg(long = "web.remote-write-receiver.accepted-protobuf-messages", value_name = "MESSAGE", value_delimiter = ',',
          value_parser = ["prometheus.WriteRequest", "io.prometheus.write.v2.Request"],
          default_values = ["prometheus.WriteRequest", "io.prometheus.write.v2.Request"], hide_possible_values = true)]
    pub accepted_protobuf_messages: Vec<String>,

    /// Accept OTLP metrics on /api/v1/otlp/v1/metrics
    #[arg(long = "web.enable-otlp-receiver", num_args = 0..=1, require_equals = true, value_name = "BOOL",
          default_value_t = true, default_missing_value = "true", hide_possible_values = true)]
    pub enable_otlp_receiver: bool,

    /// URL at which users reach this server, for links. Its path is a prefix of all endpoints
    #[arg(long = "web.external-url", value_name = "URL", value_parser = external_url)]
    pub external_url: Option<Url>,

    /// Prefix of all endpoints [default: the path of --web.external-url]
    #[arg(long = "web.route-prefix", value_name = "PATH")]
    route_prefix: Option<String>,

    /// Concurrent connections over all listeners
    #[arg(long = "web.max-connections", value_name = "N", default_value = "512", value_parser = positive_count)]
    pub max_connections: u64,

    /// Concurrent clients of /api/v1/notifications/live; others get status 204
    #[arg(long = "web.max-notifications-subscribers", value_name = "N", default_value = "16")]
    pub max_notifications_subscribers: usize,

    /// Timeout for reading a request, and for idle connections
    #[arg(long = "web.read-timeout", value_name = "DURATION", default_value = "5m", value_parser = positive_duration)]
    pub read_timeout: Duration,

    /// Memory of all responses that wait for their clients to read them
    #[arg(long = "web.max-unsent-bytes", value_name = "SIZE", default_value = "512MB", value_parser = byte_size)]
    pub max_unsent_bytes: ByteSize,

    /// Folder with dashboards in Grafana's JSON, which the web interface lists and shows
    #[arg(long = "web.dashboards", value_name = "DIR")]
    pub dashboards: Option<PathBuf>,

    /// Results of one search of names or values; 0 means no limit
    #[arg(long = "web.search.max-limit", value_name = "N", default_value = "10000", value_parser = count)]
    pub max_search_limit: u64,

    /// Title of the web pages
    #[arg(long = "web.page-title", value_name = "TEXT", default_value = "Pharos")]
    pub page_title: String,

    /// Who may see targets, settings and blocks of other tenants than the one that a request names by X-Scope-OrgID
    #[arg(long = "web.tenant-details", value_name = "WHO", default_value = "loopback")]
    pub tenant_details: TenantDetailsArg,

    /// Regular expression, fully anchored, for the origins that may call the API from a browser
    #[arg(long = "web.cors.origin", value_name = "REGEX", default_value = ".*", value_parser = anchored_regex)]
    pub cors_origin: Regex,
}

/// Where samples are kept and for how long.
#[derive(Clone, Debug, Args)]
pub struct StorageArgs {
    /// Folder for the write-ahead log, the catalogue and, without object_store in the configuration, the blocks
    /// [alias: --storage.tsdb.path]
    #[arg(long = "storage.path", alias = "storage.tsdb.path", value_name = "DIR", default_value = "data/")]
    pub path: PathBuf,

    /// Length of a window: the time range of a block that is cut from the head. A change applies behind the windows that exist.
    /// The ingesters of a cluster agree on one: a node with this flag changes it, a node without it uses the cluster's
    #[arg(long = "storage.tsdb.min-block-duration", value_name = "DURATION", default_value = "2h",
          value_parser = positive_duration)]
    pub min_block_duration: Duration,

    /// Whether the command line has `--storage.tsdb.min-block-duration`.
    #[arg(skip)]
    pub is_window_given: bool,

    /// Longest time range of a merged block [default: a tenth of the retention, at most 31d]
    #[arg(long = "storage.tsdb.max-block-duration", value_name = "DURATION", value_parser = positive_duration)]
    pub max_block_duration: Option<Duration>,

    /// How long samples are kept; 0s means forever. storage.tsdb.retention.time in the configuration takes precedence
    /// [default: 15d in the local folder, forever in an object store]
    #[arg(long = "storage.tsdb.retention.time", value_name = "DURATION", value_parser = duration)]
    pub retention_time: Option<Duration>,

    /// Total size of all blocks, such as 512GB; 0 means no limit. storage.tsdb.retention.size in the configuration takes
    /// precedence
    #[arg(long = "storage.tsdb.retention.size", value_name = "SIZE", value_parser = byte_size)]
    pub retention_size: Option<ByteSize>,

    /// Take over a bucket from another server, which must never run again. Needed for one start only
    #[arg(long = "storage.take-over-bucket", num_args = 0..=1, require_equals = true, value_name = "BOOL",
          default_value_t = false, default_missing_value = "true", hide_possible_values = true)]
    pub take_over_bucket: bool,

    /// Samples in the response to one remote read; 0 means no limit. Streamed responses have none
    #[arg(long = "storage.remote.read-sample-limit", value_name = "N", default_value = "50000000", value_parser = count)]
    pub read_sample_limit: u64,

    /// Concurrent remote reads; 0 means no limit
    #[arg(long = "storage.remote.read-concurrent-limit", value_name = "N", default_value = "10", value_parser = count)]
    pub read_concurrent_limit: u64,

    /// Bytes per frame of a streamed remote read
    #[arg(long = "storage.remote.read-max-bytes-in-frame", value_name = "N", default_value = "1048576",
          value_parser = positive_count)]
    pub read_max_bytes_in_frame: u64,
}

/// Limits of queries.
#[derive(Clone, Debug, Args)]
pub struct QueryArgs {
    /// How far back a selector looks for the latest sample of a series
    #[arg(long = "query.lookback-delta", value_name = "DURATION", default_value = "5m", value_parser = positive_duration)]
    pub lookback_delta: Duration,

    /// Time after which a query is aborted
    #[arg(long = "query.timeout", value_name = "DURATION", default_value = "2m", value_parser = positive_duration)]
    pub timeout: Duration,

    /// Samples that one query may hold in memory
    #[arg(long = "query.max-samples", value_name = "N", default_value = "50000000", value_parser = positive_count)]
    pub max_samples: u64,

    /// Concurrent queries. Others wait, and tenants take turns
    #[arg(long = "query.max-concurrency", value_name = "N", default_value = "20", value_parser = positive_count)]
    pub max_concurrency: u64,

    /// What happens to queries while this node cannot confirm that its view of the cluster is current: they are answered with a
    /// warning (warn), or fail (refuse)
    #[arg(long = "query.stale", value_name = "POLICY", default_value = "warn")]
    pub stale: StalePolicy,

    /// Log queries that take longer than this, with their cost; 0s logs none
    #[arg(long = "query.slow-log-threshold", value_name = "DURATION", default_value = "10s", value_parser = duration)]
    pub slow_log_threshold: Duration,
}

/// How rules are evaluated.
#[derive(Clone, Debug, Args)]
pub struct RuleArgs {
    /// How long ago an alert may have been evaluated last for its `for` state to be restored after an outage
    #[arg(long = "rules.alert.for-outage-tolerance", value_name = "DURATION", default_value = "1h", value_parser = duration)]
    pub outage_tolerance: Duration,

    /// How long a restored alert stays pending at least. Alerts whose `for` is shorter begin again
    #[arg(long = "rules.alert.for-grace-period", value_name = "DURATION", default_value = "10m", value_parser = duration)]
    pub grace_period: Duration,

    /// Time between two notifications of an alert that goes on
    #[arg(long = "rules.alert.resend-delay", value_name = "DURATION", default_value = "1m", value_parser = duration)]
    pub resend_delay: Duration,

    /// Independent rules of groups that may be evaluated concurrently, with --enable-feature=concurrent-rule-eval
    #[arg(long = "rules.max-concurrent-evals", value_name = "N", default_value = "4", value_parser = positive_count)]
    pub max_concurrent_evals: u64,

    /// Alerts that may wait for one Alertmanager. When there are more, the oldest are dropped
    #[arg(long = "alertmanager.notification-queue-capacity", value_name = "N", default_value = "10000",
          value_parser = positive_count)]
    pub queue_capacity: u64,

    /// Alerts that are sent to an Alertmanager in one request
    #[arg(long = "alertmanager.notification-batch-size", value_name = "N", default_value = "256",
          value_parser = positive_count)]
    pub batch_size: u64,

    /// Send the alerts that wait for Alertmanagers before the process stops
    #[arg(long = "alertmanager.drain-notification-queue-on-shutdown", num_args = 0..=1, require_equals = true,
          value_name = "BOOL", default_value_t = true, default_missing_value = "true", hide_possible_values = true)]
    pub drain: bool,
}

/// Who may see what concerns other tenants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum TenantDetailsArg {
    /// Requests from the same machine, unless a proxy or a page of another origin sent them.
    Loopback,
    /// Every request.
    Everyone,
    /// No request.
    Nobody,
}

impl From<TenantDetailsArg> for TenantDetails {
    fn from(arg: TenantDetailsArg) -> Self {
        match arg {
            TenantDetailsArg::Loopback => TenantDetails::Loopback,
            TenantDetailsArg::Everyone => TenantDetails::Everyone,
            TenantDetailsArg::Nobody => TenantDetails::Nobody,
        }
    }
}

/// What happens to queries under a view that may be out of date.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum StalePolicy {
    /// They are answered, with a warning that names the time up to which the response is known to be complete.
    Warn,
    /// They fail.
    Refuse,
}

/// What is logged, and how.
#[derive(Clone, Debug, Args)]
pub struct LogArgs {
    /// Lowest severity to log. runtime.log_level in the configuration takes precedence
    #[arg(long = "log.level", value_name = "LEVEL", default_value = "info")]
    pub level: LogLevel,

    /// Format of log lines
    #[arg(long = "log.format", value_name = "FORMAT", default_value = "logfmt")]
    pub format: LogFormat,
}

/// The lowest severity that is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// Everything, including what only developers need.
    Debug,
    /// What an operator may want to know afterwards.
    Info,
    /// What may need attention; the server recovers on its own.
    Warn,
    /// Failures that an operator should look at.
    Error,
}

/// The format of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// `time=… level=INFO source=… msg=… key=value`
    Logfmt,
    /// One JSON object per line, with the same keys.
    Json,
}

impl ServerArgs {
    /// The text of every flag's value by its long name, for `/api/v1/status/flags`.
    pub fn flags(&self) -> &BTreeMap<String, String> {
        &self.values
    }

    /// As [`ServerArgs::flags`], with the values in force of flags that the command line leaves out: the retention, `None`
    /// for forever, and the size of all blocks, `None` for no limit.
    pub fn flags_in_force(&self, retention: Option<Duration>, max_bytes: Option<u64>) -> BTreeMap<String, String> {
        let retention_ms = retention.map_or(0, |time| time.as_millis() as i64);
        let max_block_ms = match retention_ms {
            0 => MAX_BLOCK_MS,
            ms => (ms / 10).min(MAX_BLOCK_MS).max(self.storage.min_block_duration.as_millis() as i64),
        };
        let route_prefix = self.web.route_prefix();
        let in_force = [
            ("storage.tsdb.retention.time", format_duration(retention_ms)),
            ("storage.tsdb.retention.size", max_bytes.map_or_else(|| "0B".into(), |bytes| ByteSize(bytes).to_string())),
            ("storage.tsdb.max-block-duration", format_duration(max_block_ms)),
            ("web.route-prefix", if route_prefix.is_empty() { "/".into() } else { route_prefix }),
            ("web.external-url", self.web.external_url()),
        ];
        let mut flags = self.values.clone();
        for (name, value) in in_force {
            match flags.get_mut(name) {
                // The configuration may set another retention than the command line.
                Some(given) if given.is_empty() || name.contains("retention") => *given = value,
                _ => {}
            }
        }
        flags
    }

    /// The features that `--enable-feature` names.
    pub fn features(&self) -> Features {
        Features::new(&self.enable_feature)
    }

    /// Whether the process is a cluster of one that no other node can join.
    pub fn is_alone(&self) -> bool {
        self.roles.is_all() && !self.cluster.is_open()
    }

    /// Warnings to log at startup: inert flags and unknown features.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = self.inert.warnings.clone();
        warnings.extend(self.features().warnings());
        warnings.extend(self.cluster.warning());
        if self.alertmanager.config_file.is_some() && self.alertmanager_config().is_none() {
            let roles = self.roles.names();
            warnings.push(format!(
                "--alertmanager.config-file has no effect without the role alertmanager (--roles={roles})"
            ));
        }
        warnings
    }

    /// The configuration of the Alertmanager that this process is to run.
    pub fn alertmanager_config(&self) -> Option<&Path> {
        self.alertmanager.config_file.as_deref().filter(|_| self.roles.has(Role::Alertmanager))
    }

    /// Checks flags against each other.
    pub(super) fn check(&self) -> Result<(), String> {
        let storage = &self.storage;
        if storage.max_block_duration.is_some_and(|max| max < storage.min_block_duration) {
            return Err("--storage.tsdb.max-block-duration is shorter than --storage.tsdb.min-block-duration".into());
        }
        self.cluster.check()?;
        if !self.roles.is_all() && self.roles.has(Role::Alertmanager) && self.alertmanager.config_file.is_none() {
            return Err("--roles: the role alertmanager needs --alertmanager.config-file=FILE".into());
        }
        if !self.roles.is_all() && !self.roles.has(Role::Meta) && self.cluster.join.is_empty() {
            return Err("--roles: a node without the meta role needs --join=HOST:PORT,… with nodes that have it".into());
        }
        Ok(())
    }
}

impl WebArgs {
    /// The prefix of all endpoints: empty, or `/path` without a trailing slash.
    pub fn route_prefix(&self) -> String {
        let of_url = || self.external_url.as_ref().map(|url| url.path().to_string());
        let path = self.route_prefix.clone().or_else(of_url).unwrap_or_default();
        match path.trim_matches('/') {
            "" => String::new(),
            path => format!("/{path}"),
        }
    }

    /// The URL at which users reach the server: the given one, or else the host name and the port of the first listener.
    /// Has no trailing slash.
    pub fn external_url(&self) -> String {
        match &self.external_url {
            Some(url) => url.as_str().trim_end_matches('/').to_string(),
            None => {
                let port = self.listen_address.first().map_or(9090, |address| address.port);
                format!("http://{}:{port}", host_name())
            }
        }
    }
}

fn host_name() -> String {
    let read = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    match read.trim() {
        "" => "localhost".into(),
        name => name.to_string(),
    }
}

/// Whether an argument is a switch, whose value can be omitted.
pub(super) fn is_switch(arg: &Arg) -> bool {
    arg.get_num_args().is_some_and(|range| range.min_values() == 0)
}

fn external_url(text: &str) -> Result<Url, String> {
    if text.starts_with(['"', '\'']) {
        return Err("must not begin or end with quotes".into());
    }
    let url = Url::parse(text).map_err(|error| error.to_string())?;
    match url.scheme() {
        "http" | "https" if url.has_host() => Ok(url),
        scheme => Err(format!("unsupported scheme {scheme:?}: expected http or https")),
    }
}

fn anchored_regex(text: &str) -> Result<Regex, String> {
    Regex::new(&format!("^(?s:{text})$")).map_err(|error| error.to_string())
}
