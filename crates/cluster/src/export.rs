//! Exports of the state to the object store, in case the disks of all meta nodes are lost.
//!
//! Exports are objects in the system's folder, named by incarnation and version so that the newest sorts last. The last
//! few are kept. Those that earlier versions wrote elsewhere count as well.

use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};

use crate::codec;
use crate::error::MetaError;
use crate::state::ClusterState;

const KEPT: usize = 5;
/// The folder of exports, in [`pharos_model::tenant::SYSTEM_FOLDER`].
const FOLDER: &str = "@_pharos/state";
/// The folder of exports of earlier versions.
const LEGACY_FOLDER: &str = "_pharos/state";

fn failed(error: impl std::fmt::Display) -> MetaError {
    MetaError::Storage(std::io::Error::other(format!("export of the cluster state: {error}")))
}

/// All exports, the oldest first.
async fn list(objects: &dyn ObjectStore) -> Result<Vec<Path>, MetaError> {
    let mut paths: Vec<Path> = Vec::new();
    for folder in [LEGACY_FOLDER, FOLDER] {
        let listed = objects.list(Some(&Path::from(folder))).map_ok(|object| object.location);
        paths.extend(listed.try_collect::<Vec<_>>().await.map_err(failed)?);
    }
    paths.sort_by(|a, b| (a.filename(), a).cmp(&(b.filename(), b)));
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

    /// An export as earlier versions wrote it.
    async fn put_legacy(objects: &InMemory, version: u64) {
        let state = ClusterState { version, ..ClusterState::default() };
        let name = format!("{LEGACY_FOLDER}/{:020}-{version:020}.json.zst", 0);
        objects.put(&Path::from(name), codec::encode(&state).unwrap().into()).await.unwrap();
    }

    #[test]
    fn exports_are_where_no_tenant_can_be() {
        assert_eq!(FOLDER.split('/').next(), Some(pharos_model::tenant::SYSTEM_FOLDER));
    }

    #[tokio::test]
    async fn the_newest_export_is_read_wherever_it_is() {
        let objects = with_versions([7]).await;
        put_legacy(&objects, 6).await;
        assert_eq!(read(&objects).await.unwrap().unwrap().version, 7);
        put_legacy(&objects, 9).await;
        assert_eq!(read(&objects).await.unwrap().unwrap().version, 9);
    }

    #[tokio::test]
    async fn exports_of_earlier_versions_are_deleted_once_there_are_newer_ones() {
        let objects = InMemory::new();
        for version in 1..=KEPT as u64 {
            put_legacy(&objects, version).await;
        }
        let state = ClusterState { version: 100, ..ClusterState::default() };
        write(&objects, &state).await.unwrap();
        let names: Vec<String> = list(&objects).await.unwrap().iter().map(Path::to_string).collect();
        assert_eq!(names.len(), KEPT);
        assert!(!names[0].contains(&format!("{:020}.json", 1)) && names[KEPT - 1].starts_with(FOLDER), "{names:?}");
    }

    #[tokio::test]
    async fn an_unreadable_export_is_skipped() {
        let objects = with_versions([12, 13]).await;
        let newer = Path::from(format!("{FOLDER}/{:020}-{:020}.json.zst", 1, 1));
        objects.put(&newer, "nothing of use".into()).await.unwrap();
        assert_eq!(read(&objects).await.unwrap().unwrap().version, 13);
    }
}
