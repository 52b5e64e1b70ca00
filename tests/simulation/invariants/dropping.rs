//! **Samples leave memory only when a listed block has them** (INV-DROP): every sample that an ingester drops as
//! flushed is in a block that meta lists, or was never acknowledged.

use super::in_blocks;
use crate::samples::SampleId;
use crate::world::World;

/// Checks the samples that an ingester has dropped as flushed.
pub fn dropped(world: &mut World, node: &str, gone: &[SampleId]) {
    let listed = in_blocks(&world.env, &world.meta.state);
    let is_lost = |id: &&SampleId| {
        let shard = world.env.samples.get(**id).shard;
        !listed.contains(**id) && world.env.samples.acknowledged(shard).contains(**id)
    };
    if let Some(id) = gone.iter().find(is_lost) {
        let sample = world.env.samples.get(*id);
        world.env.violated("dropping", || format!("{node} drops sample {id} {sample:?}, which no block has"));
    }
}
