//! **Acknowledged samples are readable** (INV-DURABLE-ACK, INV-ONE-SOURCE): a reader may have any view and read from
//! any in-sync replica of a shard that answers. Together with the blocks of the newer of the two views, it finds every
//! sample that was acknowledged at the epoch of the shard in the reader's view or at an earlier one.
//!
//! A reader takes the recent samples of the replica first. Then it reads blocks by a view that is at least as new as
//! the replica's.

use std::collections::BTreeMap;

use super::in_blocks;
use crate::SHARDS;
use crate::env::Node;
use crate::samples::SampleSet;
use crate::world::World;

/// Reads every shard by every view from every in-sync replica that answers.
pub fn look(world: &mut World) {
    let mut blocks: BTreeMap<u64, SampleSet> = BTreeMap::new();
    for view in world.views() {
        for shard in 0..SHARDS {
            let Some(known) = view.shard(shard) else { continue };
            let is_current = world.meta.state.epoch(shard) == known.epoch;
            for replica in &known.in_sync {
                let Some(Node::Ingester(number)) = Node::of(replica) else { continue };
                let ingester = &world.ingesters[number];
                let answers =
                    world.env.life(ingester.me).up && ingester.is_ready() && ingester.answers_for(shard, known.epoch);
                if !answers {
                    continue;
                }
                let newer = if ingester.view.version > view.version { &ingester.view } else { &view };
                let env = &world.env;
                let listed = blocks.entry(newer.version).or_insert_with(|| in_blocks(env, newer));
                let older;
                let expected = match is_current {
                    true => env.samples.acknowledged(shard),
                    false => {
                        older = env.samples.acknowledged_upto(shard, known.epoch);
                        &older
                    }
                };
                let missing = expected.missing_from(ingester.head.held(), listed).next();
                if let Some(id) = missing {
                    let (sample, version, epoch) = (env.samples.get(id), view.version, known.epoch);
                    world.env.violated("acknowledged", || {
                        format!(
                            "sample {id} {sample:?} is neither on {replica} nor in blocks, by view {version} with \
                             epoch {epoch} of shard {shard}"
                        )
                    });
                    return;
                }
            }
        }
    }
}
