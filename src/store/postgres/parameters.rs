//! Batches as the parameters of the statement that appends them: as values where there is one, as
//! columns, an array each, where there are more.
//!
//! Not here: which form of the statement takes which of them (`append.rs`).

use std::sync::Arc;

use tokio_postgres::types::ToSql;

use super::row::{Micros, integer};
use crate::domain::{
    Batch, Content, ContentType, Data, Event, EventBody, EventType, Json, Reason, Seq, receipt_code,
};

/// A value or an array of values.
pub(super) type Parameter<'a> = &'a (dyn ToSql + Sync);

/// What a batch makes of its topic, and on what condition.
pub(super) struct Head {
    topic: i64,
    epoch: i64,
    expected: Option<i64>,
    seq: Option<i64>,
    transaction: Option<i64>,
    frontier: Vec<u8>,
}

impl Head {
    pub(super) fn of(batch: &Batch) -> Self {
        let head = batch.head();
        Self {
            topic: batch.topic.0,
            epoch: integer(batch.epoch.0),
            expected: batch.expected.map(|head| integer(head.seq.0)),
            seq: head.map(|head| integer(head.seq.0)),
            transaction: head.map(|head| integer(head.transaction.0)),
            frontier: batch.frontier.to_bytes(),
        }
    }

    pub(super) fn values(&self) -> [Parameter<'_>; 6] {
        let Self { topic, epoch, expected, seq, transaction, frontier } = self;
        [topic, epoch, expected, seq, transaction, frontier]
    }
}

/// What the events of the only batch have in common.
pub(super) struct Shared {
    first: i64,
    root: Vec<u8>,
    recorded_at: Micros,
}

impl Shared {
    pub(super) fn of(batch: &Batch) -> Self {
        Self {
            first: integer(Seq::after(batch.expected).0),
            root: batch.mark().root.0.to_vec(),
            recorded_at: Micros(batch.recorded_at),
        }
    }

    pub(super) fn values(&self) -> [Parameter<'_>; 3] {
        [&self.first, &self.root, &self.recorded_at]
    }
}

/// One row for each batch.
pub(super) struct Heads {
    topic: Vec<i64>,
    epoch: Vec<i64>,
    expected: Vec<Option<i64>>,
    seq: Vec<Option<i64>>,
    transaction: Vec<Option<i64>>,
    frontier: Vec<Vec<u8>>,
}

impl Heads {
    fn with_room(rows: usize) -> Self {
        Self {
            topic: Vec::with_capacity(rows),
            epoch: Vec::with_capacity(rows),
            expected: Vec::with_capacity(rows),
            seq: Vec::with_capacity(rows),
            transaction: Vec::with_capacity(rows),
            frontier: Vec::with_capacity(rows),
        }
    }

    pub(super) fn of(batches: &[Arc<Batch>]) -> Self {
        let mut heads = Self::with_room(batches.len());
        for head in batches.iter().map(|batch| Head::of(batch)) {
            heads.topic.push(head.topic);
            heads.epoch.push(head.epoch);
            heads.expected.push(head.expected);
            heads.seq.push(head.seq);
            heads.transaction.push(head.transaction);
            heads.frontier.push(head.frontier);
        }
        heads
    }

    pub(super) fn columns(&self) -> [Parameter<'_>; 6] {
        let Self { topic, epoch, expected, seq, transaction, frontier } = self;
        [topic, epoch, expected, seq, transaction, frontier]
    }
}

/// What only the last event of each batch has, as one row for each event.
pub(super) struct Marks {
    epoch: Vec<Option<i64>>,
    root: Vec<Option<Vec<u8>>>,
}

impl Marks {
    pub(super) fn of(batches: &[Arc<Batch>]) -> Self {
        let events = count(batches);
        let (epoch, root) = (Vec::with_capacity(events), Vec::with_capacity(events));
        let (mut marks, mut rows) = (Self { epoch, root }, 0);
        for batch in batches.iter().filter(|batch| !batch.events.is_empty()) {
            let mark = batch.mark();
            rows += batch.events.len();
            say(&mut marks.epoch, rows - 1, Some(integer(mark.epoch.0)));
            say(&mut marks.root, rows - 1, Some(mark.root.0.to_vec()));
        }
        marks
    }

    pub(super) fn columns(&self) -> [Parameter<'_>; 2] {
        [&self.epoch, &self.root]
    }
}

/// Says a value of a row, the last of which something is said. A column ends with its last value:
/// the rest is NULL.
fn say<T>(column: &mut Vec<Option<T>>, row: usize, value: Option<T>) {
    if value.is_some() {
        column.resize_with(row, || None);
        column.push(value);
    }
}

