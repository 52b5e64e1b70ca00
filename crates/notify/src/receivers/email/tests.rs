//! Mail against a server of the test that speaks SMTP.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;

use crate::config::{GlobalConfig, ReceiverConfig};
use crate::error::NotifyError;
use crate::receiver::Receiver;
use crate::receivers::tests::notification;
use crate::templates::Templates;

/// A server that keeps the lines that it gets, and answers commands as it is told.
struct Server {
    address: String,
    lines: Arc<Mutex<Vec<String>>>,
}

/// Commands and the replies to them. A reply that is empty ends the connection.
type Script = &'static [(&'static str, &'static str)];

const USUAL: Script = &[
    ("EHLO", "250-hello\r\n250-AUTH LOGIN PLAIN CRAM-MD5\r\n250 8BITMIME"),
    ("AUTH LOGIN", "334 VXNlcm5hbWU6"),
    ("dXNlcg==", "334 UGFzc3dvcmQ6"),
    ("cGFzcw==", "235 welcome"),
    ("MAIL", "250 ok"),
    ("RCPT", "250 ok"),
    ("DATA", "354 go on"),
    (".", "250 taken"),
    ("QUIT", "221 bye"),
];

impl Server {
    async fn start(greeting: &'static str, script: Script) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let lines: Arc<Mutex<Vec<String>>> = Arc::default();
        let kept = lines.clone();
        tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let mut stream = BufReader::new(stream);
            stream.write_all(format!("{greeting}\r\n").as_bytes()).await.unwrap();
            let mut is_message = false;
            let mut line = String::new();
            while stream.read_line(&mut line).await.unwrap_or(0) > 0 {
                let command = std::mem::take(&mut line).trim_end_matches("\r\n").to_string();
                kept.lock().push(command.clone());
                let ends = is_message && command == ".";
                if is_message && !ends {
                    continue;
                }
                let reply = script.iter().find(|(begin, _)| command.starts_with(begin));
                let (_, reply) = reply.copied().unwrap_or(("", "500 what?"));
                if reply.is_empty() {
                    return;
                }
                is_message = command == "DATA" && reply.starts_with("354");
                stream.write_all(format!("{reply}\r\n").as_bytes()).await.unwrap();
            }
        });
        Server { address, lines }
    }

    fn lines(&self) -> Vec<String> {
        self.lines.lock().clone()
    }
}

/// Sends a mail without TLS.
async fn send(server: &Server, settings: &str) -> Result<(), NotifyError> {
    send_with(server, &format!(", require_tls: false{settings}")).await
}

async fn send_with(server: &Server, settings: &str) -> Result<(), NotifyError> {
    let text = format!(
        "{{name: team.x, email_configs: [{{to: 'Ops <ops@example.com>, b@example.com', from: am@example.com, smarthost: \
         '{}'{settings}}}]}}",
        server.address
    );
    let mut config: ReceiverConfig = serde_saphyr::from_str(&text).unwrap();
    config.resolve(&GlobalConfig::default()).unwrap();
    let receiver = Receiver::new(&config, &Templates::load(&[], "http://am.example").unwrap()).unwrap();
    receiver.integrations[0].notify(&notification()).await
}

#[tokio::test]
async fn a_mail_has_its_headers_and_both_forms() {
    let server = Server::start("220 here", USUAL).await;
    send(&server, ", text: \"line\\n.dot {{ .Status }}\", html: '<b>{{ .CommonAnnotations.summary }}</b>', headers: {x-team: 'ü'}").await.unwrap();
    let lines = server.lines();
    let commands = [
        "EHLO localhost",
        "MAIL FROM:<am@example.com> BODY=8BITMIME",
        "RCPT TO:<ops@example.com>",
        "RCPT TO:<b@example.com>",
        "DATA",
    ];
    assert_eq!(lines[..5], commands);
    let text = lines.join("\n");
    for header in [
        "Subject: [FIRING:1] Down (api)",
        "To: Ops <ops@example.com>, b@example.com",
        "From: am@example.com",
        "X-Team: =?utf-8?q?=C3=BC?=",
        "Date: Sat, 07 Mar 2026 04:05:00 +0000",
        "MIME-Version: 1.0",
        "Content-Type: text/plain; charset=UTF-8",
        "Content-Type: text/html; charset=UTF-8",
    ] {
        assert!(lines.iter().any(|line| line == header), "{header} is not in\n{text}");
    }
    assert!(text.contains("\n\nline\n..dot firing\n--"), "{text}");
    assert!(text.contains("\n\n<b>It is &lt;down&gt;</b>\n--"), "{text}");
    assert_eq!(lines[lines.len() - 2..], [".", "QUIT"]);
}

