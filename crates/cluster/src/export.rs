//! The state in the object store, for the day on which every disk of meta is lost.
//!
//! Exports lie below `_pharos/state/`, named by incarnation and version so that the newest is the last; a few are kept.

use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};

use crate::codec;
use crate::error::MetaError;
use crate::state::ClusterState;

/// Exports that are kept.
const KEPT: usize = 5;
const FOLDER: &str = "_pharos/state";

fn failed(error: impl std::fmt::Display) -> MetaError {
    MetaError::Storage(std::io::Error::other(format!("exported state: {error}")))
}

async fn list(objects: &dyn ObjectStore) -> Result<Vec<Path>, MetaError> {
    let listed = objects.list(Some(&Path::from(FOLDER))).map_ok(|object| object.location);
    let mut paths: Vec<Path> = listed.try_collect().await.map_err(failed)?;
    paths.sort();
    Ok(paths)
}

/// Writes a state and removes the oldest ones.
pub async fn write(objects: &dyn ObjectStore, state: &ClusterState) -> Result<(), MetaError> {
    let (name, state) = (format!("{FOLDER}/{:020}-{:020}.json.zst", state.incarnation, state.version), state.clone());
    let packed = tokio::task::spawn_blocking(move || codec::encode(&state)).await.map_err(failed)??;
    objects.put(&Path::from(name), packed.into()).await.map_err(failed)?;
    let paths = list(objects).await?;
    for old in paths.iter().rev().skip(KEPT) {
        objects.delete(old).await.map_err(failed)?;
    }
    Ok(())
}

/// Reads the newest state that can be read; none when there is none.
pub async fn read(objects: &dyn ObjectStore) -> Result<Option<ClusterState>, MetaError> {
    for path in list(objects).await?.iter().rev() {
        let bytes = objects.get(path).await.map_err(failed)?.bytes().await.map_err(failed)?;
        let read = tokio::task::spawn_blocking(move || codec::decode(&bytes)).await.map_err(failed)?;
        match read {
            Ok(state) => return Ok(Some(state)),
            Err(error) => tracing::warn!(%path, %error, "an exported state is unreadable, an older one is tried"),
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use object_store::memory::InMemory;

    use super::*;

    #[tokio::test]
    async fn the_newest_readable_state_is_read_and_old_ones_go() {
        let objects = InMemory::new();
        assert!(read(&objects).await.unwrap().is_none());
        for version in 7..14 {
            write(&objects, &ClusterState { version, ..ClusterState::default() }).await.unwrap();
        }
        assert_eq!(list(&objects).await.unwrap().len(), KEPT);
        assert_eq!(read(&objects).await.unwrap().unwrap().version, 13);
        let newer = Path::from(format!("{FOLDER}/{:020}-{:020}.json.zst", 1, 1));
        objects.put(&newer, "nothing of use".into()).await.unwrap();
        assert_eq!(read(&objects).await.unwrap().unwrap().version, 13);
    }
}
