//! The parts of the `pharos` binary: command line, configuration, wiring of the roles, cluster administration, logging,
//! process metrics, the allocator's settings and tools. `main.rs` only dispatches to them.

#![forbid(unsafe_code)]

pub mod alertmanager;
pub mod allocator;
pub mod cli;
pub mod cluster;
pub mod config;
pub mod logging;
pub mod metrics;
pub mod reload;
pub mod server;
pub mod tool;

mod text;
