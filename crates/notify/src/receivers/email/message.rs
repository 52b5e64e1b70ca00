//! The message: its headers, and the same content as text and as HTML.

use std::fmt::Write as _;

use ring::rand::{SecureRandom, SystemRandom};

use super::config::EmailConfig;
use super::encoding::{header, quoted_printable};
use crate::error::{FailureReason, NotifyError};
use crate::notification::Notification;
use crate::templates::Renderer;

/// A message that is ready to be sent.
pub(super) struct Message(String);

/// Random bytes as hexadecimal digits.
fn random<const N: usize>() -> Result<String, NotifyError> {
    let mut bytes = [0; N];
    let failed = |_| NotifyError::temporary(FailureReason::Other, "the system has no random numbers");
    SystemRandom::new().fill(&mut bytes).map_err(failed)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

impl Message {
    /// Expands the templates of a message.
    pub(super) fn new(
        config: &EmailConfig,
        renderer: &Renderer<'_>,
        notification: &Notification,
        hostname: &str,
    ) -> Result<Self, NotifyError> {
        let mut out = String::new();
        for (name, template) in &config.headers {
            let value = renderer.text(template).map_err(|e| e.within(format!("execute {name:?} header template")))?;
            let _ = write!(out, "{name}: {}\r\n", header(&value));
        }
        let now = notification.now;
        if !config.headers.contains_key("Message-Id") {
            let _ = write!(out, "Message-Id: <{}.{}@{hostname}>\r\n", now.as_nanosecond(), random::<8>()?);
        }
        if config.threading.enabled {
            // No message has this identifier. Clients gather replies to it under one subject all the same.
            let day = match config.threading.thread_by_date.as_str() {
                "none" => String::new(),
                _ => now.strftime("%Y-%m-%d").to_string(),
            };
            let root = format!("<alert-{}-{day}@alertmanager>", &notification.hashed_key()[..16]);
            let _ = write!(out, "References: {root}\r\nIn-Reply-To: {root}\r\n");
        }
        let boundary = random::<30>()?;
        let date = now.strftime("%a, %d %b %Y %H:%M:%S +0000");
        let _ = write!(out, "Date: {date}\r\nContent-Type: multipart/alternative;  boundary={boundary}\r\n");
        out.push_str("MIME-Version: 1.0\r\n\r\n");
        let mut separator = "";
        let mut part = |kind: &str, content: String| {
            let _ = write!(out, "{separator}--{boundary}\r\nContent-Transfer-Encoding: quoted-printable\r\n");
            let _ = write!(out, "Content-Type: text/{kind}; charset=UTF-8\r\n\r\n{}", quoted_printable(&content));
            separator = "\r\n";
        };
        if !config.text.is_empty() {
            part("plain", renderer.text(&config.text).map_err(|e| e.within("execute text template"))?);
        }
        if !config.html.is_empty() {
            part("html", renderer.html(&config.html).map_err(|e| e.within("execute html template"))?);
        }
        let _ = write!(out, "\r\n--{boundary}--\r\n");
        Ok(Message(out))
    }

    /// The message as it follows `DATA`: a line that begins with a dot gets another one, and a dot alone ends it.
    pub(super) fn into_bytes(self) -> Vec<u8> {
        let mut out = String::with_capacity(self.0.len() + 64);
        for line in self.0.split_inclusive("\r\n") {
            if line.starts_with('.') {
                out.push('.');
            }
            out.push_str(line);
        }
        out.push_str(".\r\n");
        out.into_bytes()
    }
}
