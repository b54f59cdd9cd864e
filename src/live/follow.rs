//! A reader's way through a topic: from the store as far as the tail does not reach, then from
//! the tail, and back to the store whenever it has fallen behind.
//!
//! Invariant: `position` is the first event that was not given yet, and everything given begins
//! there. How it got there decides nothing.

use std::sync::Arc;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use tokio::sync::watch;

use super::fill::{PAUSE_MAX, PAUSE_MIN};
use super::piece::{Cuts, Piece};
use super::tail::{Look, Tail};
use super::walk::Walk;
use super::{Shared, Wish};
use crate::domain::{Head, ReadEvent, Seq};
use crate::metrics;
use crate::store::{Cause, Direction, StoreError};
use crate::wire::read::key_json;

/// How events are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// As lines of NDJSON.
    Lines,
    /// As messages of an event stream.
    Messages,
}

/// What comes next for a reader.
#[derive(Debug)]
pub enum Step {
    /// Events, at least one.
    Events(Bytes),
    /// Everything up to this head has been given; comes once.
    CaughtUp(Head),
    /// There is nothing before something moves.
    Wait,
    /// The last event that was wanted has been given.
    End,
}

/// Reads a topic from a position on, and stays.
pub struct Follower {
    shared: Arc<Shared>,
    tail: Arc<Tail>,
    heard: watch::Receiver<()>,
    walk: Walk,
    position: Seq,
    to: Seq,
    /// The key as JSON, where only its events are wanted.
    key: Option<Vec<u8>>,
    form: Form,
    caught_up: bool,
    /// What was the head when the reader came to the tail.
    goal: Option<Head>,
}

impl Follower {
    pub(super) fn new(shared: Arc<Shared>, tail: Arc<Tail>, wish: Wish) -> Self {
        metrics::live_readers("events", 1.0);
        let reader = Arc::clone(&shared.reader);
        let heard = tail.hear();
        let key = wish.key.as_ref().map(key_json);
        Self {
            shared,
            tail,
            heard,
            walk: Walk::new(reader, wish.topic, wish.key, Direction::Forward),
            position: wish.from,
            to: wish.to,
            key,
            form: wish.form,
            caught_up: false,
            goal: None,
        }
    }

    /// The topic's newest head that is known here.
    #[must_use]
    pub fn head(&self) -> Head {
        self.tail.known()
    }

    /// Whether something is at the position, or the reader wants no more.
    pub fn is_ready(&mut self) -> bool {
        self.heard.borrow_and_update();
        self.position > self.to || !matches!(self.tail.look(self.position), Look::Nothing(_))
    }

    /// What comes next. Dropping the future loses nothing.
    ///
    /// # Errors
    /// When the store has not answered for as long as is configured, or makes no sense.
    pub async fn step(&mut self) -> Result<Step, StoreError> {
        loop {
            if self.position > self.to {
                return Ok(Step::End);
            }
            if let Some(goal) = self.goal.filter(|goal| self.position >= Seq::after(*goal)) {
                return Ok(self.catch_up(goal));
            }
            self.heard.borrow_and_update();
            let events = match self.tail.look(self.position) {
                Look::Nothing(Some(head)) if !self.caught_up => return Ok(self.catch_up(head)),
                Look::Nothing(_) => return Ok(Step::Wait),
                Look::Piece(piece, head) => {
                    if !self.caught_up && self.goal.is_none() {
                        self.goal = head;
                    }
                    self.give("memory", &piece)
                }
                Look::Behind(to) => self.read_store(to.min(self.to)).await?,
            };
            if !events.is_empty() {
                return Ok(Step::Events(events));
            }
        }
    }

    /// Returns when there may be something new. Dropping the future loses nothing.
    pub async fn moved(&mut self) {
        if self.heard.changed().await.is_err() {
            std::future::pending().await // It ends with the tail, which is held here.
        }
    }

    fn catch_up(&mut self, head: Head) -> Step {
        (self.caught_up, self.goal) = (true, None);
        Step::CaughtUp(head)
    }

    /// What is wanted of a piece, and moves on behind it.
    fn give(&mut self, from: &'static str, piece: &Piece) -> Bytes {
        let lines = piece.lines();
        let cuts = match self.form {
            Form::Lines => lines,
            Form::Messages => piece.messages(),
        };
        let stretch = lines.stretch(self.position, self.to);
        self.position = piece.last.seq.next();
        let Some(key) = &self.key else {
            metrics::live_events(from, stretch.len());
            return cuts.slice(stretch);
        };
        let places = lines.places_of(key, stretch);
        metrics::live_events(from, places.len());
        join(cuts, &places)
    }

    /// The next events up to `to` that are only in the store.
    async fn read_store(&mut self, to: Seq) -> Result<Bytes, StoreError> {
        self.walk.stretch(self.position, to);
        let events = self.fetch().await?;
        let first = events.first().map(|read| read.event.version.seq);
        if self.key.is_none() && first != Some(self.position) {
            let cause = Cause::new(format!("event {} is missing", self.position));
            return Err(StoreError::Corrupt(cause));
        }
        let Some(piece) = Piece::of_events(events) else {
            self.position = to.next(); // A history that has nothing there.
            return Ok(Bytes::new());
        };
        Ok(self.give("store", &piece))
    }

    /// Asks until the store answers.
    async fn fetch(&mut self) -> Result<Vec<ReadEvent>, StoreError> {
        let (began, mut pause) = (Instant::now(), PAUSE_MIN);
        loop {
            match self.walk.next().await {
                Err(StoreError::Unavailable(_))
                    if began.elapsed() + pause < self.shared.settings.patience =>
                {
                    metrics::store_error("live");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(PAUSE_MAX);
                }
                answer => return answer,
            }
        }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        metrics::live_readers("events", -1.0);
    }
}

/// Some events, one after the other.
fn join(cuts: &Cuts, places: &[usize]) -> Bytes {
    let mut out = BytesMut::new();
    for place in places {
        out.extend_from_slice(&cuts.slice(*place..place + 1));
    }
    out.freeze()
}
