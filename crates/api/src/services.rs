//! The interface through which the HTTP API shows and controls the rest of the node. The node implements it.

mod rules;

use std::collections::BTreeMap;

pub use rules::{Alert, AlertingRule, Alertmanagers, Rule, RuleConfigCall, RuleGroup, Rules};

use pharos_model::{Labels, Matcher, MetricType, TenantId, TimeRange};
use prometheus::proto::MetricFamily;
use serde::Serialize;

use crate::ApiError;
use crate::notifications::Notifications;

/// The rest of the node, as the API sees it.
#[async_trait::async_trait]
pub trait Services: Send + Sync + 'static {
    /// Whether this node knows of samples or own limits of a tenant. Other tenants share one place in the queue of queries.
    fn is_known(&self, tenant: &TenantId) -> bool;
    /// Returns `Ok` once the node can serve requests, and otherwise the reason why it cannot yet.
    fn ready(&self) -> Result<(), String>;
    /// Reloads the configuration. Returns a notice if a part of it only takes effect after a restart.
    async fn reload(&self) -> Result<Option<String>, String>;
    /// Starts a graceful shutdown of the process.
    fn quit(&self);
    /// Returns what an operator should know now.
    fn notifications(&self) -> &Notifications;
    /// Returns the metrics of the process.
    fn metric_families(&self) -> Vec<MetricFamily>;
    /// Returns the metrics of the process in the text exposition format.
    fn metrics_text(&self) -> String;
    /// Returns the configuration as YAML, with all defaults and without secrets. Settings of single tenants are left out unless
    /// `with_tenants`.
    fn config_yaml(&self, with_tenants: bool) -> String;
    /// Returns all flags with their values.
    fn flags(&self) -> BTreeMap<String, String>;
    /// Returns the data of `status/runtimeinfo`.
    fn runtime_info(&self) -> RuntimeInfo;
    /// Returns the data of `status/buildinfo`.
    fn build_info(&self) -> BuildInfo;
    /// Returns the data of `status/walreplay`.
    fn wal_replay(&self) -> WalReplay;
    /// Returns the data of `status/tsdb`, with at most `limit` rows per list. In a cluster it is that of all ingesters. Fails when
    /// some do not answer.
    async fn tsdb(&self, tenant: &TenantId, limit: usize) -> Result<TsdbStatus, String>;
    /// Returns the targets of all agents. `pool` restricts them to one scrape pool.
    async fn targets(&self, pool: Option<&str>) -> Targets;
    /// Returns the metadata that each active target exposes.
    async fn target_metadata(&self) -> Vec<TargetMetadata>;
    /// Returns the section of a scrape pool as YAML, without secrets. Fails if there is no such pool.
    fn scrape_pool_yaml(&self, pool: &str) -> Result<String, String>;
    /// Applies the relabelling rules of a scrape pool to labels, one after the other. Fails if there is no such pool, or if
    /// the labels become too large.
    fn relabel_steps(&self, pool: &str, labels: &BTreeMap<String, String>) -> Result<Vec<RelabelStep>, String>;
    /// Returns the blocks of a tenant in the object store.
    fn blocks(&self, tenant: &TenantId) -> Vec<Block>;
    /// Returns the rules of a tenant with their state, from all rulers.
    async fn rules(&self, tenant: &TenantId) -> Rules;
    /// Shows or changes the groups that a tenant has made through the rule API. Returns YAML; nothing after a change.
    async fn rule_config(&self, tenant: &TenantId, call: RuleConfigCall) -> Result<String, ApiError>;
    /// Returns the Alertmanagers to which alerts are sent.
    async fn alertmanagers(&self) -> Alertmanagers;
    /// Deletes series in a time range. Blocks.
    fn delete_series(&self, tenant: &TenantId, matchers: &[Matcher], range: TimeRange) -> Result<(), String>;
    /// Frees the space of deleted samples, at once or when their blocks are merged. Blocks.
    fn clean_tombstones(&self, tenant: &TenantId) -> Result<(), String>;
    /// Flushes the head, unless `skip_head` is set, and copies all blocks to a new folder. Returns the folder's name.
    /// Blocks.
    fn snapshot(&self, skip_head: bool) -> Result<String, String>;
}

/// The data of `status/runtimeinfo`.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RuntimeInfo {
    /// Start of the process, RFC 3339.
    pub start_time: String,
    /// Working directory of the process.
    #[serde(rename = "CWD")]
    pub cwd: String,
    /// Name of the host.
    pub hostname: String,
    /// Current time of the server, RFC 3339.
    pub server_time: String,
    /// Whether the last reload was successful.
    pub reload_config_success: bool,
    /// Time of the last successful reload, RFC 3339.
    pub last_config_time: String,
    /// Number of corrupt WAL records found.
    pub corruption_count: u64,
    /// Number of threads. Prometheus shows the number of goroutines here.
    pub goroutine_count: u64,
    /// Number of CPU cores.
    #[serde(rename = "GOMAXPROCS")]
    pub cores: u64,
    /// Memory limit of the head, bytes. Prometheus shows Go's memory limit here.
    #[serde(rename = "GOMEMLIMIT")]
    pub memory_limit: u64,
    /// Always empty here.
    #[serde(rename = "GOGC")]
    pub gogc: String,
    /// Always empty here.
    #[serde(rename = "GODEBUG")]
    pub godebug: String,
    /// Retention, for example `15d` or `15d or 10GB`.
    pub storage_retention: String,
}

