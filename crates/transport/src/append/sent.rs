//! The sending end of a stream of appends: tracks which series an agent has declared, and builds the chunks.
//!
//! A stream never declares a generation of a dictionary that is older than the stream, or older than a generation that
//! it has already declared. Such a generation may hold millions of series, many of them stale, and all of them would go
//! into one message. Samples that refer to one are encoded again in a generation of their own
//! ([`EncodedShard::alone`]). [`Openings`] tells the encoder to start new generations, so that this is soon over.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use pharos_model::TenantId;

use super::dictionary::next_generation;
use super::{EncodedShard, ShardTarget, Shipment};
use crate::ingest_v1::ShardChunk;

/// Counts the streams that a sender has opened. Clones share the count. The sender replaces its dictionaries whenever
/// the count has changed.
#[derive(Clone, Debug, Default)]
pub struct Openings(Arc<AtomicU64>);

impl Openings {
    /// The number of streams opened so far.
    pub fn count(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }

    /// Counts one more stream.
    pub fn add(&self) {
        self.0.fetch_add(1, Ordering::Release);
    }
}

/// The series that were declared on one stream.
pub(super) struct Sent {
    /// Generations below this number are older than the stream.
    born: u32,
    tenants: HashMap<TenantId, HashMap<u32, Known>>,
}

/// The receiver's knowledge of a shard.
struct Known {
    /// The newest generation of a dictionary that was declared. Older ones are never declared.
    newest: u32,
    /// The generation that the receiver holds.
    generation: u32,
    /// The number of its series that were declared.
    declared: u32,
}

impl Sent {
    /// Creates the state of a newly opened stream. The caller must count the stream in [`Openings`] only afterwards.
    pub(super) fn new() -> Sent {
        Sent { born: next_generation(), tenants: HashMap::new() }
    }

    /// Builds the chunks of a request. Requests must be sent in the order of these calls.
    pub(super) fn chunks(&mut self, shipment: &Shipment<'_>, targets: &[ShardTarget]) -> Vec<ShardChunk> {
        let born = self.born;
        let shards = self.tenants.entry(shipment.tenant.clone()).or_default();
        let chunk = |target: &ShardTarget| {
            let at = shipment.shards.binary_search_by_key(&target.shard, |shard| shard.shard).ok()?;
            let none = || Known { newest: born, generation: 0, declared: 0 };
            Some(shards.entry(target.shard).or_insert_with(none).chunk(&shipment.shards[at], target))
        };
        targets.iter().filter_map(chunk).collect()
    }
}

impl Known {
    /// Builds a chunk with the declarations that the receiver lacks.
    fn chunk(&mut self, shard: &EncodedShard, target: &ShardTarget) -> ShardChunk {
        let of_shard = ShardChunk {
            shard: shard.shard,
            epoch: target.epoch,
            counted: target.counted,
            generation: shard.generation(),
            ..ShardChunk::default()
        };
        if shard.generation() < self.newest
            && let Ok(alone) = shard.alone()
        {
            (self.generation, self.declared) = (alone.generation, alone.series);
            let (declared, samples) = (alone.declared, alone.samples);
            return ShardChunk { generation: alone.generation, declared, samples, ..of_shard };
        }
        self.newest = self.newest.max(shard.generation());
        if self.generation != shard.generation() {
            (self.generation, self.declared) = (shard.generation(), 0);
        }
        let first = self.declared;
        self.declared = first.max(shard.series());
        ShardChunk { first, declared: shard.declarations(first), samples: shard.samples(), ..of_shard }
    }
}
