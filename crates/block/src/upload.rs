//! Uploads a finished block to an object store, and checks that an upload is still there.

use bytes::Bytes;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload};

use crate::error::BlockError;
use crate::meta::BlockMeta;
use crate::writer::FinishedBlock;

/// Larger files are uploaded in parts of this size.
const PART_BYTES: usize = 16 << 20;

/// Uploads the files of a block to folder `prefix`, in their order. A block exists only once the catalogue lists it, so an
/// upload that fails leaves garbage behind but never half a block. Repeating an upload overwrites the files with the same
/// bytes.
pub async fn upload(store: &dyn ObjectStore, prefix: &Path, block: &FinishedBlock) -> Result<(), BlockError> {
    for (name, bytes) in &block.files {
        put(store, &prefix.clone().join(name.as_str()), bytes).await?;
    }
    Ok(())
}

/// Whether the object store has all files of a block with the sizes that the metadata names. Ask before an upload of some
/// time ago is relied on: garbage collection may have removed what nobody listed.
pub async fn is_uploaded(store: &dyn ObjectStore, meta: &BlockMeta) -> Result<bool, BlockError> {
    for (name, file) in &meta.files {
        match store.head(&meta.folder().join(name.as_str())).await {
            Ok(object) if object.size == file.bytes => {}
            Ok(_) | Err(object_store::Error::NotFound { .. }) => return Ok(false),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(!meta.files.is_empty())
}

async fn put(store: &dyn ObjectStore, path: &Path, bytes: &Bytes) -> Result<(), BlockError> {
    if bytes.len() <= PART_BYTES {
        store.put(path, bytes.clone().into()).await?;
        return Ok(());
    }
    let mut upload = store.put_multipart(path).await?;
    let mut sent = Ok(());
    for start in (0..bytes.len()).step_by(PART_BYTES) {
        let part = bytes.slice(start..bytes.len().min(start + PART_BYTES));
        sent = upload.put_part(PutPayload::from(part)).await;
        if sent.is_err() {
            break;
        }
    }
    let done = match sent {
        Ok(()) => upload.complete().await.map(|_| ()),
        Err(error) => Err(error),
    };
    if done.is_err() {
        // Best effort: stores expire the parts of uploads that are never completed.
        let _ = upload.abort().await;
    }
    Ok(done?)
}

#[cfg(test)]
mod tests;
