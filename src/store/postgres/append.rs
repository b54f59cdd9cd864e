//! The one statement that writes events: batches of many topics as arrays, a column each.
//!
//! Three prepared forms: *one* for one batch of nothing but events with JSON data, *many* for more
//! of these, *full* for everything. Which topics moved is the answer; the other batches were refused
//! by the guard.
//!
//! Not here: which batches go together, and what an error means for each (`lane.rs`).

use std::collections::HashSet;
use std::sync::Arc;

use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Error, Statement};

use super::row::{Micros, integer};
use crate::domain::{
    Batch, Content, ContentType, Data, EventBody, EventType, Invalidation, Json, Reason, Seq,
    TopicId, receipt_code,
};

const ONE: &str = include_str!("../../../sql/postgres/queries/append_one.sql");
const MANY: &str = include_str!("../../../sql/postgres/queries/append_many.sql");
const FULL: &str = include_str!("../../../sql/postgres/queries/append_full.sql");

/// All forms, prepared on one connection.
#[derive(Clone)]
pub(super) struct Append {
    one: Statement,
    many: Statement,
    full: Statement,
}

impl Append {
    pub(super) async fn prepare(client: &Client) -> Result<Self, Error> {
        let (one, many) = (client.prepare(ONE).await?, client.prepare(MANY).await?);
        Ok(Self { one, many, full: client.prepare(FULL).await? })
    }

    /// Writes batches, at most one of each topic, in order of topic; says which topics moved.
    /// The statement is on its way once the future has been polled.
    pub(super) async fn run(
        self,
        client: Arc<Client>,
        batches: Vec<Arc<Batch>>,
    ) -> Result<HashSet<TopicId>, Error> {
        let plain = batches.iter().all(|batch| is_plain(batch));
        let mut events = Events::of(&batches);
        let rows = match batches.as_slice() {
            [batch] if plain => {
                events.leave_out_what_follows_from(batch);
                let (head, shared) = (Head::of(batch), Shared::of(batch));
                let topic = head.values().into_iter().chain(shared.values());
                let parameters: Vec<_> = topic.chain(events.said()).collect();
                client.query(&self.one, &parameters).await?
            }
            _ => {
                let (heads, places) = (Heads::of(&batches), Places::of(&batches));
                let marks = Marks::of(&batches);
                let columns = heads.columns().into_iter().chain(places.columns());
                let plainly = columns.chain(events.said()).chain(marks.columns());
                if plain {
                    let parameters: Vec<_> = plainly.collect();
                    client.query(&self.many, &parameters).await?
                } else {
                    let records = Records::of(&batches);
                    let more = events.more().into_iter().chain(records.columns());
                    let parameters: Vec<_> = plainly.chain(more).collect();
                    client.query(&self.full, &parameters).await?
                }
            }
        };
        rows.iter().map(|row| Ok(TopicId(row.try_get(0)?))).collect()
    }
}

/// Whether a batch is nothing but events with JSON data.
fn is_plain(batch: &Batch) -> bool {
    let plain = |body: &EventBody| match body {
        EventBody::Content(content) => matches!(content.data, Data::Json(_)),
        EventBody::Invalidation(_) => false,
    };
    batch.idempotency.is_empty()
        && batch.producers.is_empty()
        && batch.events.iter().all(|event| plain(&event.body))
}

type Column<'a> = &'a (dyn ToSql + Sync);

/// What a batch makes of its topic, and on what condition.
struct Head {
    topic: i64,
    epoch: i64,
    expected: Option<i64>,
    seq: Option<i64>,
    transaction: Option<i64>,
    frontier: Vec<u8>,
}

impl Head {
    fn of(batch: &Batch) -> Self {
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

    fn values(&self) -> [Column<'_>; 6] {
        let Self { topic, epoch, expected, seq, transaction, frontier } = self;
        [topic, epoch, expected, seq, transaction, frontier]
    }
}

/// What the events of the only batch have in common.
struct Shared {
    first: i64,
    root: Vec<u8>,
    recorded_at: Micros,
}

impl Shared {
    fn of(batch: &Batch) -> Self {
        Self {
            first: integer(Seq::after(batch.expected).0),
            root: batch.mark().root.0.to_vec(),
            recorded_at: Micros(batch.recorded_at),
        }
    }

