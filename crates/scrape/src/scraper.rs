//! The scraper as a component of a node: it keeps the scrape pools in step with the configuration.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::future::join_all;
use pharos_config::{ConfigError, ResolvedScrapeConfig};
use pharos_discovery::{DiscoveryManager, DiscoveryMetrics};
use pharos_http_client::HttpClient;
use pharos_model::{Clock, MemoryAccount, TenantId};
use pharos_transport::Ingest;
use pharos_transport::agent_v1::{TargetsPart, TargetsRequest};
use prometheus::Registry;
use tokio::sync::watch;
use tonic::service::RoutesBuilder;

use crate::handoff::Handoffs;
use crate::metrics::ScrapeMetrics;
use crate::ownership::Ownership;
use crate::pool::{self, PoolHandle, PoolInput, PoolStatus, Pools, ScrapeJob};
use crate::service::{AgentService, parts};
use crate::shared::Shared;

/// Settings of a scraper.
#[derive(Clone, Debug, Default)]
pub struct ScraperConfig {
    /// The checked `scrape_configs`.
    pub scrape: Vec<Arc<ResolvedScrapeConfig>>,
    /// The tenant that scraped samples belong to.
    pub tenant: TenantId,
}

/// Why a scraper cannot be created or reloaded.
#[derive(Debug, thiserror::Error)]
pub enum ScraperError {
    /// A section cannot take effect, because of its certificates for example.
    #[error("scrape config with job name {job:?}: {source}")]
    Config {
        /// `job_name` of the section.
        job: String,
        /// The error in the section.
        source: ConfigError,
    },
    /// The registry already has metrics of a scraper.
    #[error("registering metrics: {0}")]
    Metrics(#[from] prometheus::Error),
}

/// Scrapes the configured targets that belong to this node. Create it, then [`Scraper::run`] it.
pub struct Scraper {
    shared: Arc<Shared>,
    discovery_metrics: DiscoveryMetrics,
    handoffs: Arc<Handoffs>,
    jobs: watch::Sender<Vec<ScrapeJob>>,
    pools: Arc<Pools>,
    /// Turns true when the pools of the first configuration have started.
    started: watch::Sender<bool>,
}

impl Scraper {
    /// Checks the configuration and reads its certificates. Nothing is scraped before [`Scraper::run`].
    pub fn create(
        config: ScraperConfig,
        ingest: Arc<dyn Ingest>,
        memory: Arc<MemoryAccount>,
        ownership: Arc<Ownership>,
        clock: Arc<dyn Clock>,
        registry: &Registry,
    ) -> Result<Arc<Self>, ScraperError> {
        let jobs = watch::Sender::new(prepare(&config.scrape, &[])?);
        let shared = Shared::new(ingest, clock, config.tenant, memory, ScrapeMetrics::new(registry)?, ownership);
        let discovery_metrics = DiscoveryMetrics::new(registry)?;
        let handoffs = Handoffs::new(shared.clone());
        let started = watch::Sender::new(false);
        Ok(Arc::new(Scraper { shared, discovery_metrics, handoffs, jobs, pools: Arc::default(), started }))
    }

    /// Adds the gRPC service that other nodes call.
    pub fn add_services(&self, routes: &mut RoutesBuilder) {
        let service =
            AgentService { shared: self.shared.clone(), handoffs: self.handoffs.clone(), pools: self.pools.clone() };
        service.mount(routes);
    }

    /// Waits until the running scraper has discovered its targets. A node should not join a cluster before that: it would
    /// own targets that it does not know.
    pub async fn discovered(&self) {
        let mut started = self.started.subscribe();
        // Cannot fail: the sender lives as long as `self`.
        let _started = started.wait_for(|started| *started).await;
        join_all(self.pools().iter().map(|pool| pool.discovered())).await;
    }

    /// Waits until other agents scrape everything that this one did, after it was told to drain or has left
    /// ([`pharos_cluster::Meta::leave`]). It keeps scraping until then, and sends them what it knows of its targets.
    /// Returns false when this is the only agent.
    pub async fn hand_off(&self) -> bool {
        if !self.shared.ownership.await_release().await {
            return false;
        }
        self.handoffs.transfer_all(self.shared.clock.now_ms()).await;
        self.shared.await_idle().await;
        true
    }

