//! Reading the surface of a topic: one key, pages, and the whole as a stream of lines.
//!
//! Invariant: one answer is one surface. A stream reads it as of the head that it began with,
//! however long it takes.

use actix_web::{HttpRequest, HttpResponse};
use bytes::{BufMut as _, BytesMut};
use futures::stream::{self, Stream, StreamExt as _};

use super::app::App;
use super::auth::Reading;
use super::events::{failure, head_of, key, streamed};
use super::headers::{Media, accept, accept_json, etag};
use super::observe::request_id;
use super::problem::{ErrorCode, Problem};
use super::query::Query;
use crate::domain::{EventBody, ReadEvent, TopicName, TransactionNo, Version};
use crate::live::ahead::ahead;
use crate::live::fetch::{BYTES_MAX, Fetch};
use crate::store::{KeyRange, StoreError, SurfaceScan};
use crate::wire::read::{put_event, put_line, room_for};

/// A page ends once it has this many bytes.
const PAGE_BYTES: usize = 2 << 20;

/// `GET /v1/topics/{topic}/latest?key=`
pub(super) async fn latest(
    request: HttpRequest,
    reading: Reading,
) -> Result<HttpResponse, Problem> {
    let query = Query::parse(request.query_string(), &["key"])?;
    accept_json(&request)?;
    let missing = || Problem::new(ErrorCode::Malformed, "the parameter key is missing");
    let key = key(query.text("key").ok_or_else(missing)?)?;
    let Reading { app, topic } = reading;
    let at = head_of(&app, &topic).await?;
    let scan = SurfaceScan { at, keys: KeyRange::Exactly(key), limit: 1, bytes: BYTES_MAX };
    let events = app.reader.surface(&topic, &scan).await?;
    let Some(read) = events.first() else {
        return Err(Problem::new(ErrorCode::KeyNotFound, "the key is not on the surface"));
    };
    let mut out = BytesMut::new();
    put_event(&mut out, read);
    Ok(HttpResponse::Ok()
        .insert_header(etag(read.event.version.seq.0))
        .content_type("application/json")
        .body(out.freeze()))
}

/// `GET /v1/topics/{topic}/surface`
pub(super) async fn surface(
    request: HttpRequest,
    reading: Reading,
) -> Result<HttpResponse, Problem> {
    let known = ["prefix", "after", "limit", "as_of"];
    let query = Query::parse(request.query_string(), &known)?;
    let media = accept(&request)?;
    let limit = query.limit()?;
    let as_of = query.position("as_of")?.map(TransactionNo);
    let prefix = query.text("prefix").unwrap_or_default().to_owned();
    let after = query.text("after").map(str::to_owned);
    let bounded = query.text("limit").is_some();
    let Reading { app, topic } = reading;
    let at = moment(&app, &topic, as_of).await?;
    let walk = Walk { app, topic, at, prefix, after, fetch: Fetch::default(), done: false };
    match media {
        Media::Json => page(walk, limit).await,
        Media::Ndjson => Ok(lines(walk, bounded.then_some(limit), &request)),
    }
}

/// The last event of the surface that is asked for.
async fn moment(
    app: &App,
    topic: &TopicName,
    as_of: Option<TransactionNo>,
) -> Result<Version, Problem> {
    let head = head_of(app, topic).await?;
    let Some(transaction) = as_of else { return Ok(head) };
    match app.reader.transaction(topic, transaction).await? {
        Some((_, seq)) => Ok(Version { seq, transaction }),
        None => Err(Problem::new(ErrorCode::TransactionNotFound, "no such transaction")),
    }
}

/// Goes over a surface in fetches of fitting size.
struct Walk {
    app: actix_web::web::Data<App>,
    topic: TopicName,
    at: Version,
    prefix: String,
    after: Option<String>,
    fetch: Fetch,
    done: bool,
}

impl Walk {
    /// The next events; empty at the end.
    async fn next(&mut self) -> Result<Vec<ReadEvent>, StoreError> {
        if self.done {
            return Ok(Vec::new());
        }
        let keys = KeyRange::Prefix { prefix: self.prefix.clone(), after: self.after.clone() };
        let limit = self.fetch.events();
        let scan = SurfaceScan { at: self.at, keys, limit, bytes: BYTES_MAX };
        let events = self.app.reader.surface(&self.topic, &scan).await?;
        self.done = !self.fetch.learn(limit, &events);
        if let Some(last) = events.last().and_then(key_of) {
            self.after = Some(last.to_owned());
        }
        Ok(events)
    }

    /// All of it, fetch by fetch.
    fn fetches(self) -> impl Stream<Item = Result<Vec<ReadEvent>, StoreError>> + Send {
        stream::unfold(self, async |mut walk| match walk.next().await {
            Ok(events) if events.is_empty() => None,
            fetched => Some((fetched, walk)),
        })
    }
}

fn key_of(read: &ReadEvent) -> Option<&str> {
    match &read.event.body {
        EventBody::Content(content) => Some(content.key.as_str()),
        EventBody::Invalidation(_) => None,
    }
}

async fn page(mut walk: Walk, limit: usize) -> Result<HttpResponse, Problem> {
    let mut out = BytesMut::from(&b"{\"events\":["[..]);
    let mut count = 0;
    let mut last: Option<String> = None;
    // One more than is wanted tells whether there is a next page.
    let more = 'page: loop {
        walk.fetch.at_most(limit - count + 1);
        let events = walk.next().await?;
        if events.is_empty() {
            break false;
        }
        for read in &events {
            if count == limit || (count > 0 && out.len() >= PAGE_BYTES) {
                break 'page true;
            }
            if count > 0 {
                out.put_u8(b',');
            }
            put_event(&mut out, read);
            count += 1;
            last = key_of(read).map(str::to_owned);
        }
    };
    let next = serde_json::to_string(&last.filter(|_| more)).expect("a text is JSON");
    out.extend_from_slice(format!("],\"next\":{next}}}").as_bytes());
    Ok(HttpResponse::Ok().content_type("application/json").body(out.freeze()))
}

fn lines(walk: Walk, limit: Option<usize>, request: &HttpRequest) -> HttpResponse {
    let request_id = request_id(request);
    // Who wants a few events only does not need those ahead of them.
    let (fetches, left) = match limit {
        Some(limit) => (walk.fetches().boxed(), limit),
        None => (ahead(walk.fetches()).boxed(), usize::MAX),
    };
    let pieces = stream::unfold(Some((fetches, left)), move |state| {
        let request_id = request_id.clone();
        async move {
            let (mut fetches, left) = state.filter(|(_, left)| *left > 0)?;
            let mut events = match fetches.next().await? {
                Ok(events) => events,
                Err(error) => return Some((Ok(failure(&error.into(), &request_id)), None)),
            };
            events.truncate(left);
            let mut out = BytesMut::with_capacity(room_for(&events));
            for read in &events {
                put_line(&mut out, &read.event, read.invalidated_by);
            }
            Some((Ok(out.freeze()), Some((fetches, left - events.len()))))
        }
    });
    streamed(request, "application/x-ndjson", pieces)
}
