//! What the HTTP API shows of the rest of the node, and what it may ask of it. The node implements this.

use std::collections::BTreeMap;

use pharos_model::{Labels, Matcher, MetricType, TenantId, TimeRange};
use serde::Serialize;

/// The rest of the node, as the API sees it.
#[async_trait::async_trait]
pub trait Services: Send + Sync + 'static {
    /// Whether the node can answer; else why not yet.
    fn ready(&self) -> Result<(), String>;
    /// Reads the configuration again.
    async fn reload(&self) -> Result<(), String>;
    /// Ends the process in good order.
    fn quit(&self);
    /// The metrics of the process in the text format.
    fn metrics_text(&self) -> String;
    /// The configuration as YAML with all defaults and without secrets.
    fn config_yaml(&self) -> String;
    /// All flags with their values.
    fn flags(&self) -> BTreeMap<String, String>;
    /// `status/runtimeinfo`.
    fn runtime_info(&self) -> RuntimeInfo;
    /// `status/buildinfo`.
    fn build_info(&self) -> BuildInfo;
    /// `status/walreplay`.
    fn wal_replay(&self) -> WalReplay;
    /// `status/tsdb`, with at most `limit` rows a list.
    fn tsdb(&self, tenant: &TenantId, limit: usize) -> TsdbStatus;
    /// The targets of all agents, of one scrape pool when it is named.
    async fn targets(&self, pool: Option<&str>) -> Targets;
    /// What each active target said of its metric families.
    async fn target_metadata(&self) -> Vec<TargetMetadata>;
    /// Deletes series in a time range. Blocks.
    fn delete_series(&self, tenant: &TenantId, matchers: &[Matcher], range: TimeRange) -> Result<(), String>;
    /// Rewrites what deletions mask. Blocks.
    fn clean_tombstones(&self, tenant: &TenantId) -> Result<(), String>;
    /// Flushes everything and copies the blocks to a folder of its own; returns the folder's name. Blocks.
    fn snapshot(&self, skip_head: bool) -> Result<String, String>;
}

/// `status/runtimeinfo`.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RuntimeInfo {
    /// RFC 3339.
    pub start_time: String,
    /// Working directory.
    #[serde(rename = "CWD")]
    pub cwd: String,
    /// Host name.
    pub hostname: String,
    /// RFC 3339.
    pub server_time: String,
    /// Whether the last reload was successful.
    pub reload_config_success: bool,
    /// RFC 3339.
    pub last_config_time: String,
    /// Damaged WAL records found.
    pub corruption_count: u64,
    /// Threads of the process; Prometheus shows goroutines here.
    pub goroutine_count: u64,
    /// Cores.
    #[serde(rename = "GOMAXPROCS")]
    pub cores: u64,
    /// Memory limit of Go; here the head's, bytes.
    #[serde(rename = "GOMEMLIMIT")]
    pub memory_limit: u64,
    /// Always empty here.
    #[serde(rename = "GOGC")]
    pub gogc: String,
    /// Always empty here.
    #[serde(rename = "GODEBUG")]
    pub godebug: String,
    /// For example `15d` or `15d or 10GB`.
    pub storage_retention: String,
}

/// `status/buildinfo`.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BuildInfo {
    /// The version of the Prometheus API that is spoken; clients such as Grafana choose features by it.
    pub version: String,
    /// Of this build.
    pub revision: String,
    /// Of this build.
    pub branch: String,
    /// Of this build.
    pub build_user: String,
    /// Of this build.
    pub build_date: String,
    /// The compiler.
    pub go_version: String,
    /// This program's own version.
    pub pharos_version: String,
}

/// `status/walreplay`.
#[derive(Clone, Debug, Default, Serialize)]
pub struct WalReplay {
    /// First segment.
    pub min: u64,
    /// Last segment.
    pub max: u64,
    /// The segment that is read now.
    pub current: u64,
}

/// `status/tsdb`.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TsdbStatus {
    /// The head.
    pub head_stats: HeadStats,
    /// Metric names with the most series.
    pub series_count_by_metric_name: Vec<NameCount>,
    /// Labels with the most values.
    pub label_value_count_by_label_name: Vec<NameCount>,
    /// Labels whose values take most memory.
    pub memory_in_bytes_by_label_name: Vec<NameCount>,
    /// `name=value` pairs with the most series.
    pub series_count_by_label_value_pair: Vec<NameCount>,
}

/// The head in `status/tsdb`.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HeadStats {
    /// Series in memory.
    pub num_series: u64,
    /// Distinct label pairs.
    pub num_label_pairs: u64,
    /// Chunks in memory.
    pub chunk_count: u64,
    /// First sample, milliseconds.
    pub min_time: i64,
    /// Last sample, milliseconds.
    pub max_time: i64,
}

/// A row of a list in `status/tsdb`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NameCount {
    /// What is counted.
    pub name: String,
    /// How many or how much.
    pub value: u64,
}

/// The targets of the scrape pools.
#[derive(Clone, Debug, Default)]
pub struct Targets {
    /// The names of the scrape pools.
    pub pools: Vec<String>,
    /// Those that are scraped, by pool and URL.
    pub active: Vec<ActiveTarget>,
    /// Those that relabelling dropped.
    pub dropped: Vec<DroppedTarget>,
    /// How many it dropped, by pool, also those that are no longer kept.
    pub dropped_counts: BTreeMap<String, usize>,
    /// What is missing, for people.
    pub warnings: Vec<String>,
}

/// An active target.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ActiveTarget {
    /// Labels before relabelling.
    pub discovered_labels: BTreeMap<String, String>,
    /// Labels after relabelling.
    pub labels: BTreeMap<String, String>,
    /// The job.
    pub scrape_pool: String,
    /// Where it is scraped.
    pub scrape_url: String,
    /// The same as others reach it.
    pub global_url: String,
    /// Why the last scrape failed, or empty.
    pub last_error: String,
    /// When, RFC 3339.
    pub last_scrape: String,
    /// How long it took, seconds.
    pub last_scrape_duration: f64,
    /// `up`, `down` or `unknown`.
    pub health: String,
    /// For example `15s`.
    pub scrape_interval: String,
    /// For example `10s`.
    pub scrape_timeout: String,
}

/// A target that relabelling dropped.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DroppedTarget {
    /// Labels before relabelling.
    pub discovered_labels: BTreeMap<String, String>,
    /// The job.
    pub scrape_pool: String,
}

/// What a target said of a metric family.
#[derive(Clone, Debug)]
pub struct TargetMetadata {
    /// The target's labels.
    pub target: Labels,
    /// The metric family.
    pub metric: String,
    /// Its type.
    pub kind: MetricType,
    /// Its help text.
    pub help: String,
    /// Its unit.
    pub unit: String,
}
