//! Proxies that are scripted by hand.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use parking_lot::Mutex;
use pharos_config::{HttpClientConfig, ProxyConfig, Secret};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::{HttpClient, HttpError};

/// What a proxy was told: the head of an HTTP request, or the messages of SOCKS.
type Seen = Arc<Mutex<Vec<Vec<u8>>>>;

async fn listen<F: Future<Output = ()> + Send + 'static>(
    serve: impl Fn(TcpStream, Seen) -> F + Send + 'static,
) -> (std::net::SocketAddr, Seen) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let seen = Seen::default();
    let recorded = seen.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, recorded.clone()));
        }
    });
    (address, seen)
}

async fn head(stream: &mut TcpStream) -> Vec<u8> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    head
}

async fn answer(mut stream: TcpStream, seen: Seen) {
    let head = head(&mut stream).await;
    seen.lock().push(head);
    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nm\n").await.unwrap();
}

fn client(proxy: ProxyConfig) -> HttpClient {
    HttpClient::new(&HttpClientConfig { proxy, ..HttpClientConfig::default() }).unwrap()
}

fn by(url: String) -> HttpClient {
    client(ProxyConfig { url, ..ProxyConfig::default() })
}

async fn get(client: &HttpClient, url: &str) -> Result<Vec<u8>, HttpError> {
    let mut body = Vec::new();
    client.get(url, &[], Duration::from_secs(20), 1 << 20, None, &mut body).await.map(|_| body)
}

fn text(seen: &Seen) -> String {
    String::from_utf8(seen.lock().concat()).unwrap()
}

#[tokio::test]
async fn an_http_proxy_forwards_requests_that_name_their_server() {
    let (proxy, seen) = listen(answer).await;
    let client = by(format!("http://us%65r:pass@{proxy}"));
    assert_eq!(get(&client, "http://a.example:9100/metrics?x=y").await.unwrap(), b"m\n");
    let head = text(&seen);
    assert!(head.starts_with("GET http://a.example:9100/metrics?x=y HTTP/1.1\r\n"), "{head}");
    assert!(head.contains("Host: a.example:9100\r\n"), "{head}");
    assert!(
        head.contains(&format!("Proxy-Authorization: Basic {}\r\n", BASE64_STANDARD.encode("user:pass"))),
        "{head}"
    );
}

#[tokio::test]
async fn exceptions_are_reached_directly() {
    let (server, seen) = listen(answer).await;
    let config = ProxyConfig { url: "http://192.0.2.1:1".into(), no_proxy: "example".into(), ..ProxyConfig::default() };
    get(&client(config), &format!("http://{server}/metrics")).await.unwrap();
    assert!(text(&seen).starts_with("GET /metrics HTTP/1.1\r\n"), "{}", text(&seen));
}

#[tokio::test]
async fn an_http_proxy_opens_a_tunnel_for_tls() {
    let (proxy, seen) = listen(|mut stream, seen: Seen| async move {
        let head = head(&mut stream).await;
        seen.lock().push(head);
        stream.write_all(b"HTTP/1.1 200 Connection established\r\n\r\nhello").await.unwrap();
        let mut said = [0; 3];
        stream.read_exact(&mut said).await.unwrap();
        stream.write_all(&said).await.unwrap();
    })
    .await;
    let stream: Box<dyn ByteStream> = Box::new(TcpStream::connect(proxy).await.unwrap());
    let config = ProxyConfig {
        url: format!("http://u:p@{proxy}"),
        connect_header: [("X-Team".to_string(), vec![Secret::new("a"), Secret::new("b")])].into(),
        ..ProxyConfig::default()
    };
    let proxies = crate::proxy::Proxies::new(&config).unwrap();
    let url = RequestUrl::parse("https://[2001:db8::1]/x").unwrap();
    let proxy = proxies.of(&url).unwrap().unwrap();
    let mut tunnel = http(stream, &url, proxy, proxies.connect_headers()).await.unwrap();
    tunnel.write_all(b"abc").await.unwrap();
    let mut heard = [0; 8];
    tunnel.read_exact(&mut heard).await.unwrap();
    assert_eq!(&heard, b"helloabc", "what comes with the answer belongs to the server");
    let head = text(&seen);
    assert!(head.starts_with("CONNECT [2001:db8::1]:443 HTTP/1.1\r\n"), "{head}");
    assert!(head.contains("Host: [2001:db8::1]:443\r\n") && head.contains("Proxy-Authorization: Basic "), "{head}");
    assert!(head.contains("X-Team: a\r\nX-Team: b\r\n"), "{head}");
}

