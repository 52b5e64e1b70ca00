//! The node behind the HTTP API: status, reloads, targets, deletions and snapshots.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use pharos_api::notifications::Notifications;
use pharos_api::query_log::QueryLog;
use pharos_api::services::{
    Alertmanagers, Block, BlockCompaction, BlockStats, BuildInfo, HeadStats, NameCount, RelabelStep, RuleConfigCall,
    Rules, RuntimeInfo, TargetMetadata, Targets, TsdbStatus, WalReplay,
};
use pharos_api::{ApiError, Services};
use pharos_config::ByteSize;
use pharos_gocompat::format_duration;
use pharos_ingester::Ingester;
use pharos_model::{Clock, Matcher, MemoryAccount, TenantId, TimeRange};
use pharos_querier::LimitsByTenant;
use pharos_receive::Receiver;
use pharos_scrape::Scraper;
use pharos_transport::agent_v1::TargetsRequest;
use prometheus::Registry;
use prometheus::proto::MetricFamily;
use tokio::sync::watch;

use super::deletions::SeriesDeletions;
use super::limits;
use super::memory;
use super::restart;
use super::rules::AllRules;
use super::scrape_pools;
use super::snapshot::Snapshots;
use super::statistics::Statistics;
use super::targets::{AllTargets, ExternalUrl};
use crate::alertmanager::AlertmanagerHandle;
use crate::cli::QueryArgs;
use crate::config::Loaded;
use crate::logging::LogHandle;
use crate::metrics::metrics_text;
use crate::reload::ConfigHandle;

/// The version of Prometheus whose API is served. Grafana enables features by it.
const API_VERSION: &str = "3.15.0";

/// Prometheus's words for a reload that failed.
const RELOAD_FAILED: &str = "Configuration reload has failed.";

/// The running node, as seen by the API.
pub(super) struct NodeServices {
    pub(super) config: Arc<ConfigHandle>,
    /// The configuration that the parts of the server were started with.
    pub(super) config_at_start: Arc<Loaded>,
    pub(super) flags: BTreeMap<String, String>,
    pub(super) deletions: SeriesDeletions,
    pub(super) ingester: Option<Arc<Ingester>>,
    /// Statistics of all ingesters, if this node belongs to a cluster.
    pub(super) statistics: Option<Statistics>,
    pub(super) agent: Option<Arc<Scraper>>,
    pub(super) receiver: Option<Arc<Receiver>>,
    pub(super) targets: AllTargets,
    pub(super) external_url: ExternalUrl,
    pub(super) rules: AllRules,
    pub(super) has_rule_api: bool,
    pub(super) snapshots: Snapshots,
    pub(super) registry: Registry,
    pub(super) memory: Arc<MemoryAccount>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) log: LogHandle,
    pub(super) alertmanager: Option<AlertmanagerHandle>,
    pub(super) stop: watch::Sender<bool>,
    pub(super) started_ms: i64,
    pub(super) retention: String,
    pub(super) query_args: QueryArgs,
    pub(super) query_limits: Arc<ArcSwap<LimitsByTenant>>,
    pub(super) query_log: Arc<QueryLog>,
    pub(super) notifications: Arc<Notifications>,
}

impl NodeServices {
    /// Reloads the configuration. An invalid file changes nothing. Returns a notice about changes that need a restart.
    pub(super) fn reload_now(&self) -> Result<Option<String>, String> {
        let mut prepared = None;
        let applied = self.config.reload(|_, new| {
            prepared = self.rules.local.get().map(|ruler| ruler.prepare(new)).transpose()?;
            self.query_log.set(new.config.global.query_log_file.as_deref())?;
            let agent = self.agent.as_ref();
            agent.map_or(Ok(()), |agent| agent.reload(new.scrape.clone()).map_err(|e| e.to_string()))
        });
        // Its file is another one, so a mistake in one of them does not keep the other one from being reloaded.
        let alertmanager = self.alertmanager.as_ref().map_or(Ok(()), AlertmanagerHandle::reload);
        match applied {
            Ok(loaded) => {
                let limits = &loaded.config.limits;
                if let Some(receiver) = &self.receiver {
                    receiver.set_otlp(loaded.otlp.clone());
                }
                if let Some(ingester) = &self.ingester {
                    ingester.head().set_settings(limits::head_settings(limits));
                }
                if let (Some(ruler), Some(prepared)) = (self.rules.local.get(), prepared) {
                    ruler.apply(&loaded, &self.external_url.url, prepared);
                }
                let (of_a_tenant, own) = memory::tenant_limits(self.memory.limit(), limits);
                self.memory.set_tenant_limits(of_a_tenant, own);
                self.query_limits.store(Arc::new(limits::query_limits(&self.query_args, limits)));
                loaded.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
                if let Some(level) = loaded.config.runtime.log_level {
                    self.log.set_level(level);
                }
                self.notifications.withdraw(RELOAD_FAILED);
                tracing::info!("reloaded the configuration");
                let notice = restart::notice(&restart::needed_for(&self.config_at_start.config, &loaded.config));
                notice.iter().for_each(|notice| tracing::warn!("{notice}"));
                alertmanager?;
                Ok(notice)
            }
            Err(error) => {
                self.notifications.raise(RELOAD_FAILED, self.clock.now_ms());
                tracing::error!(%error, "could not reload the configuration; keeping the previous one");
                Err(error.to_string())
            }
        }
    }
}

