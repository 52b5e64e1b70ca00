//! Targets: how discovered labels become a target, and its current status.

mod url;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use pharos_config::relabel;
use pharos_config::{PromDuration, ResolvedScrapeConfig};
use pharos_model::{Labels, LabelsBuilder, Metadata};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use self::url::target_url;
use crate::metadata::MetadataStore;

const ADDRESS: &str = "__address__";
const INSTANCE: &str = "instance";
const INTERVAL: &str = "__scrape_interval__";
const TIMEOUT: &str = "__scrape_timeout__";
const METRICS_PATH: &str = "__metrics_path__";
const SCHEME: &str = "__scheme__";
const PARAM_PREFIX: &str = "__param_";
const META_PREFIX: &str = "__meta_";
const RESERVED_PREFIX: &str = "__";
const NATIVE_HISTOGRAMS: &str = "__scrape_native_histograms__";
const ALWAYS_CLASSIC: &str = "__always_scrape_classic_histograms__";
const UNIX_SOCKET: &str = "__unix_socket__";
const TO_NHCB: &str = "__convert_classic_histograms_to_nhcb__";

/// An endpoint that is scraped.
pub struct Target {
    /// Labels before relabelling, with the defaults of the configuration. They may change while the target stays the same.
    discovered: Mutex<Labels>,
    /// Labels after relabelling, which all its series get.
    pub labels: Labels,
    /// The URL of the request, as the API shows it.
    pub url: String,
    /// Time between scrapes.
    pub interval: PromDuration,
    /// The limit on the duration of a scrape.
    pub timeout: PromDuration,
    /// Whether native histograms are stored.
    pub native_histograms: bool,
    /// Whether classic histograms are stored beside native ones.
    pub always_classic_histograms: bool,
    /// Whether classic histograms are stored as native ones with custom buckets.
    pub classic_to_nhcb: bool,
    /// The Unix socket that it is scraped through, instead of the host of its URL.
    pub(crate) unix_socket: Option<PathBuf>,
    /// Identifies the target: the hash of its labels and URL.
    pub(crate) hash: u64,
    /// Decides which agent scrapes it: the hash of its job and of the address under which it was discovered, which agents
    /// agree on even while their configurations differ.
    pub(crate) owner_hash: u64,
    /// Whether this agent scrapes it.
    owned: AtomicBool,
    /// Shared with the target that this one replaces.
    history: Arc<History>,
}

/// What scrapes of a target have shown.
#[derive(Default)]
struct History {
    status: Mutex<TargetStatus>,
    metadata: Mutex<MetadataStore>,
}

/// What decides when and by whom a target is scraped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Placement {
    /// Decides the owner.
    pub(crate) owner: u64,
    /// Decides the slot within an interval.
    pub(crate) slot: u64,
}

/// The result of the last scrape of a target.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TargetStatus {
    /// Whether the scrape succeeded.
    pub health: Health,
    /// Why the scrape failed; empty when it succeeded.
    pub last_error: String,
    /// When the scrape started, milliseconds; `None` before the first.
    pub last_scrape_ms: Option<i64>,
    /// How long the scrape took, seconds.
    pub last_duration: f64,
}

/// Whether a target is up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Health {
    /// Not scraped yet.
    #[default]
    Unknown,
    /// The last scrape succeeded.
    Up,
    /// The last scrape failed.
    Down,
}

impl Health {
    /// The word of the HTTP API.
    pub fn as_str(self) -> &'static str {
        match self {
            Health::Unknown => "unknown",
            Health::Up => "up",
            Health::Down => "down",
        }
    }
}

impl Target {
    /// The result of the last scrape.
    pub fn status(&self) -> TargetStatus {
        self.history.status.lock().clone()
    }

    /// Labels before relabelling, with the defaults of the configuration.
    pub fn discovered(&self) -> Labels {
        self.discovered.lock().clone()
    }

    pub(crate) fn set_discovered(&self, labels: Labels) {
        *self.discovered.lock() = labels;
    }

    /// Takes the place of another target, whose status and metadata stay.
    pub(crate) fn succeed(&mut self, predecessor: &Target) {
        self.history = predecessor.history.clone();
    }

    pub(crate) fn placement(&self) -> Placement {
        Placement { owner: self.owner_hash, slot: self.hash }
    }

    /// The interval in milliseconds.
    pub(crate) fn interval_ms(&self) -> i64 {
        self.interval.as_millis() as i64
    }

    /// Whether this agent scrapes it.
    pub(crate) fn is_owned(&self) -> bool {
        self.owned.load(Ordering::Relaxed)
    }

    /// Sets whether this agent scrapes it; returns whether it did.
    pub(crate) fn set_owned(&self, owned: bool) -> bool {
        self.owned.swap(owned, Ordering::Relaxed)
    }

    pub(crate) fn set_status(&self, status: TargetStatus) {
        *self.history.status.lock() = status;
    }

    /// The metadata that the target exposes, by metric family.
    pub fn metadata(&self) -> BTreeMap<String, Metadata> {
        self.history.metadata.lock().list()
    }

    pub(crate) fn metadata_store(&self) -> &Mutex<MetadataStore> {
        &self.history.metadata
    }
}

