//! Scraping: which targets are this agent's, pools of targets, each with a loop that fetches, reads and hands on one batch
//! a scrape.
//!
//! In a cluster every agent has a loop for every target that it discovers, and a loop scrapes at the moments that are its
//! agent's ([`ownership`]); while none is, it sleeps.
//!
//! A pool belongs to one section of the configuration. When the set of its targets changes it starts and stops loops;
//! what a stopped loop knew stays with [`departed::Departed`] for two intervals, so that a target that comes back (after a reload,
//! or with another URL) goes on without a gap, and one that does not gets its stale markers.

mod agent;
mod append;
mod buckets;
mod cache;
mod departed;
pub mod exposition;
mod handed;
mod metadata;
mod metrics;
mod ownership;
mod pool;
mod report;
mod schedule;
mod shared;
mod target_loop;
mod targets;

pub use agent::{Agent, AgentConfig, AgentError};
pub use ownership::{Ownership, RemoteAgents};
pub use pool::PoolStatus;
pub use targets::{Health, Target, TargetStatus};

#[cfg(test)]
mod tests;

#[cfg(test)]
mod handoff_tests;