    /// Replaces the configuration. Unchanged sections keep running untouched, and targets of the others continue without a
    /// gap. On an error the previous configuration stays in force.
    pub fn reload(&self, scrape: Vec<Arc<ResolvedScrapeConfig>>) -> Result<(), ScraperError> {
        let jobs = prepare(&scrape, &self.jobs.borrow())?;
        self.jobs.send_replace(jobs);
        Ok(())
    }

    /// Scrapes until `stopped` turns true.
    pub async fn run(self: Arc<Self>, mut stopped: watch::Receiver<bool>) {
        let mut jobs = self.jobs.subscribe();
        let mut discovery = DiscoveryManager::new(self.shared.clock.clone(), self.discovery_metrics.clone());
        let mut running = BTreeMap::new();
        loop {
            let next = jobs.borrow_and_update().clone();
            self.apply(next, &mut running, &mut discovery);
            self.started.send_replace(true);
            tokio::select! {
                biased;
                _ = stopped.wait_for(|stopped| *stopped) => break,
                changed = jobs.changed() => if changed.is_err() { break },
            }
        }
        self.shared.stop();
        for ended in join_all(running.into_values().map(PoolHandle::stop)).await {
            ended.unwrap_or_else(|error| tracing::error!(%error, "scrape pool panicked"));
        }
    }

    /// Starts, reloads and stops pools so that there is one for each job. Waits for no scrape.
    fn apply(
        &self,
        jobs: Vec<ScrapeJob>,
        running: &mut BTreeMap<String, PoolHandle>,
        discovery: &mut DiscoveryManager,
    ) {
        for name in running
            .keys()
            .filter(|name| jobs.iter().all(|job| job.config.job_name != **name))
            .cloned()
            .collect::<Vec<_>>()
        {
            running.remove(&name).map(PoolHandle::stop);
        }
        for job in jobs.iter().cloned() {
            let name = job.config.job_name.clone();
            let current = running.get(&name).map(PoolHandle::job);
            if current.as_ref().is_some_and(|current| Arc::ptr_eq(&current.fetch, &job.fetch)) {
                continue;
            }
            match discovery.subscribe((&*job.config).into(), current.as_ref().map(|current| (&*current.config).into()))
            {
                Ok(found) => {
                    let input = PoolInput { job, found };
                    match running.get(&name) {
                        Some(pool) => pool.reload(input),
                        None => {
                            let pool = pool::start(self.shared.clone(), self.handoffs.clone(), input);
                            running.insert(name, pool);
                        }
                    }
                }
                Err(error) => tracing::error!(job = name, %error, "could not start discovery; the job has no targets"),
            }
        }
        discovery.retain(jobs.iter().map(|job| (&*job.config).into()));
        self.pools.store(Arc::new(running.values().map(|pool| pool.status.clone()).collect()));
    }

    /// The targets that this node scrapes, in the form that other nodes get.
    pub fn targets(&self, request: &TargetsRequest) -> Vec<TargetsPart> {
        parts(&self.pools.load(), request)
    }

    /// The scrape pools with their targets, sorted by name.
    pub fn pools(&self) -> Arc<Vec<Arc<PoolStatus>>> {
        self.pools.load_full()
    }
}

/// Builds the clients of the sections. Sections that are already in force keep their job and client.
fn prepare(scrape: &[Arc<ResolvedScrapeConfig>], current: &[ScrapeJob]) -> Result<Vec<ScrapeJob>, ScraperError> {
    let prepare_one = |config: &Arc<ResolvedScrapeConfig>| {
        if let Some(same) = current.iter().find(|job| job.config == *config) {
            return Ok(same.clone());
        }
        let failed = |source| ScraperError::Config { job: config.job_name.clone(), source };
        for server in &config.http_sd_configs {
            server.http_client().and_then(|http| HttpClient::new(&http)).map_err(failed)?;
        }
        let client = HttpClient::new(&config.http).map_err(failed)?;
        Ok(ScrapeJob { config: config.clone(), fetch: Arc::new(client) })
    };
    scrape.iter().map(prepare_one).collect()
}

#[cfg(test)]
mod tests;
