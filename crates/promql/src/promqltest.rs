//! The promqltest language: scripts that load samples, evaluate expressions and state the expected results.
//!
//! [`run_script`] runs a script against an engine, with the samples in memory. Like Prometheus's own runner, it repeats
//! every instant evaluation with `@` modifiers at other times, and each of those as a range query.
//!
//! The stores of this module also serve tests and benchmarks that need no script: [`MemoryStore`] for arbitrary samples,
//! [`GridStore`] for many generated series.

mod check;
mod expect;
mod grid;
mod load;
mod pinned;
mod run;
mod script;
mod series;
mod store;
mod words;

pub use grid::{GridSeries, GridStore};
pub use run::{Failure, Report, run_script};
pub use series::{SeriesValue, histogram_notation, parse_series};
pub use store::MemoryStore;
pub use words::ScriptError;

#[cfg(test)]
mod tests;
