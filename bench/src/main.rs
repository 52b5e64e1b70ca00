//! `loadgen`: writes, verifies, queries and exposes a synthetic fleet against any Prometheus-compatible server.
//!
//! The fleet is deterministic (see [`fleet`]), so a `verify` that knows the arguments of a `write` knows every sample that
//! the server must return. Results are one JSON object per line on stdout. The exit code is 1 when a command fails or
//! `verify` finds a difference, 2 when the command line is wrong.

mod api;
mod cli;
mod error;
mod exporters;
mod fleet;
mod process;
mod query;
mod report;
mod timeline;
mod verify;
mod write;

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;

use cli::{Cli, Command};
use error::Error;

#[tokio::main]
async fn main() -> ExitCode {
    match run(Cli::parse().command).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            // Nobody is left to tell when stderr is closed.
            let _ = writeln!(std::io::stderr(), "loadgen: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs a command. `Ok(false)` means that the server's data differs from what was written.
async fn run(command: Command) -> Result<bool, Error> {
    match command {
        Command::Write(args) => report::line(&write::run(args).await?).map(|()| true),
        Command::Exporters(args) => exporters::run(args).await.map(|()| true),
        Command::Query(args) => query::run(args).await.map(|()| true),
        Command::Verify(args) => {
            let outcome = verify::run(args).await?;
            report::line(&outcome)?;
            Ok(outcome.is_exact())
        }
        Command::Series => report::line(&fleet::host(0).len()).map(|()| true),
    }
}
