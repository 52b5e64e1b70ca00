//! `pharos cluster`: a client of the API `/api/v1/cluster`. A command requests a change once and then only polls, so it can
//! be interrupted and rerun.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use pharos_transport::connect::TOKEN_HEADER;
use reqwest::Method;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use url::Url;

use super::api::Restored;
use super::drain::DrainStatus;
use super::health::Severity;
use super::status::ClusterStatus;
use super::text;
use crate::cli::{BlockCommand, ClusterCommand, ClusterCommandArgs};

/// Pause between two polls.
const POLL_INTERVAL: Duration = Duration::from_secs(1);
/// Timeout of requests that read or change a little.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// Timeout of requests that process the whole state or bucket.
const BULK_TIMEOUT: Duration = Duration::from_secs(3600);
/// Failed polls in a row after which a wait is aborted.
const MAX_FAILURES: u32 = 30;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// The tokio runtime or the HTTP client cannot be created.
    #[error("cannot create the HTTP client: {0}")]
    Client(String),
    /// A local file cannot be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// The file that the command line names.
        path: PathBuf,
        /// The error of the file system.
        source: std::io::Error,
    },
    /// The node did not answer, or the connection broke.
    #[error("no answer from {server}: {reason}")]
    Unreachable {
        /// The URL that `--server` names.
        server: Url,
        /// What went wrong, and why.
        reason: String,
    },
    /// The node refused the request. Holds its reason.
    #[error("{0}")]
    Refused(String),
    /// The node answered with an unexpected body.
    #[error("unexpected response: {0}")]
    Response(String),
    /// The drain did not finish within `--timeout`. It continues.
    #[error("the node is not drained after {0:?}; the drain continues")]
    DrainTimeout(Duration),
    /// The result cannot be printed.
    #[error("cannot print the result: {0}")]
    Print(#[from] std::io::Error),
}

impl CommandError {
    fn file(path: &Path) -> impl Fn(std::io::Error) -> CommandError {
        let path = path.to_path_buf();
        move |source| CommandError::File { path: path.clone(), source }
    }
}

/// Runs a command. `Ok(false)` means that it worked, but found something critical.
pub fn run(args: &ClusterCommandArgs, out: &mut dyn Write) -> Result<bool, CommandError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| CommandError::Client(error.to_string()))?;
    let client = Client::new(args)?;
    runtime.block_on(client.run(&args.command, out))
}

/// A client of one node's API.
struct Client {
    http: reqwest::Client,
    server: Url,
    token: Option<String>,
}

/// The envelope of responses.
#[derive(Deserialize)]
struct Envelope<T> {
    data: Option<T>,
    error: Option<String>,
}

impl Client {
    fn new(args: &ClusterCommandArgs) -> Result<Self, CommandError> {
        let token = match &args.token_file {
            None => args.token.clone(),
            Some(file) => {
                let text = std::fs::read_to_string(file).map_err(CommandError::file(file))?;
                Some(text.trim().to_string())
            }
        };
        // An error means that the process has a provider already.
        let _installed = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder().connect_timeout(Duration::from_secs(5)).build();
        let http = http.map_err(|error| CommandError::Client(error.to_string()))?;
        Ok(Client { http, server: args.server.clone(), token })
    }

    async fn run(&self, command: &ClusterCommand, out: &mut dyn Write) -> Result<bool, CommandError> {
        match command {
            ClusterCommand::Status { json, shards } => self.status(*json, *shards, out).await,
            ClusterCommand::Drain { node, cancel, timeout } => {
                let drain = self.drain(node.as_deref(), *cancel, out);
                match timeout {
                    None => drain.await,
                    Some(timeout) => match tokio::time::timeout(*timeout, drain).await {
                        Ok(drained) => drained,
                        Err(_) => Err(CommandError::DrainTimeout(*timeout)),
                    },
                }
            }
            ClusterCommand::Remove { node, force } => {
                let force = if *force { "true" } else { "false" };
                let query = [("node", node.as_str()), ("force", force)];
                self.send(Method::POST, "/remove", &query, Vec::new(), REQUEST_TIMEOUT).await?;
                say(out, &format!("removed node {node}"))?;
                Ok(true)
            }
            ClusterCommand::Block(BlockCommand::Quarantine { tenant, block }) => {
                let query = [("tenant", tenant.as_str()), ("block", block.as_str())];
                self.send(Method::POST, "/quarantine", &query, Vec::new(), REQUEST_TIMEOUT).await?;
                say(out, &format!("block {block} of tenant {tenant} is no longer listed; its files are kept"))?;
                Ok(true)
            }
            ClusterCommand::Rebalance => self.rebalance(out).await,
            ClusterCommand::Snapshot { file } => self.snapshot(file, out).await,
            ClusterCommand::Restore { from_blocks: true, .. } => self.rebuild(out).await,
            ClusterCommand::Restore { file, .. } => self.restore(file.as_deref(), out).await,
        }
    }

