//! Reading a topic in order: pages, streams of lines, transactions, the history of a key.
//!
//! Invariants: a page of a topic never ends inside a transaction, except where the client's own
//! `from` or `to` cuts it; memory is bounded by what one scan of the store fetches, and a page by
//! its bytes. A stream ends at the head that it began with.

use std::sync::Arc;
use std::time::Duration;

use actix_web::http::Method;
use actix_web::{HttpRequest, HttpResponse};
use bytes::{BufMut as _, Bytes, BytesMut};
use futures::stream::{self, Stream, StreamExt as _};

use super::app::App;
use super::auth::Reading;
use super::consumers;
use super::headers::{EVENT_STREAM, JSON, NDJSON, accept_json, etag, last_event_id, prefer};
use super::live;
use super::observe::request_id;
use super::problem::{ErrorCode, Problem};
use super::query::Query;
use super::transactions::transaction_in_path;
use crate::domain::limits::{PAGE_EVENTS_DEFAULT, POSITION_MAX};
use crate::domain::{ConsumerName, Key, ReadEvent, Seq, TopicName, Version};
use crate::live::ahead::ahead;
use crate::live::walk::Walk;
use crate::live::{Form, Wish};
use crate::store::Direction;
use crate::wire::head::HeadJson;
use crate::wire::read::{put_event, put_line, room_for};

/// A page ends, at the next end of a transaction, once it has this many bytes.
const PAGE_BYTES: usize = 2 << 20;

/// The longest that a client may wait for events.
const WAIT_SECONDS_MAX: u64 = 60;

/// The head of a topic that exists.
///
/// # Errors
/// `topic-not-found`, `unavailable`.
pub(super) async fn head_of(app: &App, topic: &TopicName) -> Result<Version, Problem> {
    let head = app.reader.head(topic).await?;
    head.ok_or_else(|| Problem::new(ErrorCode::TopicNotFound, "no such topic"))
}

/// A key from the query.
///
/// # Errors
/// `malformed`.
pub(super) fn key(text: &str) -> Result<Key, Problem> {
    let key = Key::parse(text.into());
    key.map_err(|error| Problem::new(ErrorCode::Malformed, format!("parameter {error}")))
}

/// What a client asks of a topic's events.
struct Asked {
    wish: Wish,
    /// Whose position it begins behind, where the client did not say it itself.
    consumer: Option<ConsumerName>,
    answer: Answer,
    direction: Direction,
    /// `None` where the client did not say.
    limit: Option<usize>,
    wait: Option<Duration>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Answer {
    Page,
    Lines,
    /// Stays open.
    Live(Form),
}

impl Asked {
    fn parse(request: &HttpRequest, topic: TopicName) -> Result<Self, Problem> {
        let known = ["from", "to", "limit", "direction", "key", "wait", "follow", "consumer"];
        let query = Query::parse(request.query_string(), &known)?;
        let follow = query.word("follow", &[("false", false), ("true", true)])?;
        let messages = (EVENT_STREAM, Answer::Live(Form::Messages));
        let (page, lines) = ((JSON, Answer::Page), (NDJSON, Answer::Lines));
        let answer = match query.text("follow") {
            None => prefer(request, &[page, lines, messages])?,
            Some(_) if follow => prefer(request, &[(NDJSON, Answer::Live(Form::Lines)), messages])?,
            Some(_) => prefer(request, &[page, lines])?,
        };
        let directions = [("forward", Direction::Forward), ("backward", Direction::Backward)];
        let direction = query.word("direction", &directions)?;
        let limit = query.text("limit").map(|_| query.limit()).transpose()?;
        let wait = query.seconds("wait", WAIT_SECONDS_MAX)?;
        let mut from = query.position("from")?.map(Seq);
        let mut consumer = query.text("consumer").map(consumers::name).transpose()?;
        if consumer.is_some() && (from.is_some() || direction == Direction::Backward) {
            let why = "consumer says where to begin, forward: it does not go with from or \
                       direction=backward";
            return Err(Problem::new(ErrorCode::Malformed, why));
        }
        let mut form = Form::Lines;
        if let Answer::Live(live) = answer {
            form = live;
            if let Some(last) = last_event_id(request)? {
                (from, consumer) = (Some(last.next()), None);
            }
        }
        let from = from.unwrap_or(Seq(0));
        let to = Seq(query.position("to")?.unwrap_or(POSITION_MAX - 1));
        let key = query.text("key").map(key).transpose()?;
        let wish = Wish { topic, from, to, key, form };
        let asked = Self { wish, consumer, answer, direction, limit, wait };
        asked.check()?;
        Ok(asked)
    }

