//! What a long range takes: memory and time of queries over growing ranges, evaluated in slices of time and as a whole.
//!
//! `cargo bench -p pharos-promql --bench memory [hours…]`. The source makes its samples as they are read, so what the process grows by
//! is the evaluator's and the answer's. Peaks are those of the kernel (`VmHWM`), so this runs on Linux only.

#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs)]

use std::ops::Range;
use std::sync::Arc;

use pharos_model::{
    Budget, Clock, Labels, SelectError, SelectRequest, SeriesBatch, SeriesSet, SeriesView, SystemClock, TimeRange,
};
use pharos_promql::parser::parse;
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

/// A figure of this process, KiB.
fn memory(name: &str) -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_ascii_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Evaluates; returns the growth of memory at its peak, the peak of the budget (MiB) and the time (s).
fn measure(query: &str, hours: i64, max_steps_per_range: usize) -> (f64, f64, f64) {
    let options =
        EngineOptions { max_steps_per_range, max_samples: 1 << 40, max_memory_bytes: 8 << 30, ..Default::default() };
    let (engine, expr) = (Engine::new(options), parse(query).unwrap());
    // Begins the kernel's peak anew.
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    let (before, clock) = (memory("VmRSS"), SystemClock::new());
    let started = clock.monotonic();
    let end = hours * 3_600_000;
    let output = engine.range(&Source, &expr, 0, end, INTERVAL, &QueryOptions::default()).unwrap();
    let seconds = (clock.monotonic() - started).as_secs_f64();
    ((memory("VmHWM") - before) / 1024.0, output.stats.peak_bytes as f64 / 1048576.0, seconds)
}

fn main() {
    let asked: Vec<i64> = std::env::args().filter_map(|arg| arg.parse().ok()).collect();
    let hours = if asked.is_empty() { vec![6, 24, 48] } else { asked };
    println!("{SERIES} series, a sample and a step each 15 s; MiB by which the process grew (MiB of the budget), s");
    for query in QUERIES {
        println!("{query}");
        for &hours in &hours {
            let slices = measure(query, hours, EngineOptions::default().max_steps_per_range);
            let whole = measure(query, hours, 0);
            let show = |(grew, budget, s): (f64, f64, f64)| format!("{grew:7.1} ({budget:7.1}) {s:6.2}");
            println!("  {hours:4} h   slices {}   whole {}", show(slices), show(whole));
        }
    }
}
