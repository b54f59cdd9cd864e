//! `POST /v1/topics/{topic}/events`: a stream of lines, acknowledged in order while it is still
//! being read.
//!
//! Two halves: [`Intake`] reads lines and submits them, as many together as have arrived; the
//! answer awaits the outcomes in order and writes the acks. What is between them is bounded, so
//! that a client that does not read its acks stops being read itself, and holds up nobody else.
//!
//! Invariants: lines are submitted in order; after a line that failed none is submitted; the
//! summary comes last. What was submitted is done whether or not the client is still there.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix_web::http::Version;
use actix_web::http::header::{CONTENT_LENGTH, HeaderName};
use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use bytes::{BufMut as _, Bytes, BytesMut};
use futures::stream;
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use super::access::Progress;
use super::app::App;
use super::auth::Writing;
use super::body::{Body, Lines, Piece};
use super::headers::{
    Media, PRODUCER_EPOCH, PRODUCER_ID, PRODUCER_SEQ, content_type, header, idempotency_key,
    no_producer_but, precondition,
};
use super::keep::keep_commands;
use super::observe::request_id;
use super::problem::{ErrorCode, Problem};
use super::query::{Query, position};
use super::transactions::{check, write_one};
use crate::domain::{Command, ProducerId, ProducerLine, TopicName, Write};
use crate::topic::{Outcome, Session};
use crate::wire::ack::{EndJson, FailureJson, LineJson, SummaryJson};
use crate::wire::head::HeadJson;
use crate::wire::submitted::{self, Submitted};

/// Most lines that are submitted, and so answered, together: a request of a thousand is two, so that
/// one is committed while the other is read.
const CHUNK_LINES: usize = 500;
/// Most bytes that are submitted together, unless a line has more.
const CHUNK_BYTES: usize = 256 << 10;
/// Events submitted whose acks have not been taken by the client. A chunk that has more counts as many.
const EVENTS_OPEN: u32 = 32_000;

/// How long an answer waits for the end of a body of known length: maybe the client sends the rest
/// once it has seen acks.
const READ_FIRST: Duration = Duration::from_secs(2);

/// Which acks the client wants to see.
#[derive(Clone, Copy)]
enum Acks {
    All,
    /// Failures and the summary.
    Summary,
}

/// See the module. A single JSON event is taken too.
pub(super) async fn append(
    request: HttpRequest,
    writing: Writing,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    if content_type(&request)? == Media::Json {
        return write_one(request, writing, payload).await;
    }
    let query = Query::parse(request.query_string(), &["acks"])?;
    let acks = query.word("acks", &[("all", Acks::All), ("summary", Acks::Summary)])?;
    let conditional = idempotency_key(&request)?.is_some() || precondition(&request)?.is_some();
    if conditional {
        let detail = "Idempotency-Key, If-Match and If-None-Match are for single requests; \
                      a stream has Producer-Id and Producer-Seq";
        return Err(Problem::new(ErrorCode::Malformed, detail));
    }
    let producer = producer(&request)?;
    let body = Body::new(&request, payload)?;
    let Writing { app, topic } = writing;
    let mut session = app.topics.session(&topic)?;
    if let Some(line) = &producer {
        let begun = session.submit(vec![Command::Register(line.clone())]).await?.await;
        if let Some(error) = begun.failure {
            return Err(error.into());
        }
    }
    let (chunks, answers) = mpsc::unbounded_channel();
    let room = Arc::new(Semaphore::new(EVENTS_OPEN as usize));
    let lines = Lines::new(body, app.clone());
    let (held_back, begins) = oneshot::channel();
    let intake = Intake {
        app: app.clone(),
        session,
        producer,
        chunks,
        room,
        line: 0,
        draft: Draft::new(),
        held_back: Some(held_back),
    };
    actix_web::rt::spawn(intake.run(lines));
    if request.version() < Version::HTTP_2 && request.headers().contains_key(CONTENT_LENGTH) {
        // An answer that begins before its request has ended costs the client its connection.
        let _ = tokio::time::timeout(READ_FIRST, begins).await;
    }
    let (request_id, progress) = (request_id(&request), Progress::of(&request));
    let answer = Answer { app, topic, acks, answers, request_id, progress, summary: None };
    let pieces = stream::unfold(answer, |mut answer| async move {
        let piece = answer.next().await?;
        Some((Ok::<_, Problem>(piece), answer))
    });
    Ok(HttpResponse::Ok().content_type("application/x-ndjson").streaming(pieces))
}

