//! Splits batches by shard and codes the shards for the network.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use pharos_model::hash::shard_of;
use pharos_model::wire::append::AppendEncoder;
use pharos_model::{TenantId, WriteBatch};
use pharos_transport::append::{Dictionary, EncodedShard, Openings};

/// When the series of all dictionaries take more bytes, all begin anew.
const MAX_DICTIONARY_BYTES: usize = 1 << 30;
/// Writes between two looks at the size of the dictionaries.
const WRITES_BETWEEN_LOOKS: u32 = 4096;

/// Which series and metadata of a batch belong to which shard.
pub(super) struct Split {
    /// Positions in the batch's series, by shard.
    series: Vec<Vec<u32>>,
    /// Positions in the batch's metadata, by shard.
    metadata: Vec<Vec<u32>>,
}

impl Split {
    /// The shards that the batch has something of, ascending.
    pub(super) fn shards(&self) -> impl Iterator<Item = u32> + '_ {
        (0..self.series.len())
            .filter(|&shard| !self.series[shard].is_empty() || !self.metadata[shard].is_empty())
            .map(|shard| shard as u32)
    }
}

/// Codes batches; keeps the dictionaries of all tenants and shards.
pub(super) struct Encoder {
    /// The streams that were opened. A new one is told of no dictionary of before, so all begin anew: with the series in use.
    openings: Openings,
    dictionaries: Mutex<Dictionaries>,
}

#[derive(Default)]
struct Dictionaries {
    of: HashMap<TenantId, HashMap<u32, Arc<Dictionary>>>,
    writes: u32,
    openings: u64,
}

impl Encoder {
    /// An encoder for streams whose openings are counted.
    pub(super) fn new(openings: Openings) -> Encoder {
        Encoder { openings, dictionaries: Mutex::default() }
    }

    /// Finds the shard of each series. What is said of a metric family belongs to the shard of its name.
    pub(super) fn split(&self, batch: &WriteBatch, shards: u32) -> Split {
        let mut split =
            Split { series: vec![Vec::new(); shards as usize], metadata: vec![Vec::new(); shards as usize] };
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

    /// Codes every shard of a batch.
    pub(super) fn encode(&self, tenant: &TenantId, batch: &WriteBatch, split: &Split) -> Vec<EncodedShard> {
        let dictionaries = self.dictionaries_of(tenant, split);
        let mut encoder = AppendEncoder::default();
        let encode = |(shard, dictionary): (u32, Arc<Dictionary>)| {
            for &position in &split.metadata[shard as usize] {
                let (family, metadata) = &batch.metadata[position as usize];
                encoder.metadata(family, metadata);
            }
            let series = split.series[shard as usize].iter().map(|&position| &batch.series()[position as usize]);
            dictionary.encode(shard, batch, series, &mut encoder)
        };
        dictionaries.into_iter().map(encode).collect()
    }

    fn dictionaries_of(&self, tenant: &TenantId, split: &Split) -> Vec<(u32, Arc<Dictionary>)> {
        let mut dictionaries = self.dictionaries.lock().unwrap_or_else(PoisonError::into_inner);
        let openings = self.openings.count();
        if dictionaries.openings != openings {
            dictionaries.openings = openings;
            dictionaries.of.clear();
        }
        dictionaries.writes += 1;
        if dictionaries.writes >= WRITES_BETWEEN_LOOKS {
            dictionaries.writes = 0;
            let bytes = dictionaries.of.values().flat_map(HashMap::values).map(|dictionary| dictionary.bytes()).sum();
            if MAX_DICTIONARY_BYTES < bytes {
                dictionaries.of.clear();
            }
        }
        if !dictionaries.of.contains_key(tenant) {
            dictionaries.of.insert(tenant.clone(), HashMap::new());
        }
        let Some(of_tenant) = dictionaries.of.get_mut(tenant) else { return Vec::new() };
        split.shards().map(|shard| (shard, of_tenant.entry(shard).or_default().clone())).collect()
    }
}

#[cfg(test)]
mod tests {
    use pharos_model::{Labels, Sample};

    use super::*;

    fn write(encoder: &Encoder, series: std::ops::Range<u32>) -> Vec<EncodedShard> {
        let (tenant, mut batch) = (TenantId::default(), WriteBatch::default());
        for series in series {
            let labels = Labels::from_pairs([("__name__", "m"), ("series", &series.to_string())]);
            batch.begin_series(&tenant, |out| out.extend_from_slice(labels.as_bytes()));
            batch.samples.push(Sample { t: 1, v: 1.0, st: 0 });
        }
        batch.finish_series();
        let split = encoder.split(&batch, 1);
        encoder.encode(&tenant, &batch, &split)
    }

    #[test]
    fn after_a_stream_was_opened_only_series_in_use_are_numbered() {
        let openings = Openings::default();
        let encoder = Encoder::new(openings.clone());
        let before = write(&encoder, 0..100);
        let same = write(&encoder, 0..3);
        assert_eq!((same[0].generation(), same[0].series()), (before[0].generation(), 100));
        openings.add();
        let after = write(&encoder, 0..3);
        assert!(after[0].generation() > before[0].generation());
        assert_eq!(after[0].series(), 3);
        assert_eq!(write(&encoder, 3..4)[0].series(), 4, "once an opening");
    }
}
