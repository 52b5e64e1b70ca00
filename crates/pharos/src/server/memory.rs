//! The account of the memory of requests: its limits from configuration and machine, and its metrics.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pharos_model::memory::MemoryLimits;
use pharos_model::{MemoryAccount, Purpose, TenantId};
use pharos_store::StoreConfig;
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{IntCounter, IntGauge, IntGaugeVec, Opts, Registry};

use crate::cli::WebArgs;
use crate::config::LimitsConfig;

/// The limit where the memory of the machine is unknown, bytes.
const DEFAULT_BYTES: u64 = 2 << 30;

/// Memory of a small machine that is kept for what is not a request: the process itself, recent samples and the cache of blocks.
const RESERVED_BYTES: u64 = 256 << 20;

/// What all requests together may hold of this much memory: half of what is not reserved.
fn share_of(bytes: u64) -> u64 {
    (bytes - RESERVED_BYTES.min(bytes / 2)) / 2
}

/// The limits of the account. By default all requests together may hold half of the memory of the machine or of the cgroup, less
/// [`RESERVED_BYTES`], and those of a tenant three quarters of that, so that no tenant has everything.
pub(super) fn limits(web: &WebArgs, limits: &LimitsConfig) -> MemoryLimits {
    let or_none = |bytes: u64| if bytes == 0 { u64::MAX } else { bytes };
    let all = match limits.max_request_memory.0 {
        0 => of_machine().map_or(DEFAULT_BYTES, share_of),
        bytes => bytes,
    };
    let (of_a_tenant, own) = tenant_limits(all, limits);
    let (pushes, responses) = (or_none(limits.max_inflight_requests_size.0), web.max_unsent_bytes.0);
    MemoryLimits { all, of_a_tenant, own, pushes, responses }
}

/// The size of the cache of blocks, bytes: an eighth of the memory of the machine or of the cgroup, and no more than the default.
pub(super) fn cache_bytes() -> u64 {
    let default = StoreConfig::default().cache_bytes;
    of_machine().map_or(default, |bytes| default.min(bytes / 8))
}

/// The limits of tenants where all requests together may hold `all` bytes.
pub(super) fn tenant_limits(all: u64, limits: &LimitsConfig) -> (u64, HashMap<TenantId, u64>) {
    let or_default = |bytes: u64| if bytes == 0 { all - all / 4 } else { bytes };
    let tenants = limits.overrides.keys().filter_map(|name| TenantId::new(name).ok());
    let own = tenants.map(|tenant| (tenant.clone(), or_default(limits.of_tenant(&tenant).max_request_memory.0)));
    (or_default(limits.defaults.max_request_memory.0), own.collect())
}

/// The memory that the process may use: that of the machine, or less if a cgroup limits it. `None` where nothing says so.
pub(crate) fn of_machine() -> Option<u64> {
    below(Path::new("/"))
}

/// That memory by the file system of which `root` is the root.
fn below(root: &Path) -> Option<u64> {
    let machine = fs::read_to_string(root.join("proc/meminfo")).ok().and_then(|text| {
        let kib = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?.trim().strip_suffix("kB")?;
        kib.trim().parse::<u64>().ok()?.checked_mul(1024)
    });
    let groups = fs::read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
    let limited = groups.lines().flat_map(|line| limit_files(root, line)).filter_map(|file| {
        // Without a limit the file says `max`, or a number beyond all memory.
        fs::read_to_string(file).ok()?.trim().parse::<u64>().ok()
    });
    limited.chain(machine).min()
}

/// The files that may limit the memory of a cgroup and of those around it. `line` is one of `/proc/self/cgroup`.
fn limit_files(root: &Path, line: &str) -> Vec<PathBuf> {
    let mut parts = line.splitn(3, ':').skip(1);
    let (Some(controllers), Some(group)) = (parts.next(), parts.next()) else { return Vec::new() };
    let (mount, file) = match controllers {
        "" => ("sys/fs/cgroup", "memory.max"),
        _ if controllers.split(',').any(|name| name == "memory") => ("sys/fs/cgroup/memory", "memory.limit_in_bytes"),
        _ => return Vec::new(),
    };
    // Inside of a container the group is often the root of what is mounted, whatever its name.
    Path::new(group.trim_start_matches('/')).ancestors().map(|group| root.join(mount).join(group).join(file)).collect()
}

