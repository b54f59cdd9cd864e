//! What the planner asks before it plans (S2), each fact a few point look-ups in one snapshot.
//!
//! Invariant: the states of keys are as of the fold's watermark, everything else as of the
//! durable head.

use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::error::corrupt;
use super::read::{self, Bounds};
use super::row::{self, int, position};
use crate::domain::{
    BatchMark, Epoch, IdempotencyKey, IdempotencyRecord, Key, KeyState, ProducerId, ProducerState,
    Receipt, Root, Seq, Standing, TargetState, TopicId, TransactionNo, receipt_code,
};
use crate::store::{Facts, Lines, StoreError, Wanted};

const KEY: &str = r#"SELECT l.newest, l.standing, e."transaction", e.digest, e.hash
    FROM latest AS l LEFT JOIN event AS e ON l.topic = e.topic AND l.standing = e.seq
    WHERE l.topic = ?1 AND l.key = ?2"#;
const KEYS: &str = "SELECT key FROM latest WHERE topic = ?1 AND key > ?2 ORDER BY key LIMIT ?3";
const INVALIDATION: &str = r#"SELECT by_seq, by_transaction FROM invalidation
    WHERE topic = ?1 AND "transaction" = ?2"#;
const IS_INVALIDATION: &str = "SELECT key IS NULL FROM event WHERE topic = ?1 AND seq = ?2";
const IDEMPOTENCY: &str = "SELECT request, receipt FROM idempotency WHERE topic = ?1 AND key = ?2";
const PRODUCER: &str = "SELECT epoch, next_line FROM producer WHERE topic = ?1 AND producer = ?2";
const LINES: &str = "SELECT first_line, receipts FROM producer_lines
    WHERE topic = ?1 AND producer = ?2 AND first_line < ?4 AND first_line >= (
        SELECT max(first_line) FROM producer_lines
        WHERE topic = ?1 AND producer = ?2 AND first_line <= ?3
    ) ORDER BY first_line";
const MARK: &str = "SELECT epoch, root FROM event
    WHERE topic = ?1 AND seq = ?2 AND epoch IS NOT NULL";

/// Looks everything up.
pub fn facts(conn: &Connection, topic: TopicId, wanted: &Wanted) -> Result<Facts, StoreError> {
    let Some(bounds) = read::bounds(conn, topic)? else {
        return Err(corrupt("no topic has this id"));
    };
    let find = Find { conn, topic: topic.0, bounds };
    Ok(Facts {
        keys: all(&wanted.keys, |key| find.key(key))?,
        targets: all(&wanted.targets, |target| find.target(*target))?,
        idempotency: all(&wanted.idempotency, |key| find.idempotency(key))?,
        producers: all(&wanted.producers, |producer| find.producer(producer))?,
        replays: all(&wanted.replays, |lines| find.replay(lines))?,
        marks: all(&wanted.marks, |seq| mark(conn, topic, *seq))?,
    })
}

/// Keys of `latest`, in byte order.
pub fn keys(
    conn: &Connection,
    topic: TopicId,
    after: Option<&Key>,
    limit: usize,
) -> Result<Vec<Key>, StoreError> {
    let mut statement = conn.prepare_cached(KEYS)?;
    let after = after.map_or("", Key::as_str);
    let mut rows = statement.query(params![topic.0, after, int(limit as u64)])?;
    let mut keys = Vec::new();
    while let Some(row) = rows.next()? {
        keys.push(row::key(row, 0)?);
    }
    Ok(keys)
}

/// What a batch that ended with this event left there; `None` where none did.
pub fn mark(conn: &Connection, topic: TopicId, seq: Seq) -> Result<Option<BatchMark>, StoreError> {
    let mark = |row: &Row<'_>| {
        let root = Root(row::digest(row, 1)?);
        Ok(BatchMark { epoch: Epoch(position(row, 0)?), root })
    };
    let mut statement = conn.prepare_cached(MARK)?;
    let found =
        statement.query_row(params![topic.0, int(seq.0)], |row| Ok(mark(row))).optional()?;
    found.transpose()
}

fn all<W, T>(
    wanted: &[W],
    find: impl FnMut(&W) -> Result<T, StoreError>,
) -> Result<Vec<T>, StoreError> {
    wanted.iter().map(find).collect()
}

