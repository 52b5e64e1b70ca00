//! TLS between nodes. Both sides present a certificate that an authority of the cluster has signed. Changed files are
//! reloaded for new connections.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use futures::future::BoxFuture;
use pharos_model::Clock;
use pharos_transport::{ByteStream, Channels, Dial};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::cli::ClusterArgs;
use crate::server::http::Secure;

/// How often the files are checked for changes.
const CHECK_INTERVAL: Duration = Duration::from_secs(10);
/// How long a handshake may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// The files that the flags name.
#[derive(Clone)]
struct Files {
    cert: PathBuf,
    key: PathBuf,
    ca: PathBuf,
}

/// TLS settings for both sides of a connection, from the content of the files.
#[derive(Clone)]
struct Loaded {
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
    stamps: Stamps,
}

/// Modification times of the files.
type Stamps = [Option<SystemTime>; 3];

/// The certificates of this node and of the cluster's authorities.
pub(in crate::server) struct NodeTls {
    files: Files,
    /// The name that other nodes' certificates must have; none for the host of their address.
    name: Option<ServerName<'static>>,
    loaded: Arc<ArcSwap<Loaded>>,
}

impl Files {
    fn stamps(&self) -> Stamps {
        [&self.cert, &self.key, &self.ca].map(|file| std::fs::metadata(file).and_then(|m| m.modified()).ok())
    }

    fn load(&self) -> Result<Loaded, String> {
        let stamps = self.stamps();
        let named =
            |flag: &str, file: &PathBuf, error: &dyn std::fmt::Display| format!("{flag} {}: {error}", file.display());
        let certificates = |flag: &str, file: &PathBuf| {
            let read = CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
            match read {
                Ok(found) if found.is_empty() => Err(named(flag, file, &"no certificate in file")),
                Ok(found) => Ok(found),
                Err(error) => Err(named(flag, file, &error)),
            }
        };
        let chain = certificates("--tls.cert-file", &self.cert)?;
        let key = || PrivateKeyDer::from_pem_file(&self.key).map_err(|e| named("--tls.key-file", &self.key, &e));
        let mut roots = RootCertStore::empty();
        for certificate in certificates("--tls.ca-file", &self.ca)? {
            roots.add(certificate).map_err(|e| named("--tls.ca-file", &self.ca, &e))?;
        }
        let roots = Arc::new(roots);
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let fits = |error: rustls::Error| named("--tls.cert-file", &self.cert, &error);
        let verifier = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider.clone());
        let verifier = verifier.build().map_err(|e| named("--tls.ca-file", &self.ca, &e))?;
        let server = ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions();
        let server = server.map_err(fits)?.with_client_cert_verifier(verifier);
        let mut server = server.with_single_cert(chain.clone(), key()?).map_err(fits)?;
        server.alpn_protocols = vec![b"h2".to_vec()];
        let client = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let client = client.map_err(fits)?.with_root_certificates(roots);
        let mut client = client.with_client_auth_cert(chain, key()?).map_err(fits)?;
        client.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Loaded { server: Arc::new(server), client: Arc::new(client), stamps })
    }
}

impl NodeTls {
    /// Loads the files that the flags name; none if the flags are not set.
    pub(super) fn load(args: &ClusterArgs) -> Result<Option<NodeTls>, String> {
        let (Some(cert), Some(key), Some(ca)) = (&args.cert_file, &args.key_file, &args.ca_file) else {
            return Ok(None);
        };
        let files = Files { cert: cert.clone(), key: key.clone(), ca: ca.clone() };
        let bad = |name: &String| format!("--tls.server-name: {name:?} is not a server name");
        let name = args.server_name.as_ref().map(|name| ServerName::try_from(name.clone()).map_err(|_| bad(name)));
        let loaded = Arc::new(ArcSwap::from_pointee(files.load()?));
        Ok(Some(NodeTls { name: name.transpose()?, files, loaded }))
    }

    /// Reloads the files if they have changed, and returns whether they had.
    fn renew(&self) -> Result<bool, String> {
        if self.files.stamps() == self.loaded.load().stamps {
            return Ok(false);
        }
        self.loaded.store(Arc::new(self.files.load()?));
        Ok(true)
    }
}

/// Reloads certificates when their files change, until the server stops. Invalid files leave the previous ones active.
pub(super) async fn watch(
    tls: Arc<NodeTls>,
    channels: Channels,
    clock: Arc<dyn Clock>,
    mut stopped: watch::Receiver<bool>,
) {
    let mut warned: Option<Duration> = None;
    loop {
        tokio::select! {
            () = tokio::time::sleep(CHECK_INTERVAL) => {}
            _ = stopped.wait_for(|stop| *stop) => return,
        }
        match tls.renew() {
            Ok(false) => {}
            Ok(true) => {
                channels.forget();
                tracing::info!("reloaded certificates for new connections");
                warned = None;
            }
            Err(error) if warned.is_none_or(|at| clock.monotonic() > at + 30 * CHECK_INTERVAL) => {
                tracing::warn!(%error, "could not reload certificates; keeping the previous ones");
                warned = Some(clock.monotonic());
            }
            Err(_) => {}
        }
    }
}

impl Dial for NodeTls {
    fn dial(&self, address: String) -> BoxFuture<'static, io::Result<Box<dyn ByteStream>>> {
        let config = self.loaded.load().client.clone();
        let host = address.rsplit_once(':').map_or(address.as_str(), |(host, _)| host).trim_matches(['[', ']']);
        let name = self.name.clone().map_or_else(|| ServerName::try_from(host.to_string()), Ok);
        Box::pin(async move {
            let name = name.map_err(io::Error::other)?;
            let stream = TcpStream::connect(&address).await?;
            stream.set_nodelay(true)?;
            let secured = TlsConnector::from(config).connect(name, stream).await?;
            Ok(Box::new(secured) as Box<dyn ByteStream>)
        })
    }
}

impl Secure for NodeTls {
    fn secure(&self, stream: TcpStream) -> BoxFuture<'static, io::Result<Box<dyn ByteStream>>> {
        let config = self.loaded.load().server.clone();
        Box::pin(async move {
            let secured = tokio::time::timeout(HANDSHAKE_TIMEOUT, TlsAcceptor::from(config).accept(stream)).await;
            let late = |_| io::Error::new(io::ErrorKind::TimedOut, "TLS handshake timed out");
            Ok(Box::new(secured.map_err(late)??) as Box<dyn ByteStream>)
        })
    }
}

#[cfg(test)]
mod tests;
