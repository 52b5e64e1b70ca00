//! The command line: `pharos [server] FLAGS`, `pharos alertmanager FLAGS`, `pharos cluster …`, `pharos tool …`. Owns the names of all flags.
//!
//! Flags have the names that Prometheus gives them and two dashes: `--flag=value` or `--flag value`. Switches are `--flag`,
//! `--no-flag` or `--flag=false`. A wrong command line ends the process with exit code 2.

mod alertmanager_args;
mod cluster;
mod cluster_args;
mod features;
mod inert;
mod roles;
mod server_args;
mod tool;
mod values;

use std::collections::BTreeMap;
use std::ffi::OsString;

use clap::parser::ValueSource;
use clap::{ArgMatches, CommandFactory, FromArgMatches, Parser, Subcommand};

pub use alertmanager_args::{AlertmanagerArgs, AlertmanagerClusterArgs, BuiltInAlertmanagerArgs};
pub use cluster::{BlockCommand, ClusterCommand, ClusterCommandArgs};
pub use cluster_args::ClusterArgs;
pub use features::Features;
pub use inert::InertFlags;
pub use roles::{Role, Roles};
pub use server_args::{LogFormat, LogLevel, QueryArgs, ServerArgs, StalePolicy, WebArgs};
pub use tool::{CheckCommand, DocsCommand, RulesCommand, TestCommand, ToolCommand, WalCommand};
pub use values::ListenAddress;

/// A parsed command line.
#[derive(Debug, Parser)]
#[command(
    name = "pharos",
    version,
    about = "A Prometheus-compatible time-series cluster in one binary, with its history in Parquet",
    long_about = None,
    after_help = TOUR,
    max_term_width = 110,
    propagate_version = true,
)]
pub struct Cli {
    /// The subcommand; `server` when the command line names none.
    #[command(subcommand)]
    pub command: Command,
}

/// A subcommand with its arguments.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the server: scrape, receive, store and answer PromQL (the default)
    Server(Box<ServerArgs>),
    /// Run an Alertmanager: group, silence and send alerts. Takes the flags of Alertmanager
    Alertmanager(Box<AlertmanagerArgs>),
    /// Inspect a running cluster, drain and remove nodes, save and restore its state
    Cluster(ClusterCommandArgs),
    /// Check configurations, test rules and queries, repair a write-ahead log
    #[command(subcommand)]
    Tool(ToolCommand),
}

const TOUR: &str = "\
Examples:
  pharos                                        scrape itself, listen on :9090, keep data under ./data
  pharos --config.file=prometheus.yml           run with a Prometheus configuration
  pharos server --help                          all flags of the server
  pharos alertmanager                           run an Alertmanager on :9093 with ./alertmanager.yml
  pharos version                                print the version
  pharos cluster status                         show the health of the cluster and what to do about it
  pharos tool check config prometheus.yml       check a configuration before a reload
  pharos tool test rules tests.yml              run unit tests of rules";

impl Cli {
    /// Parses arguments, of which the first is the program's name. `--help` and `--version` arrive as errors with exit code 0.
    pub fn try_parse_from_args(args: impl IntoIterator<Item = impl Into<OsString>>) -> Result<Cli, clap::Error> {
        let mut command = Cli::command();
        let args = normalize(&command, args.into_iter().map(Into::into).collect());
        reject_single_dash(&mut command, &args)?;
        let matches = command.clone().try_get_matches_from(args)?;
        let mut cli = Cli::from_arg_matches(&matches)?;
        if let (Command::Server(server), Some(given)) = (&mut cli.command, matches.subcommand_matches("server")) {
            server.values = values_of(server_command(&command), given);
            server.storage.is_window_given = given.value_source("min_block_duration") == Some(ValueSource::CommandLine);
            server.check().map_err(|reason| command.error(clap::error::ErrorKind::ValueValidation, reason))?;
        }
        if let Command::Alertmanager(args) = &cli.command {
            args.inert.check().map_err(|reason| command.error(clap::error::ErrorKind::ValueValidation, reason))?;
        }
        Ok(cli)
    }
}

fn server_command(command: &clap::Command) -> &clap::Command {
    command.find_subcommand("server").unwrap_or(command)
}

/// Inserts `server` when the subcommand is missing, and rewrites `version` to `--version` and `--no-switch` to
/// `--switch=false`.
fn normalize(command: &clap::Command, mut args: Vec<OsString>) -> Vec<OsString> {
    const TOP_LEVEL: [&str; 9] =
        ["server", "alertmanager", "cluster", "tool", "help", "-h", "--help", "-V", "--version"];
    if args.is_empty() {
        args.push("pharos".into());
    }
    if args.get(1).is_some_and(|arg| arg == "version") {
        args[1] = "--version".into();
    }
    let first = args.get(1).and_then(|arg| arg.to_str());
    if !first.is_some_and(|arg| TOP_LEVEL.contains(&arg)) {
        args.insert(1, "server".into());
    }
    let given = args.get(1).and_then(|name| command.find_subcommand(name)).unwrap_or(command);
    let is_switch =
        |name: &str| given.get_arguments().any(|arg| arg.get_long() == Some(name) && server_args::is_switch(arg));
    for arg in &mut args {
        let switch = arg.to_str().and_then(|arg| arg.strip_prefix("--no-")).filter(|name| is_switch(name));
        if let Some(name) = switch {
            *arg = format!("--{name}=false").into();
        }
    }
    args
}

/// Explains `-config.file`. Clap would only complain about `-c`.
fn reject_single_dash(command: &mut clap::Command, args: &[OsString]) -> Result<(), clap::Error> {
    for arg in args.iter().skip(1).filter_map(|arg| arg.to_str()) {
        let Some(name) = arg.strip_prefix('-').filter(|name| name.len() > 1 && !name.starts_with('-')) else {
            continue;
        };
        let name = name.split('=').next().unwrap_or(name);
        let known = server_command(command).get_arguments().any(|arg| arg.get_long() == Some(name));
        if known {
            let reason = format!("unexpected argument '-{name}': flags take two dashes, write '--{name}'");
            return Err(command.error(clap::error::ErrorKind::UnknownArgument, reason));
        }
    }
    Ok(())
}

/// Flags whose values the status API hides.
const SECRETS: [&str; 1] = ["cluster.token"];

/// Every flag and alias with the text of its value, for `/api/v1/status/flags`.
fn values_of(command: &clap::Command, given: &ArgMatches) -> BTreeMap<String, String> {
    let mut values = BTreeMap::new();
    for arg in command.get_arguments() {
        let id = arg.get_id().as_str();
        let Some(long) = arg.get_long().filter(|long| !["help", "version"].contains(long)) else { continue };
        let raw = given.try_get_raw(id).ok().flatten();
        let texts = raw.into_iter().flatten().map(|value| value.to_string_lossy().into_owned());
        let mut text = texts.collect::<Vec<_>>().join(",");
        if text.is_empty() {
            text = inert::default_of(long).unwrap_or_default().to_string();
        }
        if SECRETS.contains(&long) && !text.is_empty() {
            text = "<secret>".into();
        }
        for alias in arg.get_all_aliases().unwrap_or_default() {
            values.insert(alias.to_string(), text.clone());
        }
        values.insert(long.to_string(), text);
    }
    values
}

#[cfg(test)]
mod tests;
