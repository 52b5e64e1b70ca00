use std::path::Path;

use axum::body::Body;
use axum::http::Request;
use pharos_model::clock::ManualClock;
use serde_json::{Value, json};
use tower::ServiceExt;

use super::*;
use crate::engine::{Active, Settings};
use crate::metrics::Metrics;
use crate::replicas::Alone;
use crate::{Config, Syntax};

/// An API at 2026-11-30T20:00:00Z. No group is flushed.
struct World {
    router: Router,
    clock: Arc<ManualClock>,
    _folder: tempfile::TempDir,
}

const CONFIG: &str = "
route: {receiver: team, group_by: [alertname], routes: [{matchers: [team=db], receiver: db, labels: {who: 'db {{ .GroupLabels.alertname }}'}}]}
receivers: [{name: team}, {name: db, labels: {owner: x}}]
inhibit_rules: [{source_matchers: [severity=critical], target_matchers: [severity=warning], equal: [alertname]}]
";

impl World {
    async fn new() -> World {
        World::with_prefix("").await
    }

    async fn with_prefix(prefix: &str) -> World {
        let folder = tempfile::tempdir().unwrap();
        let start: Timestamp = "2026-11-30T20:00:00Z".parse().unwrap();
        let clock = Arc::new(ManualClock::at(start.as_millisecond()));
        let settings = Settings { logs_silences: true, ..Settings::of_test(folder.path()) };
        let metrics = Arc::new(Metrics::register(&prometheus::Registry::new()).unwrap());
        let engine = Engine::open(settings, metrics, Arc::new(Alone), clock.clone()).unwrap();
        let config = Config::parse(CONFIG, Path::new("alertmanager.yml"), Syntax::Both).unwrap();
        engine.activate(Active::build(config, "http://am").unwrap());
        let settings = ApiSettings {
            cors_origin: Some(GoRegex::unanchored("^(?:https?://ops)$").unwrap()),
            get_concurrency: 2,
            timeout: None,
            route_prefix: prefix.into(),
            started: start,
            version: "1.2.3".into(),
            revision: String::new(),
        };
        let refuse: Reload = Arc::new(|| Err("alertmanager.yml:1:1: bad".into()));
        let router = router(engine, settings, refuse, Arc::new(|| "metrics\n".into()));
        World { router, clock, _folder: folder }
    }

