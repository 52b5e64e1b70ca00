//! What the listed blocks hold, read with the production reader, and which of it deletions mask.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use object_store::{ObjectStore, ObjectStoreExt};
use pharos_block::{BlockCache, BlockMeta, BlockReader};
use pharos_cluster::{BlockEntry, Deletion, TenantCatalogue};
use pharos_model::{SeriesBatch, TimeRange};

use crate::model::{Key, Value};
use crate::objects::Bucket;

/// A sample in a listed block.
#[derive(Clone, Debug)]
#[allow(dead_code, reason = "shown when an invariant is broken")]
pub(crate) struct Stored {
    pub(crate) value: Value,
    /// The block's place in the order of commits.
    pub(crate) sequence: u64,
    pub(crate) is_masked: bool,
    pub(crate) block: String,
}

/// The samples of blocks by their names. A block never changes.
#[derive(Default)]
pub(crate) struct Blocks {
    read: HashMap<String, Arc<Vec<(Key, Value)>>>,
}

impl Blocks {
    /// All samples of the listed blocks, by key; masked ones, too.
    ///
    /// # Errors
    /// A listed block that cannot be read.
    pub(crate) async fn stored(
        &mut self,
        bucket: &Bucket,
        catalogue: Option<&Arc<TenantCatalogue>>,
    ) -> Result<BTreeMap<Key, Vec<Stored>>, String> {
        let mut found: BTreeMap<Key, Vec<Stored>> = BTreeMap::new();
        let Some(catalogue) = catalogue else { return Ok(found) };
        for entry in &catalogue.blocks {
            let samples = self.samples(bucket, entry).await.map_err(|e| format!("listed block {}: {e}", entry.id))?;
            for (key, value) in samples.iter() {
                let is_masked = catalogue.deletions.iter().any(|deletion| masks(deletion, entry, *key));
                let stored = Stored { value: *value, sequence: entry.sequence, is_masked, block: entry.id.clone() };
                found.entry(*key).or_default().push(stored);
            }
        }
        Ok(found)
    }

    async fn samples(&mut self, bucket: &Bucket, entry: &BlockEntry) -> Result<Arc<Vec<(Key, Value)>>, String> {
        let meta = BlockMeta::from_bytes(entry.meta.as_bytes()).map_err(|e| e.to_string())?;
        for name in meta.files.keys() {
            let path = meta.folder().join(name.as_str());
            bucket.inner.head(&path).await.map_err(|e| e.to_string())?;
        }
        if let Some(known) = self.read.get(&entry.id) {
            return Ok(known.clone());
        }
        let objects: Arc<dyn ObjectStore> = bucket.inner.clone();
        let (folder, cache) = (meta.folder(), Arc::new(BlockCache::new(0)));
        let reader = BlockReader::open(objects, folder, Arc::new(meta), cache).await.map_err(|e| e.to_string())?;
        let selection = reader.select(&[], TimeRange::ALL, 0).await.map_err(|e| e.to_string())?;
        let mut out = SeriesBatch::default();
        selection.fetch(0..selection.len(), TimeRange::ALL, &mut out).await.map_err(|e| e.to_string())?;
        let samples = Arc::new(samples_of(selection.labels(), &out));
        self.read.insert(entry.id.clone(), samples.clone());
        Ok(samples)
    }
}

/// The samples of a fetch.
pub(crate) fn samples_of<'a>(
    labels: impl IntoIterator<Item = &'a pharos_model::Labels>,
    batch: &SeriesBatch,
) -> Vec<(Key, Value)> {
    let mut samples = Vec::new();
    for (at, labels) in labels.into_iter().enumerate() {
        let series = labels.get("series").and_then(|series| series.parse().ok()).unwrap_or(u32::MAX);
        let view = batch.view(at);
        samples.extend(view.t.iter().zip(view.v).map(|(t, v)| (Key { series, t: *t }, *v as Value)));
    }
    samples
}

/// Whether a deletion hides a sample of a block.
fn masks(deletion: &Deletion, block: &BlockEntry, key: Key) -> bool {
    let is_of_series = match deletion.selector.split_once("series=\"") {
        Some((_, rest)) => rest.split('"').next() == Some(key.series.to_string().as_str()),
        None => true,
    };
    let is_newer = match block.deletions_seen {
        Some(seen) => deletion.sequence > seen,
        None => deletion.sequence >= block.sequence,
    };
    is_of_series && (deletion.start..=deletion.end).contains(&key.t) && is_newer
}
