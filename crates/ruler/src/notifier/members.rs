//! The Alertmanagers of the cluster's other nodes. They get alerts over the connections of the cluster, with its encryption
//! and its token.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use pharos_cluster::{Member, Role, View};
use pharos_transport::Connect;
use pharos_transport::alertmanager_v1::Alerts;
use pharos_transport::alertmanager_v1::alertmanager_client::AlertmanagerClient;
use tokio::sync::watch;

use super::Shared;
use super::destination::{Destination, Post};
use crate::components::OutgoingAlert;

/// How long a request may take: the default of the section `alerting`.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The path of the API at which a member's Alertmanager is shown.
const PATH: &str = "/alertmanager/api/v2/alerts";

/// Where the Alertmanagers of other nodes are found, and how they are reached.
pub struct MemberAlertmanagers {
    /// The identity of this node, whose Alertmanager is not among them.
    pub node: String,
    /// The views of the cluster.
    pub views: watch::Receiver<View>,
    /// Connections to nodes.
    pub connect: Arc<dyn Connect>,
}

impl MemberAlertmanagers {
    /// The live members with an Alertmanager.
    fn found<'v>(&'v self, view: &'v View) -> impl Iterator<Item = &'v Arc<Member>> {
        view.live(Role::Alertmanager).filter(|member| member.id != self.node)
    }
}

/// The destinations by the URL under which they are shown and the address of the node.
#[derive(Default)]
pub(super) struct MemberDestinations(Mutex<BTreeMap<(String, String), Destination>>);

impl MemberDestinations {
    /// Starts destinations for new members. Returns those of members that are gone.
    pub(super) fn sync(
        &self,
        members: &MemberAlertmanagers,
        view: &View,
        shared: &Arc<Shared>,
    ) -> impl Iterator<Item = Destination> + use<> {
        let mut destinations = self.0.lock();
        let mut previous = std::mem::take(&mut *destinations);
        for member in members.found(view) {
            let key = (format!("http://{}{PATH}", member.http_address), member.address.clone());
            let start = || {
                let post = NodePost { address: member.address.clone(), connect: members.connect.clone() };
                Destination::start(&key.0, Arc::new(post), shared.clone())
            };
            let destination = previous.remove(&key).unwrap_or_else(start);
            destinations.insert(key, destination);
        }
        previous.into_values()
    }

    /// Takes all destinations away.
    pub(super) fn take_all(&self) -> impl Iterator<Item = Destination> + use<> {
        std::mem::take(&mut *self.0.lock()).into_values()
    }

    /// The URLs under which the Alertmanagers are shown.
    pub(super) fn urls(&self) -> Vec<String> {
        self.0.lock().keys().map(|(url, _)| url.clone()).collect()
    }

    /// Queues alerts for all of them.
    pub(super) fn add(&self, alerts: &[OutgoingAlert]) {
        let destinations = self.0.lock();
        if destinations.is_empty() {
            return;
        }
        let alerts: Vec<Arc<OutgoingAlert>> = alerts.iter().cloned().map(Arc::new).collect();
        destinations.values().for_each(|destination| destination.add(&alerts));
    }
}

/// Sends bodies to a node.
struct NodePost {
    address: String,
    connect: Arc<dyn Connect>,
}

#[async_trait]
impl Post for NodePost {
    async fn post(&self, _: &str, body: Bytes) -> Result<(), String> {
        let connection = self.connect.connect(&self.address).map_err(|status| status.message().to_string())?;
        let put = async { AlertmanagerClient::new(connection).put(Alerts { json: body }).await };
        let late = |_| format!("node {} did not take them in {TIMEOUT:?}", self.address);
        let taken = tokio::time::timeout(TIMEOUT, put).await.map_err(late)?;
        taken.map(|_| ()).map_err(|status| format!("node {}: {}", self.address, status.message()))
    }
}
