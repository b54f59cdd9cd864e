//! Values of the domain from columns, and back.
//!
//! Invariant: what does not parse is `Corrupt`, never a panic.

use bytes::{Bytes, BytesMut};
use bytestring::ByteString;
use tokio_postgres::Row;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};

use super::super::{Cause, StoreError};
use super::error::corrupt;
use crate::domain::{
    Content, ContentHash, ContentType, Data, Digest, Event, EventBody, EventType, Invalidation,
    Json, Key, NameError, ReadEvent, Reason, Seq, Timestamp, TransactionNo, Version,
};

/// The columns that [`read_event`] takes, from `event e` of the topic `$topic`, a text of SQL. Whether
/// the topic has invalidations at all is looked up once; only where it has, for every event.
macro_rules! event_columns {
    ($topic:literal) => {
        concat!(
            "e.seq, e.transaction, e.last, e.recorded_at, e.prev, e.key, e.hash, e.type, \
             e.content_type, e.data, e.data_binary, e.metadata, e.digest, e.invalidates, e.reason, \
             CASE WHEN EXISTS (SELECT FROM invalidation WHERE topic = ",
            $topic,
            ") THEN (SELECT i.by_transaction FROM invalidation i
                WHERE i.topic = e.topic AND i.transaction = e.transaction) END"
        )
    };
}
pub(super) use event_columns;

/// A position as the database's integer. Positions are below 2^53; what is not, from a client
/// that asks for it, is simply beyond every position that there is.
pub(super) fn integer(position: u64) -> i64 {
    i64::try_from(position).unwrap_or(i64::MAX)
}

/// A position from the database's integer.
pub(super) fn position(integer: i64) -> Result<u64, StoreError> {
    u64::try_from(integer).map_err(|_| corrupt("a position is negative"))
}

/// A column that may be NULL.
pub(super) fn column<'a, T: FromSql<'a>>(row: &'a Row, index: usize) -> Result<T, StoreError> {
    row.try_get(index).map_err(|error| StoreError::Corrupt(Cause::new(error)))
}

/// A position that may be missing.
pub(super) fn maybe(row: &Row, index: usize) -> Result<Option<u64>, StoreError> {
    column::<Option<i64>>(row, index)?.map(position).transpose()
}

/// A version in two columns from `index` on, that may be missing.
pub(super) fn version(row: &Row, index: usize) -> Result<Option<Version>, StoreError> {
    let (seq, transaction) = (maybe(row, index)?, maybe(row, index + 1)?);
    Ok(seq.zip(transaction).map(|(seq, transaction)| Version {
        seq: Seq(seq),
        transaction: TransactionNo(transaction),
    }))
}

/// An event from [`event_columns`].
pub(super) fn read_event(row: &Row) -> Result<ReadEvent, StoreError> {
    let version = version(row, 0)?.ok_or_else(|| corrupt("an event has no position"))?;
    let body = match maybe(row, 13)? {
        None => EventBody::Content(content(row)?),
        Some(invalidates) => EventBody::Invalidation(Invalidation {
            invalidates: TransactionNo(invalidates),
            reason: parsed(row, 14, Reason::parse)?,
        }),
    };
    let event = Event {
        version,
        last: column(row, 2)?,
        recorded_at: column::<Micros>(row, 3)?.0,
        prev: maybe(row, 4)?.map(Seq),
        body,
    };
    Ok(ReadEvent { event, invalidated_by: maybe(row, 15)?.map(TransactionNo) })
}

fn content(row: &Row) -> Result<Content, StoreError> {
    let digest = digest(column(row, 12)?)?;
    let data = match parsed(row, 8, ContentType::parse)? {
        Some(content_type) => {
            let bytes = column::<Option<&[u8]>>(row, 10)?.unwrap_or_default();
            Data::Binary(Bytes::copy_from_slice(bytes), content_type)
        }
        None => Data::Json(
            parsed(row, 9, Json::from_valid)?.ok_or_else(|| corrupt("an event has no data"))?,
        ),
    };
    Ok(Content {
        key: parsed(row, 5, Key::parse)?.ok_or_else(|| corrupt("an event has no key"))?,
        hash: hash(parsed(row, 6, ContentHash::parse)?, digest),
        event_type: parsed(row, 7, EventType::parse)?,
        data,
        metadata: parsed(row, 11, Json::from_valid)?,
        digest,
    })
}

/// A hash is kept only where it is not the digest's.
pub(super) fn hash(kept: Option<ContentHash>, digest: Digest) -> ContentHash {
    kept.unwrap_or(ContentHash::of_digest(digest))
}

/// 32 bytes.
pub(super) fn digest(bytes: Option<&[u8]>) -> Result<Digest, StoreError> {
    let digest = bytes.and_then(|bytes| bytes.try_into().ok());
    digest.ok_or_else(|| corrupt("a digest is not 32 bytes long"))
}

/// A text that may be NULL.
pub(super) fn parsed<T>(
    row: &Row,
    index: usize,
    parse: impl FnOnce(ByteString) -> Result<T, NameError>,
) -> Result<Option<T>, StoreError> {
    let text = column::<Option<&str>>(row, index)?;
    text.map(|text| parse(text.into())).transpose().map_err(|error| corrupt(error.to_string()))
}

/// A `timestamptz`: microseconds, but since 2000.
#[derive(Debug)]
pub(super) struct Micros(pub(super) Timestamp);

const MICROS_TO_2000: i64 = 946_684_800_000_000;

impl ToSql for Micros {
    fn to_sql(
        &self,
        _: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        // Out of range either way: the server refuses it.
        out.extend(self.0.0.saturating_sub(MICROS_TO_2000).to_be_bytes());
        Ok(IsNull::No)
    }

    fn accepts(ty: &Type) -> bool {
        *ty == Type::TIMESTAMPTZ
    }

    to_sql_checked!();
}

impl<'a> FromSql<'a> for Micros {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        let micros = i64::from_be_bytes(raw.try_into()?);
        Ok(Self(Timestamp(micros.saturating_add(MICROS_TO_2000))))
    }

    fn accepts(ty: &Type) -> bool {
        *ty == Type::TIMESTAMPTZ
    }
}