    /// What does not go together.
    fn check(&self) -> Result<(), Problem> {
        let live = matches!(self.answer, Answer::Live(_));
        let backward = self.direction == Direction::Backward;
        let wrong = [
            (live && backward, "direction=backward does not go with a live read"),
            (live && self.limit.is_some(), "limit does not go with a live read; to does"),
            (live && self.wait.is_some(), "wait does not go with a live read"),
            (self.wait.is_some() && backward, "wait does not go with direction=backward"),
        ];
        let wrong = wrong.iter().find(|(wrong, _)| *wrong).map(|(_, why)| *why);
        wrong.map_or(Ok(()), |why| Err(Problem::new(ErrorCode::Malformed, why)))
    }
}

/// `GET /v1/topics/{topic}/events`
pub(super) async fn events(
    request: HttpRequest,
    reading: Reading,
) -> Result<HttpResponse, Problem> {
    let Reading { app, topic } = reading;
    let mut asked = Asked::parse(&request, topic)?;
    if let Some(name) = &asked.consumer {
        asked.wish.from = consumers::find(&app, &asked.wish.topic, name).await?.next();
    }
    if let Answer::Live(_) = asked.answer {
        return live::follow(&request, &app, asked.wish).await;
    }
    if let Some(at_most) = asked.wait {
        live::wait(&app, asked.wish.clone(), at_most).await?;
    }
    let Wish { topic, from, to, key, .. } = asked.wish;
    let head = head_of(&app, &topic).await?;
    let limit = asked.limit.unwrap_or(PAGE_EVENTS_DEFAULT);
    let mut walk = Walk::new(Arc::clone(&app.reader), topic, key, asked.direction);
    walk.stretch(from, to.min(head.seq));
    walk.at_most(limit + 1);
    if asked.answer == Answer::Page {
        return page(walk, limit, head).await;
    }
    Ok(lines(walk, asked.limit, &request))
}

/// Events go into a page as long as this says so.
struct Page {
    limit: usize,
    /// A history need not close transactions.
    close: bool,
    direction: Direction,
    count: usize,
    last: Option<ReadEvent>,
}

impl Page {
    /// Whether the page is full, so that this event does not go into it any more.
    fn is_full(&self, bytes: usize, next: &ReadEvent) -> bool {
        let enough = self.count >= self.limit || bytes >= PAGE_BYTES;
        let Some(last) = &self.last else { return false };
        let closed = match self.direction {
            Direction::Forward => last.event.last,
            Direction::Backward => last.event.version.transaction != next.event.version.transaction,
        };
        enough && (closed || !self.close)
    }
}

async fn page(mut walk: Walk, limit: usize, head: Version) -> Result<HttpResponse, Problem> {
    let mut out = BytesMut::from(&b"{\"events\":["[..]);
    let close = !walk.is_history();
    let mut page = Page { limit, close, direction: walk.direction(), count: 0, last: None };
    let next = 'page: loop {
        let events = walk.next().await?;
        if events.is_empty() {
            break None;
        }
        for read in events {
            if page.is_full(out.len(), &read) {
                break 'page Some(read.event.version.seq);
            }
            if page.count > 0 {
                out.put_u8(b',');
            }
            put_event(&mut out, &read);
            page.count += 1;
            page.last = Some(read);
        }
        if page.count < limit {
            // One more than is wanted tells whether there is a next page. Once there are enough,
            // a transaction is being closed, and that may take many.
            walk.at_most(limit - page.count + 1);
        }
    };
    let head_json = serde_json::to_string(&HeadJson::from(head)).expect("a head is JSON");
    let next = next.map_or_else(|| "null".into(), |seq| seq.to_string());
    out.extend_from_slice(format!("],\"next\":{next},\"head\":{head_json}}}").as_bytes());
    Ok(HttpResponse::Ok()
        .insert_header(etag(head.seq.0))
        .content_type("application/json")
        .body(out.freeze()))
}

