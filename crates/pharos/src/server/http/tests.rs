//! Clients that keep the server waiting, over real connections.

use std::net::SocketAddr;

use axum::body::Bytes;
use axum::routing::{get, post};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

/// Opens an HTTP/2 connection with default settings.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
/// The length of an answer that does not fit into the buffers of a connection.
const LARGE: usize = 64 << 20;

struct Server {
    address: SocketAddr,
    router: SharedRouter,
    _stop: watch::Sender<bool>,
}

async fn start(max_connections: usize, patience: Patience) -> Server {
    let server = start_without_router(max_connections, patience).await;
    server.router.store(Some(Arc::new(router())));
    server
}

fn router() -> Router {
    let large = || async { Bytes::from_static(&[0; LARGE]) };
    let length = |body: Result<Bytes, axum::extract::rejection::BytesRejection>| async move {
        body.map_or_else(|error| error.into_response(), |body| body.len().to_string().into_response())
    };
    let unauthenticated = || async { [("grpc-status", "16")] };
    Router::new()
        .route("/", get(|| async { "here" }))
        .route("/large", get(large))
        .route("/length", post(length))
        .route("/stranger", get(unauthenticated))
}

async fn start_without_router(max_connections: usize, patience: Patience) -> Server {
    let listener = bind(&"127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = watch::channel(false);
    let router = SharedRouter::default();
    let config = HttpConfig { max_connections, patience };
    tokio::spawn(serve(vec![listener], router.clone(), config, None, stopped));
    Server { address, router, _stop: stop }
}

impl Server {
    async fn send(&self, bytes: &[u8]) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        stream
    }
}

/// Reads until the server closes the connection.
async fn rest(mut stream: TcpStream) -> String {
    let mut all = Vec::new();
    // A reset ends the connection, too.
    let _reset = stream.read_to_end(&mut all).await;
    String::from_utf8_lossy(&all).into_owned()
}

/// Reads the status of the first answer.
async fn status(stream: &mut TcpStream) -> String {
    let mut line = [0; 12];
    stream.read_exact(&mut line).await.unwrap();
    String::from_utf8_lossy(&line[9..]).into_owned()
}

fn short() -> Patience {
    Patience::Client(Duration::from_millis(200))
}

fn long() -> Patience {
    Patience::Client(Duration::from_secs(3600))
}

#[tokio::test]
async fn a_client_that_says_nothing_more_is_disconnected() {
    let server = start(8, short()).await;
    for said in [&b""[..], b"GET / HTTP/1.1\r\n", b"PRI * ", PREFACE] {
        rest(server.send(said).await).await;
    }
    let answered = rest(server.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await).await;
    assert!(answered.ends_with("here"), "{answered}");
}

#[tokio::test]
async fn a_body_that_does_not_arrive_is_an_error() {
    let server = start(8, short()).await;
    let head = b"POST /length HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n";
    let answer = rest(server.send(&[&head[..], b"abc"].concat()).await).await;
    assert!(answer.starts_with("HTTP/1.1 400") && answer.contains("--web.read-timeout"), "{answer}");
}

#[tokio::test]
async fn a_body_that_trickles_in_is_an_error() {
    let server = start(8, short()).await;
    let mut stream = server.send(b"POST /length HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n").await;
    let mut pause = tokio::time::interval(Duration::from_millis(20));
    while stream.write_all(b"a").await.is_ok() {
        pause.tick().await;
    }
}

#[tokio::test]
async fn a_client_that_does_not_read_its_answer_is_disconnected() {
    let server = start(8, short()).await;
    let mut stream = server.send(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n").await;
    // Once the server has closed the connection, writing to it fails.
    let mut pause = tokio::time::interval(Duration::from_millis(20));
    while stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.is_ok() {
        pause.tick().await;
    }
    assert!(rest(stream).await.len() < LARGE);
}

#[tokio::test]
async fn silent_clients_shut_nobody_out() {
    let server = start(4, long()).await;
    let mut silent = Vec::new();
    for said in [&b""[..], b"PRI * ", PREFACE, b"POST /length HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n"] {
        silent.push(server.send(said).await);
    }
    for _ in 0..2 {
        let mut stream = server.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
        assert_eq!(status(&mut stream).await, "200");
        silent.push(stream);
    }
}

#[tokio::test]
async fn nodes_that_have_authenticated_stay_and_strangers_go() {
    let server = start(8, Patience::Node(Duration::from_millis(200))).await;
    let mut node = server.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
    let stranger = server.send(b"GET /stranger HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert_eq!(status(&mut node).await, "200");
    assert!(rest(stranger).await.starts_with("HTTP/1.1 200"));
    // The stranger came after the node, and its patience has elapsed.
    node.write_all(b"GET /length HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut answers = Vec::new();
    while !String::from_utf8_lossy(&answers).contains("405") {
        assert_ne!(node.read_buf(&mut answers).await.unwrap(), 0, "the connection is open");
    }
}

#[tokio::test]
async fn a_stranger_is_not_trusted_because_it_came_before_the_router() {
    let server = start_without_router(8, Patience::Node(Duration::from_millis(200))).await;
    let mut stranger = server.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert_eq!(status(&mut stranger).await, "503");
    server.router.store(Some(Arc::new(router())));
    // The server closes the connection.
    rest(stranger).await;
}

#[test]
fn repeated_slashes_of_a_path_count_as_one() {
    let cleaned = |uri: &str| without_repeated_slashes(&uri.parse().unwrap()).map(|uri| uri.to_string());
    assert_eq!(cleaned("//api///v1/query?query=a//b").unwrap(), "/api/v1/query?query=a//b");
    assert_eq!(cleaned("/api/v1/query?query=a//b"), None);
}

#[tokio::test]
async fn the_wildcard_address_takes_both_families() {
    if !takes_both_families() {
        return;
    }
    let listener = bind(&":0".parse().unwrap()).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    TcpStream::connect((Ipv6Addr::LOCALHOST, port)).await.unwrap();
    TcpStream::connect((std::net::Ipv4Addr::LOCALHOST, port)).await.unwrap();
}

#[tokio::test]
async fn a_request_may_have_a_thousand_headers() {
    let server = start(8, long()).await;
    let headers: String = (0..1000).map(|n| format!("X-Header-{n}: value {n}\r\n")).collect();
    let request = format!("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n");
    let answer = rest(server.send(request.as_bytes()).await).await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("here"), "{answer}");
}