    fn values(&self) -> [Column<'_>; 3] {
        [&self.first, &self.root, &self.recorded_at]
    }
}

/// One row for each batch.
#[derive(Default)]
struct Heads {
    topic: Vec<i64>,
    epoch: Vec<i64>,
    expected: Vec<Option<i64>>,
    seq: Vec<Option<i64>>,
    transaction: Vec<Option<i64>>,
    frontier: Vec<Vec<u8>>,
}

impl Heads {
    fn of(batches: &[Arc<Batch>]) -> Self {
        let mut heads = Self::default();
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

    fn columns(&self) -> [Column<'_>; 6] {
        let Self { topic, epoch, expected, seq, transaction, frontier } = self;
        [topic, epoch, expected, seq, transaction, frontier]
    }
}

/// What only the last event of each batch has, as one row for each event.
#[derive(Default)]
struct Marks {
    epoch: Vec<Option<i64>>,
    root: Vec<Option<Vec<u8>>>,
}

impl Marks {
    fn of(batches: &[Arc<Batch>]) -> Self {
        let (mut marks, mut rows) = (Self::default(), 0);
        for batch in batches.iter().filter(|batch| !batch.events.is_empty()) {
            let mark = batch.mark();
            rows += batch.events.len();
            say(&mut marks.epoch, rows - 1, Some(integer(mark.epoch.0)));
            say(&mut marks.root, rows - 1, Some(mark.root.0.to_vec()));
        }
        marks
    }

    fn columns(&self) -> [Column<'_>; 2] {
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

/// Where events are, of batches that are not alone: one row for each event.
#[derive(Default)]
struct Places {
    topic: Vec<i64>,
    seq: Vec<i64>,
}

impl Places {
    fn of(batches: &[Arc<Batch>]) -> Self {
        let mut places = Self::default();
        for batch in batches {
            for event in &batch.events {
                places.topic.push(batch.topic.0);
                places.seq.push(integer(event.version.seq.0));
            }
        }
        places
    }

    fn columns(&self) -> [Column<'_>; 2] {
        [&self.topic, &self.seq]
    }
}

/// One row for each event. Columns end with their last value: the rest is NULL.
#[derive(Default)]
struct Events<'a> {
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

    fn of(batches: &'a [Arc<Batch>]) -> Self {
        let mut events = Self::with_room(batches.iter().map(|batch| batch.events.len()).sum());
        for batch in batches {
            for event in &batch.events {
                let row = events.last.len();
                events.transaction.push(integer(event.version.transaction.0));
                events.last.push(event.last);
                events.recorded_at.push(Micros(event.recorded_at));
                say(&mut events.prev, row, event.prev.map(|seq| integer(seq.0)));
                match &event.body {
                    EventBody::Content(content) => events.content(row, content),
                    EventBody::Invalidation(invalidation) => {
                        events.invalidation(row, invalidation);
                    }
                }
            }
        }
        events
    }

    /// Of the only batch: what the statement knows without being told for every event.
    fn leave_out_what_follows_from(&mut self, batch: &Batch) {
        if self.last.iter().all(|last| *last) {
            // Each is a transaction of its own: numbers go up by one with the seqs.
            self.transaction.clear();
            self.last.clear();
        }
        if batch.events.iter().all(|event| event.recorded_at == batch.recorded_at) {
            self.recorded_at.clear();
        }
    }

    fn content(&mut self, row: usize, content: &'a Content) {
        let own_hash = Some(&content.hash).filter(|hash| !hash.is_of_digest(&content.digest));
        let (json, binary) = match &content.data {
            Data::Json(json) => (Some(json.as_str()), None),
            Data::Binary(bytes, _) => (None, Some(&bytes[..])),
        };
        let content_type = content.data.content_type();
        say(&mut self.key, row, Some(content.key.as_str()));
        say(&mut self.hash, row, own_hash.map(|hash| hash.text().to_string()));
        say(&mut self.event_type, row, content.event_type.as_ref().map(EventType::as_str));
        say(&mut self.data, row, json);
        say(&mut self.binary, row, binary);
        say(&mut self.content_type, row, content_type.map(ContentType::as_str));
        say(&mut self.metadata, row, content.metadata.as_ref().map(Json::as_str));
        say(&mut self.digest, row, Some(&content.digest[..]));
    }

    fn invalidation(&mut self, row: usize, invalidation: &'a Invalidation) {
        say(&mut self.invalidates, row, Some(integer(invalidation.invalidates.0)));
        say(&mut self.reason, row, invalidation.reason.as_ref().map(Reason::as_str));
    }

    fn said(&self) -> [Column<'_>; 10] {
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

    fn more(&self) -> [Column<'_>; 4] {
        [&self.content_type, &self.binary, &self.invalidates, &self.reason]
    }
}

/// One row for each record that commits with its batch.
#[derive(Default)]
struct Records<'a> {
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
    fn of(batches: &'a [Arc<Batch>]) -> Self {
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

    fn columns(&self) -> [Column<'_>; 19] {
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
