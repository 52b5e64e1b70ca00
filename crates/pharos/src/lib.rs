//! The parts of the `pharos` binary: command line, configuration, the cluster as operators see it, logging, its own metrics, tools. `main.rs` only
//! dispatches to them.

pub mod cli;
pub mod cluster;
pub mod config;
pub mod logging;
pub mod metrics;
pub mod reload;
pub mod server;
pub mod tool;

mod text;
