//! `pharos cluster`: what an operator asks of a running cluster.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use url::Url;

use super::values::positive_duration;

/// The command and how it reaches the cluster.
#[derive(Debug, Args)]
pub struct ClusterCommandArgs {
    /// API of any node of the cluster
    #[arg(long, global = true, value_name = "URL", default_value = "http://localhost:9090", value_parser = server_url)]
    pub server: Url,

    /// Secret of the cluster, for commands that change something
    #[arg(long, global = true, value_name = "TEXT", conflicts_with = "token_file")]
    pub token: Option<String>,

    /// File with the secret of the cluster
    #[arg(long = "token-file", global = true, value_name = "FILE")]
    pub token_file: Option<PathBuf>,

    /// The command
    #[command(subcommand)]
    pub command: ClusterCommand,
}

/// The commands. Each may be broken off and run again.
#[derive(Debug, Subcommand)]
pub enum ClusterCommand {
    /// Show nodes, shards, blocks, and what is not healthy: exits with 1 when something is critical
    Status {
        /// As JSON
        #[arg(long)]
        json: bool,
        /// Show every shard
        #[arg(long)]
        shards: bool,
    },
    /// Move everything off a node; returns when it can be stopped
    Drain {
        /// The node's identity, as status shows it [default: the node that is asked]
        #[arg(value_name = "NODE")]
        node: Option<String>,
        /// Call the drain off: the node takes its share again
        #[arg(long)]
        cancel: bool,
        /// Give up waiting after this time, with status 1; the drain goes on
        #[arg(long, value_name = "DURATION", value_parser = positive_duration)]
        timeout: Option<Duration>,
    },
    /// Remove a node that is gone for good; its identity never comes back
    Remove {
        /// The node's identity
        #[arg(value_name = "NODE")]
        node: String,
        /// Also when it is at work, or has the last copy of something, which is lost then
        #[arg(long)]
        force: bool,
    },
    /// Wait until shards are spread evenly, showing what moves; they are spread by themselves
    Rebalance,
    /// Write what the cluster agrees on (members, places of shards, the catalogue) to a file
    Snapshot {
        /// The file
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Put a snapshot in force again, or make the catalogue anew from what the blocks say of themselves
    Restore {
        /// The file
        #[arg(value_name = "FILE", required_unless_present_any = ["from_export", "from_blocks"])]
        file: Option<PathBuf>,
        /// Take the newest of the snapshots that the cluster writes to the object store every few minutes
        #[arg(long = "from-export", conflicts_with_all = ["file", "from_blocks"])]
        from_export: bool,
        /// Read the blocks in the object store instead; the catalogue must be empty
        #[arg(long = "from-blocks", conflicts_with = "file")]
        from_blocks: bool,
    },
}

fn server_url(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| format!("{error}; for example http://localhost:9090"))?;
    match url.scheme() {
        "http" | "https" if url.has_host() => Ok(url),
        scheme => Err(format!("unsupported scheme {scheme:?}: http or https is needed")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Cli, Command};
    use super::*;

    fn parse(line: &str) -> Result<ClusterCommandArgs, String> {
        let parsed =
            Cli::try_parse_from_args(format!("pharos cluster {line}").split(' ')).map_err(|e| e.to_string())?;
        match parsed.command {
            Command::Cluster(args) => Ok(args),
            other => Err(format!("{other:?}")),
        }
    }

    #[test]
    fn commands_take_the_server_before_and_after() {
        let args = parse("drain N --server http://h:1/p --token t").unwrap();
        assert_eq!((args.server.as_str(), args.token.as_deref()), ("http://h:1/p", Some("t")));
        assert!(matches!(args.command, ClusterCommand::Drain { node: Some(_), cancel: false, timeout: None }));
        let args = parse("--server http://h:1 drain").unwrap();
        assert!(matches!(args.command, ClusterCommand::Drain { node: None, .. }));
        assert_eq!(parse("status --json").unwrap().server.as_str(), "http://localhost:9090/");
        assert!(parse("status --server h:1").unwrap_err().contains("unsupported scheme"));
    }

    #[test]
    fn a_restore_has_one_source() {
        assert!(parse("restore f").is_ok() && parse("restore --from-blocks").is_ok());
        assert!(parse("restore --from-export").is_ok());
        for bad in
            ["restore", "restore f --from-blocks", "restore f --from-export", "restore --from-blocks --from-export"]
        {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
