//! Each receiver against a server of the test.

mod server;

use std::collections::BTreeMap;

use serde_json::json;

use self::server::{Answer, Server};
use crate::alert::Alert;
use crate::config::{GlobalConfig, ReceiverConfig};
use crate::error::{FailureReason, NotifyError};
use crate::notification::{Notification, NotificationReason, ReceiverData};
use crate::receiver::Receiver;
use crate::templates::Templates;

fn pairs(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
}

/// A notification about an alert that fires and one that is resolved.
pub(crate) fn notification() -> Notification {
    let alert = |instance: &str, ends_at: Option<&str>, url: &str| Alert {
        labels: pairs(&[("alertname", "Down"), ("instance", instance), ("job", "api")]),
        annotations: pairs(&[("summary", "It is <down>")]),
        starts_at: "2026-03-07T04:00:00Z".parse().unwrap(),
        ends_at: ends_at.map(|end| end.parse().unwrap()),
        updated_at: "2026-03-07T04:05:00Z".parse().unwrap(),
        generator_url: url.into(),
        timed_out: false,
    };
    Notification {
        receiver: "team.x".into(),
        group_key: "{}:{alertname=\"Down\"}".into(),
        group_labels: pairs(&[("alertname", "Down")]),
        route_labels: BTreeMap::new(),
        alerts: vec![alert("a", None, "http://prom/graph?g0=1"), alert("b", Some("2026-03-07T04:04:00Z"), "")],
        now: "2026-03-07T04:05:00Z".parse().unwrap(),
        reason: NotificationReason::FirstNotification,
        receiver_data: ReceiverData::default(),
    }
}

/// A notification about an alert that is resolved.
pub(crate) fn resolved() -> Notification {
    let mut notification = notification();
    notification.alerts.remove(0);
    notification
}

/// Reads a receiver from YAML. `SERVER` in the text is the server's address.
fn receiver(server: &Server, text: &str) -> Receiver {
    receiver_with(&GlobalConfig::default(), server, text)
}

fn receiver_with(global: &GlobalConfig, server: &Server, text: &str) -> Receiver {
    let text = format!("name: team.x\n{}", text.replace("SERVER", &server.address));
    let mut config: ReceiverConfig = serde_saphyr::from_str(&text).unwrap();
    config.resolve(global).unwrap();
    Receiver::new(&config, &Templates::load(&[], "http://am.example").unwrap()).unwrap()
}

async fn notify(receiver: &Receiver, notification: &Notification) -> Result<(), NotifyError> {
    receiver.integrations[0].notify(notification).await
}

#[tokio::test]
async fn a_webhook_gets_the_notification() {
    let server = Server::start(&[]).await;
    let receiver = receiver(&server, "webhook_configs: [{url: 'http://SERVER/hook', max_alerts: 1}]");
    notify(&receiver, &notification()).await.unwrap();
    let request = server.only_request();
    assert_eq!((request.method.as_str(), request.path.as_str()), ("POST", "/hook"));
    assert_eq!(request.header("content-type"), "application/json");
    let body = request.json();
    assert_eq!(body["version"], "4");
    assert_eq!(body["groupKey"], "{}:{alertname=\"Down\"}");
    assert_eq!(body["truncatedAlerts"], 1);
    assert_eq!(body["alerts"][0]["labels"]["instance"], "a");
    assert!(request.body.ends_with('\n'));
}

#[tokio::test]
async fn a_webhook_may_have_a_payload_and_a_url_of_its_own() {
    let server = Server::start(&[]).await;
    let text = "webhook_configs: [{url: 'http://SERVER/{{ .Status }}', payload: {count: '{{ len .Alerts }}', text: 'is {{ .Status }}'}}]";
    notify(&receiver(&server, text), &notification()).await.unwrap();
    let request = server.only_request();
    assert_eq!(request.path, "/firing");
    assert_eq!(request.json(), json!({ "count": 2, "text": "is firing" }));
}

