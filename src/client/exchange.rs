//! One request and its answer, and the same again where the first came to nothing.
//!
//! Invariant: what is sent again is safe to send again: a read, a write with a name, or a consumer's
//! position.

use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{HeaderMap, RETRY_AFTER};
use reqwest::{Method, RequestBuilder, Response};

use super::connect::Client;
use super::error::{Committed, Error};
use crate::wire::problem::problem;

/// A successful answer as a whole.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// Sends a request once; an answer that is no success is an error.
pub(super) async fn once(request: RequestBuilder) -> Result<Response, Error> {
    let answer = request.send().await.map_err(Error::connection)?;
    if answer.status().is_success() { Ok(answer) } else { Err(refused(answer).await) }
}

/// Why a request was refused.
async fn refused(answer: Response) -> Error {
    let status = answer.status().as_u16();
    let seconds = answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
    let seconds = seconds.and_then(|text| text.parse().ok());
    // Without its body the status still counts.
    let body = answer.bytes().await.unwrap_or_default();
    let error = match problem(&body) {
        Some(problem) => Error::of_problem(problem),
        None => Error::status(status, &String::from_utf8_lossy(&body)),
    };
    error.after(seconds.map(|seconds: u64| Duration::from_secs(seconds.min(60))))
}

/// Sends a request once and takes the whole answer.
async fn whole(request: RequestBuilder) -> Result<Answer, Error> {
    let answer = once(request).await?;
    let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
    // It was a success, though we do not know which.
    let lost = |error| Error::connection(error).with(Committed::Yes);
    Ok(Answer { status, headers, body: answer.bytes().await.map_err(lost)? })
}

impl Client {
    /// Sends the same request until it is answered for good, or patience ends. What it is said to
    /// have written is what all its sendings together may have.
    pub(super) async fn persist(
        &self,
        request: impl Fn() -> RequestBuilder,
    ) -> Result<Answer, Error> {
        let mut patience = self.patience();
        let mut known = Committed::No;
        loop {
            let error = match whole(request()).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            known = both(known, error.committed());
            if !patience.again(&error).await {
                return Err(error.with(known));
            }
        }
    }

    /// The same of a request with a name, which is answered a second time as it was the first.
    pub(super) async fn exchange(
        &self,
        request: impl Fn() -> RequestBuilder,
    ) -> Result<Answer, Error> {
        self.persist(request).await.map_err(|error| {
            // A condition that does not hold will not hold for an earlier sending either, and
            // none of them was written before, or its answer would have come now.
            let certain = error.code() == Some("precondition-failed");
            if certain { error.with(Committed::No) } else { error }
        })
    }

    /// Reads.
    pub(super) async fn get(&self, path: &str, query: &[(&str, &str)]) -> Result<Bytes, Error> {
        let answer = self.exchange(|| self.request(Method::GET, path, query)).await;
        Ok(answer.map_err(|error| error.with(Committed::No))?.body)
    }
}

/// What is certain after two attempts.
fn both(one: Committed, two: Committed) -> Committed {
    match (one, two) {
        (Committed::Yes, _) | (_, Committed::Yes) => Committed::Yes,
        (Committed::Unknown, _) | (_, Committed::Unknown) => Committed::Unknown,
        (Committed::No, Committed::No) => Committed::No,
    }
}
