//! Lets go of what is held for a client that does not read.
//!
//! The framework asks a body for more only while the connection has room. So a body that was
//! taken from and is not asked again belongs to a client that does not read, and nothing that the
//! body itself does will ever run again. A task beside it looks after that: it drops the stream
//! behind the body. On HTTP/1.1 the kernel ends the connection at about the same time
//! (`connection.rs`); on HTTP/2, where a client may stop one answer and read others on the same
//! connection, the answer is reset once the client asks for more.

use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use actix_web::HttpRequest;
use bytes::Bytes;
use futures::stream::Stream;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use super::access::Progress;
use super::observe::request_id;
use super::problem::{ErrorCode, Problem};
use crate::metrics;

type Pieces = Pin<Box<dyn Stream<Item = Result<Bytes, Problem>>>>;

/// What the body and the task beside it share.
struct Shared {
    /// `None` once it was let go.
    pieces: RefCell<Option<Pieces>>,
    /// Since when a piece is out and no other was asked for.
    waits: Cell<Option<Instant>>,
}

struct Guarded {
    shared: Rc<Shared>,
    watch: JoinHandle<()>,
}

/// The same stream, let go of once the client has left a piece unread for `stall`. Must be called
/// on a thread that serves HTTP.
pub(super) fn guarded<S: Stream<Item = Result<Bytes, Problem>> + 'static>(
    request: &HttpRequest,
    pieces: S,
    stall: Duration,
) -> impl Stream<Item = Result<Bytes, Problem>> + use<S> {
    let pieces: Pieces = Box::pin(pieces);
    let shared = Rc::new(Shared { pieces: RefCell::new(Some(pieces)), waits: Cell::new(None) });
    let watching = watch(Rc::clone(&shared), stall, request_id(request), Progress::of(request));
    let watch = actix_web::rt::spawn(watching);
    Guarded { shared, watch }
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
    shared.pieces.take();
}

impl Stream for Guarded {
    type Item = Result<Bytes, Problem>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.shared.waits.set(None);
        let mut pieces = self.shared.pieces.borrow_mut();
        let Some(stream) = pieces.as_mut() else {
            let late = Problem::new(ErrorCode::RequestTimeout, "the answer was not read in time");
            return Poll::Ready(Some(Err(late)));
        };
        let next = stream.as_mut().poll_next(context);
        if let Poll::Ready(Some(_)) = next {
            self.shared.waits.set(Some(Instant::now()));
        }
        next
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        self.watch.abort();
    }
}
