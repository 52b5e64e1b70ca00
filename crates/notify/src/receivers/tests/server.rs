//! An HTTP server that keeps what it gets.

use std::collections::VecDeque;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::response::Response;
use parking_lot::Mutex;

/// A request that arrived.
#[derive(Clone, Debug)]
pub(super) struct Received {
    pub(super) method: String,
    /// The path and query.
    pub(super) path: String,
    headers: HeaderMap,
    pub(super) body: String,
}

impl Received {
    /// A header; empty if there is none.
    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The body as JSON.
    pub(super) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

/// What the server answers to a request.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    status: u16,
    headers: Vec<(&'static str, &'static str)>,
    body: String,
    never: bool,
}

impl Answer {
    pub(super) fn status(status: u16, body: &str) -> Self {
        Answer { status, headers: Vec::new(), body: body.into(), never: false }
    }

    pub(super) fn text(body: &str) -> Self {
        Answer::status(200, body)
    }

    pub(super) fn json(body: serde_json::Value) -> Self {
        Answer::status(200, &body.to_string()).with_header("Content-Type", "application/json")
    }

    /// No answer at all.
    pub(super) fn never() -> Self {
        Answer { never: true, ..Answer::text("") }
    }

    pub(super) fn with_header(mut self, name: &'static str, value: &'static str) -> Self {
        self.headers.push((name, value));
        self
    }
}

/// What a server answers to a method and a path.
type Reply = fn(&str, &str) -> Answer;

struct Shared {
    answers: Mutex<VecDeque<Answer>>,
    /// What is answered once the others are used up.
    reply: Reply,
    received: Mutex<Vec<Received>>,
}

/// A server on the loopback interface. It stops with the test's runtime.
pub(super) struct Server {
    /// Host and port.
    pub(super) address: String,
    shared: Arc<Shared>,
}

impl Server {
    /// Starts a server that gives these answers in turn, and 200 after them.
    pub(super) async fn start(answers: &[Answer]) -> Self {
        Server::serve(answers, |_, _| Answer::text("")).await
    }

    /// Starts a server whose answers depend on the request.
    pub(super) async fn start_with(reply: Reply) -> Self {
        Server::serve(&[], reply).await
    }

    async fn serve(answers: &[Answer], reply: Reply) -> Self {
        let answers = Mutex::new(answers.iter().cloned().collect());
        let shared = Arc::new(Shared { answers, reply, received: Mutex::default() });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let router = Router::new().fallback(receive).with_state(shared.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Server { address, shared }
    }

    /// The requests that have arrived.
    pub(super) fn requests(&self) -> Vec<Received> {
        self.shared.received.lock().clone()
    }

    /// The requests that have arrived since the last call.
    pub(super) fn take(&self) -> Vec<Received> {
        std::mem::take(&mut *self.shared.received.lock())
    }

    /// The request that has arrived, if it is the only one.
    #[track_caller]
    pub(super) fn only_request(&self) -> Received {
        let [request] = &self.requests()[..] else { panic!("{} requests", self.requests().len()) };
        request.clone()
    }
}

async fn receive(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 24).await.unwrap();
    let received = Received {
        method: head.method.to_string(),
        path: head.uri.path_and_query().map(ToString::to_string).unwrap_or_default(),
        headers: head.headers,
        body: String::from_utf8(body.to_vec()).unwrap(),
    };
    let answer = shared.answers.lock().pop_front();
    let answer = answer.unwrap_or_else(|| (shared.reply)(&received.method, &received.path));
    shared.received.lock().push(received);
    if answer.never {
        std::future::pending::<()>().await;
    }
    let response = answer
        .headers
        .iter()
        .fold(Response::builder().status(answer.status), |response, (name, value)| response.header(*name, *value));
    response.body(Body::from(answer.body)).unwrap()
}
