//! The agent's scraping half as a role: it keeps the pools those of the configuration.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use futures::future::join_all;
use pharos_model::{Clock, TenantId};
use pharos_transport::Ingest;
use pharos_transport::agent_v1::{TargetsPart, TargetsRequest};
use prometheus::Registry;
use tokio::sync::watch;
use tonic::service::RoutesBuilder;

use crate::departed::Departed;
use crate::metrics::ScrapeMetrics;
use crate::ownership::{AgentService, Ownership, parts};
use crate::pool::{self, PoolHandle, PoolStatus, Prepared};
use crate::shared::Shared;
use crate::target_loop::Stop;
use pharos_config::{ConfigError, ResolvedScrapeConfig};
use pharos_discovery::{Discoveries, DiscoveryMetrics};
use pharos_http_client::HttpClient;

/// Settings of the agent.
#[derive(Clone, Debug, Default)]
pub struct AgentConfig {
    /// What is scraped.
    pub scrape: Vec<Arc<ResolvedScrapeConfig>>,
    /// The tenant to whom scraped samples belong.
    pub tenant: TenantId,
}

/// Why an agent cannot be created or reloaded.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// A section cannot be put in force.
    #[error("scrape config with job name {job:?}: {source}")]
    Config {
        /// The section.
        job: String,
        /// What is wrong with it.
        source: ConfigError,
    },
    /// Its metrics are registered already.
    #[error("registering metrics: {0}")]
    Metrics(#[from] prometheus::Error),
}

/// Scrapes what the configuration says. Create it, then [`Agent::run`] it.
pub struct Agent {
    shared: Arc<Shared>,
    discovery_metrics: DiscoveryMetrics,
    departed: Arc<Departed>,
    wanted: watch::Sender<Vec<Prepared>>,
    pools: Arc<Pools>,
    /// Turns true when the pools of the first configuration are there.
    started: watch::Sender<bool>,
}

/// The scrape pools by name.
pub(crate) type Pools = ArcSwap<Vec<Arc<PoolStatus>>>;

impl Agent {
    /// Checks the configuration and reads the certificates that it names; nothing is scraped yet.
    pub fn create(
        config: AgentConfig,
        ingest: Arc<dyn Ingest>,
        ownership: Arc<Ownership>,
        clock: Arc<dyn Clock>,
        registry: &Registry,
    ) -> Result<Arc<Self>, AgentError> {
        let wanted = watch::Sender::new(prepare(&config.scrape, &[])?);
        let shared = Shared::new(ingest, clock, config.tenant, ScrapeMetrics::new(registry)?, ownership);
        let discovery_metrics = DiscoveryMetrics::new(registry)?;
        let departed = Departed::new(shared.clone());
        let started = watch::Sender::new(false);
        Ok(Arc::new(Agent { shared, discovery_metrics, departed, wanted, pools: Arc::default(), started }))
    }

    /// Adds what other nodes ask of this one.
    pub fn add_services(&self, routes: &mut RoutesBuilder) {
        let (shared, departed, pools) = (self.shared.clone(), self.departed.clone(), self.pools.clone());
        AgentService { shared, departed, pools }.mount(routes);
    }

    /// Waits until the running agent has discovered its targets. Before that it should be no member of a cluster: it would
    /// own targets that it does not know.
    pub async fn discovered(&self) {
        let mut started = self.started.subscribe();
        // The sender lives as long as this does.
        let _started = started.wait_for(|started| *started).await;
        join_all(self.pools().iter().map(|pool| pool.discovered())).await;
    }

    /// Waits until other agents scrape all that this one did, once it was told to drain or has left ([`pharos_cluster::Meta::leave`]);
    /// until then it goes on. They get what it knows of its targets. False when there is no other agent.
    pub async fn hand_over(&self) -> bool {
        if !self.shared.ownership.released().await {
            return false;
        }
        self.departed.pass_all(self.shared.clock.now_ms()).await;
        self.shared.idle().await;
        true
    }

