use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority() -> Authority {
    let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// Writes a certificate for `name` signed by `authority`, and the authority's own.
fn write(folder: &Path, authority: &Authority, name: &str) {
    let mut params = CertificateParams::new([name.to_string()]).unwrap();
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, authority).unwrap();
    std::fs::write(folder.join("cert.pem"), certificate.pem()).unwrap();
    std::fs::write(folder.join("key.pem"), key.serialize_pem()).unwrap();
    std::fs::write(folder.join("ca.pem"), authority.pem()).unwrap();
}

fn node(folder: &Path, name: Option<&str>) -> NodeTls {
    let file = |name: &str| folder.join(name);
    let files = Files { cert: file("cert.pem"), key: file("key.pem"), ca: file("ca.pem") };
    let loaded = Arc::new(ArcSwap::from_pointee(files.load().unwrap()));
    let name = name.map(|name| ServerName::try_from(name.to_string()).unwrap());
    NodeTls { files, name, loaded }
}

/// Sends a byte from one node to the other over TLS. Returns the outcome of each side.
async fn talk(client: &NodeTls, server: &NodeTls) -> (io::Result<()>, io::Result<u8>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let serving = async {
        let (stream, _) = listener.accept().await?;
        let mut stream = server.secure(stream).await?;
        let byte = stream.read_u8().await?;
        stream.write_u8(byte).await?;
        stream.flush().await?;
        Ok(byte)
    };
    let calling = async {
        let mut stream = client.dial(address).await?;
        stream.write_u8(7).await?;
        stream.flush().await?;
        stream.read_u8().await.map(|_| ())
    };
    tokio::join!(calling, serving)
}

#[tokio::test]
async fn only_nodes_of_the_same_authority_connect() {
    let [one, other] = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let (ours, theirs) = (authority(), authority());
    write(one.path(), &ours, "127.0.0.1");
    write(other.path(), &theirs, "127.0.0.1");
    let (ours, theirs) = (node(one.path(), None), node(other.path(), None));
    let (sent, received) = talk(&ours, &ours).await;
    sent.unwrap();
    assert_eq!(received.unwrap(), 7);
    for (client, server) in [(&ours, &theirs), (&theirs, &ours)] {
        let (sent, received) = talk(client, server).await;
        assert!(sent.is_err() && received.is_err());
    }
}

#[tokio::test]
async fn a_certificate_must_have_the_host_or_the_configured_name() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &authority(), "pharos.test");
    assert!(talk(&node(folder.path(), None), &node(folder.path(), None)).await.0.is_err());
    talk(&node(folder.path(), Some("pharos.test")), &node(folder.path(), None)).await.0.unwrap();
}

#[tokio::test]
async fn changed_files_are_reloaded_and_invalid_ones_ignored() {
    let folder = tempfile::tempdir().unwrap();
    let authority = authority();
    write(folder.path(), &authority, "127.0.0.1");
    let node = node(folder.path(), None);
    assert_eq!(node.renew(), Ok(false));
    std::fs::write(folder.path().join("cert.pem"), "no certificate").unwrap();
    let error = node.renew().unwrap_err();
    assert!(error.starts_with("--tls.cert-file") && error.contains("no certificate"), "{error}");
    talk(&node, &node).await.0.unwrap();
    write(folder.path(), &authority, "127.0.0.1");
    assert_eq!(node.renew(), Ok(true));
    talk(&node, &node).await.0.unwrap();
}
