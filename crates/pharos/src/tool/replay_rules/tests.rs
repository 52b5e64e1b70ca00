//! Replays against a server that answers from a table.

use std::sync::Mutex;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use axum::routing::post;
use pharos_transport::prometheus::WriteRequest;
use prost::Message;

use super::*;

/// Samples of `load{host="a"}` begin at 60 s and end at 240 s; everything else is empty.
#[derive(Default)]
struct Server {
    queries: Mutex<Vec<String>>,
    written: Mutex<Vec<String>>,
}

fn parameter<'p>(pairs: &'p [(String, String)], name: &str) -> &'p str {
    pairs.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
}

async fn query(State(server): State<Arc<Server>>, uri: Uri, headers: HeaderMap, body: Bytes) -> String {
    let pairs: Vec<(String, String)> = url::form_urlencoded::parse(&body).into_owned().collect();
    let text = parameter(&pairs, "query").to_string();
    let tenant = headers.get("x-scope-orgid").map_or("", |value| value.to_str().unwrap());
    server.queries.lock().unwrap().push(format!("{tenant} {} {text}", uri.path()));
    if text == "broken" {
        return r#"{"status":"error","error":"no such luck"}"#.into();
    }
    if uri.path().ends_with("/query") {
        return r#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[0,"42"]}]}}"#
            .into();
    }
    let number = |name| parameter(&pairs, name).parse::<f64>().unwrap() as i64;
    let steps = (number("start")..=number("end")).step_by(number("step") as usize);
    let values: Vec<_> = steps.filter(|t| (60..=240).contains(t)).map(|t| serde_json::json!([t, "9"])).collect();
    let result = match values.is_empty() {
        true => serde_json::json!([]),
        false => serde_json::json!([{"metric": {"__name__": "load", "host": "a"}, "values": values}]),
    };
    serde_json::json!({"status": "success", "data": {"resultType": "matrix", "result": result}}).to_string()
}

async fn write(State(server): State<Arc<Server>>, body: Bytes) {
    let request = snap::raw::Decoder::new().decompress_vec(&body).unwrap();
    for series in WriteRequest::decode(request.as_slice()).unwrap().timeseries {
        let labels: Vec<String> = series.labels.iter().map(|label| format!("{}={}", label.name, label.value)).collect();
        let samples: Vec<String> =
            series.samples.iter().map(|sample| format!("{}@{}", sample.value, sample.timestamp / 1000)).collect();
        server.written.lock().unwrap().push(format!("{}: {}", labels.join(","), samples.join(" ")));
    }
}

/// Replays rules from 0 s to 600 s, once a minute. Returns whether all went well, the output, the errors and the server.
fn replay(rules: &str, tenant: Option<&str>, write_results: bool) -> (bool, String, String, Arc<Server>) {
    let server = Arc::new(Server::default());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap();
    let router = Router::new()
        .route("/x/api/v1/query", post(query))
        .route("/x/api/v1/query_range", post(query))
        .route("/x/api/v1/write", post(write))
        .with_state(server.clone());
    runtime.spawn(async move { axum::serve(listener, router).await });
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("rules.yml");
    std::fs::write(&file, rules).unwrap();
    let options = ReplayOptions {
        server: format!("http://{address}/x/").parse().unwrap(),
        tenant: tenant.map(str::to_string),
        start_ms: 0,
        end_ms: None,
        interval_ms: 60_000,
        write: write_results,
    };
    let (mut out, mut errors) = (Vec::new(), Vec::new());
    let outcome = replay_rules(&[file], &options, 600_000, &mut out, &mut errors);
    let mut errors = String::from_utf8(errors).unwrap();
    let is_good = outcome.unwrap_or_else(|error| {
        errors.push_str(&error);
        false
    });
    (is_good, String::from_utf8(out).unwrap(), errors, server)
}

#[test]
fn alerts_are_reported_when_they_begin_and_cease_to_fire() {
    let rules = "groups:\n- name: g\n  rules:\n  - {alert: Hot, expr: load > 5, for: 2m, annotations: {a: '{{ query \"other\" | first | value }}'}}\n";
    let (is_good, out, errors, server) = replay(rules, Some("team"), false);
    assert!(is_good, "{errors}");
    let lines: Vec<&str> = out.lines().skip(1).collect();
    let labels = r#"{alertname="Hot", host="a"}"#;
    assert_eq!(
        lines,
        [
            format!("  1970-01-01T00:03:00Z  firing    {labels} value=9"),
            format!("  1970-01-01T00:05:00Z  resolved  {labels} after 2m"),
            "  1 alert fires, 0 at the end".to_string(),
        ]
    );
    let queries = server.queries.lock().unwrap();
    assert_eq!(queries[0], "team /x/api/v1/query_range load > 5");
    assert!(queries[1..].iter().all(|query| query == "team /x/api/v1/query other"), "{queries:?}");
}

#[test]
fn recorded_samples_and_stale_markers_are_written_on_request() {
    let rules = "groups:\n- name: g\n  rules:\n  - {record: 'double', expr: load}\n  - {alert: A, expr: double > 1}\n";
    let (is_good, out, errors, server) = replay(rules, None, true);
    assert!(is_good && errors.is_empty(), "{errors}");
    assert!(out.contains("5 samples written"), "{out}");
    let written = server.written.lock().unwrap();
    assert_eq!(*written, ["__name__=double,host=a: 9@60 9@120 9@180 9@240 NaN@300"]);
}

#[test]
fn what_the_files_record_is_named_if_it_is_not_written() {
    let rules = "groups:\n- name: g\n  rules:\n  - {record: 'double', expr: load}\n  - {alert: A, expr: double > 1}\n";
    let (is_good, _, errors, server) = replay(rules, None, false);
    assert!(is_good && errors.starts_with("A: reads double, which the files record"), "{errors}");
    assert!(server.written.lock().unwrap().is_empty());
}

#[test]
fn failures_are_named() {
    let (is_good, _, errors, _) = replay("groups:\n- name: g\n  rules: [{record: r, expr: broken}]\n", None, false);
    assert!(!is_good && errors.contains("no such luck"), "{errors}");
    let (is_good, _, errors, _) = replay("groups:\n- name: g\n  rules: [{record: r, expr: '('}]\n", None, false);
    assert!(!is_good && errors.contains("rules.yml: ") && errors.contains("could not parse expression"), "{errors}");
}