    async fn status(&self, json: bool, shards: bool, out: &mut dyn Write) -> Result<bool, CommandError> {
        let status = self.fetch_status().await?;
        let shown = match json {
            true => serde_json::to_string_pretty(&status).map_err(|error| CommandError::Response(error.to_string()))?,
            false => text::status(&status, shards),
        };
        say(out, shown.trim_end())?;
        Ok(status.problems.iter().all(|problem| problem.severity != Severity::Critical))
    }

    async fn fetch_status(&self) -> Result<ClusterStatus, CommandError> {
        self.ask(Method::GET, "", &[], Vec::new()).await
    }

    async fn drain(&self, node: Option<&str>, cancel: bool, out: &mut dyn Write) -> Result<bool, CommandError> {
        let cancelled = if cancel { "true" } else { "false" };
        let query = [("node", node.unwrap_or_default()), ("cancel", cancelled)];
        let mut drain: DrainStatus = self.ask(Method::POST, "/drain", &query, Vec::new()).await?;
        if cancel {
            say(out, &format!("node {} is {}", drain.node, drain.state))?;
            return Ok(true);
        }
        let node = drain.node.clone();
        let mut printed = String::new();
        let mut failures = 0;
        while !drain.done {
            let line = text::drain(&drain);
            if line != printed {
                say(out, &line)?;
                printed = line;
            }
            tokio::time::sleep(POLL_INTERVAL).await;
            match self.ask(Method::GET, "/drain", &[("node", node.as_str())], Vec::new()).await {
                Ok(now) => (drain, failures) = (now, 0),
                Err(error) if failures >= MAX_FAILURES => return Err(error),
                Err(_) => failures += 1,
            }
        }
        say(out, &format!("node {node} can be stopped"))?;
        Ok(true)
    }

