//! The tail of a topic: its newest events in memory, while somebody follows it.
//!
//! Invariants: the pieces are consecutive and end with the event `end`; an event gets in only
//! right behind it, so who asks for a position gets that event or is told to ask the store; what
//! an invalidation made untrue is gone before the invalidation is there.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::watch;

use super::Shared;
use super::piece::Piece;
use crate::domain::{Batch, EventBody, Head, ReadEvent, Seq, TopicName, TransactionNo};

/// Events are held at most this long (and a second): a reader that is further behind reads from
/// the store.
const HELD: Duration = Duration::from_secs(5);

/// See the module.
pub(super) struct Tail {
    pub(super) topic: TopicName,
    ring: Mutex<Ring>,
    /// Changes whenever there is something new to look at.
    moved: watch::Sender<()>,
    shared: Weak<Shared>,
}

#[derive(Default)]
struct Ring {
    /// The newest event that is in order here; `None` until somebody has said where the topic
    /// ends.
    end: Option<Head>,
    /// The newest head that anybody has told of.
    known: Head,
    pieces: VecDeque<(Arc<Piece>, Instant)>,
    bytes: usize,
    /// Somebody is reading what is missing behind `end`.
    filling: bool,
}

/// What there is at a position.
pub(super) enum Look {
    /// The events there; and the topic's head, if nothing is missing up to it.
    Piece(Arc<Piece>, Option<Head>),
    /// Only in the store: up to this seq.
    Behind(Seq),
    /// Nothing yet. The topic's head, if nothing is missing up to it.
    Nothing(Option<Head>),
}

impl Ring {
    fn next(&self) -> Seq {
        Seq::after(self.end.flatten())
    }

    fn start(&self) -> Seq {
        self.pieces.front().map_or(self.next(), |(piece, _)| piece.first.seq)
    }

    /// The head, if everything up to it is in order here.
    fn whole(&self) -> Option<Head> {
        self.end.filter(|end| *end >= self.known)
    }

    /// Whether somebody should read what is missing, and is to be told so.
    fn wants_filling(&mut self) -> bool {
        let missing = self.end.is_some_and(|end| end < self.known);
        missing && !std::mem::replace(&mut self.filling, true)
    }

    /// Drops events until those of a transaction, which does not stand any more, are gone.
    fn forget_through(&mut self, transaction: TransactionNo) -> usize {
        let count = self.pieces.iter().take_while(|(p, _)| p.first.transaction <= transaction);
        self.drop_first(count.count())
    }

    /// Says how many bytes are let go.
    fn drop_first(&mut self, count: usize) -> usize {
        let weight = self.pieces.drain(..count).map(|(piece, _)| piece.weight).sum();
        self.bytes -= weight;
        weight
    }
}

impl Tail {
    pub(super) fn new(topic: TopicName, shared: Weak<Shared>) -> Self {
        Self { topic, ring: Mutex::default(), moved: watch::Sender::new(()), shared }
    }

    /// Hears when there is something new.
    pub(super) fn hear(&self) -> watch::Receiver<()> {
        self.moved.subscribe()
    }

    /// The newest head that is known.
    pub(super) fn known(&self) -> Head {
        let ring = self.ring.lock();
        ring.known.max(ring.end.flatten())
    }

    /// What there is at a position.
    pub(super) fn look(&self, position: Seq) -> Look {
        let ring = self.ring.lock();
        let (start, next) = (ring.start(), ring.next());
        if position >= next {
            return Look::Nothing(ring.whole());
        }
        if position < start {
            return Look::Behind(Seq(start.0 - 1));
        }
        let place = ring.pieces.partition_point(|(piece, _)| piece.last.seq < position);
        Look::Piece(Arc::clone(&ring.pieces[place].0), ring.whole())
    }

    /// Somebody says that this is the head. `true`: what is missing must be read.
    pub(super) fn saw(&self, head: Head) -> bool {
        let mut ring = self.ring.lock();
        if ring.end.is_none() {
            ring.end = Some(head);
        }
        ring.known = ring.known.max(head);
        ring.wants_filling()
    }

    /// A batch is durable. `true`: what is missing must be read.
    pub(super) fn committed(&self, batch: &Arc<Batch>) -> bool {
        let begins = batch.events.first().map(|event| event.version.seq);
        let mut ring = self.ring.lock();
        if ring.end.is_none() {
            ring.end = Some(batch.expected);
        }
        // Whether what an invalidation is about stood when it was written, the store knows.
        if begins == Some(ring.next()) && batch.invalidations.is_empty() {
            ring.end = Some(batch.head());
            ring.known = ring.known.max(batch.head());
            self.add(&mut ring, Piece::of_batch(batch));
        } else {
            ring.known = ring.known.max(batch.head());
        }
        let fill = ring.wants_filling();
        drop(ring);
        self.moved.send_replace(());
        fill
    }

    /// What is missing: the first and the last seq. `None`: nothing, and the filling is over.
    pub(super) fn missing(&self) -> Option<(Seq, Seq)> {
        let mut ring = self.ring.lock();
        if let Some(known) = ring.known
            && ring.end.is_some_and(|end| end < ring.known)
        {
            return Some((ring.next(), known.seq));
        }
        ring.filling = false;
        None
    }

    /// The store has nothing behind the end: whoever told of more was wrong.
    pub(super) fn nothing_is_missing(&self) {
        let mut ring = self.ring.lock();
        ring.known = ring.end.flatten();
        drop(ring);
        self.moved.send_replace(());
    }

    /// Events that were missing, in order.
    pub(super) fn read(&self, mut events: Vec<ReadEvent>) {
        let mut ring = self.ring.lock();
        let next = ring.next();
        events.retain(|read| read.event.version.seq >= next);
        if events.first().is_none_or(|read| read.event.version.seq != next) {
            return;
        }
        for read in &events {
            if let EventBody::Invalidation(invalidation) = &read.event.body {
                let dropped = ring.forget_through(invalidation.invalidates);
                self.held(-(dropped as isize));
            }
        }
        let end = events.last().map(|read| read.event.version);
        let piece = Piece::of_events(events);
        ring.end = Some(end);
        ring.known = ring.known.max(end);
        self.add(&mut ring, piece);
        drop(ring);
        self.moved.send_replace(());
    }

    /// Drops what is old.
    pub(super) fn age(&self) {
        let mut ring = self.ring.lock();
        let old = ring.pieces.iter().take_while(|(_, since)| since.elapsed() > HELD).count();
        let dropped = ring.drop_first(old);
        drop(ring);
        self.held(-(dropped as isize));
    }

    fn add(&self, ring: &mut Ring, pieces: impl IntoIterator<Item = Arc<Piece>>) {
        let Some(shared) = self.shared.upgrade() else { return };
        let now = Instant::now();
        for piece in pieces {
            ring.bytes += piece.weight;
            shared.held(piece.weight as isize);
            ring.pieces.push_back((piece, now));
        }
        while !ring.pieces.is_empty()
            && (ring.bytes > shared.settings.topic_bytes_max || shared.is_over())
        {
            let dropped = ring.drop_first(1);
            shared.held(-(dropped as isize));
        }
    }

    fn held(&self, change: isize) {
        if let Some(shared) = self.shared.upgrade().filter(|_| change != 0) {
            shared.held(change);
        }
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        if let Some(shared) = self.shared.upgrade() {
            shared.held(-(self.ring.get_mut().bytes as isize));
            shared.forget(&self.topic);
        }
    }
}
