//! The wire types that are generated from proto/, and the clients and servers through which roles call each other.

#![forbid(unsafe_code)]

pub mod append;
pub mod connect;
pub mod identity;
pub mod ingest;
pub mod query;

pub use connect::{ByteStream, Channels, Connect, Connection, Dial, TokenCheck};
pub use identity::{ClusterIdentity, Identified, IdentityCheck, KnownCluster};
pub use ingest::Ingest;
pub use query::{Completeness, QueryServices, RemoteSource, Scope, SeriesExemplars, SeriesSource};

/// Calls between agents, and calls from other roles to agents.
#[allow(missing_docs, unreachable_pub, clippy::all, reason = "generated")]
pub mod agent_v1 {
    include!(concat!(env!("OUT_DIR"), "/pharos.agent.v1.rs"));
}

/// Calls between replicas of the Alertmanager, and calls from rulers to them.
#[allow(missing_docs, unreachable_pub, clippy::all, reason = "generated")]
pub mod alertmanager_v1 {
    include!(concat!(env!("OUT_DIR"), "/pharos.alertmanager.v1.rs"));
}

/// Calls of the write path between nodes.
#[allow(missing_docs, unreachable_pub, clippy::all, reason = "generated")]
pub mod ingest_v1 {
    include!(concat!(env!("OUT_DIR"), "/pharos.ingest.v1.rs"));
}

/// Calls between members of the Raft group, and calls from other nodes to members.
#[allow(missing_docs, unreachable_pub, clippy::all, reason = "generated")]
pub mod meta_v1 {
    include!(concat!(env!("OUT_DIR"), "/pharos.meta.v1.rs"));
}

/// Calls of the read path between nodes.
#[allow(missing_docs, unreachable_pub, clippy::all, reason = "generated")]
pub mod query_v1 {
    include!(concat!(env!("OUT_DIR"), "/pharos.query.v1.rs"));
}

/// Calls from other nodes to rulers.
#[allow(missing_docs, unreachable_pub, clippy::all, reason = "generated")]
pub mod ruler_v1 {
    include!(concat!(env!("OUT_DIR"), "/pharos.ruler.v1.rs"));
}

/// Messages of remote write 1.0 and remote read.
#[allow(missing_docs, unreachable_pub, clippy::all, reason = "generated")]
pub mod prometheus {
    include!(concat!(env!("OUT_DIR"), "/prometheus.rs"));
}

/// Messages of remote write 2.0.
#[allow(missing_docs, unreachable_pub, clippy::all, reason = "generated")]
pub mod write_v2 {
    include!(concat!(env!("OUT_DIR"), "/io.prometheus.write.v2.rs"));
}

/// Messages of the protobuf exposition format that scrape targets serve.
#[allow(missing_docs, unreachable_pub, clippy::all, reason = "generated")]
pub mod client {
    include!(concat!(env!("OUT_DIR"), "/io.prometheus.client.rs"));
}

/// Messages of OTLP. The modules nest like the protobuf packages, because the generated types refer to each other by
/// relative paths.
#[allow(missing_docs, unreachable_pub, clippy::all, reason = "generated")]
pub mod opentelemetry {
    pub mod proto {
        pub mod common {
            pub mod v1 {
                include!(concat!(env!("OUT_DIR"), "/opentelemetry.proto.common.v1.rs"));
            }
        }
        pub mod resource {
            pub mod v1 {
                include!(concat!(env!("OUT_DIR"), "/opentelemetry.proto.resource.v1.rs"));
            }
        }
        pub mod metrics {
            pub mod v1 {
                include!(concat!(env!("OUT_DIR"), "/opentelemetry.proto.metrics.v1.rs"));
            }
        }
        pub mod collector {
            pub mod metrics {
                pub mod v1 {
                    include!(concat!(env!("OUT_DIR"), "/opentelemetry.proto.collector.metrics.v1.rs"));
                }
            }
        }
    }
}

pub use opentelemetry::proto as otlp;

#[cfg(test)]
mod tests;
