//! Scraping: pools of targets, each with a loop that fetches, reads and hands on one batch a scrape.
//!
//! In a cluster every agent has a loop for every target that it discovers, and a loop scrapes at the moments that are its
//! agent's ([`crate::ownership`]); while none is, it sleeps.
//!
//! A pool belongs to one section of the configuration. When the set of its targets changes it starts and stops loops;
//! what a stopped loop knew stays with [`departed::Departed`] for two intervals, so that a target that comes back (after a reload,
//! or with another URL) goes on without a gap, and one that does not gets its stale markers.

mod append;
mod buckets;
mod cache;
pub(crate) mod departed;
mod handed;
mod metadata;
mod metrics;
pub(crate) mod pool;
mod report;
mod schedule;
mod shared;
pub(crate) mod target_loop;

pub(crate) use handed::Handed;
pub(crate) use metadata::MetadataStore;
pub(crate) use metrics::ScrapeMetrics;
pub(crate) use schedule::first_scrape;
pub(crate) use shared::Shared;
pub(crate) use target_loop::sleep_until;

#[cfg(test)]
pub(crate) mod tests;

#[cfg(test)]
mod handoff_tests;
