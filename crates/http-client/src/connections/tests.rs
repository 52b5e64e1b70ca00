//! Connections to servers that are scripted byte by byte.

use std::sync::atomic::AtomicUsize;

use pharos_config::HttpClientConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::{HttpClient, HttpError};

/// What a server does with a request.
enum Act {
    Answer(String),
    AnswerAndClose(String),
    Close,
}

fn ok(head: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n{head}\r\nm\n")
}

/// A server that acts on the number of a connection and the number of a request on it. Returns its URL and the number of
/// connections that it has seen.
async fn serve(act: impl Fn(usize, usize) -> Act + Send + Sync + 'static) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/metrics", listener.local_addr().unwrap());
    let (connections, act) = (Arc::new(AtomicUsize::new(0)), Arc::new(act));
    let seen = connections.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer(stream, seen.fetch_add(1, Ordering::SeqCst), act.clone()));
        }
    });
    (url, connections)
}

async fn answer(mut stream: TcpStream, connection: usize, act: Arc<impl Fn(usize, usize) -> Act>) {
    for number in 0.. {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            match stream.read_u8().await {
                Ok(byte) => head.push(byte),
                Err(_) => return,
            }
        }
        match act(connection, number) {
            Act::Answer(text) => stream.write_all(text.as_bytes()).await.unwrap(),
            Act::AnswerAndClose(text) => return stream.write_all(text.as_bytes()).await.unwrap(),
            Act::Close => return,
        }
    }
}

async fn get(client: &HttpClient, url: &str) -> Result<Vec<u8>, HttpError> {
    let mut body = Vec::new();
    client.get(url, &[], Duration::from_secs(20), 1 << 20, None, &mut body).await.map(|_| body)
}

fn client() -> HttpClient {
    HttpClient::new(&HttpClientConfig::default()).unwrap()
}

