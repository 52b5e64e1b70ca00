//! The fence: the newest epoch of each shard that this node knows. A writer with an older epoch is refused and must refresh
//! its view.
//!
//! Epochs come from the view, from requests, and from copies: before a learner's copy is read, the epoch since which it learns is
//! raised here. Appends hold the read lock from the check until their samples are in the head, and raising takes the write
//! lock. So everything that was accepted under an older epoch is in the head when the copy starts to read.
//!
//! The fence is in memory only. After a restart the view stands in for it. The view must not be older than the start of the
//! process, which holds if the node has joined the cluster ([`pharos_cluster::Meta::join`]) before its ingester is created.

use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::{RwLock, RwLockReadGuard, RwLockWriteGuard};
use pharos_cluster::View;

/// Epochs by shard.
type Epochs = Box<[AtomicU64]>;

/// The fence of one node; see the module.
pub struct Fence {
    epochs: RwLock<Epochs>,
}

/// Permission to append. Copies wait until it is dropped.
pub struct Admission<'a>(RwLockReadGuard<'a, Epochs>);

/// The closed fence. Appends wait until it is dropped.
pub struct Closed<'a>(RwLockWriteGuard<'a, Epochs>);

impl Fence {
    /// A fence that knows no epochs.
    pub fn new(shards: u32) -> Self {
        Fence { epochs: RwLock::new((0..shards).map(|_| AtomicU64::new(0)).collect()) }
    }

    /// Starts an append.
    pub fn admit(&self) -> Admission<'_> {
        Admission(self.epochs.read())
    }

    /// Waits for running appends and blocks new ones.
    pub fn close(&self) -> Closed<'_> {
        Closed(self.epochs.write())
    }

    /// The newest epoch of a shard that requests and copies have named; 0 if none.
    pub fn raised(&self, shard: u32) -> u64 {
        self.epochs.read().get(shard as usize).map_or(0, |epoch| epoch.load(Ordering::Relaxed))
    }

    /// The given epochs by shard, raised to those that requests and copies have named.
    pub fn raised_from(&self, epochs: &[(u32, u64)]) -> Vec<(u32, u64)> {
        let known = self.epochs.read();
        let raised = |shard: u32| known.get(shard as usize).map_or(0, |epoch| epoch.load(Ordering::Relaxed));
        epochs.iter().map(|(shard, epoch)| (*shard, raised(*shard).max(*epoch))).collect()
    }
}

impl Admission<'_> {
    /// Checks the epoch of a writer and remembers it if it is the newest. The error is the epoch that the writer must know.
    pub fn check(&self, view: &View, shard: u32, epoch: u64) -> Result<(), u64> {
        let Some(raised) = self.0.get(shard as usize) else { return Ok(()) };
        let known = raised.fetch_max(epoch, Ordering::Relaxed).max(view.epoch(shard));
        if epoch < known { Err(known) } else { Ok(()) }
    }
}

impl Closed<'_> {
    /// Refuses writers with an epoch below this one from now on.
    pub fn raise(&self, shard: u32, epoch: u64) {
        if let Some(raised) = self.0.get(shard as usize) {
            raised.fetch_max(epoch, Ordering::Relaxed);
        }
    }

    /// The newest epoch of a shard that requests and copies have named; 0 if none.
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
    fn an_epoch_below_the_view_is_refused() {
        let fence = Fence::new(1);
        assert_eq!(fence.admit().check(&view(3), 0, 2), Err(3));
        assert_eq!(fence.admit().check(&view(3), 0, 3), Ok(()));
    }

    #[test]
    fn a_request_may_be_newer_than_the_view_and_raises_the_fence() {
        let fence = Fence::new(1);
        assert_eq!(fence.admit().check(&view(3), 0, 5), Ok(()));
        assert_eq!(fence.admit().check(&view(3), 0, 4), Err(5));
    }

    #[test]
    fn a_copy_raises_the_fence() {
        let fence = Fence::new(1);
        fence.close().raise(0, 9);
        assert_eq!(fence.admit().check(&view(3), 0, 8), Err(9));
        assert_eq!(fence.raised(0), 9);
    }

    #[test]
    fn the_fence_never_sinks() {
        let fence = Fence::new(1);
        fence.close().raise(0, 9);
        fence.close().raise(0, 1);
        assert_eq!(fence.close().raised(0), 9);
    }

    #[test]
    fn shards_have_fences_of_their_own() {
        let fence = Fence::new(2);
        fence.close().raise(1, 9);
        assert_eq!(fence.raised(0), 0);
        assert_eq!(fence.admit().check(&view(3), 0, 3), Ok(()));
    }

    #[test]
    fn epochs_are_raised_to_the_fence() {
        let fence = Fence::new(2);
        fence.close().raise(1, 9);
        assert_eq!(fence.raised_from(&[(0, 3), (1, 8), (1, 10), (7, 1)]), [(0, 3), (1, 9), (1, 10), (7, 1)]);
    }

    #[test]
    fn an_unknown_shard_has_no_fence() {
        let fence = Fence::new(1);
        fence.close().raise(7, 9);
        assert_eq!(fence.raised(7), 0);
        assert_eq!(fence.admit().check(&view(3), 7, 1), Ok(()));
    }
}
