//! The errors of all commands.

use std::path::PathBuf;

use reqwest::StatusCode;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("cannot build the HTTP client: {0}")]
    Client(#[source] reqwest::Error),
    #[error("request to {url} failed: {source}")]
    Request { url: String, source: reqwest::Error },
    #[error("{url} answered {status}: {body}")]
    Status { url: String, status: StatusCode, body: String },
    #[error("gave up after {attempts} attempts: {last}")]
    GaveUp { attempts: u32, last: String },
    #[error("response of {url} is not a query result: {source}")]
    Response { url: String, source: serde_json::Error },
    #[error("cannot read {}: {source}", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("cannot write {}: {source}", path.display())]
    Write { path: PathBuf, source: std::io::Error },
    #[error("{}:{line}: expected name<TAB>query", path.display())]
    QueryLine { path: PathBuf, line: usize },
    #[error("cannot listen on {address}: {source}")]
    Listen { address: String, source: std::io::Error },
    #[error("server stopped: {0}")]
    Serve(#[source] std::io::Error),
    #[error("cannot compress a request: {0}")]
    Compress(#[from] snap::Error),
    #[error("a writer panicked: {0}")]
    Writer(#[from] tokio::task::JoinError),
    #[error("cannot print a result: {0}")]
    Print(#[source] std::io::Error),
}
