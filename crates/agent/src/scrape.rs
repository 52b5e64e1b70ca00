//! Scraping: pools of targets, each with a loop that fetches, reads and hands on one batch a scrape.
//!
//! A pool belongs to one section of the configuration. When the set of its targets changes it starts and stops loops;
//! what a stopped loop knew stays with [`departed::Departed`] for two intervals, so that a target that comes back (after a reload,
//! or with another URL) goes on without a gap, and one that does not gets its stale markers.

mod append;
mod buckets;
mod cache;
pub(crate) mod departed;
mod metadata;
mod metrics;
pub(crate) mod pool;
mod report;
mod schedule;
mod shared;
pub(crate) mod target_loop;

pub(crate) use metadata::MetadataStore;
pub(crate) use metrics::ScrapeMetrics;
pub(crate) use shared::Shared;

#[cfg(test)]
#[path = "scrape_tests.rs"]
pub(crate) mod tests;
