//! **A window of a shard has one main block** (INV-CATALOGUE): the catalogue lists at most one main block per tenant,
//! shard and window, and every listed block is in the object store.

use std::collections::BTreeMap;

use pharos_cluster::{ClusterState, Command};

use crate::TENANT;
use crate::env::Env;

/// Checks the catalogue after a command that ships blocks.
pub fn step(env: &mut Env, after: &ClusterState, command: &Command) {
    if !matches!(command, Command::ShipBlocks { .. }) {
        return;
    }
    let mut covered: BTreeMap<(u32, i64), &str> = BTreeMap::new();
    for block in after.catalogue.tenant(TENANT).into_iter().flat_map(|t| &t.blocks) {
        if env.objects.get(&block.id).is_none() {
            let id = block.id.clone();
            return env.violated("blocks", || format!("block {id} is listed and was never uploaded"));
        }
        for shard in block.shards.iter().filter(|_| !block.delta) {
            if let Some(other) = covered.insert((*shard, block.window_start), &block.id) {
                let (other, id, window) = (other.to_string(), block.id.clone(), block.window_start);
                return env
                    .violated("cover", || format!("shard {shard} of window {window} is covered by {other} and {id}"));
            }
        }
    }
}
