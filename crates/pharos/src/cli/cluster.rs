//! The arguments of `pharos cluster`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use url::Url;

use super::values::positive_duration;

/// A cluster command and the node that it talks to.
#[derive(Debug, Args)]
pub struct ClusterCommandArgs {
    /// URL of the API of any node in the cluster
    #[arg(long, global = true, value_name = "URL", default_value = "http://localhost:9090", value_parser = server_url)]
    pub server: Url,

    /// Shared secret of the cluster, for commands that change something
    #[arg(long, global = true, value_name = "TEXT", conflicts_with = "token_file")]
    pub token: Option<String>,

    /// File with the shared secret of the cluster
    #[arg(long = "token-file", global = true, value_name = "FILE")]
    pub token_file: Option<PathBuf>,

    /// What to do
    #[command(subcommand)]
    pub command: ClusterCommand,
}

/// A cluster command. Each can be interrupted and rerun.
#[derive(Debug, Subcommand)]
pub enum ClusterCommand {
    /// Show nodes, shards, blocks and problems. The exit code is 1 when a problem is critical
    Status {
        /// Print JSON
        #[arg(long)]
        json: bool,
        /// Show all shards, not only those with too few copies in sync
        #[arg(long)]
        shards: bool,
    },
    /// Move everything off a node and wait until it can be stopped
    Drain {
        /// Identity of the node, as shown by status [default: the node at --server]
        #[arg(value_name = "NODE")]
        node: Option<String>,
        /// Cancel the drain: the node takes its share of the work again
        #[arg(long)]
        cancel: bool,
        /// Stop waiting after this time and exit with code 1; the drain continues
        #[arg(long, value_name = "DURATION", value_parser = positive_duration)]
        timeout: Option<Duration>,
    },
    /// Remove a node permanently; its identity can never rejoin
    Remove {
        /// Identity of the node, as shown by status
        #[arg(value_name = "NODE")]
        node: String,
        /// Remove the node even if it is running or has the last copy of some samples, which are then lost
        #[arg(long)]
        force: bool,
    },
    /// Wait until shards are balanced, and show what moves. The cluster balances them on its own
    Rebalance,
    /// Save the state of the cluster to a file: members, shard placement and the block catalogue
    Snapshot {
        /// File to write
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Restore a snapshot, or rebuild the catalogue from the metadata of the blocks
    Restore {
        /// Snapshot file to read
        #[arg(value_name = "FILE", required_unless_present_any = ["from_export", "from_blocks"])]
        file: Option<PathBuf>,
        /// Use the newest snapshot in the object store; the cluster writes one every few minutes
        #[arg(long = "from-export", conflicts_with_all = ["file", "from_blocks"])]
        from_export: bool,
        /// Rebuild the catalogue from the blocks in the object store; it must be empty
        #[arg(long = "from-blocks", conflicts_with = "file")]
        from_blocks: bool,
    },
    /// Work on one block
    #[command(subcommand)]
    Block(BlockCommand),
}

/// A command about one block.
#[derive(Debug, Subcommand)]
pub enum BlockCommand {
    /// Take a damaged block out of the catalogue, so that queries over its time work again without its samples. Its files are
    /// kept
    Quarantine {
        /// Tenant of the block
        #[arg(value_name = "TENANT")]
        tenant: String,
        /// Id of the block, as shown in the log
        #[arg(value_name = "BLOCK")]
        block: String,
    },
}

fn server_url(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| format!("{error}; expected a URL such as http://localhost:9090"))?;
    match url.scheme() {
        "http" | "https" if url.has_host() => Ok(url),
        scheme => Err(format!("unsupported scheme {scheme:?}: expected http or https")),
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
    fn the_server_may_stand_before_or_after_the_command() {
        let args = parse("drain N --server http://h:1/p --token t").unwrap();
        assert_eq!((args.server.as_str(), args.token.as_deref()), ("http://h:1/p", Some("t")));
        assert!(matches!(args.command, ClusterCommand::Drain { node: Some(_), cancel: false, timeout: None }));
        let args = parse("--server http://h:1 drain").unwrap();
        assert!(matches!(args.command, ClusterCommand::Drain { node: None, .. }));
        assert_eq!(parse("status --json").unwrap().server.as_str(), "http://localhost:9090/");
        assert!(parse("status --server h:1").unwrap_err().contains("unsupported scheme"));
    }

    #[test]
    fn a_restore_has_exactly_one_source() {
        assert!(parse("restore f").is_ok() && parse("restore --from-blocks").is_ok());
        assert!(parse("restore --from-export").is_ok());
        for bad in
            ["restore", "restore f --from-blocks", "restore f --from-export", "restore --from-blocks --from-export"]
        {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
