//! The TLS settings of a client, from its section of the configuration.

use std::path::Path;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme, SupportedProtocolVersion};

use pharos_config::{ConfigError, TlsConfig, TlsVersion};

/// Builds the client's TLS settings. Reads the files that the section names.
pub(super) fn client_config(config: &TlsConfig, enable_http2: bool) -> Result<ClientConfig, ConfigError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let failed = |e: rustls::Error| ConfigError::new(format!("tls_config: {e}"));
    let versions = versions(config)?;
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&versions)
        .map_err(failed)?
        .dangerous()
        .with_custom_certificate_verifier(verifier(config, provider)?);
    let mut client = match identity(config)? {
        Some((chain, key)) => builder.with_client_auth_cert(chain, key).map_err(failed)?,
        None => builder.with_no_client_auth(),
    };
    let http1 = b"http/1.1".to_vec();
    client.alpn_protocols = if enable_http2 { vec![b"h2".to_vec(), http1] } else { vec![http1] };
    Ok(client)
}

/// The TLS versions from the lowest to the highest configured one.
fn versions(config: &TlsConfig) -> Result<Vec<&'static SupportedProtocolVersion>, ConfigError> {
    let lowest = config.min_version.unwrap_or(TlsVersion::Tls12);
    let highest = config.max_version.unwrap_or(TlsVersion::Tls13);
    let known = [(TlsVersion::Tls12, &rustls::version::TLS12), (TlsVersion::Tls13, &rustls::version::TLS13)];
    let versions: Vec<_> =
        known.into_iter().filter(|(v, _)| lowest <= *v && *v <= highest).map(|(_, version)| version).collect();
    match versions.is_empty() {
        true => Err(ConfigError::new("tls_config: no supported TLS version between min_version and max_version")),
        false => Ok(versions),
    }
}

/// Reads PEM data that is inline or in a file; `None` when neither is configured.
fn read(what: &str, inline: &str, file: Option<&Path>) -> Result<Option<Vec<u8>>, ConfigError> {
    let file = file.filter(|path| !path.as_os_str().is_empty());
    match (inline.is_empty(), file) {
        (false, _) => Ok(Some(inline.as_bytes().to_vec())),
        (true, None) => Ok(None),
        (true, Some(file)) => std::fs::read(file)
            .map(Some)
            .map_err(|e| ConfigError::new(format!("unable to read {what} file {}: {e}", file.display()))),
    }
}

fn certificates(what: &str, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, ConfigError> {
    let parsed: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match parsed {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        Ok(_) => Err(ConfigError::new(format!("unable to use specified {what}: it contains no certificate"))),
        Err(e) => Err(ConfigError::new(format!("unable to use specified {what}: {e}"))),
    }
}

type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// The client certificate and its key; `None` when the section has none.
fn identity(config: &TlsConfig) -> Result<Option<Identity>, ConfigError> {
    let chain = read("client certificate", &config.cert, config.cert_file.as_deref())?;
    let key = read("client key", config.key.reveal(), config.key_file.as_deref())?;
    let (Some(chain), Some(key)) = (chain, key) else { return Ok(None) };
    let key = PrivateKeyDer::from_pem_slice(&key)
        .map_err(|e| ConfigError::new(format!("unable to use specified client key: {e}")))?;
    Ok(Some((certificates("client certificate", &chain)?, key)))
}

/// Verifies servers against the configured authorities, or else those of the machine.
fn verifier(config: &TlsConfig, provider: Arc<CryptoProvider>) -> Result<Arc<dyn ServerCertVerifier>, ConfigError> {
    let mut roots = RootCertStore::empty();
    match read("CA cert", &config.ca, config.ca_file.as_deref())? {
        Some(pem) => {
            roots.add_parsable_certificates(certificates("CA cert", &pem)?);
        }
        None if !config.insecure_skip_verify => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
        None => {}
    }
    if config.insecure_skip_verify || roots.is_empty() {
        let accepts_any = config.insecure_skip_verify;
        return Ok(Arc::new(Unverified { provider, accepts_any }));
    }
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
        .build()
        .map_err(|e| ConfigError::new(format!("tls_config: {e}")))?;
    if config.server_name.is_empty() {
        return Ok(verifier);
    }
    let name = ServerName::try_from(config.server_name.clone())
        .map_err(|e| ConfigError::new(format!("tls_config: server_name {:?}: {e}", config.server_name)))?;
    Ok(Arc::new(Named { name, verifier }))
}

/// Verifies certificates against a configured name instead of the host of the URL.
#[derive(Debug)]
struct Named {
    name: ServerName<'static>,
    verifier: Arc<WebPkiServerVerifier>,
}

impl ServerCertVerifier for Named {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.verifier.verify_server_cert(end_entity, intermediates, &self.name, ocsp, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}

/// Accepts any certificate (`insecure_skip_verify`) or none (a machine without certificate authorities).
#[derive(Debug)]
struct Unverified {
    provider: Arc<CryptoProvider>,
    accepts_any: bool,
}

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        match self.accepts_any {
            true => Ok(ServerCertVerified::assertion()),
            false => Err(rustls::Error::General("this machine has no certificate authorities".into())),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
