//! The client's side of SMTP, as far as one message needs it. Every reply is bounded.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use pharos_config::Secret;
use pharos_http_client::{TlsDialer, TlsStream};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// The longest reply, bytes.
const MAX_REPLY_BYTES: usize = 64 << 10;

/// A stream with or without TLS.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// A connection to a server.
pub(super) struct Connection {
    stream: Box<dyn Stream>,
    /// The socket while there is no TLS on it, which may begin later.
    is_encrypted: bool,
    /// What arrived and was not read yet.
    pending: Vec<u8>,
    extensions: BTreeMap<String, String>,
}

/// How to authenticate.
pub(super) enum Mechanism {
    CramMd5 { user: String, secret: Secret },
    Plain { identity: String, user: String, password: Secret },
    Login { user: String, password: Secret },
}

impl Mechanism {
    /// What Alertmanager calls the mechanism in errors.
    pub(super) fn go_type(&self) -> &'static str {
        match self {
            Mechanism::CramMd5 { .. } => "*smtp.cramMD5Auth",
            Mechanism::Plain { .. } => "*smtp.plainAuth",
            Mechanism::Login { .. } => "*email.loginAuth",
        }
    }
}

/// A reply: its code and its lines.
struct Reply {
    code: u16,
    lines: Vec<String>,
}

impl Reply {
    /// The reply, if its code begins with these digits.
    fn expect(self, code: u16) -> Result<Self, String> {
        let expected = match code {
            0..10 => self.code / 100,
            10..100 => self.code / 10,
            _ => self.code,
        };
        if expected == code { Ok(self) } else { Err(format!("{:03} {}", self.code, self.lines.join("\n"))) }
    }
}

impl Connection {
    /// A connection without TLS.
    pub(super) fn new(tcp: TcpStream) -> Self {
        Connection::on(Box::new(tcp), false)
    }

