//! Queries: a query that parses is printed, parsed again, and evaluated over a few series within a budget.

use std::sync::OnceLock;
use std::time::Duration;

use pharos_promql::promqltest::{MemoryStore, SeriesValue, parse_series};
use pharos_promql::syntax::{self, parse, parse_metric_selector};
use pharos_promql::{Engine, EngineOptions, QueryOptions};

/// Series at an interval of 30 s, in the language of promqltest.
const SERIES: [&str; 9] = [
    r#"requests_total{job="a", instance="0"} 0+10x50"#,
    r#"requests_total{job="a", instance="1"} 0+7x20 0+3x30"#,
    r#"requests_total{job="b", instance="0"} 1 stale _ 4 NaN Inf -Inf 5+1x30"#,
    r#"gauge{job="a"} 3-1x50"#,
    r#"bucket{le="0.5"} 0+1x50"#,
    r#"bucket{le="1"} 0+2x50"#,
    r#"bucket{le="+Inf"} 0+3x50"#,
    r#"native{job="a"} {{schema:1 sum:4 count:10 z_bucket:1 z_bucket_w:0.001 buckets:[2 4 3] n_buckets:[1]}}+{{schema:1 sum:1 count:2 buckets:[1 1]}}x40"#,
    r#"custom{job="a"} {{schema:-53 sum:4 count:6 custom_values:[1 2 5] buckets:[1 2 2 1]}}x20 7 8"#,
];

fn store() -> &'static MemoryStore {
    static STORE: OnceLock<MemoryStore> = OnceLock::new();
    STORE.get_or_init(|| {
        let mut store = MemoryStore::default();
        for line in SERIES {
            let (labels, values) = parse_series(line).expect("a series");
            for (at, value) in values.into_iter().enumerate() {
                let t = at as i64 * 30_000;
                match value {
                    SeriesValue::Omitted => {}
                    SeriesValue::Float(v) => store.add_floats(&labels, [(t, v, 0)]),
                    SeriesValue::Histogram(h, _) => store.add_histograms(&labels, [(t, h, 0)]),
                }
            }
        }
        store.finish_load();
        store
    })
}

fn engine() -> Engine {
    Engine::new(EngineOptions {
        max_samples: 100_000,
        max_memory_bytes: 64 << 20,
        timeout: Duration::from_secs(1),
        threads: 1,
        ..EngineOptions::default()
    })
}

/// Runs one input.
pub fn run(data: &[u8]) {
    let Ok(query) = std::str::from_utf8(data) else { return };
    let _ = parse_metric_selector(query);
    let Ok(expr) = parse(query) else { return };
    let printed = expr.to_string();
    let again = parse(&printed).unwrap_or_else(|e| panic!("{printed:?}, printed from {query:?}, does not parse: {e}"));
    assert_eq!(again.to_string(), printed, "printed from {query:?}");
    let pretty = syntax::pretty(&expr);
    let again = parse(&pretty).unwrap_or_else(|e| panic!("{pretty:?}, pretty form of {query:?}, does not parse: {e}"));
    assert_eq!(again.to_string(), printed, "pretty form of {query:?}");
    let options = QueryOptions { text: query.into(), ..QueryOptions::default() };
    let _ = engine().instant(store(), &expr, 900_000, &options);
    let _ = engine().range(store(), &expr, 300_000, 1_500_000, 97_000, &options);
}

/// Valid inputs.
pub fn seeds() -> Vec<Vec<u8>> {
    let queries = [
        "sum by (job) (rate(requests_total[5m])) / on (job) group_left (instance) count by (job) (gauge)",
        "histogram_quantile(0.9, sum by (le) (rate(bucket[5m])))",
        "histogram_quantile(0.9, rate(native[5m])) or histogram_avg(custom) or histogram_fraction(0, 1, native)",
        "topk(2, requests_total{instance=~\"0|1\", job!=\"b\"} offset -1m) and requests_total @ end()",
        "max_over_time((deriv(gauge[3m]) ^ 2 % 7)[10m:30s] @ start()) unless ignoring (job) gauge",
        "label_replace(label_join(gauge, \"x\", \"-\", \"job\"), \"y\", \"$1\", \"job\", \"(.*)\")",
        "quantile_over_time(scalar(gauge), requests_total[5m]) > bool -0x1F + 1e3 - .5 != +Inf",
        "predict_linear(gauge[5m], 3600) + time() * pi() - vector(1) + day_of_week()",
        "count_values without (instance) (\"v\", {__name__=~\"requests.*\"}) or absent(nothing{a=\"b\"})",
        "double_exponential_smoothing(gauge[5m], 0.5, 0.5) + holt_winters(gauge[5m], 0.5, 0.5)",
        "{\"quoted.name\", \"l.n\"=\"v\", a='b', c=`d`} # a comment",
        "sort_by_label_desc(limitk(2, requests_total), \"job\") or limit_ratio(-0.5, requests_total)",
        "requests_total[5m] smoothed or increase(requests_total[5m] anchored)",
        "info(requests_total, {job=\"a\"}) or mad_over_time(gauge[5m]) or ts_of_max_over_time(gauge[5m])",
        "sum(rate(requests_total[$__rate_interval])) or rate(x[1h30m15s10ms])",
        "requests_total + fill(0) gauge or requests_total offset (5m - 30s)[max(step(), 1m):]",
        "native * 2 - native == native >= custom",
        "group_left bool and or unless by without",
    ];
    queries.iter().map(|q| q.as_bytes().to_vec()).collect()
}