#[tokio::test]
async fn a_user_authenticates_by_the_first_mechanism_of_the_server() {
    let server = Server::start("220 here", USUAL).await;
    send(&server, ", auth_username: user, auth_password: pass").await.unwrap();
    assert_eq!(server.lines()[1..4], ["AUTH LOGIN", "dXNlcg==", "cGFzcw=="]);
}

#[tokio::test]
async fn a_missing_password_is_an_error_that_names_the_mechanism() {
    let server = Server::start("220 here", &[("EHLO", "250-hello\r\n250 AUTH PLAIN XOAUTH2")]).await;
    let error = send(&server, ", auth_username: user").await.unwrap_err();
    let expected = "find auth mechanism: missing password for PLAIN auth mechanism\nunknown auth mechanism: XOAUTH2";
    assert_eq!(error.message, expected);
    assert!(error.retry);
}

#[tokio::test]
async fn an_error_of_authentication_shows_no_password() {
    let script: Script = &[("EHLO", "250-hello\r\n250 AUTH PLAIN"), ("AUTH PLAIN", "535 no")];
    let server = Server::start("220 here", script).await;
    let error = send(&server, ", auth_username: user, auth_password: hidden").await.unwrap_err();
    assert_eq!(error.message, "*smtp.plainAuth auth: 535 no");
    assert_eq!(server.lines()[1], "AUTH PLAIN AHVzZXIAaGlkZGVu");
}

#[tokio::test]
async fn mail_without_tls_is_refused_if_tls_is_required() {
    let server = Server::start("220 here", USUAL).await;
    let error = send_with(&server, "").await.unwrap_err();
    let address = &server.address;
    let expected = format!("'require_tls' is true (default) but {address:?} does not advertise the STARTTLS extension");
    assert_eq!(error.message, expected);
    assert!(!server.lines().iter().any(|line| line.starts_with("MAIL")));
}

#[tokio::test]
async fn messages_of_a_group_are_kept_together() {
    let server = Server::start("220 here", USUAL).await;
    send(&server, ", threading: {enabled: true, thread_by_date: daily}").await.unwrap();
    let lines = server.lines();
    let root = format!("<alert-{}-2026-03-07@alertmanager>", &notification().hashed_key()[..16]);
    assert!(lines.contains(&format!("References: {root}")) && lines.contains(&format!("In-Reply-To: {root}")));
}

#[tokio::test]
async fn a_server_that_disconnects_at_any_step_is_a_failure_to_retry() {
    let steps: [(Script, &str); 5] = [
        (&[("EHLO", ""), ("HELO", "")], "send EHLO command: "),
        (&[("EHLO", "250 hello"), ("MAIL", "")], "send MAIL command: "),
        (&[("EHLO", "250 hello"), ("MAIL", "250 ok"), ("RCPT", "550 nobody")], "send RCPT command: 550 nobody"),
        (&[("EHLO", "250 hello"), ("MAIL", "250 ok"), ("RCPT", "250 ok"), ("DATA", "")], "send DATA command: "),
        (
            &[("EHLO", "250 hello"), ("MAIL", "250 ok"), ("RCPT", "250 ok"), ("DATA", "354 go"), (".", "")],
            "delivery failure: ",
        ),
    ];
    for (script, expected) in steps {
        let server = Server::start("220 here", script).await;
        let error = send(&server, "").await.unwrap_err();
        assert!(error.retry && error.message.starts_with(expected), "{error}");
    }
}

#[tokio::test]
async fn a_greeting_that_never_ends_is_given_up() {
    let long: &'static str = "x".repeat(200_000).leak();
    let server = Server::start(long, &[]).await;
    let error = send(&server, "").await.unwrap_err();
    assert!(error.message.starts_with("create SMTP client: reply of more than"), "{error}");
}
