//! **A repaired cluster settles by itself**: the in-sync replicas of all shards match the goal of the placement, and no
//! draining node holds a shard. All acknowledged samples of windows that ended long ago are in blocks, and all samples
//! of those windows have left memory.

use std::collections::BTreeSet;

use pharos_cluster::MemberState;

use super::in_blocks;
use crate::world::World;
use crate::{SHARDS, WINDOW_MS};

/// Describes everything that has not settled yet.
pub fn look(world: &mut World) -> Vec<String> {
    let mut wrong = Vec::new();
    let (meta, env) = (&world.meta, &world.env);
    let goal = meta.goal(env);
    let lost = |shard: u32| env.lost_shards.contains(&shard);
    for shard in (0..SHARDS).filter(|shard| !lost(*shard)) {
        let known = &meta.state.shards[shard as usize];
        let in_sync: BTreeSet<String> = known.in_sync.iter().cloned().collect();
        if in_sync != goal.shards[shard as usize] || known.replicas.len() != in_sync.len() {
            wrong.push(format!("shard {shard} is {known:?}, the goal is {:?}", goal.shards[shard as usize]));
        }
    }
    for member in meta.state.members.values().filter(|member| member.state == MemberState::Draining) {
        let held = meta.state.shards_of(&member.id).filter(|shard| !lost(*shard)).count();
        if held > 0 {
            wrong.push(format!("{} drains and holds {held} shards", member.id));
        }
    }
    let listed = in_blocks(env, &meta.state);
    let long_ago = env.now_ms() - 4 * WINDOW_MS;
    for shard in (0..SHARDS).filter(|shard| !lost(*shard)) {
        let open = env.samples.acknowledged(shard).missing_from(&listed, &listed);
        let late = open.map(|id| (id, env.samples.get(id))).find(|(_, sample)| sample.window() < long_ago);
        if let Some((id, sample)) = late {
            wrong.push(format!("sample {id} {sample:?} is in no block yet"));
        }
    }
    for ingester in world.ingesters.iter().filter(|ingester| env.life(ingester.me).up) {
        let old = ingester.head.held().iter().map(|id| (id, env.samples.get(id)));
        let mut old = old.filter(|(_, sample)| sample.window() < long_ago && !lost(sample.shard));
        if let Some((id, sample)) = old.next() {
            wrong.push(format!("{} still holds sample {id} {sample:?}", ingester.identity));
        }
    }
    wrong
}
