//! The flags of `pharos alertmanager`, which are Alertmanager's.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use pharos_gocompat::GoRegex;

use super::server_args::LogArgs;
use super::values::{ListenAddress, duration, positive_duration};

const WEB: &str = "Web: addresses and endpoints (--web.listen-address=:9093)";
const DATA: &str = "Data: what is kept and how long (--storage.path=/var/lib/alertmanager)";
const CLUSTER: &str = "Cluster: replicas that send each notification once (--cluster.peer=other:9094)";
const LOG: &str = "Log: what is written to stderr (--log.level=debug --log.format=json)";

/// The flags of the Alertmanager.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Switches can be written as --flag, --no-flag and --flag=false.")]
pub struct AlertmanagerArgs {
    /// Configuration file in the format of alertmanager.yml
    #[arg(long = "config.file", value_name = "FILE", default_value = "alertmanager.yml")]
    pub config_file: PathBuf,

    /// Features to enable, as a comma-separated list: classic-mode, utf8-strict-mode, and others of Alertmanager that have
    /// no effect
    #[arg(long = "enable-feature", value_name = "NAME,…", value_delimiter = ',')]
    pub enable_feature: Vec<String>,

    /// Flags about data.
    #[command(flatten, next_help_heading = DATA)]
    pub data: AlertmanagerDataArgs,

    /// Flags that begin with `--web.`.
    #[command(flatten, next_help_heading = WEB)]
    pub web: AlertmanagerWebArgs,

    /// Flags that begin with `--cluster.`.
    #[command(flatten, next_help_heading = CLUSTER)]
    pub cluster: AlertmanagerClusterArgs,

    /// Flags that begin with `--log.`.
    #[command(flatten, next_help_heading = LOG)]
    pub log: LogArgs,

    #[command(flatten)]
    pub(crate) inert: InertAlertmanagerArgs,
}

/// Silences, the notification log and alerts.
#[derive(Clone, Debug, Args)]
pub struct AlertmanagerDataArgs {
    /// Folder of the silences and of the notification log
    #[arg(long = "storage.path", value_name = "DIR", default_value = "data/")]
    pub path: PathBuf,

    /// How long silences and the notification log are kept after they have ended
    #[arg(long = "data.retention", value_name = "DURATION", default_value = "120h", value_parser = positive_duration)]
    pub retention: Duration,

    /// Time between two snapshots of the silences and the notification log
    #[arg(long = "data.maintenance-interval", value_name = "DURATION", default_value = "15m",
          value_parser = positive_duration)]
    pub maintenance_interval: Duration,

    /// Maximum number of silences, including expired ones; 0 means no limit
    #[arg(long = "silences.max-silences", value_name = "N", default_value_t = 0, allow_negative_numbers = true)]
    pub max_silences: i64,

    /// Maximum size of a silence in bytes; 0 means no limit
    #[arg(
        long = "silences.max-silence-size-bytes",
        value_name = "N",
        default_value_t = 0,
        allow_negative_numbers = true
    )]
    pub max_silence_bytes: i64,

    /// Log every change of a silence
    #[arg(long = "log.silences", num_args = 0..=1, require_equals = true, value_name = "BOOL",
          default_value_t = false, default_missing_value = "true", hide_possible_values = true)]
    pub log_silences: bool,

    /// Time between two removals of resolved alerts
    #[arg(long = "alerts.gc-interval", value_name = "DURATION", default_value = "30m", value_parser = positive_duration)]
    pub alert_gc_interval: Duration,

    /// Maximum number of alerts of one name; 0 means no limit
    #[arg(long = "alerts.per-alertname-limit", value_name = "N", default_value_t = 0, allow_negative_numbers = true)]
    pub per_name_limit: i64,

    /// How long after the start the first notification may be sent
    #[arg(long = "dispatch.start-delay", value_name = "DURATION", default_value = "0s", value_parser = duration)]
    pub start_delay: Duration,
}

/// Listeners and endpoints.
#[derive(Clone, Debug, Args)]
pub struct AlertmanagerWebArgs {
    /// Address to listen on for the API and /metrics; :9093 and 0.0.0.0:9093 mean all addresses, IPv6 too. Repeatable
    #[arg(long = "web.listen-address", value_name = "HOST:PORT", default_value = "0.0.0.0:9093")]
    pub listen_address: Vec<ListenAddress>,

    /// URL at which users reach this Alertmanager, for links in notifications. Its path is a prefix of all endpoints
    #[arg(long = "web.external-url", value_name = "URL", default_value = "")]
    pub external_url: String,

    /// Prefix of all endpoints [default: the path of --web.external-url]
    #[arg(long = "web.route-prefix", value_name = "PATH")]
    pub route_prefix: Option<String>,

    /// Regular expression, fully anchored, for the origins that may call the API from a browser
    #[arg(long = "web.cors.origin", value_name = "REGEX", value_parser = origins)]
    pub cors_origin: Option<GoRegex>,

