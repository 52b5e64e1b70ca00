//! Snapshots: flush all samples in memory, then copy all blocks to a new folder.

use std::path::PathBuf;
use std::sync::Arc;

use object_store::{ObjectStore, ObjectStoreExt};
use pharos_block::BlockMeta;
use pharos_cluster::{BlockEntry, Meta, View};
use pharos_ingester::Ingester;
use pharos_model::Clock;
use pharos_model::tenant::SYSTEM_FOLDER;
use tokio::runtime::Handle;

/// Takes snapshots of all tenants.
pub(super) struct Snapshots {
    pub(super) folder: PathBuf,
    pub(super) ingester: Option<Arc<Ingester>>,
    pub(super) meta: Arc<Meta>,
    pub(super) objects: Arc<dyn ObjectStore>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) runtime: Handle,
}

impl Snapshots {
    /// Takes a snapshot and returns the name of its folder. Omits samples in memory if `skip_head` is set.
    pub(super) fn take(&self, skip_head: bool) -> Result<String, String> {
        self.runtime.block_on(async {
            if !skip_head {
                let no_head = "a node without the ingester role has no head: set skip_head=true, or send the request to an ingester";
                let ingester = self.ingester.as_ref().ok_or(no_head)?;
                ingester.flush_all().await.map_err(|e| format!("flush failed: {e}"))?;
            }
            self.copy(&self.meta.view()).await
        })
    }

    async fn copy(&self, view: &View) -> Result<String, String> {
        let now = jiff::Timestamp::from_millisecond(self.clock.now_ms()).map_err(|e| e.to_string())?;
        let name = format!("{}-{:016x}", now.strftime("%Y%m%dT%H%M%SZ"), self.clock.monotonic().as_nanos() as u64);
        let folder = self.folder.join(&name);
        for catalogue in view.catalogue.tenants.values() {
            for block in &catalogue.blocks {
                self.copy_block(&folder, block).await.map_err(|e| format!("block {}: {e}", block.id))?;
            }
        }
        let catalogue = serde_json::to_vec(&*view.catalogue).map_err(|e| e.to_string())?;
        let system = folder.join(SYSTEM_FOLDER);
        tokio::fs::create_dir_all(&system).await.map_err(|e| e.to_string())?;
        tokio::fs::write(system.join("catalogue.json"), catalogue).await.map_err(|e| e.to_string())?;
        Ok(name)
    }

    /// Copies a block to the same place below `folder` that it has in the bucket.
    async fn copy_block(&self, folder: &std::path::Path, block: &BlockEntry) -> Result<(), String> {
        let meta = BlockMeta::from_bytes(block.meta.as_bytes()).map_err(|e| e.to_string())?;
        let from = meta.folder();
        let listed = self.objects.list_with_delimiter(Some(&from)).await.map_err(|e| e.to_string())?;
        let into = folder.join(from.as_ref());
        tokio::fs::create_dir_all(&into).await.map_err(|e| e.to_string())?;
        for object in listed.objects {
            let Some(file) = object.location.filename() else { continue };
            let bytes = self.objects.get(&object.location).await.map_err(|e| e.to_string())?;
            let bytes = bytes.bytes().await.map_err(|e| e.to_string())?;
            tokio::fs::write(into.join(file), bytes).await.map_err(|e| e.to_string())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