    /// Status and JSON body of a response; a body that is no JSON is a string.
    async fn ask(&self, method: &str, path: &str, body: Value) -> (u16, Value) {
        let body = if body.is_null() { Body::empty() } else { Body::from(body.to_string()) };
        let request = Request::builder().method(method).uri(path).body(body).unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let bytes = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    async fn get(&self, path: &str) -> Value {
        let (status, body) = self.ask("GET", path, Value::Null).await;
        assert_eq!(status, 200, "{path}: {body}");
        body
    }

    async fn post_alerts(&self, alerts: Value) -> (u16, Value) {
        self.ask("POST", "/api/v2/alerts", alerts).await
    }

    async fn silence(&self, name: &str, value: &str, minutes: i64) -> String {
        let now = Timestamp::from_millisecond(pharos_model::Clock::now_ms(&*self.clock)).unwrap();
        let silence = json!({
            "matchers": [{"name": name, "value": value, "isRegex": false}],
            "startsAt": now.to_string(),
            "endsAt": (now + Duration::from_secs(60 * minutes as u64)).to_string(),
            "createdBy": "ops", "comment": "planned",
        });
        let (status, body) = self.ask("POST", "/api/v2/silences", silence).await;
        assert_eq!(status, 200, "{body}");
        body["silenceID"].as_str().unwrap().to_string()
    }
}

fn alert(labels: Value) -> Value {
    json!({"labels": labels, "annotations": {"a": "b"}, "generatorURL": "http://prometheus/g"})
}

#[tokio::test]
async fn an_alert_is_shown_as_alertmanager_shows_it() {
    let world = World::new().await;
    assert_eq!(world.post_alerts(json!([alert(json!({"alertname": "Down", "empty": ""}))])).await, (200, json!("")));
    let shown = world.get("/api/v2/alerts").await;
    let expected = json!([{
        "annotations": {"a": "b"},
        "endsAt": "2026-11-30T20:05:00.000Z",
        "fingerprint": shown[0]["fingerprint"],
        "receivers": [{"name": "team"}],
        "startsAt": "2026-11-30T20:00:00.000Z",
        "status": {"inhibitedBy": [], "mutedBy": [], "silencedBy": [], "state": "active"},
        "updatedAt": "2026-11-30T20:00:00.000Z",
        "generatorURL": "http://prometheus/g",
        "labels": {"alertname": "Down"},
    }]);
    assert_eq!(shown, expected);
    assert_eq!(shown[0]["fingerprint"].as_str().unwrap().len(), 16);
}

#[tokio::test]
async fn groups_have_receivers_and_expanded_labels_of_the_route() {
    let world = World::new().await;
    let alerts = json!([
        alert(json!({"alertname": "Slow", "team": "db"})),
        alert(json!({"alertname": "Slow", "team": "db", "n": "2"})),
        alert(json!({"alertname": "Down"})),
    ]);
    world.post_alerts(alerts).await;
    let groups = world.get("/api/v2/alerts/groups").await;
    let receivers: Vec<&Value> = groups.as_array().unwrap().iter().map(|group| &group["receiver"]["name"]).collect();
    assert_eq!(receivers, ["team", "db"]);
    assert_eq!(
        (&groups[1]["routeLabels"], &groups[1]["labels"]),
        (&json!({"who": "db Slow"}), &json!({"alertname": "Slow"}))
    );
    assert_eq!(groups[1]["alerts"].as_array().unwrap().len(), 2);
    let of = |path: &'static str| world.get(path);
    assert_eq!(of("/api/v2/alerts/groups?receiver=d.").await.as_array().unwrap().len(), 1);
    assert_eq!(of("/api/v2/alerts?receiver_matchers=owner%3Dx").await.as_array().unwrap().len(), 2);
    assert_eq!(of("/api/v2/alerts?filter=alertname%3D~S.%2A&filter=n%3D%222%22").await.as_array().unwrap().len(), 1);
    assert_eq!(
        of("/api/v2/receivers?receiver_matchers=owner%3Dx").await,
        json!([{"labels": {"name": "db", "owner": "x"}, "name": "db"}])
    );
}

#[tokio::test]
async fn an_alert_shows_what_mutes_it_at_once() {
    let world = World::new().await;
    world.post_alerts(json!([alert(json!({"alertname": "a", "severity": "warning"}))])).await;
    let id = world.silence("alertname", "a", 5).await;
    world.post_alerts(json!([alert(json!({"alertname": "a", "severity": "critical"}))])).await;
    let critical = world.get("/api/v2/alerts?filter=severity%3Dcritical").await;
    let warning = world.get("/api/v2/alerts?filter=severity%3Dwarning").await;
    assert_eq!(warning[0]["status"]["silencedBy"], json!([id]));
    assert_eq!(warning[0]["status"]["inhibitedBy"], json!([critical[0]["fingerprint"]]));
    assert_eq!(world.get("/api/v2/alerts?silenced=false").await, json!([]));
    assert_eq!(world.ask("DELETE", &format!("/api/v2/silence/{id}"), Value::Null).await.0, 200);
    assert_eq!(world.get("/api/v2/alerts?active=false").await.as_array().unwrap().len(), 1);
    assert_eq!(world.get("/api/v2/alerts?inhibited=false").await.as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn valid_alerts_are_taken_beside_those_that_are_not() {
    let world = World::new().await;
    let (status, body) = world
        .post_alerts(json!([
            {"labels": {}},
            alert(json!({"alertname": "good"})),
            {"labels": {"a": "b"}, "startsAt": "2026-11-30T21:00:00Z", "endsAt": "2026-11-30T20:30:00Z"},
        ]))
        .await;
    assert_eq!((status, body), (400, json!("at least one label pair required\nstart time must be before end time")));
    assert_eq!(world.get("/api/v2/alerts").await.as_array().unwrap().len(), 1);
    let (status, body) = world.ask("POST", "/api/v2/alerts", json!({"labels": {}})).await;
    assert_eq!((status, &body["code"]), (400, &json!(400)));
    let (status, body) = world.post_alerts(json!([{"annotations": {}}])).await;
    assert_eq!((status, body), (422, json!({"code": 602, "message": "0.labels in body is required"})));
}

#[tokio::test]
async fn resolved_alerts_are_not_shown() {
    let world = World::new().await;
    world.post_alerts(json!([alert(json!({"alertname": "a"}))])).await;
    world.clock.advance(Duration::from_secs(301));
    assert_eq!(world.get("/api/v2/alerts").await, json!([]));
}

#[tokio::test]
async fn a_silence_is_shown_as_alertmanager_shows_it() {
    let world = World::new().await;
    let id = world.silence("a", "b", 5).await;
    let expected = json!({
        "id": id,
        "status": {"state": "active"},
        "updatedAt": "2026-11-30T20:00:00.000Z",
        "comment": "planned",
        "createdBy": "ops",
        "endsAt": "2026-11-30T20:05:00.000Z",
        "matchers": [{"isEqual": true, "isRegex": false, "name": "a", "value": "b"}],
        "startsAt": "2026-11-30T20:00:00.000Z",
    });
    assert_eq!(world.get(&format!("/api/v2/silence/{id}")).await, expected);
    assert_eq!(world.get("/api/v2/silences?filter=a%3Db").await, json!([expected]));
    assert_eq!(world.get("/api/v2/silences?filter=a%3D~b").await, json!([]));
    assert_eq!(world.get("/api/v2/silences?active=false").await, json!([]));
}

#[tokio::test]
async fn active_silences_come_first_and_those_that_end_soon_before_others() {
    let world = World::new().await;
    let (late, soon, over) =
        (world.silence("a", "1", 50).await, world.silence("a", "2", 5).await, world.silence("a", "3", 9).await);
    world.ask("DELETE", &format!("/api/v2/silence/{over}"), Value::Null).await;
    let shown = world.get("/api/v2/silences").await;
    let ids: Vec<&str> = shown.as_array().unwrap().iter().map(|silence| silence["id"].as_str().unwrap()).collect();
    assert_eq!(ids, [&soon, &late, &over]);
}

#[tokio::test]
async fn silences_that_make_no_sense_are_refused() {
    let world = World::new().await;
    let with = |changes: Value| {
        let mut silence = json!({
            "matchers": [{"name": "a", "value": "b", "isRegex": false}], "startsAt": "2026-11-30T20:00:00Z",
            "endsAt": "2026-11-30T21:00:00Z", "createdBy": "", "comment": "",
        });
        silence.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        silence
    };
    for (changes, status, body) in [
        (
            json!({"endsAt": "2026-11-30T19:00:00Z"}),
            400,
            json!("Failed to create silence: start time must be before end time"),
        ),
        (
            json!({"startsAt": "2026-11-30T18:00:00Z", "endsAt": "2026-11-30T19:00:00Z"}),
            400,
            json!("Failed to create silence: end time can't be in the past"),
        ),
        (json!({"comment": null}), 422, json!({"code": 602, "message": "comment in body is required"})),
        (
            json!({"matchers": []}),
            422,
            json!({"code": 612, "message": "matchers in body should have at least 1 items"}),
        ),
        (json!({"id": "4c3b2a19-0000-4000-8000-000000000000"}), 404, json!("silence not found")),
        (
            json!({"matchers": [{"name": "a", "value": "", "isRegex": false}]}),
            400,
            json!("invalid silence: matcher set 0: at least one matcher must not match the empty string"),
        ),
    ] {
        assert_eq!(world.ask("POST", "/api/v2/silences", with(changes.clone())).await, (status, body), "{changes}");
    }
    let (status, body) = world
        .ask("POST", "/api/v2/silences", with(json!({"matchers": [{"name": "a", "value": "(", "isRegex": true}]})))
        .await;
    assert!(status == 400 && body.as_str().unwrap().contains("error parsing regexp"), "{body}");
}

#[tokio::test]
async fn wrong_parameters_are_named() {
    let world = World::new().await;
    for (path, status, body) in [
        (
            "/api/v2/alerts?active=maybe",
            422,
            json!({"code": 601, "message": "active in query must be of type boolean: \"maybe\""}),
        ),
        ("/api/v2/alerts?filter=%7Ba%7D", 400, json!("unexpected open or close brace: {a}")),
        ("/api/v2/silence/x", 422, json!({"code": 601, "message": "silenceID in path must be of type uuid: \"x\""})),
        ("/api/v2/silence/4c3b2a19-0000-4000-8000-000000000000", 404, json!("")),
        (
            "/api/v2/receivers?receiver_matchers=-",
            400,
            json!("failed to parse receiver_matchers param: bad matcher format: -"),
        ),
    ] {
        assert_eq!(world.ask("GET", path, Value::Null).await, (status, body), "{path}");
    }
    assert_eq!(world.ask("GET", "/api/v1/alerts", Value::Null).await.0, 410);
}

#[tokio::test]
async fn status_health_and_reload_answer() {
    let world = World::with_prefix("/am").await;
    let status = world.get("/am/api/v2/status").await;
    assert_eq!(
        (&status["cluster"], &status["versionInfo"]["version"]),
        (&json!({"peers": [], "status": "disabled"}), &json!("1.2.3"))
    );
    assert!(status["config"]["original"].as_str().unwrap().contains("receivers:"));
    for path in ["/am/-/healthy", "/am/-/ready"] {
        assert_eq!(world.get(path).await, json!("OK"));
    }
    assert_eq!(
        world.ask("POST", "/am/-/reload", Value::Null).await,
        (500, json!("failed to reload config: alertmanager.yml:1:1: bad\n"))
    );
    assert_eq!(
        (world.ask("GET", "/", Value::Null).await.0, world.ask("GET", "/api/v2/status", Value::Null).await.0),
        (303, 404)
    );
}

#[tokio::test]
async fn only_the_allowed_origins_may_ask_from_a_browser() {
    let world = World::new().await;
    for (origin, is_allowed) in [("https://ops", true), ("https://ops.evil", false)] {
        let request = Request::builder().uri("/api/v2/status").header("Origin", origin).body(Body::empty()).unwrap();
        let response = world.router.clone().oneshot(request).await.unwrap();
        assert_eq!(response.headers().contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN), is_allowed, "{origin}");
    }
}
