use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use axum::response::Response;
use http_body_util::BodyExt;
use tower::ServiceExt;

use super::{Dashboards, PAGES, Site};

fn site() -> Router {
    let site = Site::new("A <b>\"title\"</b> & more", "the old text\n".into(), Dashboards::default());
    Router::new().route("/", site.root()).merge(site.routes())
}

async fn get(path: &str, headers: &[(header::HeaderName, &str)]) -> Response {
    let request = headers.iter().fold(Request::get(path), |request, (name, value)| request.header(name, *value));
    site().oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
}

async fn text(response: Response) -> String {
    String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

fn value(response: &Response, name: header::HeaderName) -> String {
    response.headers().get(name).map(|value| value.to_str().unwrap().to_string()).unwrap_or_default()
}

/// The path of the script that the page loads first.
async fn script() -> String {
    let page = text(get("/query", &[]).await).await;
    let start = page.find("./assets/index-").unwrap() + 1;
    page[start..].split('"').next().unwrap().to_string()
}

#[tokio::test]
async fn browsers_get_the_page_and_others_the_text() {
    let browser = get("/", &[(header::ACCEPT, "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8")]).await;
    assert_eq!(value(&browser, header::CONTENT_TYPE), "text/html; charset=utf-8");
    for accept in ["*/*", "application/json", "text/html;q=0"] {
        assert_eq!(text(get("/", &[(header::ACCEPT, accept)]).await).await, "the old text\n");
    }
    assert_eq!(text(get("/", &[]).await).await, "the old text\n");
}

#[tokio::test]
async fn the_title_is_text_whatever_it_contains() {
    let page = text(get("/query", &[]).await).await;
    assert!(page.contains("<title>A &lt;b&gt;&quot;title&quot;&lt;/b&gt; &amp; more</title>"), "{page}");
}

#[tokio::test]
async fn every_page_forbids_what_is_not_from_this_server() {
    for page in PAGES {
        let response = get(&format!("/{page}"), &[]).await;
        assert_eq!(response.status(), StatusCode::OK, "{page}");
        let policy = value(&response, header::CONTENT_SECURITY_POLICY);
        assert!(policy.starts_with("default-src 'none'; script-src 'self';"), "{policy}");
        assert!(!policy.contains("unsafe"), "{policy}");
        assert_eq!(value(&response, header::X_CONTENT_TYPE_OPTIONS), "nosniff");
    }
}

#[tokio::test]
async fn the_page_loads_nothing_from_elsewhere_and_has_no_script_in_it() {
    let page = text(get("/query", &[]).await).await;
    assert!(!page.contains("://"), "{page}");
    assert_eq!(page.matches("<script").count(), page.matches("<script type=\"module\" crossorigin src=\"./").count());
}

#[tokio::test]
async fn a_version_that_the_client_has_is_not_sent_again() {
    let first = get("/query", &[]).await;
    let tag = value(&first, header::ETAG);
    assert_eq!(value(&first, header::CACHE_CONTROL), "no-cache");
    let again = get("/query", &[(header::IF_NONE_MATCH, &tag)]).await;
    assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
    assert_eq!(text(again).await, "");
    let other = get("/query", &[(header::IF_NONE_MATCH, "\"other\"")]).await;
    assert_eq!(other.status(), StatusCode::OK);
}

#[tokio::test]
async fn scripts_are_kept_by_browsers_and_sent_compressed_where_they_can_be_read() {
    let path = script().await;
    let plain = get(&path, &[]).await;
    assert!(value(&plain, header::CACHE_CONTROL).contains("immutable"));
    assert_eq!(value(&plain, header::CONTENT_ENCODING), "");
    assert_eq!(value(&plain, header::CONTENT_TYPE), "text/javascript; charset=utf-8");
    let whole = text(plain).await;
    let packed = get(&path, &[(header::ACCEPT_ENCODING, "br, gzip")]).await;
    assert_eq!(value(&packed, header::CONTENT_ENCODING), "gzip");
    let bytes = packed.into_body().collect().await.unwrap().to_bytes();
    assert!(bytes.len() < whole.len());
}

#[tokio::test]
async fn what_the_interface_lacks_is_not_found() {
    for path in ["/assets/nothing.js", "/assets/..%2findex.html", "/nothing", "/query/more"] {
        assert_eq!(get(path, &[]).await.status(), StatusCode::NOT_FOUND, "{path}");
    }
}

#[test]
fn the_server_and_the_script_know_the_same_pages() {
    let source = include_str!("../../../ui/src/pages.ts");
    let listed = source.lines().filter_map(|line| line.trim().strip_prefix("{ path: '")?.split('\'').next());
    let mut listed: Vec<&str> = listed.chain(["graph", "index.html"]).collect();
    let mut served = PAGES.to_vec();
    listed.sort();
    served.sort();
    assert_eq!(served, listed);
}
