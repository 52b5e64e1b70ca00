//! TLS for protocols other than HTTP.

use std::io;

use pharos_config::{ConfigError, TlsConfig};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;

use super::Tls;

/// A connection over TLS.
pub type TlsStream<S> = tokio_rustls::client::TlsStream<S>;

/// Begins TLS on connections of other protocols, by the settings of a section `tls_config`.
pub struct TlsDialer(Tls);

impl TlsDialer {
    /// Takes the settings. Files that they name are read for each connection.
    ///
    /// # Errors
    /// The settings contradict each other.
    pub fn new(config: &TlsConfig) -> Result<Self, ConfigError> {
        Tls::new(config, false).map(TlsDialer)
    }

    /// Begins TLS with the server `host`.
    ///
    /// # Errors
    /// A file cannot be read, or the handshake failed.
    pub async fn connect<S>(&self, stream: S, host: &str) -> Result<TlsStream<S>, String>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let loaded = self.0.load().await?;
        let (config, name) = loaded.for_host(host);
        TlsConnector::from(config).connect(name, stream).await.map_err(|e| describe_handshake(&e))
    }
}

/// Why a handshake failed.
pub(crate) fn describe_handshake(error: &io::Error) -> String {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match inner {
        Some(rustls::Error::InvalidCertificate(rustls::CertificateError::Other(other))) => other.to_string(),
        Some(rustls::Error::AlertReceived(rustls::AlertDescription::HandshakeFailure)) => {
            "remote error: tls: handshake failure; the server may have none of the suites with ECDHE and AES or ChaCha20".into()
        }
        _ => format!("tls: {error}"),
    }
}
