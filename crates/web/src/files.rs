//! The files that the binary carries, and responses with them.

use std::io::Read;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use flate2::read::GzDecoder;

use crate::accept;

/// A file of the web interface.
pub(crate) struct File {
    /// The path below the prefix of the server, without a slash at its start.
    pub(crate) path: &'static str,
    /// The hash of the contents.
    hash: u64,
    gzip: &'static [u8],
}

static FILES: &[File] = include!(concat!(env!("OUT_DIR"), "/files.rs"));

/// The dashboards of `deploy/dashboards`.
static DASHBOARDS: &[File] = include!(concat!(env!("OUT_DIR"), "/dashboards.rs"));

/// A page may load nothing from other servers, run no script that is not a file of this one, and be framed by no other site.
const POLICY: &str = "default-src 'none'; script-src 'self'; worker-src 'self'; style-src 'self'; img-src 'self' data:; \
     connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'";

/// Browsers keep files whose names change with their contents, and ask for others again.
const KEEP: &str = "public, max-age=31536000, immutable";
const ASK_AGAIN: &str = "no-cache";

/// The text that the built page has in place of the server's title.
const TITLE: &str = "<title>Pharos</title>";

/// Finds a file by its path.
pub(crate) fn find(path: &str) -> Option<&'static File> {
    FILES.iter().find(|file| file.path == path)
}

/// The built-in dashboards with their names.
pub(crate) fn dashboards() -> impl Iterator<Item = (&'static str, &'static File)> {
    DASHBOARDS.iter().filter_map(|file| Some((file.path.strip_suffix(".json")?, file)))
}

/// The response to a request for a file that does not exist.
pub(crate) fn not_found() -> Response {
    (StatusCode::NOT_FOUND, [(header::X_CONTENT_TYPE_OPTIONS, "nosniff")], "404 page not found\n").into_response()
}

fn content_type(path: &str) -> &'static str {
    match path.rsplit('.').next() {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        _ => "application/octet-stream",
    }
}

/// A response, or status 304 if the client has this version.
fn response(path: &str, tag: &str, caching: &'static str, headers: &HeaderMap, body: impl Into<Body>) -> Response {
    let is_known = accept::has(headers, tag);
    let body = if is_known { Body::empty() } else { body.into() };
    let common = [
        (header::ETAG, tag),
        (header::CACHE_CONTROL, caching),
        (header::VARY, "Accept, Accept-Encoding"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "same-origin"),
    ];
    match is_known {
        true => (StatusCode::NOT_MODIFIED, common, body).into_response(),
        false => (common, [(header::CONTENT_TYPE, content_type(path))], body).into_response(),
    }
}

impl File {
    /// The contents, or nothing if they cannot be decompressed, which the tests rule out.
    pub(crate) fn contents(&self) -> Vec<u8> {
        let mut contents = Vec::new();
        match GzDecoder::new(self.gzip).read_to_end(&mut contents) {
            Ok(_) => contents,
            Err(_) => Vec::new(),
        }
    }

    /// A response with the file.
    pub(crate) fn response(&self, headers: &HeaderMap) -> Response {
        let tag = format!("W/\"{:016x}\"", self.hash);
        let caching = if self.path.starts_with("assets/") { KEEP } else { ASK_AGAIN };
        if !accept::takes_gzip(headers) {
            return response(self.path, &tag, caching, headers, self.contents());
        }
        let mut response = response(self.path, &tag, caching, headers, Bytes::from_static(self.gzip));
        if response.status() == StatusCode::OK {
            response.headers_mut().insert(header::CONTENT_ENCODING, header::HeaderValue::from_static("gzip"));
        }
        response
    }
}

/// The HTML file of all pages, with the title of this server.
pub(crate) struct Document {
    html: Bytes,
    tag: String,
}

impl Document {
    /// Writes the title into the file.
    pub(crate) fn with_title(title: &str) -> Self {
        let built = find("index.html");
        let html = built.map(|file| String::from_utf8_lossy(&file.contents()).into_owned()).unwrap_or_default();
        let escaped = escape(title);
        // The tag changes with the file and with the title.
        let hash = built.map_or(0, |file| file.hash);
        let title_hash = title.bytes().fold(hash, |hash, byte| hash.rotate_left(5) ^ u64::from(byte));
        Document {
            html: html.replace(TITLE, &format!("<title>{escaped}</title>")).into(),
            tag: format!("W/\"{hash:016x}-{title_hash:016x}\""),
        }
    }

    /// A response with the page.
    pub(crate) fn response(&self, headers: &HeaderMap) -> Response {
        response("index.html", &self.tag, ASK_AGAIN, headers, self.html.clone())
    }
}

/// Escapes text for HTML.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
