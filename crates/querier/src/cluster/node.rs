//! A node to read from, in this process or behind the network.

use std::sync::Arc;

use pharos_model::Budget;
use pharos_transport::query::{Read, ReadError};
use pharos_transport::{RemoteSource, Scope, SeriesSource};

/// A role of a node.
#[derive(Clone)]
pub(crate) enum Node {
    /// In this process.
    Local(Arc<dyn SeriesSource>),
    /// In another process.
    Remote(RemoteSource),
}

impl Node {
    /// Reads from the node. A local read runs on a thread that may block, and first confirms that the source has what the
    /// scope requires. Remote nodes check that themselves.
    pub(crate) async fn read<R: Read>(self, scope: Scope, read: R, budget: Arc<Budget>) -> Result<R::Found, ReadError> {
        let source = match self {
            Node::Remote(source) => return read.remote(&source, &scope, &budget).await,
            Node::Local(source) => source,
        };
        let reading = tokio::task::spawn_blocking(move || {
            source.covers(&scope, budget.remaining())?;
            read.local(source.as_ref(), &scope, &budget)
        });
        let broken = |error| Err(ReadError::Unreachable(format!("this node failed to answer: {error}")));
        reading.await.unwrap_or_else(broken)
    }
}