    /// A connection that began with TLS.
    pub(super) fn over_tls<S: AsyncRead + AsyncWrite + Send + Unpin + 'static>(stream: TlsStream<S>) -> Self {
        Connection::on(Box::new(stream), true)
    }

    fn on(stream: Box<dyn Stream>, is_encrypted: bool) -> Self {
        Connection { stream, is_encrypted, pending: Vec::new(), extensions: BTreeMap::new() }
    }

    /// Reads a line without its end.
    async fn line(&mut self, budget: &mut usize) -> Result<String, String> {
        loop {
            if let Some(end) = self.pending.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.pending.drain(..=end).collect();
                *budget = budget.saturating_sub(line.len());
                return Ok(String::from_utf8_lossy(&line).trim_end().to_string());
            }
            if self.pending.len() >= *budget {
                return Err(format!("reply of more than {MAX_REPLY_BYTES} bytes"));
            }
            let mut chunk = [0; 1024];
            match self.stream.read(&mut chunk).await {
                Ok(0) => return Err("EOF".into()),
                Ok(length) => self.pending.extend_from_slice(&chunk[..length]),
                Err(error) => return Err(error.to_string()),
            }
        }
    }

    async fn reply(&mut self) -> Result<Reply, String> {
        let mut budget = MAX_REPLY_BYTES;
        let mut lines = Vec::new();
        loop {
            let line = self.line(&mut budget).await?;
            let malformed = || format!("malformed reply {line:?}");
            let code: u16 = line.get(..3).and_then(|code| code.parse().ok()).ok_or_else(malformed)?;
            let rest = line.get(3..).unwrap_or("");
            lines.push(rest.get(1..).unwrap_or("").to_string());
            if !rest.starts_with('-') {
                return Ok(Reply { code, lines });
            }
        }
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.stream.write_all(bytes).await.map_err(|e| e.to_string())?;
        self.stream.flush().await.map_err(|e| e.to_string())
    }

    async fn command(&mut self, line: &str, code: u16) -> Result<Reply, String> {
        self.write(format!("{line}\r\n").as_bytes()).await?;
        self.reply().await?.expect(code)
    }

    /// Waits for the server's greeting.
    pub(super) async fn greeting(&mut self) -> Result<(), String> {
        self.reply().await?.expect(220).map(drop)
    }

    /// Greets the server and learns its extensions.
    pub(super) async fn hello(&mut self, name: &str) -> Result<(), String> {
        self.extensions.clear();
        match self.command(&format!("EHLO {name}"), 250).await {
            Ok(reply) => {
                let extensions = reply.lines.iter().skip(1).map(|line| {
                    let (name, parameters) = line.split_once(' ').unwrap_or((line, ""));
                    (name.to_ascii_uppercase(), parameters.to_string())
                });
                self.extensions = extensions.collect();
                Ok(())
            }
            Err(_) => self.command(&format!("HELO {name}"), 250).await.map(drop),
        }
    }

    /// The parameters of an extension that the server has.
    pub(super) fn extension(&self, name: &str) -> Option<&str> {
        self.extensions.get(name).map(String::as_str)
    }

    /// Begins TLS, and greets the server again.
    pub(super) async fn start_tls(mut self, tls: &TlsDialer, host: &str, hello: &str) -> Result<Self, String> {
        self.command("STARTTLS", 220).await?;
        // What came before the handshake was not protected by it.
        if !self.pending.is_empty() {
            return Err("the server sent more than its reply".into());
        }
        let mut connection = Connection::over_tls(tls.connect(self.stream, host).await?);
        connection.hello(hello).await?;
        Ok(connection)
    }

    /// Authenticates. A password is sent over TLS or to this machine only.
    pub(super) async fn authenticate(&mut self, mechanism: &Mechanism, host: &str) -> Result<(), String> {
        match mechanism {
            Mechanism::CramMd5 { user, secret } => {
                let challenge = decoded(&self.command("AUTH CRAM-MD5", 334).await?)?;
                let digest = hmac_md5(secret.reveal().as_bytes(), &challenge);
                self.command(&BASE64_STANDARD.encode(format!("{user} {digest}")), 235).await?;
            }
            Mechanism::Plain { identity, user, password } => {
                if !self.is_encrypted && !["localhost", "127.0.0.1", "::1"].contains(&host) {
                    return Err("unencrypted connection".into());
                }
                let text = BASE64_STANDARD.encode(format!("{identity}\0{user}\0{}", password.reveal()));
                self.command(&format!("AUTH PLAIN {text}"), 235).await?;
            }
            Mechanism::Login { user, password } => {
                let mut reply = self.command("AUTH LOGIN", 334).await?;
                for (question, answer, code) in
                    [("username:", user.as_str(), 334), ("password:", password.reveal(), 235)]
                {
                    if !decoded(&reply)?.eq_ignore_ascii_case(question.as_bytes()) {
                        return Err("unexpected server challenge".into());
                    }
                    reply = self.command(&BASE64_STANDARD.encode(answer), code).await?;
                }
            }
        }
        Ok(())
    }

    /// Names the sender.
    pub(super) async fn mail(&mut self, from: &str) -> Result<(), String> {
        let mut line = format!("MAIL FROM:<{from}>");
        for (extension, parameter) in [("8BITMIME", " BODY=8BITMIME"), ("SMTPUTF8", " SMTPUTF8")] {
            if self.extension(extension).is_some() {
                line.push_str(parameter);
            }
        }
        self.command(&line, 250).await.map(drop)
    }

    /// Names a recipient.
    pub(super) async fn recipient(&mut self, to: &str) -> Result<(), String> {
        self.command(&format!("RCPT TO:<{to}>"), 25).await.map(drop)
    }

    /// Announces the message.
    pub(super) async fn data(&mut self) -> Result<(), String> {
        self.command("DATA", 354).await.map(drop)
    }

    /// Sends the message, and waits until the server has taken it.
    pub(super) async fn message(&mut self, message: &[u8]) -> Result<(), String> {
        self.write(message).await?;
        self.reply().await?.expect(250).map(drop)
    }

    /// Ends the conversation. The message has been taken, so that a failure changes nothing.
    pub(super) async fn quit(mut self) {
        let _ignored = self.command("QUIT", 221).await;
    }
}

/// The challenge of a reply.
fn decoded(reply: &Reply) -> Result<Vec<u8>, String> {
    let text = reply.lines.first().map_or("", String::as_str);
    BASE64_STANDARD.decode(text).map_err(|e| format!("malformed challenge: {e}"))
}

/// The HMAC by MD5, as hexadecimal digits.
fn hmac_md5(key: &[u8], message: &[u8]) -> String {
    let mut block = [0u8; 64];
    if key.len() > block.len() {
        block[..16].copy_from_slice(&md5::compute(key).0);
    } else {
        block[..key.len()].copy_from_slice(key);
    }
    let padded = |pad: u8, rest: &[u8]| md5::compute([&block.map(|byte| byte ^ pad)[..], rest].concat());
    format!("{:x}", padded(0x5c, &padded(0x36, message).0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_those_of_rfc_2195() {
        let digest = hmac_md5(b"tanstaaftanstaaf", b"<1896.697170952@postoffice.reston.mci.net>");
        assert_eq!(digest, "b913a602c7eda7a495b4e6e7334d3890");
    }

    #[test]
    fn long_keys_are_hashed() {
        let digest = hmac_md5(&[0xaa; 80], b"Test Using Larger Than Block-Size Key - Hash Key First");
        assert_eq!(digest, "6b1ab7fe4bd7bf8f0b62e6ce61b9d0cd");
    }
}
