//! The TLS settings of a client, from its section of the configuration. Files are read when a connection is made, so that
//! rotated certificates take effect and a missing one fails the requests that need it.

mod cbc;
mod certificate;
mod der;
mod dialer;
mod provider;
mod verifier;

use std::path::Path;
use std::sync::{Arc, LazyLock};

use parking_lot::Mutex;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, SupportedProtocolVersion};

pub(crate) use self::dialer::describe_handshake;
pub use self::dialer::{TlsDialer, TlsStream};
use self::provider::provider;
use self::verifier::{Roots, Verifier};
use pharos_config::{ConfigError, TlsConfig, TlsVersion};

/// TLS for one client.
pub(super) struct Tls {
    config: TlsConfig,
    enable_http2: bool,
    loaded: Mutex<Option<Arc<Loaded>>>,
}

/// The settings that follow from the current contents of the files.
pub(super) struct Loaded {
    files: Files,
    /// Changes with the files. Connections of an earlier generation are not used again.
    pub(super) generation: u64,
    client: ClientConfig,
    /// `None` verifies nothing.
    roots: Option<Arc<Roots>>,
    server_name: String,
}

/// The contents of the files, or of the settings that stand for them.
#[derive(PartialEq)]
struct Files {
    ca: Option<Vec<u8>>,
    certificate: Option<Vec<u8>>,
    key: Option<Vec<u8>>,
}

impl Tls {
    /// Checks what is in the configuration itself. Files are read later.
    pub(super) fn new(config: &TlsConfig, enable_http2: bool) -> Result<Self, ConfigError> {
        versions(config)?;
        if !config.ca.is_empty() {
            certificates("CA cert", config.ca.as_bytes()).map_err(ConfigError::new)?;
        }
        Ok(Tls { config: config.clone(), enable_http2, loaded: Mutex::default() })
    }

    /// The settings for a new request: those of the last one unless a file has changed.
    pub(super) async fn load(&self) -> Result<Arc<Loaded>, String> {
        let config = &self.config;
        let files = Files {
            ca: read("CA cert", &config.ca, config.ca_file.as_deref()).await?,
            certificate: read("client certificate", &config.cert, config.cert_file.as_deref()).await?,
            key: read("client key", config.key.reveal(), config.key_file.as_deref()).await?,
        };
        let mut loaded = self.loaded.lock();
        if let Some(known) = loaded.as_ref().filter(|known| known.files == files) {
            return Ok(known.clone());
        }
        let generation = loaded.as_ref().map_or(0, |known| known.generation + 1);
        let client = client_config(config, self.enable_http2, &files)?;
        let roots = if config.insecure_skip_verify { None } else { Some(roots(&files)?) };
        let next = Loaded { files, generation, client, roots, server_name: config.server_name.clone() };
        Ok(loaded.insert(Arc::new(next)).clone())
    }
}

impl Loaded {
    /// The settings of a connection to a host, and the name that the handshake sends.
    pub(super) fn for_host(&self, host: &str) -> (Arc<ClientConfig>, ServerName<'static>) {
        let host = if self.server_name.is_empty() { host } else { &self.server_name };
        let mut client = self.client.clone();
        let name = ServerName::try_from(host.to_string()).unwrap_or_else(|_| {
            // Names that end in a number are not sent, but verified.
            client.enable_sni = false;
            ServerName::IpAddress(std::net::Ipv4Addr::UNSPECIFIED.into())
        });
        let algorithms = provider().signature_verification_algorithms;
        let verifier = Verifier { host: host.to_string(), roots: self.roots.clone(), algorithms };
        client.dangerous().set_certificate_verifier(Arc::new(verifier));
        (Arc::new(client), name)
    }

    /// The settings of a connection to a proxy, which speaks HTTP/1, and the name that the handshake sends.
    pub(super) fn for_proxy(&self, host: &str) -> (Arc<ClientConfig>, ServerName<'static>) {
        let (mut config, name) = self.for_host(host);
        Arc::make_mut(&mut config).alpn_protocols = vec![b"http/1.1".to_vec()];
        (config, name)
    }
}

/// Settings without the verification of servers, which follows for each host.
fn client_config(config: &TlsConfig, enable_http2: bool, files: &Files) -> Result<ClientConfig, String> {
    let failed = |e: rustls::Error| format!("tls_config: {e}");
    let algorithms = provider().signature_verification_algorithms;
    let builder = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&versions(config).map_err(|e| e.to_string())?)
        .map_err(failed)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Verifier { host: String::new(), roots: None, algorithms }));
    let mut client = match (&files.certificate, &files.key) {
        (Some(chain), Some(key)) => {
            let chain = certificates("client certificate", chain)?;
            let key =
                PrivateKeyDer::from_pem_slice(key).map_err(|e| format!("unable to use specified client key: {e}"))?;
            builder.with_client_auth_cert(chain, key).map_err(failed)?
        }
        _ => builder.with_no_client_auth(),
    };
    // A resumed session would skip the verification of its host.
    client.resumption = rustls::client::Resumption::disabled();
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
async fn read(what: &str, inline: &str, file: Option<&Path>) -> Result<Option<Vec<u8>>, String> {
    let file = file.filter(|path| !path.as_os_str().is_empty());
    match (inline.is_empty(), file) {
        (false, _) => Ok(Some(inline.as_bytes().to_vec())),
        (true, None) => Ok(None),
        (true, Some(file)) => {
            let read = tokio::fs::read(file).await;
            read.map(Some).map_err(|e| format!("unable to read {what} file {}: {e}", file.display()))
        }
    }
}

fn certificates(what: &str, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let parsed: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match parsed {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        Ok(_) => Err(format!("unable to use specified {what}: it contains no certificate")),
        Err(e) => Err(format!("unable to use specified {what}: {e}")),
    }
}

/// The configured authorities, or else those of the machine.
fn roots(files: &Files) -> Result<Arc<Roots>, String> {
    static MACHINE: LazyLock<Arc<Roots>> =
        LazyLock::new(|| Arc::new(Roots::new(rustls_native_certs::load_native_certs().certs)));
    let roots = match &files.ca {
        Some(pem) => Arc::new(Roots::new(certificates("CA cert", pem)?)),
        None => MACHINE.clone(),
    };
    match (roots.is_empty(), &files.ca) {
        (false, _) => Ok(roots),
        (true, None) => Err("this machine has no certificate authorities".into()),
        (true, Some(_)) => Err("unable to use specified CA cert: it contains no certificate that can be read".into()),
    }
}