/// The labels of a discovered target with the defaults that the configuration adds before relabelling.
fn discovered_labels(found: &Labels, config: &ResolvedScrapeConfig) -> LabelsBuilder {
    let mut labels = LabelsBuilder::from_labels(found);
    let defaults = [
        ("job", config.job_name.clone()),
        (INTERVAL, config.scrape_interval.to_string()),
        (TIMEOUT, config.scrape_timeout.to_string()),
        (METRICS_PATH, config.metrics_path.clone()),
        (SCHEME, config.scheme.clone()),
        (TO_NHCB, config.classic_to_nhcb.to_string()),
        (ALWAYS_CLASSIC, config.always_classic_histograms.to_string()),
        (NATIVE_HISTOGRAMS, config.native_histograms.to_string()),
    ];
    for (name, value) in &defaults {
        if labels.get(name).is_empty() {
            labels.set(name, value);
        }
    }
    for (key, values) in &config.params {
        let name = format!("{PARAM_PREFIX}{key}");
        if let Some(first) = values.first().filter(|_| labels.get(&name).is_empty()) {
            labels.set(&name, first);
        }
    }
    labels
}

/// The result of relabelling a discovered target.
pub(crate) enum Populated {
    Active(Box<Target>),
    /// Relabelling dropped it. Holds the labels before that.
    Dropped(Labels),
}

/// Makes a target of discovered labels. The error is Prometheus's, or names the label that is wrong.
pub(crate) fn populate(found: &Labels, config: &ResolvedScrapeConfig) -> Result<Populated, String> {
    let mut labels = discovered_labels(found, config);
    let discovered = labels.clone().build();
    if !relabel(&config.relabel, &mut labels) {
        return Ok(Populated::Dropped(discovered));
    }
    let address = labels.get(ADDRESS).to_string();
    if address.is_empty() {
        return Err("no address".into());
    }
    if address.contains('/') {
        return Err(format!("{address:?} is not a valid hostname"));
    }
    let (interval, timeout) = interval_and_timeout(&labels)?;
    if labels.get(INSTANCE).is_empty() {
        labels.set(INSTANCE, &address);
    }
    let native_histograms = flag(&labels, NATIVE_HISTOGRAMS, "scrape native histograms", config.native_histograms)?;
    let always_classic_histograms =
        flag(&labels, ALWAYS_CLASSIC, "always scrape classic histograms", config.always_classic_histograms)?;
    let classic_to_nhcb = flag(&labels, TO_NHCB, "convert classic histograms to nhcb", config.classic_to_nhcb)?;
    let all = labels.build().without(|name| name.starts_with(META_PREFIX));
    let (scheme, path) = (all.get(SCHEME).unwrap_or(""), all.get(METRICS_PATH).unwrap_or(""));
    let url = target_url(scheme, &address, path, &params(&all, config));
    Ok(Populated::Active(Box::new(Target {
        owner_hash: owner_hash(&config.job_name, discovered.get(ADDRESS).unwrap_or("")),
        discovered: Mutex::new(discovered),
        labels: all.without(|name| name.starts_with(RESERVED_PREFIX)),
        hash: xxh3_64_with_seed(all.as_bytes(), xxh3_64_with_seed(url.as_bytes(), 0)),
        url,
        unix_socket: all.get(UNIX_SOCKET).map(PathBuf::from),
        interval,
        timeout,
        native_histograms,
        always_classic_histograms,
        classic_to_nhcb,
        owned: AtomicBool::new(false),
        history: Arc::default(),
    })))
}

/// The hash of a job and a discovered address.
fn owner_hash(job: &str, address: &str) -> u64 {
    xxh3_64_with_seed(address.as_bytes(), xxh3_64_with_seed(job.as_bytes(), 0))
}

fn interval_and_timeout(labels: &LabelsBuilder) -> Result<(PromDuration, PromDuration), String> {
    let parse = |name: &str, what: &str| {
        let duration =
            PromDuration::parse(labels.get(name)).map_err(|e| format!("error parsing scrape {what}: {e}"))?;
        match duration.is_zero() {
            true => Err(format!("scrape {what} cannot be 0")),
            false => Ok(duration),
        }
    };
    let interval = parse(INTERVAL, "interval")?;
    let timeout = parse(TIMEOUT, "timeout")?;
    if timeout > interval {
        let timeout = labels.get(TIMEOUT);
        let interval = labels.get(INTERVAL);
        return Err(format!("scrape timeout cannot be greater than scrape interval ({timeout:?} > {interval:?})"));
    }
    Ok((interval, timeout))
}

fn flag(labels: &LabelsBuilder, name: &str, what: &str, default: bool) -> Result<bool, String> {
    match labels.get(name) {
        "" => Ok(default),
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        other => Err(format!("error parsing {what}: {other:?} is not a boolean")),
    }
}

/// The query parameters. A `__param_…` label replaces the first configured value of its parameter.
fn params(labels: &Labels, config: &ResolvedScrapeConfig) -> BTreeMap<String, Vec<String>> {
    let mut params = config.params.clone();
    for (name, value) in labels.iter() {
        let Some(key) = name.strip_prefix(PARAM_PREFIX) else { continue };
        let values = params.entry(key.to_string()).or_default();
        match values.first_mut() {
            Some(first) => *first = value.to_string(),
            None => values.push(value.to_string()),
        }
    }
    params
}

#[cfg(test)]
pub(crate) mod tests;