/// How many events there are.
fn count(batches: &[Arc<Batch>]) -> usize {
    batches.iter().map(|batch| batch.events.len()).sum()
}

/// Where events are, of batches that are not alone: one row for each event.
pub(super) struct Places {
    topic: Vec<i64>,
    seq: Vec<i64>,
}

impl Places {
    pub(super) fn of(batches: &[Arc<Batch>]) -> Self {
        let events = count(batches);
        let (topic, seq) = (Vec::with_capacity(events), Vec::with_capacity(events));
        let mut places = Self { topic, seq };
        for batch in batches {
            for event in &batch.events {
                places.topic.push(batch.topic.0);
                places.seq.push(integer(event.version.seq.0));
            }
        }
        places
    }

    pub(super) fn columns(&self) -> [Parameter<'_>; 2] {
        [&self.topic, &self.seq]
    }
}

/// One event, as a row.
pub(super) struct EventRow<'a> {
    transaction: i64,
    last: bool,
    recorded_at: Micros,
    key: Option<&'a str>,
    hash: Option<String>,
    event_type: Option<&'a str>,
    data: Option<&'a str>,
    metadata: Option<&'a str>,
    digest: Option<&'a [u8]>,
    prev: Option<i64>,
    content_type: Option<&'a str>,
    binary: Option<&'a [u8]>,
    invalidates: Option<i64>,
    reason: Option<&'a str>,
}

impl<'a> EventRow<'a> {
    pub(super) fn of(event: &'a Event) -> Self {
        let bare = Self {
            transaction: integer(event.version.transaction.0),
            last: event.last,
            recorded_at: Micros(event.recorded_at),
            key: None,
            hash: None,
            event_type: None,
            data: None,
            metadata: None,
            digest: None,
            prev: event.prev.map(|seq| integer(seq.0)),
            content_type: None,
            binary: None,
            invalidates: None,
            reason: None,
        };
        match &event.body {
            EventBody::Content(content) => bare.with_content(content),
            EventBody::Invalidation(invalidation) => Self {
                invalidates: Some(integer(invalidation.invalidates.0)),
                reason: invalidation.reason.as_ref().map(Reason::as_str),
                ..bare
            },
        }
    }

    fn with_content(self, content: &'a Content) -> Self {
        let own_hash = Some(&content.hash).filter(|hash| !hash.is_of_digest(&content.digest));
        let (data, binary) = match &content.data {
            Data::Json(json) => (Some(json.as_str()), None),
            Data::Binary(bytes, _) => (None, Some(&bytes[..])),
        };
        Self {
            key: Some(content.key.as_str()),
            hash: own_hash.map(|hash| hash.text().to_string()),
            event_type: content.event_type.as_ref().map(EventType::as_str),
            data,
            metadata: content.metadata.as_ref().map(Json::as_str),
            digest: Some(&content.digest),
            content_type: content.data.content_type().map(ContentType::as_str),
            binary,
            ..self
        }
    }

    /// As the only event of the only batch, with JSON data.
    pub(super) fn values(&self) -> [Parameter<'_>; 8] {
        let Self { recorded_at, key, hash, event_type, data, metadata, digest, prev, .. } = self;
        [recorded_at, key, hash, event_type, data, metadata, digest, prev]
    }
}

/// One row for each event. Columns end with their last value: the rest is NULL.
#[derive(Default)]
pub(super) struct Events<'a> {
    transaction: Vec<i64>,
    last: Vec<bool>,
    recorded_at: Vec<Micros>,
    key: Vec<Option<&'a str>>,
    hash: Vec<Option<String>>,
    event_type: Vec<Option<&'a str>>,
    data: Vec<Option<&'a str>>,
    metadata: Vec<Option<&'a str>>,
    digest: Vec<Option<&'a [u8]>>,
    prev: Vec<Option<i64>>,
    content_type: Vec<Option<&'a str>>,
    binary: Vec<Option<&'a [u8]>>,
    invalidates: Vec<Option<i64>>,
    reason: Vec<Option<&'a str>>,
}

impl<'a> Events<'a> {
    /// Room for so many rows in the columns that nearly every event has.
    fn with_room(rows: usize) -> Self {
        Self {
            transaction: Vec::with_capacity(rows),
            last: Vec::with_capacity(rows),
            recorded_at: Vec::with_capacity(rows),
            key: Vec::with_capacity(rows),
            data: Vec::with_capacity(rows),
            digest: Vec::with_capacity(rows),
            ..Self::default()
        }
    }

