//! One batch into the database, within a transaction that the caller begins and ends.
//!
//! Not here: commits, and what an error of theirs means (`commit.rs`); reading the tree (`open.rs`).
//! Invariants: the guard comes first, so nothing is written on another head or epoch (S4); the
//! tree of a topic's row is fewer than [`LEAVES_UNKEPT_MAX`] events behind.

use rusqlite::{Connection, params};

use super::row::int;
use crate::domain::{Batch, BatchMark, Data, Event, EventBody, Seq, receipt_code};

/// The Merkle tree is kept when the number of leaves passes a multiple of this: with many topics
/// each row that a batch changes is a page more to be written, and opening a topic reads the rest.
const LEAVES_UNKEPT_MAX: u64 = 64;
/// A batch of so many bytes has pages enough of its own; what opening a topic reads stays bounded.
const BYTES_UNKEPT_MAX: usize = 65_536;

/// The head's seq says which transaction it is of: the log never changes.
const GUARD: &str = "SELECT 1 FROM topic WHERE id = ?1 AND epoch = ?2
    AND (SELECT max(seq) FROM event WHERE topic = ?1) IS ?3";
const TREE: &str = "UPDATE topic SET leaves = ?2, frontier = ?3 WHERE id = ?1";
const EVENT: &str = r#"INSERT INTO event (topic, seq, "transaction", last, recorded_at, prev,
    epoch, root, key, digest, hash, type, content_type, metadata, data)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)"#;
const INVALIDATION_EVENT: &str = r#"INSERT INTO event (topic, seq, "transaction", last,
    recorded_at, epoch, root, invalidates, reason) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)"#;
const INVALIDATION: &str = r#"INSERT INTO invalidation
    (topic, "transaction", first_seq, last_seq, by_seq, by_transaction)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6)"#;
const IDEMPOTENCY: &str = "INSERT INTO idempotency (topic, key, request, receipt, recorded_at)
    VALUES (?1, ?2, ?3, ?4, ?5)";
const PRODUCER: &str = "INSERT INTO producer (topic, producer, epoch, next_line)
    VALUES (?1, ?2, ?3, ?4) ON CONFLICT (topic, producer)
    DO UPDATE SET epoch = excluded.epoch, next_line = excluded.next_line";
const PRODUCER_LINES: &str = "INSERT INTO producer_lines (topic, producer, first_line, receipts)
    VALUES (?1, ?2, ?3, ?4)";

/// Writes the batch. `false` where head or epoch are not those that it was planned on: then
/// nothing was written. On an error, part of it may have been.
pub fn insert(conn: &Connection, batch: &Batch) -> rusqlite::Result<bool> {
    if !guard(conn, batch)? {
        return Ok(false);
    }
    events(conn, batch)?;
    tree(conn, batch)?;
    records(conn, batch)?;
    Ok(true)
}

fn guard(conn: &Connection, batch: &Batch) -> rusqlite::Result<bool> {
    let expected = batch.expected.map(|head| int(head.seq.0));
    conn.prepare_cached(GUARD)?.exists(params![batch.topic.0, int(batch.epoch.0), expected])
}

fn tree(conn: &Connection, batch: &Batch) -> rusqlite::Result<()> {
    let (before, after) = (Seq::after(batch.expected).0, Seq::after(batch.head()).0);
    if before / LEAVES_UNKEPT_MAX != after / LEAVES_UNKEPT_MAX || batch.size() >= BYTES_UNKEPT_MAX {
        let peaks = batch.frontier.to_bytes();
        conn.prepare_cached(TREE)?.execute(params![batch.topic.0, int(after), peaks])?;
    }
    Ok(())
}

fn events(conn: &Connection, batch: &Batch) -> rusqlite::Result<()> {
    let Some((last, others)) = batch.events.split_last() else { return Ok(()) };
    let mut insert = conn.prepare_cached(EVENT)?;
    let mut event = |event: &Event, mark: Option<BatchMark>| {
        let EventBody::Content(content) = &event.body else {
            return invalidation_event(conn, batch.topic.0, event, mark);
        };
        let own_hash = !content.hash.is_of_digest(&content.digest);
        let (json, binary) = match &content.data {
            Data::Json(json) => (Some(json.as_str()), None),
            Data::Binary(bytes, _) => (None, Some(&**bytes)),
        };
        let data: &dyn rusqlite::ToSql = if json.is_some() { &json } else { &binary };
        insert.execute(params![
            batch.topic.0,
            int(event.version.seq.0),
            int(event.version.transaction.0),
            event.last,
            event.recorded_at.0,
            event.prev.map(|seq| int(seq.0)),
            mark.map(|mark| int(mark.epoch.0)),
            mark.map(|mark| mark.root.0),
            content.key.as_str(),
            content.digest,
            own_hash.then(|| content.hash.text().to_string()),
            content.event_type.as_ref().map(|text| text.as_str()),
            content.data.content_type().map(|text| text.as_str()),
            content.metadata.as_ref().map(|text| text.as_str()),
            data,
        ])
    };
    for other in others {
        event(other, None)?;
    }
    event(last, Some(batch.mark()))?;
    Ok(())
}

fn invalidation_event(
    conn: &Connection,
    topic: i64,
    event: &Event,
    mark: Option<BatchMark>,
) -> rusqlite::Result<usize> {
    let EventBody::Invalidation(invalidation) = &event.body else { return Ok(0) };
    conn.prepare_cached(INVALIDATION_EVENT)?.execute(params![
        topic,
        int(event.version.seq.0),
        int(event.version.transaction.0),
        event.last,
        event.recorded_at.0,
        mark.map(|mark| int(mark.epoch.0)),
        mark.map(|mark| mark.root.0),
        int(invalidation.invalidates.0),
        invalidation.reason.as_ref().map(|text| text.as_str()),
    ])
}

fn records(conn: &Connection, batch: &Batch) -> rusqlite::Result<()> {
    let topic = batch.topic.0;
    for record in &batch.invalidations {
        conn.prepare_cached(INVALIDATION)?.execute(params![
            topic,
            int(record.transaction.0),
            int(record.first.0),
            int(record.last.0),
            int(record.by.seq.0),
            int(record.by.transaction.0),
        ])?;
    }
    for record in &batch.idempotency {
        let receipt = receipt_code::encode([&record.receipt]);
        conn.prepare_cached(IDEMPOTENCY)?.execute(params![
            topic,
            record.key.as_str(),
            record.request,
            receipt,
            batch.recorded_at.0,
        ])?;
    }
    for record in &batch.producers {
        let (producer, epoch) = (record.producer.as_str(), int(record.epoch));
        conn.prepare_cached(PRODUCER)?.execute(params![
            topic,
            producer,
            epoch,
            int(record.next_line())
        ])?;
        if !record.receipts.is_empty() {
            let receipts = receipt_code::encode(&record.receipts);
            let lines = params![topic, producer, int(record.first_line), receipts];
            conn.prepare_cached(PRODUCER_LINES)?.execute(lines)?;
        }
    }
    Ok(())
}
