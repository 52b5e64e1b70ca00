//! The metrics of a host.

use super::series::{Labels, Series, Shape, scramble};

/// Label sets that a metric has along one dimension. The series of a metric are the product of its dimensions.
type Dimension = Vec<Labels>;

/// All series of a host. Hosts have equally many, told apart by `instance`.
pub(crate) fn host(number: u64) -> Vec<Series> {
    let mut host = Host::new(number);
    host.add_node();
    host.add_service();
    host.add_runtime();
    host.add_pods();
    host.series
}

/// A host whose series are being collected.
struct Host {
    number: u64,
    identity: Labels,
    series: Vec<Series>,
}

/// Parts of a node's memory that vary, as the node exporter names them.
const MEMORY: [&str; 16] = [
    "MemFree",
    "MemAvailable",
    "Buffers",
    "Cached",
    "Dirty",
    "Active",
    "Inactive",
    "Mapped",
    "Shmem",
    "Slab",
    "SReclaimable",
    "KernelStack",
    "PageTables",
    "Committed_AS",
    "AnonPages",
    "VmallocUsed",
];

impl Host {
    fn new(number: u64) -> Self {
        let octets = [number >> 16, number >> 8, number].map(|bits| bits & 255);
        let zone = ["zone-a", "zone-b", "zone-c"][(number % 3) as usize];
        let identity = vec![
            pair("cluster", format!("prod-{}", number % 4)),
            pair("instance", format!("10.{}.{}.{}:9100", octets[0], octets[1], octets[2])),
            pair("zone", zone),
        ];
        Host { number, identity, series: Vec::with_capacity(512) }
    }

    /// Adds a metric: one series for each combination of its dimensions.
    fn add(&mut self, job: &str, name: &str, shape: Shape, dimensions: &[&Dimension]) {
        let mut sets = vec![Labels::from([pair("__name__", name), pair("job", job)])];
        for dimension in dimensions {
            let combine =
                |set: &Labels| dimension.iter().map(|more| [set.as_slice(), more].concat()).collect::<Vec<_>>();
            sets = sets.iter().flat_map(combine).collect();
        }
        for labels in sets {
            self.series.push(Series::new([self.identity.as_slice(), &labels].concat(), shape));
        }
    }

    /// What a node exporter shows.
    fn add_node(&mut self) {
        let job = "node";
        let cpus = values("cpu", (0..8).map(|cpu| cpu.to_string()));
        let busy = values("mode", ["idle", "iowait", "irq", "softirq", "system", "user"]);
        let unused = values("mode", ["nice", "steal"]);
        self.add(job, "node_cpu_seconds_total", Shape::Seconds, &[&cpus, &busy]);
        self.add(job, "node_cpu_seconds_total", Shape::Fixed(0.0), &[&cpus, &unused]);

        self.add(job, "node_memory_MemTotal_bytes", Shape::Fixed(16_777_216_000.0), &[]);
        for name in ["SwapTotal", "SwapFree", "HugePages_Total"] {
            self.add(job, &format!("node_memory_{name}_bytes"), Shape::Fixed(0.0), &[]);
        }
        for (index, name) in MEMORY.iter().enumerate() {
            let around = 1 << (33 - index % 10);
            self.add(job, &format!("node_memory_{name}_bytes"), Shape::Bytes { around }, &[]);
        }

        let interfaces = values("device", ["eth0", "eth1", "lo", "docker0"]);
        for direction in ["receive", "transmit"] {
            let events = |per_step| Shape::Events { per_step };
            for (kind, shape) in [("bytes", events(300_000)), ("packets", events(900))] {
                self.add(job, &format!("node_network_{direction}_{kind}_total"), shape, &[&interfaces]);
            }
            for kind in ["errs", "drop"] {
                self.add(job, &format!("node_network_{direction}_{kind}_total"), Shape::Fixed(0.0), &[&interfaces]);
            }
        }

        let disks = values("device", ["nvme0n1", "nvme1n1", "sda"]);
        for name in ["reads_completed_total", "writes_completed_total", "read_bytes_total", "written_bytes_total"] {
            self.add(job, &format!("node_disk_{name}"), Shape::Events { per_step: 1800 }, &[&disks]);
        }
        for name in ["io_time_seconds_total", "read_time_seconds_total", "write_time_seconds_total"] {
            self.add(job, &format!("node_disk_{name}"), Shape::Seconds, &[&disks]);
        }

        let mounts = [("/dev/nvme0n1p1", "/"), ("/dev/nvme1n1", "/data"), ("tmpfs", "/run"), ("/dev/sda1", "/boot")];
        let mounts: Dimension = mounts
            .map(|(device, point)| vec![pair("device", device), pair("fstype", "ext4"), pair("mountpoint", point)])
            .into();
        for (name, shape) in [
            ("size_bytes", Shape::Fixed(100_000_000_000.0)),
            ("files", Shape::Fixed(6_553_600.0)),
            ("readonly", Shape::Fixed(0.0)),
            ("avail_bytes", Shape::Bytes { around: 1 << 35 }),
            ("free_bytes", Shape::Bytes { around: 1 << 35 }),
            ("files_free", Shape::Bytes { around: 1 << 22 }),
        ] {
            self.add(job, &format!("node_filesystem_{name}"), shape, &[&mounts]);
        }

        for name in ["node_load1", "node_load5", "node_load15"] {
            self.add(job, name, Shape::Load, &[]);
        }
        self.add(job, "up", Shape::Fixed(1.0), &[]);
    }

