//! A deterministic fleet of hosts. Each exposes the same few hundred series of a node, services and containers, scraped every
//! 15 s for two hours with jitter. A few processes restart, and a few targets go away.

use pharos_model::{Labels, STALE_NAN, SeriesHash, TenantId, series_hash};

/// Samples of a series that lasts for the whole window.
pub(crate) const STEPS: usize = 480;

/// How much the values change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Load {
    /// As on real machines: most series are constant, and counters grow in bursts.
    Typical,
    /// Four of five series change at every scrape, by evenly distributed random steps. There is little to compress.
    Noisy,
}

pub(crate) struct Series {
    pub(crate) labels: Labels,
    pub(crate) hash: SeriesHash,
    pub(crate) t: Vec<i64>,
    pub(crate) v: Vec<f64>,
}

#[derive(Clone, Copy)]
enum Kind {
    Constant(f64),
    /// Whole numbers that grow by up to this much a scrape.
    Counter(u64),
    /// Hundredths of seconds.
    Seconds,
    /// Bytes in pages of 4,096 around a base.
    Bytes(u64),
    /// A ratio with two digits.
    Ratio,
    /// A quotient with all its digits.
    Float,
}

fn mix(mut z: u64) -> u64 {
    z = z.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The scrape times of a target.
fn times(target: u64) -> Vec<i64> {
    let offset = (mix(target) % 15_000) as i64;
    (0..STEPS as i64).map(|i| i * 15_000 + offset + (mix(target ^ (i as u64) << 20) % 3) as i64).collect()
}

fn values(kind: Kind, seed: u64, load: Load) -> Vec<f64> {
    let noise = |i: u64| mix(seed ^ i.wrapping_mul(0x2545_f491_4f6c_dd1d));
    let rests = load == Load::Typical && seed % 100 < 52;
    if rests {
        return values(Kind::Constant((seed % 1000) as f64), seed, Load::Noisy);
    }
    let mut total = seed % 1_000_000;
    let restart = (seed % 400 == 1).then_some(seed as usize / 400 % STEPS);
    let grow = |total: &mut u64, i: usize, most: u64| {
        let n = noise(i as u64);
        *total = if restart == Some(i) { 0 } else { *total };
        *total += match load {
            Load::Noisy => n % (most + 1),
            // Bursts: often small, sometimes large.
            Load::Typical => (n % (most + 1)) >> (n >> 40 & 7),
        };
        *total
    };
    (0..STEPS)
        .map(|i| match kind {
            Kind::Constant(value) => value,
            Kind::Counter(most) => grow(&mut total, i, most) as f64,
            Kind::Seconds => grow(&mut total, i, 100 + seed % 1200) as f64 / 100.0,
            Kind::Bytes(base) => {
                let wander = ((i as f64 / 40.0 + (seed % 100) as f64).sin() * 0.1 + 1.0) * base as f64;
                let still = load == Load::Typical && noise(i as u64) % 4 != 0;
                let noise = if still { 0 } else { noise(i as u64) % (base / 50 + 1) };
                ((wander as u64 + noise) & !4095) as f64
            }
            Kind::Ratio => {
                ((i as f64 / 25.0 + (seed % 77) as f64).sin() * 200.0 + (noise(i as u64) % 50) as f64).round() / 100.0
            }
            Kind::Float => (noise(i as u64) % 1_000_003) as f64 / 7919.0,
        })
        .collect()
}

/// The series of some hosts, in label order.
pub(crate) fn fleet(hosts: u64, load: Load) -> Vec<Series> {
    let mut all: Vec<Series> = (0..hosts).flat_map(|host| host_series(host, load)).collect();
    all.sort_by(|a, b| a.labels.cmp(&b.labels));
    all
}

fn host_series(host: u64, load: Load) -> Vec<Series> {
    let mut out = Vec::new();
    let instance = format!("10.{}.{}.{}:9100", host >> 16 & 255, host >> 8 & 255, host & 255);
    let zone = ["a", "b", "c"][host as usize % 3];
    let cluster = format!("prod-{}", host % 4);
    let mut add = |job: &str, name: &str, extra: &[(&str, &str)], kind: Kind| {
        let mut pairs =
            vec![("__name__", name), ("cluster", &cluster), ("instance", &instance), ("job", job), ("zone", zone)];
        pairs.extend_from_slice(extra);
        let labels = Labels::from_pairs(pairs);
        let hash = series_hash(&TenantId::default(), labels.as_bytes());
        let target = host * 8 + job.len() as u64 % 8;
        let mut t = times(target);
        let mut v = values(kind, hash, load);
        if host % 97 == 13 {
            // The target goes away halfway through.
            t.truncate(STEPS / 2);
            v.truncate(STEPS / 2);
            v[STEPS / 2 - 1] = STALE_NAN;
        }
        out.push(Series { labels, hash, t, v });
    };
    for cpu in ["0", "1", "2", "3", "4", "5", "6", "7"] {
        for mode in ["idle", "iowait", "irq", "nice", "softirq", "steal", "system", "user"] {
            let kind = if matches!(mode, "steal" | "nice" | "irq") { Kind::Constant(0.0) } else { Kind::Seconds };
            add("node", "node_cpu_seconds_total", &[("cpu", cpu), ("mode", mode)], kind);
        }
    }
    for (i, name) in
        ["MemFree", "MemAvailable", "Cached", "Dirty", "Active", "Mapped", "Slab", "AnonPages"].iter().enumerate()
    {
        add("node", &format!("node_memory_{name}_bytes"), &[], Kind::Bytes(1 << (24 + i)));
    }
    for name in ["MemTotal", "SwapTotal", "HugePages_Total", "VmallocUsed"] {
        add("node", &format!("node_memory_{name}_bytes"), &[], Kind::Constant(16_777_216_000.0));
    }
    for device in ["eth0", "eth1", "lo", "docker0"] {
        for name in ["receive_bytes", "transmit_bytes", "receive_packets", "transmit_packets"] {
            add("node", &format!("node_network_{name}_total"), &[("device", device)], Kind::Counter(300_000));
        }
        for name in ["receive_errs", "transmit_errs", "receive_drop", "transmit_drop"] {
            add("node", &format!("node_network_{name}_total"), &[("device", device)], Kind::Constant(0.0));
        }
    }
    for device in ["nvme0n1", "nvme1n1", "sda"] {
        for name in ["reads_completed", "writes_completed", "read_bytes", "written_bytes"] {
            add("node", &format!("node_disk_{name}_total"), &[("device", device)], Kind::Counter(1800));
        }
        add("node", "node_disk_io_time_seconds_total", &[("device", device)], Kind::Seconds);
    }
    for name in ["node_load1", "node_load5", "node_load15"] {
        add("node", name, &[], Kind::Ratio);
    }
    for handler in ["/", "/login", "/users", "/orders", "/items", "/search", "/metrics", "/healthz"] {
        for (method, code, rate) in
            [("GET", "200", 600), ("GET", "404", 6), ("GET", "500", 2), ("POST", "200", 160), ("POST", "500", 2)]
        {
            add(
                "api",
                "http_requests_total",
                &[("handler", handler), ("method", method), ("code", code)],
                Kind::Counter(rate),
            );
        }
        for (i, le) in ["0.005", "0.01", "0.05", "0.1", "0.5", "1", "5", "+Inf"].iter().enumerate() {
            add(
                "api",
                "http_request_duration_seconds_bucket",
                &[("handler", handler), ("le", le)],
                Kind::Counter(60 * (i as u64 + 1)),
            );
        }
        add("api", "http_request_duration_seconds_sum", &[("handler", handler)], Kind::Seconds);
    }
    for name in ["go_goroutines", "go_memstats_alloc_bytes", "process_resident_memory_bytes"] {
        add("api", name, &[], Kind::Bytes(1 << 27));
    }
    add("api", "cache_hit_ratio", &[], Kind::Float);
    for pod in 0..12u64 {
        let pod_name = format!("svc-{pod}-{:x}", mix(host * 31 + pod) & 0xfffff);
        for container in ["app", "sidecar"] {
            let extra = [("pod", pod_name.as_str()), ("container", container)];
            add("cadvisor", "container_cpu_usage_seconds_total", &extra, Kind::Seconds);
            add("cadvisor", "container_memory_working_set_bytes", &extra, Kind::Bytes(1 << 28));
            add("cadvisor", "container_network_receive_bytes_total", &extra, Kind::Counter(8000));
            add("cadvisor", "kube_pod_container_status_restarts_total", &extra, Kind::Constant((pod % 3) as f64));
        }
    }
    out
}
