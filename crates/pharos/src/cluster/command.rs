//! `pharos cluster`: asks a node over HTTP and shows the answer. What changes the cluster is asked for once; waiting is
//! only looking, so that every command may be broken off and run again.

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use pharos_transport::connect::TOKEN_HEADER;
use reqwest::Method;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use url::Url;

use super::drain::DrainStatus;
use super::health::Severity;
use super::status::ClusterStatus;
use super::text;
use crate::cli::{ClusterCommand, ClusterCommandArgs};

/// Pause between two looks.
const PAUSE: Duration = Duration::from_secs(1);
/// Longest time for an answer.
const ANSWER_TIME: Duration = Duration::from_secs(30);
/// Longest time for work over the whole state or bucket.
const WORK_TIME: Duration = Duration::from_secs(3600);
/// How often a node that does not answer is asked again while something is waited for.
const MOST_FAILURES: u32 = 30;

/// Runs a command; `Ok(false)` when what was asked for did not come to be.
pub fn run(args: &ClusterCommandArgs, out: &mut dyn Write) -> Result<bool, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| e.to_string())?;
    let client = Client::new(args)?;
    runtime.block_on(client.run(&args.command, out))
}

/// The API of a node.
struct Client {
    http: reqwest::Client,
    server: Url,
    token: Option<String>,
}

/// The envelope of answers.
#[derive(Deserialize)]
struct Envelope<T> {
    data: Option<T>,
    error: Option<String>,
}

impl Client {
    fn new(args: &ClusterCommandArgs) -> Result<Self, String> {
        let token = match &args.token_file {
            None => args.token.clone(),
            Some(file) => {
                let read =
                    std::fs::read_to_string(file).map_err(|e| format!("--token-file {}: {e}", file.display()))?;
                Some(read.trim().to_string())
            }
        };
        // Another provider of the process is as good.
        let _installed = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder().connect_timeout(Duration::from_secs(5)).build();
        Ok(Client { http: http.map_err(|e| e.to_string())?, server: args.server.clone(), token })
    }

    async fn run(&self, command: &ClusterCommand, out: &mut dyn Write) -> Result<bool, String> {
        match command {
            ClusterCommand::Status { json, shards } => self.status(*json, *shards, out).await,
            ClusterCommand::Drain { node, cancel, timeout } => {
                let drain = self.drain(node.as_deref(), *cancel, out);
                match timeout {
                    None => drain.await,
                    Some(timeout) => match tokio::time::timeout(*timeout, drain).await {
                        Ok(drained) => drained,
                        Err(_) => Err(format!("the node is not drained after {timeout:?}; the drain goes on")),
                    },
                }
            }
            ClusterCommand::Remove { node, force } => {
                let force = if *force { "true" } else { "false" };
                let query = [("node", node.as_str()), ("force", force)];
                self.send(Method::POST, "/remove", &query, Vec::new(), ANSWER_TIME).await?;
                say(out, &format!("node {node} is removed"))?;
                Ok(true)
            }
            ClusterCommand::Rebalance => self.rebalance(out).await,
            ClusterCommand::Snapshot { file } => self.snapshot(file, out).await,
            ClusterCommand::Restore { from_blocks: true, .. } => self.rebuild(out).await,
            ClusterCommand::Restore { file, .. } => self.restore(file.as_deref(), out).await,
        }
    }

    async fn status(&self, json: bool, shards: bool, out: &mut dyn Write) -> Result<bool, String> {
        let status = self.look().await?;
        let shown = match json {
            true => serde_json::to_string_pretty(&status).map_err(|e| e.to_string())?,
            false => text::status(&status, shards),
        };
        say(out, shown.trim_end())?;
        Ok(status.problems.iter().all(|problem| problem.severity != Severity::Critical))
    }

    async fn look(&self) -> Result<ClusterStatus, String> {
        self.ask(Method::GET, "", &[], Vec::new()).await
    }

    async fn drain(&self, node: Option<&str>, cancel: bool, out: &mut dyn Write) -> Result<bool, String> {
        let cancelled = if cancel { "true" } else { "false" };
        let query = [("node", node.unwrap_or_default()), ("cancel", cancelled)];
        let mut drain: DrainStatus = self.ask(Method::POST, "/drain", &query, Vec::new()).await?;
        if cancel {
            say(out, &format!("node {} is {}", drain.node, drain.state))?;
            return Ok(true);
        }
        let node = drain.node.clone();
        let (mut said, mut failures) = (String::new(), 0);
        while !drain.done {
            let line = text::drain(&drain);
            if line != said {
                say(out, &line)?;
                said = line;
            }
            tokio::time::sleep(PAUSE).await;
            match self.ask(Method::GET, "/drain", &[("node", node.as_str())], Vec::new()).await {
                Ok(now) => (drain, failures) = (now, 0),
                Err(error) if failures >= MOST_FAILURES => return Err(error),
                Err(_) => failures += 1,
            }
        }
        say(out, &format!("node {node} can be stopped"))?;
        Ok(true)
    }