/// The data of `status/buildinfo`.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BuildInfo {
    /// The Prometheus version whose API the node implements. Clients such as Grafana choose features by it.
    pub version: String,
    /// Git revision of the build.
    pub revision: String,
    /// Git branch of the build.
    pub branch: String,
    /// User who made the build.
    pub build_user: String,
    /// Date of the build.
    pub build_date: String,
    /// Version of the compiler. Prometheus shows the Go version here.
    pub go_version: String,
    /// Version of Pharos.
    pub pharos_version: String,
    /// What the node has beyond Prometheus, under Mimir's names. Grafana offers its rule editor by it.
    pub features: BTreeMap<&'static str, String>,
}

/// The data of `status/walreplay`.
#[derive(Clone, Debug, Default, Serialize)]
pub struct WalReplay {
    /// Number of the first segment.
    pub min: u64,
    /// Number of the last segment.
    pub max: u64,
    /// Number of the segment being replayed.
    pub current: u64,
}

/// The data of `status/tsdb`.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TsdbStatus {
    /// Statistics of the head.
    pub head_stats: HeadStats,
    /// Metric names with the most series.
    pub series_count_by_metric_name: Vec<NameCount>,
    /// Labels with the most values.
    pub label_value_count_by_label_name: Vec<NameCount>,
    /// Labels whose values take the most memory, with the memory in bytes.
    pub memory_in_bytes_by_label_name: Vec<NameCount>,
    /// `name=value` pairs with the most series.
    pub series_count_by_label_value_pair: Vec<NameCount>,
}

/// Statistics of the head in `status/tsdb`.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HeadStats {
    /// Number of series in memory.
    pub num_series: u64,
    /// Number of distinct label pairs.
    pub num_label_pairs: u64,
    /// Number of chunks in memory.
    pub chunk_count: u64,
    /// Time of the earliest sample, milliseconds.
    pub min_time: i64,
    /// Time of the latest sample, milliseconds.
    pub max_time: i64,
}

/// A row of a list in `status/tsdb`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NameCount {
    /// The metric name, label or label pair that the row is about.
    pub name: String,
    /// The count or size of the list that the row is in.
    pub value: u64,
}

/// The targets of the scrape pools.
#[derive(Clone, Debug, Default)]
pub struct Targets {
    /// The names of the scrape pools.
    pub pools: Vec<String>,
    /// Targets that are scraped, ordered by pool and URL.
    pub active: Vec<ActiveTarget>,
    /// Targets that relabelling dropped.
    pub dropped: Vec<DroppedTarget>,
    /// Number of dropped targets by pool. Includes targets that `dropped` omits.
    pub dropped_counts: BTreeMap<String, usize>,
    /// Human-readable descriptions of missing data.
    pub warnings: Vec<String>,
}

/// A target that is scraped.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ActiveTarget {
    /// Labels before relabelling.
    pub discovered_labels: BTreeMap<String, String>,
    /// Labels after relabelling.
    pub labels: BTreeMap<String, String>,
    /// Name of the scrape pool, which is the job name.
    pub scrape_pool: String,
    /// URL that is scraped.
    pub scrape_url: String,
    /// The scrape URL as seen from other hosts.
    pub global_url: String,
    /// Error of the last scrape; empty if it succeeded.
    pub last_error: String,
    /// Time of the last scrape, RFC 3339.
    pub last_scrape: String,
    /// Duration of the last scrape, seconds.
    pub last_scrape_duration: f64,
    /// Health of the target: `up`, `down` or `unknown`.
    pub health: String,
    /// Scrape interval, for example `15s`.
    pub scrape_interval: String,
    /// Scrape timeout, for example `10s`.
    pub scrape_timeout: String,
}

/// A target that relabelling dropped.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DroppedTarget {
    /// Labels before relabelling.
    pub discovered_labels: BTreeMap<String, String>,
    /// Name of the scrape pool, which is the job name.
    pub scrape_pool: String,
}

/// The effect of a relabelling rule.
#[derive(Clone, Debug, Serialize)]
pub struct RelabelStep {
    /// The rule, with the names of the configuration file.
    pub rule: serde_json::Value,
    /// The labels after the rule; empty once the target is dropped.
    pub output: BTreeMap<String, String>,
    /// Whether the target is kept.
    pub keep: bool,
}

/// A block of a tenant in `status/tsdb/blocks`. What Prometheus's blocks lack is under names of its own.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Block {
    /// The name of the block.
    pub ulid: String,
    /// Time of the first sample, milliseconds.
    pub min_time: i64,
    /// The time after the last sample, milliseconds.
    pub max_time: i64,
    /// How much it holds.
    pub stats: BlockStats,
    /// How it came about.
    pub compaction: BlockCompaction,
    /// The version of its format.
    pub version: u32,
    /// Start of its window, milliseconds.
    pub window_start: i64,
    /// End of its window, exclusive, milliseconds.
    pub window_end: i64,
    /// Size of its files, bytes.
    pub bytes: u64,
    /// Whether it holds late samples of a window that had a block already.
    pub delta: bool,
    /// Number of shards that it covers.
    pub shards: usize,
}

/// How much a block holds.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BlockStats {
    /// Number of samples.
    pub num_samples: u64,
    /// Number of series.
    pub num_series: u64,
}

/// How a block came about.
#[derive(Clone, Debug, Serialize)]
pub struct BlockCompaction {
    /// 1 for a block that was cut from memory.
    pub level: u32,
    /// The blocks that it was made from, itself for one that was cut from memory.
    pub sources: Vec<String>,
}

/// The metadata that a target exposes for a metric family.
#[derive(Clone, Debug)]
pub struct TargetMetadata {
    /// Labels of the target.
    pub target: Labels,
    /// Name of the metric family.
    pub metric: String,
    /// Type of the metric family.
    pub kind: MetricType,
    /// Help text of the metric family.
    pub help: String,
    /// Unit of the metric family.
    pub unit: String,
}