/// `Producer-Id`, `Producer-Epoch`, `Producer-Seq`: the first line of this request.
fn producer(request: &HttpRequest) -> Result<Option<ProducerLine>, Problem> {
    no_producer_but(request, &[PRODUCER_ID, PRODUCER_EPOCH, PRODUCER_SEQ])?;
    let bad = |detail: &str| Problem::new(ErrorCode::Malformed, detail);
    let number = |name: HeaderName| -> Result<Option<u64>, Problem> {
        let Some(text) = header(request, &name)? else { return Ok(None) };
        position(text)
            .map(Some)
            .ok_or_else(|| bad(&format!("the header {name} must be a whole number below 2^53")))
    };
    let (epoch, line) = (number(PRODUCER_EPOCH)?, number(PRODUCER_SEQ)?);
    let Some(id) = header(request, &PRODUCER_ID)? else {
        return match (epoch, line) {
            (None, None) => Ok(None),
            _ => Err(bad("Producer-Epoch and Producer-Seq need a Producer-Id")),
        };
    };
    let producer = ProducerId::parse(id).map_err(|error| bad(&error.to_string()))?;
    let line = line.ok_or_else(|| bad("Producer-Id needs a Producer-Seq"))?;
    Ok(Some(ProducerLine { producer, epoch: epoch.unwrap_or(0), line }))
}

type Coming = Pin<Box<dyn Future<Output = Outcome> + Send>>;

/// What the intake hands to the answer, in order.
enum Chunk {
    /// Lines that were submitted: their numbers, and whether each is a group; and their acks' room.
    Submitted(Vec<(u64, bool)>, Coming, OwnedSemaphorePermit),
    /// A line that cannot be submitted. Nothing follows.
    Failed(Box<Problem>),
    /// The body ended properly. Nothing follows.
    End,
}

/// Lines parsed and not yet submitted.
struct Draft {
    commands: Vec<Command>,
    lines: Vec<(u64, bool)>,
    /// Bytes received for it, empty lines included.
    bytes: usize,
}

impl Draft {
    fn new() -> Self {
        Self { commands: Vec::new(), lines: Vec::new(), bytes: 0 }
    }
}

/// Why the intake stops.
enum Stop {
    Failed(Problem),
    /// Nobody waits for answers any more.
    Gone,
}

impl From<Problem> for Stop {
    fn from(problem: Problem) -> Self {
        Self::Failed(problem)
    }
}

/// Reads lines and submits them.
struct Intake {
    app: Data<App>,
    session: Session,
    /// The number of the next line that has an event, where the producer numbers its lines.
    producer: Option<ProducerLine>,
    chunks: mpsc::UnboundedSender<Chunk>,
    /// One permit for each event that may be submitted.
    room: Arc<Semaphore>,
    /// The lines seen so far, empty ones included.
    line: u64,
    draft: Draft,
    /// Dropped when the answer should begin: nothing more will be read, or not before acks are taken.
    held_back: Option<oneshot::Sender<()>>,
}

impl Intake {
    async fn run(mut self, lines: Lines) {
        let end = match self.take_all(lines).await {
            Ok(()) => Chunk::End,
            Err(Stop::Failed(problem)) => Chunk::Failed(Box::new(problem)),
            Err(Stop::Gone) => return,
        };
        self.held_back = None;
        // What came before a bad line is written.
        let end = match self.submit().await {
            Ok(()) => end,
            Err(Stop::Failed(problem)) => Chunk::Failed(Box::new(problem)),
            Err(Stop::Gone) => return,
        };
        let _ = self.chunks.send(end);
    }

    async fn take_all(&mut self, mut lines: Lines) -> Result<(), Stop> {
        loop {
            let piece = tokio::select! {
                piece = lines.next() => piece,
                () = self.chunks.closed() => return Err(Stop::Gone),
            };
            let piece = piece.map_err(|problem| problem.on_line(self.line + 1))?;
            match piece {
                Piece::Lines(piece) => {
                    let mut from = 0;
                    for end in memchr::memchr_iter(b'\n', &piece) {
                        self.take(piece.slice(from..end)).await?;
                        from = end + 1;
                    }
                    if !lines.has_more() {
                        self.submit().await?;
                    }
                }
                Piece::End(last) => {
                    if !last.is_empty() {
                        self.take(last).await?;
                    }
                    return Ok(());
                }
            }
        }
    }

    async fn take(&mut self, line: Bytes) -> Result<(), Stop> {
        self.line += 1;
        self.draft.bytes += line.len() + 1;
        if line.trim_ascii().is_empty() {
            return Ok(());
        }
        let here = |problem: Problem| Stop::Failed(problem.on_line(self.line));
        let parsed = submitted::line(line).map_err(|bad| here(bad.into()))?;
        let (events, group) = match parsed {
            Submitted::Event(events) => (events, false),
            Submitted::Group(events) => (events, true),
        };
        check(&events, &self.app.limits).map_err(here)?;
        let producer = self.producer.clone();
        if let Some(next) = &mut self.producer {
            next.line += 1;
        }
        let write = Write { events, precondition: None, idempotency: None, producer };
        self.draft.commands.push(Command::Write(write));
        self.draft.lines.push((self.line, group));
        if self.draft.commands.len() >= CHUNK_LINES || self.draft.bytes >= CHUNK_BYTES {
            self.submit().await?;
            give_way().await;
        }
        Ok(())
    }

