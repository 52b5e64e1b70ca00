//! Rebuilds a lost catalogue from the footers of the blocks. This and garbage collection are the only code that lists the bucket.

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
    /// A block could not be read. The cause may be temporary.
    #[error("reading block {folder}: {source}")]
    Read {
        /// Folder of the block.
        folder: Path,
        /// The cause.
        source: BlockError,
    },
    /// The blocks could not be committed.
    #[error("commit to the catalogue: {0}")]
    Meta(#[from] MetaError),
}

/// Commits every intact block of the bucket to an empty catalogue, in order of their ULIDs, and returns their number.
///
/// Damaged blocks and unfinished uploads are logged and omitted; `now_ms` is recorded so that they are not collected as
/// garbage. All blocks are read before the first one is committed. So if the bucket cannot be read, the catalogue stays
/// empty and the rebuild can be repeated. The first of several blocks over the same window becomes its main block.
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
    let mut intact = Vec::new();
    for folder in folders.values() {
        match BlockMeta::read_from_bucket(objects, folder).await {
            Ok(block) => intact.push(block),
            Err(error @ BlockError::Store(object_store::Error::NotFound { .. })) => {
                tracing::warn!(%folder, %error, "omitting unfinished upload from the catalogue")
            }
            Err(source @ BlockError::Store(_)) => return Err(RebuildError::Read { folder: folder.clone(), source }),
            Err(error) => tracing::error!(%folder, %error, "omitting damaged block from the catalogue"),
        }
    }
    for block in &intact {
        commit(meta, block).await?;
    }
    if !folders.is_empty() {
        meta.propose(CatalogueCommand::Rebuilt { at_ms: now_ms }).await?;
    }
    Ok(intact.len())
}

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
        // Without a number it was cut before the tenant's first deletion, or by a version that wrote none.
        deletions_seen: (block.deletions_seen > 0).then_some(block.deletions_seen),
        meta: String::from_utf8_lossy(&block.to_bytes()).into_owned(),
    };
    let tenant = block.tenant.as_str().to_string();
    let flushed_until = (!delta).then_some(block.window_end);
    meta.propose(CatalogueCommand::CommitBlocks { tenant, blocks: vec![entry], flushed_until }).await.map(|_| ())
}

#[cfg(test)]
mod tests;
