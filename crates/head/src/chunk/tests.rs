use pharos_model::Span;

use super::*;

fn floats(chunk: &Chunk) -> Vec<(i64, f64)> {
    let mut t = Vec::new();
    let mut v = Vec::new();
    chunk.view().floats(&mut t, &mut v, None);
    t.into_iter().zip(v).collect()
}

fn histograms(chunk: &Chunk) -> Vec<HistogramSample> {
    let mut all = Vec::new();
    chunk.view().histograms(|s| all.push(s));
    all
}

fn sample(t: i64) -> Sample {
    Sample { t, v: t as f64, st: 0 }
}

fn histogram(t: i64) -> HistogramSample {
    let h = Histogram {
        count: t as f64,
        sum: t as f64 / 2.0,
        positive_spans: vec![Span { offset: (t % 3) as i32, length: 2 }],
        positive_buckets: vec![t as f64, 1.0],
        ..Histogram::default()
    };
    HistogramSample { t, st: t / 10, h: Arc::new(h) }
}

fn same(a: &[HistogramSample], b: &[HistogramSample]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.t == b.t && a.st == b.st && a.h == b.h)
}

#[test]
fn a_sealed_chunk_holds_the_samples_of_the_open_one() {
    let mut open = OpenFloats::new(&sample(10), 3);
    open.append(&sample(20));
    let chunk = open.seal();
    assert_eq!(floats(&chunk), [(10, 10.0), (20, 20.0)]);
    let view = chunk.view();
    assert_eq!(view.min_t, 10);
    assert_eq!(view.max_t, 20);
    assert_eq!(view.generation, 3);
    assert_eq!(view.kind, ChunkKind::Float);
}

#[test]
fn a_start_timestamp_changes_the_kind_of_a_chunk() {
    let mut open = OpenFloats::new(&sample(10), 0);
    assert_eq!(open.view().kind, ChunkKind::Float);
    open.append(&Sample { st: 5, ..sample(20) });
    assert_eq!(open.view().kind, ChunkKind::FloatStarted);
}

#[test]
fn an_open_chunk_takes_samples_of_its_window_and_generation_only() {
    let open = OpenFloats::new(&sample(100), 3);
    assert!(open.takes(100, 3));
    assert!(open.takes(0, 3));
    assert!(!open.takes(101, 3), "the chunk began in an earlier window");
    assert!(!open.takes(100, 4), "the window was cut");
    let open = OpenHistograms::new(&histogram(100), 3);
    assert!(open.takes(100, 3));
    assert!(!open.takes(101, 3));
    assert!(!open.takes(100, 4));
}

#[test]
fn a_chunk_of_constant_floats_is_full_at_the_sample_limit() {
    let mut open = OpenFloats::new(&Sample { t: 0, v: 1.0, st: 0 }, 0);
    let mut taken = 1;
    while open.takes(0, 0) {
        open.append(&Sample { t: taken, v: 1.0, st: 0 });
        taken += 1;
    }
    assert_eq!(taken, i64::from(MAX_SAMPLES));
}

#[test]
fn a_chunk_of_random_floats_is_full_at_the_byte_limit() {
    let mut open = OpenFloats::new(&sample(0), 0);
    let mut t = 0;
    while open.takes(0, 0) {
        t += 1;
        open.append(&Sample { t, v: (t as f64).sqrt(), st: 0 });
    }
    assert!(t < i64::from(MAX_SAMPLES));
    assert!(open.view().bytes.len() < MAX_FLOAT_BYTES + 24);
}

#[test]
fn growth_adds_up_to_the_memory_of_the_chunk() {
    let mut open = OpenFloats::new(&sample(0), 0);
    let mut bytes = open.heap_bytes();
    for t in 1..200 {
        bytes += open.append(&Sample { t, v: (t as f64).sqrt(), st: 0 });
    }
    assert_eq!(bytes, open.heap_bytes());
}

#[test]
fn floats_are_sealed_into_as_many_chunks_as_they_need() {
    let samples: Vec<Sample> = (0..3000).map(sample).collect();
    let mut chunks = Vec::new();
    seal_floats(&samples, 7, &mut chunks);
    assert!(chunks.len() > 1);
    assert!(chunks.iter().all(|chunk| chunk.view().generation == 7));
    let all: Vec<_> = chunks.iter().flat_map(floats).collect();
    assert_eq!(all, samples.iter().map(|s| (s.t, s.v)).collect::<Vec<_>>());
}

#[test]
fn histograms_are_sealed_into_as_many_chunks_as_they_need() {
    let samples: Vec<HistogramSample> = (1..500).map(histogram).collect();
    let mut chunks = Vec::new();
    seal_histograms(&samples, 7, &mut chunks);
    assert!(chunks.len() > 1);
    assert!(same(&chunks.iter().flat_map(histograms).collect::<Vec<_>>(), &samples));
}

#[test]
fn sealing_nothing_makes_no_chunk() {
    let mut chunks = Vec::new();
    seal_floats(&[], 0, &mut chunks);
    seal_histograms(&[], 0, &mut chunks);
    assert!(chunks.is_empty());
}

#[test]
fn histograms_keep_irregular_times_and_start_timestamps() {
    let samples = [histogram(-5), histogram(0), histogram(7), histogram(1000)];
    let mut open = OpenHistograms::new(&samples[0], 0);
    samples[1..].iter().for_each(|s| open.append(s));
    assert_eq!(open.view().min_t, -5);
    assert_eq!(open.view().max_t, 1000);
    assert!(same(&histograms(&open.seal()), &samples));
}

#[test]
fn truncated_histograms_end_the_decoding_early() {
    let mut open = OpenHistograms::new(&histogram(1), 0);
    (2..20).for_each(|t| open.append(&histogram(t)));
    let chunk = open.seal();
    let whole = histograms(&chunk);
    for len in 0..chunk.bytes.len() {
        let truncated = Chunk { bytes: chunk.bytes[..len].into(), ..chunk.clone() };
        let found = histograms(&truncated);
        assert!(found.len() < whole.len());
        assert!(same(&found, &whole[..found.len()]));
    }
}
