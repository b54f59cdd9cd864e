//! Lets go of what is held for a client that does not read: of every answer that is streamed.
//!
//! The framework asks a body for more only while the connection has room. So a body that was
//! taken from and is not asked again belongs to a client that does not read, and nothing that the
//! body itself does will ever run again. A task beside it looks after that: it drops what is
//! behind the body. On HTTP/1.1 the kernel ends the connection at about the same time
//! (`connection.rs`); on HTTP/2, where a client may stop one answer and read others on the same
//! connection, the answer is reset once the client asks for more.
//!
//! It stands around everything else, also around what compresses, which takes pieces that it does
//! not give away at once.

use std::cell::{Cell, RefCell};
use std::future::Ready;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use actix_web::Error;
use actix_web::body::{BodySize, BoxBody, EitherBody, MessageBody};
use actix_web::dev::{Service, ServiceRequest, ServiceResponse, Transform, forward_ready};
use actix_web::web::Data;
use bytes::Bytes;
use futures::TryFutureExt as _;
use futures::future::MapOk;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use super::access::Progress;
use super::app::App;
use super::observe::request_id;
use super::problem::{ErrorCode, Problem};
use crate::metrics;

/// What is handed to the connection at once. The framework asks for more when all of it has left, so a
/// client that takes as much in time reads, however slowly.
const PIECE_BYTES: usize = 64 << 10;

/// See the module.
pub(super) struct Stall;

/// What `Stall` makes of a service.
pub(super) struct Watching<S> {
    service: S,
}

impl<S, B> Transform<S, ServiceRequest> for Stall
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error>,
    B: MessageBody + 'static,
{
    type Response = ServiceResponse<EitherBody<B>>;
    type Error = Error;
    type Transform = Watching<S>;
    type InitError = ();
    type Future = Ready<Result<Self::Transform, ()>>;

    fn new_transform(&self, service: S) -> Self::Future {
        std::future::ready(Ok(Watching { service }))
    }
}

impl<S, B> Service<ServiceRequest> for Watching<S>
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error>,
    B: MessageBody + 'static,
{
    type Response = ServiceResponse<EitherBody<B>>;
    type Error = Error;
    type Future = MapOk<S::Future, fn(ServiceResponse<B>) -> Self::Response>;

    forward_ready!(service);

    fn call(&self, request: ServiceRequest) -> Self::Future {
        self.service.call(request).map_ok(watched)
    }
}

/// The same answer; but if it is streamed, it is let go of once the client has left a piece unread for
/// `read_stall_timeout`.
fn watched<B: MessageBody + 'static>(
    response: ServiceResponse<B>,
) -> ServiceResponse<EitherBody<B>> {
    if response.response().body().size() != BodySize::Stream {
        return response.map_into_left_body();
    }
    let request = response.request();
    let app = request.app_data::<Data<App>>().expect("every service has its state");
    let stall = app.limits.read_stall_timeout;
    let (request_id, progress) = (request_id(request), Progress::of(request));
    response.map_body(|_, body| {
        let held = Held { body: BoxBody::new(body), rest: Bytes::new() };
        let shared = Rc::new(Shared { held: RefCell::new(Some(held)), waits: Cell::new(None) });
        let watching = watch(Rc::clone(&shared), stall, request_id, progress);
        let watch = actix_web::rt::spawn(watching);
        EitherBody::right(BoxBody::new(Watched { shared, watch }))
    })
}

/// What is held for a client.
struct Held {
    body: BoxBody,
    /// What was not handed over yet of what the body gave.
    rest: Bytes,
}

/// What the body and the task beside it share.
struct Shared {
    /// `None` once it was let go.
    held: RefCell<Option<Held>>,
    /// Since when a piece is out and no other was asked for.
    waits: Cell<Option<Instant>>,
}

struct Watched {
    shared: Rc<Shared>,
    watch: JoinHandle<()>,
}

async fn watch(shared: Rc<Shared>, stall: Duration, request_id: String, progress: Rc<Progress>) {
    loop {
        let due = shared.waits.get().unwrap_or_else(Instant::now) + stall;
        if due <= Instant::now() {
            break;
        }
        sleep_until(due).await;
    }
    metrics::answer_cut();
    let seconds = stall.as_secs_f64();
    tracing::info!(request_id, seconds, "an answer was not read; it is cut");
    progress.failed(ErrorCode::RequestTimeout);
    shared.held.take();
}

impl MessageBody for Watched {
    type Error = Box<dyn std::error::Error>;

    fn size(&self) -> BodySize {
        BodySize::Stream
    }

    fn poll_next(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Self::Error>>> {
        self.shared.waits.set(None);
        let mut held = self.shared.held.borrow_mut();
        let Some(Held { body, rest }) = held.as_mut() else {
            let late = Problem::new(ErrorCode::RequestTimeout, "the answer was not read in time");
            return Poll::Ready(Some(Err(late.into())));
        };
        if rest.is_empty() {
            match ready!(Pin::new(body).poll_next(context)) {
                Some(Ok(bytes)) => *rest = bytes,
                end => return Poll::Ready(end),
            }
        }
        self.shared.waits.set(Some(Instant::now()));
        Poll::Ready(Some(Ok(rest.split_to(rest.len().min(PIECE_BYTES)))))
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.shared.held.take(); // The task ends only when it is its turn.
        self.watch.abort();
    }
}
