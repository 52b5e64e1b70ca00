use axum::http::StatusCode;
use serde_json::{Value, json};

use super::super::tests::get_text;

/// Sends a search that must succeed. Returns its lines.
async fn lines(path: &str) -> Vec<Value> {
    let (status, body) = get_text(&format!("/api/v1/search/{path}")).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    body.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Sends a search that must be refused. Returns the error.
async fn refusal(path: &str) -> String {
    let (status, body) = get_text(&format!("/api/v1/search/{path}")).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{body}");
    let body: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(body["errorType"], "bad_data");
    body["error"].as_str().unwrap().to_string()
}

#[tokio::test]
async fn results_are_followed_by_a_line_that_says_whether_there_are_more() {
    let all = lines("metric_names?start=0&end=30").await;
    assert_eq!(
        all,
        [json!({"results": [{"name": "a"}, {"name": "b"}]}), json!({"status": "success", "has_more": false})]
    );
    let one = lines("metric_names?start=0&end=30&limit=1&sort_by=alpha&sort_dir=dsc").await;
    assert_eq!(one, [json!({"results": [{"name": "b"}]}), json!({"status": "success", "has_more": true})]);
    let batches = lines("metric_names?start=0&end=30&batch_size=1").await;
    assert_eq!(batches.len(), 3);
}

#[tokio::test]
async fn labels_and_their_values_are_searched() {
    let names = lines("label_names?start=0&end=30&search[]=jb&include_score=true").await;
    assert_eq!(names[0]["results"][0]["name"], "job");
    assert!(names[0]["results"][0]["score"].as_f64().unwrap() < 1.0);
    let values = lines("label_values?label=job&match[]=a&start=0&end=30&search[]=TE&case_sensitive=false").await;
    assert_eq!(values[0], json!({"results": [{"value": "test"}]}));
    let nothing = lines("label_values?label=job&start=0&end=30&search[]=xyz").await;
    assert_eq!(nothing, [json!({"results": []}), json!({"status": "success", "has_more": false})]);
}

#[tokio::test]
async fn without_times_the_last_hour_is_searched() {
    // The clock of the test is at 20 s.
    assert_eq!(lines("metric_names?search[]=a&sort_by=score").await[0]["results"], json!([{"name": "a"}]));
    assert_eq!(lines("metric_names?start=3600&end=7200").await[0]["results"], json!([]));
}

#[tokio::test]
async fn requests_that_make_no_sense_are_refused_with_the_texts_of_prometheus() {
    for (path, expected) in [
        ("label_values", "missing required parameter \"label\""),
        ("metric_names?start=10&end=5", "end timestamp must not be before start timestamp"),
        ("metric_names?limit=0", "invalid limit \"0\": must be a positive integer"),
        ("metric_names?limit=10001", "limit 10001 exceeds the configured maximum (10000, see --web.search.max-limit)"),
        ("metric_names?sort_by=score", "sort_by=score requires search[] to be set"),
        ("metric_names?sort_dir=asc", "sort_dir is only valid when sort_by is set"),
        ("label_names?sort_by=x", "invalid sort_by \"x\" for label_names: must be \"alpha\" or \"score\""),
        ("metric_names?fuzz_threshold=101", "invalid fuzz_threshold \"101\": must be 0-100"),
        ("metric_names?fuzz_alg=x", "unsupported fuzz_alg \"x\": must be one of [subsequence jarowinkler]"),
        ("metric_names?include_score=maybe", "invalid include_score \"maybe\": must be boolean"),
        ("metric_names?batch_size=-1", "invalid batch_size \"-1\": must be a positive integer"),
    ] {
        assert_eq!(refusal(path).await, expected, "{path}");
    }
    let many = "search[]=a&".repeat(33);
    assert_eq!(refusal(&format!("metric_names?{many}")).await, "too many search[] terms: got 33, maximum is 32");
    let long = "a".repeat(1025);
    assert!(refusal(&format!("metric_names?search[]={long}")).await.contains("longer than 1024 bytes"));
}