    async fn rebalance(&self, out: &mut dyn Write) -> Result<bool, CommandError> {
        let mut printed = String::new();
        loop {
            let status = self.fetch_status().await?;
            let line = text::balance(&status);
            if line != printed {
                say(out, &line)?;
                printed = line;
            }
            if status.moves == 0 && status.learning.is_empty() {
                say(out, "all shards are balanced")?;
                return Ok(true);
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    async fn snapshot(&self, file: &Path, out: &mut dyn Write) -> Result<bool, CommandError> {
        let bytes = self.send(Method::POST, "/snapshot", &[], Vec::new(), BULK_TIMEOUT).await?;
        let not_a_snapshot = |error| CommandError::Response(format!("not a snapshot: {error}"));
        let state = pharos_cluster::codec::decode(&bytes).map_err(not_a_snapshot)?;
        let failed = CommandError::file(file);
        let mut temporary = file.as_os_str().to_owned();
        temporary.push(".new");
        std::fs::write(&temporary, &bytes).map_err(&failed)?;
        std::fs::File::open(&temporary).and_then(|file| file.sync_all()).map_err(&failed)?;
        std::fs::rename(&temporary, file).map_err(failed)?;
        say(out, &format!("saved version {} to {} ({} bytes)", state.version, file.display(), bytes.len()))?;
        Ok(true)
    }

    async fn rebuild(&self, out: &mut dyn Write) -> Result<bool, CommandError> {
        let rebuilt = self.send(Method::POST, "/rebuild", &[], Vec::new(), BULK_TIMEOUT).await?;
        let rebuilt: serde_json::Value = read(&rebuilt)?;
        say(out, &format!("the catalogue lists {} blocks", rebuilt["blocks"]))?;
        Ok(true)
    }

    /// Restores a file, or the newest export in the object store.
    async fn restore(&self, file: Option<&Path>, out: &mut dyn Write) -> Result<bool, CommandError> {
        let (export, bytes) = match file {
            None => ("true", Vec::new()),
            Some(file) => ("false", std::fs::read(file).map_err(CommandError::file(file))?),
        };
        let answer = self.send(Method::POST, "/restore", &[("export", export)], bytes, BULK_TIMEOUT).await?;
        let Restored { committed, missing, status } = read(&answer)?;
        let (blocks, tenants) = (status.catalogue.blocks, status.catalogue.tenants.len());
        let incarnation = status.incarnation;
        say(out, &format!("restored the snapshot: {blocks} blocks of {tenants} tenants, incarnation {incarnation}"))?;
        say(out, &format!("{committed} of them were shipped after the snapshot"))?;
        if missing > 0 {
            say(out, &format!("{missing} blocks of the snapshot are not in the object store any more"))?;
        }
        Ok(true)
    }

    /// Sends a request with a short timeout and decodes the response.
    async fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Result<T, CommandError> {
        read(&self.send(method, path, query, body, REQUEST_TIMEOUT).await?)
    }

    /// Sends a request and returns the body of a successful response.
    async fn send(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        body: Vec<u8>,
        time: Duration,
    ) -> Result<Vec<u8>, CommandError> {
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
            let reason = format!("{}{cause}", error.without_url());
            CommandError::Unreachable { server: self.server.clone(), reason }
        };
        let answer = request.send().await.map_err(unreachable)?;
        let status = answer.status();
        let bytes = answer.bytes().await.map_err(unreachable)?;
        if status.is_success() {
            return Ok(bytes.to_vec());
        }
        let reason = serde_json::from_slice::<Envelope<serde_json::Value>>(&bytes).ok().and_then(|answer| answer.error);
        Err(CommandError::Refused(reason.unwrap_or_else(|| format!("{} answered {status}", self.server))))
    }
}

/// Decodes the data of a successful response.
fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CommandError> {
    let answer: Envelope<T> =
        serde_json::from_slice(bytes).map_err(|error| CommandError::Response(error.to_string()))?;
    answer.data.ok_or_else(|| CommandError::Response(answer.error.unwrap_or_else(|| "no data".into())))
}

fn say(out: &mut dyn Write, line: &str) -> Result<(), CommandError> {
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_of_a_successful_response_is_decoded() {
        let drain: DrainStatus = read(br#"{"status":"success","data":{"node":"A","done":true}}"#).unwrap();
        assert_eq!(drain.node, "A");
        assert!(drain.done);
    }

    #[test]
    fn the_error_of_a_response_is_reported() {
        let error = read::<DrainStatus>(br#"{"status":"error","error":"not today"}"#).unwrap_err();
        assert_eq!(error.to_string(), "unexpected response: not today");
    }

    #[test]
    fn a_response_without_data_is_an_error() {
        let error = read::<DrainStatus>(b"{}").unwrap_err();
        assert_eq!(error.to_string(), "unexpected response: no data");
    }

    #[test]
    fn a_response_that_is_not_json_is_an_error() {
        assert!(matches!(read::<DrainStatus>(b"<html>"), Err(CommandError::Response(_))));
    }

    #[test]
    fn a_drain_that_takes_too_long_says_that_it_continues() {
        let error = CommandError::DrainTimeout(Duration::from_secs(60));
        assert_eq!(error.to_string(), "the node is not drained after 60s; the drain continues");
    }

    #[test]
    fn a_file_error_names_the_file() {
        let missing = std::io::Error::new(std::io::ErrorKind::NotFound, "no such file");
        let error = CommandError::file(Path::new("snapshot.bin"))(missing);
        assert_eq!(error.to_string(), "snapshot.bin: no such file");
    }

    #[test]
    fn lines_end_with_a_line_break() {
        let mut out = Vec::new();
        say(&mut out, "removed node A").unwrap();
        assert_eq!(out, b"removed node A\n");
    }
}
