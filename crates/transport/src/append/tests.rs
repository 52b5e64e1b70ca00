use std::collections::BTreeMap;

use pharos_model::hash::shard_of;
use pharos_model::wire::append::AppendEncoder;
use pharos_model::{Exemplar, Labels, Sample, TenantId, WriteBatch};
use proptest::prelude::*;

use super::sent::Sent;
use super::*;
use crate::ingest_v1::ShardChunk;

const SHARDS: u32 = 3;

/// The series and time of samples, in the order of arrival.
type Arrivals = Vec<(u8, i64)>;

fn labels(series: u8) -> Labels {
    Labels::from_pairs([("__name__", "m"), ("series", &series.to_string())])
}

fn batch(tenant: &TenantId, arrivals: &Arrivals) -> WriteBatch {
    let mut batch = WriteBatch::default();
    for (series, t) in arrivals {
        batch.begin_series(tenant, |out| out.extend_from_slice(labels(*series).as_bytes()));
        batch.samples.push(Sample { t: *t, v: *t as f64 / 3.0, st: 0 });
    }
    batch.finish_series();
    batch
}

fn content(batch: &WriteBatch) -> BTreeMap<Vec<u8>, Vec<(i64, u64)>> {
    let mut found: BTreeMap<Vec<u8>, Vec<(i64, u64)>> = BTreeMap::new();
    for series in batch.series() {
        let samples = batch.samples_of(series).iter().map(|s| (s.t, s.v.to_bits()));
        found.entry(batch.labels_of(series).to_vec()).or_default().extend(samples);
    }
    found
}

fn encode(dictionaries: &[Dictionary], batch: &WriteBatch) -> Vec<EncodedShard> {
    let of_shard = |shard| batch.series().iter().filter(move |s| shard_of(s.hash, SHARDS) == shard);
    let encode =
        |shard: u32| dictionaries[shard as usize].encode(shard, batch, of_shard(shard), &mut AppendEncoder::default());
    (0..SHARDS).map(encode).collect()
}

fn dictionaries() -> Vec<Dictionary> {
    (0..SHARDS).map(|_| Dictionary::default()).collect()
}

/// The chunks that a stream sends for a write.
fn chunks(sent: &mut Sent, shards: &[EncodedShard]) -> Vec<ShardChunk> {
    let (tenant, batch) = (TenantId::default(), WriteBatch::default());
    let (action, shards) = (Action::Append, shards.to_vec());
    let shipment = Shipment { action, tenant: &tenant, batch: &batch, deletions: None, shards };
    let targets: Vec<ShardTarget> = (0..SHARDS).map(|shard| ShardTarget { shard, epoch: 1, counted: true }).collect();
    sent.chunks(&shipment, &targets)
}

fn receive(declared: &mut Declared, chunks: &[ShardChunk]) -> WriteBatch {
    let (tenant, mut received) = (TenantId::default(), WriteBatch::default());
    for chunk in chunks {
        declared.declare(&tenant, SHARDS, chunk).unwrap();
        declared.read(&tenant, chunk, &mut received).unwrap();
    }
    received
}

/// The number of series that chunks declare.
fn count_declared(chunks: &[ShardChunk]) -> usize {
    let count = |chunk: &ShardChunk| {
        let mut reader = pharos_model::wire::Reader::new(&chunk.declared);
        std::iter::from_fn(|| (!reader.is_empty()).then(|| reader.prefixed().unwrap())).count()
    };
    chunks.iter().map(count).sum()
}

/// The chunk that a stream sends after it has declared the first `declared` series of the shard.
fn chunk(shard: &EncodedShard, declared: &mut u32) -> ShardChunk {
    let first = *declared;
    *declared = first.max(shard.series());
    ShardChunk {
        shard: shard.shard,
        epoch: 1,
        counted: true,
        generation: shard.generation(),
        first,
        declared: shard.declarations(first),
        samples: shard.samples(),
    }
}

