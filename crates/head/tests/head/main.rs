//! The head through its public API: semantics, a model under random operations, faults, torn logs, sizes, concurrency.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod basic;
mod concurrent;
mod cuts;
mod deletions;
mod export;
mod faults;
mod golden;
mod model;
mod open_windows;
mod records;
mod retention;
mod support;
mod torn;
mod verdicts;
mod widths;
