//! What an agent has declared on a stream, and the chunks that follow.
//!
//! A stream never declares a numbering that is older than itself, or than another that it has declared already: such a numbering
//! may hold millions of series, dead ones too, and all of them would be in one message. Samples that refer to one are numbered
//! anew, by themselves ([`EncodedShard::alone`]); [`Openings`] tells the encoder to begin anew, so that this ends soon.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use pharos_model::TenantId;

use super::dictionary::next_generation;
use super::{EncodedShard, ShardTarget, Shipment};
use crate::ingest_v1::ShardChunk;

/// Counts the streams that a sender has opened; clones share the count. After each, dictionaries are to begin anew.
#[derive(Clone, Debug, Default)]
pub struct Openings(Arc<AtomicU64>);

impl Openings {
    /// How many so far.
    pub fn count(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }

    /// One more.
    pub fn add(&self) {
        self.0.fetch_add(1, Ordering::Release);
    }
}

/// What was declared on one stream.
pub(super) struct Sent {
    /// Numberings below this number are older than the stream.
    born: u32,
    tenants: HashMap<TenantId, HashMap<u32, Known>>,
}

/// What the other side knows of a shard.
struct Known {
    /// The newest numbering of a dictionary that was declared; no older one is.
    newest: u32,
    /// The numbering that the other side has.
    generation: u32,
    /// How many of its series were declared.
    declared: u32,
}

impl Sent {
    /// Of a stream that is opened now. Who counts it in [`Openings`] does so after this.
    pub(super) fn new() -> Sent {
        Sent { born: next_generation(), tenants: HashMap::new() }
    }

    /// The chunks of a request, which must be sent in the order of these calls.
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
    /// A chunk with the declarations that the other side still lacks.
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
