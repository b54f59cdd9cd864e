//! Every error that a client can get: the contract's table as one enum, and the RFC 9457 body.
//!
//! Invariants: nothing internal (SQL, paths, versions) gets into a problem; `committed` is
//! `unknown` only for `outcome-unknown`.

use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use actix_web::{HttpResponse, ResponseError};

use crate::domain::Head;
use crate::metrics;
use crate::wire::head::HeadJson;
use crate::wire::problem::ProblemJson;

/// The code of a problem: what a program decides by. Each is a row of the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorCode {
    Malformed,
    Unauthenticated,
    Forbidden,
    TopicNotFound,
    TransactionNotFound,
    KeyNotFound,
    ConsumerNotFound,
    NotFound,
    MethodNotAllowed,
    RequestTimeout,
    ProducerGap,
    ProducerFenced,
    NotAcceptable,
    UnsupportedMediaType,
    PreconditionFailed,
    TooLarge,
    Invalid,
    IdempotencyMismatch,
    RateLimited,
    Internal,
    Overloaded,
    Unavailable,
    ShuttingDown,
    ReadOnly,
    OutcomeUnknown,
}

impl ErrorCode {
    /// All of them, for documents and tests.
    pub const ALL: [Self; 25] = [
        Self::Malformed,
        Self::Unauthenticated,
        Self::Forbidden,
        Self::TopicNotFound,
        Self::TransactionNotFound,
        Self::KeyNotFound,
        Self::ConsumerNotFound,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::RequestTimeout,
        Self::ProducerGap,
        Self::ProducerFenced,
        Self::NotAcceptable,
        Self::UnsupportedMediaType,
        Self::PreconditionFailed,
        Self::TooLarge,
        Self::Invalid,
        Self::IdempotencyMismatch,
        Self::RateLimited,
        Self::Internal,
        Self::Overloaded,
        Self::Unavailable,
        Self::ShuttingDown,
        Self::ReadOnly,
        Self::OutcomeUnknown,
    ];

    /// Code, status and title: the one table.
    const fn row(self) -> (&'static str, u16, &'static str) {
        match self {
            Self::Malformed => ("malformed", 400, "The request is malformed"),
            Self::Unauthenticated => ("unauthenticated", 401, "A valid token is needed"),
            Self::Forbidden => ("forbidden", 403, "This is not allowed"),
            Self::TopicNotFound => ("topic-not-found", 404, "The topic does not exist"),
            Self::TransactionNotFound => {
                ("transaction-not-found", 404, "The transaction does not exist")
            }
            Self::KeyNotFound => ("key-not-found", 404, "The key is not on the surface"),
            Self::ConsumerNotFound => ("consumer-not-found", 404, "The consumer does not exist"),
            Self::NotFound => ("not-found", 404, "There is nothing here"),
            Self::MethodNotAllowed => ("method-not-allowed", 405, "The method is not allowed here"),
            Self::RequestTimeout => ("request-timeout", 408, "The request did not come in time"),
            Self::ProducerGap => ("producer-gap", 409, "Lines of the producer are missing"),
            Self::ProducerFenced => ("producer-fenced", 403, "A newer producer has taken over"),
            Self::NotAcceptable => ("not-acceptable", 406, "No such representation"),
            Self::UnsupportedMediaType => {
                ("unsupported-media-type", 415, "The body has an unsupported type")
            }
            Self::PreconditionFailed => ("precondition-failed", 412, "The condition does not hold"),
            Self::TooLarge => ("too-large", 413, "Something is over its limit"),
            Self::Invalid => ("invalid", 422, "The request breaks a rule"),
            Self::IdempotencyMismatch => {
                ("idempotency-mismatch", 422, "The idempotency key was used for something else")
            }
            Self::RateLimited => ("rate-limited", 429, "Too many requests"),
            Self::Internal => ("internal", 500, "Something is broken in the service"),
            Self::Overloaded => ("overloaded", 503, "Too much is under way"),
            Self::Unavailable => ("unavailable", 503, "The store is not available"),
            Self::ShuttingDown => ("shutting-down", 503, "The service is shutting down"),
            Self::ReadOnly => ("read-only", 503, "The service takes no writes"),
            Self::OutcomeUnknown => ("outcome-unknown", 504, "The store was lost while committing"),
        }
    }

