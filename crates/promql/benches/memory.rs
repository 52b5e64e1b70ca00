//! Memory and time of queries over growing ranges, evaluated in several step ranges and in a single one.
//!
//! `cargo bench -p pharos-promql --bench memory [hours…]`. The source generates its samples as they are read, so the growth of
//! the process is that of the evaluator and its result. Peaks are the kernel's (`VmHWM`), so this runs on Linux only.

#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs)]

use std::ops::Range;
use std::sync::Arc;

use pharos_model::{
    Budget, Clock, Labels, SelectError, SelectRequest, SeriesBatch, SeriesSet, SeriesView, SystemClock, TimeRange,
};
use pharos_promql::syntax::parse;
use pharos_promql::{Engine, EngineOptions, Querier, QueryOptions};

const INTERVAL: i64 = 15_000;
const SERIES: usize = 2000;

const QUERIES: [&str; 5] = [
    "sum by (code) (rate(http_requests_total[5m]))",
    "histogram_quantile(0.9, sum by (le) (rate(http_requests_total[5m])))",
    "topk(5, rate(http_requests_total[5m]))",
    "sum(rate(http_requests_total[5m]) / rate(other_total[5m]))",
    "quantile(0.9, http_requests_total)",
];

/// Counters with a sample at each interval.
struct Counters(Vec<Labels>);

impl SeriesSet for Counters {
    fn labels(&self) -> &[Labels] {
        &self.0
    }

    fn fetch(&self, series: Range<usize>, range: TimeRange, out: &mut SeriesBatch) -> Result<(), SelectError> {
        let t: Vec<i64> =
            (range.start.div_euclid(INTERVAL) + 1..=range.end.div_euclid(INTERVAL)).map(|i| i * INTERVAL).collect();
        let mut v = Vec::with_capacity(t.len());
        for at in series {
            v.clear();
            v.extend(t.iter().map(|t| (t / INTERVAL * (7 + at as i64 % 11)) as f64));
            out.push(SeriesView { t: &t, v: &v, ..SeriesView::EMPTY });
        }
        Ok(())
    }
}

struct Source;

impl Querier for Source {
    fn select(&self, request: &SelectRequest, _: &Arc<Budget>) -> Result<Arc<dyn SeriesSet>, SelectError> {
        let name = request.matchers.iter().find(|m| m.name == "__name__").map_or("", |m| &m.value);
        let labels = |i: usize| {
            let code = ["200", "204", "400", "404", "500"][i % 5];
            Labels::from_pairs([
                ("__name__", name.to_string()),
                ("code", code.to_string()),
                ("instance", (i / 100).to_string()),
                ("le", (i % 10).to_string()),
                ("pod", i.to_string()),
            ])
        };
        let mut all: Vec<Labels> = (0..SERIES).map(labels).collect();
        all.sort();
        Ok(Arc::new(Counters(all)))
    }
}

/// A value of `/proc/self/status`, KiB.
fn memory(name: &str) -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_ascii_whitespace().nth(1).unwrap().parse().unwrap()
}

/// What an evaluation took.
struct Cost {
    /// Growth of the process at its peak, MiB.
    process: f64,
    /// Peak of the budget, MiB.
    budget: f64,
    seconds: f64,
}

fn measure(query: &str, hours: i64, max_steps_per_range: usize) -> Cost {
    let options =
        EngineOptions { max_steps_per_range, max_samples: 1 << 40, max_memory_bytes: 8 << 30, ..Default::default() };
    let engine = Engine::new(options);
    let expr = parse(query).unwrap();
    // Resets the kernel's peak.
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    let before = memory("VmRSS");
    let clock = SystemClock::new();
    let started = clock.monotonic();
    let end = hours * 3_600_000;
    let output = engine.range(&Source, &expr, 0, end, INTERVAL, &QueryOptions::default()).unwrap();
    let seconds = (clock.monotonic() - started).as_secs_f64();
    let process = (memory("VmHWM") - before) / 1024.0;
    Cost { process, budget: output.stats.peak_bytes as f64 / 1048576.0, seconds }
}

fn main() {
    let requested: Vec<i64> = std::env::args().filter_map(|arg| arg.parse().ok()).collect();
    let hours = if requested.is_empty() { vec![6, 24, 48] } else { requested };
    println!(
        "{SERIES} series, one sample and one step every 15 s; growth of the process in MiB (of the budget), seconds"
    );
    for query in QUERIES {
        println!("{query}");
        for &hours in &hours {
            let split = measure(query, hours, EngineOptions::default().max_steps_per_range);
            let whole = measure(query, hours, 0);
            let show = |cost: Cost| format!("{:7.1} ({:7.1}) {:6.2}", cost.process, cost.budget, cost.seconds);
            println!("  {hours:4} h   step ranges {}   whole {}", show(split), show(whole));
        }
    }
}
