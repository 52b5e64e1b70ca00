//! **Epochs never go back, and a stale writer is never accepted**: the epoch of a shard grows with every change of it, and an
//! ingester accepts no samples under an epoch older than one that it has seen since its start.

use std::collections::BTreeMap;

use pharos_cluster::{ClusterState, Command, View};

use crate::env::{Env, Node};

/// The newest epoch that each ingester was shown of each shard, in this life.
#[derive(Default)]
pub struct Known(BTreeMap<(Node, u32), u64>);

impl Known {
    fn raise(&mut self, node: Node, shard: u32, epoch: u64) -> u64 {
        let known = self.0.entry((node, shard)).or_default();
        *known = epoch.max(*known);
        *known
    }
}

/// Meta has carried out a command.
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

/// An ingester has a view.
pub fn seen(env: &mut Env, node: Node, view: &View) {
    for (shard, known) in view.numbered_shards() {
        env.epochs.raise(node, shard, known.epoch);
    }
}

/// An ingester was told to fence.
pub fn raised(env: &mut Env, node: Node, shard: u32, epoch: u64) {
    env.epochs.raise(node, shard, epoch);
}

/// An ingester has begun another life.
pub fn forget(env: &mut Env, node: Node) {
    env.epochs.0.retain(|(of, _), _| *of != node);
}

/// An ingester takes samples.
pub fn took(env: &mut Env, node: Node, shard: u32, epoch: u64) {
    let known = env.epochs.raise(node, shard, epoch);
    if epoch < known {
        env.violated("epochs", || {
            format!("{node:?} takes samples of shard {shard} under epoch {epoch}, it knew {known}")
        });
    }
}
