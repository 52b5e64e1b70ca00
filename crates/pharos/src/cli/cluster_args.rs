//! The flags by which nodes find and trust each other.

use std::path::PathBuf;

use clap::Args;
use pharos_config::ByteSize;

use super::values::{ListenAddress, byte_size, positive_count};

/// How this node finds its cluster.
#[derive(Clone, Debug, Args)]
pub struct ClusterArgs {
    /// Cluster addresses of other nodes, at least one of which has the meta role. Without it and with all roles, the node
    /// is a cluster by itself
    #[arg(long, value_name = "HOST:PORT,…", value_delimiter = ',')]
    pub join: Vec<String>,

    /// Address to listen on for other nodes. A node with all roles and without --join listens only if this is given
    /// [default: 0.0.0.0:7946]
    #[arg(id = "cluster.listen-address", long = "cluster.listen-address", value_name = "HOST:PORT")]
    pub listen_address: Option<ListenAddress>,

    /// Address under which other nodes reach this one [default: the address of this machine on the way to --join, and the
    /// port of --cluster.listen-address]
    #[arg(long = "cluster.advertise-address", value_name = "HOST:PORT")]
    pub advertise_address: Option<String>,

    /// Zone, for example a rack or a data centre: copies of a shard are put into different zones
    #[arg(long = "cluster.zone", value_name = "NAME", default_value = "")]
    pub zone: String,

    /// Share of shards against other ingesters and of targets against other agents
    #[arg(long = "cluster.weight", value_name = "N", default_value = "100", value_parser = positive_count)]
    pub weight: u64,

    /// Nodes with the meta role that found the cluster together; only for nodes that have none yet
    /// [default: as many as --join names, at least 2; without --join, 1]
    #[arg(long = "cluster.expect", value_name = "N", value_parser = positive_count)]
    pub expect: Option<u64>,

    /// Copies of each sample, in a cluster that is founded
    #[arg(long = "cluster.replication-factor", value_name = "N", default_value = "1", value_parser = positive_count)]
    pub replication_factor: u64,

    /// Shards, in a cluster that is founded; fixed for ever
    #[arg(long = "cluster.shards", value_name = "N", default_value = "64", value_parser = positive_count)]
    pub shards: u64,

    /// Bytes a second that an ingester takes from another one while it catches up; 0B is no limit
    #[arg(long = "cluster.catch-up-rate", value_name = "SIZE", default_value = "64MB", value_parser = byte_size)]
    pub catch_up_rate: ByteSize,

    /// Secret that nodes show each other
    #[arg(long = "cluster.token", value_name = "TEXT", conflicts_with = "token_file")]
    pub token: Option<String>,

    /// File with the secret that nodes show each other
    #[arg(long = "cluster.token-file", value_name = "FILE")]
    pub token_file: Option<PathBuf>,

    /// Certificate of this node, with its chain (PEM), for TLS between nodes; read again when it changes
    #[arg(long = "tls.cert-file", value_name = "FILE", requires_all = ["key_file", "ca_file"])]
    pub cert_file: Option<PathBuf>,

    /// Key of the certificate (PEM)
    #[arg(long = "tls.key-file", value_name = "FILE", requires_all = ["cert_file", "ca_file"])]
    pub key_file: Option<PathBuf>,

    /// Certificate of the authority (PEM) that has signed those of all nodes
    #[arg(long = "tls.ca-file", value_name = "FILE", requires_all = ["cert_file", "key_file"])]
    pub ca_file: Option<PathBuf>,

    /// Name that the certificates of all nodes have [default: the host of each node's cluster address]
    #[arg(long = "tls.server-name", value_name = "NAME", requires = "ca_file")]
    pub server_name: Option<String>,
}

impl ClusterArgs {
    /// Whether other nodes are meant to reach this one.
    pub fn is_open(&self) -> bool {
        !self.join.is_empty() || self.listen_address.is_some() || self.advertise_address.is_some()
    }

    /// Nodes that found the cluster together.
    pub fn founders(&self) -> usize {
        let mut named: Vec<&str> = self.join.iter().map(String::as_str).collect();
        named.sort_unstable();
        named.dedup();
        let default = if named.is_empty() { 1 } else { named.len().max(2) };
        self.expect.map_or(default, |expect| expect as usize)
    }

    pub(super) fn check(&self) -> Result<(), String> {
        for address in self.join.iter().chain(&self.advertise_address) {
            let port = address.rsplit_once(':').map(|(host, port)| (host.is_empty(), port.parse::<u16>()));
            if !matches!(port, Some((false, Ok(_)))) {
                return Err(format!("{address:?} is no cluster address: host:port is needed, for example meta-1:7946"));
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
