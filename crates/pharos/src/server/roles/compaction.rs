//! The compactor: retention, and the claim of the bucket that precedes any deletion.

use std::sync::Arc;
use std::time::Duration;

use object_store::ObjectStore;
use pharos_cluster::{DeletionBarrier, REMOVAL_DELAY_MS};
use pharos_compactor::{Compactor, CompactorConfig};
use tokio::sync::watch;

use super::{Parts, text};
use crate::cli::ServerArgs;
use crate::config::Loaded;
use crate::server::membership::Membership;
use crate::server::owner::{Claim, ClaimError};

/// The default retention of a local folder, which is Prometheus's.
const LOCAL_RETENTION: Duration = Duration::from_secs(15 * 86_400);

/// Pause between two attempts to claim a bucket that was unavailable at startup.
const CLAIM_RETRY_INTERVAL: Duration = Duration::from_secs(10);

/// Creates the compactor.
pub(super) fn compactor(
    parts: &Parts<'_>,
    loaded: &Loaded,
    membership: &Membership,
    objects: Arc<dyn ObjectStore>,
    barrier: Arc<dyn DeletionBarrier>,
) -> Result<Compactor, String> {
    let config = CompactorConfig {
        node: membership.identity.clone(),
        retention: retention(parts.args, loaded),
        max_bytes: max_block_bytes(parts.args, loaded),
        removal_delay: Duration::from_millis(REMOVAL_DELAY_MS as u64) + parts.args.query.timeout,
        ..CompactorConfig::default()
    };
    let (meta, clock) = (membership.meta.clone(), parts.clock.clone());
    Compactor::create(config, meta, objects, barrier, clock, &parts.registry).map_err(text)
}

/// Runs the compactor once the bucket is claimed, because it deletes objects. Stops the server when the bucket has another
/// owner.
pub(super) async fn run_once_claimed(
    claim: Claim,
    mut is_claimed: bool,
    compactor: Compactor,
    stop: watch::Sender<bool>,
    mut stopped: watch::Receiver<bool>,
) {
    while !is_claimed {
        tokio::select! {
            () = tokio::time::sleep(CLAIM_RETRY_INTERVAL) => {}
            _ = stopped.wait_for(|stop| *stop) => return,
        }
        let claimed = tokio::select! {
            claimed = claim.now() => claimed,
            _ = stopped.wait_for(|stop| *stop) => return,
        };
        match claimed {
            Ok(()) => is_claimed = true,
            Err(ClaimError::Store(error)) => tracing::warn!(%error, "could not claim the object store; will retry"),
            Err(error) => {
                tracing::error!(%error, "the object store belongs to another server; stopping");
                stop.send_replace(true);
                return;
            }
        }
    }
    compactor.run(stopped).await;
}

/// How long samples are kept; none means forever. The configuration takes precedence over the flag. By default a local
/// folder keeps 15 days, and a bucket keeps everything.
pub(super) fn retention(args: &ServerArgs, loaded: &Loaded) -> Option<Duration> {
    let configured = loaded.config.storage.tsdb.retention.time.map(|time| time.as_duration());
    let default = || if loaded.config.object_store.is_none() { LOCAL_RETENTION } else { Duration::ZERO };
    let retention = configured.or(args.storage.retention_time).unwrap_or_else(default);
    (retention > Duration::ZERO).then_some(retention)
}

/// The maximum total size of blocks in bytes; none means no limit. The configuration takes precedence over the flag.
pub(super) fn max_block_bytes(args: &ServerArgs, loaded: &Loaded) -> Option<u64> {
    let configured = loaded.config.storage.tsdb.retention.size.or(args.storage.retention_size);
    configured.map(|size| size.0).filter(|bytes| *bytes > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Cli, Command};
    use crate::config::Config;

    const DAY: Duration = Duration::from_secs(86_400);

    fn args(flags: &[&str]) -> ServerArgs {
        match Cli::try_parse_from_args(["pharos"].iter().chain(flags)).unwrap().command {
            Command::Server(args) => *args,
            other => panic!("{other:?}"),
        }
    }

    fn loaded(text: &str) -> Loaded {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("prometheus.yml");
        std::fs::write(&file, text).unwrap();
        Config::load(&file).unwrap()
    }

    #[test]
    fn a_local_folder_keeps_15_days_by_default() {
        assert_eq!(retention(&args(&[]), &loaded("")), Some(15 * DAY));
    }

    #[test]
    fn a_bucket_keeps_everything_by_default() {
        assert_eq!(retention(&args(&[]), &loaded("object_store: {type: s3, bucket: b}\n")), None);
    }

    #[test]
    fn the_configuration_takes_precedence_over_the_flag() {
        let args = args(&["--storage.tsdb.retention.time=3d", "--storage.tsdb.retention.size=1GB"]);
        assert_eq!(retention(&args, &loaded("")), Some(3 * DAY));
        assert_eq!(max_block_bytes(&args, &loaded("")), Some(1 << 30));
        let loaded = loaded("storage: {tsdb: {retention: {time: 1d, size: 1MB}}}\n");
        assert_eq!(retention(&args, &loaded), Some(DAY));
        assert_eq!(max_block_bytes(&args, &loaded), Some(1 << 20));
    }

    #[test]
    fn a_retention_of_zero_keeps_everything() {
        assert_eq!(retention(&args(&["--storage.tsdb.retention.time=0s"]), &loaded("")), None);
        assert_eq!(max_block_bytes(&args(&["--storage.tsdb.retention.size=0B"]), &loaded("")), None);
    }

    #[test]
    fn the_size_of_blocks_is_unlimited_by_default() {
        assert_eq!(max_block_bytes(&args(&[]), &loaded("")), None);
    }
}