    /// Requests of an HTTP service.
    fn add_service(&mut self) {
        let job = "api";
        let paths =
            ["/", "/login", "/api/v1/users", "/api/v1/orders", "/api/v1/items", "/search", "/metrics", "/healthz"];
        let handlers = values("handler", paths);
        for (method, code, per_step) in [
            ("GET", "200", 600),
            ("GET", "404", 6),
            ("GET", "500", 2),
            ("POST", "200", 160),
            ("POST", "400", 4),
            ("POST", "500", 2),
        ] {
            let outcome = vec![vec![pair("code", code), pair("method", method)]];
            self.add(job, "http_requests_total", Shape::Events { per_step }, &[&handlers, &outcome]);
        }

        let bounds = ["0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "5", "10", "+Inf"];
        let observations = |share| Shape::Observations { per_step: 60, share };
        for (bound, share) in bounds.into_iter().zip(1..) {
            let bucket = values("le", [bound]);
            self.add(job, "http_request_duration_seconds_bucket", observations(share), &[&handlers, &bucket]);
        }
        let all = observations(bounds.len() as u64);
        self.add(job, "http_request_duration_seconds_count", all, &[&handlers]);
        self.add(job, "http_request_duration_seconds_sum", Shape::Seconds, &[&handlers]);
        self.add(job, "up", Shape::Fixed(1.0), &[]);
    }

    /// What the Go runtime of the service shows.
    fn add_runtime(&mut self) {
        for (name, around) in [
            ("go_goroutines", 1 << 20),
            ("go_threads", 1 << 17),
            ("go_memstats_alloc_bytes", 1 << 27),
            ("go_memstats_heap_inuse_bytes", 1 << 27),
            ("go_memstats_heap_objects", 1 << 21),
            ("go_memstats_stack_inuse_bytes", 1 << 23),
            ("process_open_fds", 1 << 19),
            ("process_resident_memory_bytes", 1 << 28),
        ] {
            self.add("api", name, Shape::Bytes { around }, &[]);
        }
        for name in ["process_cpu_seconds_total", "go_gc_duration_seconds_sum"] {
            self.add("api", name, Shape::Seconds, &[]);
        }
    }

    /// What cAdvisor and kube-state-metrics show of the pods on this host.
    fn add_pods(&mut self) {
        let containers = values("container", ["app", "sidecar"]);
        for pod in 0..12 {
            let id = scramble(self.number * 31 + pod) & 0xf_ffff;
            let identity = vec![pair("namespace", format!("ns-{}", pod % 5)), pair("pod", format!("svc-{pod}-{id:x}"))];
            let dimensions: [&Dimension; 2] = [&vec![identity], &containers];
            let received = Shape::Events { per_step: 8000 };
            let restarts = Shape::Fixed((pod % 3) as f64);
            self.add("cadvisor", "container_cpu_usage_seconds_total", Shape::Seconds, &dimensions);
            self.add("cadvisor", "container_memory_working_set_bytes", Shape::Bytes { around: 1 << 28 }, &dimensions);
            self.add("cadvisor", "container_network_receive_bytes_total", received, &dimensions);
            self.add("kube-state-metrics", "kube_pod_container_status_restarts_total", restarts, &dimensions);
        }
    }
}

/// A dimension of one label.
fn values<T: Into<String>>(name: &str, values: impl IntoIterator<Item = T>) -> Dimension {
    values.into_iter().map(|value| vec![pair(name, value)]).collect()
}

fn pair(name: &str, value: impl Into<String>) -> (String, String) {
    (name.to_string(), value.into())
}
