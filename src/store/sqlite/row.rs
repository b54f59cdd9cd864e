//! Domain values to and from columns.
//!
//! Not here: which rows are read (`read.rs`) and written (`append.rs`).
//! Invariant: whatever is in the file, nothing here panics; what makes no sense is `Corrupt`.

use bytes::Bytes;
use bytestring::ByteString;
use rusqlite::Row;
use rusqlite::types::ValueRef;

use super::error::corrupt;
use crate::domain::{
    Content, ContentHash, ContentType, Data, Digest, Event, EventBody, EventType, Head,
    Invalidation, Json, Key, NameError, ReadEvent, Reason, Seq, Timestamp, TransactionNo, Version,
};
use crate::store::StoreError;

/// An event and what became of it, for [`event`]: a statement goes on with its own `WHERE`.
macro_rules! select_events {
    ($rest:literal) => {
        concat!(
            r#"SELECT e.seq, e."transaction", e.last, e.recorded_at, e.prev, e.invalidates, e.key,
                e.digest, e.hash, e.type, e.content_type, e.reason, e.metadata, e.data,
                i.by_transaction, i.by_seq
            FROM event AS e
            LEFT JOIN invalidation AS i
                ON e.topic = i.topic AND e."transaction" = i."transaction" "#,
            $rest
        )
    };
}
pub(super) use select_events;

/// What a topic `t` is joined with to know where it ends: its newest event, as `n`.
macro_rules! newest {
    () => {
        "event AS n ON t.id = n.topic AND n.seq = (SELECT max(seq) FROM event WHERE topic = t.id) "
    };
}
pub(super) use newest;

/// A position as SQLite keeps it. Beyond what it can hold there is nothing to find, and the
/// schema's checks let nothing be written there.
pub fn int(position: u64) -> i64 {
    i64::try_from(position).unwrap_or(i64::MAX)
}

/// A position from column `index`.
pub fn position(row: &Row<'_>, index: usize) -> Result<u64, StoreError> {
    unsigned(row.get(index)?)
}

/// A position, or none, from column `index`.
pub fn maybe(row: &Row<'_>, index: usize) -> Result<Option<u64>, StoreError> {
    row.get::<_, Option<i64>>(index)?.map(unsigned).transpose()
}

fn unsigned(number: i64) -> Result<u64, StoreError> {
    u64::try_from(number).map_err(|_| corrupt("a position is negative"))
}

/// A version.
pub fn version(seq: u64, transaction: u64) -> Version {
    Version { seq: Seq(seq), transaction: TransactionNo(transaction) }
}

/// A head from the columns `index` (seq) and `index + 1` (transaction).
pub fn head(row: &Row<'_>, index: usize) -> Result<Head, StoreError> {
    let (seq, transaction) = (maybe(row, index)?, maybe(row, index + 1)?);
    Ok(seq.zip(transaction).map(|(seq, transaction)| version(seq, transaction)))
}

/// A SHA-256 from column `index`.
pub fn digest(row: &Row<'_>, index: usize) -> Result<Digest, StoreError> {
    let bytes = row.get_ref(index)?.as_bytes().map_err(rusqlite::Error::from)?;
    bytes.try_into().map_err(|_| corrupt("a digest is not 32 bytes long"))
}

/// A hash from the columns `index` (text, NULL where it is the digest's) and its digest.
pub fn hash(row: &Row<'_>, index: usize, digest: Digest) -> Result<ContentHash, StoreError> {
    let hash = name(row, index, ContentHash::parse)?;
    Ok(hash.unwrap_or_else(|| ContentHash::of_digest(digest)))
}

/// Parses a text, where there is one.
fn name<T>(
    row: &Row<'_>,
    index: usize,
    parse: impl FnOnce(ByteString) -> Result<T, NameError>,
) -> Result<Option<T>, StoreError> {
    let text: Option<String> = row.get(index)?;
    let parsed = text.map(|text| parse(text.into())).transpose();
    parsed.map_err(|error| StoreError::Corrupt(crate::store::Cause::new(error)))
}

/// The key in column `index`.
pub fn key(row: &Row<'_>, index: usize) -> Result<Key, StoreError> {
    name(row, index, Key::parse)?.ok_or_else(|| corrupt("a key is missing"))
}

/// The event of a row of [`select_events`].
pub fn event(row: &Row<'_>) -> Result<ReadEvent, StoreError> {
    let event = Event {
        version: version(position(row, 0)?, position(row, 1)?),
        last: row.get(2)?,
        recorded_at: Timestamp(row.get(3)?),
        prev: maybe(row, 4)?.map(Seq),
        body: body(row)?,
    };
    Ok(ReadEvent { event, invalidated_by: maybe(row, 14)?.map(TransactionNo) })
}

/// The seq of the invalidation of the event of a row of [`select_events`].
pub fn invalidated_at(row: &Row<'_>) -> Result<Option<u64>, StoreError> {
    maybe(row, 15)
}

fn body(row: &Row<'_>) -> Result<EventBody, StoreError> {
    if let Some(invalidates) = maybe(row, 5)?.map(TransactionNo) {
        let reason = name(row, 11, Reason::parse)?;
        return Ok(EventBody::Invalidation(Invalidation { invalidates, reason }));
    }
    let key = key(row, 6)?;
    let digest = digest(row, 7)?;
    Ok(EventBody::Content(Content {
        key,
        hash: hash(row, 8, digest)?,
        event_type: name(row, 9, EventType::parse)?,
        data: data(row)?,
        metadata: name(row, 12, Json::from_valid)?,
        digest,
    }))
}

fn data(row: &Row<'_>) -> Result<Data, StoreError> {
    let content_type = name(row, 10, ContentType::parse)?;
    match (row.get_ref(13)?, content_type) {
        (ValueRef::Text(_), None) => {
            let json = name(row, 13, Json::from_valid)?.map(Data::Json);
            json.ok_or_else(|| corrupt("an event has no data"))
        }
        (ValueRef::Blob(bytes), Some(content_type)) => {
            Ok(Data::Binary(Bytes::copy_from_slice(bytes), content_type))
        }
        _ => Err(corrupt("an event's data is not of its content type")),
    }
}

/// The seq of the version before the event of a row of [`select_events`].
pub fn prev(row: &Row<'_>) -> Result<Option<u64>, StoreError> {
    maybe(row, 4)
}
