//! Goes over a stretch of a topic, or of a key's history, in fetches of fitting size.
//!
//! Invariant: what a fetch holds is bounded by its number of events and, after the first ones,
//! nearly by its bytes.

use std::sync::Arc;

use crate::domain::limits::POSITION_MAX;
use crate::domain::{Key, ReadEvent, Seq, TopicName};
use crate::store::{Direction, EventSourceReader, Scan, StoreError};

/// Events that are fetched at first; more, up to the second, as long as they are small.
const FETCH: (usize, usize) = (16, 1024);
/// Bytes that one fetch should not exceed by much.
const FETCH_BYTES: usize = 1 << 20;

/// See the module.
pub struct Walk {
    reader: Arc<dyn EventSourceReader>,
    topic: TopicName,
    key: Option<Key>,
    /// What is left to read.
    from: Seq,
    to: Seq,
    direction: Direction,
    fetch: usize,
    done: bool,
}

impl Walk {
    /// Goes over all of a topic, or of a key's history.
    #[must_use]
    pub fn new(
        reader: Arc<dyn EventSourceReader>,
        topic: TopicName,
        key: Option<Key>,
        direction: Direction,
    ) -> Self {
        let (from, to) = (Seq(0), Seq(POSITION_MAX - 1));
        Self { reader, topic, key, from, to, direction, fetch: FETCH.0, done: false }
    }

    /// Goes over this stretch, both ends included, from here on.
    pub fn stretch(&mut self, from: Seq, to: Seq) {
        (self.from, self.to, self.done) = (from, to, false);
    }

    /// Of one key only?
    #[must_use]
    pub fn is_history(&self) -> bool {
        self.key.is_some()
    }

    /// Which end comes first.
    #[must_use]
    pub fn direction(&self) -> Direction {
        self.direction
    }

    /// The next events; empty at the end. Can be called again after an error.
    ///
    /// # Errors
    /// When the store cannot answer now, or what it keeps makes no sense.
    pub async fn next(&mut self) -> Result<Vec<ReadEvent>, StoreError> {
        if self.done || self.from > self.to {
            return Ok(Vec::new());
        }
        let Self { from, to, direction, fetch, .. } = *self;
        let scan = Scan { from, to, limit: fetch, direction };
        let events = match &self.key {
            None => self.reader.events(&self.topic, scan).await?,
            Some(key) => self.reader.history(&self.topic, key, scan).await?,
        };
        let Some(last) = events.last().map(|read| read.event.version.seq) else {
            self.done = true;
            return Ok(events);
        };
        match direction {
            Direction::Forward => self.from = last.next(),
            Direction::Backward if last.0 == 0 => self.done = true,
            Direction::Backward => self.to = Seq(last.0 - 1),
        }
        Ok(events)
    }

    /// Fits the next fetch to the bytes that this one had.
    pub fn fit(&mut self, bytes: usize) {
        self.fetch = if bytes > FETCH_BYTES {
            (self.fetch / 4).max(1)
        } else if bytes < FETCH_BYTES / 2 {
            (self.fetch * 4).min(FETCH.1)
        } else {
            self.fetch
        };
    }

    /// The next fetch is of at most so many events.
    pub fn at_most(&mut self, events: usize) {
        self.fetch = self.fetch.min(events.max(1));
    }
}
