//! The head through its public API: semantics, a model under random operations, faults, torn logs, concurrency.

mod basic;
mod concurrent;
mod cuts;
mod faults;
mod model;
mod support;
mod torn;