#[tokio::test]
async fn a_refused_tunnel_says_why() {
    let (proxy, _) = listen(|mut stream, _| async move {
        head(&mut stream).await;
        stream.write_all(b"HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n").await.unwrap();
    })
    .await;
    let error = get(&by(format!("http://{proxy}")), "https://a.example/").await.unwrap_err();
    assert_eq!(error.to_string(), "Get \"https://a.example/\": Proxy Authentication Required");
}

#[tokio::test]
async fn a_proxy_that_is_away_is_named() {
    let error = get(&by("http://127.0.0.1:1".into()), "http://a.example/").await.unwrap_err().to_string();
    assert!(
        error.starts_with("Get \"http://a.example/\": proxyconnect tcp: dial tcp 127.0.0.1:1: connect: "),
        "{error}"
    );
    let error = get(&by("gopher://p".into()), "http://a.example/").await.unwrap_err().to_string();
    assert_eq!(error, "Get \"http://a.example/\": invalid proxy: unsupported scheme \"gopher\"");
}

/// A SOCKS proxy that wants a password, answers with a code, and then serves the request itself.
async fn socks(code: u8) -> (std::net::SocketAddr, Seen) {
    listen(move |mut stream, seen: Seen| async move {
        let mut read = async |bytes: usize| {
            let mut message = vec![0; bytes];
            stream.read_exact(&mut message).await.unwrap();
            seen.lock().push(message);
        };
        read(4).await;
        stream.write_all(&[5, 2]).await.unwrap();
        let mut read = async |bytes: usize| {
            let mut message = vec![0; bytes];
            stream.read_exact(&mut message).await.unwrap();
            seen.lock().push(message);
        };
        read(1 + 1 + 4 + 1 + 4).await;
        stream.write_all(&[1, 0]).await.unwrap();
        let mut request = vec![0; 5 + "a.example".len() + 2];
        stream.read_exact(&mut request).await.unwrap();
        seen.lock().push(request);
        stream.write_all(&[5, code, 0, 3, 1, b'x', 0, 80]).await.unwrap();
        if code == 0 {
            answer(stream, seen).await;
        }
    })
    .await
}

#[tokio::test]
async fn a_socks_proxy_connects_to_the_server() {
    let (proxy, seen) = socks(0).await;
    assert_eq!(get(&by(format!("socks5://user:word@{proxy}")), "http://a.example/m").await.unwrap(), b"m\n");
    let seen = seen.lock();
    assert_eq!(seen[0], [5, 2, NO_AUTHENTICATION, BY_PASSWORD]);
    assert_eq!(seen[1], b"\x01\x04user\x04word");
    assert_eq!(seen[2], b"\x05\x01\x00\x03\x09a.example\x00\x50");
    assert!(seen[3].starts_with(b"GET /m HTTP/1.1\r\n"));
}

#[tokio::test]
async fn a_socks_proxy_that_refuses_says_why() {
    let (proxy, _) = socks(5).await;
    let error = get(&by(format!("socks5://user:word@{proxy}")), "http://a.example/").await.unwrap_err().to_string();
    assert_eq!(error, "Get \"http://a.example/\": socks connect: connection refused");
}
