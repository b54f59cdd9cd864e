//! Live reads over HTTP: streams that stay open, and requests that wait.
//!
//! Not here: where the events come from (`live/`), what cuts a client that does not read
//! (`stall.rs`, `connection.rs`).
//!
//! Invariants: between two events there may be messages of the service, inside one never; what is
//! held for a client is what it has not taken of one piece of events.

use std::pin::Pin;
use std::time::Duration;

use actix_web::http::header::CACHE_CONTROL;
use actix_web::{HttpRequest, HttpResponse};
use bytes::Bytes;
use futures::stream;
use tokio::time::{Instant, Sleep, sleep_until};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::app::App;
use super::events::{failure, streamed};
use super::headers::{EVENT_STREAM, NDJSON};
use super::observe::request_id;
use super::problem::Problem;
use crate::domain::{Head, Version};
use crate::live::{Follower, Form, Step, Wish};
use crate::wire::head::HeadJson;
use crate::wire::sse::{Kind, message};

/// Answers with a stream that stays open.
///
/// # Errors
/// `unavailable`.
pub(super) async fn follow(
    request: &HttpRequest,
    app: &App,
    wish: Wish,
) -> Result<HttpResponse, Problem> {
    let form = wish.form;
    let follower = app.live.follow(wish).await?;
    let beat = Beat::new(app.limits.heartbeat_interval);
    let live =
        LiveStream { follower, form, beat, end: End::of(app), request_id: request_id(request) };
    let pieces = stream::unfold(Some(live), |live| async {
        let mut live = live?;
        match live.next().await {
            Next::Piece(bytes) => Some((Ok(bytes), Some(live))),
            Next::Last(bytes) => Some((Ok(bytes), None)),
            Next::Nothing => None,
        }
    });
    Ok(endless(request, form, pieces))
}

/// An answer that nobody should keep or gather.
pub(super) fn endless(
    request: &HttpRequest,
    form: Form,
    pieces: impl stream::Stream<Item = Result<Bytes, Problem>> + 'static,
) -> HttpResponse {
    let media = match form {
        Form::Lines => NDJSON,
        Form::Messages => EVENT_STREAM,
    };
    let mut answer = streamed(request, media, pieces);
    let headers = answer.headers_mut();
    headers.insert(CACHE_CONTROL, "no-store".parse().expect("it is visible ASCII"));
    // For a proxy (nginx), which would otherwise wait until it has a buffer full.
    let name = "x-accel-buffering".parse().expect("it is the name of a header");
    headers.insert(name, "no".parse().expect("it is visible ASCII"));
    answer
}

/// Waits until there is something of what is wished, but no longer than this, and not while the
/// service shuts down.
///
/// # Errors
/// `unavailable`.
pub(super) async fn wait(app: &App, wish: Wish, at_most: Duration) -> Result<(), Problem> {
    let of_key = wish.key.is_some();
    let mut follower = app.live.follow(wish).await?;
    let mut end = End::of(app);
    let mut late = Box::pin(tokio::time::sleep(at_most));
    loop {
        if of_key {
            tokio::select! {
                step = follower.step() => match step? {
                    Step::Events(_) | Step::End => return Ok(()),
                    Step::CaughtUp(_) => continue,
                    Step::Wait => {}
                },
                () = end.comes() => return Ok(()),
                () = &mut late => return Ok(()),
            }
        } else if follower.is_ready() {
            return Ok(());
        }
        tokio::select! {
            () = follower.moved() => {}
            () = end.comes() => return Ok(()),
            () = &mut late => return Ok(()),
        }
    }
}

/// When the service shuts down.
pub(super) struct End {
    token: CancellationToken,
    comes: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl End {
    pub(super) fn of(app: &App) -> Self {
        let token = app.draining.clone();
        Self { comes: Box::pin(token.clone().cancelled_owned()), token }
    }

    pub(super) fn is_here(&self) -> bool {
        self.token.is_cancelled()
    }

    pub(super) async fn comes(&mut self) {
        if !self.is_here() {
            self.comes.as_mut().await;
        }
    }
}

/// When the next heartbeat is due.
pub(super) struct Beat {
    every: Duration,
    due: Pin<Box<Sleep>>,
}

impl Beat {
    pub(super) fn new(every: Duration) -> Self {
        Self { every, due: Box::pin(sleep_until(Instant::now() + every)) }
    }

    /// Whether it is due; if so, the next one is not before its time.
    pub(super) fn is_due(&mut self) -> bool {
        let now = Instant::now();
        let due = now >= self.due.deadline();
        if due {
            self.due.as_mut().reset(now + self.every);
        }
        due
    }

    pub(super) async fn comes(&mut self) {
        self.due.as_mut().await;
    }
}

/// What a stream gives next.
enum Next {
    Piece(Bytes),
    Last(Bytes),
    Nothing,
}

/// One client's stream.
struct LiveStream {
    follower: Follower,
    form: Form,
    beat: Beat,
    end: End,
    request_id: String,
}

impl LiveStream {
    async fn next(&mut self) -> Next {
        loop {
            let head = self.follower.head();
            if self.end.is_here() {
                return self.says(Kind::End, head).map_or(Next::Nothing, Next::Last);
            }
            if self.beat.is_due()
                && let Some(beat) = self.says(Kind::Heartbeat, head)
            {
                return Next::Piece(beat);
            }
            let step = tokio::select! {
                biased;
                step = self.follower.step() => step,
                () = self.end.comes() => continue,
            };
            match step {
                Ok(Step::Events(events)) => return Next::Piece(events),
                Ok(Step::CaughtUp(head)) => {
                    if let Some(told) = self.says(Kind::CaughtUp, head) {
                        return Next::Piece(told);
                    }
                }
                Ok(Step::Wait) => self.wait().await,
                Ok(Step::End) => return Next::Nothing,
                Err(error) => return Next::Last(self.failed(&error.into())),
            }
        }
    }

    async fn wait(&mut self) {
        tokio::select! {
            () = self.follower.moved() => {}
            () = self.end.comes() => {}
            () = self.beat.comes() => {}
        }
    }

    /// What the service itself says. Lines are events: among them a heartbeat is a blank, which is
    /// part of no value, in front of the next line. Without it a client that is gone would only be
    /// noticed at the next event.
    fn says(&self, kind: Kind, head: Head) -> Option<Bytes> {
        match self.form {
            Form::Messages => Some(message(kind, head_json(head).as_bytes())),
            Form::Lines => (kind == Kind::Heartbeat).then(|| Bytes::from_static(b" ")),
        }
    }

    fn failed(&self, problem: &Problem) -> Bytes {
        match self.form {
            Form::Lines => failure(problem, &self.request_id),
            Form::Messages => error_message(problem, &self.request_id),
        }
    }
}

/// The last message of a stream that cannot go on.
fn error_message(problem: &Problem, request_id: &str) -> Bytes {
    let problem = serde_json::to_vec(&problem.json(request_id)).expect("a problem is JSON");
    message(Kind::Error, &problem)
}

/// `{"head":{"seq":1040,"transaction":17}}`, or `{"head":null}` for a topic without events.
fn head_json(head: Head) -> String {
    let head = head.map(|version: Version| HeadJson::from(version));
    let head = serde_json::to_string(&head).expect("a head is JSON");
    format!("{{\"head\":{head}}}")
}
