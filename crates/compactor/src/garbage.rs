//! Deletes objects of blocks that the catalogue does not list: uploads that were never committed, and removed blocks.

use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use pharos_cluster::Catalogue;
use ulid::Ulid;

/// Deletes what belongs to unlisted blocks made before `born_before` (milliseconds since the epoch); returns how many
/// objects that were. Objects that are no part of a block (`<tenant>/blocks/<ulid>/<file>`) are left alone.
pub async fn collect(
    store: &dyn ObjectStore,
    catalogue: &Catalogue,
    born_before: i64,
) -> Result<u64, object_store::Error> {
    let mut deleted = 0;
    let mut objects = store.list(None);
    while let Some(object) = objects.try_next().await? {
        if is_garbage(&object.location, catalogue, born_before) {
            store.delete(&object.location).await?;
            deleted += 1;
        }
    }
    Ok(deleted)
}

fn is_garbage(path: &Path, catalogue: &Catalogue, born_before: i64) -> bool {
    let parts: Vec<String> = path.parts().map(|part| part.as_ref().to_string()).collect();
    let [tenant, folder, id, _file] = parts.as_slice() else { return false };
    let Ok(ulid) = Ulid::from_string(id) else { return false };
    let listed = || catalogue.tenant(tenant).is_some_and(|t| t.blocks.iter().any(|block| block.id == *id));
    let is_old = |born: i64| catalogue.rebuilt_ms <= born && born < born_before;
    folder == "blocks" && i64::try_from(ulid.timestamp_ms()).is_ok_and(is_old) && !listed()
}

#[cfg(test)]
mod tests {
    use object_store::memory::InMemory;
    use pharos_cluster::{BlockEntry, CatalogueCommand, Meta};

    use super::*;

    fn entry(id: &str, max_t: i64) -> BlockEntry {
        BlockEntry {
            id: id.into(),
            window_start: 0,
            window_end: 1000,
            min_t: 0,
            max_t,
            shards: vec![],
            delta: true,
            sequence: 0,
            bytes: 1,
            series: 1,
            samples: 1,
            resolution_ms: 0,
            cut: None,
            digests: Vec::new(),
            meta: String::new(),
        }
    }

    #[tokio::test]
    async fn only_old_unlisted_blocks_are_collected() {
        let folder = tempfile::tempdir().unwrap();
        let meta = Meta::open(folder.path(), "A").await.unwrap();
        let (old, new, kept) = (Ulid::from_parts(10, 1), Ulid::from_parts(500, 2), Ulid::from_parts(20, 3));
        let blocks = vec![entry(&kept.to_string(), 900), entry(&Ulid::from_parts(30, 4).to_string(), 50)];
        meta.propose(CatalogueCommand::CommitBlocks { tenant: "t".into(), blocks, flushed_until: None }).await.unwrap();
        assert_eq!(crate::retention::expire(&meta, 100).await.unwrap(), 1);
        let store = InMemory::new();
        let path = |id: &Ulid| Path::from(format!("t/blocks/{id}/data.parquet"));
        for path in [path(&old), path(&new), path(&kept), Path::from("t/other/file"), Path::from("t/blocks/notes/x")] {
            store.put(&path, "x".into()).await.unwrap();
        }
        assert_eq!(collect(&store, &meta.view().catalogue, 100).await.unwrap(), 1);
        let mut left: Vec<Path> = store.list(None).map_ok(|o| o.location).try_collect().await.unwrap();
        left.sort();
        let mut expected = vec![path(&new), path(&kept), Path::from("t/other/file"), Path::from("t/blocks/notes/x")];
        expected.sort();
        assert_eq!(left, expected);
    }

    #[test]
    fn what_a_rebuild_left_out_is_not_garbage() {
        let path = Path::from(format!("t/blocks/{}/data.parquet", Ulid::from_parts(10, 1)));
        assert!(is_garbage(&path, &Catalogue::default(), 100));
        assert!(!is_garbage(&path, &Catalogue { rebuilt_ms: 50, ..Catalogue::default() }, 100));
    }
}