/// A time in milliseconds as RFC 3339.
pub(super) fn rfc3339(ms: i64) -> String {
    jiff::Timestamp::from_millisecond(ms).map_or_else(|_| never(), |t| t.to_string())
}

/// Go's zero time, which Prometheus reports for events that have not happened.
pub(super) fn never() -> String {
    "0001-01-01T00:00:00Z".into()
}

#[async_trait::async_trait]
impl Services for NodeServices {
    fn is_known(&self, tenant: &TenantId) -> bool {
        *tenant == TenantId::default()
            || self.ingester.as_ref().is_some_and(|ingester| ingester.head().has_tenant(tenant))
            || self.query_limits.load().own.contains_key(tenant)
            || self.deletions.meta.view().catalogue.tenant(tenant.as_str()).is_some()
    }

    fn ready(&self) -> Result<(), String> {
        if *self.stop.borrow() { Err("the server is stopping".into()) } else { Ok(()) }
    }

    async fn reload(&self) -> Result<Option<String>, String> {
        tokio::task::block_in_place(|| self.reload_now())
    }

    fn quit(&self) {
        self.stop.send_replace(true);
    }

    fn notifications(&self) -> &Notifications {
        &self.notifications
    }

    fn metric_families(&self) -> Vec<MetricFamily> {
        self.registry.gather()
    }

    fn metrics_text(&self) -> String {
        metrics_text(&self.registry)
    }

    fn config_yaml(&self, with_tenants: bool) -> String {
        let mut config = self.config.current().config.clone();
        if !with_tenants {
            config.limits.overrides.clear();
            config.tenants.clear();
        }
        config.to_yaml()
    }

    fn flags(&self) -> BTreeMap<String, String> {
        self.flags.clone()
    }

    fn runtime_info(&self) -> RuntimeInfo {
        let (reload_config_success, applied_ms) = self.config.last_reload();
        let threads = std::fs::read_dir("/proc/self/task").map_or(0, |tasks| tasks.count() as u64);
        RuntimeInfo {
            start_time: rfc3339(self.started_ms),
            cwd: std::env::current_dir().map_or_else(|_| String::new(), |dir| dir.display().to_string()),
            hostname: std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_string(),
            server_time: rfc3339(self.clock.now_ms()),
            reload_config_success,
            last_config_time: rfc3339(applied_ms),
            corruption_count: 0,
            goroutine_count: threads,
            cores: std::thread::available_parallelism().map_or(1, |n| n.get() as u64),
            memory_limit: self.config.current().config.limits.max_head_memory.0,
            gogc: String::new(),
            godebug: String::new(),
            storage_retention: self.retention.clone(),
        }
    }

    fn build_info(&self) -> BuildInfo {
        BuildInfo {
            version: API_VERSION.into(),
            revision: option_env!("PHAROS_REVISION").unwrap_or("").into(),
            branch: String::new(),
            build_user: String::new(),
            build_date: String::new(),
            go_version: String::new(),
            pharos_version: env!("CARGO_PKG_VERSION").into(),
            features: [("ruler_config_api", self.has_rule_api.to_string())].into(),
        }
    }

    fn wal_replay(&self) -> WalReplay {
        // The API is served after the replay.
        WalReplay::default()
    }

