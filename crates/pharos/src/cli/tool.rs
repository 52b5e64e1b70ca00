//! The arguments of `pharos tool`.

use std::path::PathBuf;

use clap::Subcommand;

/// A tool with its arguments.
#[derive(Debug, Subcommand)]
pub enum ToolCommand {
    /// Check files before a server loads them
    #[command(subcommand)]
    Check(CheckCommand),
    /// Run PromQL test scripts (promqltest). The exit code is 1 when an evaluation differs from what is expected
    Promqltest {
        /// Scripts to run
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
    /// Run unit tests
    #[command(subcommand)]
    Test(TestCommand),
    /// Maintain a write-ahead log
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

/// A kind of file that can be checked.
#[derive(Debug, Subcommand)]
pub enum CheckCommand {
    /// Check configuration files and print SUCCESS or FAILED for each. The exit code is 1 when one is invalid
    Config {
        /// Files to check, such as prometheus.yml
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
    /// Check configuration files of the Alertmanager, with their templates. The exit code is 1 when one is invalid
    #[command(name = "alertmanager-config")]
    AlertmanagerConfig {
        /// Files to check, such as alertmanager.yml
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
    /// Check rule files. The exit code is 1 when one is invalid, and 3 when a lint check fails and --lint-fatal is set
    Rules {
        /// Files to check [default: standard input]
        #[arg(value_name = "FILE")]
        files: Vec<PathBuf>,
        /// Lint checks, separated by commas: all, duplicate-rules, none
        #[arg(long, value_name = "CHECK,…", default_value = "duplicate-rules")]
        lint: String,
        /// Fail when a lint check does
        #[arg(long = "lint-fatal")]
        lint_fatal: bool,
        /// Ignore unknown fields
        #[arg(long = "ignore-unknown-fields")]
        ignore_unknown_fields: bool,
    },
}

/// A kind of unit test.
#[derive(Debug, Subcommand)]
pub enum TestCommand {
    /// Run unit tests of rules in promtool's format. The exit code is 1 when one fails
    Rules {
        /// Test files to run
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
        /// Run only test groups whose names match. Repeatable
        #[arg(long, value_name = "REGEX")]
        run: Vec<String>,
        /// Ignore unknown fields in rule files
        #[arg(long = "ignore-unknown-fields")]
        ignore_unknown_fields: bool,
        /// File to write the results to as JUnit XML
        #[arg(long, value_name = "FILE")]
        junit: Option<PathBuf>,
        /// Print how the alerts differ from what is expected, rather than both
        #[arg(long)]
        diff: bool,
        /// Print which test runs, and all samples at its end
        #[arg(long)]
        debug: bool,
        /// Accepted for compatibility with promtool; all features are enabled
        #[arg(long = "enable-feature", value_name = "NAME,…", hide = true)]
        enable_feature: Vec<String>,
    },
}

/// An operation on a write-ahead log.
#[derive(Debug, Subcommand)]
pub enum WalCommand {
    /// Cut each damaged segment at its first bad record, so that the server can start. The records after it are lost
    Repair {
        /// Folder of the log, as named in the server's error
        #[arg(value_name = "DIR")]
        dir: PathBuf,
    },
}
