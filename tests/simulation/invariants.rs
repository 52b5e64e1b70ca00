//! What must hold, one file per invariant, headed by its statement.
//!
//! Some are checked with every change of the cluster state ([`step`]), some with every action of a node, some at intervals
//! ([`look`]), and some at the end, when everything works again and had time to settle ([`settled`]).

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

/// Meta has carried out a command.
pub fn step(env: &mut Env, before: &ClusterState, after: &ClusterState, command: &Command) {
    if let Err(reason) = after.check() {
        env.violated("state", || format!("{reason}, after {command:?}"));
    }
    epochs::step(env, before, after, command);
    cover::step(env, after, command);
}

/// Looks at the whole cluster.
pub fn look(world: &mut World) {
    acknowledged::look(world);
    latency::look(world);
}

/// What is wrong when everything works again and had time; empty if nothing is.
pub fn settled(world: &mut World) -> Vec<String> {
    settling::look(world)
}

/// The samples of all live blocks of a catalogue.
pub fn in_blocks(env: &Env, state: &ClusterState) -> SampleSet {
    let mut all = SampleSet::default();
    for block in state.catalogue.tenant(TENANT).into_iter().flat_map(|t| &t.blocks) {
        if let Some(samples) = env.objects.get(&block.id) {
            all.add_all(samples);
        }
    }
    all
}
