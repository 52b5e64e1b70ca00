//! Garbage collection: deletes the objects of blocks whose removal the catalogue has recorded.
//!
//! Recording comes first, and meta never commits a recorded block. So neither a late commit nor a query that began before the
//! removal loses objects, whatever the clocks of ingesters say. Uploads that were never committed are found by an audit of
//! the whole bucket ([`condemn`]), which records them like removals.
//!
//! The audit takes a block for known if any tenant lists its id, whatever its folder, since no two blocks share an id. Blocks in
//! the folder of no tenant that the catalogue knows are kept and reported: whoever put them there may be the only one who
//! knows of them.

use std::collections::{BTreeMap, BTreeSet};

use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};
use pharos_cluster::{Catalogue, CatalogueCommand, Meta, MetaError, RemovalReason};
use pharos_model::TenantId;
use ulid::Ulid;

/// Largest number of uploads that one audit condemns, and of blocks that it reports. The next audit continues.
const MAX_CONDEMNED: usize = 1000;
/// Largest number of ids in one command.
const MAX_IDS: usize = 1000;

/// Why garbage could not be collected. The next round continues.
#[derive(Debug, thiserror::Error)]
pub enum GarbageError {
    /// The bucket could not be listed, or an object could not be deleted.
    #[error("object store: {0}")]
    Store(#[from] object_store::Error),
    /// The catalogue could not be changed.
    #[error("catalogue: {0}")]
    Meta(#[from] MetaError),
}

/// The folders in which a block of a tenant may be: today's, and that of earlier versions.
fn folders(tenant: &str, id: &str) -> Vec<Path> {
    // `Path` turns an asterisk into `%2A`, as it did for earlier versions.
    let legacy = Path::from_iter([tenant, "blocks", id]);
    let escaped = TenantId::new(tenant).ok().map(|tenant| tenant.folder()).filter(|folder| folder != tenant);
    escaped.map(|folder| Path::from_iter([folder.as_str(), "blocks", id])).into_iter().chain([legacy]).collect()
}

/// What an audit of the bucket has found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Audited {
    /// How many uploads were recorded as never to be committed.
    pub condemned: u64,
    /// The folders with old blocks that belong to no tenant of the catalogue, each with the number of its blocks. They are kept.
    pub unknown_folders: BTreeMap<String, u64>,
}

/// Deletes the objects of blocks that were removed before `removed_before` (milliseconds since the epoch), forgets their
/// removal, and returns the number of objects. A block that cannot be deleted does not keep the others.
pub async fn delete_removed(store: &dyn ObjectStore, meta: &Meta, removed_before: i64) -> Result<u64, GarbageError> {
    let (mut deleted, mut failed) = (0, None);
    for (tenant, catalogue) in &meta.view().catalogue.tenants {
        let is_due = |at_ms: i64, reason| at_ms < removed_before && reason != RemovalReason::Quarantine;
        let due = catalogue.removed.iter().filter(|removal| is_due(removal.at_ms, removal.reason));
        let mut gone = Vec::new();
        for removal in due {
            // A restore may have listed it again.
            if meta.view().catalogue.tenant(tenant).is_none_or(|now| now.removal(&removal.id).is_none()) {
                continue;
            }
            match delete_block(store, &folders(tenant, &removal.id)).await {
                Ok(objects) => {
                    deleted += objects;
                    gone.push(removal.id.clone());
                }
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        for ids in gone.chunks(MAX_IDS) {
            meta.propose(CatalogueCommand::ForgetRemovals { tenant: tenant.clone(), ids: ids.to_vec() }).await?;
        }
    }
    failed.map_or(Ok(deleted), |error| Err(error.into()))
}

async fn delete_block(store: &dyn ObjectStore, folders: &[Path]) -> Result<u64, object_store::Error> {
    let mut objects: Vec<ObjectMeta> = Vec::new();
    for folder in folders {
        objects.extend(store.list(Some(folder)).try_collect::<Vec<_>>().await?);
    }
    for object in &objects {
        match store.delete(&object.location).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(objects.len() as u64)
}

/// Lists the bucket, and records the blocks that are neither listed nor recorded as never to be committed. Their objects are
/// deleted later, like those of removed blocks. Reports the folders of unknown tenants.
///
/// A block qualifies when the newest of its objects is `age_ms` older than the newest object of the bucket. Both times are of
/// the object store, so no clock of this cluster matters. Blocks from before a rebuild or restore, and from up to `age_ms`
/// after it, are kept: the catalogue of that time may lack them.
pub async fn condemn(store: &dyn ObjectStore, meta: &Meta, age_ms: i64) -> Result<Audited, GarbageError> {
    let mut audit = Audit::of(&meta.view().catalogue);
    let mut objects = store.list(None);
    while let Some(object) = objects.try_next().await? {
        audit.note(&object);
    }
    let mut audited = Audited { condemned: 0, unknown_folders: audit.unknown_folders(age_ms) };
    for (tenant, ids) in audit.uncommitted(age_ms) {
        audited.condemned += ids.len() as u64;
        tracing::info!(
            tenant,
            blocks = ids.len(),
            first = ids[0],
            "condemning uploads that were never committed; their objects will be deleted"
        );
        let now_ms = meta.clock().now_ms();
        meta.propose(CatalogueCommand::CondemnBlocks { tenant, ids, at_ms: now_ms }).await?;
    }
    Ok(audited)
}

/// The time of the newest object of each of some blocks, by tenant or folder and id.
type Blocks = BTreeMap<(String, String), i64>;

/// What an audit of the bucket has found so far.
struct Audit {
    /// The tenants of the catalogue.
    tenants: BTreeSet<String>,
    /// Ids of listed and recorded blocks of all tenants.
    ids: BTreeSet<String>,
    rebuilt_ms: i64,
    /// Time of the newest object, milliseconds since the epoch by the clock of the object store.
    newest_ms: i64,
    /// Unexplained blocks of known tenants, by tenant.
    unexplained: Blocks,
    /// Unexplained blocks of no known tenant, by folder.
    unknown: Blocks,
}

impl Audit {
    fn of(catalogue: &Catalogue) -> Audit {
        let mut ids = BTreeSet::new();
        for tenant in catalogue.tenants.values() {
            ids.extend(tenant.blocks.iter().map(|block| block.id.clone()));
            ids.extend(tenant.removed.iter().map(|removal| removal.id.clone()));
        }
        Audit {
            tenants: catalogue.tenants.keys().cloned().collect(),
            ids,
            rebuilt_ms: catalogue.rebuilt_ms,
            newest_ms: i64::MIN,
            unexplained: Blocks::new(),
            unknown: Blocks::new(),
        }
    }

    fn note(&mut self, object: &ObjectMeta) {
        let modified_ms = object.last_modified.timestamp_millis();
        self.newest_ms = self.newest_ms.max(modified_ms);
        let Some((folder, id)) = block_of(&object.location).filter(|(_, id)| !self.ids.contains(id)) else { return };
        let owner = TenantId::of_folder(&folder).map(|tenant| tenant.as_str().to_string());
        let (blocks, key) = match owner.filter(|tenant| self.tenants.contains(tenant)) {
            Some(tenant) => (&mut self.unexplained, (tenant, id)),
            None => (&mut self.unknown, (folder, id)),
        };
        if blocks.len() < MAX_CONDEMNED || blocks.contains_key(&key) {
            let newest = blocks.entry(key).or_insert(modified_ms);
            *newest = modified_ms.max(*newest);
        }
    }

    fn is_old(&self, modified_ms: i64, age_ms: i64) -> bool {
        modified_ms < self.newest_ms.saturating_sub(age_ms)
    }

    /// The blocks that will not be committed any more, by tenant.
    fn uncommitted(&self, age_ms: i64) -> BTreeMap<String, Vec<String>> {
        let is_of_this_catalogue = |modified_ms: i64| modified_ms >= self.rebuilt_ms.saturating_add(age_ms);
        let mut of_tenant: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for ((tenant, id), modified_ms) in &self.unexplained {
            if self.is_old(*modified_ms, age_ms) && (self.rebuilt_ms == 0 || is_of_this_catalogue(*modified_ms)) {
                of_tenant.entry(tenant.clone()).or_default().push(id.clone());
            }
        }
        of_tenant
    }

    /// The folders of no known tenant, each with the number of its old blocks.
    fn unknown_folders(&self, age_ms: i64) -> BTreeMap<String, u64> {
        let mut folders = BTreeMap::new();
        for ((folder, _), _) in self.unknown.iter().filter(|(_, modified_ms)| self.is_old(**modified_ms, age_ms)) {
            *folders.entry(folder.clone()).or_default() += 1;
        }
        folders
    }
}

/// The folder of the tenant, and the id, of the block that an object belongs to.
fn block_of(path: &Path) -> Option<(String, String)> {
    let parts: Vec<String> = path.parts().map(|part| part.as_ref().to_string()).collect();
    match parts.as_slice() {
        [tenant, folder, id, _file] if folder == "blocks" && Ulid::from_string(id).is_ok() => {
            Some((tenant.clone(), id.clone()))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;
