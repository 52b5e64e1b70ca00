//! Garbage collection: deletes the objects of blocks that the catalogue does not list, which are uncommitted uploads and
//! removed blocks.

use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use pharos_cluster::Catalogue;
use ulid::Ulid;

/// Deletes the objects of unlisted blocks that were created before `created_before` (milliseconds since the epoch) and returns
/// their number. Objects that are not part of a block (`<tenant>/blocks/<ulid>/<file>`) are kept.
pub async fn collect(
    store: &dyn ObjectStore,
    catalogue: &Catalogue,
    created_before: i64,
) -> Result<u64, object_store::Error> {
    let mut deleted = 0;
    let mut objects = store.list(None);
    while let Some(object) = objects.try_next().await? {
        if is_garbage(&object.location, catalogue, created_before) {
            store.delete(&object.location).await?;
            deleted += 1;
        }
    }
    Ok(deleted)
}

fn is_garbage(path: &Path, catalogue: &Catalogue, created_before: i64) -> bool {
    let parts: Vec<String> = path.parts().map(|part| part.as_ref().to_string()).collect();
    let [tenant, folder, id, _file] = parts.as_slice() else { return false };
    let Ok(ulid) = Ulid::from_string(id) else { return false };
    let listed = || catalogue.tenant(tenant).is_some_and(|t| t.blocks.iter().any(|block| block.id == *id));
    let is_old = |created: i64| catalogue.rebuilt_ms <= created && created < created_before;
    folder == "blocks" && i64::try_from(ulid.timestamp_ms()).is_ok_and(is_old) && !listed()
}

#[cfg(test)]
mod tests;
