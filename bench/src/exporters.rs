//! Fake exporters: each host of the fleet is a scrape target in the text format.

mod text;

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::sync::RwLock;

use crate::cli::ExportersArgs;
use crate::error::Error;
use crate::fleet::{self, Series};
use crate::timeline;

/// The series of the hosts that were scraped, so that a scrape costs this process little.
#[derive(Clone)]
struct Exporters {
    interval: u64,
    hosts: Arc<RwLock<BTreeMap<u64, Arc<Vec<Series>>>>>,
}

/// Serves until the process is killed.
pub(crate) async fn run(args: ExportersArgs) -> Result<(), Error> {
    let exporters = Exporters { interval: args.interval, hosts: Arc::default() };
    let app = Router::new().route("/host/{number}/metrics", get(metrics)).with_state(exporters);
    let listener = TcpListener::bind(&args.listen).await;
    let listener = listener.map_err(|source| Error::Listen { address: args.listen, source })?;
    axum::serve(listener, app).await.map_err(Error::Serve)
}

async fn metrics(State(exporters): State<Exporters>, Path(number): Path<u64>) -> impl IntoResponse {
    let step = timeline::now() as u64 / exporters.interval;
    let series = exporters.host(number).await;
    ([(CONTENT_TYPE, "text/plain; version=0.0.4")], text::exposition(&series, step))
}

impl Exporters {
    async fn host(&self, number: u64) -> Arc<Vec<Series>> {
        if let Some(known) = self.hosts.read().await.get(&number) {
            return known.clone();
        }
        let mut hosts = self.hosts.write().await;
        hosts.entry(number).or_insert_with(|| Arc::new(fleet::host(number))).clone()
    }
}
