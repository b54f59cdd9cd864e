//! Consumers: the positions that are kept for readers of a topic under names.
//!
//! Not here: reading from a position (`events.rs`), and consumers in the metrics (`lags.rs`).
//! Invariants: a position is that of an event that is there, or before the first; only a request
//! that says so moves it.

use actix_web::web::Payload;
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder};

use super::app::App;
use super::auth::{Moving, Reading};
use super::body::Body;
use super::events::head_of;
use super::headers::{
    Condition, Media, accept_json, condition, content_type, etag, idempotency_key, no_producer_but,
};
use super::problem::{ErrorCode, Extra, Problem};
use super::query::Query;
use crate::domain::{Consumer, ConsumerName, Expected, Move, Revision, TopicName, Version};
use crate::topic::{WriteError, now};
use crate::wire::consumers::{self, ConsumerJson, ConsumersJson};

/// A consumer that is there.
///
/// # Errors
/// `topic-not-found`, `consumer-not-found`, `unavailable`.
pub(super) async fn find(
    app: &App,
    topic: &TopicName,
    name: &ConsumerName,
) -> Result<Consumer, Problem> {
    if let Some(consumer) = app.reader.consumer(topic, name).await? {
        return Ok(consumer);
    }
    head_of(app, topic).await?;
    Err(missing())
}

fn missing() -> Problem {
    Problem::new(ErrorCode::ConsumerNotFound, "the topic has no such consumer")
}

/// A consumer's name, which is wrong as part of a request and not as a value.
///
/// # Errors
/// `malformed`.
pub(super) fn name(text: &str) -> Result<ConsumerName, Problem> {
    ConsumerName::parse(text).map_err(|error| Problem::new(ErrorCode::Malformed, error.to_string()))
}

fn name_in_path(request: &HttpRequest) -> Result<ConsumerName, Problem> {
    name(request.match_info().get("consumer").unwrap_or_default())
}

/// `GET /v1/topics/{topic}/consumers`
pub(super) async fn list(request: HttpRequest, reading: Reading) -> Result<HttpResponse, Problem> {
    let query = Query::parse(request.query_string(), &["prefix", "after", "limit"])?;
    accept_json(&request)?;
    let limit = query.limit()?;
    let (prefix, after) = (query.text("prefix").unwrap_or_default(), query.text("after"));
    let Reading { app, topic } = reading;
    head_of(&app, &topic).await?;
    // One more than is wanted tells whether there is a next page.
    let mut found = app.reader.consumers(&topic, prefix, after, limit + 1).await?;
    let more = found.len() > limit;
    found.truncate(limit);
    let now = now();
    let consumers = found.iter().map(|found| ConsumerJson::new(&topic, found, now)).collect();
    let next = found.last().filter(|_| more).map(|last| last.name.as_str().into());
    Ok(HttpResponse::Ok().json(ConsumersJson { consumers, next }))
}

/// `GET /v1/topics/{topic}/consumers/{consumer}`
pub(super) async fn one(request: HttpRequest, reading: Reading) -> Result<HttpResponse, Problem> {
    Query::parse(request.query_string(), &[])?;
    accept_json(&request)?;
    let name = name_in_path(&request)?;
    let Reading { app, topic } = reading;
    let consumer = find(&app, &topic, &name).await?;
    Ok(shown(HttpResponse::Ok(), &topic, &consumer))
}

/// `PUT /v1/topics/{topic}/consumers/{consumer}`
pub(super) async fn put(
    request: HttpRequest,
    moving: Moving,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let name = prepared(&request)?;
    accept_json(&request)?;
    let expected = expected(&request)?;
    if content_type(&request)? != Media::Json {
        let detail = "Content-Type must be application/json";
        return Err(Problem::new(ErrorCode::UnsupportedMediaType, detail));
    }
    let Moving { app, topic } = moving;
    let seq = consumers::position(Body::new(&request, payload)?.whole(&app).await?)?;
    let head = head_of(&app, &topic).await?;
    if seq > Some(head.seq) {
        let detail = format!("seq is beyond the head of the topic, which is {}", head.seq);
        return Err(Problem::new(ErrorCode::Invalid, detail).at("/seq"));
    }
    let to = Move { topic, name, seq, expected, at: now() };
    let moved = app.topics.move_consumer(to.clone()).await.map_err(not_moved)?;
    let Some(moved) = moved else {
        return Err(condition_fails(&app, &to.topic, &to.name, head).await);
    };
    let answer = if moved.made { HttpResponse::Created() } else { HttpResponse::Ok() };
    Ok(shown(answer, &to.topic, &moved.consumer))
}

/// `DELETE /v1/topics/{topic}/consumers/{consumer}`
pub(super) async fn delete(request: HttpRequest, moving: Moving) -> Result<HttpResponse, Problem> {
    let name = prepared(&request)?;
    let expected = match expected(&request)? {
        None => None,
        Some(Expected::Revision(revision)) => Some(revision),
        Some(Expected::Nothing) => {
            let detail = "If-None-Match means nothing here: what is not there cannot be deleted";
            return Err(Problem::new(ErrorCode::Malformed, detail));
        }
    };
    let Moving { app, topic } = moving;
    let forgotten = app.topics.forget_consumer(&topic, &name, expected).await;
    if forgotten.map_err(not_moved)? {
        return Ok(HttpResponse::NoContent().finish());
    }
    let head = head_of(&app, &topic).await?;
    Err(match expected {
        Some(_) => condition_fails(&app, &topic, &name, head).await,
        None => missing(),
    })
}

/// What both changes begin with. Headers that promise more than is kept are refused.
fn prepared(request: &HttpRequest) -> Result<ConsumerName, Problem> {
    Query::parse(request.query_string(), &[])?;
    no_producer_but(request, &[])?;
    if idempotency_key(request)?.is_some() {
        let detail = "Idempotency-Key means nothing here; a consumer has If-Match";
        return Err(Problem::new(ErrorCode::Malformed, detail));
    }
    name_in_path(request)
}

/// `If-Match: "<revision>"` or `If-None-Match: *`.
fn expected(request: &HttpRequest) -> Result<Option<Expected>, Problem> {
    let condition = condition(request, "the revision of the consumer")?;
    Ok(condition.map(|condition| match condition {
        Condition::Nothing => Expected::Nothing,
        Condition::Is(revision) => Expected::Revision(Revision(revision)),
    }))
}

/// Says what is there now, which is not needed to be true a moment later.
async fn condition_fails(
    app: &App,
    topic: &TopicName,
    name: &ConsumerName,
    head: Version,
) -> Problem {
    let found = app.reader.consumer(topic, name).await;
    let detail = match found {
        Ok(Some(found)) => format!("the consumer has revision {}", found.revision.0),
        Ok(None) => "the consumer is not there".to_owned(),
        Err(_) => "the consumer has another revision, or is not there, or there already".to_owned(),
    };
    Problem::new(ErrorCode::PreconditionFailed, detail).with(Extra::Head(Some(head)))
}

fn not_moved(error: WriteError) -> Problem {
    match error {
        WriteError::OutcomeUnknown => Problem::new(
            ErrorCode::OutcomeUnknown,
            "the store was lost while committing; read the consumer, or send the request again",
        ),
        error => error.into(),
    }
}

fn shown(mut answer: HttpResponseBuilder, topic: &TopicName, consumer: &Consumer) -> HttpResponse {
    answer.insert_header(etag(consumer.revision.0)).json(ConsumerJson::new(topic, consumer, now()))
}
