//! The promqltest language: scripts that load samples, evaluate expressions and say what to expect.
//!
//! [`run_script`] runs a script in this process against an engine, with samples in memory. As the original does, it runs
//! an instant evaluation also with `@` modifiers at other times, and each of these also as a range query.

mod check;
mod expect;
mod load;
mod pinned;
mod run;
mod script;
mod series;
mod store;

pub use run::{Failure, Report, run_script};
pub use script::ScriptError;
pub use series::{SeriesValue, histogram_notation, parse_series};
pub use store::MemoryStore;

#[cfg(test)]
mod tests;
