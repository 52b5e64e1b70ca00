//! Serves the web interface: the files of `ui/dist`, which the binary carries compressed.
//!
//! All pages are one HTML file, in which a script shows the page that the path names. The file and the responses of the
//! API say that a browser may load nothing from elsewhere. Files below `assets/` have names that change with their contents,
//! so browsers keep them; the others are asked for again, and answered with 304 while they are the same.
//!
//! Dashboards, which the pages show, are listed and sent below `/api/v1/dashboards`.

#![forbid(unsafe_code)]

mod accept;
mod dashboards;
mod files;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::Router;
use axum::extract::Path;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};

pub use dashboards::Dashboards;
use files::{Document, not_found};

/// The paths of the pages. `ui/src/pages.ts` lists the same ones.
const PAGES: [&str; 18] = [
    "query",
    "graph",
    "explore",
    "dashboards",
    "alerts",
    "rules",
    "notifications",
    "silences",
    "targets",
    "service-discovery",
    "cluster",
    "tsdb-status",
    "blocks",
    "queries",
    "status",
    "config",
    "flags",
    "index.html",
];

/// The web interface.
#[derive(Clone)]
pub struct Site {
    document: Arc<Document>,
    text: Arc<str>,
    dashboards: Dashboards,
}

impl Site {
    /// Prepares the pages. `title` is what they call the server. `text` is the response at `/` for clients that do not
    /// ask for HTML.
    pub fn new(title: &str, text: String, dashboards: Dashboards) -> Self {
        Site { document: Arc::new(Document::with_title(title)), text: text.into(), dashboards }
    }

    /// The handler of `/`: the first page for browsers, and the text for others.
    pub fn root<S: Clone + Send + Sync + 'static>(&self) -> MethodRouter<S> {
        let Site { document, text, .. } = self.clone();
        get(move |headers: HeaderMap| async move {
            match accept::wants_html(&headers) {
                true => document.response(&headers),
                false => text.to_string().into_response(),
            }
        })
    }

    /// The routes of all pages, their files and the dashboards, except `/`.
    pub fn routes<S: Clone + Send + Sync + 'static>(&self) -> Router<S> {
        let pages = PAGES.iter().fold(Router::new(), |routes, page| {
            let document = self.document.clone();
            routes.route(&format!("/{page}"), get(move |headers: HeaderMap| async move { document.response(&headers) }))
        });
        pages.merge(self.dashboards.routes()).route("/favicon.svg", get(|headers: HeaderMap| async move { file("favicon.svg", &headers) })).route(
            "/assets/{name}",
            get(
                |Path(name): Path<String>, headers: HeaderMap| async move { file(&format!("assets/{name}"), &headers) },
            ),
        )
    }
}

fn file(path: &str, headers: &HeaderMap) -> Response {
    files::find(path).map_or_else(not_found, |file| file.response(headers))
}
