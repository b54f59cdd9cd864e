//! Consecutive events, and how they look on the wire: made when the first reader needs it, and
//! then shared by all.
//!
//! Invariant: the events, and with them the request bodies that they are cut from, are let go
//! once their lines are made.

use std::ops::Range;
use std::sync::{Arc, OnceLock};

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;

use crate::domain::{Batch, Event, EventBody, ReadEvent, Seq, TransactionNo, Version};
use crate::wire::read::put_line;
use crate::wire::sse::{Kind, put_numbered};

/// A piece of a batch ends once it has this many bytes.
const PIECE_BYTES: usize = 256 << 10;
/// What an event weighs beyond its content: names of fields, numbers, times, places of cuts.
const EVENT_WEIGHT: usize = 256;

/// See the module.
pub(super) struct Piece {
    pub(super) first: Version,
    pub(super) last: Version,
    /// About what it takes in memory.
    pub(super) weight: usize,
    source: Mutex<Option<Source>>,
    lines: OnceLock<Cuts>,
    messages: OnceLock<Cuts>,
}

enum Source {
    Committed(Arc<Batch>, Range<usize>),
    Read(Vec<ReadEvent>),
}

/// Events one after the other in one buffer.
#[derive(Default)]
pub(super) struct Cuts {
    bytes: Bytes,
    cuts: Vec<Cut>,
}

struct Cut {
    seq: Seq,
    end: usize,
    kind: Kind,
}

fn weight(event: &Event) -> usize {
    // Twice: lines, and messages made of them.
    2 * (event.size() + EVENT_WEIGHT)
}

impl Piece {
    fn new(source: Source, first: Version, last: Version, weight: usize) -> Arc<Self> {
        let source = Mutex::new(Some(source));
        let (lines, messages) = (OnceLock::new(), OnceLock::new());
        Arc::new(Self { first, last, weight, source, lines, messages })
    }

    /// A durable batch whose transactions all stand, in pieces of fitting size.
    pub(super) fn of_batch(batch: &Arc<Batch>) -> Vec<Arc<Self>> {
        let mut pieces = Vec::new();
        let (mut begin, mut weighs) = (0, 0);
        for (at, event) in batch.events.iter().enumerate() {
            weighs += weight(event);
            if weighs >= 2 * PIECE_BYTES || at + 1 == batch.events.len() {
                let source = Source::Committed(Arc::clone(batch), begin..at + 1);
                let first = batch.events[begin].version;
                pieces.push(Self::new(source, first, event.version, weighs));
                (begin, weighs) = (at + 1, 0);
            }
        }
        pieces
    }

    /// Events from the store; `None` where there is none.
    pub(super) fn of_events(events: Vec<ReadEvent>) -> Option<Arc<Self>> {
        let first = events.first()?.event.version;
        let last = events.last()?.event.version;
        let weighs = events.iter().map(|read| weight(&read.event)).sum();
        Some(Self::new(Source::Read(events), first, last, weighs))
    }

    /// As lines of NDJSON.
    pub(super) fn lines(&self) -> &Cuts {
        self.lines.get_or_init(|| match self.source.lock().take() {
            Some(Source::Committed(batch, events)) => {
                Cuts::lines(batch.events[events].iter().map(|event| (event, None)))
            }
            Some(Source::Read(events)) => {
                Cuts::lines(events.iter().map(|read| (&read.event, read.invalidated_by)))
            }
            None => unreachable!("the source is taken only here, once"),
        })
    }

    /// As messages of an event stream.
    pub(super) fn messages(&self) -> &Cuts {
        self.messages.get_or_init(|| self.lines().messages())
    }
}

impl Cuts {
    fn lines<'e>(events: impl Iterator<Item = (&'e Event, Option<TransactionNo>)>) -> Self {
        let (mut out, mut cuts) = (BytesMut::new(), Vec::new());
        for (event, invalidated_by) in events {
            put_line(&mut out, event, invalidated_by);
            let kind = match event.body {
                EventBody::Content(_) => Kind::Event,
                EventBody::Invalidation(_) => Kind::Invalidation,
            };
            cuts.push(Cut { seq: event.version.seq, end: out.len(), kind });
        }
        Self { bytes: out.freeze(), cuts }
    }

    fn messages(&self) -> Self {
        let mut out = BytesMut::with_capacity(self.bytes.len() + 48 * self.cuts.len());
        let mut cuts = Vec::with_capacity(self.cuts.len());
        for (at, cut) in self.cuts.iter().enumerate() {
            let line = self.one(at);
            put_numbered(&mut out, cut.seq.0, cut.kind, &line[..line.len() - 1]);
            cuts.push(Cut { end: out.len(), ..*cut });
        }
        Self { bytes: out.freeze(), cuts }
    }

    /// The places of the events of a stretch.
    pub(super) fn stretch(&self, from: Seq, to: Seq) -> Range<usize> {
        let begin = self.cuts.partition_point(|cut| cut.seq < from);
        let end = self.cuts.partition_point(|cut| cut.seq <= to);
        begin..end.max(begin)
    }

    fn begin(&self, place: usize) -> usize {
        if place == 0 { 0 } else { self.cuts[place - 1].end }
    }

    fn one(&self, place: usize) -> &[u8] {
        &self.bytes[self.begin(place)..self.cuts[place].end]
    }

    /// The events at these places, sharing the buffer.
    pub(super) fn slice(&self, places: Range<usize>) -> Bytes {
        self.bytes.slice(self.begin(places.start)..self.begin(places.end))
    }

    /// Those of the events at these places whose key is written as `key`.
    pub(super) fn places_of(&self, key: &[u8], places: Range<usize>) -> Vec<usize> {
        // Before the key there are only numbers, so that nothing else can look like it.
        const FIELD: &[u8] = b",\"key\":";
        let is_its = |place: &usize| {
            let line = self.one(*place);
            let field = memchr::memmem::find(line, FIELD).map(|at| at + FIELD.len());
            self.cuts[*place].kind == Kind::Event
                && field.is_some_and(|at| line[at..].starts_with(key))
        };
        places.filter(is_its).collect()
    }
}