    async fn submit(&mut self) -> Result<(), Stop> {
        let mut draft = std::mem::replace(&mut self.draft, Draft::new());
        let Some((first, _)) = draft.lines.first().copied() else { return Ok(()) };
        keep_commands(&mut draft.commands, draft.bytes);
        // Room for the answer first: who does not read his acks writes nothing either.
        let room = self.room(draft.commands.iter().map(Command::events).sum()).await?;
        match self.session.submit(draft.commands).await {
            Ok(outcome) => {
                let submitted = Chunk::Submitted(draft.lines, Box::pin(outcome), room);
                self.chunks.send(submitted).map_err(|_| Stop::Gone)
            }
            Err(error) => Err(Stop::Failed(Problem::from(error).on_line(first))),
        }
    }

    /// Room for the acks of so many events.
    async fn room(&mut self, events: usize) -> Result<OwnedSemaphorePermit, Stop> {
        let events = u32::try_from(events).map_or(EVENTS_OPEN, |events| events.min(EVENTS_OPEN));
        if let Ok(room) = Arc::clone(&self.room).try_acquire_many_owned(events) {
            return Ok(room);
        }
        self.held_back = None;
        tokio::select! {
            room = Arc::clone(&self.room).acquire_many_owned(events) => room.map_err(|_| Stop::Gone),
            () = self.chunks.closed() => Err(Stop::Gone),
        }
    }
}

/// Lets the lines that were submitted reach the store before more are read. Where there is one thread for
/// both, the store would have nothing to do meanwhile, and get all that is there as one batch. Twice, because
/// what has come of the body since wakes who reads it, and so ends the first.
async fn give_way() {
    tokio::task::yield_now().await;
    tokio::task::yield_now().await;
}

/// Writes the acks.
struct Answer {
    app: Data<App>,
    topic: TopicName,
    acks: Acks,
    answers: mpsc::UnboundedReceiver<Chunk>,
    request_id: String,
    progress: Rc<Progress>,
    /// `None` before the first piece, and after the last.
    summary: Option<Summary>,
}

struct Summary {
    so_far: SummaryJson,
    ended: bool,
}

impl Answer {
    /// The next piece of the answer; `None` at its end.
    async fn next(&mut self) -> Option<Bytes> {
        let fresh = Summary { so_far: SummaryJson::default(), ended: false };
        let mut summary = self.summary.take().unwrap_or(fresh);
        if summary.ended {
            self.summary = Some(summary);
            return None;
        }
        let mut out = BytesMut::new();
        while out.is_empty() {
            // The intake always sends an end; without it nothing can be said of what is missing.
            let chunk = self.answers.recv().await?;
            let end = match chunk {
                Chunk::Submitted(lines, outcome, _room) => {
                    self.acknowledge(&lines, outcome.await, &mut summary.so_far, &mut out)
                }
                Chunk::Failed(problem) => Some(Some(*problem)),
                Chunk::End => Some(None),
            };
            self.progress.acknowledged(summary.so_far.lines, summary.so_far.written);
            if let Some(failure) = end {
                summary.ended = true;
                failure.iter().for_each(|problem| self.progress.failed(problem.code));
                self.finish(failure.as_ref(), summary.so_far, &mut out).await;
            }
        }
        self.summary = Some(summary);
        Some(out.freeze())
    }

    /// Writes acks; a failure ends the answer.
    fn acknowledge(
        &self,
        lines: &[(u64, bool)],
        outcome: Outcome,
        summary: &mut SummaryJson,
        out: &mut BytesMut,
    ) -> Option<Option<Problem>> {
        for (receipt, (line, group)) in outcome.receipts.iter().zip(lines) {
            summary.add(receipt);
            if let Acks::All = self.acks {
                put_line(out, &LineJson::new(*line, *group, receipt));
            }
        }
        let failure = outcome.failure?;
        let line = lines.get(outcome.receipts.len()).map_or(0, |(line, _)| *line);
        Some(Some(Problem::from(failure).on_line(line)))
    }

    async fn finish(
        &self,
        failure: Option<&Problem>,
        mut summary: SummaryJson,
        out: &mut BytesMut,
    ) {
        if let Some(problem) = failure {
            let line = problem.line;
            put_line(out, &FailureJson { line, error: problem.json(&self.request_id) });
        }
        summary.complete = failure.is_none();
        if summary.head.is_none() {
            let head = self.app.reader.head(&self.topic).await;
            summary.head = head.ok().flatten().map(HeadJson::from);
        }
        put_line(out, &EndJson { summary });
    }
}

fn put_line(out: &mut BytesMut, line: &impl Serialize) {
    serde_json::to_writer(out.writer(), line).expect("acks are JSON");
    out.put_u8(b'\n');
}
