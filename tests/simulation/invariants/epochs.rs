//! **Epochs never decrease, and no stale writer is accepted**: every change of a shard increases its epoch. An ingester
//! accepts no samples under an epoch older than one that it has seen since its start.

use std::collections::BTreeMap;

use pharos_cluster::{ClusterState, Command, View};

use crate::env::{Env, Node};

/// The newest epoch of each shard that each ingester has seen since its last start.
#[derive(Default)]
pub struct Known(BTreeMap<(Node, u32), u64>);

impl Known {
    fn raise(&mut self, node: Node, shard: u32, epoch: u64) -> u64 {
        let known = self.0.entry((node, shard)).or_default();
        *known = epoch.max(*known);
        *known
    }
}

/// Checks that a command increased the version of the state and the epochs of all shards that it changed.
pub fn step(env: &mut Env, before: &ClusterState, after: &ClusterState, command: &Command) {
    for (number, (old, new)) in before.shards.iter().zip(after.shards.iter()).enumerate() {
        if old != new && new.epoch <= old.epoch {
            let (old, new) = (old.epoch, new.epoch);
            env.violated("epochs", || format!("shard {number} goes from epoch {old} to {new} by {command:?}"));
        }
    }
    if after.version <= before.version || after.ownership_epoch < before.ownership_epoch {
        env.violated("epochs", || format!("a version goes back by {command:?}"));
    }
}

/// Records the epochs of a view that an ingester received.
pub fn seen(env: &mut Env, node: Node, view: &View) {
    for (shard, known) in view.numbered_shards() {
        env.epochs.raise(node, shard, known.epoch);
    }
}

/// Records that an ingester raised its fence for a shard.
pub fn raised(env: &mut Env, node: Node, shard: u32, epoch: u64) {
    env.epochs.raise(node, shard, epoch);
}

/// Forgets the epochs that an ingester saw before its process died.
pub fn forget(env: &mut Env, node: Node) {
    env.epochs.0.retain(|(of, _), _| *of != node);
}

/// Checks the epoch under which an ingester accepts samples.
pub fn took(env: &mut Env, node: Node, shard: u32, epoch: u64) {
    let known = env.epochs.raise(node, shard, epoch);
    if epoch < known {
        env.violated("epochs", || {
            format!("{node:?} takes samples of shard {shard} under epoch {epoch}, it knew {known}")
        });
    }
}
