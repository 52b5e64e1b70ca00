//! Exports of the state to the object store, in case the disks of all meta nodes are lost.
//!
//! Exports are objects below `_pharos/state/`, named by incarnation and version so that the newest sorts last. The last
//! few are kept.

use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};

use crate::codec;
use crate::error::MetaError;
use crate::state::ClusterState;

const KEPT: usize = 5;
const FOLDER: &str = "_pharos/state";

fn failed(error: impl std::fmt::Display) -> MetaError {
    MetaError::Storage(std::io::Error::other(format!("export of the cluster state: {error}")))
}

async fn list(objects: &dyn ObjectStore) -> Result<Vec<Path>, MetaError> {
    let listed = objects.list(Some(&Path::from(FOLDER))).map_ok(|object| object.location);
    let mut paths: Vec<Path> = listed.try_collect().await.map_err(failed)?;
    paths.sort();
    Ok(paths)
}

/// Writes an export and deletes all but the newest ones.
pub async fn write(objects: &dyn ObjectStore, state: &ClusterState) -> Result<(), MetaError> {
    let name = format!("{FOLDER}/{:020}-{:020}.json.zst", state.incarnation, state.version);
    let state = state.clone();
    let packed = tokio::task::spawn_blocking(move || codec::encode(&state)).await.map_err(failed)??;
    objects.put(&Path::from(name), packed.into()).await.map_err(failed)?;
    let paths = list(objects).await?;
    for old in paths.iter().rev().skip(KEPT) {
        objects.delete(old).await.map_err(failed)?;
    }
    Ok(())
}

/// Reads the newest readable export, if there is one. Unreadable ones are logged and skipped.
pub async fn read(objects: &dyn ObjectStore) -> Result<Option<ClusterState>, MetaError> {
    for path in list(objects).await?.iter().rev() {
        let bytes = objects.get(path).await.map_err(failed)?.bytes().await.map_err(failed)?;
        let read = tokio::task::spawn_blocking(move || codec::decode(&bytes)).await.map_err(failed)?;
        match read {
            Ok(state) => return Ok(Some(state)),
            Err(error) => {
                tracing::warn!(%path, %error, "unreadable export of the cluster state; trying the previous one")
            }
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use object_store::memory::InMemory;

    use super::*;

    async fn with_versions(versions: impl IntoIterator<Item = u64>) -> InMemory {
        let objects = InMemory::new();
        for version in versions {
            write(&objects, &ClusterState { version, ..ClusterState::default() }).await.unwrap();
        }
        objects
    }

    #[tokio::test]
    async fn an_empty_bucket_has_no_export() {
        assert!(read(&InMemory::new()).await.unwrap().is_none());
    }

    #[tokio::test]
    async fn the_newest_export_is_read() {
        let objects = with_versions([7, 9, 8]).await;
        assert_eq!(read(&objects).await.unwrap().unwrap().version, 9);
    }

    #[tokio::test]
    async fn only_the_last_exports_are_kept() {
        let objects = with_versions(7..14).await;
        assert_eq!(list(&objects).await.unwrap().len(), KEPT);
        assert_eq!(read(&objects).await.unwrap().unwrap().version, 13);
    }

    #[tokio::test]
    async fn a_later_incarnation_beats_a_higher_version() {
        let objects = with_versions([9]).await;
        let restored = ClusterState { version: 1, incarnation: 1, ..ClusterState::default() };
        write(&objects, &restored).await.unwrap();
        assert_eq!(read(&objects).await.unwrap().unwrap(), restored);
    }

    #[tokio::test]
    async fn an_unreadable_export_is_skipped() {
        let objects = with_versions([12, 13]).await;
        let newer = Path::from(format!("{FOLDER}/{:020}-{:020}.json.zst", 1, 1));
        objects.put(&newer, "nothing of use".into()).await.unwrap();
        assert_eq!(read(&objects).await.unwrap().unwrap().version, 13);
    }
}
