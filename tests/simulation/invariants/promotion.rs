//! **A learner is promoted only when it is complete**: for a replica that becomes in sync, every acknowledged sample of
//! the shard is durable on the replica or in a listed block.

use pharos_cluster::ClusterState;

use super::in_blocks;
use crate::env::Node;
use crate::world::World;

/// Checks the replicas that a change of the cluster state has made in sync.
pub fn changed(world: &mut World, before: &ClusterState) {
    let after = world.meta.state.clone();
    for (shard, (old, new)) in (0u32..).zip(before.shards.iter().zip(after.shards.iter())) {
        if old.epoch == new.epoch || old.in_sync.is_empty() {
            continue;
        }
        for replica in new.in_sync.iter().filter(|node| !old.is_in_sync(node)) {
            let Some(Node::Ingester(number)) = Node::of(replica) else { continue };
            // The replica lost its disk since it asked for promotion. Meta learns of the loss only by its report.
            if world.ingesters[number].has_lost(shard) {
                continue;
            }
            let listed = in_blocks(&world.env, &after);
            let durable = world.ingesters[number].head.durable_samples(&world.env.samples);
            let missing = world.env.samples.acknowledged(shard).missing_from(&durable, &listed).next();
            if let Some(id) = missing {
                let sample = world.env.samples.get(id);
                world.env.violated("promotion", || {
                    format!(
                        "{replica} gets in sync for shard {shard} at epoch {} without sample {id} {sample:?}",
                        new.epoch
                    )
                });
                return;
            }
        }
    }
}
