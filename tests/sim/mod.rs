//! The cluster in one thread: seeded, in virtual time, with faults.
//!
//! A run is a queue of events in the order of (virtual time, number). Chance comes from one seed, so a seed is a run, event
//! by event. What decides is the real code: meta's state machine, heartbeats and placement ([`meta`]), the progress of a write
//! ([`agent`]), what is learnt and forgotten ([`learn`]), when windows are flushed and dropped ([`flush`]), and the
//! catalogue's refusals. What is a model: the network, processes, the log and the memory of an ingester ([`head`]), the object
//! store, and Raft, which is one state machine here that answers or does not. Samples are (shard, series, timestamp), and only
//! whether they are somewhere matters.
//!
//! [`faults`] plans what goes wrong; after some time everything is mended and has time to settle. [`invariants`] holds what
//! must be true all along and in the end. [`bugs`] are put in on purpose, to see that the invariants find them.
//!
//! To look at a seed: `PHAROS_SIM_SEED=17 cargo test -p pharos-tests --test simulation one_seed -- --nocapture`.

mod agent;
pub mod bugs;
mod doubt;
mod env;
mod faults;
mod flush;
mod head;
mod ingester;
mod invariants;
mod learn;
mod messages;
mod meta;
mod network;
mod objects;
mod proposals;
mod rng;
mod samples;
mod scrape;
mod world;

use std::time::Duration;

use env::Ms;
pub use world::run;

/// Shards of the cluster.
const SHARDS: u32 = 6;
/// Width of a window.
const WINDOW_MS: i64 = 20_000;
/// How long flushed samples stay in memory.
const GRACE: Duration = Duration::from_secs(10);
/// Wall-clock time of the beginning; that of a window.
const BASE_MS: i64 = 1_700_000_000_000;
/// The only tenant.
const TENANT: &str = "t";
/// Between two signs of life of a node.
const HEARTBEAT_MS: Ms = 1000;
/// The same of an agent.
const AGENT_HEARTBEAT_MS: Ms = 300;
/// Targets that agents scrape.
const TARGETS: usize = 4;
/// Silence after which an agent counts as down.
const AGENT_LEASE_MS: Ms = 3000;
/// Silence after which a member counts as down.
const LEASE_MS: Ms = 6000;
/// How long a node is down before its replicas are put elsewhere.
const REPLACE_MS: Ms = 15_000;
/// How long a command to meta is tried.
const PROPOSE_MS: Ms = 15_000;
/// How long an agent waits for a replica.
const REPLICA_TIMEOUT_MS: Ms = 4000;
/// How long a write may take.
const WRITE_TIMEOUT_MS: Ms = 20_000;
/// What a write may take longer than one timeout.
const SLACK_MS: Ms = 1000;
/// How long an ingester has been no replica of a shard before it forgets its samples; longer than any write takes.
const FORGET_MS: Ms = 25_000;
/// Between two rounds of an ingester.
const ROUND_MS: Ms = 1000;
/// Between two looks at everything.
const LOOK_EVERY_MS: Ms = 500;
/// Faults begin.
const CHAOS_FROM_MS: Ms = 6000;
/// Everything is mended.
const CHAOS_UNTIL_MS: Ms = 70_000;
/// Clients write until then.
const WRITES_UNTIL_MS: Ms = 80_000;
/// By then everything is as it should be.
const SETTLE_UNTIL_MS: Ms = 400_000;
