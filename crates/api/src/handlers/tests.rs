//! Tests that send requests through the router to sources in memory.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use pharos_model::{Labels, Matcher, MemoryAccount, SelectError, TenantId, TimeRange};
use pharos_promql::Engine;
use pharos_querier::Fanout;
use pharos_testkit::{ManualClock, MemorySeries, MemorySource};
use prometheus::proto::MetricFamily;
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::error::ErrorKind;
use crate::notifications::Notifications;
use crate::services::{
    Alertmanagers, Block, BuildInfo, RelabelStep, RuleConfigCall, Rules, RuntimeInfo, TargetMetadata, Targets,
    TsdbStatus, WalReplay,
};
use crate::{Api, ApiConfig, ApiError, Services, router};

/// Services of a node that is not ready and has nothing to show.
struct NoServices(Notifications);

#[async_trait::async_trait]
impl Services for NoServices {
    fn is_known(&self, tenant: &TenantId) -> bool {
        *tenant == TenantId::default()
    }
    fn ready(&self) -> Result<(), String> {
        Err("replaying the log".into())
    }
    async fn reload(&self) -> Result<Option<String>, String> {
        Err("bad configuration".into())
    }
    fn quit(&self) {}
    fn notifications(&self) -> &Notifications {
        &self.0
    }
    fn metric_families(&self) -> Vec<MetricFamily> {
        let registry = prometheus::Registry::new();
        for name in ["up_total", "down_total"] {
            registry.register(Box::new(prometheus::Counter::new(name, "Counts.").unwrap())).unwrap();
        }
        registry.gather()
    }
    fn metrics_text(&self) -> String {
        "up 1\n".into()
    }
    fn config_yaml(&self, with_tenants: bool) -> String {
        if with_tenants { "limits: {overrides: {a: {}}}\n".into() } else { "global: {}\n".into() }
    }
    fn flags(&self) -> BTreeMap<String, String> {
        BTreeMap::from([("a".into(), "b".into())])
    }
    fn runtime_info(&self) -> RuntimeInfo {
        RuntimeInfo::default()
    }
    fn build_info(&self) -> BuildInfo {
        BuildInfo::default()
    }
    fn wal_replay(&self) -> WalReplay {
        WalReplay::default()
    }
    async fn tsdb(&self, _: &TenantId, _: usize) -> Result<TsdbStatus, String> {
        Ok(TsdbStatus::default())
    }
    async fn targets(&self, _: Option<&str>) -> Targets {
        Targets { pools: vec!["node".into()], ..Targets::default() }
    }
    async fn target_metadata(&self) -> Vec<TargetMetadata> {
        Vec::new()
    }
    fn scrape_pool_yaml(&self, pool: &str) -> Result<String, String> {
        Err(format!("scrape pool {pool:?} not found"))
    }
    fn relabel_steps(&self, _: &str, labels: &BTreeMap<String, String>) -> Result<Vec<RelabelStep>, String> {
        Ok(vec![RelabelStep { rule: json!({"action": "replace"}), output: labels.clone(), keep: true }])
    }
    fn blocks(&self, _: &TenantId) -> Vec<Block> {
        Vec::new()
    }
    async fn rules(&self, _: &TenantId) -> Rules {
        Rules::default()
    }
    async fn rule_config(&self, tenant: &TenantId, call: RuleConfigCall) -> Result<String, ApiError> {
        match call {
            RuleConfigCall::Get(_, group) if group == "none" => {
                Err(ApiError::new(ErrorKind::NotFound, "group does not exist"))
            }
            call => Ok(format!("{tenant}: {call:?}")),
        }
    }
    async fn alertmanagers(&self) -> Alertmanagers {
        Alertmanagers::default()
    }
    fn delete_series(&self, _: &TenantId, _: &[Matcher], _: TimeRange) -> Result<(), String> {
        Ok(())
    }
    fn clean_tombstones(&self, _: &TenantId) -> Result<(), String> {
        Ok(())
    }
    fn snapshot(&self, _: bool) -> Result<String, String> {
        Ok("snapshot-1".into())
    }
}

