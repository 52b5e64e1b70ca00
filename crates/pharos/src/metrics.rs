//! The metrics endpoint's text, and the metrics of the process: `process_*` from `/proc` and `pharos_build_info`.

use std::fs;
use std::path::Path;

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{Counter, Gauge, GaugeVec, Opts, Registry, TextEncoder};

/// All metrics of the registry in the text format 0.0.4.
pub fn metrics_text(registry: &Registry) -> String {
    let families = registry.gather();
    let mut text = String::with_capacity(64 << 10);
    // The encoder writes to memory. It only fails on a family that a collector built wrongly, which is then omitted.
    for family in &families {
        let complete = text.len();
        if let Err(error) = TextEncoder::new().encode_utf8(std::slice::from_ref(family), &mut text) {
            text.truncate(complete);
            tracing::warn!(metric = family.name(), %error, "omitting metric family that cannot be encoded");
        }
    }
    text
}

/// Registers `pharos_build_info`, and `process_*` on systems with `/proc`.
pub fn register_process_metrics(registry: &Registry) -> Result<(), prometheus::Error> {
    let labels = ["version", "revision", "rust_version"];
    let info = GaugeVec::new(
        Opts::new("pharos_build_info", "Constant 1, with version, revision and compiler version as labels."),
        &labels,
    )?;
    info.with_label_values(&[VERSION, REVISION, RUST_VERSION]).set(1.0);
    registry.register(Box::new(info))?;
    if Path::new("/proc/self/stat").exists() {
        registry.register(Box::new(ProcessMetrics::new()?))?;
    }
    Ok(())
}

/// The version of Pharos.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The revision that was built, if `PHAROS_REVISION` was set at build time.
pub const REVISION: &str = match option_env!("PHAROS_REVISION") {
    Some(revision) => revision,
    None => "unknown",
};
const RUST_VERSION: &str = env!("CARGO_PKG_RUST_VERSION");

/// Clock ticks in `/proc` (`USER_HZ`), which is 100 on every Linux.
const TICKS_PER_SECOND: f64 = 100.0;

/// `process_*`, read from `/proc` when metrics are gathered.
struct ProcessMetrics {
    cpu_seconds: Counter,
    open_fds: Gauge,
    max_fds: Gauge,
    virtual_bytes: Gauge,
    resident_bytes: Gauge,
    start_time: Gauge,
    threads: Gauge,
}

impl ProcessMetrics {
    fn new() -> Result<Self, prometheus::Error> {
        Ok(ProcessMetrics {
            cpu_seconds: Counter::new("process_cpu_seconds_total", "User and system CPU time in seconds.")?,
            open_fds: Gauge::new("process_open_fds", "Number of open file descriptors.")?,
            max_fds: Gauge::new("process_max_fds", "Maximum number of open file descriptors.")?,
            virtual_bytes: Gauge::new("process_virtual_memory_bytes", "Virtual memory size in bytes.")?,
            resident_bytes: Gauge::new("process_resident_memory_bytes", "Resident memory size in bytes.")?,
            start_time: Gauge::new(
                "process_start_time_seconds",
                "Start time of the process in seconds since the epoch.",
            )?,
            threads: Gauge::new("process_threads", "Number of threads.")?,
        })
    }

    fn read(&self) -> Option<()> {
        let stat = Stat::parse(&fs::read_to_string("/proc/self/stat").ok()?)?;
        let status = fs::read_to_string("/proc/self/status").ok()?;
        let boot_seconds = field(&fs::read_to_string("/proc/stat").ok()?, "btime ")?;
        let cpu_seconds = stat.cpu_ticks / TICKS_PER_SECOND;
        self.cpu_seconds.inc_by((cpu_seconds - self.cpu_seconds.get()).max(0.0));
        self.start_time.set(boot_seconds + stat.start_ticks / TICKS_PER_SECOND);
        self.threads.set(stat.threads);
        self.virtual_bytes.set(stat.virtual_bytes);
        self.resident_bytes.set(field(&status, "VmRSS:")? * 1024.0);
        self.max_fds.set(field(&fs::read_to_string("/proc/self/limits").ok()?, "Max open files")?);
        // Reading the folder opens a descriptor of its own.
        self.open_fds.set(fs::read_dir("/proc/self/fd").ok()?.count().saturating_sub(1) as f64);
        Some(())
    }

    fn all(&self) -> [&dyn Collector; 7] {
        [
            &self.cpu_seconds,
            &self.open_fds,
            &self.max_fds,
            &self.virtual_bytes,
            &self.resident_bytes,
            &self.start_time,
            &self.threads,
        ]
    }
}

impl Collector for ProcessMetrics {
    fn desc(&self) -> Vec<&Desc> {
        self.all().into_iter().flat_map(Collector::desc).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        match self.read() {
            Some(()) => self.all().into_iter().flat_map(Collector::collect).collect(),
            None => Vec::new(),
        }
    }
}

/// Fields of `/proc/self/stat`.
#[derive(Debug, PartialEq)]
struct Stat {
    cpu_ticks: f64,
    threads: f64,
    start_ticks: f64,
    virtual_bytes: f64,
}

impl Stat {
    fn parse(text: &str) -> Option<Stat> {
        // The program's name is in parentheses and may contain any character. Field 3 follows it.
        let (_, rest) = text.rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        let number = |index: usize| fields.get(index - 3)?.parse::<f64>().ok();
        Some(Stat {
            cpu_ticks: number(14)? + number(15)?,
            threads: number(20)?,
            start_ticks: number(22)?,
            virtual_bytes: number(23)?,
        })
    }
}

/// The first number on the line that starts with `name`.
fn field(text: &str, name: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn process_metrics_are_plausible() {
        let registry = Registry::new();
        register_process_metrics(&registry).unwrap();
        let text = metrics_text(&registry);
        let value = |name: &str| {
            let line = text.lines().find(|line| line.starts_with(&format!("{name} "))).expect(name);
            line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()
        };
        assert!(value("process_resident_memory_bytes") > 1e5);
        assert!(value("process_virtual_memory_bytes") >= value("process_resident_memory_bytes"));
        assert!(value("process_open_fds") >= 3.0 && value("process_max_fds") >= value("process_open_fds"));
        assert!(value("process_start_time_seconds") > 1.6e9 && value("process_threads") >= 1.0);
        assert!(value("process_cpu_seconds_total") >= 0.0);
        assert!(text.contains(&format!("pharos_build_info{{revision=\"{REVISION}\",rust_version=")), "{text}");
        for family in text.lines().filter(|line| line.starts_with("# TYPE ")) {
            let name = family.split(' ').nth(2).unwrap();
            assert!(text.contains(&format!("# HELP {name} ")), "{name}");
        }
    }

    #[test]
    fn a_program_name_may_contain_parentheses() {
        let text = "1 (a) b (c) S 0 0 0 0 0 0 0 0 0 0 150 50 0 0 20 0 7 0 4242 8192 9";
        let stat = Stat { cpu_ticks: 200.0, threads: 7.0, start_ticks: 4242.0, virtual_bytes: 8192.0 };
        assert_eq!(Stat::parse(text), Some(stat));
        for bad in ["", "1 (x", "1 (x) S 1 2"] {
            assert_eq!(Stat::parse(bad), None);
        }
    }
}
