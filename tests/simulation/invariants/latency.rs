//! **A write waits for at most one timeout**: if one of the nodes dies and nothing else fails, then with three copies
//! no write fails. Each write is acknowledged within the timeout of a replica plus some slack. Once the cluster knows
//! that the node is down, writes are as fast as before its death.

use crate::env::Ms;
use crate::world::World;
use crate::{LEASE_MS, REPLICA_TIMEOUT_MS, SLACK_MS};

/// Checks all writes, if the plan of the run promises their latency.
pub fn look(world: &mut World) {
    if !world.plan.promises_latency {
        return;
    }
    for agent in &world.agents {
        let (waits, failed) = (agent.slowest.max(agent.longest_wait(world.env.now)), agent.failed);
        if failed > 0 {
            return world.env.violated("latency", || "a write failed although only one node died".into());
        }
        if waits > REPLICA_TIMEOUT_MS + SLACK_MS {
            return world.env.violated("latency", || format!("a write waits for {waits} ms"));
        }
        let is_known = |began: Ms| world.died_at.is_some_and(|died| began > died + LEASE_MS + REPLICA_TIMEOUT_MS);
        if let Some((began, took)) = agent.took.iter().find(|(began, took)| is_known(*began) && *took > SLACK_MS) {
            let (began, took) = (*began, *took);
            return world.env.violated("latency", || format!("a write that began at {began} ms took {took} ms"));
        }
    }
}
