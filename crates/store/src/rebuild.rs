//! Rebuilds a lost catalogue from the footers of the blocks, and completes a restored one. This and garbage collection are the
//! only code that lists the bucket.

use std::collections::{BTreeMap, BTreeSet};

use futures::TryStreamExt;
use object_store::ObjectStore;
use object_store::path::{Path, PathPart};
use pharos_block::{BlockError, BlockMeta};
use pharos_cluster::{
    BlockEntry, Catalogue, CatalogueCommand, ClusterState, Meta, MetaError, Refusal, RemovalReason, catalogue,
};
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

/// What a recovery has found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Blocks of the bucket that were committed.
    pub committed: usize,
    /// Listed blocks that the bucket does not have, and that were removed from the catalogue.
    pub missing: usize,
}

/// A block in the bucket.
struct Found {
    folder: Path,
    /// Time of its data file by the clock of the object store, milliseconds since the epoch.
    modified_ms: i64,
}

/// The blocks in the bucket, in order of their ULIDs.
async fn list(objects: &dyn ObjectStore) -> Result<BTreeMap<Ulid, Found>, RebuildError> {
    let mut found = BTreeMap::new();
    let mut listing = objects.list(None);
    while let Some(object) = listing.try_next().await? {
        if let Some((id, folder)) = block_of(&object.location) {
            let modified_ms = object.last_modified.timestamp_millis();
            found.insert(id, Found { folder, modified_ms });
        }
    }
    Ok(found)
}

/// The id and folder of the block whose data file an object is, in whichever tenant's folder.
fn block_of(data_file: &Path) -> Option<(Ulid, Path)> {
    let parts: Vec<PathPart<'_>> = data_file.parts().collect();
    let [_tenant, blocks, id, file] = parts.as_slice() else { return None };
    let is_data = blocks.as_ref() == "blocks" && file.as_ref() == "data.parquet";
    let id = Ulid::from_string(id.as_ref()).ok().filter(|_| is_data)?;
    Some((id, Path::from_iter(parts[..3].iter().cloned())))
}

/// Reads the metadata of the block in a folder. Fails unless queries find the block there, too.
async fn read_block(objects: &dyn ObjectStore, folder: &Path) -> Result<BlockMeta, BlockError> {
    let block = BlockMeta::read_from_bucket(objects, folder).await?;
    let expected = block.folder();
    if expected == *folder {
        return Ok(block);
    }
    // A disk that ignores case may list it under another name.
    match BlockMeta::read_from_bucket(objects, &expected).await {
        Err(BlockError::Store(object_store::Error::NotFound { .. })) => {
            let reason = format!("its folder is {folder}, but by its metadata it belongs in {expected}; move it there");
            Err(BlockError::Meta { block: block.id.to_string(), reason })
        }
        other => other,
    }
}

/// Reads the blocks in these folders. Damaged ones and unfinished uploads are logged and omitted.
async fn read<'a>(
    objects: &dyn ObjectStore,
    folders: impl Iterator<Item = &'a Path>,
) -> Result<Vec<BlockMeta>, RebuildError> {
    let mut intact = Vec::new();
    for folder in folders {
        match read_block(objects, folder).await {
            Ok(block) => intact.push(block),
            Err(error @ BlockError::Store(object_store::Error::NotFound { .. })) => {
                tracing::warn!(%folder, %error, "omitting unfinished upload from the catalogue")
            }
            Err(source @ BlockError::Store(_)) => return Err(RebuildError::Read { folder: folder.clone(), source }),
            Err(error) => tracing::error!(%folder, %error, "omitting damaged block from the catalogue"),
        }
    }
    Ok(intact)
}

/// Commits every intact block of the bucket to an empty catalogue, in order of their ULIDs, and returns their number.
///
/// Damaged blocks and unfinished uploads are logged and omitted; `now_ms` is recorded so that they are not collected as
/// garbage. All blocks are read before the first one is committed. So if the bucket cannot be read, the catalogue stays
/// empty and the rebuild can be repeated. The first of several blocks over the same window becomes its main block.
///
/// Deletions that the catalogue has stay. Numbers begin above those of a lost catalogue, because heads skip deletions whose
/// number is not above the last one that they carried out.
pub async fn rebuild(objects: &dyn ObjectStore, meta: &Meta, now_ms: i64) -> Result<usize, RebuildError> {
    let found = list(objects).await?;
    let intact = read(objects, found.values().map(|block| &block.folder)).await?;
    if !found.is_empty() {
        // No catalogue has assigned a sequence every millisecond since the epoch.
        let sequence = u64::try_from(now_ms).unwrap_or(0);
        meta.propose(CatalogueCommand::Rebuilt { at_ms: now_ms, sequence }).await?;
    }
    for block in &intact {
        commit(meta, block).await?;
    }
    Ok(intact.len())
}

