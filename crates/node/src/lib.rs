//! The parts of the `pharos` binary: command line, configuration, logging, its own metrics, tools. `main.rs` only
//! dispatches to them.

pub mod cli;
pub mod config;
pub mod logging;
pub mod metrics;
pub mod reload;
pub mod server;
pub mod tool;

mod text;