/// Reads the account when metrics are collected.
struct AccountMetrics {
    account: Arc<MemoryAccount>,
    held: IntGaugeVec,
    limit: IntGauge,
    refused: IntCounter,
}

/// Registers the metrics of an account.
pub(super) fn register(registry: &Registry, account: Arc<MemoryAccount>) -> Result<(), prometheus::Error> {
    let held = Opts::new(
        "pharos_request_memory_bytes",
        "Memory that requests hold: pushes, queries, responses that wait for their clients, and scraped bodies.",
    );
    let metrics = AccountMetrics {
        account,
        held: IntGaugeVec::new(held, &["purpose"])?,
        limit: IntGauge::new("pharos_request_memory_limit_bytes", "Memory that all requests together may hold.")?,
        refused: IntCounter::new(
            "pharos_request_memory_refused_total",
            "Requests for more memory that a limit of all requests, of a tenant or of a purpose refused.",
        )?,
    };
    registry.register(Box::new(metrics))
}

impl AccountMetrics {
    fn all(&self) -> [&dyn Collector; 3] {
        [&self.held, &self.limit, &self.refused]
    }
}

impl Collector for AccountMetrics {
    fn desc(&self) -> Vec<&Desc> {
        self.all().into_iter().flat_map(Collector::desc).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let as_gauge = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
        for purpose in Purpose::ALL {
            self.held.with_label_values(&[purpose.name()]).set(as_gauge(self.account.held_for(purpose)));
        }
        self.limit.set(as_gauge(self.account.limit()));
        self.refused.inc_by(self.account.refused().saturating_sub(self.refused.get()));
        self.all().into_iter().flat_map(Collector::collect).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file system with these files.
    fn root(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    const MACHINE: (&str, &str) = ("proc/meminfo", "MemTotal:        4096 kB\nMemFree:  1 kB\n");

    #[test]
    fn requests_leave_room_for_the_rest_of_a_small_machine() {
        assert_eq!(share_of(128 << 20), 32 << 20);
        assert_eq!(share_of(512 << 20), 128 << 20);
        assert_eq!(share_of(8 << 30), (4 << 30) - (128 << 20));
    }

    #[test]
    fn the_memory_of_the_machine_is_the_limit_without_a_cgroup() {
        assert_eq!(below(root(&[MACHINE]).path()), Some(4 << 20));
        assert_eq!(below(root(&[]).path()), None);
    }

    #[test]
    fn the_closest_limit_of_nested_cgroups_counts() {
        let files = [
            MACHINE,
            ("proc/self/cgroup", "0::/system.slice/pharos.service\n"),
            ("sys/fs/cgroup/system.slice/memory.max", "2097152\n"),
            ("sys/fs/cgroup/system.slice/pharos.service/memory.max", "max\n"),
        ];
        assert_eq!(below(root(&files).path()), Some(2 << 20));
    }

    #[test]
    fn a_cgroup_of_version_1_is_read_at_its_mount() {
        let files = [
            MACHINE,
            ("proc/self/cgroup", "5:cpu:/x\n4:memory:/docker/abc\n"),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "1048576\n"),
        ];
        assert_eq!(below(root(&files).path()), Some(1 << 20));
    }

    #[test]
    fn tenants_have_three_quarters_unless_they_have_limits_of_their_own() {
        let mut config = LimitsConfig { max_request_memory: pharos_config::ByteSize(1000), ..LimitsConfig::default() };
        let own = crate::config::TenantOverrides {
            max_request_memory: Some(pharos_config::ByteSize(10)),
            ..crate::config::TenantOverrides::default()
        };
        config.overrides.insert("a".into(), own);
        assert_eq!(tenant_limits(1000, &config), (750, HashMap::from([(TenantId::new("a").unwrap(), 10)])));
    }

    #[test]
    fn the_metrics_are_those_of_the_account() {
        let (registry, account) = (Registry::new(), MemoryAccount::unlimited());
        register(&registry, account.clone()).unwrap();
        let hold = account.open(&TenantId::default(), Purpose::Push);
        hold.draw(7).unwrap();
        let text = crate::metrics::metrics_text(&registry);
        assert!(text.contains("pharos_request_memory_bytes{purpose=\"push\"} 7\n"), "{text}");
        assert!(text.contains("pharos_request_memory_bytes{purpose=\"query\"} 0\n"), "{text}");
    }
}
