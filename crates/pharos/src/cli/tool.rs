//! `pharos tool`: what an operator does beside the server.

use std::path::PathBuf;

use clap::Subcommand;

/// The tools.
#[derive(Debug, Subcommand)]
pub enum ToolCommand {
    /// Check files before the server reads them
    #[command(subcommand)]
    Check(CheckCommand),
    /// Run scripts of the promqltest language: exits with 1 when an evaluation gives something else than is expected
    Promqltest {
        /// The scripts
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
    /// Unit tests
    #[command(subcommand)]
    Test(TestCommand),
    /// Look after a write-ahead log
    #[command(subcommand)]
    Wal(WalCommand),
    /// Print reference tables in Markdown
    #[command(subcommand, hide = true)]
    Docs(DocsCommand),
}

/// The reference tables.
#[derive(Debug, Subcommand)]
pub enum DocsCommand {
    /// Commands and their flags
    Flags,
    /// Fields of the configuration file
    Config {
        /// The repository whose source code describes them
        #[arg(long, value_name = "DIR", default_value = ".")]
        source: PathBuf,
    },
    /// Metrics of the server
    Metrics {
        /// The repository whose source code creates them
        #[arg(long, value_name = "DIR", default_value = ".")]
        source: PathBuf,
    },
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

/// What can be tested.
#[derive(Debug, Subcommand)]
pub enum TestCommand {
    /// Unit tests of rules, in promtool's format: exits with 1 when one fails
    Rules {
        /// The files with the tests
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
        /// Run only groups of tests whose names match. Can be repeated
        #[arg(long, value_name = "REGEX")]
        run: Vec<String>,
        /// Pass over unknown fields of rule files
        #[arg(long = "ignore-unknown-fields")]
        ignore_unknown_fields: bool,
        /// Features by name, as promtool takes them; all of them are on
        #[arg(long = "enable-feature", value_name = "NAME,…", hide = true)]
        enable_feature: Vec<String>,
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
