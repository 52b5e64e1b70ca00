//! The owner of a bucket. Marker objects name the server whose catalogue lists the blocks. Any other server on the same
//! bucket and prefix would delete them as garbage, so it refuses to start.
//!
//! The marker is in the system's folder, where no tenant's blocks can be, and in the place where earlier versions look for it.
//! Both name the same owner: a claim reads both before it writes either.

use std::sync::Arc;
use std::time::Duration;

use object_store::path::Path;
use object_store::{Error, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload};
use pharos_model::Clock;
use serde::{Deserialize, Serialize};

/// Key of the marker below the prefix, in [`pharos_model::tenant::SYSTEM_FOLDER`].
const MARKER: &str = "@_pharos/owner.json";
/// Key of the marker of earlier versions.
const LEGACY_MARKER: &str = "pharos-owner.json";
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
        "the object store belongs to server {theirs} (its {marker} says so), this server is {mine} (node-id in its data folder): \
         two servers on one bucket and prefix would delete each other's blocks. Give this one a bucket, prefix or directory of its own; \
         to serve the blocks of {theirs} here, and never run it again, start once with --storage.take-over-bucket"
    )]
    Taken {
        /// Key of the marker.
        marker: &'static str,
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
        "cannot claim the object store: its {marker} is damaged: {reason}; remove it if no other server uses this bucket and prefix"
    )]
    Damaged {
        /// Key of the marker.
        marker: &'static str,
        /// What is wrong with it.
        reason: String,
    },
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
                let advice = super::storage::advice(&error);
                tracing::error!(%error, advice, "cannot claim the object store; will retry, and delete nothing until then");
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
    for marker in [MARKER, LEGACY_MARKER] {
        if let Some(known) = read_for(objects, marker, take_over).await?.filter(|_| !take_over) {
            known.check(marker, identity)?;
        }
    }
    // The legacy marker comes first, because claims of earlier versions race for that one only.
    for marker in [LEGACY_MARKER, MARKER] {
        claim_marker(objects, marker, identity, now_ms, take_over).await?;
    }
    Ok(())
}

async fn claim_marker(
    objects: &dyn ObjectStore,
    marker: &'static str,
    identity: &str,
    now_ms: i64,
    take_over: bool,
) -> Result<(), ClaimError> {
    let path = Path::from(marker);
    let damaged = |e: serde_json::Error| ClaimError::Damaged { marker, reason: e.to_string() };
    let bytes = serde_json::to_vec(&Marker { owner: identity.to_string(), since_ms: now_ms }).map_err(damaged)?;
    let create = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
    match read_for(objects, marker, take_over).await? {
        Some(known) if known.owner == identity => return Ok(()),
        Some(known) if !take_over => return known.check(marker, identity),
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
            tracing::warn!(marker, from, by = identity, "taking over the object store");
            objects.put(&path, PutPayload::from(bytes)).await?;
        }
    }
    read(objects, marker).await?.map_or(Ok(()), |known| known.check(marker, identity))
}

impl Marker {
    /// Fails if the marker names another owner.
    fn check(self, marker: &'static str, identity: &str) -> Result<(), ClaimError> {
        if self.owner == identity {
            return Ok(());
        }
        Err(ClaimError::Taken { marker, theirs: self.owner, mine: identity.to_string() })
    }
}

/// Reads a marker. One that is taken over may be damaged.
async fn read_for(
    objects: &dyn ObjectStore,
    marker: &'static str,
    take_over: bool,
) -> Result<Option<Marker>, ClaimError> {
    match read(objects, marker).await {
        Err(ClaimError::Damaged { .. }) if take_over => Ok(None),
        other => other,
    }
}

async fn read(objects: &dyn ObjectStore, marker: &'static str) -> Result<Option<Marker>, ClaimError> {
    let found = match objects.get(&Path::from(marker)).await {
        Err(Error::NotFound { .. }) => return Ok(None),
        other => other?,
    };
    if found.meta.size > MAX_MARKER_BYTES {
        let reason = format!("{} bytes are too many", found.meta.size);
        return Err(ClaimError::Damaged { marker, reason });
    }
    let bytes = found.bytes().await?;
    serde_json::from_slice(&bytes).map(Some).map_err(|e| ClaimError::Damaged { marker, reason: e.to_string() })
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
        for marker in [MARKER, LEGACY_MARKER] {
            for damaged in [&b"{"[..], b"", &[b' '; 70_000]] {
                objects.put(&Path::from(marker), PutPayload::from(damaged.to_vec())).await.unwrap();
                let refused = claim(&*objects, "A", 7, false).await.unwrap_err().to_string();
                assert!(refused.contains(marker) && refused.contains("damaged"), "{refused}");
            }
            claim(&*objects, "A", 8, true).await.unwrap();
        }
    }

    async fn owner(objects: &dyn ObjectStore, marker: &'static str) -> Option<String> {
        read(objects, marker).await.unwrap().map(|known| known.owner)
    }

    /// A bucket that an earlier version claimed for A.
    async fn of_an_earlier_version() -> InMemory {
        let objects = InMemory::new();
        objects.put(&Path::from(LEGACY_MARKER), r#"{"owner":"A","since_ms":1}"#.into()).await.unwrap();
        objects
    }

    #[test]
    fn the_marker_is_where_no_tenant_can_be() {
        let (folder, _) = MARKER.split_once('/').unwrap();
        assert_eq!(folder, pharos_model::tenant::SYSTEM_FOLDER);
        let tenant = pharos_model::TenantId::new(LEGACY_MARKER).unwrap();
        assert_ne!(tenant.folder(), LEGACY_MARKER);
    }

    #[tokio::test]
    async fn a_tenant_with_the_name_of_a_marker_has_a_folder_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let objects = LocalFileSystem::new_with_prefix(folder.path()).unwrap();
        claim(&objects, "A", 1, false).await.unwrap();
        for name in [LEGACY_MARKER, "_pharos", "owner.json"] {
            let tenant = pharos_model::TenantId::new(name).unwrap();
            let path = Path::from_iter([tenant.folder().as_str(), "blocks", "x", "data.parquet"]);
            objects.put(&path, "x".into()).await.unwrap();
        }
        claim(&objects, "A", 2, false).await.unwrap();
    }

    #[tokio::test]
    async fn the_owner_of_an_earlier_version_stays_the_owner() {
        let objects = of_an_earlier_version().await;
        let refused = claim(&objects, "B", 2, false).await.unwrap_err().to_string();
        assert!(refused.contains(LEGACY_MARKER), "{refused}");
        assert_eq!(owner(&objects, MARKER).await, None, "a refused claim leaves nothing behind");
        claim(&objects, "A", 3, false).await.unwrap();
        assert_eq!(owner(&objects, MARKER).await.as_deref(), Some("A"));
    }

    #[tokio::test]
    async fn an_earlier_version_sees_the_owner() {
        let objects = InMemory::new();
        claim(&objects, "A", 1, false).await.unwrap();
        assert_eq!(owner(&objects, LEGACY_MARKER).await.as_deref(), Some("A"));
    }

    #[tokio::test]
    async fn both_markers_change_when_a_bucket_is_taken_over() {
        let objects = of_an_earlier_version().await;
        claim(&objects, "B", 2, true).await.unwrap();
        assert_eq!(owner(&objects, MARKER).await.as_deref(), Some("B"));
        assert_eq!(owner(&objects, LEGACY_MARKER).await.as_deref(), Some("B"));
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