/// How much older than the newest block of an export an upload may be and still count as newer than the export, milliseconds. A
/// block is uploaded before it is committed, and perhaps long before.
const EXPORT_SLACK_MS: i64 = 86_400_000;

/// Completes the catalogue after an export was restored: commits the blocks of the bucket that are newer than the export and
/// that the catalogue neither lists nor has removed, and removes listed blocks that the bucket does not have. It can be repeated.
///
/// `before` is the state into which the export was restored. If it had developed from the export without another restore, it
/// knew every commit, and what it did not list was not committed.
pub async fn recover(
    objects: &dyn ObjectStore,
    meta: &Meta,
    export: &ClusterState,
    before: &ClusterState,
) -> Result<Recovered, RebuildError> {
    // Read first: what is committed during the listing is in the bucket, but perhaps not in the listing.
    let catalogue = meta.view().catalogue.clone();
    let found = list(objects).await?;
    let knew_all = before.descends_from(export) && before.incarnation == export.incarnation;
    let committed = match knew_all {
        true => 0,
        false => commit_lost(objects, meta, &export.catalogue, &found).await?,
    };
    let missing = remove_missing(meta, &catalogue, &found).await?;
    Ok(Recovered { committed, missing })
}

/// Commits the blocks that are newer than an export and that the catalogue neither lists nor has removed.
async fn commit_lost(
    objects: &dyn ObjectStore,
    meta: &Meta,
    export: &Catalogue,
    found: &BTreeMap<Ulid, Found>,
) -> Result<usize, RebuildError> {
    let catalogue = meta.view().catalogue.clone();
    let exported: BTreeSet<&str> =
        export.tenants.values().flat_map(|tenant| &tenant.blocks).map(|block| block.id.as_str()).collect();
    let of_export = found.iter().filter(|(id, _)| exported.contains(id.to_string().as_str()));
    let newest_of_export = of_export.map(|(_, block)| block.modified_ms).max();
    let since = newest_of_export.map_or(i64::MIN, |newest| newest.saturating_sub(EXPORT_SLACK_MS));
    let mut known: BTreeSet<&str> = BTreeSet::new();
    for tenant in catalogue.tenants.values() {
        known.extend(tenant.blocks.iter().map(|block| block.id.as_str()));
        known.extend(tenant.removed.iter().map(|removal| removal.id.as_str()));
    }
    let is_lost =
        |(id, block): &(&Ulid, &Found)| block.modified_ms >= since && !known.contains(id.to_string().as_str());
    let lost: Vec<&Path> = found.iter().filter(is_lost).map(|(_, block)| &block.folder).collect();
    let intact = read(objects, lost.into_iter()).await?;
    for block in &intact {
        commit(meta, block).await?;
    }
    Ok(intact.len())
}

/// Removes blocks that a catalogue listed before the bucket was listed, and that the bucket does not have.
async fn remove_missing(
    meta: &Meta,
    catalogue: &Catalogue,
    found: &BTreeMap<Ulid, Found>,
) -> Result<usize, RebuildError> {
    let mut count = 0;
    for (tenant, of_tenant) in &catalogue.tenants {
        let is_there = |id: &str| Ulid::from_string(id).is_ok_and(|id| found.contains_key(&id));
        let listed = of_tenant.blocks.iter().map(|block| &block.id);
        let ids: Vec<String> = listed.filter(|id| !is_there(id)).cloned().collect();
        if ids.is_empty() {
            continue;
        }
        count += ids.len();
        tracing::warn!(
            tenant,
            blocks = ids.len(),
            first = ids[0],
            "removing blocks that the object store does not have from the catalogue"
        );
        let (tenant, at_ms, reason) = (tenant.clone(), meta.clock().now_ms(), RemovalReason::Missing);
        meta.propose(CatalogueCommand::RemoveBlocks { tenant, ids, at_ms, reason }).await?;
    }
    Ok(count)
}

/// Commits a block as the main block of its window, or as a delta block if the window has one.
async fn commit(meta: &Meta, block: &BlockMeta) -> Result<(), MetaError> {
    loop {
        match try_commit(meta, block).await {
            // An ingester has committed the main block meanwhile.
            Err(MetaError::Refused(Refusal::Catalogue(catalogue::Refusal::Covered { .. }))) => {}
            committed => return committed,
        }
    }
}

async fn try_commit(meta: &Meta, block: &BlockMeta) -> Result<(), MetaError> {
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