    /// GET requests that are answered at once; 0 means 8
    #[arg(long = "web.get-concurrency", value_name = "N", default_value_t = 0, allow_negative_numbers = true)]
    pub get_concurrency: i64,

    /// How long a request may take; 0 means no limit
    #[arg(long = "web.timeout", value_name = "DURATION", default_value = "0s", value_parser = duration)]
    pub timeout: Duration,
}

/// Replicas.
#[derive(Clone, Debug, Args)]
pub struct AlertmanagerClusterArgs {
    /// Address to listen on for other replicas; an empty one means that there are none
    #[arg(
        id = "alertmanager.cluster.listen-address",
        long = "cluster.listen-address",
        value_name = "HOST:PORT",
        default_value = "0.0.0.0:9094"
    )]
    pub listen_address: String,

    /// Address at which other replicas reach this one [default: this machine's address on the route to --cluster.peer]
    #[arg(id = "alertmanager.cluster.advertise-address", long = "cluster.advertise-address", value_name = "HOST:PORT")]
    pub advertise_address: Option<String>,

    /// Name of this replica among the others [default: a random one]
    #[arg(long = "cluster.peer-name", value_name = "NAME", default_value = "")]
    pub peer_name: String,

    /// Address of another replica to begin with. Repeatable
    #[arg(long = "cluster.peer", value_name = "HOST:PORT")]
    pub peers: Vec<String>,

    /// How long a replica leaves notifications to each one before it
    #[arg(long = "cluster.peer-timeout", value_name = "DURATION", default_value = "15s", value_parser = duration)]
    pub peer_timeout: Duration,

    /// Time between two exchanges of everything that replicas share
    #[arg(long = "cluster.pushpull-interval", value_name = "DURATION", default_value = "1m", value_parser = positive_duration)]
    pub exchange_interval: Duration,

    /// Time between two heartbeats
    #[arg(long = "cluster.probe-interval", value_name = "DURATION", default_value = "1s", value_parser = positive_duration)]
    pub probe_interval: Duration,

    /// How long the start waits for the other replicas before it sends notifications
    #[arg(long = "cluster.settle-timeout", value_name = "DURATION", default_value = "1m", value_parser = duration)]
    pub settle_timeout: Duration,

    /// Time between two calls to a replica that is missed
    #[arg(long = "cluster.reconnect-interval", value_name = "DURATION", default_value = "10s", value_parser = positive_duration)]
    pub reconnect_interval: Duration,

    /// How long a replica may be missed before it is forgotten
    #[arg(long = "cluster.reconnect-timeout", value_name = "DURATION", default_value = "6h", value_parser = positive_duration)]
    pub reconnect_timeout: Duration,

    /// Label of the cluster; replicas with another label are not heard
    #[arg(long = "cluster.label", value_name = "TEXT", default_value = "")]
    pub label: String,
}

/// The Alertmanager inside of the server.
#[derive(Clone, Debug, Args)]
pub struct BuiltInAlertmanagerArgs {
    /// Configuration file in the format of alertmanager.yml. With it, the server is an Alertmanager, too, whose API is below
    /// /alertmanager
    #[arg(id = "alertmanager.config-file", long = "alertmanager.config-file", value_name = "FILE")]
    pub config_file: Option<PathBuf>,

    /// Address on which that Alertmanager is served by itself, such as :9093. Repeatable
    #[arg(
        id = "alertmanager.listen-address",
        long = "alertmanager.listen-address",
        value_name = "HOST:PORT",
        requires = "alertmanager.config-file"
    )]
    pub listen_address: Vec<ListenAddress>,
}