/// Streams events as lines, at most `limit` of them and then those that close the transaction.
fn lines(walk: Walk, limit: Option<usize>, request: &HttpRequest) -> HttpResponse {
    let request_id = request_id(request);
    let page = Page {
        limit: limit.unwrap_or(usize::MAX),
        close: !walk.is_history(),
        direction: walk.direction(),
        count: 0,
        last: None,
    };
    // Who wants a few events only does not need those ahead of them.
    let fetches = match limit {
        Some(_) => walk.fetches().boxed(),
        None => ahead(walk.fetches()).boxed(),
    };
    let pieces = stream::unfold(Some((fetches, page)), move |state| {
        let request_id = request_id.clone();
        async move {
            let (mut fetches, mut page) = state?;
            let events = match fetches.next().await? {
                Ok(events) => events,
                Err(error) => return Some((Ok(failure(&error.into(), &request_id)), None)),
            };
            let mut out = BytesMut::with_capacity(room_for(&events));
            for read in events {
                if page.is_full(0, &read) {
                    return (!out.is_empty()).then(|| (Ok(out.freeze()), None));
                }
                put_line(&mut out, &read.event, read.invalidated_by);
                page.count += 1;
                page.last = Some(read);
            }
            Some((Ok(out.freeze()), Some((fetches, page))))
        }
    });
    streamed(request, "application/x-ndjson", pieces)
}

/// Answers with a stream; HEAD with its headers alone, because the framework would read all of
/// the stream and throw it away.
pub(super) fn streamed(
    request: &HttpRequest,
    media: &'static str,
    pieces: impl Stream<Item = Result<Bytes, Problem>> + 'static,
) -> HttpResponse {
    let mut response = HttpResponse::Ok();
    response.content_type(media);
    if request.method() == Method::HEAD {
        return response.streaming(stream::empty::<Result<Bytes, Problem>>());
    }
    response.streaming(pieces)
}

/// The last line of a stream that cannot go on.
pub(super) fn failure(problem: &Problem, request_id: &str) -> Bytes {
    let problem = serde_json::to_string(&problem.json(request_id)).expect("a problem is JSON");
    format!("{{\"error\":{problem}}}\n").into()
}

/// `GET /v1/topics/{topic}/transactions/{n}`, streamed: a transaction may be large.
pub(super) async fn transaction(
    request: HttpRequest,
    reading: Reading,
) -> Result<HttpResponse, Problem> {
    Query::parse(request.query_string(), &[])?;
    accept_json(&request)?;
    let number = transaction_in_path(&request)?;
    let Reading { app, topic } = reading;
    let head = head_of(&app, &topic).await?;
    let range = app.reader.transaction(&topic, number).await?;
    let missing = || Problem::new(ErrorCode::TransactionNotFound, "no such transaction");
    let (from, to) = range.filter(|(_, to)| *to <= head.seq).ok_or_else(missing)?;
    let mut walk = Walk::new(Arc::clone(&app.reader), topic, None, Direction::Forward);
    walk.stretch(from, to);
    let first = walk.next().await?;
    let by = first.first().and_then(|read| read.invalidated_by);
    let by = by.map_or_else(String::new, |by| format!(",\"invalidated_by\":{by}"));
    let mut begin = BytesMut::from(format!("{{\"transaction\":{number},\"events\":[").as_bytes());
    put_events(&mut begin, &first, true);
    let end = Bytes::from(format!("]{by}}}"));
    let fetches = ahead(walk.fetches()).boxed();
    let pieces = stream::unfold(Some((fetches, Some(begin), end)), async |state| {
        let (mut fetches, begin, end) = state?;
        if let Some(begin) = begin {
            return Some((Ok(begin.freeze()), Some((fetches, None, end))));
        }
        match fetches.next().await {
            None => Some((Ok(end), None)),
            Some(Ok(events)) => {
                let mut out = BytesMut::with_capacity(room_for(&events));
                put_events(&mut out, &events, false);
                Some((Ok(out.freeze()), Some((fetches, None, end))))
            }
            // Too late for a problem: the connection is cut, so that nobody takes it as whole.
            Some(Err(error)) => Some((Err(error.into()), None)),
        }
    });
    Ok(streamed(&request, "application/json", pieces))
}

fn put_events(out: &mut BytesMut, events: &[ReadEvent], first: bool) {
    for (at, read) in events.iter().enumerate() {
        if at > 0 || !first {
            out.put_u8(b',');
        }
        put_event(out, read);
    }
}
