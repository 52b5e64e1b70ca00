//! The invariants of the cluster, one per file. Each file starts with the statement of its invariant.
//!
//! Some invariants are checked on every change of the cluster state ([`step`]), some on every action of a node, and
//! some at intervals ([`look`]). Others hold only at the end, when all faults are repaired and the cluster has had time
//! to settle ([`settled`]).

pub mod acknowledged;
pub mod cover;
pub mod dropping;
pub mod epochs;
pub mod latency;
pub mod ownership;
pub mod promotion;
pub mod settling;

use pharos_cluster::{ClusterState, Command};

use super::TENANT;
use super::env::Env;
use super::samples::SampleSet;
use super::world::World;

/// Checks the effect of a command on the cluster state.
pub fn step(env: &mut Env, before: &ClusterState, after: &ClusterState, command: &Command) {
    if let Err(reason) = after.check() {
        env.violated("state", || format!("{reason}, after {command:?}"));
    }
    epochs::step(env, before, after, command);
    cover::step(env, after, command);
}

/// Checks the invariants that concern the whole cluster.
pub fn look(world: &mut World) {
    acknowledged::look(world);
    latency::look(world);
}

/// Describes everything that has not settled. Empty once the cluster has settled.
pub fn settled(world: &mut World) -> Vec<String> {
    settling::look(world)
}

/// Returns the samples of all blocks that the catalogue lists.
pub fn in_blocks(env: &Env, state: &ClusterState) -> SampleSet {
    let mut all = SampleSet::default();
    for block in state.catalogue.tenant(TENANT).into_iter().flat_map(|t| &t.blocks) {
        if let Some(samples) = env.objects.get(&block.id) {
            all.add_all(samples);
        }
    }
    all
}
