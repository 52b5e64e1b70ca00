//! Scraping: which targets this node scrapes, and the pools and loops that scrape them.
//!
//! A pool belongs to one section of the configuration and runs a loop for each of its targets. A loop waits for the
//! target's next scrape slot, fetches the body, parses it and appends one batch a scrape. In a cluster every agent runs a
//! loop for every target that it discovers, but scrapes only in the slots that it owns ([`ownership`]); a loop without
//! slots sleeps.
//!
//! When the set of targets changes, the pool starts and stops loops. The state of a stopped loop waits in
//! [`handoff::Handoffs`] for about two intervals: a target that comes back (after a reload, or under another URL)
//! continues without a gap, and one that does not gets stale markers.

#![forbid(unsafe_code)]

mod append;
mod buckets;
mod cache;
pub mod exposition;
mod handoff;
mod loop_state;
mod metadata;
mod metrics;
mod ownership;
mod pool;
mod report;
mod schedule;
mod scraper;
mod service;
mod shared;
mod target_loop;
mod targets;

pub use ownership::{Ownership, RemoteAgents};
pub use pool::PoolStatus;
pub use scraper::{Scraper, ScraperConfig, ScraperError};
pub use targets::{Health, Target, TargetStatus};

#[cfg(test)]
mod tests;