#[tokio::test]
async fn a_connection_is_used_again() {
    let (url, connections) = serve(|_, _| Act::Answer(ok(""))).await;
    let client = client();
    for _ in 0..3 {
        assert_eq!(get(&client, &url).await.unwrap(), b"m\n");
    }
    assert_eq!(connections.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_request_on_a_used_connection_that_the_server_closes_is_sent_again() {
    let (url, connections) = serve(|_, number| if number == 0 { Act::Answer(ok("")) } else { Act::Close }).await;
    let client = client();
    for _ in 0..3 {
        assert_eq!(get(&client, &url).await.unwrap(), b"m\n");
    }
    assert_eq!(connections.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn a_request_that_changes_something_is_not_sent_twice() {
    let (url, connections) = serve(|_, number| if number == 0 { Act::Answer(ok("")) } else { Act::Close }).await;
    let client = client();
    let post = || {
        let (method, headers, body) = (Method::POST, Vec::new(), "x".into());
        client.send(crate::HttpRequest { method, url: url.clone(), shown_url: None, headers, body }, 100)
    };
    assert_eq!(post().await.unwrap().status, 200);
    post().await.unwrap_err();
    assert_eq!(connections.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_request_on_a_new_connection_that_the_server_closes_fails() {
    let (url, connections) = serve(|_, _| Act::Close).await;
    let error = get(&client(), &url).await.unwrap_err();
    assert_eq!(error, HttpError::Failed(format!("Get {url:?}: EOF")));
    assert_eq!(connections.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_response_that_has_begun_is_not_asked_for_again() {
    let half = "HTTP/1.1 200 OK\r\nContent-".to_string();
    let (url, connections) =
        serve(move |_, number| if number == 0 { Act::Answer(ok("")) } else { Act::AnswerAndClose(half.clone()) }).await;
    let client = client();
    get(&client, &url).await.unwrap();
    get(&client, &url).await.unwrap_err();
    assert_eq!(connections.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_body_that_ends_early_fails() {
    let half = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nm".to_string();
    let (url, _) = serve(move |_, _| Act::AnswerAndClose(half.clone())).await;
    assert_eq!(get(&client(), &url).await, Err(HttpError::Failed(format!("Get {url:?}: unexpected EOF"))));
}

#[tokio::test]
async fn many_folded_and_spaced_headers_are_taken() {
    let many: String = (0..1500).map(|n| format!("X-Header-{n}: {n}\r\n")).collect();
    for head in [
        many.as_str(),
        "X-Folded: one\r\n  two\r\n",
        "X-Spaced : value\r\n",
        "X-Empty:\r\n",
        "X-Bytes: \u{fc}\r\n",
        "X Name: value\r\n",
    ] {
        let answer = ok(head);
        let (url, _) = serve(move |_, _| Act::Answer(answer.clone())).await;
        assert_eq!(get(&client(), &url).await.unwrap(), b"m\n", "{}", &head[..10]);
    }
}

#[tokio::test]
async fn a_body_without_a_length_ends_with_its_connection() {
    let (url, connections) = serve(|_, _| Act::AnswerAndClose("HTTP/1.0 200 OK\r\n\r\nm\n".into())).await;
    let client = client();
    for _ in 0..2 {
        assert_eq!(get(&client, &url).await.unwrap(), b"m\n");
    }
    assert_eq!(connections.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn the_reason_of_a_status_is_that_of_the_server() {
    let (url, _) = serve(|_, _| Act::Answer("HTTP/1.1 503 Warming Up\r\nContent-Length: 0\r\n\r\n".into())).await;
    assert_eq!(get(&client(), &url).await, Err(HttpError::Status("503 Warming Up".into())));
}

/// A server that keeps the heads of the requests that it answers. Returns its port and the heads.
async fn record() -> (u16, Arc<Mutex<Vec<String>>>) {
    let heads = Arc::new(Mutex::new(Vec::new()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let log = heads.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.unwrap());
            }
            log.lock().push(String::from_utf8(head).unwrap());
            stream.write_all(ok("Connection: close\r\n").as_bytes()).await.unwrap();
        }
    });
    (port, heads)
}

#[tokio::test]
async fn headers_are_sent_in_their_usual_spelling() {
    let (port, heads) = record().await;
    let headers = [(http::HeaderName::from_static("x-prometheus-scrape-timeout-seconds"), http::HeaderValue::from(1))];
    let url = format!("http://127.0.0.1:{port}/");
    client().get(&url, &headers, Duration::from_secs(20), 100, None, &mut Vec::new()).await.unwrap();
    let head = heads.lock().pop().unwrap();
    assert!(head.contains("\r\nX-Prometheus-Scrape-Timeout-Seconds: 1\r\n"), "{head}");
}

#[tokio::test]
async fn a_redirected_request_names_the_page_that_it_comes_from() {
    let (port, heads) = record().await;
    let answer = format!("HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:{port}/x/../a\r\nContent-Length: 0\r\n\r\n");
    let (url, _) = serve(move |_, _| Act::Answer(answer.clone())).await;
    get(&client(), &url.replace("http://", "http://user:word@")).await.unwrap();
    let head = heads.lock().pop().unwrap();
    assert!(head.starts_with("GET /a HTTP/1.1\r\n"), "{head}");
    assert!(head.contains(&format!("\r\nReferer: {url}\r\n")), "{head}");
}

#[tokio::test]
async fn a_malformed_place_of_a_redirect_is_named() {
    for (place, reason) in [("http://[::1", "missing ']' in host"), ("/%zz", "invalid URL escape \"%zz\"")] {
        let answer = format!("HTTP/1.1 302 Found\r\nLocation: {place}\r\nContent-Length: 0\r\n\r\n");
        let (url, _) = serve(move |_, _| Act::Answer(answer.clone())).await;
        let error = get(&client(), &url).await.unwrap_err().to_string();
        assert_eq!(error, format!("Get {url:?}: failed to parse Location header {place:?}: {reason}"));
    }
}

#[tokio::test]
async fn credentials_follow_a_redirect_to_another_port_and_not_to_another_host() {
    let (port, heads) = record().await;
    let config = HttpClientConfig {
        authorization: Some(pharos_config::Authorization {
            kind: "Bearer".into(),
            credentials: pharos_config::Secret::new("t0ken"),
            ..Default::default()
        }),
        ..HttpClientConfig::default()
    };
    let client = HttpClient::new(&config).unwrap();
    for (host, keeps) in [("127.0.0.1", true), ("localhost", false)] {
        let answer = format!("HTTP/1.1 302 Found\r\nLocation: http://{host}:{port}/\r\nContent-Length: 0\r\n\r\n");
        let (url, _) = serve(move |_, _| Act::Answer(answer.clone())).await;
        get(&client, &url).await.unwrap();
        let head = heads.lock().pop().unwrap();
        assert_eq!(head.contains("t0ken"), keeps, "{host}: {head}");
    }
}

#[tokio::test]
async fn endless_redirects_end() {
    let answer = "HTTP/1.1 302 Found\r\nLocation: /metrics\r\nContent-Length: 0\r\n\r\n".to_string();
    let (url, _) = serve(move |_, _| Act::Answer(answer.clone())).await;
    let error = get(&client(), &url).await.unwrap_err().to_string();
    assert_eq!(error, format!("Get {url:?}: stopped after 10 redirects"));
}

#[tokio::test]
async fn an_address_with_a_zone_is_connected_to() {
    let Ok(listener) = TcpListener::bind("[::1]:0").await else { return };
    let port = listener.local_addr().unwrap().port();
    let served = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        answer(stream, 0, Arc::new(|_, _| Act::AnswerAndClose(ok("")))).await;
    });
    let body = get(&client(), &format!("http://[::1%25lo]:{port}/")).await.unwrap();
    assert_eq!(body, b"m\n");
    served.await.unwrap();
}

#[tokio::test]
async fn connections_that_have_ended_are_forgotten() {
    let (url, _) = serve(|_, _| Act::AnswerAndClose(ok(""))).await;
    let connections = Connections::new(Tls::new(&Default::default(), true).unwrap(), Proxies::default());
    let parsed = RequestUrl::parse(&url).unwrap();
    for _ in 0..3 {
        let exchange = connections.send(&parsed, Request::new(Full::default())).await.unwrap();
        let Connection { sender: Sender::Http1(sender), .. } = &exchange.connection else { panic!("HTTP/2") };
        while !sender.is_closed() {
            tokio::task::yield_now().await;
        }
        connections.keep(exchange);
    }
    connections.idle.lock().sweep();
    assert_eq!(connections.idle.lock().count, 0);
}

#[tokio::test(start_paused = true)]
async fn a_shared_connection_stays_open_while_it_is_used() {
    let connections = Connections::new(Tls::new(&Default::default(), true).unwrap(), Proxies::default());
    let server = Server { is_https: true, host: "h".into(), zone: String::new(), port: 443, generation: 0 };
    let (near, _far) = tokio::io::duplex(4096);
    let (sender, running) = http2::handshake(TokioExecutor::new(), TokioIo::new(near)).await.unwrap();
    tokio::spawn(running);
    let connection = Connection { sender: Sender::Http2(sender), received: Arc::default(), idle_since: Instant::now() };
    connections.put_back(server.clone(), connection);
    for _ in 0..3 {
        tokio::time::advance(IDLE_TIMEOUT * 2 / 3).await;
        let connection = connections.take(&server).await.expect("it is used");
        connections.put_back(server.clone(), connection);
    }
    assert_eq!(connections.idle.lock().count, 1);
    tokio::time::advance(IDLE_TIMEOUT).await;
    assert!(connections.take(&server).await.is_none());
}