    async fn tsdb(&self, tenant: &TenantId, limit: usize) -> Result<TsdbStatus, String> {
        let stats = match &self.statistics {
            Some(statistics) => statistics.of(tenant, limit).await?,
            None => match &self.ingester {
                Some(ingester) => tokio::task::block_in_place(|| ingester.head().stats(tenant, limit)),
                None => pharos_head::HeadStats::default(),
            },
        };
        let rows = |counts: Vec<pharos_head::LabelCount>| {
            counts.into_iter().map(|c| NameCount { name: c.name, value: c.value }).collect()
        };
        Ok(TsdbStatus {
            head_stats: HeadStats {
                num_series: stats.series,
                num_label_pairs: stats.label_pairs,
                chunk_count: stats.chunks,
                min_time: stats.min_t.unwrap_or(i64::MAX),
                max_time: stats.max_t.unwrap_or(i64::MIN),
            },
            series_count_by_metric_name: rows(stats.series_by_metric),
            label_value_count_by_label_name: rows(stats.values_by_label),
            memory_in_bytes_by_label_name: rows(stats.bytes_by_label),
            series_count_by_label_value_pair: rows(stats.series_by_pair),
        })
    }

    async fn targets(&self, pool: Option<&str>) -> Targets {
        let request = TargetsRequest { pool: pool.unwrap_or_default().into(), metadata: false };
        self.targets.all(&request).await.into_targets(&self.external_url)
    }

    async fn target_metadata(&self) -> Vec<TargetMetadata> {
        let request = TargetsRequest { pool: String::new(), metadata: true };
        self.targets.all(&request).await.into_metadata()
    }

    fn scrape_pool_yaml(&self, pool: &str) -> Result<String, String> {
        scrape_pools::yaml(&self.config.current(), pool)
    }

    fn relabel_steps(&self, pool: &str, labels: &BTreeMap<String, String>) -> Result<Vec<RelabelStep>, String> {
        scrape_pools::relabel_steps(&self.config.current(), pool, labels)
    }

    fn blocks(&self, tenant: &TenantId) -> Vec<Block> {
        let view = self.deletions.meta.view();
        let catalogue = view.catalogue.tenant(tenant.as_str());
        catalogue.map(|tenant| tenant.blocks.iter().map(|block| shown_block(block)).collect()).unwrap_or_default()
    }

    async fn rules(&self, tenant: &TenantId) -> Rules {
        self.rules.of_tenant(tenant).await
    }

    async fn rule_config(&self, tenant: &TenantId, call: RuleConfigCall) -> Result<String, ApiError> {
        self.rules.configure(tenant, call).await
    }

    async fn alertmanagers(&self) -> Alertmanagers {
        self.rules.local.get().map(|ruler| ruler.alertmanagers()).unwrap_or_default()
    }

    fn delete_series(&self, tenant: &TenantId, matchers: &[Matcher], range: TimeRange) -> Result<(), String> {
        self.deletions.delete(tenant, matchers, range)
    }

    fn clean_tombstones(&self, tenant: &TenantId) -> Result<(), String> {
        self.deletions.clean(tenant)
    }

    fn snapshot(&self, skip_head: bool) -> Result<String, String> {
        self.snapshots.take(skip_head)
    }
}

/// A block of the catalogue as the API shows it. All blocks are cut from memory so far.
fn shown_block(block: &pharos_cluster::catalogue::BlockEntry) -> Block {
    Block {
        ulid: block.id.clone(),
        min_time: block.min_t,
        max_time: block.max_t.saturating_add(1),
        stats: BlockStats { num_samples: block.samples, num_series: block.series },
        compaction: BlockCompaction { level: 1, sources: vec![block.id.clone()] },
        version: 1,
        window_start: block.window_start,
        window_end: block.window_end,
        bytes: block.bytes,
        delta: block.delta,
        shards: block.shards.len(),
    }
}

/// The retention in the format of `status/runtimeinfo`.
pub(super) fn retention_text(retention: Option<std::time::Duration>, max_bytes: Option<u64>) -> String {
    let time = retention.map(|time| format_duration(time.as_millis() as i64));
    let size = max_bytes.map(|bytes| ByteSize(bytes).to_string());
    let parts: Vec<String> = time.into_iter().chain(size).collect();
    if parts.is_empty() { "unlimited".into() } else { parts.join(" or ") }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn times_are_printed_in_rfc_3339() {
        assert_eq!(rfc3339(1_700_000_000_123), "2023-11-14T22:13:20.123Z");
    }

    #[test]
    fn a_time_out_of_range_is_printed_as_never() {
        assert_eq!(rfc3339(i64::MAX), never());
    }

    #[test]
    fn the_retention_shows_time_and_size() {
        let week = Some(Duration::from_secs(7 * 86_400));
        assert_eq!(retention_text(week, None), "1w");
        assert_eq!(retention_text(None, Some(1 << 30)), "1GiB");
        assert_eq!(retention_text(week, Some(1 << 30)), "1w or 1GiB");
    }

    #[test]
    fn no_retention_is_unlimited() {
        assert_eq!(retention_text(None, None), "unlimited");
    }
}
