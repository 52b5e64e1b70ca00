//! Dashboards in Grafana's JSON: those that the binary carries, and those of a folder.
//!
//! A dashboard's name is its path below the folder without `.json`. Files are read when they are asked for, so a folder can
//! change while the server runs. A file of the folder takes the place of a built-in dashboard with the same name.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use axum::Router;
use axum::extract::Path as UrlPath;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use crate::files;

/// A larger file is no dashboard.
const MAX_FILE_BYTES: u64 = 16 << 20;
/// Files beyond these many are not listed.
const MAX_FILES: usize = 2_000;
/// Files of these many bytes are read for one list. Further ones are listed by their names.
const MAX_LIST_BYTES: u64 = 128 << 20;
/// Folders within folders are searched to this depth.
const MAX_DEPTH: usize = 5;

/// Where dashboards come from.
#[derive(Clone, Debug, Default)]
pub struct Dashboards {
    folder: Option<PathBuf>,
}

/// An entry of the list.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Listed {
    name: String,
    title: String,
    tags: Vec<String>,
    origin: Origin,
    /// Why the dashboard cannot be opened; empty if it can.
    error: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Origin {
    BuiltIn,
    Folder,
}

/// What the list shows of a dashboard. The JSON of Grafana's API has it one level deeper, and so does the second version of
/// the schema.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Head {
    title: Option<String>,
    tags: Vec<String>,
    dashboard: Option<Box<Head>>,
    spec: Option<Box<Head>>,
}

impl Head {
    fn into_title_and_tags(self) -> (String, Vec<String>) {
        match self.dashboard.or(self.spec) {
            Some(inner) if self.title.is_none() => inner.into_title_and_tags(),
            _ => (self.title.unwrap_or_default(), self.tags),
        }
    }
}

impl Dashboards {
    /// The built-in dashboards and those of `folder`.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn open(folder: Option<PathBuf>) -> io::Result<Self> {
        if let Some(folder) = &folder {
            fs::read_dir(folder)?;
        }
        Ok(Dashboards { folder })
    }

    /// The routes that list and send dashboards.
    pub(crate) fn routes<S: Clone + Send + Sync + 'static>(&self) -> Router<S> {
        let (all, one) = (self.clone(), self.clone());
        Router::new().route("/api/v1/dashboards", get(move || answer(move || all.list()))).route(
            "/api/v1/dashboards/{*name}",
            get(move |UrlPath(name): UrlPath<String>| answer(move || one.read(&name))),
        )
    }

    fn list(&self) -> Result<String, Failure> {
        let mut listed = Vec::new();
        let mut left = MAX_LIST_BYTES;
        for (name, path) in self.files()? {
            listed.push(entry(name, Origin::Folder, read_within(&path, &mut left)));
        }
        let has = |name: &str| listed.iter().any(|other: &Listed| other.name == name);
        let built_in: Vec<Listed> = files::dashboards()
            .filter(|(name, _)| !has(name))
            .map(|(name, file)| entry(name.to_string(), Origin::BuiltIn, Ok(Some(file.contents()))))
            .collect();
        listed.extend(built_in);
        listed.sort_by(|a, b| (a.title.to_lowercase(), &a.name).cmp(&(b.title.to_lowercase(), &b.name)));
        serde_json::to_string(&listed).map_err(|e| Failure::Unreadable(e.into()))
    }

    /// The JSON of a dashboard. Only what the list names is read, whatever the name looks like.
    fn read(&self, name: &str) -> Result<String, Failure> {
        let contents = match self.files()?.into_iter().find(|(other, _)| other == name) {
            Some((_, path)) => read_bounded(&path)?,
            None => match files::dashboards().find(|(other, _)| *other == name) {
                Some((_, file)) => file.contents(),
                None => return Err(Failure::Missing(name.to_string())),
            },
        };
        let damaged = |why: &dyn fmt::Display| Failure::Damaged(format!("dashboard {name:?} is not {why}"));
        let text = String::from_utf8(contents).map_err(|e| damaged(&format_args!("UTF-8: {e}")))?;
        serde_json::from_str::<IgnoredAny>(&text).map_err(|e| damaged(&format_args!("JSON: {e}")))?;
        Ok(text)
    }

    /// The names and paths of all files, sorted.
    fn files(&self) -> io::Result<Vec<(String, PathBuf)>> {
        let mut found = Vec::new();
        if let Some(folder) = &self.folder {
            search(folder, "", MAX_DEPTH, &mut found)?;
        }
        found.sort();
        Ok(found)
    }
}

