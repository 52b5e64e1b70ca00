//! Each receiver against a server of the test.

mod recorded;
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

#[tokio::test]
async fn opsgenie_creates_and_closes_an_alert() {
    let server = Server::start(&[]).await;
    let text = "opsgenie_configs: [{api_url: 'http://SERVER/og', api_key: k, update_alerts: true, tags: 'a,,b', \
                responders: [{name: 'x,y', type: teams}, {name: '{{ .CommonLabels.none }}', type: '{{ .CommonLabels.none }}'}]}]";
    let receiver = receiver(&server, text);
    notify(&receiver, &notification()).await.unwrap();
    notify(&receiver, &resolved()).await.unwrap();
    let [create, message, description, close] = &server.requests()[..] else { panic!("{:?}", server.requests()) };
    assert_eq!(create.path, "/og/v2/alerts");
    assert_eq!(create.header("authorization"), "GenieKey k");
    let body = create.json();
    let alias = notification().hashed_key();
    assert_eq!(body["alias"], alias);
    assert_eq!(body["message"], "[FIRING:1] Down (api)");
    assert_eq!(body["details"], json!({ "alertname": "Down", "job": "api" }));
    assert_eq!(body["responders"], json!([{ "name": "x", "type": "team" }, { "name": "y", "type": "team" }]));
    assert_eq!(body["tags"], json!(["a", "b"]));
    assert_eq!(
        (message.method.as_str(), message.path.clone()),
        ("PUT", format!("/og/v2/alerts/{alias}/message?identifierType=alias"))
    );
    assert_eq!(description.path, format!("/og/v2/alerts/{alias}/description?identifierType=alias"));
    assert_eq!(
        (close.method.as_str(), close.path.clone()),
        ("POST", format!("/og/v2/alerts/{alias}/close?identifierType=alias"))
    );
}

#[tokio::test]
async fn victorops_gets_the_key_in_its_url_and_shows_it_in_no_error() {
    let server = Server::start(&[Answer::text(""), Answer::status(500, "")]).await;
    let text = "victorops_configs: [{api_url: 'http://SERVER/vo', api_key: hidden, routing_key: r, message_type: odd, custom_fields: {a: '{{ .Status }}'}}]";
    let receiver = receiver(&server, text);
    notify(&receiver, &notification()).await.unwrap();
    let request = server.only_request();
    assert_eq!(request.path, "/vo/hidden/r");
    let body = request.json();
    assert_eq!(body["message_type"], "CRITICAL");
    assert_eq!((&body["a"], &body["entity_id"]), (&json!("firing"), &json!(notification().hashed_key())));
    let error = notify(&receiver, &resolved()).await.unwrap_err();
    assert!(error.retry && !error.message.contains("hidden"), "{error}");
    assert_eq!(server.requests()[1].json()["message_type"], "RECOVERY");
}

#[tokio::test]
async fn pagerduty_gets_an_event_with_details() {
    let server = Server::start(&[]).await;
    let text = "pagerduty_configs: [{url: 'http://SERVER/pd', routing_key: k, details: {n: '{{ len .Alerts }}'}, links: [{href: '', text: none}, {href: 'http://l', text: t}]}]";
    notify(&receiver(&server, text), &notification()).await.unwrap();
    let body = server.only_request().json();
    assert_eq!((&body["event_action"], &body["routing_key"]), (&json!("trigger"), &json!("k")));
    assert_eq!(body["dedup_key"], notification().hashed_key());
    assert_eq!(body["links"], json!([{ "href": "http://l", "text": "t" }]));
    let payload = &body["payload"];
    assert_eq!((&payload["severity"], &payload["source"]), (&json!("error"), &json!("Alertmanager")));
    let details = &payload["custom_details"];
    assert_eq!((&details["n"], &details["num_firing"], &details["num_resolved"]), (&json!(2), &json!(1), &json!(1)));
    assert_eq!(details["firing"][0]["labels"]["instance"], "a");
}

