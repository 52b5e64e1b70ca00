//! All receivers against what a real Alertmanager sent for the same alerts and configuration. `tests/e2e/receivers.py` records
//! it, and compares whole programs in the same way.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::{Map, Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};

use super::server::{Answer, Received, Server};
use super::{notification, pairs};
use crate::alert::Alert;
use crate::config::{GlobalConfig, ReceiverConfig};
use crate::data::Data;
use crate::notification::{Notification, NotificationReason};
use crate::receiver::Receiver;
use crate::templates::{Renderer, Templates};

const HEADERS: [&str; 6] = ["Content-Type", "Authorization", "X-Auth-Token", "X-User-Id", "Accept-Language", "X-Team"];
const EXTERNAL_URL: &str = "http://am.example:9093/prefix";

fn file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/e2e/receivers").join(name)
}

fn recorded() -> Value {
    serde_json::from_str(&std::fs::read_to_string(file("recorded.json")).unwrap()).unwrap()
}

fn alert(instance: &str, severity: &str, starts_at: &str, ends_at: Option<&str>, url: &str) -> Alert {
    let mut annotations = pairs(&[("summary", "It's <down> & \"out\" + ü")]);
    if instance == "a" {
        annotations.insert("runbook".into(), "http://run/?a=1&b=2".into());
    }
    Alert {
        labels: pairs(&[("alertname", "Down"), ("job", "api"), ("instance", instance), ("severity", severity)]),
        annotations,
        starts_at: starts_at.parse().unwrap(),
        ends_at: ends_at.map(|end| end.parse().unwrap()),
        generator_url: url.into(),
        ..notification().alerts.remove(0)
    }
}

/// The notifications that the script provokes: two alerts fire, one is resolved, both are resolved.
fn phase(index: usize, send_resolved: bool) -> Option<Notification> {
    let (up, one) = ("http://prom/graph?g0.expr=up%3D%3D0", "http://prom/graph?g0.expr=1");
    let a = || alert("a", "critical", "2030-01-01T00:00:00.123Z", None, up);
    let b = || alert("b", "warning", "2030-01-01T00:01:00Z", None, one);
    let (alerts, reason) = match (index, send_resolved) {
        (0, _) => (vec![a(), b()], NotificationReason::FirstNotification),
        (_, false) => return None,
        (1, true) => {
            let b = alert("b", "warning", "2026-03-07T04:01:00Z", Some("2026-03-07T04:05:00Z"), one);
            (vec![a(), b], NotificationReason::NewResolvedAlerts)
        }
        (_, true) => {
            let a = alert("a", "critical", "2026-03-07T04:00:00.123Z", Some("2026-03-07T04:30:00Z"), up);
            (vec![a], NotificationReason::AllAlertsResolved)
        }
    };
    Some(Notification {
        receiver: "all".into(),
        group_key: "{}:{alertname=\"Down\", job=\"api\"}".into(),
        group_labels: pairs(&[("alertname", "Down"), ("job", "api")]),
        now: "2026-03-07T05:00:00Z".parse().unwrap(),
        reason,
        alerts,
        ..notification()
    })
}

/// What a service answers.
fn reply(method: &str, path: &str) -> Answer {
    let search = path.contains("search");
    let status = json!({ "statusCategory": { "key": "new" } });
    match path {
        path if path.starts_with("/slack") => Answer::text("ok"),
        path if path.contains("gettoken") => Answer::json(json!({ "access_token": "token" })),
        path if path.starts_with("/telegram") => Answer::json(json!({ "ok": true })),
        path if path.starts_with("/rocketchat") => Answer::json(json!({ "success": true })),
        path if path.starts_with("/jira-existing") && search => {
            Answer::json(json!({ "issues": [{ "key": "P-1", "fields": { "status": status } }] }))
        }
        path if path.starts_with("/jira-existing") && method == "GET" => {
            Answer::json(json!({ "transitions": [{ "id": "1", "name": "Reopen" }, { "id": "2", "name": "Done" }] }))
        }
        _ => Answer::json(json!({})),
    }
}

/// A request without what differs by chance, as the script keeps it.
fn normal(request: &Received, server: &str) -> Value {
    let present = HEADERS.iter().filter(|name| !request.header(name).is_empty());
    let mut headers: BTreeMap<&str, &str> = present.map(|name| (*name, request.header(name))).collect();
    if let Some(value) = headers.get_mut("Authorization").filter(|value| value.starts_with("AWS4-HMAC-SHA256")) {
        *value = value.split('/').next().unwrap();
    }
    let text = request.body.replace(server, "SERVER");
    let kind = request.header("Content-Type");
    let mut sent = Map::new();
    let body = if kind.starts_with("application/json") {
        sent.insert("ends".into(), text.ends_with('\n').into());
        if text.is_empty() { Value::Null } else { serde_json::from_str(&text).unwrap() }
    } else if kind.starts_with("application/x-www-form-urlencoded") {
        form(&text)
    } else {
        text.into()
    };
    sent.insert("method".into(), request.method.clone().into());
    sent.insert("path".into(), request.path.clone().into());
    sent.insert("headers".into(), json!(headers));
    sent.insert("body".into(), body);
    Value::Object(sent)
}

/// The pairs of a form, with the attributes of a message apart.
fn form(text: &str) -> Value {
    let decoded: Vec<(String, String)> = url::form_urlencoded::parse(text.as_bytes()).into_owned().collect();
    let get = |name: &str| decoded.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone());
    let is_attribute = |name: &str| name.starts_with("MessageAttributes");
    let mut attributes: Vec<_> = decoded
        .iter()
        .filter(|(name, _)| is_attribute(name) && name.ends_with(".Name"))
        .map(|(name, value)| (value.clone(), get(&name.replace(".Name", ".Value.StringValue")).unwrap()))
        .collect();
    attributes.sort();
    let mut rest: Vec<_> = decoded.iter().filter(|(name, _)| !is_attribute(name)).cloned().collect();
    rest.sort();
    json!({ "form": rest, "attributes": attributes })
}