    async fn rebalance(&self, out: &mut dyn Write) -> Result<bool, String> {
        let mut said = String::new();
        loop {
            let status = self.look().await?;
            let line = text::balance(&status);
            if line != said {
                say(out, &line)?;
                said = line;
            }
            if status.moves == 0 && status.learning.is_empty() {
                say(out, "nothing is left to move")?;
                return Ok(true);
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn snapshot(&self, file: &Path, out: &mut dyn Write) -> Result<bool, String> {
        let bytes = self.send(Method::POST, "/snapshot", &[], Vec::new(), WORK_TIME).await?;
        let state = pharos_cluster::codec::decode(&bytes).map_err(|e| format!("the node sent no snapshot: {e}"))?;
        let failed = |error: std::io::Error| format!("{}: {error}", file.display());
        let mut temporary = file.as_os_str().to_owned();
        temporary.push(".new");
        std::fs::write(&temporary, &bytes).map_err(failed)?;
        std::fs::File::open(&temporary).and_then(|file| file.sync_all()).map_err(failed)?;
        std::fs::rename(&temporary, file).map_err(failed)?;
        say(out, &format!("version {} is in {}, {} bytes", state.version, file.display(), bytes.len()))?;
        Ok(true)
    }

    async fn rebuild(&self, out: &mut dyn Write) -> Result<bool, String> {
        let rebuilt = self.send(Method::POST, "/rebuild", &[], Vec::new(), WORK_TIME).await?;
        let rebuilt: serde_json::Value = read(&rebuilt)?;
        say(out, &format!("the catalogue lists {} blocks", rebuilt["blocks"]))?;
        Ok(true)
    }

    /// From a file, or from the export in the object store.
    async fn restore(&self, file: Option<&Path>, out: &mut dyn Write) -> Result<bool, String> {
        let (export, bytes) = match file {
            None => ("true", Vec::new()),
            Some(file) => ("false", std::fs::read(file).map_err(|error| format!("{}: {error}", file.display()))?),
        };
        let answer = self.send(Method::POST, "/restore", &[("export", export)], bytes, WORK_TIME).await?;
        let status: ClusterStatus = read(&answer)?;
        let (blocks, tenants) = (status.catalogue.blocks, status.catalogue.tenants.len());
        say(
            out,
            &format!(
                "the snapshot is in force: {blocks} blocks of {tenants} tenants, incarnation {}",
                status.incarnation
            ),
        )?;
        Ok(true)
    }

    /// Asks for something small.
    async fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Result<T, String> {
        read(&self.send(method, path, query, body, ANSWER_TIME).await?)
    }

    /// Sends a request; returns the body of a good answer, or what a bad one says.
    async fn send(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        body: Vec<u8>,
        time: Duration,
    ) -> Result<Vec<u8>, String> {
        let mut url = self.server.clone();
        url.set_path(&format!("{}/api/v1/cluster{path}", self.server.path().trim_end_matches('/')));
        let query = query.iter().filter(|(_, value)| !value.is_empty());
        url.query_pairs_mut().extend_pairs(query);
        let mut request = self.http.request(method, url).timeout(time).body(body);
        if let Some(token) = &self.token {
            request = request.header(TOKEN_HEADER, token);
        }
        let unreachable = |error: reqwest::Error| {
            let cause = std::error::Error::source(&error).map_or_else(String::new, |cause| format!(": {cause}"));
            format!("{} does not answer: {}{cause}", self.server, error.without_url())
        };
        let answer = request.send().await.map_err(unreachable)?;
        let status = answer.status();
        let bytes = answer.bytes().await.map_err(unreachable)?;
        if status.is_success() {
            return Ok(bytes.to_vec());
        }
        let said = serde_json::from_slice::<Envelope<serde_json::Value>>(&bytes).ok().and_then(|answer| answer.error);
        Err(said.unwrap_or_else(|| format!("{} answers {status}", self.server)))
    }
}

/// What a good answer holds.
fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    let answer: Envelope<T> =
        serde_json::from_slice(bytes).map_err(|error| format!("the answer is not understood: {error}"))?;
    answer.data.ok_or_else(|| answer.error.unwrap_or_else(|| "the answer is empty".into()))
}

fn say(out: &mut dyn Write, line: &str) -> Result<(), String> {
    writeln!(out, "{line}").and_then(|()| out.flush()).map_err(|error| error.to_string())
}
