//! `pharos tool`: what an operator does beside the server.

use std::path::PathBuf;

use clap::Subcommand;

/// The tools.
#[derive(Debug, Subcommand)]
pub enum ToolCommand {
    /// Check files before the server reads them
    #[command(subcommand)]
    Check(CheckCommand),
    /// Look after a write-ahead log
    #[command(subcommand)]
    Wal(WalCommand),
}

/// What can be checked.
#[derive(Debug, Subcommand)]
pub enum CheckCommand {
    /// Check configuration files: prints SUCCESS or FAILED for each, exits with 1 when one is bad
    Config {
        /// The files, for example prometheus.yml
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
}

/// What can be done to a write-ahead log.
#[derive(Debug, Subcommand)]
pub enum WalCommand {
    /// Cut the log at its first bad record, so that the server starts again; what follows it in its segment is lost
    Repair {
        /// The folder of the log, as the server's error names it
        #[arg(value_name = "DIR")]
        dir: PathBuf,
    },
}
