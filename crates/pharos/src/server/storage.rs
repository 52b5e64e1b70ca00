//! The data folder: identity of the node, head and catalogue.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use object_store::ObjectStore;
use pharos_cluster::Meta;
use pharos_head::fs::RealFs;
use pharos_head::{Head, HeadConfig, ReplayProgress, SettingsByTenant};
use pharos_model::Clock;
use prometheus::Registry;
use ulid::Ulid;

use crate::config::LimitsConfig;

/// The folders below `--storage.path`.
pub(super) struct Folders {
    root: PathBuf,
}

impl Folders {
    pub(super) fn new(root: &Path) -> Result<Self, String> {
        std::fs::create_dir_all(root).map_err(|e| format!("cannot open data folder {}: {e}", root.display()))?;
        let root = root.canonicalize().map_err(|e| format!("cannot open data folder {}: {e}", root.display()))?;
        Ok(Folders { root })
    }

    pub(super) fn wal(&self) -> PathBuf {
        self.root.join("wal")
    }

    pub(super) fn meta(&self) -> PathBuf {
        self.root.join("meta")
    }

    pub(super) fn bucket(&self) -> PathBuf {
        self.root.join("bucket")
    }

    pub(super) fn snapshots(&self) -> PathBuf {
        self.root.join("snapshots")
    }

    /// The identity of this node, which is generated at the first start and never changes.
    pub(super) fn identity(&self, clock: &dyn Clock) -> Result<String, String> {
        let file = self.root.join("node-id");
        let failed = |e: std::io::Error| format!("{}: {e}", file.display());
        match std::fs::read_to_string(&file) {
            Ok(text) if !text.trim().is_empty() => return Ok(text.trim().to_string()),
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
        }
        let identity = random_id(clock).to_string();
        let temporary = self.root.join("node-id.new");
        std::fs::write(&temporary, &identity).map_err(failed)?;
        std::fs::rename(&temporary, &file).map_err(failed)?;
        Ok(identity)
    }
}

/// An id that nothing else has.
pub(super) fn random_id(clock: &dyn Clock) -> Ulid {
    let random = u128::from(random()) << 64 | u128::from(random());
    Ulid::from_parts(clock.now_ms().max(0) as u64, random)
}

/// A random number. The keys of the standard hasher come from the system's random source.
fn random() -> u64 {
    std::hash::BuildHasher::hash_one(&std::collections::hash_map::RandomState::new(), std::process::id())
}

/// The settings of the head, from flags and the section `limits`.
pub(super) fn head_config(dir: PathBuf, window_ms: i64, limits: &LimitsConfig) -> HeadConfig {
    let SettingsByTenant { defaults, own } = super::limits::head_settings(limits);
    HeadConfig {
        window_ms,
        out_of_order_window_ms: defaults.out_of_order_window_ms,
        max_future_ms: limits.max_future_time.as_millis() as i64,
        max_memory_bytes: limits.max_head_memory.0,
        limits: defaults.limits,
        own_settings: own,
        max_exemplars: defaults.max_exemplars,
        ..HeadConfig::new(dir)
    }
}

/// Opens the head, which replays the write-ahead log, and logs the progress. Blocks.
pub(super) fn open_head(config: HeadConfig, clock: Arc<dyn Clock>, registry: &Registry) -> Result<Head, String> {
    let mut last_percent = 0;
    let mut progress = |p: ReplayProgress| {
        let percent = p.bytes * 100 / p.total_bytes.max(1);
        if percent >= last_percent + 10 {
            last_percent = percent;
            tracing::info!(
                percent,
                segments = p.segments,
                total_segments = p.total_segments,
                "replaying the write-ahead log"
            );
        }
    };
    Head::open(config, clock, Arc::new(RealFs), registry, &mut progress).map_err(|e| e.to_string())
}

/// Longest pause between two attempts to rebuild a catalogue.
const MAX_RETRY_INTERVAL: Duration = Duration::from_secs(30);

