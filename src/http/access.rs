//! The line that a request leaves in the log, and its metrics: when it has ended, which for a stream
//! is when its last piece was sent, or its client had gone.
//!
//! Invariants: one line a request, however it ends; label values are from closed sets, and a path
//! nobody serves is one route, `other`.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::{Method, Uri};
use actix_web::web::Data;
use actix_web::{HttpMessage as _, HttpRequest};
use bytes::Bytes;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::app::App;
use super::auth::TokenName;
use super::observe::RequestId;
use super::problem::ErrorCode;
use super::unread::Kept;
use crate::metrics;

/// What is noted of a request whose client has gone before there was an answer.
const GONE: u16 = 499;

/// The path of a resource, with names in place of what differs.
#[derive(Clone, Copy)]
pub(super) struct Route(pub(super) &'static str);

/// How far a stream of writes has come, where the handler knows better than the body shows.
#[derive(Default)]
pub(super) struct Progress {
    acknowledged: Cell<Option<(u64, u64)>>,
    failure: Cell<Option<ErrorCode>>,
}

impl Progress {
    /// That of a request.
    pub(super) fn of(request: &HttpRequest) -> Rc<Self> {
        request.extensions().get::<Rc<Self>>().cloned().unwrap_or_default()
    }

    /// So many lines are acknowledged, so many events written.
    pub(super) fn acknowledged(&self, lines: u64, written: u64) {
        self.acknowledged.set(Some((lines, written)));
    }

    /// The stream ends because of this.
    pub(super) fn failed(&self, code: ErrorCode) {
        self.failure.set(Some(code));
    }
}

/// What is known once there is an answer.
struct Answered {
    status: u16,
    route: &'static str,
    topic: String,
    token: Option<String>,
    /// The body comes in pieces, and the client waits for its end.
    stream: bool,
}

/// A request, until it has ended. Its line is written when this is dropped.
pub(super) struct Line {
    /// Its client may go away at any time: so it counts for as long as this is there.
    _active: TaskTrackerToken,
    began: Instant,
    id: RequestId,
    method: &'static str,
    uri: Uri,
    progress: Rc<Progress>,
    answered: Option<Answered>,
    /// Line feeds in the body of a stream.
    lines: u64,
    end: Option<&'static str>,
}

impl Line {
    /// A request begins.
    pub(super) fn begin(request: &ServiceRequest, id: RequestId, progress: Rc<Progress>) -> Self {
        let method = method_label(request.method());
        let (began, uri) = (Instant::now(), request.uri().clone());
        let app = request.app_data::<Data<App>>().expect("every service has its state");
        let _active = app.requests.token();
        Self { _active, began, id, method, uri, progress, answered: None, lines: 0, end: None }
    }

    /// It has an answer, whose body may still have to be sent.
    pub(super) fn answered(&mut self, response: &ServiceResponse<BoxBody>) {
        let request = response.request();
        let token = request.extensions().get::<TokenName>().map(|token| token.0.clone());
        self.answered = Some(Answered {
            status: response.status().as_u16(),
            route: request.app_data::<Route>().map_or("other", |route| route.0),
            topic: request.match_info().get("topic").unwrap_or("-").to_owned(),
            token,
            stream: response.response().body().size() == BodySize::Stream && self.method != "HEAD",
        });
    }

    /// A piece of the body is sent.
    fn sent(&mut self, piece: &[u8]) {
        self.lines += memchr::memchr_iter(b'\n', piece).count() as u64;
        if let Some(code) = failure(piece) {
            self.progress.failed(code);
        }
    }

    fn write(&self, answered: &Answered, ms: f64) {
        let Answered { status, route, topic, token, stream } = answered;
        let (lines, written) = match self.progress.acknowledged.get() {
            Some((lines, written)) => (Some(lines), Some(written)),
            None => (stream.then_some(self.lines), None),
        };
        let failure = self.progress.failure.get();
        let end = match failure {
            Some(code) => Some(code.code()),
            None if *stream => Some(self.end.unwrap_or("client gone")),
            None => None,
        };
        let broken = *status >= 500 || failure.is_some_and(|code| code.status().as_u16() >= 500);
        let (method, request_id) = (self.method, self.id.as_str());
        let token = token.as_deref().unwrap_or("-");
        if broken {
            tracing::warn!(
                method, route, topic, status, ms, lines, written, end, token, request_id, "request"
            );
        } else {
            tracing::info!(
                method, route, topic, status, ms, lines, written, end, token, request_id, "request"
            );
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        let took = self.began.elapsed();
        let ms = (took.as_secs_f64() * 1e6).round() / 1e3;
        let Some(answered) = self.answered.take() else {
            let (method, path, request_id) = (self.method, self.uri.path(), self.id.as_str());
            tracing::info!(method, path, status = GONE, ms, request_id, "request");
            return metrics::http_answered(method, "other", GONE, took);
        };
        self.write(&answered, ms);
        metrics::http_answered(self.method, answered.route, answered.status, took);
    }
}

/// The code in the last line of a stream of events that could not go on.
fn failure(piece: &[u8]) -> Option<ErrorCode> {
    let code = piece.strip_prefix(b"{\"error\":{\"type\":\"/problems/")?;
    let code = code.split(|byte| *byte == b'"').next()?;
    ErrorCode::ALL.into_iter().find(|known| known.code().as_bytes() == code)
}

fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        _ => "other",
    }
}

/// A body, the line that is written at its end, and the request's body, if that has to be kept so long.
pub(super) struct Told {
    pub(super) body: BoxBody,
    pub(super) line: Line,
    pub(super) unread: Option<Kept>,
}

impl MessageBody for Told {
    type Error = <BoxBody as MessageBody>::Error;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Self::Error>>> {
        let piece = ready!(Pin::new(&mut self.body).poll_next(context));
        match &piece {
            Some(Ok(piece)) => self.line.sent(piece),
            Some(Err(_)) => self.line.end = Some("failed"),
            None => self.line.end = Some("complete"),
        }
        Poll::Ready(piece)
    }

    fn try_into_bytes(self) -> Result<Bytes, Self> {
        if self.unread.is_some() {
            return Err(self); // Bytes would outlive it.
        }
        let Self { body, line, unread } = self;
        body.try_into_bytes().map_err(|body| Self { body, line, unread })
    }
}