#[tokio::test]
async fn pagerduty_gets_a_long_event_without_details() {
    let server = Server::start(&[Answer::status(400, "{\"message\":\"bad\",\"errors\":[\"a\",\"b\"]}")]).await;
    let text = "pagerduty_configs: [{url: 'http://SERVER/pd', routing_key: k, details: {long: '{{ range 600 }}{{ printf \"%1000s\" \"x\" }}{{ end }}'}}]";
    let error = notify(&receiver(&server, text), &notification()).await.unwrap_err();
    assert_eq!(error.message, "unexpected status code 400: bad: a,b");
    let details = &server.only_request().json()["payload"]["custom_details"];
    let expected = "Custom details have been removed because the original event exceeds the maximum size of 512KB";
    assert_eq!(*details, json!({ "error": expected }));
}

#[test]
fn a_receiver_has_its_integrations_in_the_order_of_alertmanager() {
    let text = "{name: x, slack_configs: [{api_url: 'http://s/'}], webhook_configs: [{url: 'http://a/'}, {url: 'http://b/'}], \
                pagerduty_configs: [{service_key: k}]}";
    let mut config: ReceiverConfig = serde_saphyr::from_str(text).unwrap();
    config.resolve(&GlobalConfig::default()).unwrap();
    let receiver = Receiver::new(&config, &Templates::load(&[], "").unwrap()).unwrap();
    let names: Vec<_> = receiver.integrations.iter().map(ToString::to_string).collect();
    assert_eq!(names, ["webhook[0]", "webhook[1]", "pagerduty[0]", "slack[0]"]);
    let of_resolved: Vec<_> = receiver.integrations.iter().map(|integration| integration.send_resolved()).collect();
    assert_eq!(of_resolved, [true, true, true, false]);
}

#[tokio::test]
async fn telegram_gets_html() {
    let server = Server::start(&[Answer::json(json!({ "ok": true }))]).await;
    let text = "telegram_configs: [{api_url: 'http://SERVER', bot_token: hidden, chat_id: -7, message: '<b>{{ .CommonAnnotations.summary }}</b>', message_thread_id: 3, disable_notifications: true}]";
    notify(&receiver(&server, text), &notification()).await.unwrap();
    let request = server.only_request();
    assert_eq!(request.path, "/bothidden/sendMessage");
    let expected = json!({
        "chat_id": "-7",
        "text": "<b>It is &lt;down&gt;</b>",
        "disable_web_page_preview": "true",
        "disable_notification": "true",
        "parse_mode": "HTML",
        "message_thread_id": "3",
    });
    assert_eq!(request.json(), expected);
}

#[tokio::test]
async fn telegram_says_why_it_refuses() {
    let refused = json!({ "ok": false, "error_code": 400, "description": "Bad Request: chat not found" });
    let server = Server::start(&[Answer::json(refused)]).await;
    let receiver = receiver(&server, "telegram_configs: [{api_url: 'http://SERVER', bot_token: hidden, chat_id: 7}]");
    let error = notify(&receiver, &notification()).await.unwrap_err();
    assert_eq!(
        error,
        NotifyError::temporary(FailureReason::ClientError, "telegram: Bad Request: chat not found (400)")
    );
}

#[tokio::test]
async fn teams_get_cards() {
    let server = Server::start(&[]).await;
    let first = receiver(&server, "msteams_configs: [{webhook_url: 'http://SERVER/t', text: t}]");
    notify(&first, &resolved()).await.unwrap();
    let second = receiver(&server, "msteamsv2_configs: [{webhook_url: 'http://SERVER/t', text: t}]");
    notify(&second, &notification()).await.unwrap();
    let [first, second] = &server.requests()[..] else { panic!("{:?}", server.requests()) };
    let expected = json!({
        "@context": "http://schema.org/extensions",
        "type": "MessageCard",
        "title": "[RESOLVED] Down (b api)",
        "summary": "[RESOLVED] Down (b api)",
        "text": "t",
        "themeColor": "2DC72D",
    });
    assert_eq!(first.json(), expected);
    let body = &second.json()["attachments"][0]["content"]["body"];
    assert_eq!((&body[0]["text"], &body[0]["color"]), (&json!("[FIRING:1] Down (api)"), &json!("Attention")));
    assert_eq!(body[1], json!({ "type": "TextBlock", "text": "t", "wrap": true }));
}