proptest! {
    #[test]
    fn decoded_batches_equal_the_sent_ones(sent in proptest::collection::vec(
        proptest::collection::vec((any::<u8>(), -1_000i64..1_000), 0..40), 1..6), late in 0usize..6) {
        let tenant = TenantId::default();
        let dictionaries: Vec<Dictionary> = (0..SHARDS).map(|_| Dictionary::default()).collect();
        // The second stream opens later and must declare the series that it missed.
        let mut streams = [(Declared::default(), [0u32; 3]), (Declared::default(), [0u32; 3])];
        for (number, arrivals) in sent.iter().enumerate() {
            let batch = batch(&tenant, arrivals);
            let shards = encode(&dictionaries, &batch);
            for (stream, (declared, counts)) in streams.iter_mut().enumerate() {
                if stream == 1 && number < late {
                    continue;
                }
                let mut received = WriteBatch::default();
                for shard in &shards {
                    let chunk = chunk(shard, &mut counts[shard.shard as usize]);
                    declared.declare(&tenant, SHARDS, &chunk).unwrap();
                    declared.read(&tenant, &chunk, &mut received).unwrap();
                }
                prop_assert_eq!(content(&received), content(&batch));
            }
        }
    }

    #[test]
    fn shards_of_older_and_newer_generations_arrive_in_any_order(sent in proptest::collection::vec(
        (proptest::collection::vec((any::<u8>(), -1_000i64..1_000), 0..40), any::<bool>()), 1..8),
        opened in 0usize..8, first in 0usize..8) {
        let tenant = TenantId::default();
        let (mut dictionaries_now, mut stream, mut shipments) = (dictionaries(), Sent::new(), Vec::new());
        for (number, (arrivals, anew)) in sent.iter().enumerate() {
            if *anew {
                dictionaries_now = dictionaries();
            }
            if number == opened {
                stream = Sent::new();
            }
            let batch = batch(&tenant, arrivals);
            shipments.push((encode(&dictionaries_now, &batch), batch));
        }
        // Some shipments were encoded long before they are sent.
        let first = first % shipments.len();
        shipments.rotate_left(first);
        let mut declared = Declared::default();
        for (shards, batch) in &shipments {
            let received = receive(&mut declared, &chunks(&mut stream, shards));
            prop_assert_eq!(content(&received), content(batch));
        }
    }

    #[test]
    fn hostile_chunks_never_panic(declared in proptest::collection::vec(any::<u8>(), 0..60),
        samples in proptest::collection::vec(any::<u8>(), 0..60), first in 0u32..3) {
        let chunk = ShardChunk { shard: 1, epoch: 1, counted: false, generation: 0, first,
            declared: declared.into(), samples: samples.into() };
        let mut table = Declared::default();
        if table.declare(&TenantId::default(), SHARDS, &chunk).is_ok() {
            let _ = table.read(&TenantId::default(), &chunk, &mut WriteBatch::default());
        }
        let _ = read_copy(&TenantId::default(), &chunk.samples);
    }
}

#[test]
fn a_new_stream_declares_only_series_in_use() {
    let tenant = TenantId::default();
    let all: Arrivals = (0..200).map(|series| (series, 1)).collect();
    let few: Arrivals = [(3, 2), (7, 2), (8, 2), (3, 3)].into();
    let mut old = Sent::new();
    let before = dictionaries();
    assert_eq!(count_declared(&chunks(&mut old, &encode(&before, &batch(&tenant, &all)))), 200);
    // A new stream carries shards that were encoded earlier, and declares no series besides theirs.
    let (mut stream, mut declared) = (Sent::new(), Declared::default());
    for _ in 0..2 {
        let sent = chunks(&mut stream, &encode(&before, &batch(&tenant, &few)));
        assert_eq!(count_declared(&sent), 3);
        assert_eq!(content(&receive(&mut declared, &sent)), content(&batch(&tenant, &few)));
    }
    // Each stream declares the series of a newer dictionary once.
    let after = dictionaries();
    for expected in [3, 0] {
        let shards = encode(&after, &batch(&tenant, &few));
        assert_eq!(count_declared(&chunks(&mut old, &shards)), expected);
        let sent = chunks(&mut stream, &shards);
        assert_eq!(count_declared(&sent), expected);
        assert_eq!(content(&receive(&mut declared, &sent)), content(&batch(&tenant, &few)));
    }
    // A late shard of the previous dictionary does not make the stream declare that whole dictionary.
    assert_eq!(count_declared(&chunks(&mut old, &encode(&before, &batch(&tenant, &few)))), 3);
    assert_eq!(count_declared(&chunks(&mut old, &encode(&after, &batch(&tenant, &few)))), 3);
}

#[test]
fn renumbered_shards_keep_samples_and_exemplars() {
    let tenant = TenantId::default();
    let mut batch = batch(&tenant, &vec![(1, 1), (2, 1)]);
    batch.begin_series(&tenant, |out| out.extend_from_slice(labels(3).as_bytes()));
    batch.exemplars.push(Exemplar { labels: Labels::from_pairs([("trace", "x")]), value: 0.5, t: 9 });
    batch.finish_series();
    let shards = encode(&dictionaries(), &batch);
    let received = receive(&mut Declared::default(), &chunks(&mut Sent::new(), &shards));
    assert_eq!(content(&received), content(&batch));
    assert_eq!(received.exemplars, batch.exemplars);
}

#[test]
fn outcomes_round_trip() {
    let mut outcome = WriteOutcome { samples: 3, new_series: 1, ..WriteOutcome::default() };
    for _ in 0..2 {
        outcome.reject(RejectReason::TooOld, || "first".into());
    }
    assert_eq!(outcome_from(wire::WriteOutcome::from(&outcome)), outcome);
}
