//! Splits batches by shard, and encodes the shards for the network.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use pharos_model::hash::shard_of;
use pharos_model::wire::append::AppendEncoder;
use pharos_model::write::BatchSeries;
use pharos_model::{TenantId, WriteBatch};
use pharos_transport::append::{Dictionary, EncodedShard, Openings};

/// The limit on all dictionaries together, bytes. Beyond it all of them are restarted.
const MAX_DICTIONARY_BYTES: usize = 1 << 30;
/// The number of writes between two checks of that limit.
const CHECK_INTERVAL: u32 = 4096;

/// The series and metadata of a batch by shard.
pub(super) struct Split {
    /// For each shard, indices into the batch's series.
    series: Vec<Vec<u32>>,
    /// For each shard, indices into the batch's metadata.
    metadata: Vec<Vec<u32>>,
    /// Whether the batch is sent to shards without data, too.
    is_whole: bool,
}

impl Split {
    /// All shards, without any data.
    pub(super) fn whole(shards: u32) -> Split {
        let nothing = || vec![Vec::new(); shards as usize];
        Split { series: nothing(), metadata: nothing(), is_whole: true }
    }

    /// The shards that a batch is sent to, in ascending order: those for which it has any data, or all.
    pub(super) fn shards(&self) -> impl Iterator<Item = u32> + '_ {
        (0..self.series.len())
            .filter(|&shard| self.is_whole || !self.series[shard].is_empty() || !self.metadata[shard].is_empty())
            .map(|shard| shard as u32)
    }

    /// The series of a shard in the order in which they are encoded.
    pub(super) fn series<'a>(&'a self, batch: &'a WriteBatch, shard: u32) -> impl Iterator<Item = &'a BatchSeries> {
        self.series.get(shard as usize).into_iter().flatten().map(|&position| &batch.series()[position as usize])
    }
}

/// Encodes batches. Owns the dictionaries of all tenants and shards.
pub(super) struct Encoder {
    /// Counts opened streams. A new stream does not know earlier dictionaries, so all of them are restarted and then only
    /// contain series that are still in use.
    openings: Openings,
    dictionaries: Mutex<Dictionaries>,
}

#[derive(Default)]
struct Dictionaries {
    by_tenant: HashMap<TenantId, HashMap<u32, Arc<Dictionary>>>,
    writes: u32,
    openings: u64,
}

impl Encoder {
    /// Creates an encoder for streams that `openings` counts.
    pub(super) fn new(openings: Openings) -> Encoder {
        Encoder { openings, dictionaries: Mutex::default() }
    }

    /// Finds the shard of each series. Metadata belongs to the shard of its family's name.
    pub(super) fn split(&self, batch: &WriteBatch, shards: u32) -> Split {
        let mut split = Split { is_whole: false, ..Split::whole(shards) };
        if shards == 0 {
            return split;
        }
        for (position, entry) in (0u32..).zip(batch.series()) {
            split.series[shard_of(entry.hash, shards) as usize].push(position);
        }
        for (position, (family, _)) in (0u32..).zip(&batch.metadata) {
            let shard = shard_of(pharos_model::hash::name_hash(family), shards);
            split.metadata[shard as usize].push(position);
        }
        split
    }

    /// Encodes every shard of a batch.
    pub(super) fn encode(&self, tenant: &TenantId, batch: &WriteBatch, split: &Split) -> Vec<EncodedShard> {
        let dictionaries = self.dictionaries_of(tenant, split);
        let mut encoder = AppendEncoder::default();
        let encode = |(shard, dictionary): (u32, Arc<Dictionary>)| {
            for &position in &split.metadata[shard as usize] {
                let (family, metadata) = &batch.metadata[position as usize];
                encoder.metadata(family, metadata);
            }
            dictionary.encode(shard, batch, split.series(batch, shard), &mut encoder)
        };
        dictionaries.into_iter().map(encode).collect()
    }

    fn dictionaries_of(&self, tenant: &TenantId, split: &Split) -> Vec<(u32, Arc<Dictionary>)> {
        let mut dictionaries = self.dictionaries.lock();
        let openings = self.openings.count();
        if dictionaries.openings != openings {
            dictionaries.openings = openings;
            dictionaries.by_tenant.clear();
        }
        dictionaries.writes += 1;
        if dictionaries.writes >= CHECK_INTERVAL {
            dictionaries.writes = 0;
            let bytes: usize =
                dictionaries.by_tenant.values().flat_map(HashMap::values).map(|dictionary| dictionary.bytes()).sum();
            if bytes > MAX_DICTIONARY_BYTES {
                dictionaries.by_tenant.clear();
            }
        }
        if !dictionaries.by_tenant.contains_key(tenant) {
            dictionaries.by_tenant.insert(tenant.clone(), HashMap::new());
        }
        let Some(of_tenant) = dictionaries.by_tenant.get_mut(tenant) else { return Vec::new() };
        split.shards().map(|shard| (shard, of_tenant.entry(shard).or_default().clone())).collect()
    }
}

#[cfg(test)]
mod tests;
