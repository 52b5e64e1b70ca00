//! A node to read from, in this process or behind the network.

use std::sync::Arc;

use pharos_model::Budget;
use pharos_transport::query::{NewerView, Read, ReadError, ReadView};
use pharos_transport::{RemoteSource, Scope, SeriesSource};

/// A role of a node.
#[derive(Clone)]
pub(crate) enum Node {
    /// In this process.
    Local(LocalNode),
    /// In another process.
    Remote(RemoteSource),
}

/// A role of this process, read under a view as those of other nodes are.
#[derive(Clone)]
pub(crate) struct LocalNode {
    pub(crate) source: Arc<dyn SeriesSource>,
    pub(crate) view: ReadView,
    /// Remembers that the source's view is newer.
    pub(crate) newer: NewerView,
}

impl Node {
    /// Reads from the node. A local read runs on a thread that may block, after the source has admitted the view and has
    /// confirmed that it has what the scope requires. Remote nodes check that themselves.
    pub(crate) async fn read<R: Read>(self, scope: Scope, read: R, budget: Arc<Budget>) -> Result<R::Found, ReadError> {
        let LocalNode { source, view, newer } = match self {
            Node::Remote(source) => return read.remote(&source, &scope, &budget).await,
            Node::Local(local) => local,
        };
        let reading = tokio::task::spawn_blocking(move || {
            newer.note(source.admit(&scope.tenant, &view)?);
            source.covers(&scope, budget.remaining())?;
            read.local(source.as_ref(), &scope, &budget)
        });
        let broken = |error| Err(ReadError::Unreachable(format!("this node failed to answer: {error}")));
        reading.await.unwrap_or_else(broken)
    }
}
