//! Bodies that report who their exchange waits for. A request's body also has a deadline.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::BoxError;
use axum::body::{Body, Bytes};
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use tokio::time::{Sleep, sleep};

use super::activity::Exchange;

/// The body of a request.
pub(super) struct RequestBody {
    inner: Incoming,
    exchange: Arc<Exchange>,
    deadline: Option<(Duration, Pin<Box<Sleep>>)>,
}

/// The error of a body that did not arrive in time.
#[derive(Debug, thiserror::Error)]
#[error("the body of the request did not arrive within {0:?}, the limit --web.read-timeout")]
struct TooSlow(Duration);

impl RequestBody {
    /// Wraps a body. If `within` is set, the whole of it must arrive in that time.
    pub(super) fn new(inner: Incoming, exchange: Arc<Exchange>, within: Option<Duration>) -> Self {
        let within = within.filter(|_| !inner.is_end_stream());
        RequestBody { inner, exchange, deadline: within.map(|within| (within, Box::pin(sleep(within)))) }
    }
}

impl HttpBody for RequestBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        if let Poll::Ready(frame) = Pin::new(&mut this.inner).poll_frame(cx) {
            this.exchange.serve();
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        this.exchange.wait_for_client();
        let Some((within, deadline)) = &mut this.deadline else { return Poll::Pending };
        deadline.as_mut().poll(cx).map(|()| {
            this.exchange.serve();
            Some(Err(TooSlow(*within).into()))
        })
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// The body of an answer.
pub(super) struct AnswerBody {
    inner: Body,
    exchange: Arc<Exchange>,
}

impl AnswerBody {
    /// Wraps a body.
    pub(super) fn new(inner: Body, exchange: Arc<Exchange>) -> Self {
        AnswerBody { inner, exchange }
    }
}

impl HttpBody for AnswerBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = Pin::new(&mut self.inner).poll_frame(cx);
        match frame {
            Poll::Ready(_) => self.exchange.wait_for_client(),
            Poll::Pending => self.exchange.serve(),
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
