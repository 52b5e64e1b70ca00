//! Reading a body of the text format: into nothing, with series that were expected and with series that were not.

use divan::counter::BytesCount;
use pharos_model::Histogram;
use pharos_scrape::exposition::{
    ExpositionError, Format, HistogramOptions, MetadataField, SampleIndex, SampleInfo, SeriesKey, Sink,
};

fn main() {
    divan::main();
}

/// A body as node_exporter has it: families of eight series.
fn body(series: usize) -> Vec<u8> {
    let mut body = String::new();
    for i in 0..series {
        if i % 8 == 0 {
            body += &format!(
                "# HELP node_metric_{i} Seconds the CPUs spent in each mode.\n# TYPE node_metric_{i} counter\n"
            );
        }
        let family = i - i % 8;
        body += &format!(
            "node_metric_{family}{{cpu=\"{}\",device=\"/dev/mapper/vg-{i}\",mode=\"system\"}} {}.{}\n",
            i % 8,
            i * 977,
            i % 100
        );
    }
    body.into_bytes()
}

/// Remembers the keys of the first pass and expects them in the second.
#[derive(Default)]
struct Counting {
    keys: Vec<Vec<u8>>,
    next: usize,
    is_learning: bool,
    sum: f64,
}

impl Sink for Counting {
    fn expected(&self) -> &[u8] {
        self.keys.get(self.next).map_or(b"", Vec::as_slice)
    }

    fn metadata(&mut self, family: &str, _: MetadataField<'_>) {
        self.sum += family.len() as f64;
    }

    fn float(&mut self, series: SeriesKey<'_>, v: f64, _: SampleInfo<'_>) -> Result<SampleIndex, ExpositionError> {
        if self.is_learning {
            self.keys.push(series.key.to_vec());
        }
        self.next += 1;
        self.sum += v;
        Ok(None)
    }

    fn histogram(&mut self, _: SeriesKey<'_>, _: Histogram, _: SampleInfo<'_>) -> Result<(), ExpositionError> {
        Ok(())
    }

    fn set_start(&mut self, _: SampleIndex, _: i64) {}
}

fn read(body: &[u8], sink: &mut Counting) -> f64 {
    sink.next = 0;
    match Format::Text.parse(body, HistogramOptions::default(), sink) {
        Ok(()) => sink.sum,
        Err(error) => panic!("{error}"),
    }
}

#[divan::bench]
fn text_unexpected(bencher: divan::Bencher<'_, '_>) {
    let body = body(4320);
    bencher.counter(BytesCount::of_slice(&body)).bench_local(|| read(&body, &mut Counting::default()));
}

#[divan::bench]
fn text_expected(bencher: divan::Bencher<'_, '_>) {
    let body = body(4320);
    let mut sink = Counting { is_learning: true, ..Counting::default() };
    read(&body, &mut sink);
    sink.is_learning = false;
    bencher.counter(BytesCount::of_slice(&body)).bench_local(|| read(&body, &mut sink));
}
