//! The fence: of each shard the newest epoch that this node knows. Who writes under an older one is refused and has to look
//! at a newer view first.
//!
//! The view tells epochs, requests bring newer ones, and a learner that copies a shard raises its epoch before it reads. Appends
//! hold the lock for reading from the check until the samples are in the head; a copy raises under the lock for writing: so all that
//! was taken under an older epoch is in the head when the copy begins to read.
//!
//! The fence is in memory only. After a restart the view takes its place: it must not be older than the start, which is so when
//! the node has entered the cluster ([`pharos_cluster::Meta::join`]) before its ingester is created.

use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::{RwLock, RwLockReadGuard, RwLockWriteGuard};
use pharos_cluster::View;

/// The epochs, by shard.
type Epochs = Box<[AtomicU64]>;

/// See the module.
pub struct Fence {
    epochs: RwLock<Epochs>,
}

/// The right to append, until it is dropped.
pub struct Admission<'a>(RwLockReadGuard<'a, Epochs>);

/// Nobody appends until it is dropped.
pub struct Closed<'a>(RwLockWriteGuard<'a, Epochs>);

impl Fence {
    /// Nothing is known of any shard.
    pub fn new(shards: u32) -> Self {
        Fence { epochs: RwLock::new((0..shards).map(|_| AtomicU64::new(0)).collect()) }
    }

    /// Begins an append.
    pub fn admit(&self) -> Admission<'_> {
        Admission(self.epochs.read())
    }

    /// Waits for appends under way and lets none begin.
    pub fn close(&self) -> Closed<'_> {
        Closed(self.epochs.write())
    }

    /// The newest epoch of a shard that requests and copies have named.
    pub fn raised(&self, shard: u32) -> u64 {
        self.epochs.read().get(shard as usize).map_or(0, |epoch| epoch.load(Ordering::Relaxed))
    }
}

impl Admission<'_> {
    /// Whether a writer with this epoch may write; if not, the epoch that it has to know. A newer one is noted.
    pub fn check(&self, view: &View, shard: u32, epoch: u64) -> Result<(), u64> {
        let Some(raised) = self.0.get(shard as usize) else { return Ok(()) };
        let known = raised.fetch_max(epoch, Ordering::Relaxed).max(view.epoch(shard));
        if epoch < known { Err(known) } else { Ok(()) }
    }
}

impl Closed<'_> {
    /// Refuses writers with an older epoch from now on.
    pub fn raise(&self, shard: u32, epoch: u64) {
        if let Some(raised) = self.0.get(shard as usize) {
            raised.fetch_max(epoch, Ordering::Relaxed);
        }
    }

    /// The newest epoch of a shard that requests and copies have named.
    pub fn raised(&self, shard: u32) -> u64 {
        self.0.get(shard as usize).map_or(0, |epoch| epoch.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use pharos_cluster::{ClusterState, Shard};

    use super::*;

    fn view(epoch: u64) -> View {
        let shard = Arc::new(Shard { epoch, ..Shard::default() });
        View::new(Arc::new(ClusterState { shards: Arc::new(vec![shard]), ..ClusterState::default() }))
    }

    #[test]
    fn older_epochs_are_refused_and_newer_ones_noted() {
        let fence = Fence::new(1);
        assert_eq!(fence.admit().check(&view(3), 0, 2), Err(3), "the view knows better");
        assert_eq!(fence.admit().check(&view(3), 0, 3), Ok(()));
        assert_eq!(fence.admit().check(&view(3), 0, 5), Ok(()), "newer than the view");
        assert_eq!(fence.admit().check(&view(3), 0, 4), Err(5));
        fence.close().raise(0, 9);
        assert_eq!(fence.admit().check(&view(3), 0, 8), Err(9));
        fence.close().raise(0, 1);
        assert_eq!(fence.close().raised(0), 9, "it never sinks");
    }
}
