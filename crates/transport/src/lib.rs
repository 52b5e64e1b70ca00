//! Wire types generated from proto/ and the clients through which roles call each other.

pub mod append;
pub mod connect;
pub mod ingest;
pub mod query;

pub use connect::{ByteStream, Channels, Connect, Connection, Dial, TokenCheck};
pub use ingest::Ingest;
pub use query::{Completeness, QueryServices, RemoteSource, Scope, SeriesExemplars, SeriesSource};

/// The calls between agents, and from other roles to agents.
#[allow(missing_docs, unreachable_pub, clippy::all, reason = "generated")]
pub mod agent_v1 {
    include!(concat!(env!("OUT_DIR"), "/pharos.agent.v1.rs"));
}

/// The write path between nodes.
#[allow(missing_docs, unreachable_pub, clippy::all, reason = "generated")]
pub mod ingest_v1 {
    include!(concat!(env!("OUT_DIR"), "/pharos.ingest.v1.rs"));
}

/// The calls between members of the Raft group, and from other nodes to them.
#[allow(missing_docs, unreachable_pub, clippy::all, reason = "generated")]
pub mod meta_v1 {
    include!(concat!(env!("OUT_DIR"), "/pharos.meta.v1.rs"));
}

/// The read path between nodes.
#[allow(missing_docs, unreachable_pub, clippy::all, reason = "generated")]
pub mod query_v1 {
    include!(concat!(env!("OUT_DIR"), "/pharos.query.v1.rs"));
}

/// Remote write 1.0 and remote read.
#[allow(missing_docs, unreachable_pub, clippy::all, reason = "generated")]
pub mod prometheus {
    include!(concat!(env!("OUT_DIR"), "/prometheus.rs"));
}

/// Remote write 2.0.
#[allow(missing_docs, unreachable_pub, clippy::all, reason = "generated")]
pub mod write_v2 {
    include!(concat!(env!("OUT_DIR"), "/io.prometheus.write.v2.rs"));
}

/// The protobuf exposition of scrape targets.
#[allow(missing_docs, unreachable_pub, clippy::all, reason = "generated")]
pub mod client {
    include!(concat!(env!("OUT_DIR"), "/io.prometheus.client.rs"));
}

/// OTLP. The nesting is that of the packages, because the generated types refer to each other through it.
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
