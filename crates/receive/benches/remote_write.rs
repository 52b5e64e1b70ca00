//! What decoding remote write costs: requests as Prometheus sends them, of 2000 series with one sample each and ten
//! labels of about 200 bytes, into a batch that is used again.

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use pharos_receive::bench::Bench;
use pharos_transport::{prometheus as v1, write_v2 as v2};
use prost::Message;

const SERIES: usize = 2000;

fn main() {
    divan::main();
}

fn labels(i: usize) -> Vec<(String, String)> {
    let pairs = [
        ("__name__", "node_network_receive_packets_total".to_string()),
        ("cluster", "production-eu-1".into()),
        ("container", "node-exporter".into()),
        ("device", format!("eth{}", i % 16)),
        ("endpoint", "metrics".into()),
        ("instance", format!("10.0.{}.{}:9100", i / 256, i % 256)),
        ("job", "node-exporter".into()),
        ("namespace", "monitoring".into()),
        ("pod", format!("node-exporter-{i:05}")),
        ("service", "node-exporter".into()),
    ];
    pairs.into_iter().map(|(name, value)| (name.to_string(), value)).collect()
}

fn v1_request() -> Vec<u8> {
    let timeseries = (0..SERIES).map(|i| v1::TimeSeries {
        labels: labels(i).into_iter().map(|(name, value)| v1::Label { name, value }).collect(),
        samples: vec![v1::Sample { value: i as f64, timestamp: 1_700_000_000_000 + i as i64 }],
        ..Default::default()
    });
    v1::WriteRequest { timeseries: timeseries.collect(), metadata: vec![] }.encode_to_vec()
}

fn v2_request() -> Vec<u8> {
    let mut symbols = vec![String::new()];
    let mut known = std::collections::HashMap::new();
    let mut symbol = |text: String| {
        *known.entry(text.clone()).or_insert_with(|| {
            symbols.push(text);
            symbols.len() as u32 - 1
        })
    };
    let timeseries = (0..SERIES).map(|i| v2::TimeSeries {
        labels_refs: labels(i).into_iter().flat_map(|(n, v)| [symbol(n), symbol(v)]).collect::<Vec<u32>>(),
        samples: vec![v2::Sample { value: i as f64, timestamp: 1_700_000_000_000 + i as i64, start_timestamp: 0 }],
        ..Default::default()
    });
    let timeseries = timeseries.collect();
    v2::Request { symbols, timeseries }.encode_to_vec()
}

#[divan::bench]
fn decode_v1(bencher: Bencher<'_, '_>) {
    let (request, mut bench) = (v1_request(), Bench::default());
    bencher.counter(ItemsCount::new(SERIES)).bench_local(|| bench.decode_v1(black_box(&request)));
}

#[divan::bench]
fn decode_v2(bencher: Bencher<'_, '_>) {
    let (request, mut bench) = (v2_request(), Bench::default());
    bencher.counter(ItemsCount::new(SERIES)).bench_local(|| bench.decode_v2(black_box(&request)));
}

#[divan::bench]
fn prost_v1(bencher: Bencher<'_, '_>) {
    let request = v1_request();
    bencher.counter(ItemsCount::new(SERIES)).bench(|| v1::WriteRequest::decode(black_box(&request[..])));
}