    /// The code as text.
    #[must_use]
    pub const fn code(self) -> &'static str {
        self.row().0
    }

    /// The HTTP status.
    #[must_use]
    pub fn status(self) -> StatusCode {
        StatusCode::from_u16(self.row().1).expect("the table has only valid statuses")
    }

    /// The title, always the same for a code.
    #[must_use]
    pub const fn title(self) -> &'static str {
        self.row().2
    }

    /// Whether the same request may succeed later.
    #[must_use]
    pub const fn retryable(self) -> bool {
        matches!(
            self,
            Self::RequestTimeout
                | Self::RateLimited
                | Self::Overloaded
                | Self::Unavailable
                | Self::ShuttingDown
                | Self::ReadOnly
                | Self::OutcomeUnknown
        )
    }

    /// What is certain about writing: `"no"` or `"unknown"`.
    #[must_use]
    pub const fn committed(self) -> &'static str {
        match self {
            Self::OutcomeUnknown => "unknown",
            _ => "no",
        }
    }
}

/// An error as a client gets it.
#[derive(Clone, Debug)]
pub struct Problem {
    /// What a program decides by.
    pub code: ErrorCode,
    /// What a person reads.
    pub detail: String,
    /// JSON pointer (RFC 6901) to what is wrong in the body.
    pub pointer: Option<String>,
    /// The line of a stream, from 1, that is wrong.
    pub line: Option<u64>,
    /// Further members of the body.
    pub extra: Extra,
    /// For `Retry-After`.
    pub retry_after: Option<Duration>,
}

/// Members that only some problems have.
#[derive(Clone, Debug, Default)]
pub enum Extra {
    /// None.
    #[default]
    Nothing,
    /// `head`, with `precondition-failed` on a topic.
    Head(Head),
    /// `expected`, with `producer-gap`: the line number that is expected next.
    Expected(u64),
    /// `epoch`, with `producer-fenced`: the highest seen.
    Epoch(u64),
    /// The header `Allow`, with `method-not-allowed`.
    Allow(&'static str),
}

impl Problem {
    /// A problem without a place.
    #[must_use]
    pub fn new(code: ErrorCode, detail: impl Into<String>) -> Self {
        let retry_after = (code.status().as_u16() == 503 || code == ErrorCode::RateLimited)
            .then_some(Duration::from_secs(1));
        let detail = detail.into();
        Self { code, detail, pointer: None, line: None, extra: Extra::Nothing, retry_after }
    }

    /// The same, at a JSON pointer of the body.
    #[must_use]
    pub fn at(mut self, pointer: impl Into<String>) -> Self {
        self.pointer = Some(pointer.into());
        self
    }

    /// The same, at a line (from 1) of the stream.
    #[must_use]
    pub fn on_line(mut self, line: u64) -> Self {
        self.line = Some(line);
        self
    }

    /// The same, with a further member.
    #[must_use]
    pub fn with(mut self, extra: Extra) -> Self {
        self.extra = extra;
        self
    }

    /// The JSON body, for an answer or inside a stream. Counts the problem: it is made once, for
    /// the client that gets it.
    #[must_use]
    pub fn json<'a>(&'a self, request_id: &'a str) -> ProblemJson<'a> {
        metrics::http_problems(self.code.code(), 1);
        let (head, expected, epoch) = match self.extra {
            Extra::Nothing | Extra::Allow(_) => (None, None, None),
            Extra::Head(head) => (Some(head.map(HeadJson::from)), None, None),
            Extra::Expected(line) => (None, Some(line), None),
            Extra::Epoch(epoch) => (None, None, Some(epoch)),
        };
        ProblemJson {
            kind: format!("/problems/{}", self.code.code()).into(),
            title: self.code.title().into(),
            status: self.code.status().as_u16(),
            detail: self.detail.as_str().into(),
            code: self.code.code().into(),
            retryable: self.code.retryable(),
            committed: self.code.committed().into(),
            request_id: request_id.into(),
            pointer: self.pointer.as_deref().map(Into::into),
            line: self.line,
            head,
            expected,
            epoch,
        }
    }
}

impl Problem {
    /// The answer to the request of this id.
    #[must_use]
    pub fn response(&self, request_id: &str) -> HttpResponse {
        let mut response = HttpResponse::build(self.code.status());
        response.content_type("application/problem+json");
        if let Some(wait) = self.retry_after {
            response.insert_header((RETRY_AFTER, wait.as_secs_f64().ceil().max(1.0) as u64));
        }
        if self.code == ErrorCode::Unauthenticated {
            response.insert_header((WWW_AUTHENTICATE, "Bearer realm=\"tidelog\""));
            response.append_header((WWW_AUTHENTICATE, "Basic realm=\"tidelog\""));
        }
        if self.code == ErrorCode::UnsupportedMediaType {
            response.insert_header(("Accept-Encoding", "gzip, zstd"));
        }
        if let Extra::Allow(methods) = self.extra {
            response.insert_header(("Allow", methods));
        }
        response.json(self.json(request_id))
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.code.code(), self.detail)
    }
}

impl std::error::Error for Problem {}

/// The framework carries a problem as an error; its body is made by `observe`, which knows the
/// request's id.
impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        self.code.status()
    }
}