#[tokio::test]
async fn webex_gets_a_message_for_a_room() {
    let server = Server::start(&[]).await;
    let text = "webex_configs: [{api_url: 'http://SERVER/w', room_id: r, message: m, http_config: {authorization: {credentials: t}}}]";
    notify(&receiver(&server, text), &notification()).await.unwrap();
    let request = server.only_request();
    assert_eq!(request.header("authorization"), "Bearer t");
    assert_eq!(request.json(), json!({ "markdown": "m", "roomId": "r" }));
}

#[tokio::test]
async fn sns_gets_a_signed_form() {
    let server = Server::start(&[]).await;
    let text = "sns_configs: [{api_url: 'http://SERVER/', sigv4: {region: eu-west-1, access_key: AK, secret_key: hidden}, topic_arn: 'arn:x.fifo', message: 'a b', attributes: {n: '{{ .Status }}'}}]";
    notify(&receiver(&server, text), &notification()).await.unwrap();
    let request = server.only_request();
    let key = notification().hashed_key();
    let expected = format!(
        "Action=Publish&Message=a+b&MessageAttributes.entry.1.Name=n&MessageAttributes.entry.1.Value.DataType=String&\
         MessageAttributes.entry.1.Value.StringValue=firing&MessageDeduplicationId={key}&MessageGroupId={key}&\
         Subject=%5BFIRING%3A1%5D+Down+%28api%29&TopicArn=arn%3Ax.fifo&Version=2010-03-31"
    );
    assert_eq!(request.body, expected);
    let begin = "AWS4-HMAC-SHA256 Credential=AK/20260307/eu-west-1/sns/aws4_request, SignedHeaders=content-type;host;x-amz-date, Signature=";
    assert!(request.header("authorization").starts_with(begin), "{}", request.header("authorization"));
    assert_eq!(request.header("x-amz-date"), "20260307T040500Z");
}

#[tokio::test]
async fn wechat_fetches_a_token_once() {
    let token = || Answer::json(json!({ "access_token": "t" }));
    let server = Server::start(&[
        token(),
        Answer::json(json!({ "errcode": 0 })),
        Answer::json(json!({ "errcode": 42001, "errmsg": "expired" })),
    ])
    .await;
    let text = "wechat_configs: [{api_url: 'http://SERVER/cgi', api_secret: s, corp_id: c, message: m, to_user: u}]";
    let receiver = receiver(&server, text);
    notify(&receiver, &notification()).await.unwrap();
    let error = notify(&receiver, &notification()).await.unwrap_err();
    assert_eq!(error, NotifyError::temporary(FailureReason::Other, "expired"));
    let requests = server.requests();
    let paths: Vec<_> = requests.iter().map(|request| request.path.as_str()).collect();
    let send = "/cgi/message/send?access_token=t";
    assert_eq!(paths, ["/cgi/gettoken?corpid=c&corpsecret=s", send, send]);
    let expected = json!({ "text": { "content": "m" }, "touser": "u", "safe": "0", "msgtype": "text", "markdown": { "content": "" } });
    assert_eq!(requests[1].json(), expected);
}