/// A source with the metrics `a` and `b`, which have samples at 10 s and 20 s.
fn source() -> Arc<MemorySource> {
    let labels = |name: &str| Labels::from_pairs([("__name__", name), ("job", "test")]);
    let samples = |v: f64| [(10_000, v), (20_000, v + 1.0)];
    Arc::new(MemorySource::new(MemorySeries::new().floats(labels("a"), samples(1.0)).floats(labels("b"), samples(5.0))))
}

/// Sends a request. Returns the status and the body.
async fn send_to(source: Arc<MemorySource>, config: ApiConfig, request: Request<Body>) -> (StatusCode, String) {
    let sources = Fanout::new(vec![source]);
    let clock = Arc::new(ManualClock::at(20_000));
    let (registry, memory) = (prometheus::Registry::new(), MemoryAccount::unlimited());
    let services = Arc::new(NoServices(Notifications::new(1)));
    let api = Api::create(config, Engine::default(), sources, services, memory, clock, &registry).unwrap();
    let response = router(api).oneshot(request).await.unwrap();
    let status = response.status();
    let body = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

fn request(method: &str, path: &str) -> Request<Body> {
    Request::builder().method(method).uri(path).body(Body::empty()).unwrap()
}

pub(super) async fn get_text(path: &str) -> (StatusCode, String) {
    send_to(source(), ApiConfig::default(), request("GET", path)).await
}

async fn get(path: &str) -> (StatusCode, Value) {
    let (status, body) = get_text(path).await;
    (status, serde_json::from_str(&body).unwrap())
}

/// Sends a request that must succeed. Returns its data.
async fn data(path: &str) -> Value {
    let (status, body) = get(path).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    assert_eq!(body["status"], "success");
    body["data"].clone()
}

/// Sends a request that must be refused as bad data. Returns the error message.
async fn bad_data(path: &str) -> String {
    let (status, body) = get(path).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{body}");
    assert_eq!(body["errorType"], "bad_data");
    body["error"].as_str().unwrap().to_string()
}

#[tokio::test]
async fn an_instant_query_is_evaluated_at_its_time() {
    let data = data("/api/v1/query?query=a&time=15").await;
    assert_eq!(data["resultType"], "vector");
    assert_eq!(data["result"][0]["metric"], json!({"__name__": "a", "job": "test"}));
    assert_eq!(data["result"][0]["value"], json!([15, "1"]));
}

#[tokio::test]
async fn an_instant_query_without_a_time_is_evaluated_now() {
    assert_eq!(data("/api/v1/query?query=a").await["result"][0]["value"], json!([20, "2"]));
}

#[tokio::test]
async fn a_range_query_has_a_value_for_every_step() {
    let data = data("/api/v1/query_range?query=a&start=10&end=20&step=5").await;
    assert_eq!(data["resultType"], "matrix");
    assert_eq!(data["result"][0]["values"], json!([[10, "1"], [15, "1"], [20, "2"]]));
}

#[tokio::test]
async fn a_range_query_needs_a_positive_step() {
    let error = bad_data("/api/v1/query_range?query=a&start=10&end=20&step=0").await;
    assert!(error.contains("zero or negative query resolution step widths"), "{error}");
    assert!(bad_data("/api/v1/query_range?query=a&start=10&end=20").await.contains("step"));
}

#[tokio::test]
async fn a_range_query_must_not_end_before_it_starts() {
    let error = bad_data("/api/v1/query_range?query=a&start=20&end=10&step=5").await;
    assert!(error.contains("end timestamp must not be before start time"), "{error}");
}

#[tokio::test]
async fn a_range_query_is_limited_in_points() {
    let error = bad_data("/api/v1/query_range?query=a&start=0&end=11001&step=1").await;
    assert!(error.contains("exceeded maximum resolution of 11,000 points per timeseries"), "{error}");
}

#[tokio::test]
async fn a_query_that_does_not_parse_is_bad_data() {
    let error = bad_data("/api/v1/query?query=a%20b").await;
    assert!(error.starts_with("invalid parameter \"query\":"), "{error}");
}

#[tokio::test]
async fn a_limited_query_warns_of_omitted_series() {
    let (_, body) = get("/api/v1/query?query=%7Bjob%3D%22test%22%7D&limit=1").await;
    assert_eq!(body["data"]["result"].as_array().unwrap().len(), 1);
    assert_eq!(body["warnings"], json!(["results truncated due to limit"]));
}

#[tokio::test]
async fn statistics_are_shown_on_request() {
    // Both samples lie within the lookback.
    assert_eq!(data("/api/v1/query?query=a&stats=1").await["stats"]["samples"]["samplesRead"], 2);
    assert_eq!(data("/api/v1/query?query=a").await["stats"], Value::Null);
}

#[tokio::test]
async fn an_explained_query_has_a_plan_and_no_result() {
    let data = data("/api/v1/query?query=sum(a)&explain=true").await;
    assert_eq!(data["explain"]["logical"]["operator"], "aggregate");
    assert_eq!(data["result"], Value::Null);
}

#[tokio::test]
async fn relabelling_is_shown_rule_by_rule() {
    let labels = "%7B%22__address__%22:%22a%22%7D";
    let steps = data(&format!("/api/v1/targets/relabel_steps?scrapePool=node&labels={labels}")).await;
    let expected = json!([{"rule": {"action": "replace"}, "output": {"__address__": "a"}, "keep": true}]);
    assert_eq!(steps["steps"], expected);
    for (query, expected) in [
        ("", "no scrapePool parameter provided"),
        ("scrapePool=node", "no labels parameter provided"),
        ("scrapePool=node&labels=%5B%5D", "error parsing labels: "),
    ] {
        let error = bad_data(&format!("/api/v1/targets/relabel_steps?{query}")).await;
        assert!(error.starts_with(expected), "{error}");
    }
    let long = format!("%7B%22a%22:%22{}%22%7D", "x".repeat(32_768));
    let error = bad_data(&format!("/api/v1/targets/relabel_steps?scrapePool=node&labels={long}")).await;
    assert!(error.contains("larger than 32768 bytes"), "{error}");
}

#[tokio::test]
async fn a_pool_that_does_not_exist_has_no_configuration() {
    let error = bad_data("/api/v1/scrape_pools/config?scrapePool=gone").await;
    assert_eq!(error, "error retrieving scrape config: scrape pool \"gone\" not found");
    assert_eq!(bad_data("/api/v1/scrape_pools/config").await, "no scrapePool parameter provided");
}

#[tokio::test]
async fn blocks_and_the_version_are_shown() {
    assert_eq!(data("/api/v1/status/tsdb/blocks").await, json!({"blocks": []}));
    let (status, body) = get("/version").await;
    assert_eq!((status, &body["version"]), (StatusCode::OK, &json!("")));
}

#[tokio::test]
async fn switches_are_true_or_false() {
    assert!(bad_data("/api/v1/query?query=a&explain=maybe").await.contains("must be true or false"));
}

#[tokio::test]
async fn a_form_is_read_like_a_query_string() {
    let request = Request::builder()
        .method("POST")
        .uri("/api/v1/query")
        .header("content-type", "application/x-www-form-urlencoded")
        .body(Body::from("query=a&time=15"))
        .unwrap();
    let (status, body) = send_to(source(), ApiConfig::default(), request).await;
    assert_eq!(status, StatusCode::OK);
    assert!(body.contains("[15,\"1\"]"), "{body}");
}

#[tokio::test]
async fn an_invalid_tenant_is_bad_data() {
    let request = Request::builder().uri("/api/v1/query?query=a").header("x-scope-orgid", "a/b").body(Body::empty());
    let (status, _) = send_to(source(), ApiConfig::default(), request.unwrap()).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn unavailable_samples_are_an_internal_error() {
    let source = source();
    source.fail(Some(SelectError::Storage("disk".into())));
    let (status, body) = send_to(source, ApiConfig::default(), request("GET", "/api/v1/query?query=a")).await;
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR, "{body}");
    assert!(body.contains("\"errorType\":\"internal\""), "{body}");
}

#[tokio::test]
async fn series_are_listed_by_selector() {
    let found = data("/api/v1/series?match[]=b").await;
    assert_eq!(found, json!([{"__name__": "b", "job": "test"}]));
}

#[tokio::test]
async fn series_need_a_selector() {
    assert_eq!(bad_data("/api/v1/series").await, "no match[] parameter provided");
}

#[tokio::test]
async fn limited_series_warn_only_when_there_are_more() {
    let all = "/api/v1/series?match[]=%7Bjob%3D%22test%22%7D";
    let (_, one) = get(&format!("{all}&limit=1")).await;
    assert_eq!(one["data"].as_array().unwrap().len(), 1);
    assert_eq!(one["warnings"], json!(["results truncated due to limit"]));
    let (_, two) = get(&format!("{all}&limit=2")).await;
    assert_eq!(two["warnings"], Value::Null);
}

#[tokio::test]
async fn label_names_and_values_are_listed() {
    assert_eq!(data("/api/v1/labels").await, json!(["__name__", "job"]));
    assert_eq!(data("/api/v1/label/__name__/values").await, json!(["a", "b"]));
    assert_eq!(data("/api/v1/label/__name__/values?match[]=a").await, json!(["a"]));
}

#[tokio::test]
async fn a_negative_limit_is_bad_data() {
    assert!(bad_data("/api/v1/labels?limit=-1").await.contains("limit must be non-negative"));
}

#[tokio::test]
async fn a_query_is_formatted() {
    assert_eq!(data("/api/v1/format_query?query=sum(a)%2Bb").await, "sum(a) + b");
}

#[tokio::test]
async fn a_query_is_parsed_into_a_tree() {
    assert_eq!(data("/api/v1/parse_query?query=a").await["type"], "vectorSelector");
}

#[tokio::test]
async fn federation_gives_the_newest_samples_as_text() {
    let (status, body) = get_text("/federate?match[]=a").await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(body, "# TYPE a untyped\na{instance=\"\",job=\"test\"} 2 20000\n");
}

#[tokio::test]
async fn a_node_that_is_not_ready_says_why() {
    let (status, body) = get_text("/-/ready").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(body, "Service Unavailable: replaying the log\n");
}

#[tokio::test]
async fn a_node_is_healthy_before_it_is_ready() {
    assert_eq!(get_text("/-/healthy").await.0, StatusCode::OK);
}

#[tokio::test]
async fn the_lifecycle_api_is_disabled_by_default() {
    let (status, _) = send_to(source(), ApiConfig::default(), request("POST", "/-/reload")).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn a_failed_reload_says_why() {
    let config = ApiConfig { enable_lifecycle: true, ..ApiConfig::default() };
    let (status, body) = send_to(source(), config, request("POST", "/-/reload")).await;
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(body, "failed to reload config: bad configuration\n");
}

#[tokio::test]
async fn the_admin_api_is_disabled_by_default() {
    let (status, body) = send_to(source(), ApiConfig::default(), request("POST", "/api/v1/admin/tsdb/snapshot")).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(body.contains("admin APIs disabled"), "{body}");
}

#[tokio::test]
async fn an_enabled_admin_api_takes_a_snapshot() {
    let config = ApiConfig { enable_admin_api: true, ..ApiConfig::default() };
    let (status, body) = send_to(source(), config, request("POST", "/api/v1/admin/tsdb/snapshot")).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(body, "{\"status\":\"success\",\"data\":{\"name\":\"snapshot-1\"}}");
}

#[tokio::test]
async fn deleting_series_needs_a_selector() {
    let config = ApiConfig { enable_admin_api: true, ..ApiConfig::default() };
    let (status, _) = send_to(source(), config, request("POST", "/api/v1/admin/tsdb/delete_series")).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn cancelling_an_unknown_query_is_not_found() {
    let cancel = request("DELETE", "/api/v1/status/active_queries/7");
    let (status, body) = send_to(source(), ApiConfig::default(), cancel).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert!(body.contains("\"errorType\":\"not_found\""), "{body}");
}

#[tokio::test]
async fn listing_the_queries_of_all_tenants_needs_the_admin_api() {
    let (status, _) = get("/api/v1/status/active_queries?all_tenants=true").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn an_unknown_route_is_not_found() {
    for path in ["/api/v1/nothing", "/nothing"] {
        assert_eq!(get_text(path).await, (StatusCode::NOT_FOUND, "404 page not found\n".into()));
    }
}

#[tokio::test]
async fn an_unknown_method_is_not_allowed() {
    for path in ["/api/v1/query", "/federate"] {
        let (status, body) = send_to(source(), ApiConfig::default(), request("DELETE", path)).await;
        assert_eq!((status, body.as_str()), (StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed\n"));
    }
}

#[tokio::test]
async fn a_query_may_be_sent_as_a_multipart_form() {
    let body = "--b\r\nContent-Disposition: form-data; name=\"query\"\r\n\r\na\r\n--b--\r\n";
    let post = Request::post("/api/v1/query").header("content-type", "Multipart/Form-Data; boundary=b");
    let (status, body) = send_to(source(), ApiConfig::default(), post.body(Body::from(body)).unwrap()).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    assert!(body.contains("\"__name__\":\"a\""), "{body}");
}

#[tokio::test]
async fn a_range_that_ends_before_it_starts_has_no_series() {
    for path in ["series?match[]=a&", "labels?", "label/job/values?"] {
        assert_eq!(data(&format!("/api/v1/{path}start=30&end=1")).await, json!([]), "{path}");
    }
}

#[tokio::test]
async fn metadata_ignores_times() {
    assert_eq!(data("/api/v1/metadata?start=abc&end=abc").await, json!({}));
}

#[tokio::test]
async fn the_bounds_of_time_of_gos_client_are_taken_by_every_endpoint() {
    let texts = ("-292273086-05-16T16:47:06Z", "292277025-08-18T07:12:54.999999999Z");
    for (start, end) in [texts, ("-9223309901257974", "9223309901257974")] {
        for path in ["series?match[]=a", "labels?", "label/job/values?", "query_exemplars?query=a"] {
            data(&format!("/api/v1/{path}&start={start}&end={end}")).await;
        }
        for time in [start, end] {
            data(&format!("/api/v1/query?query=a&time={time}")).await;
            data(&format!("/api/v1/query?query=rate(a[5m] offset 5m)&time={time}").replace(' ', "%20")).await;
        }
        let range = format!("/api/v1/query_range?query=a&start={start}&end={end}&step=");
        assert!(bad_data(&format!("{range}15")).await.contains("exceeded maximum resolution"));
    }
}

#[tokio::test]
async fn too_many_rows_of_the_tsdb_status_are_bad_data() {
    assert!(bad_data("/api/v1/status/tsdb?limit=10001").await.contains("limit must not exceed 10000"));
}

#[tokio::test]
async fn parameters_of_rules_are_checked() {
    for (query, parameter) in [
        ("type=alerts", "type"),
        ("exclude_alerts=maybe", "exclude_alerts"),
        ("group_next_token=x", "group_next_token"),
        ("group_limit=x", "group_limit"),
        ("group_limit=0", "group_limit"),
    ] {
        let message = bad_data(&format!("/api/v1/rules?{query}")).await;
        assert!(message.starts_with(&format!("invalid parameter {parameter:?}: ")), "{message}");
    }
    bad_data("/api/v1/rules?match[]=%7B").await;
    assert_eq!(data("/api/v1/rules?type=Alert&exclude_alerts=T&group_limit=5").await, json!({"groups": []}));
}

#[tokio::test]
async fn series_that_exceed_the_memory_of_a_query_are_refused() {
    let mut config = ApiConfig::default();
    let mut limits = pharos_querier::LimitsByTenant::default();
    limits.defaults.max_memory_bytes = 10;
    config.limits = Arc::new(arc_swap::ArcSwap::from_pointee(limits));
    for path in ["/api/v1/series?match[]=a", "/api/v1/labels"] {
        let (status, body) = send_to(source(), config.clone(), request("GET", path)).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{body}");
    }
}

/// Sends a request of a tenant from an address. Returns the status and the body.
async fn get_as(tenant: &str, from: [u8; 4], path: &str) -> (StatusCode, Value) {
    let mut request = request("GET", path);
    request.headers_mut().insert("x-scope-orgid", tenant.parse().unwrap());
    request.extensions_mut().insert(crate::query_log::ClientAddress(from.into()));
    let (status, body) = send_to(source(), ApiConfig::default(), request).await;
    (status, serde_json::from_str(&body).unwrap())
}

const HERE: [u8; 4] = [127, 0, 0, 1];
const THERE: [u8; 4] = [10, 0, 0, 7];

#[tokio::test]
async fn targets_are_shown_to_their_tenant_and_to_the_machine() {
    for (tenant, from, pools) in
        [("anonymous", THERE, json!(["node"])), ("a", HERE, json!(["node"])), ("a", THERE, json!([]))]
    {
        let (_, body) = get_as(tenant, from, "/api/v1/scrape_pools").await;
        assert_eq!(body["data"]["scrapePools"], pools, "{tenant} from {from:?}");
    }
}

#[tokio::test]
async fn the_configuration_shows_other_tenants_only_to_the_machine() {
    let (_, body) = get_as("anonymous", HERE, "/api/v1/status/config").await;
    assert!(body["data"]["yaml"].as_str().unwrap().contains("overrides"));
    let (_, body) = get_as("anonymous", THERE, "/api/v1/status/config").await;
    assert_eq!(body["data"]["yaml"], "global: {}\n");
    for path in ["/api/v1/status/config", "/api/v1/status/flags"] {
        let (status, body) = get_as("a", THERE, path).await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{body}");
        assert!(body["error"].as_str().unwrap().contains("--web.tenant-details"), "{body}");
    }
}

#[tokio::test]
async fn groups_of_rules_are_shown_as_yaml_on_all_paths() {
    for (path, call) in [
        ("/config/v1/rules", "List(None)"),
        ("/prometheus/config/v1/rules", "List(None)"),
        ("/config/v1/rules/n", r#"List(Some("n"))"#),
        ("/api/v1/rules/n", r#"List(Some("n"))"#),
        ("/config/v1/rules/a%2Fb/g%20h", r#"Get("a/b", "g h")"#),
        ("/api/v1/rules/n/g", r#"Get("n", "g")"#),
    ] {
        let mut request = request("GET", path);
        request.headers_mut().insert("x-scope-orgid", "team".parse().unwrap());
        let (status, body) = send_to(source(), ApiConfig::default(), request).await;
        assert_eq!((status, body), (StatusCode::OK, format!("team: {call}")), "{path}");
    }
    let missing = get_text("/config/v1/rules/n/none").await;
    assert_eq!(missing, (StatusCode::NOT_FOUND, "group does not exist\n".to_string()));
}

#[tokio::test]
async fn changes_of_groups_are_accepted() {
    let accepted = r#"{"data":null,"error":"","errorType":"","status":"success"}"#;
    for (method, path) in [("POST", "/n"), ("DELETE", "/n"), ("DELETE", "/n/g")] {
        for prefix in ["/config/v1/rules", "/prometheus/config/v1/rules", "/api/v1/rules"] {
            let request = request(method, &format!("{prefix}{path}"));
            let answer = send_to(source(), ApiConfig::default(), request).await;
            assert_eq!(answer, (StatusCode::ACCEPTED, accepted.to_string()), "{method} {prefix}{path}");
        }
    }
}

#[tokio::test]
async fn the_rule_api_can_be_disabled_and_is_bounded() {
    let config = ApiConfig { enable_rule_api: false, ..ApiConfig::default() };
    let (status, body) = send_to(source(), config, request("GET", "/config/v1/rules")).await;
    assert!(status == StatusCode::SERVICE_UNAVAILABLE && body.contains("the rule API is disabled"), "{body}");
    let mut large = request("POST", "/config/v1/rules/n");
    *large.body_mut() = Body::from(vec![b'x'; 3 << 20]);
    let (status, _) = send_to(source(), ApiConfig::default(), large).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
    let mut hostile = request("POST", "/config/v1/rules/n");
    *hostile.body_mut() = Body::from(vec![0xff]);
    let (status, _) = send_to(source(), ApiConfig::default(), hostile).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn own_metrics_are_chosen_by_a_pattern_for_whole_names() {
    for (pattern, names) in [("", vec!["down_total", "up_total"]), ("up.*", vec!["up_total"]), ("up", Vec::new())] {
        let families = data(&format!("/api/v1/status/self_metrics?metric_name_pattern={pattern}")).await;
        let found: Vec<&str> = families.as_array().unwrap().iter().map(|f| f["name"].as_str().unwrap()).collect();
        assert_eq!(found, names, "{pattern}");
    }
    let error = bad_data("/api/v1/status/self_metrics?metric_name_pattern=(").await;
    assert!(error.starts_with("invalid metric_name_pattern: "), "{error}");
}

#[tokio::test]
async fn notifications_are_a_list() {
    assert_eq!(data("/api/v1/notifications").await, json!([]));
}
