//! The flags that tell a node how to find its cluster and whom to trust.

use std::path::PathBuf;

use clap::Args;
use pharos_config::ByteSize;

use super::values::{ListenAddress, byte_size, positive_count};

/// How a node finds its cluster, and whom it trusts.
#[derive(Clone, Debug, Args)]
pub struct ClusterArgs {
    /// Cluster addresses of other nodes, at least one of them with the meta role. A node with all roles and without this
    /// flag is a cluster of one
    #[arg(long, value_name = "HOST:PORT,…", value_delimiter = ',')]
    pub join: Vec<String>,

    /// Address to listen on for other nodes. A node with all roles and without --join listens only if this is given
    /// [default: 0.0.0.0:7946]
    #[arg(id = "cluster.listen-address", long = "cluster.listen-address", value_name = "HOST:PORT")]
    pub listen_address: Option<ListenAddress>,

    /// Address at which other nodes reach this one [default: this machine's address on the route to --join, with the port
    /// of --cluster.listen-address]
    #[arg(long = "cluster.advertise-address", value_name = "HOST:PORT")]
    pub advertise_address: Option<String>,

    /// Failure domain of this node, such as a rack or a data centre. Copies of a shard go to different zones
    #[arg(long = "cluster.zone", value_name = "NAME", default_value = "")]
    pub zone: String,

    /// Share of shards relative to other ingesters, and of targets relative to other agents
    #[arg(long = "cluster.weight", value_name = "N", default_value = "100", value_parser = positive_count)]
    pub weight: u64,

    /// Number of meta nodes that bootstrap the cluster together. Ignored once the cluster exists
    /// [default: the number of --join addresses, at least 2; 1 without --join]
    #[arg(long = "cluster.expect", value_name = "N", value_parser = positive_count)]
    pub expect: Option<u64>,

    /// Copies of each sample. Set when the cluster is bootstrapped
    #[arg(long = "cluster.replication-factor", value_name = "N", default_value = "1", value_parser = positive_count)]
    pub replication_factor: u64,

    /// Number of shards. Set when the cluster is bootstrapped and fixed from then on
    #[arg(long = "cluster.shards", value_name = "N", default_value = "64", value_parser = positive_count)]
    pub shards: u64,

    /// Bytes per second that an ingester copies from another one while it catches up; 0B means no limit
    #[arg(long = "cluster.catch-up-rate", value_name = "SIZE", default_value = "64MB", value_parser = byte_size)]
    pub catch_up_rate: ByteSize,

    /// Shared secret by which nodes authenticate to each other. Other users of the machine can read it on the command line:
    /// prefer --cluster.token-file
    #[arg(long = "cluster.token", value_name = "TEXT", conflicts_with = "token_file")]
    pub token: Option<String>,

    /// File with the shared secret
    #[arg(long = "cluster.token-file", value_name = "FILE")]
    pub token_file: Option<PathBuf>,

    /// Certificate chain of this node (PEM), for TLS between nodes; reloaded when it changes
    #[arg(long = "tls.cert-file", value_name = "FILE", requires_all = ["key_file", "ca_file"])]
    pub cert_file: Option<PathBuf>,

    /// Private key of the certificate (PEM)
    #[arg(long = "tls.key-file", value_name = "FILE", requires_all = ["cert_file", "ca_file"])]
    pub key_file: Option<PathBuf>,

    /// Certificates of the authorities that sign the certificates of all nodes (PEM)
    #[arg(long = "tls.ca-file", value_name = "FILE", requires_all = ["cert_file", "key_file"])]
    pub ca_file: Option<PathBuf>,

    /// Name in the certificates of all nodes [default: the host of each node's cluster address]
    #[arg(long = "tls.server-name", value_name = "NAME", requires = "ca_file")]
    pub server_name: Option<String>,
}

impl ClusterArgs {
    /// Whether other nodes can reach this one.
    pub fn is_open(&self) -> bool {
        !self.join.is_empty() || self.listen_address.is_some() || self.advertise_address.is_some()
    }

    /// Number of meta nodes that bootstrap the cluster together.
    pub fn founders(&self) -> usize {
        let mut named: Vec<&str> = self.join.iter().map(String::as_str).collect();
        named.sort_unstable();
        named.dedup();
        let default = if named.is_empty() { 1 } else { named.len().max(2) };
        self.expect.map_or(default, |expect| expect as usize)
    }

    /// A warning if the command line shows the shared secret.
    pub(super) fn warning(&self) -> Option<String> {
        let reason = "--cluster.token shows the secret to every user of this machine who lists its processes: put it into a \
                      file and pass --cluster.token-file";
        self.token.as_ref().map(|_| reason.into())
    }

    pub(super) fn check(&self) -> Result<(), String> {
        for address in self.join.iter().chain(&self.advertise_address) {
            let port = address.rsplit_once(':').map(|(host, port)| (host.is_empty(), port.parse::<u16>()));
            if !matches!(port, Some((false, Ok(_)))) {
                return Err(format!("{address:?} is not a cluster address: expected host:port, such as meta-1:7946"));
            }
        }
        if !(1..=16).contains(&self.replication_factor) {
            return Err(format!("--cluster.replication-factor: {} is not between 1 and 16", self.replication_factor));
        }
        if self.shards > u64::from(pharos_model::shards::MAX_SHARDS) {
            return Err(format!("--cluster.shards: {} is more than {}", self.shards, pharos_model::shards::MAX_SHARDS));
        }
        if self.weight > 10_000 {
            return Err(format!("--cluster.weight: {} is more than 10000", self.weight));
        }
        Ok(())
    }
}
