//! The head through its public API: semantics, a model under random operations, faults, torn logs, concurrency.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod basic;
mod concurrent;
mod cuts;
mod deletions;
mod export;
mod faults;
mod golden;
mod model;
mod support;
mod torn;
mod verdicts;