#[tokio::test]
async fn jira_creates_an_issue() {
    let server = Server::start(&[Answer::json(json!({ "issues": [] }))]).await;
    let text = "jira_configs: [{api_url: 'http://SERVER/rest/api/2', project: P, issue_type: Bug, labels: [x], description: d, fields: {f: {n: '{{ len .Alerts }}'}}}]";
    let receiver = receiver(&server, text);
    notify(&receiver, &notification()).await.unwrap();
    let [search, create] = &server.requests()[..] else { panic!("{:?}", server.requests()) };
    let label = format!("ALERT{{{}}}", notification().hashed_key());
    assert_eq!(search.path, "/rest/api/2/search");
    let query = format!(
        "statusCategory != Done and project=\"P\" and labels=\"{label}\" order by status ASC,resolutiondate DESC"
    );
    assert_eq!(search.json(), json!({ "fields": ["status"], "jql": query, "maxResults": 2 }));
    assert_eq!((create.method.as_str(), create.path.as_str()), ("POST", "/rest/api/2/issue"));
    let expected = json!({ "fields": {
        "summary": "[FIRING:1] Down (api)",
        "project": { "key": "P" },
        "issuetype": { "name": "Bug" },
        "description": "d",
        "labels": [label, "x"],
        "f": { "n": 2 },
    } });
    assert_eq!(create.json(), expected);
}

#[tokio::test]
async fn jira_resolves_the_issue_of_a_group() {
    let found = json!({ "issues": [{ "key": "P-1", "fields": { "status": { "statusCategory": { "key": "new" } } } }] });
    let transitions = json!({ "transitions": [{ "id": "1", "name": "Start" }, { "id": "2", "name": "Done" }] });
    let server = Server::start(&[Answer::json(found), Answer::text(""), Answer::json(transitions)]).await;
    let text = "jira_configs: [{api_url: 'http://SERVER', project: P, issue_type: Bug, resolve_transition: Done, summary: {template: s, enable_update: false}}]";
    notify(&receiver(&server, text), &resolved()).await.unwrap();
    let requests = server.requests();
    let lines: Vec<_> = requests.iter().map(|request| format!("{} {}", request.method, request.path)).collect();
    let transitions = "/issue/P-1/transitions";
    assert_eq!(
        lines,
        ["POST /search", "PUT /issue/P-1", &format!("GET {transitions}"), &format!("POST {transitions}")]
    );
    assert_eq!(requests[1].json()["fields"].get("summary"), None);
    assert_eq!(requests[3].json(), json!({ "transition": { "id": "2" } }));
}

#[tokio::test]
async fn rocketchat_gets_its_credentials_as_headers() {
    let server = Server::start(&[
        Answer::json(json!({ "success": true })),
        Answer::json(json!({ "success": false, "error": "no" })),
    ])
    .await;
    let receiver = receiver(
        &server,
        "rocketchat_configs: [{api_url: 'http://SERVER/', token: t, token_id: u, channel: c, text: x}]",
    );
    notify(&receiver, &notification()).await.unwrap();
    let request = server.only_request();
    assert_eq!(request.path, "/api/v1/chat.postMessage");
    assert_eq!((request.header("x-auth-token"), request.header("x-user-id")), ("t", "u"));
    let url = "http://am.example/#/alerts?receiver=team%5C.x";
    let attachment = json!({ "title": "[FIRING:1] Down (api)", "title_link": url, "text": "x", "color": "red" });
    assert_eq!(request.json(), json!({ "channel": "c", "attachments": [attachment] }));
    let error = notify(&receiver, &notification()).await.unwrap_err();
    assert_eq!(error.message, "channel \"c\": error response from Rocketchat: no");
}

#[tokio::test]
async fn mattermost_gets_an_attachment_and_an_allowed_priority() {
    let server = Server::start(&[]).await;
    let text = "mattermost_configs: [{webhook_url: 'http://SERVER/m', channel: c, text: x, priority: {priority: Important, requested_ack: true, persistent_notifications: true}}]";
    notify(&receiver(&server, text), &notification()).await.unwrap();
    let url = "http://am.example/#/alerts?receiver=team%5C.x";
    let expected = json!({
        "channel": "c",
        "username": "Alertmanager",
        "attachments": [{
            "text": "x",
            "color": "danger",
            "title": "[FIRING:1] Down (api)",
            "title_link": url,
            "fallback": format!("[FIRING:1] Down (api) | {url}"),
        }],
        "priority": { "priority": "important", "requested_ack": true },
    });
    assert_eq!(server.only_request().json(), expected);
}

