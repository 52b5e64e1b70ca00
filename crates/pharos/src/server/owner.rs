//! Whose bucket it is: a small object, made at the first start, names the server whose catalogue lists the blocks. Another
//! server on the same bucket and prefix would take them for garbage, so it refuses to start.

use std::sync::Arc;
use std::time::Duration;

use object_store::path::Path;
use object_store::{Error, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload};
use pharos_model::Clock;
use serde::{Deserialize, Serialize};

/// Where the marker is, below the prefix. No tenant's block is there.
const MARKER: &str = "pharos-owner.json";
/// A marker is a few hundred bytes; what is larger is none.
const MAX_MARKER: u64 = 64 << 10;

/// The content of the marker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Marker {
    /// The owner's identity, as in the file `node-id` of its data folder.
    owner: String,
    /// When it claimed the bucket, milliseconds since the epoch.
    since_ms: i64,
}

/// Why a bucket is not ours.
#[derive(Debug, thiserror::Error)]
pub(super) enum ClaimError {
    /// It has another owner.
    #[error(
        "the object store belongs to server {theirs} (its {MARKER} says so), this server is {mine} (node-id in its data folder): \
         two servers on one bucket and prefix would delete each other's blocks. Give this one a bucket, prefix or directory of its own; \
         if {theirs} is gone for good and its blocks shall be served here, start once with --storage.take-over-bucket"
    )]
    Taken {
        /// The identity in the marker.
        theirs: String,
        /// Ours.
        mine: String,
    },
    /// It cannot be read or written now.
    #[error("claiming the object store: {0}")]
    Store(#[from] Error),
    /// The marker is not one.
    #[error(
        "claiming the object store: its {MARKER} is damaged: {0}; remove it if no other server uses this bucket and prefix"
    )]
    Damaged(String),
}

/// Longest time that a start waits for a bucket that does not answer.
const AT_START: Duration = Duration::from_secs(5);

/// Claims a bucket for a server.
pub(super) struct Claim {
    pub(super) objects: Arc<dyn ObjectStore>,
    pub(super) identity: String,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) take_over: bool,
}

impl Claim {
    /// Claims it now.
    pub(super) async fn now(&self) -> Result<(), ClaimError> {
        claim(&*self.objects, &self.identity, self.clock.now_ms(), self.take_over).await
    }

    /// Claims it at the start of the server. Says whether that was possible: a bucket that is away does not keep the
    /// server from starting, one that is another's does.
    pub(super) async fn at_start(&self) -> Result<bool, String> {
        match tokio::time::timeout(AT_START, self.now()).await {
            Ok(Ok(())) => Ok(true),
            Ok(Err(ClaimError::Store(error))) => {
                tracing::warn!(%error, "the object store cannot be claimed now; nothing is deleted in it until it can be");
                Ok(false)
            }
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => {
                tracing::warn!("the object store does not answer; nothing is deleted in it until it does");
                Ok(false)
            }
        }
    }
}

/// Makes sure that the bucket belongs to `identity`: claims it if nobody has, or if `take_over` says so.
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
            // A service without conditional writes: reading it back below finds most races.
            Err(Error::NotImplemented { .. } | Error::NotSupported { .. }) => {
                objects.put(&path, PutPayload::from(bytes)).await?;
            }
            Err(error) => return Err(error.into()),
        },
        known => {
            let from = known.map_or_else(|| "nobody".to_string(), |k| k.owner);
            tracing::warn!(from, by = identity, "the object store is taken over");
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
    if found.meta.size > MAX_MARKER {
        return Err(ClaimError::Damaged(format!("it has {} bytes", found.meta.size)));
    }
    let bytes = found.bytes().await?;
    serde_json::from_slice(&bytes).map(Some).map_err(|e| ClaimError::Damaged(e.to_string()))
}

#[cfg(test)]
mod tests {
    use object_store::local::LocalFileSystem;
    use object_store::memory::InMemory;

    use super::*;

    async fn one_owner(objects: Arc<dyn ObjectStore>) {
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
        one_owner(Arc::new(InMemory::new())).await;
        let folder = tempfile::tempdir().unwrap();
        one_owner(Arc::new(LocalFileSystem::new_with_prefix(folder.path()).unwrap())).await;
    }

    #[tokio::test]
    async fn of_two_that_claim_at_once_one_has_it() {
        let objects: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let names: Vec<String> = (0..8).map(|i| format!("node-{i}")).collect();
        let claims = names.iter().map(|name| claim(&*objects, name, 1, false));
        let won = futures::future::join_all(claims).await.iter().filter(|outcome| outcome.is_ok()).count();
        assert_eq!(won, 1);
    }
}