    /// Puts another configuration in force. Sections that are equal to those in force go on untouched; targets of the
    /// others go on without a gap. On an error everything stays as it is.
    pub fn reload(&self, scrape: Vec<Arc<ResolvedScrapeConfig>>) -> Result<(), AgentError> {
        let wanted = prepare(&scrape, &self.wanted.borrow())?;
        self.wanted.send_replace(wanted);
        Ok(())
    }

    /// Scrapes until `stopped` turns true.
    pub async fn run(self: Arc<Self>, mut stopped: watch::Receiver<bool>) {
        let mut wanted = self.wanted.subscribe();
        let mut discoveries = Discoveries::new(self.shared.clock.clone(), self.discovery_metrics.clone());
        let mut running = BTreeMap::new();
        loop {
            let next = wanted.borrow_and_update().clone();
            self.apply(next, &mut running, &mut discoveries).await;
            self.started.send_replace(true);
            tokio::select! {
                biased;
                _ = stopped.wait_for(|stopped| *stopped) => break,
                changed = wanted.changed() => if changed.is_err() { break },
            }
        }
        self.departed.stop();
        join_all(running.into_values().map(|pool| pool.stop(Stop::Now))).await;
    }

    async fn apply(
        &self,
        wanted: Vec<Prepared>,
        running: &mut BTreeMap<String, PoolHandle>,
        discoveries: &mut Discoveries,
    ) {
        let is_kept = |pool: &PoolHandle| wanted.iter().any(|new| Arc::ptr_eq(&new.fetch, &pool.prepared.fetch));
        let (kept, gone): (BTreeMap<_, _>, Vec<_>) = {
            let (kept, gone): (Vec<_>, Vec<_>) =
                std::mem::take(running).into_iter().partition(|(_, pool)| is_kept(pool));
            (kept.into_iter().collect(), gone)
        };
        *running = kept;
        join_all(gone.into_iter().map(|(_, pool)| pool.stop(Stop::AfterScrape))).await;
        for prepared in &wanted {
            let job = prepared.config.job_name.clone();
            if running.contains_key(&job) {
                continue;
            }
            match discoveries.of(&prepared.config) {
                Ok(found) => {
                    let pool = pool::start(self.shared.clone(), self.departed.clone(), prepared.clone(), found);
                    running.insert(job, pool);
                }
                Err(error) => tracing::error!(job, %error, "starting discovery failed"),
            }
        }
        let configs: Vec<_> = wanted.iter().map(|prepared| prepared.config.clone()).collect();
        discoveries.retain(&configs);
        self.pools.store(Arc::new(running.values().map(|pool| pool.status.clone()).collect()));
    }

    /// What this agent scrapes, as it tells other nodes.
    pub fn targets(&self, request: &TargetsRequest) -> Vec<TargetsPart> {
        parts(&self.pools.load(), request)
    }

    /// The scrape pools by name, with their targets.
    pub fn pools(&self) -> Arc<Vec<Arc<PoolStatus>>> {
        self.pools.load_full()
    }
}

/// Builds the clients of sections; those that are in force already keep theirs.
fn prepare(scrape: &[Arc<ResolvedScrapeConfig>], current: &[Prepared]) -> Result<Vec<Prepared>, AgentError> {
    let one = |config: &Arc<ResolvedScrapeConfig>| {
        if let Some(same) = current.iter().find(|prepared| prepared.config == *config) {
            return Ok(same.clone());
        }
        let failed = |source| AgentError::Config { job: config.job_name.clone(), source };
        for server in &config.http_sd_configs {
            server.http_client().and_then(|http| HttpClient::new(&http)).map_err(failed)?;
        }
        let client = HttpClient::new(&config.http).map_err(failed)?;
        Ok(Prepared { config: config.clone(), fetch: Arc::new(client) })
    };
    scrape.iter().map(one).collect()
}

#[cfg(test)]
mod tests;
