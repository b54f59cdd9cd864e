//! The answer to one request of a stream: first its status, then lines, while the request is
//! still being sent.

use std::future::Future;
use std::pin::Pin;

use reqwest::{RequestBuilder, Response};

use super::super::error::Error;
use super::super::exchange::once;
use super::super::lines::Lines;
use crate::wire::answer::{self, Line};

/// What comes as the answer to a request.
pub(super) enum Answers {
    Waiting(Pin<Box<dyn Future<Output = Result<Response, Error>> + Send>>),
    Coming(Lines),
}

impl Answers {
    /// Sends a request.
    pub(super) fn to(request: RequestBuilder) -> Self {
        Self::Waiting(Box::pin(once(request)))
    }

    /// The next line of the answer; `None` at its end. Nothing is lost when the future is
    /// dropped.
    ///
    /// # Errors
    /// The request was refused, or the connection is lost.
    pub(super) async fn next(&mut self) -> Result<Option<Line>, Error> {
        loop {
            match self {
                Self::Waiting(answer) => *self = Self::Coming(Lines::of(answer.await?)),
                Self::Coming(lines) => return lines.next().await?.map(parse).transpose(),
            }
        }
    }

    /// The next line, if it has come already.
    ///
    /// # Errors
    /// When it is none.
    pub(super) fn ready(&mut self) -> Result<Option<Line>, Error> {
        match self {
            Self::Waiting(_) => Ok(None),
            Self::Coming(lines) => lines.ready().map(parse).transpose(),
        }
    }
}

#[expect(clippy::needless_pass_by_value, reason = "so that it can be mapped over")]
fn parse(line: bytes::Bytes) -> Result<Line, Error> {
    Ok(answer::line(&line)?)
}
