//! Mail: the message as text, HTML or both.

mod address;
mod config;
mod encoding;
mod message;
mod smtp;

use async_trait::async_trait;
use pharos_config::Secret;
use pharos_http_client::TlsDialer;

use self::address::addresses;
use self::message::Message;
use self::smtp::{Connection, Mechanism};
use crate::error::{FailureReason, NotifyError};
use crate::integration::{Call, Notifier};
use crate::templates::Renderer;

pub use config::{EmailConfig, Threading};

pub(super) struct Email {
    config: EmailConfig,
    tls: TlsDialer,
    /// Ours, for the identifiers of messages.
    hostname: String,
}

/// Who sends a mail, and to whom.
struct Envelope {
    from: String,
    to: Vec<String>,
}

fn temporary(what: &str) -> impl Fn(String) -> NotifyError {
    move |error| NotifyError::temporary(FailureReason::Other, format!("{what}: {error}"))
}

fn permanent(what: &str) -> impl Fn(String) -> NotifyError {
    move |error| NotifyError::permanent(FailureReason::Other, format!("{what}: {error}"))
}

impl Email {
    fn envelope(&self, renderer: &Renderer<'_>) -> Result<Envelope, NotifyError> {
        let from = renderer.text(&self.config.from).map_err(|e| e.within("execute 'from' template"))?;
        let to = renderer.text(&self.config.to).map_err(|e| e.within("execute 'to' template"))?;
        let mut from = addresses(&from).map_err(permanent("parse 'from' addresses"))?;
        let to = addresses(&to).map_err(permanent("parse 'to' addresses"))?;
        let count = from.len();
        let from = from.pop().filter(|_| count == 1).ok_or_else(|| {
            let message = format!("must be exactly one 'from' address (got: {count})");
            NotifyError::permanent(FailureReason::Other, message)
        })?;
        Ok(Envelope { from, to })
    }

    /// Connects, and begins the conversation: greeting, TLS and authentication.
    async fn connect(&self) -> Result<Connection, NotifyError> {
        let Some(smarthost) = &self.config.smarthost else {
            return Err(NotifyError::permanent(FailureReason::ConfigError, "no global SMTP smarthost set"));
        };
        let implicit = self.config.force_implicit_tls.unwrap_or(smarthost.port == "465");
        let address = smarthost.to_string();
        let connected = tokio::net::TcpStream::connect(&address).await.map_err(|e| format!("dial tcp {address}: {e}"));
        let mut connection = match implicit {
            true => {
                let what = "establish TLS connection to server";
                let stream = self.tls.connect(connected.map_err(temporary(what))?, &smarthost.host).await;
                Connection::over_tls(stream.map_err(temporary(what))?)
            }
            false => Connection::new(connected.map_err(temporary("establish connection to server"))?),
        };
        connection.greeting().await.map_err(temporary("create SMTP client"))?;
        let hello = if self.config.hello.is_empty() { "localhost" } else { &self.config.hello };
        connection.hello(hello).await.map_err(temporary("send EHLO command"))?;
        if self.config.require_tls.unwrap_or(true) && !implicit {
            if connection.extension("STARTTLS").is_none() {
                let message = format!(
                    "'require_tls' is true (default) but {:?} does not advertise the STARTTLS extension",
                    address
                );
                return Err(NotifyError::temporary(FailureReason::Other, message));
            }
            let started = connection.start_tls(&self.tls, &smarthost.host, hello).await;
            connection = started.map_err(temporary("send STARTTLS command"))?;
        }
        if let Some(mechanisms) = connection.extension("AUTH").map(str::to_string)
            && let Some(mechanism) = self.mechanism(&mechanisms).await.map_err(temporary("find auth mechanism"))?
        {
            let what = format!("{} auth", mechanism.go_type());
            connection.authenticate(&mechanism, &smarthost.host).await.map_err(temporary(&what))?;
        }
        Ok(connection)
    }

    /// The first of the server's mechanisms for which there are credentials; none without a user.
    async fn mechanism(&self, offered: &str) -> Result<Option<Mechanism>, String> {
        let config = &self.config;
        let user = config.auth_username.clone();
        if user.is_empty() {
            return Ok(None);
        }
        let mut errors = Vec::new();
        for name in offered.split(' ') {
            let found = match name {
                "CRAM-MD5" => {
                    let secret = secret(&config.auth_secret, &config.auth_secret_file, "secret", name).await;
                    secret.map(|secret| Mechanism::CramMd5 { user: user.clone(), secret })
                }
                "PLAIN" => {
                    let password = secret(&config.auth_password, &config.auth_password_file, "password", name).await;
                    let identity = config.auth_identity.clone();
                    password.map(|password| Mechanism::Plain { identity, user: user.clone(), password })
                }
                "LOGIN" => {
                    let password = secret(&config.auth_password, &config.auth_password_file, "password", name).await;
                    password.map(|password| Mechanism::Login { user: user.clone(), password })
                }
                other => Err(format!("unknown auth mechanism: {other}")),
            };
            match found {
                Ok(mechanism) => return Ok(Some(mechanism)),
                Err(error) => errors.push(error),
            }
        }
        Err(errors.join("\n"))
    }
}

/// A secret, or the content of its file.
async fn secret(setting: &Secret, file: &str, kind: &str, mechanism: &str) -> Result<Secret, String> {
    let secret = match file {
        "" => setting.clone(),
        file => {
            let read = tokio::fs::read_to_string(file).await;
            Secret::new(read.map_err(|e| format!("could not read {file}: {e}"))?.trim())
        }
    };
    match secret.is_empty() {
        true => Err(format!("missing {kind} for {mechanism} auth mechanism")),
        false => Ok(secret),
    }
}

#[async_trait]
impl Notifier for Email {
    async fn notify(&self, call: Call<'_>) -> Result<(), NotifyError> {
        let renderer = call.renderer();
        let mut connection = self.connect().await?;
        let Envelope { from, to } = self.envelope(&renderer)?;
        connection.mail(&from).await.map_err(temporary("send MAIL command"))?;
        for recipient in &to {
            connection.recipient(recipient).await.map_err(temporary("send RCPT command"))?;
        }
        // Before DATA, so that nothing is delivered if a template fails.
        let message = Message::new(&self.config, &renderer, call.notification, &self.hostname)?;
        connection.data().await.map_err(temporary("send DATA command"))?;
        connection.message(&message.into_bytes()).await.map_err(temporary("delivery failure"))?;
        connection.quit().await;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
