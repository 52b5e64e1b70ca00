//! Streams that break while a request is on them.

use std::collections::VecDeque;
use std::pin::Pin;

use futures::Stream;
use pharos_model::{TenantId, WriteBatch};
use tonic::service::Routes;
use tonic::{Request, Response, Status};
use tower::ServiceExt;

use super::*;
use crate::append::Action;
use crate::ingest_v1::ingest_server::{Ingest, IngestServer};

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// How a stream answers its requests.
#[derive(Clone, Copy)]
enum Behaviour {
    Answers,
    Breaks,
    /// Answers one request and breaks at the next.
    BreaksLater,
    Hangs,
}

/// An ingester whose streams behave as planned, one after the other, and well once the plan is used up.
#[derive(Clone, Default)]
struct Fake {
    plan: Arc<Mutex<VecDeque<Behaviour>>>,
    /// Requests that have arrived.
    arrived: Arc<AtomicU64>,
}

#[async_trait]
impl Ingest for Fake {
    type AppendStream = Answers<wire::AppendResponse>;
    type CopyStream = Answers<wire::CopyResponse>;

    async fn append(
        &self,
        requests: Request<Streaming<wire::AppendRequest>>,
    ) -> Result<Response<Self::AppendStream>, Status> {
        let mut behaviour = lock(&self.plan).pop_front().unwrap_or(Behaviour::Answers);
        let (mut requests, arrived) = (requests.into_inner(), self.arrived.clone());
        let (sender, receiver) = mpsc::channel(1);
        tokio::spawn(async move {
            while let Ok(Some(request)) = requests.message().await {
                arrived.fetch_add(1, Ordering::Relaxed);
                let answer = match behaviour {
                    Behaviour::Answers | Behaviour::BreaksLater => {
                        Ok(wire::AppendResponse { id: request.id, ..wire::AppendResponse::default() })
                    }
                    Behaviour::Breaks => Err(Status::unavailable("connection lost")),
                    Behaviour::Hangs => continue,
                };
                if let Behaviour::BreaksLater = behaviour {
                    behaviour = Behaviour::Breaks;
                }
                let is_over = answer.is_err();
                if sender.send(answer).await.is_err() || is_over {
                    return;
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }

    async fn copy(&self, _: Request<wire::CopyRequest>) -> Result<Response<Self::CopyStream>, Status> {
        Err(Status::unimplemented("not part of the test"))
    }

    async fn learning(&self, _: Request<wire::LearningRequest>) -> Result<Response<wire::LearningResponse>, Status> {
        Err(Status::unimplemented("not part of the test"))
    }

    async fn statistics(
        &self,
        _: Request<wire::StatisticsRequest>,
    ) -> Result<Response<wire::StatisticsResponse>, Status> {
        Err(Status::unimplemented("not part of the test"))
    }
}

fn client_of(plan: &[Behaviour]) -> (IngestClient, Fake) {
    let fake = Fake { plan: Arc::new(Mutex::new(plan.iter().copied().collect())), ..Fake::default() };
    let routes = Routes::new(IngestServer::new(fake.clone()));
    let connection = Connection::new(tower::service_fn(move |request: http::Request<tonic::body::Body>| {
        let routes = routes.clone();
        async move { routes.oneshot(request).await.map_err(|never| match never {}) }
    }));
    (IngestClient::new(connection), fake)
}

async fn append(client: &IngestClient) -> Result<(), ReplicaError> {
    let (tenant, batch) = (TenantId::default(), WriteBatch::default());
    let shipment =
        Shipment { action: Action::Append, tenant: &tenant, batch: &batch, deletions: None, shards: Vec::new() };
    client.append(&shipment, &[]).await.map(drop)
}

#[tokio::test]
async fn an_append_on_an_old_stream_that_breaks_is_sent_again_on_a_new_one() {
    let (client, fake) = client_of(&[Behaviour::BreaksLater]);
    append(&client).await.unwrap();
    append(&client).await.unwrap();
    assert_eq!(fake.arrived.load(Ordering::Relaxed), 3);
}

#[tokio::test]
async fn an_append_is_sent_again_only_once() {
    let (client, fake) = client_of(&[Behaviour::BreaksLater, Behaviour::Breaks]);
    append(&client).await.unwrap();
    assert!(matches!(append(&client).await, Err(ReplicaError::Unreachable(_))));
    assert_eq!(fake.arrived.load(Ordering::Relaxed), 3);
}

#[tokio::test]
async fn an_append_on_a_new_stream_that_breaks_fails_at_once() {
    let (client, fake) = client_of(&[Behaviour::Breaks]);
    assert!(matches!(append(&client).await, Err(ReplicaError::Unreachable(_))));
    assert_eq!(fake.arrived.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn appends_to_a_peer_that_is_stuck_are_not_sent_again() {
    let (client, fake) = client_of(&[Behaviour::Hangs]);
    let (first, second) =
        tokio::join!(tokio::time::timeout(LATE + Duration::from_millis(100), append(&client)), append(&client));
    assert!(first.is_err(), "its sender gives up");
    let reason = second.unwrap_err().to_string();
    assert_eq!(reason, "an answer took too long");
    assert_eq!(fake.arrived.load(Ordering::Relaxed), 2);
}