/// Adds the JSON files of a folder and of those within it. Hidden ones are left out: volumes of Kubernetes keep copies there.
fn search(folder: &Path, prefix: &str, depth: usize, found: &mut Vec<(String, PathBuf)>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()).filter(|name| !name.starts_with('.')) else {
            continue;
        };
        if found.len() >= MAX_FILES {
            return Ok(());
        }
        // A link that leads nowhere is no file.
        let Ok(metadata) = fs::metadata(&path) else { continue };
        if metadata.is_dir() && depth > 1 {
            search(&path, &format!("{prefix}{name}/"), depth - 1, found)?;
        } else if let Some(stem) = name.strip_suffix(".json").filter(|_| metadata.is_file()) {
            found.push((format!("{prefix}{stem}"), path));
        }
    }
    Ok(())
}

fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let mut contents = Vec::new();
    File::open(path)?.take(MAX_FILE_BYTES + 1).read_to_end(&mut contents)?;
    if contents.len() as u64 > MAX_FILE_BYTES {
        return Err(io::Error::other(format!("{} is larger than {MAX_FILE_BYTES} bytes", path.display())));
    }
    Ok(contents)
}

/// Reads a file if it fits into what is `left`.
fn read_within(path: &Path, left: &mut u64) -> io::Result<Option<Vec<u8>>> {
    let size = fs::metadata(path)?.len();
    if size > *left {
        return Ok(None);
    }
    *left -= size;
    read_bounded(path).map(Some)
}

fn entry(name: String, origin: Origin, contents: io::Result<Option<Vec<u8>>>) -> Listed {
    let read = contents.map_err(|e| e.to_string()).and_then(|contents| match contents {
        None => Ok((name.clone(), Vec::new())),
        Some(contents) => {
            serde_json::from_slice::<Head>(&contents).map(Head::into_title_and_tags).map_err(|e| e.to_string())
        }
    });
    match read {
        Ok((title, tags)) => Listed { name, title, tags, origin, error: String::new() },
        Err(error) => Listed { name, title: String::new(), tags: Vec::new(), origin, error },
    }
}

/// Why dashboards are not sent.
enum Failure {
    Unreadable(io::Error),
    Missing(String),
    Damaged(String),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Failure::Unreadable(error)
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let (status, kind, message) = match self {
            Failure::Unreadable(error) => {
                (StatusCode::INTERNAL_SERVER_ERROR, "internal", format!("cannot read dashboards: {error}"))
            }
            Failure::Missing(name) => (StatusCode::NOT_FOUND, "not_found", format!("no dashboard {name:?}")),
            Failure::Damaged(why) => (StatusCode::UNPROCESSABLE_ENTITY, "execution", why),
        };
        json(status, serde_json::json!({"status": "error", "errorType": kind, "error": message}).to_string())
    }
}

/// Runs `work` on a blocking thread and sends its JSON in the API's envelope.
async fn answer(work: impl FnOnce() -> Result<String, Failure> + Send + 'static) -> Response {
    match tokio::task::spawn_blocking(work).await {
        Ok(Ok(data)) => json(StatusCode::OK, format!("{{\"status\":\"success\",\"data\":{data}}}")),
        Ok(Err(failure)) => failure.into_response(),
        Err(error) => Failure::Unreadable(io::Error::other(error)).into_response(),
    }
}

fn json(status: StatusCode, body: String) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}

#[cfg(test)]
mod tests;
