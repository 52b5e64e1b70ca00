use std::fs;
use std::path::Path;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tempfile::TempDir;
use tower::ServiceExt;

use super::Dashboards;

/// A folder with files, as paths and contents.
fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = TempDir::new().unwrap();
    for (path, contents) in files {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, contents).unwrap();
    }
    folder
}

async fn get(folder: Option<&Path>, path: &str) -> (StatusCode, Value) {
    let dashboards = Dashboards::open(folder.map(Path::to_path_buf)).unwrap();
    let router: Router = dashboards.routes();
    let response = router.oneshot(Request::get(path).body(Body::empty()).unwrap()).await.unwrap();
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&body).unwrap())
}

/// The entries of the list that come from the folder.
async fn listed(folder: &Path) -> Vec<Value> {
    let (status, answer) = get(Some(folder), "/api/v1/dashboards").await;
    assert_eq!(status, StatusCode::OK);
    answer["data"].as_array().unwrap().iter().filter(|entry| entry["origin"] == "folder").cloned().collect()
}

#[tokio::test]
async fn files_are_listed_with_their_titles_and_tags() {
    let folder = folder(&[
        ("node.json", r#"{"title":"Node","tags":["linux"],"panels":[]}"#),
        ("team/api.json", r#"{"dashboard":{"title":"From the API","tags":["api"]},"meta":{}}"#),
        ("new.json", r#"{"apiVersion":"dashboard.grafana.app/v2","spec":{"title":"Second version","elements":{}}}"#),
        ("notes.txt", "no dashboard"),
        ("..data/node.json", "{}"),
    ]);
    let expected = [("team/api", "From the API"), ("node", "Node"), ("new", "Second version")];
    let found = listed(folder.path()).await;
    let names: Vec<_> = found.iter().map(|e| (e["name"].as_str().unwrap(), e["title"].as_str().unwrap())).collect();
    assert_eq!(names, expected);
    assert_eq!(found[1]["tags"], json!(["linux"]));
}

#[tokio::test]
async fn a_file_that_is_no_dashboard_is_listed_with_the_reason() {
    let folder = folder(&[("broken.json", "{\"title\":"), ("list.json", "[1]")]);
    for entry in listed(folder.path()).await {
        assert_ne!(entry["error"], "", "{entry}");
    }
    let (status, answer) = get(Some(folder.path()), "/api/v1/dashboards/broken").await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(answer["error"].as_str().unwrap().contains("\"broken\" is not JSON"), "{answer}");
}

#[tokio::test]
async fn a_dashboard_is_sent_as_it_is() {
    let folder = folder(&[("team/node.json", r#"{"title":"Node","panels":[{"id":1}]}"#)]);
    let (status, answer) = get(Some(folder.path()), "/api/v1/dashboards/team/node").await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(answer["data"]["panels"], json!([{"id": 1}]));
}

#[tokio::test]
async fn names_lead_nowhere_but_to_listed_files() {
    let outside = folder(&[("secret.json", "{}"), ("boards/own.json", "{}")]);
    let inside = outside.path().join("boards");
    for name in ["../secret", "..%2Fsecret", "%2E%2E/secret", "/etc/passwd", "own.json", ""] {
        let (status, answer) = get(Some(&inside), &format!("/api/v1/dashboards/{name}x")).await;
        assert_eq!(status, StatusCode::NOT_FOUND, "{name}: {answer}");
    }
}

#[tokio::test]
async fn a_file_takes_the_place_of_a_built_in_dashboard() {
    let (_, built_in) = get(None, "/api/v1/dashboards").await;
    let first = built_in["data"][0]["name"].as_str().unwrap().to_string();
    let own = folder(&[(&format!("{first}.json"), r#"{"title":"Own"}"#)]);
    let (_, answer) = get(Some(own.path()), "/api/v1/dashboards").await;
    let same: Vec<_> = answer["data"].as_array().unwrap().iter().filter(|e| e["name"] == *first).collect();
    assert_eq!(same.len(), 1);
    assert_eq!(same[0]["title"], "Own");
    let (_, sent) = get(Some(own.path()), &format!("/api/v1/dashboards/{first}")).await;
    assert_eq!(sent["data"], json!({"title": "Own"}));
}

#[tokio::test]
async fn every_built_in_dashboard_has_a_title_and_can_be_opened() {
    let (_, answer) = get(None, "/api/v1/dashboards").await;
    for entry in answer["data"].as_array().unwrap() {
        assert_ne!(entry["title"], "", "{entry}");
        let name = entry["name"].as_str().unwrap();
        let (status, _) = get(None, &format!("/api/v1/dashboards/{name}")).await;
        assert_eq!(status, StatusCode::OK, "{name}");
    }
}

#[test]
fn a_folder_that_does_not_exist_is_an_error() {
    assert!(Dashboards::open(Some("/does/not/exist".into())).is_err());
}