/// A server that takes mails and keeps their lines.
async fn mail_server() -> (String, Arc<Mutex<Vec<Vec<String>>>>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let mails: Arc<Mutex<Vec<Vec<String>>>> = Arc::default();
    let kept = mails.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let mut stream = BufReader::new(stream);
            stream.write_all(b"220 test\r\n").await.unwrap();
            let (mut lines, mut line, mut is_message) = (Vec::new(), String::new(), false);
            while stream.read_line(&mut line).await.unwrap() > 0 {
                let command = std::mem::take(&mut line).trim_end_matches("\r\n").to_string();
                if command == "QUIT" {
                    break;
                }
                let reply = match command.as_str() {
                    "." => "250 taken\r\n",
                    "DATA" => "354 go on\r\n",
                    _ if command.starts_with("EHLO") => "250-test\r\n250 8BITMIME\r\n",
                    _ => "250 ok\r\n",
                };
                let is_reply = !is_message || command == ".";
                is_message = is_message && command != "." || command == "DATA";
                lines.push(command);
                if is_reply {
                    stream.write_all(reply.as_bytes()).await.unwrap();
                }
            }
            kept.lock().push(lines);
            stream.write_all(b"221 bye\r\n").await.unwrap();
        }
    });
    (address, mails)
}

/// A mail without what differs by chance, as the script keeps it.
fn normal_mail(lines: &[String]) -> Value {
    let data = lines.iter().position(|line| line == "DATA").unwrap();
    let text = lines[data + 1..lines.len() - 1].join("\n");
    let boundary = text.split("boundary=").nth(1).unwrap().split('\n').next().unwrap().to_string();
    let text = text.replace(&boundary, "BOUNDARY");
    let (head, body) = text.split_once("\n\n").unwrap();
    let line = |line: &str| match line.split(':').next() {
        Some("Message-Id") => "Message-Id: <ID>".to_string(),
        Some("Date") => "Date: DATE".to_string(),
        _ => line.to_string(),
    };
    let mut headers: Vec<String> = head.lines().map(line).collect();
    headers.sort();
    json!({ "commands": lines[..data], "headers": headers, "body": body })
}

/// The receiver of the script's configuration.
fn receiver(http: &str, smtp: &str) -> Receiver {
    let text = std::fs::read_to_string(file("alertmanager.yml")).unwrap();
    let (_, receivers) = text.split_once("\nreceivers:\n").unwrap();
    let receivers = receivers.replace("SERVER", http).replace("SMTP", smtp);
    let mut configs: Vec<ReceiverConfig> = serde_saphyr::from_str(&receivers).unwrap();
    configs[0].resolve(&GlobalConfig::default()).unwrap();
    let templates = Templates::load(&[file("*.tmpl").to_string_lossy().into_owned()], EXTERNAL_URL).unwrap();
    Receiver::new(&configs[0], &templates).unwrap()
}

#[tokio::test]
async fn all_receivers_get_what_a_real_alertmanager_sends() {
    let server = Server::start_with(reply).await;
    let (smtp, mails) = mail_server().await;
    let receiver = receiver(&server.address, &smtp);
    let recorded = recorded();
    let mut differences = Vec::new();
    for index in 0..3 {
        for integration in &receiver.integrations {
            if let Some(notification) = phase(index, integration.send_resolved()) {
                let sent = integration.notify(&notification).await;
                sent.unwrap_or_else(|error| panic!("{integration}: {error}"));
            }
        }
        let ours: Vec<Value> = server.take().iter().map(|request| normal(request, &server.address)).collect();
        let theirs = recorded["phases"][index]["requests"].as_array().unwrap();
        for (whose, some, others) in [("only ours", &ours, theirs), ("only theirs", theirs, &ours)] {
            let only = some.iter().filter(|request| !others.contains(request));
            differences.extend(only.map(|request| format!("{whose} in phase {index}: {request:#}")));
        }
        let ours: Vec<Value> = mails.lock().drain(..).map(|lines| normal_mail(&lines)).collect();
        if json!(ours) != recorded["phases"][index]["mails"] {
            differences.push(format!("mails in phase {index}: {ours:#?}\n{:#}", recorded["phases"][index]["mails"]));
        }
    }
    differences.sort_by_key(|text| text.split("\"path\"").nth(1).map(str::to_string));
    assert!(differences.is_empty(), "{} differences\n{}", differences.len(), differences.join("\n"));
}

#[test]
fn templates_that_misuse_the_language_fail_with_the_same_error() {
    let templates = Templates::load(&[], "").unwrap();
    let notification = phase(0, true).unwrap();
    let data = Data::new(&notification, &notification.alerts, "");
    let renderer = Renderer::new(&templates, data, notification.now);
    let mut differences = Vec::new();
    for (template, theirs) in recorded()["errors"].as_object().unwrap() {
        let ours = match renderer.structure(&json!({ "x": template })) {
            Ok(_) => "no error".to_string(),
            Err(error) => format!("failed to render custom payload: {error}"),
        };
        if ours != *theirs {
            differences.push(format!("{template}\n  ours   {ours}\n  theirs {theirs}"));
        }
    }
    assert!(differences.is_empty(), "{} differences\n{}", differences.len(), differences.join("\n"));
}