#[tokio::test]
async fn statuses_say_whether_another_attempt_helps() {
    let server = Server::start(&[Answer::status(400, "bad"), Answer::status(503, "")]).await;
    let receiver = receiver(&server, "webhook_configs: [{url: 'http://SERVER/hook'}]");
    let error = notify(&receiver, &notification()).await.unwrap_err();
    assert_eq!(error, NotifyError::permanent(FailureReason::ClientError, "unexpected status code 400: bad"));
    let error = notify(&receiver, &notification()).await.unwrap_err();
    assert_eq!(error, NotifyError::temporary(FailureReason::ServerError, "unexpected status code 503"));
}

#[tokio::test]
async fn no_error_shows_the_url_of_a_webhook() {
    let server = Server::start(&[]).await;
    let receiver = receiver(&server, "webhook_configs: [{url: 'http://localhost:1/secret-token'}]");
    let error = notify(&receiver, &notification()).await.unwrap_err();
    assert!(error.retry && error.message.starts_with("Post \"<redacted>\": "), "{error}");
    assert!(!error.message.contains("secret-token"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_never_answers_is_given_up() {
    let server = Server::start(&[Answer::never()]).await;
    let receiver = receiver(&server, "webhook_configs: [{url: 'http://SERVER/hook', timeout: 1s}]");
    let error = notify(&receiver, &notification()).await.unwrap_err();
    assert_eq!(error.reason, FailureReason::ContextDeadlineExceeded);
    assert_eq!(error.message, "context deadline exceeded: configured webhook timeout reached (1s)");
}

#[tokio::test]
async fn discord_gets_an_embed() {
    let server = Server::start(&[]).await;
    let receiver = receiver(
        &server,
        "discord_configs: [{webhook_url: 'http://SERVER/d', message: '{{ .Status }}', username: bot}]",
    );
    notify(&receiver, &notification()).await.unwrap();
    let expected = json!({
        "content": "",
        "embeds": [{ "title": "[FIRING:1] Down (api)", "description": "firing", "color": 0x992D22 }],
        "username": "bot",
    });
    assert_eq!(server.only_request().json(), expected);
}

#[tokio::test]
async fn slack_gets_an_attachment() {
    let server = Server::start(&[Answer::text("ok")]).await;
    let text =
        "slack_configs: [{api_url: 'http://SERVER/s', channel: '#ops', fields: [{title: a, value: '{{ .Status }}'}]}]";
    notify(&receiver(&server, text), &notification()).await.unwrap();
    let url = "http://am.example/#/alerts?receiver=team%5C.x";
    let expected = json!({
        "username": "Alertmanager",
        "attachments": [{
            "title": "[FIRING:1] Down (api)",
            "title_link": url,
            "text": "",
            "fallback": format!("[FIRING:1] Down (api) | {url}"),
            "callback_id": "",
            "fields": [{ "title": "a", "value": "firing", "short": false }],
            "footer": "",
            "color": "danger",
            "mrkdwn_in": ["fallback", "pretext", "text"],
        }],
        "channel": "#ops",
    });
    assert_eq!(server.only_request().json(), expected);
}

#[tokio::test]
async fn slack_says_in_its_answer_that_a_message_was_refused() {
    let server =
        Server::start(&[Answer::text("no_team"), Answer::json(json!({ "ok": false, "error": "no_channel" }))]).await;
    let receiver = receiver(&server, "slack_configs: [{api_url: 'http://SERVER/s', channel: '#ops'}]");
    let error = notify(&receiver, &notification()).await.unwrap_err();
    assert_eq!(error.message, "channel \"#ops\": received an error response from Slack: no_team");
    let error = notify(&receiver, &notification()).await.unwrap_err();
    assert_eq!(error.message, "channel \"#ops\": error response from Slack: no_channel");
    assert!(!error.retry && error.reason == FailureReason::ClientError);
}

#[tokio::test]
async fn a_rate_limit_names_the_time_to_wait() {
    let server = Server::start(&[Answer::status(429, "slow down").with_header("Retry-After", "7")]).await;
    let receiver = receiver(&server, "slack_configs: [{api_url: 'http://SERVER/s'}]");
    let error = notify(&receiver, &notification()).await.unwrap_err();
    assert_eq!(error.retry_after, Some(std::time::Duration::from_secs(7)));
    assert_eq!(error.reason, FailureReason::RateLimited);
}