/// What an operator can do about an object store that refuses requests.
pub(super) fn advice(error: &(dyn std::error::Error + 'static)) -> &'static str {
    let mut cause = Some(error);
    while let Some(error) = cause {
        match error.downcast_ref::<object_store::Error>() {
            Some(object_store::Error::NotFound { .. }) => {
                return "create the bucket, or correct bucket and endpoint below object_store in --config.file";
            }
            Some(object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. }) => {
                return "correct the keys below object_store in --config.file, or allow them to read, write, list and delete in the bucket";
            }
            _ => cause = error.source(),
        }
    }
    "check that the endpoint below object_store in --config.file can be reached from this machine"
}

/// Opens the catalogue. A missing one is rebuilt from the blocks in the bucket, in a folder that is renamed once it is
/// complete, so that an interrupted rebuild starts over. Retries until the bucket can be read.
pub(super) async fn open_meta(
    folder: &Path,
    identity: &str,
    objects: &dyn ObjectStore,
    clock: &dyn Clock,
) -> Result<Arc<Meta>, String> {
    let failed = |e: std::io::Error| format!("cannot rebuild the catalogue in {}: {e}", folder.display());
    let mut retry_in = Duration::from_millis(500);
    let mut advised = "";
    while !folder.join("raft.redb").exists() {
        let unfinished = folder.with_extension("rebuild");
        if unfinished.exists() {
            std::fs::remove_dir_all(&unfinished).map_err(failed)?;
        }
        let rebuilt = {
            let meta = Meta::open(&unfinished, identity).await.map_err(|e| e.to_string())?;
            let rebuilt = pharos_store::rebuild::rebuild(objects, &meta, clock.now_ms()).await;
            meta.shutdown().await;
            rebuilt
        };
        match rebuilt {
            Ok(blocks) => {
                if blocks > 0 {
                    tracing::warn!(
                        blocks,
                        "the catalogue was missing and has been rebuilt from the blocks in the bucket"
                    );
                }
                if folder.exists() {
                    std::fs::remove_dir_all(folder).map_err(failed)?;
                }
                std::fs::rename(&unfinished, folder).map_err(failed)?;
            }
            Err(error) => {
                let advice = advice(&error);
                if advice != advised {
                    tracing::error!(%error, advice, "cannot read the object store; will retry until it can be read");
                    advised = advice;
                } else {
                    tracing::info!(%error, ?retry_in, "the object store still cannot be read; will retry");
                }
                tokio::time::sleep(retry_in).await;
                retry_in = (retry_in * 2).min(MAX_RETRY_INTERVAL);
            }
        }
    }
    Meta::open(folder, identity).await.map(Arc::new).map_err(|e| format!("{}: {e}", folder.display()))
}

#[cfg(test)]
mod tests {
    use pharos_model::clock::ManualClock;

    use super::*;

    #[test]
    fn an_object_store_that_refuses_requests_gets_advice() {
        let source = || Box::new(std::io::Error::other("refused"));
        let missing = object_store::Error::NotFound { path: "b".into(), source: source() };
        assert!(advice(&missing).starts_with("create the bucket"));
        let denied = object_store::Error::PermissionDenied { path: "b".into(), source: source() };
        assert!(advice(&pharos_store::rebuild::RebuildError::List(denied)).starts_with("correct the keys"));
        assert!(advice(&std::io::Error::other("timed out")).starts_with("check that the endpoint"));
    }

    #[test]
    fn an_identity_is_kept_across_restarts() {
        let folder = tempfile::tempdir().unwrap();
        let clock = ManualClock::at(1000);
        let first = Folders::new(folder.path()).unwrap().identity(&clock).unwrap();
        let second = Folders::new(folder.path()).unwrap().identity(&clock).unwrap();
        assert_eq!(first, second);
    }

    #[test]
    fn two_folders_have_different_identities() {
        let clock = ManualClock::at(1000);
        let identity = || {
            let folder = tempfile::tempdir().unwrap();
            Folders::new(folder.path()).unwrap().identity(&clock).unwrap()
        };
        assert_ne!(identity(), identity());
    }

    #[test]
    fn an_empty_identity_file_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("node-id"), "\n").unwrap();
        let identity = Folders::new(folder.path()).unwrap().identity(&ManualClock::at(1000)).unwrap();
        assert_eq!(std::fs::read_to_string(folder.path().join("node-id")).unwrap(), identity);
    }

    #[test]
    fn a_data_folder_that_is_a_file_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = Folders::new(file.path()).err().unwrap();
        assert!(error.starts_with(&format!("cannot open data folder {}: ", file.path().display())), "{error}");
    }
}
