//! Goes over a stretch of a topic, or of a key's history, in fetches of fitting size.
//!
//! Invariants: a fetch is bounded in events and bytes (`fetch.rs`); the chain of a history is
//! walked a fixed number of times, not once for each fetch.

use std::sync::Arc;

use futures::stream::{self, Stream};

use super::fetch::{BYTES_MAX, Fetch};
use super::milestones::Milestones;
use crate::domain::limits::POSITION_MAX;
use crate::domain::{Key, ReadEvent, Seq, TopicName};
use crate::store::{Direction, EventSourceReader, Scan, StoreError};

/// See the module.
pub struct Walk {
    reader: Arc<dyn EventSourceReader>,
    topic: TopicName,
    key: Option<Key>,
    /// What is left to read.
    from: Seq,
    to: Seq,
    direction: Direction,
    fetch: Fetch,
    milestones: Milestones,
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
        let (fetch, milestones) = (Fetch::default(), Milestones::default());
        Self { reader, topic, key, from, to, direction, fetch, milestones, done: false }
    }

    /// Goes over this stretch, both ends included, from here on.
    pub fn stretch(&mut self, from: Seq, to: Seq) {
        if from < self.from {
            self.milestones = Milestones::default(); // They are known from where they were asked.
        }
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

    /// The next fetch is of at most so many events.
    pub fn at_most(&mut self, events: usize) {
        self.fetch.at_most(events);
    }

    /// The next events; empty at the end. Can be called again after an error.
    ///
    /// # Errors
    /// When the store cannot answer now, or what it keeps makes no sense.
    pub async fn next(&mut self) -> Result<Vec<ReadEvent>, StoreError> {
        if self.done || self.from > self.to {
            return Ok(Vec::new());
        }
        let Self { from, mut to, direction, .. } = *self;
        let limit = self.fetch.events();
        let mut is_last_part = true;
        if let (Some(key), Direction::Forward) = (&self.key, direction) {
            let stretch = (from, to);
            let above = self.milestones.above(&*self.reader, &self.topic, key, stretch).await?;
            is_last_part = above.is_none_or(|above| above >= to);
            to = above.unwrap_or(to).min(to);
            if above.is_none() {
                self.done = true;
                return Ok(Vec::new());
            }
        }
        let scan = Scan { from, to, limit, bytes: BYTES_MAX, direction };
        let events = match &self.key {
            None => self.reader.events(&self.topic, scan).await?,
            Some(key) => self.reader.history(&self.topic, key, scan).await?,
        };
        let more = self.fetch.learn(limit, &events);
        let Some(last) = events.last().map(|read| &read.event) else {
            self.done = true;
            return Ok(events);
        };
        self.done = !more && is_last_part;
        match (direction, last.prev) {
            (Direction::Forward, _) if more => self.from = last.version.seq.next(),
            (Direction::Forward, _) => self.from = to.next(),
            (Direction::Backward, _) if last.version.seq == Seq(0) => self.done = true,
            // A version of the key, from which the store walks on.
            (Direction::Backward, Some(prev)) if self.key.is_some() => self.to = prev,
            (Direction::Backward, _) => self.to = Seq(last.version.seq.0 - 1),
        }
        Ok(events)
    }

    /// All of it, fetch by fetch. After an error it goes on where it was.
    pub fn fetches(self) -> impl Stream<Item = Result<Vec<ReadEvent>, StoreError>> + Send {
        stream::unfold(self, async |mut walk| match walk.next().await {
            Ok(events) if events.is_empty() => None,
            fetched => Some((fetched, walk)),
        })
    }
}
