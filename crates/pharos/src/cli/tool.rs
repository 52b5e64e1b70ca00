//! The arguments of `pharos tool`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Subcommand;
use pharos_api::params::parse_time;
use url::Url;

use super::values::positive_duration;

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
    /// Evaluate rules over the history of a server
    #[command(subcommand)]
    Rules(RulesCommand),
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

/// What to do with rules.
#[derive(Debug, Subcommand)]
pub enum RulesCommand {
    /// Print when each alert would have fired, as the rules of files find it in the history of a server. The exit code is 1
    /// when an evaluation fails
    Replay {
        /// Rule files
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
        /// Time of the first evaluation: RFC 3339, or seconds since the epoch
        #[arg(long, value_name = "TIME", value_parser = parse_time, allow_negative_numbers = true)]
        start: i64,
        /// Time after which nothing is evaluated [default: now]
        #[arg(long, value_name = "TIME", value_parser = parse_time, allow_negative_numbers = true)]
        end: Option<i64>,
        /// URL of the server
        #[arg(long, value_name = "URL", default_value = "http://localhost:9090")]
        url: Url,
        /// Tenant whose samples are read and written [default: the default tenant]
        #[arg(long, value_name = "NAME")]
        tenant: Option<String>,
        /// Time between evaluations of groups that have no interval
        #[arg(long = "eval-interval", value_name = "DURATION", default_value = "60s", value_parser = positive_duration)]
        eval_interval: Duration,
        /// Write what recording rules record, by remote write. The server refuses samples that are older than its
        /// out_of_order_time_window
        #[arg(long)]
        write: bool,
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