struct Find<'c> {
    conn: &'c Connection,
    topic: i64,
    bounds: Bounds,
}

impl Find<'_> {
    /// At most one row, read by `read`.
    fn one<T>(
        &self,
        sql: &str,
        of: &dyn rusqlite::ToSql,
        read: impl FnOnce(&Row<'_>) -> Result<T, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        let mut statement = self.conn.prepare_cached(sql)?;
        let found = statement.query_row(params![self.topic, of], |row| Ok(read(row))).optional()?;
        found.transpose()
    }

    fn key(&self, key: &Key) -> Result<KeyState, StoreError> {
        let state = |row: &Row<'_>| {
            let newest = Some(Seq(position(row, 0)?));
            let Some(seq) = row::maybe(row, 1)? else {
                return Ok(KeyState { newest, standing: None });
            };
            let version = row::version(seq, position(row, 2)?);
            let hash = row::hash(row, 4, row::digest(row, 3)?)?.fingerprint();
            Ok(KeyState { newest, standing: Some(Standing { version, hash }) })
        };
        Ok(self.one(KEY, &key.as_str(), state)?.unwrap_or_default())
    }

    fn target(&self, target: TransactionNo) -> Result<TargetState, StoreError> {
        let Some((first, last)) = read::range(self.conn, self.bounds, target)? else {
            return Ok(TargetState::Missing);
        };
        let by = |row: &Row<'_>| Ok(row::version(position(row, 0)?, position(row, 1)?));
        if let Some(by) = self.one(INVALIDATION, &int(target.0), by)? {
            return Ok(TargetState::Invalidated(by));
        }
        match self.one(IS_INVALIDATION, &int(first.0), |row| Ok(row.get(0)?))? {
            Some(true) => Ok(TargetState::Invalidation),
            Some(false) => Ok(TargetState::Stands(first, last)),
            None => Err(corrupt("an event is missing")),
        }
    }

    fn idempotency(&self, key: &IdempotencyKey) -> Result<Option<IdempotencyRecord>, StoreError> {
        self.one(IDEMPOTENCY, &key.as_str(), |row| {
            let receipt = receipts(row, 1)?.pop();
            let receipt = receipt.ok_or_else(|| corrupt("a record has no receipt"))?;
            Ok(IdempotencyRecord { key: key.clone(), request: row::digest(row, 0)?, receipt })
        })
    }

    fn producer(&self, producer: &ProducerId) -> Result<ProducerState, StoreError> {
        let state = |row: &Row<'_>| {
            Ok(ProducerState { epoch: position(row, 0)?, next_line: position(row, 1)? })
        };
        Ok(self.one(PRODUCER, &producer.as_str(), state)?.unwrap_or_default())
    }

    /// The receipts of lines. Nothing where the lines are not all below the next one.
    fn replay(&self, lines: &Lines) -> Result<Vec<Receipt>, StoreError> {
        let end = lines.first.saturating_add(lines.count as u64);
        if end > self.producer(&lines.producer)?.next_line {
            return Ok(Vec::new());
        }
        let producer = lines.producer.as_str();
        let mut statement = self.conn.prepare_cached(LINES)?;
        let mut rows =
            statement.query(params![self.topic, producer, int(lines.first), int(end)])?;
        let (mut next, mut found) = (lines.first, Vec::with_capacity(lines.count));
        while let Some(row) = rows.next()? {
            // The first row may begin before the lines that are wanted; the others go on exactly.
            let skip = next.checked_sub(position(row, 0)?);
            let skip = skip.ok_or_else(|| corrupt("receipts of a producer are missing"))?;
            let room = lines.count - found.len();
            let before = found.len();
            found.extend(receipts(row, 1)?.into_iter().skip(skip as usize).take(room));
            next += (found.len() - before) as u64;
        }
        let complete = found.len() == lines.count;
        if complete { Ok(found) } else { Err(corrupt("receipts of a producer are missing")) }
    }
}

fn receipts(row: &Row<'_>, index: usize) -> Result<Vec<Receipt>, StoreError> {
    let bytes: Vec<u8> = row.get(index)?;
    receipt_code::decode(&bytes).ok_or_else(|| corrupt("receipts are unreadable"))
}
