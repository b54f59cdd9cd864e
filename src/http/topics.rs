//! Which topics there are.

use actix_web::{HttpRequest, HttpResponse};

use super::auth::{Caller, Reading};
use super::events::head_of;
use super::headers::{accept_json, etag};
use super::problem::Problem;
use super::query::Query;
use crate::config::Access;
use crate::wire::topics::{TopicJson, TopicsJson};

/// `GET /v1/topics`: those that the caller may read.
pub(super) async fn list(request: HttpRequest, caller: Caller) -> Result<HttpResponse, Problem> {
    let query = Query::parse(request.query_string(), &["prefix", "after", "limit"])?;
    accept_json(&request)?;
    let limit = query.limit()?;
    let prefix = query.text("prefix").unwrap_or_default();
    let mut after = query.text("after").map(str::to_owned);
    let mut found = Vec::new();
    // One more than is wanted tells whether there is a next page.
    while found.len() <= limit {
        let wanted = limit + 1;
        let topics = caller.app.reader.topics(prefix, after.as_deref(), wanted).await?;
        let end = topics.len() < wanted;
        after = topics.last().map(|topic| topic.name.as_str().to_owned());
        found.extend(topics.into_iter().filter(|t| caller.may(&t.name, Access::Read)));
        if end {
            break;
        }
    }
    let more = found.len() > limit;
    found.truncate(limit);
    let topics: Vec<_> = found.iter().map(|t| TopicJson::new(&t.name, t.head)).collect();
    let next = found.last().filter(|_| more).map(|topic| topic.name.as_str().into());
    Ok(HttpResponse::Ok().json(TopicsJson { topics, next }))
}

/// `GET /v1/topics/{topic}`
pub(super) async fn one(request: HttpRequest, reading: Reading) -> Result<HttpResponse, Problem> {
    Query::parse(request.query_string(), &[])?;
    accept_json(&request)?;
    let head = head_of(&reading.app, &reading.topic).await?;
    Ok(HttpResponse::Ok()
        .insert_header(etag(head.seq.0))
        .json(TopicJson::new(&reading.topic, head)))
}