#[tokio::test]
async fn incidentio_gets_the_notification_under_a_token() {
    let server = Server::start(&[Answer::status(422, "{\"message\":\"bad\",\"errors\":[\"x\"]}")]).await;
    let text = "incidentio_configs: [{url: 'http://SERVER/i', alert_source_token: t, metadata: {s: '{{ .Status }}'}}]";
    let error = notify(&receiver(&server, text), &notification()).await.unwrap_err();
    assert_eq!(error, NotifyError::permanent(FailureReason::ClientError, "unexpected status code 422: bad: x"));
    let request = server.only_request();
    assert_eq!(request.header("authorization"), "Bearer t");
    let body = request.json();
    assert_eq!((&body["version"], &body["metadata"]), (&json!("1"), &json!({ "s": "firing" })));
}

#[test]
fn receivers_name_what_they_lack() {
    let refused = |text: &str| {
        let read = serde_saphyr::from_str::<ReceiverConfig>(&format!("{{name: x, {text}}}"));
        let resolved = read
            .map_err(|e| e.to_string())
            .and_then(|mut config| config.resolve(&GlobalConfig::default()).map_err(|e| e.to_string()));
        resolved.unwrap_err()
    };
    let cases = [
        ("opsgenie_configs: [{}]", "no global OpsGenie API Key set either inline or in a file"),
        (
            "opsgenie_configs: [{api_key: k, responders: [{type: team}]}]",
            "has to have at least one of id, username or name",
        ),
        ("opsgenie_configs: [{api_key: k, responders: [{name: a, type: x}]}]", "type does not match valid options"),
        ("victorops_configs: [{}]", "missing Routing key in VictorOps config"),
        ("victorops_configs: [{routing_key: r}]", "no global VictorOps API Key set"),
        ("victorops_configs: [{routing_key: r, custom_fields: {entity_id: x}}]", "custom field entity_id"),
        ("pushover_configs: [{}]", "one of user_key or user_key_file must be configured"),
        ("pushover_configs: [{user_key: u, token: t, html: true, monospace: true}]", "at most one of monospace & html"),
        ("pagerduty_configs: [{}]", "missing service or routing key in PagerDuty config"),
        ("telegram_configs: [{bot_token: t}]", "missing chat_id or chat_id_file on telegram_config"),
        ("telegram_configs: [{chat_id: 1, parse_mode: x}]", "unknown parse_mode on telegram_config"),
        ("telegram_configs: [{chat_id: 1}]", "missing bot_token or bot_token_file on telegram_config"),
        ("discord_configs: [{}]", "one of webhook_url or webhook_url_file must be configured"),
        ("webex_configs: [{room_id: r}]", "missing webex_configs.http_config.authorization"),
        ("sns_configs: [{}]", "must provide either a Target ARN, Topic ARN, or Phone Number for SNS config"),
        ("sns_configs: [{topic_arn: t, sigv4: {access_key: a}}]", "must provide a AWS SigV4 Access key and Secret Key"),
        ("wechat_configs: [{}]", "no global Wechat Api Secret set either inline or in a file"),
        ("wechat_configs: [{api_secret: s}]", "no global Wechat CorpID set"),
        ("jira_configs: [{project: p}]", "missing issue_type in jira_config"),
        ("jira_configs: [{project: p, issue_type: i}]", "no global Jira Cloud URL set"),
        ("rocketchat_configs: [{}]", "no global Rocketchat TokenID set either inline or in a file"),
        ("mattermost_configs: [{}]", "missing webhook_url or webhook_url_file on mattermost_config"),
        ("incidentio_configs: [{}]", "one of url or url_file must be configured"),
        ("email_configs: [{}]", "missing to address in email config"),
        ("email_configs: [{to: a@b}]", "no global SMTP smarthost set"),
        ("email_configs: [{to: a@b, headers: {a-b: x, A-B: y}}]", "duplicate header \"A-B\" in email config"),
        ("email_configs: [{to: a@b, smarthost: 'h:1'}]", "no global SMTP from set"),
    ];
    for (text, expected) in cases {
        let error = refused(text);
        assert!(error.contains(expected), "{text}: {error}");
    }
}
