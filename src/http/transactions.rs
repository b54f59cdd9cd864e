//! Writes that are answered as a whole: a transaction, a single event, an invalidation.

use actix_web::web::Payload;
use actix_web::{HttpRequest, HttpResponse};
use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use super::app::Limits;
use super::auth::Writing;
use super::body::Body;
use super::headers::{Media, content_type, etag, idempotency_key, no_producer_but, precondition};
use super::keep::keep_events;
use super::problem::{ErrorCode, Problem};
use super::query::{Query, position};
use crate::domain::{
    Command, Idempotency, IdempotencyKey, Invalidate, Receipt, TransactionNo, Write,
};
use crate::wire::ack::{AckJson, TransactionJson};
use crate::wire::submitted::{self, BadInput, Events};

const REPLAYED: (&str, &str) = ("Idempotency-Replayed", "true");

impl From<BadInput> for Problem {
    fn from(bad: BadInput) -> Self {
        let code = if bad.malformed { ErrorCode::Malformed } else { ErrorCode::Invalid };
        Self { pointer: bad.pointer, ..Self::new(code, bad.detail) }
    }
}

/// `POST /v1/topics/{topic}/transactions`
pub(super) async fn write(
    request: HttpRequest,
    writing: Writing,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    Query::parse(request.query_string(), &[])?;
    let media = content_type(&request)?;
    let precondition = precondition(&request)?;
    no_producer_but(&request, &[])?;
    let name = idempotency_key(&request)?;
    let Writing { app, topic } = writing;
    let body = Body::new(&request, payload)?.whole(&app).await?;
    let idempotency = name.map(|name| idempotency(name, "transaction", media, &body));
    let received = body.len();
    let mut events = match media {
        Media::Json => submitted::transaction(body)?,
        Media::Ndjson => lines(body)?,
    };
    check(&events, &app.limits)?;
    keep_events(&mut events, received);
    let command = Write { events, precondition, idempotency, producer: None };
    let receipt = app.topics.submit(&topic, Command::Write(command)).await?;
    let mut response = written(&receipt);
    Ok(response.json(TransactionJson::new(topic.as_str(), &receipt)))
}

/// `POST /v1/topics/{topic}/events` with a single event.
pub(super) async fn write_one(
    request: HttpRequest,
    writing: Writing,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    Query::parse(request.query_string(), &[])?;
    let precondition = precondition(&request)?;
    no_producer_but(&request, &[])?;
    let name = idempotency_key(&request)?;
    let Writing { app, topic } = writing;
    let body = Body::new(&request, payload)?.whole(&app).await?;
    let idempotency = name.map(|name| idempotency(name, "event", Media::Json, &body));
    let received = body.len();
    let mut events = submitted::event(body)?;
    check(&events, &app.limits)?;
    keep_events(&mut events, received);
    let command = Write { events, precondition, idempotency, producer: None };
    let receipt = app.topics.submit(&topic, Command::Write(command)).await?;
    Ok(written(&receipt).json(receipt.acks.first().map(AckJson::from)))
}

/// `POST /v1/topics/{topic}/transactions/{n}/invalidation`
pub(super) async fn invalidate(
    request: HttpRequest,
    writing: Writing,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    Query::parse(request.query_string(), &[])?;
    let transaction = transaction_in_path(&request)?;
    if precondition(&request)?.is_some() {
        let detail = "an invalidation takes no If-Match or If-None-Match";
        return Err(Problem::new(ErrorCode::Malformed, detail));
    }
    no_producer_but(&request, &[])?;
    let name = idempotency_key(&request)?;
    let Writing { app, topic } = writing;
    let body = Body::new(&request, payload)?.whole(&app).await?;
    if !body.is_empty() && content_type(&request)? != Media::Json {
        let detail = "Content-Type must be application/json";
        return Err(Problem::new(ErrorCode::UnsupportedMediaType, detail));
    }
    let kind = format!("invalidation {transaction}");
    let idempotency = name.map(|name| idempotency(name, &kind, Media::Json, &body));
    let reason = submitted::invalidation(body)?;
    // A topic that does not exist must not come into being by this.
    if app.reader.head(&topic).await?.is_none() {
        return Err(Problem::new(ErrorCode::TopicNotFound, "no such topic"));
    }
    let command = Invalidate { transaction, reason, idempotency };
    let receipt = app.topics.submit(&topic, Command::Invalidate(command)).await?;
    Ok(written(&receipt).json(receipt.acks.first().map(AckJson::from)))
}

/// The number in `/transactions/{n}`.
///
/// # Errors
/// `malformed` where it is none.
pub(super) fn transaction_in_path(request: &HttpRequest) -> Result<TransactionNo, Problem> {
    let number = position(request.match_info().get("n").unwrap_or_default());
    let bad = || Problem::new(ErrorCode::Malformed, "a transaction is a whole number below 2^53");
    number.map(TransactionNo).ok_or_else(bad)
}

/// 201 where something was written, else 200; with the head as entity tag.
fn written(receipt: &Receipt) -> actix_web::HttpResponseBuilder {
    let mut response = match receipt.transaction {
        Some(_) => HttpResponse::Created(),
        None => HttpResponse::Ok(),
    };
    if let Some(head) = receipt.head {
        response.insert_header(etag(head.seq.0));
    }
    if receipt.replayed {
        response.insert_header(REPLAYED);
    }
    response
}

/// What was asked, as a digest: the same key with another one is a mistake of the client.
fn idempotency(key: IdempotencyKey, kind: &str, media: Media, body: &Bytes) -> Idempotency {
    let media: &[u8] = match media {
        Media::Json => b"json",
        Media::Ndjson => b"ndjson",
    };
    let mut digest = Sha256::new();
    for part in [b"tidelog request", kind.as_bytes(), media] {
        digest.update(part);
        digest.update([0]);
    }
    digest.update(body);
    Idempotency { key, request: digest.finalize().into() }
}

/// A transaction with one event a line. Empty lines are skipped.
fn lines(body: Bytes) -> Result<Events, Problem> {
    let mut events = Events::new();
    for (number, line) in (1..).zip(body.split(|byte| *byte == b'\n')) {
        if line.trim_ascii().is_empty() {
            continue;
        }
        let event = submitted::event(body.slice_ref(line));
        events.extend(event.map_err(|bad| Problem::from(bad).on_line(number))?);
    }
    if events.is_empty() {
        return Err(Problem::new(ErrorCode::Invalid, "a transaction has at least one event"));
    }
    Ok(events)
}

/// The limits on a transaction and its events.
///
/// # Errors
/// `too-large`.
pub(super) fn check(events: &Events, limits: &Limits) -> Result<(), Problem> {
    let too_large = |detail: String| Err(Problem::new(ErrorCode::TooLarge, detail));
    if events.len() > limits.transaction_events_max {
        let max = limits.transaction_events_max;
        let count = events.len();
        return too_large(format!(
            "the transaction has {count} events; at most {max} (transaction_events_max)"
        ));
    }
    match events.iter().position(|event| event.size() > limits.event_bytes_max) {
        None => Ok(()),
        Some(at) => {
            let max = limits.event_bytes_max;
            too_large(format!("event {at} is larger than {max} bytes (event_bytes_max)"))
        }
    }
}
