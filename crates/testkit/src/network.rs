//! A network within the process: real gRPC calls between fake nodes, without sockets.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use parking_lot::Mutex;
use pharos_transport::{Connect, Connection};
use tonic::Status;
use tonic::service::Routes;
use tower::ServiceExt;

/// Nodes by address, and who is cut off. Clones share the network.
///
/// Every call looks the address up again, so that a node may be served, cut off or restarted while connections to it exist.
#[derive(Clone, Default)]
pub struct FakeNetwork {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    nodes: HashMap<String, Routes>,
    cut_off: BTreeSet<String>,
}

impl FakeNetwork {
    /// A network without nodes.
    pub fn new() -> Self {
        Self::default()
    }

    /// Serves `routes` at an address, in place of those that it served before.
    pub fn serve(&self, address: impl Into<String>, routes: Routes) {
        self.state.lock().nodes.insert(address.into(), routes);
    }

    /// Serves nothing at an address any more.
    pub fn remove(&self, address: &str) {
        self.state.lock().nodes.remove(address);
    }

    /// Cuts an address off: it reaches nobody, and nobody reaches it.
    pub fn cut_off(&self, address: impl Into<String>) {
        self.state.lock().cut_off.insert(address.into());
    }

    /// Undoes [`FakeNetwork::cut_off`].
    pub fn reconnect(&self, address: &str) {
        self.state.lock().cut_off.remove(address);
    }

    /// Undoes [`FakeNetwork::cut_off`] for all addresses.
    pub fn reconnect_all(&self) {
        self.state.lock().cut_off.clear();
    }

    /// Whether an address is cut off.
    pub fn is_cut_off(&self, address: &str) -> bool {
        self.state.lock().cut_off.contains(address)
    }

    /// The network as the node at an address sees it.
    pub fn link(&self, from: impl Into<String>) -> Arc<dyn Connect> {
        Arc::new(Link { network: self.clone(), from: Some(from.into()) })
    }

    fn routes(&self, from: Option<&str>, to: &str) -> Result<Routes, Status> {
        let state = self.state.lock();
        let is_cut_off = state.cut_off.contains(to) || from.is_some_and(|from| state.cut_off.contains(from));
        let routes = state.nodes.get(to).filter(|_| !is_cut_off);
        routes.cloned().ok_or_else(|| Status::unavailable(format!("{to} is unreachable")))
    }

    fn connection(&self, from: Option<String>, to: &str) -> Connection {
        let (network, to) = (self.clone(), to.to_string());
        Connection::new(tower::service_fn(move |request: http::Request<tonic::body::Body>| {
            let routes = network.routes(from.as_deref(), &to);
            async move { routes?.oneshot(request).await.map_err(|never| match never {}) }
        }))
    }
}

/// The network as somebody outside of it sees it.
impl Connect for FakeNetwork {
    fn connect(&self, address: &str) -> Result<Connection, Status> {
        Ok(self.connection(None, address))
    }
}

struct Link {
    network: FakeNetwork,
    from: Option<String>,
}

impl Connect for Link {
    fn connect(&self, address: &str) -> Result<Connection, Status> {
        Ok(self.network.connection(self.from.clone(), address))
    }
}

#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::*;

    /// What a call of a method that nobody serves comes to.
    async fn call(connect: &dyn Connect, to: &str) -> Result<u16, Code> {
        let connection = connect.connect(to).unwrap();
        let request = http::Request::builder().uri("/none").body(tonic::body::Body::empty()).unwrap();
        connection.oneshot(request).await.map(|answer| answer.status().as_u16()).map_err(|status| status.code())
    }

    #[tokio::test]
    async fn a_served_address_answers() {
        let network = FakeNetwork::new();
        network.serve("a:1", Routes::default());
        assert!(call(&network, "a:1").await.is_ok());
    }

    #[tokio::test]
    async fn an_unknown_or_removed_address_is_unavailable() {
        let network = FakeNetwork::new();
        assert_eq!(call(&network, "a:1").await, Err(Code::Unavailable));
        network.serve("a:1", Routes::default());
        network.remove("a:1");
        assert_eq!(call(&network, "a:1").await, Err(Code::Unavailable));
    }

    #[tokio::test]
    async fn a_node_that_is_cut_off_neither_reaches_nor_is_reached() {
        let network = FakeNetwork::new();
        network.serve("a:1", Routes::default());
        network.serve("b:1", Routes::default());
        network.cut_off("a:1");
        assert_eq!(call(&*network.link("b:1"), "a:1").await, Err(Code::Unavailable));
        assert_eq!(call(&*network.link("a:1"), "b:1").await, Err(Code::Unavailable));
        assert!(call(&*network.link("c:1"), "b:1").await.is_ok());
        network.reconnect("a:1");
        assert!(call(&*network.link("b:1"), "a:1").await.is_ok());
    }

    #[tokio::test]
    async fn a_connection_follows_the_node_that_is_served_at_its_address() {
        let network = FakeNetwork::new();
        let connection = network.connect("a:1").unwrap();
        network.serve("a:1", Routes::default());
        let request = http::Request::builder().uri("/none").body(tonic::body::Body::empty()).unwrap();
        assert!(connection.oneshot(request).await.is_ok());
    }
}
