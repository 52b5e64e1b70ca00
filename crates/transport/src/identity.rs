//! The identity of the cluster in every call between nodes.
//!
//! An address may come to belong to a node of another cluster, as addresses of containers do, and clusters may share a token.
//! So each call names the caller's cluster ([`Identified`]), and each server refuses calls of other clusters
//! ([`IdentityCheck`]). Both read a [`ClusterIdentity`], which meta keeps up to date.
//!
//! A call without a name comes from a node that has not joined a cluster yet, or from an older version. Meta and Raft take it:
//! such a node has to find its cluster, and Raft's messages name their recipient. The other services take it only while
//! the cluster has members of such a version.

use std::sync::Arc;
use std::task::{Context, Poll};

use futures::future::{Either, Ready, ready};
use http::HeaderValue;
use parking_lot::RwLock;
use tonic::Status;
use tonic::body::Body;
use tower::{Layer, Service, ServiceExt};

use crate::connect::{Connect, Connection};
use crate::meta_v1::{meta_server, raft_server};

/// The header that carries the identity of the caller's cluster.
pub const CLUSTER_HEADER: &str = "x-pharos-cluster";

/// What a node knows about its cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KnownCluster {
    /// Identity of the cluster; empty while the node is in none.
    pub cluster: String,
    /// Identities of clusters whose state was restored in this one. Their nodes may ask meta, which moves them to this cluster.
    pub former: Vec<String>,
    /// Whether the cluster may have members whose calls name no cluster.
    pub has_older_members: bool,
}

/// The cluster of this node, as its connections and its server know it. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct ClusterIdentity {
    known: Arc<RwLock<Arc<Named>>>,
}

#[derive(Debug, Default)]
struct Named {
    known: KnownCluster,
    header: Option<HeaderValue>,
}

/// The service that is called, which decides who may call it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Callee {
    Raft,
    Meta,
    Other,
}

impl ClusterIdentity {
    /// Replaces what is known.
    pub fn set(&self, known: KnownCluster) {
        if self.known.read().known == known {
            return;
        }
        let header = Some(&known.cluster).filter(|cluster| !cluster.is_empty());
        let header = header.and_then(|cluster| HeaderValue::from_str(cluster).ok());
        *self.known.write() = Arc::new(Named { known, header });
    }

    /// What is known.
    pub fn get(&self) -> KnownCluster {
        self.known.read().known.clone()
    }

    fn header(&self) -> Option<HeaderValue> {
        self.known.read().header.clone()
    }

    /// Fails unless this node may answer a call to the method at `path` that names the cluster `given`.
    fn check(&self, path: &str, given: Option<&HeaderValue>) -> Result<(), Status> {
        let named = self.known.read().clone();
        let (known, service) = (&named.known, Callee::of(path));
        let ours = &known.cluster;
        let is_open = service != Callee::Other;
        if ours.is_empty() {
            let reason = "this node has not joined a cluster yet";
            return if is_open { Ok(()) } else { Err(Status::unavailable(reason)) };
        }
        let Some(given) = given else {
            if is_open || known.has_older_members {
                return Ok(());
            }
            let reason = format!("this node belongs to cluster {ours}, the call names no cluster");
            return Err(Status::failed_precondition(reason));
        };
        let theirs = given.to_str().unwrap_or("(unreadable)");
        if theirs == ours || service == Callee::Meta && known.former.iter().any(|former| former == theirs) {
            return Ok(());
        }
        let theirs: String = theirs.chars().take(128).collect();
        Err(Status::failed_precondition(format!("this node belongs to cluster {ours}, the call to cluster {theirs}")))
    }
}

impl Callee {
    fn of(path: &str) -> Callee {
        match path.strip_prefix('/').and_then(|path| path.split_once('/')) {
            Some((raft_server::SERVICE_NAME, _)) => Callee::Raft,
            Some((meta_server::SERVICE_NAME, _)) => Callee::Meta,
            _ => Callee::Other,
        }
    }
}

/// Connections whose calls name the cluster of this node.
pub struct Identified {
    inner: Arc<dyn Connect>,
    identity: ClusterIdentity,
}

impl Identified {
    /// Adds an identity to every call over these connections.
    pub fn new(inner: Arc<dyn Connect>, identity: ClusterIdentity) -> Self {
        Identified { inner, identity }
    }
}

impl Connect for Identified {
    fn connect(&self, address: &str) -> Result<Connection, Status> {
        let identity = self.identity.clone();
        let connection = self.inner.connect(address)?.map_request(move |mut request: http::Request<Body>| {
            if let Some(cluster) = identity.header() {
                request.headers_mut().insert(CLUSTER_HEADER, cluster);
            }
            request
        });
        Ok(Connection::new(connection))
    }

    fn reconnect(&self, address: &str) {
        self.inner.reconnect(address);
    }

    fn identity(&self) -> ClusterIdentity {
        self.identity.clone()
    }
}

/// A server layer that refuses calls of other clusters.
#[derive(Clone)]
pub struct IdentityCheck {
    identity: ClusterIdentity,
}

impl IdentityCheck {
    /// Compares calls with this identity.
    pub fn new(identity: ClusterIdentity) -> Self {
        IdentityCheck { identity }
    }
}

impl<S> Layer<S> for IdentityCheck {
    type Service = Checked<S>;

    fn layer(&self, inner: S) -> Checked<S> {
        Checked { inner, identity: self.identity.clone() }
    }
}

/// The service behind an [`IdentityCheck`].
#[derive(Clone)]
pub struct Checked<S> {
    inner: S,
    identity: ClusterIdentity,
}

impl<S, B, R> Service<http::Request<B>> for Checked<S>
where
    S: Service<http::Request<B>, Response = http::Response<R>>,
    R: Default,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Either<S::Future, Ready<Result<S::Response, S::Error>>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        match self.identity.check(request.uri().path(), request.headers().get(CLUSTER_HEADER)) {
            Ok(()) => Either::Left(self.inner.call(request)),
            Err(status) => Either::Right(ready(Ok(status.into_http()))),
        }
    }
}

#[cfg(test)]
mod tests;
