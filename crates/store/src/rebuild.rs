//! Rebuilds a lost catalogue from the blocks' own footers. The only place that lists the bucket to learn what exists.

use std::collections::BTreeMap;

use futures::TryStreamExt;
use object_store::ObjectStore;
use object_store::path::Path;
use pharos_block::{BlockError, BlockMeta};
use pharos_cluster::{BlockEntry, CatalogueCommand, Meta, MetaError};
use ulid::Ulid;

/// Why a catalogue could not be rebuilt.
#[derive(Debug, thiserror::Error)]
pub enum RebuildError {
    /// The bucket could not be listed.
    #[error("listing the bucket: {0}")]
    List(#[from] object_store::Error),
    /// A block could not be read, perhaps for the moment only.
    #[error("reading block {folder}: {source}")]
    Read {
        /// The block's folder.
        folder: Path,
        /// What failed.
        source: BlockError,
    },
    /// The catalogue did not take what was found.
    #[error("catalogue: {0}")]
    Meta(#[from] MetaError),
}

/// Commits every sound block of the bucket to an empty catalogue, in the order of their ULIDs; returns how many. Blocks that are damaged or
/// were never uploaded whole are logged and left out; `now_ms` is noted, so that they are not collected as garbage. All are read before the first
/// is committed: where the bucket cannot be read, the catalogue stays empty, and it can be tried again. Of several blocks that cover the same window the first is the main one.
pub async fn rebuild(objects: &dyn ObjectStore, meta: &Meta, now_ms: i64) -> Result<usize, RebuildError> {
    let mut folders: BTreeMap<Ulid, Path> = BTreeMap::new();
    let mut listing = objects.list(None);
    while let Some(object) = listing.try_next().await? {
        let parts: Vec<String> = object.location.parts().map(|part| part.as_ref().to_string()).collect();
        if let [tenant, blocks, id, file] = parts.as_slice()
            && blocks == "blocks"
            && file == "data.parquet"
            && let Ok(ulid) = Ulid::from_string(id)
        {
            folders.insert(ulid, Path::from_iter([tenant.as_str(), "blocks", id.as_str()]));
        }
    }
    let mut sound = Vec::new();
    for folder in folders.values() {
        match BlockMeta::read_from_bucket(objects, folder).await {
            Ok(block) => sound.push(block),
            Err(error @ BlockError::Store(object_store::Error::NotFound { .. })) => {
                tracing::warn!(%folder, %error, "an upload that was never finished is left out of the catalogue")
            }
            Err(source @ BlockError::Store(_)) => return Err(RebuildError::Read { folder: folder.clone(), source }),
            Err(error) => tracing::error!(%folder, %error, "damaged block left out of the catalogue"),
        }
    }
    for block in &sound {
        commit(meta, block).await?;
    }
    if !folders.is_empty() {
        meta.propose(CatalogueCommand::Rebuilt { at_ms: now_ms }).await?;
    }
    Ok(sound.len())
}

#[cfg(test)]
mod tests;

async fn commit(meta: &Meta, block: &BlockMeta) -> Result<(), MetaError> {
    let view = meta.view();
    let known = view.catalogue.tenant(block.tenant.as_str());
    let delta = known.is_some_and(|t| {
        let overlaps = |b: &BlockEntry| b.window_start < block.window_end && block.window_start < b.window_end;
        t.blocks.iter().any(|b| !b.delta && b.resolution_ms == block.resolution && overlaps(b))
    });
    let entry = BlockEntry {
        id: block.id.to_string(),
        window_start: block.window_start,
        window_end: block.window_end,
        min_t: block.min_t,
        max_t: block.max_t,
        shards: block.shards.clone(),
        delta,
        sequence: 0,
        bytes: block.bytes(),
        series: block.series,
        samples: block.samples + block.histograms,
        resolution_ms: block.resolution,
        cut: None,
        digests: Vec::new(),
        meta: String::from_utf8_lossy(&block.to_bytes()).into_owned(),
    };
    let tenant = block.tenant.as_str().to_string();
    let flushed_until = (!delta).then_some(block.window_end);
    meta.propose(CatalogueCommand::CommitBlocks { tenant, blocks: vec![entry], flushed_until }).await.map(|_| ())
}