/// Flags that are accepted without effect, or refused because ignoring them would be dangerous.
#[derive(Clone, Debug, Args)]
pub(crate) struct InertAlertmanagerArgs {
    #[arg(id = "alertmanager.web.config.file", long = "web.config.file", hide = true, default_value = "")]
    web_config_file: String,
    #[arg(long = "web.systemd-socket", hide = true, num_args = 0..=1, require_equals = true, default_value_t = false,
          default_missing_value = "true")]
    systemd_socket: bool,
    #[arg(long = "cluster.tls-config", hide = true, default_value = "")]
    tls_config: String,
    #[arg(long = "dispatch.maintenance-interval", hide = true)]
    dispatch_maintenance_interval: Option<String>,
    #[arg(long = "cluster.gossip-interval", hide = true)]
    gossip_interval: Option<String>,
    #[arg(long = "cluster.tcp-timeout", hide = true)]
    tcp_timeout: Option<String>,
    #[arg(long = "cluster.probe-timeout", hide = true)]
    probe_timeout: Option<String>,
    #[arg(long = "cluster.peers-resolve-timeout", hide = true)]
    peers_resolve_timeout: Option<String>,
    #[arg(long = "cluster.allow-insecure-public-advertise-address-discovery", hide = true, num_args = 0..=1,
          require_equals = true, default_value_t = false, default_missing_value = "true")]
    allow_insecure_advertise: bool,
    #[arg(id = "alertmanager.auto-gomemlimit", long = "auto-gomemlimit", hide = true, num_args = 0..=1,
          require_equals = true, default_value_t = false, default_missing_value = "true")]
    auto_gomemlimit: bool,
    #[arg(id = "alertmanager.auto-gomemlimit.ratio", long = "auto-gomemlimit.ratio", hide = true)]
    auto_gomemlimit_ratio: Option<String>,
    #[arg(
        id = "alertmanager.auto-gomemlimit.refresh-interval",
        long = "auto-gomemlimit.refresh-interval",
        hide = true
    )]
    auto_gomemlimit_refresh_interval: Option<String>,
    #[arg(long = "api.connect.unary-concurrency", hide = true, allow_negative_numbers = true)]
    connect_unary_concurrency: Option<String>,
    #[arg(long = "api.connect.stream-concurrency", hide = true, allow_negative_numbers = true)]
    connect_stream_concurrency: Option<String>,
    #[arg(long = "api.connect.unary-timeout", hide = true, allow_hyphen_values = true)]
    connect_unary_timeout: Option<String>,
    #[arg(long = "api.connect.stream-idle-timeout", hide = true, allow_hyphen_values = true)]
    connect_stream_idle_timeout: Option<String>,
    #[arg(long = "api.connect.stream-lifetime", hide = true, allow_hyphen_values = true)]
    connect_stream_lifetime: Option<String>,
    #[arg(long = "api.connect.read-max-bytes", hide = true, allow_negative_numbers = true)]
    connect_read_max_bytes: Option<String>,
    #[arg(long = "api.connect.send-max-bytes", hide = true, allow_negative_numbers = true)]
    connect_send_max_bytes: Option<String>,
    #[arg(long = "api.connect.max-request-body-bytes", hide = true, allow_negative_numbers = true)]
    connect_max_request_body_bytes: Option<String>,
}

impl InertAlertmanagerArgs {
    /// Refuses what it would be dangerous to ignore.
    pub(super) fn check(&self) -> Result<(), String> {
        let open = "the listener has no TLS or authentication yet; put a proxy in front of it";
        let refused = [
            ("web.config.file", !self.web_config_file.is_empty(), open),
            (
                "web.systemd-socket",
                self.systemd_socket,
                "sockets of systemd are not supported; set --web.listen-address",
            ),
            ("cluster.tls-config", !self.tls_config.is_empty(), "replicas have no TLS between each other yet"),
        ];
        match refused.into_iter().find(|(_, is_given, _)| *is_given) {
            Some((name, _, reason)) => Err(format!("--{name} is not supported: {reason}")),
            None => Ok(()),
        }
    }

    /// Names of the flags that were given and have no effect.
    pub(crate) fn without_effect(&self) -> Vec<&'static str> {
        let given = [
            ("dispatch.maintenance-interval", self.dispatch_maintenance_interval.is_some()),
            ("cluster.gossip-interval", self.gossip_interval.is_some()),
            ("cluster.tcp-timeout", self.tcp_timeout.is_some()),
            ("cluster.probe-timeout", self.probe_timeout.is_some()),
            ("cluster.peers-resolve-timeout", self.peers_resolve_timeout.is_some()),
            ("cluster.allow-insecure-public-advertise-address-discovery", self.allow_insecure_advertise),
            ("auto-gomemlimit", self.auto_gomemlimit),
            ("auto-gomemlimit.ratio", self.auto_gomemlimit_ratio.is_some()),
            ("auto-gomemlimit.refresh-interval", self.auto_gomemlimit_refresh_interval.is_some()),
            ("api.connect.unary-concurrency", self.connect_unary_concurrency.is_some()),
            ("api.connect.stream-concurrency", self.connect_stream_concurrency.is_some()),
            ("api.connect.unary-timeout", self.connect_unary_timeout.is_some()),
            ("api.connect.stream-idle-timeout", self.connect_stream_idle_timeout.is_some()),
            ("api.connect.stream-lifetime", self.connect_stream_lifetime.is_some()),
            ("api.connect.read-max-bytes", self.connect_read_max_bytes.is_some()),
            ("api.connect.send-max-bytes", self.connect_send_max_bytes.is_some()),
            ("api.connect.max-request-body-bytes", self.connect_max_request_body_bytes.is_some()),
        ];
        given.into_iter().filter(|(_, is_given)| *is_given).map(|(name, _)| name).collect()
    }
}

fn origins(text: &str) -> Result<GoRegex, String> {
    GoRegex::unanchored(&format!("^(?:{text})$")).map_err(|error| error.to_string())
}