    pub(super) fn of(batches: &'a [Arc<Batch>]) -> Self {
        let mut events = Self::with_room(count(batches));
        for event in batches.iter().flat_map(|batch| &batch.events) {
            events.push(EventRow::of(event));
        }
        events
    }

    fn push(&mut self, event: EventRow<'a>) {
        let row = self.last.len();
        self.transaction.push(event.transaction);
        self.last.push(event.last);
        self.recorded_at.push(event.recorded_at);
        say(&mut self.key, row, event.key);
        say(&mut self.hash, row, event.hash);
        say(&mut self.event_type, row, event.event_type);
        say(&mut self.data, row, event.data);
        say(&mut self.metadata, row, event.metadata);
        say(&mut self.digest, row, event.digest);
        say(&mut self.prev, row, event.prev);
        say(&mut self.content_type, row, event.content_type);
        say(&mut self.binary, row, event.binary);
        say(&mut self.invalidates, row, event.invalidates);
        say(&mut self.reason, row, event.reason);
    }

    /// Of the only batch: what the statement knows without being told for every event.
    pub(super) fn leave_out_what_follows_from(&mut self, batch: &Batch) {
        if self.last.iter().all(|last| *last) {
            // Each is a transaction of its own: numbers go up by one with the seqs.
            self.transaction.clear();
            self.last.clear();
        }
        if batch.events.iter().all(|event| event.recorded_at == batch.recorded_at) {
            self.recorded_at.clear();
        }
    }

    pub(super) fn said(&self) -> [Parameter<'_>; 10] {
        [
            &self.transaction,
            &self.last,
            &self.recorded_at,
            &self.key,
            &self.hash,
            &self.event_type,
            &self.data,
            &self.metadata,
            &self.digest,
            &self.prev,
        ]
    }

    pub(super) fn more(&self) -> [Parameter<'_>; 4] {
        [&self.content_type, &self.binary, &self.invalidates, &self.reason]
    }
}

/// One row for each record that commits with its batch.
#[derive(Default)]
pub(super) struct Records<'a> {
    invalidation: [Vec<i64>; 6],
    idempotency_topic: Vec<i64>,
    idempotency_key: Vec<&'a str>,
    request: Vec<&'a [u8]>,
    receipt: Vec<Vec<u8>>,
    recorded_at: Vec<Micros>,
    producer_topic: Vec<i64>,
    producer: Vec<&'a str>,
    epoch: Vec<i64>,
    next_line: Vec<i64>,
    lines_topic: Vec<i64>,
    lines_producer: Vec<&'a str>,
    first_line: Vec<i64>,
    receipts: Vec<Vec<u8>>,
}

impl<'a> Records<'a> {
    pub(super) fn of(batches: &'a [Arc<Batch>]) -> Self {
        let mut records = Self::default();
        for batch in batches {
            records.add(batch);
        }
        records
    }

    fn add(&mut self, batch: &'a Batch) {
        let topic = batch.topic.0;
        for record in &batch.invalidations {
            let by = record.by;
            let numbers = [record.transaction.0, record.first.0, record.last.0, by.seq.0];
            self.invalidation[0].push(topic);
            for (column, number) in self.invalidation[1..5].iter_mut().zip(numbers) {
                column.push(integer(number));
            }
            self.invalidation[5].push(integer(by.transaction.0));
        }
        for record in &batch.idempotency {
            self.idempotency_topic.push(topic);
            self.idempotency_key.push(record.key.as_str());
            self.request.push(&record.request);
            self.receipt.push(receipt_code::encode([&record.receipt]));
            self.recorded_at.push(Micros(batch.recorded_at));
        }
        for record in &batch.producers {
            self.producer_topic.push(topic);
            self.producer.push(record.producer.as_str());
            self.epoch.push(integer(record.epoch));
            self.next_line.push(integer(record.next_line()));
            if !record.receipts.is_empty() {
                self.lines_topic.push(topic);
                self.lines_producer.push(record.producer.as_str());
                self.first_line.push(integer(record.first_line));
                self.receipts.push(receipt_code::encode(&record.receipts));
            }
        }
    }

    pub(super) fn columns(&self) -> [Parameter<'_>; 19] {
        let [topic, transaction, first, last, by_seq, by_transaction] = &self.invalidation;
        [
            topic,
            transaction,
            first,
            last,
            by_seq,
            by_transaction,
            &self.idempotency_topic,
            &self.idempotency_key,
            &self.request,
            &self.receipt,
            &self.recorded_at,
            &self.producer_topic,
            &self.producer,
            &self.epoch,
            &self.next_line,
            &self.lines_topic,
            &self.lines_producer,
            &self.first_line,
            &self.receipts,
        ]
    }
}
