//! The owner of a bucket. A marker object names the server whose catalogue lists the blocks. Any other server on the same
//! bucket and prefix would delete them as garbage, so it refuses to start.

use std::sync::Arc;
use std::time::Duration;

use object_store::path::Path;
use object_store::{Error, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload};
use pharos_model::Clock;
use serde::{Deserialize, Serialize};

/// Key of the marker below the prefix. No tenant's blocks are there.
const MARKER: &str = "pharos-owner.json";
/// Larger objects, in bytes, are not markers.
const MAX_MARKER_BYTES: u64 = 64 << 10;

/// The content of the marker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Marker {
    /// Identity of the owner, as in the file `node-id` of its data folder.
    owner: String,
    /// When the owner claimed the bucket, in milliseconds since the epoch.
    since_ms: i64,
}

/// Why a bucket could not be claimed.
#[derive(Debug, thiserror::Error)]
pub(super) enum ClaimError {
    /// The bucket has another owner.
    #[error(
        "the object store belongs to server {theirs} (its {MARKER} says so), this server is {mine} (node-id in its data folder): \
         two servers on one bucket and prefix would delete each other's blocks. Give this one a bucket, prefix or directory of its own; \
         to serve the blocks of {theirs} here, and never run it again, start once with --storage.take-over-bucket"
    )]
    Taken {
        /// Identity in the marker.
        theirs: String,
        /// Identity of this server.
        mine: String,
    },
    /// The bucket cannot be read or written.
    #[error("cannot claim the object store: {0}")]
    Store(#[from] Error),
    /// The marker is not valid.
    #[error(
        "cannot claim the object store: its {MARKER} is damaged: {0}; remove it if no other server uses this bucket and prefix"
    )]
    Damaged(String),
}

/// How long startup waits for the bucket.
const STARTUP_TIMEOUT: Duration = Duration::from_secs(5);

/// Claims a bucket for a server.
pub(super) struct Claim {
    pub(super) objects: Arc<dyn ObjectStore>,
    pub(super) identity: String,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) take_over: bool,
}

impl Claim {
    /// Claims the bucket.
    pub(super) async fn now(&self) -> Result<(), ClaimError> {
        claim(&*self.objects, &self.identity, self.clock.now_ms(), self.take_over).await
    }

    /// Claims the bucket during startup, and returns whether it succeeded. An unavailable bucket does not prevent startup;
    /// one with another owner does.
    pub(super) async fn at_start(&self) -> Result<bool, String> {
        match tokio::time::timeout(STARTUP_TIMEOUT, self.now()).await {
            Ok(Ok(())) => Ok(true),
            Ok(Err(ClaimError::Store(error))) => {
                tracing::warn!(%error, "could not claim the object store; will retry, and delete nothing until then");
                Ok(false)
            }
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => {
                tracing::warn!("object store does not answer; will retry to claim it, and delete nothing until then");
                Ok(false)
            }
        }
    }
}

/// Ensures that the bucket belongs to `identity`. Claims it if it has no owner, or if `take_over` is set.
pub(super) async fn claim(
    objects: &dyn ObjectStore,
    identity: &str,
    now_ms: i64,
    take_over: bool,
) -> Result<(), ClaimError> {
    let path = Path::from(MARKER);
    let marker = Marker { owner: identity.to_string(), since_ms: now_ms };
    let bytes = serde_json::to_vec(&marker).map_err(|e| ClaimError::Damaged(e.to_string()))?;
    let create = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
    let known = match read(objects, &path).await {
        Err(ClaimError::Damaged(_)) if take_over => None,
        other => other?,
    };
    match known {
        Some(known) if known.owner == identity => return Ok(()),
        Some(known) if !take_over => return Err(taken(known, identity)),
        None if !take_over => match objects.put_opts(&path, PutPayload::from(bytes.clone()), create).await {
            Ok(_) | Err(Error::AlreadyExists { .. } | Error::Precondition { .. }) => {}
            // Without conditional writes, reading the marker back finds most races.
            Err(Error::NotImplemented { .. } | Error::NotSupported { .. }) => {
                objects.put(&path, PutPayload::from(bytes)).await?;
            }
            Err(error) => return Err(error.into()),
        },
        known => {
            let from = known.map_or_else(|| "no owner".to_string(), |known| known.owner);
            tracing::warn!(from, by = identity, "taking over the object store");
            objects.put(&path, PutPayload::from(bytes)).await?;
        }
    }
    match read(objects, &path).await? {
        Some(known) if known.owner != identity => Err(taken(known, identity)),
        _ => Ok(()),
    }
}

fn taken(known: Marker, identity: &str) -> ClaimError {
    ClaimError::Taken { theirs: known.owner, mine: identity.to_string() }
}

async fn read(objects: &dyn ObjectStore, path: &Path) -> Result<Option<Marker>, ClaimError> {
    let found = match objects.get(path).await {
        Err(Error::NotFound { .. }) => return Ok(None),
        other => other?,
    };
    if found.meta.size > MAX_MARKER_BYTES {
        return Err(ClaimError::Damaged(format!("{} bytes are too many", found.meta.size)));
    }
    let bytes = found.bytes().await?;
    serde_json::from_slice(&bytes).map(Some).map_err(|e| ClaimError::Damaged(e.to_string()))
}

#[cfg(test)]
mod tests {
    use object_store::local::LocalFileSystem;
    use object_store::memory::InMemory;

    use super::*;

    async fn check_ownership(objects: Arc<dyn ObjectStore>) {
        claim(&*objects, "A", 1, false).await.unwrap();
        claim(&*objects, "A", 2, false).await.unwrap();
        let refused = claim(&*objects, "B", 3, false).await.unwrap_err().to_string();
        assert!(refused.contains("server A") && refused.contains("server is B"), "{refused}");
        assert!(refused.contains("--storage.take-over-bucket"), "{refused}");
        claim(&*objects, "B", 4, true).await.unwrap();
        claim(&*objects, "B", 5, false).await.unwrap();
        assert!(matches!(claim(&*objects, "A", 6, false).await, Err(ClaimError::Taken { .. })));
        for damaged in [&b"{"[..], b"", &[b' '; 70_000]] {
            objects.put(&Path::from(MARKER), PutPayload::from(damaged.to_vec())).await.unwrap();
            assert!(matches!(claim(&*objects, "A", 7, false).await, Err(ClaimError::Damaged(_))));
        }
        claim(&*objects, "A", 8, true).await.unwrap();
    }

    #[tokio::test]
    async fn a_bucket_has_one_owner() {
        check_ownership(Arc::new(InMemory::new())).await;
        let folder = tempfile::tempdir().unwrap();
        check_ownership(Arc::new(LocalFileSystem::new_with_prefix(folder.path()).unwrap())).await;
    }

    #[tokio::test]
    async fn one_of_several_concurrent_claims_succeeds() {
        let objects: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let names: Vec<String> = (0..8).map(|i| format!("node-{i}")).collect();
        let claims = names.iter().map(|name| claim(&*objects, name, 1, false));
        let won = futures::future::join_all(claims).await.iter().filter(|outcome| outcome.is_ok()).count();
        assert_eq!(won, 1);
    }
}
