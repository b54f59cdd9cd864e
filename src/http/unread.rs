//! The body of a request, kept until its answer has ended.
//!
//! A handler may have its answer before it has read the body. With HTTP/1.1 the framework then reads
//! and throws away what the client still sends, for a while, says `Connection: close`, and closes;
//! acks that the client has not read yet would go with a reset. But a body in chunks that is dropped
//! before its answer has ended it means to read to the end, without a limit, and to keep the
//! connection; and where nobody has read for a while, it waits for a reader to wake it (actix-http
//! 3.20, `read_available`). Then client and connection wait for ever. A body that is kept it treats
//! as any other.

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use actix_web::HttpMessage as _;
use actix_web::dev::{Payload, ServiceRequest};
use actix_web::error::PayloadError;
use bytes::Bytes;
use futures::stream::{Stream, StreamExt as _};

/// A body that lives as long as any of its owners.
#[derive(Clone)]
pub(super) struct Kept(Rc<RefCell<Payload>>);

impl Kept {
    /// Shares a request's body with whoever reads it, where it comes in chunks.
    pub(super) fn of(request: &mut ServiceRequest) -> Option<Self> {
        if !request.chunked().unwrap_or(false) {
            return None;
        }
        let kept = Self(Rc::new(RefCell::new(request.take_payload())));
        request.set_payload(Payload::Stream { payload: Box::pin(kept.clone()) });
        Some(kept)
    }
}

impl Stream for Kept {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.borrow_mut().poll_next_unpin(context)
    }
}
