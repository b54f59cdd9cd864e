//! Consumers: moved and forgotten in a transaction of their own each, read in a snapshot of the
//! caller's.
//!
//! Not here: what a failed COMMIT means (`commit.rs`).
//! Invariant: a row is replaced, not updated, so that a move has a revision that was never given
//! before (S12).

use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::commit::alone;
use super::error::corrupt;
use super::read::start;
use super::row::{self, int, maybe, newest, position};
use crate::domain::{
    Consumer, ConsumerName, Expected, Move, Moved, Revision, Seq, Timestamp, TopicName,
};
use crate::store::{Cause, MoveError, StoreError};

/// What [`consumer`] takes: a consumer, its topic, and the first event that it has not handled.
macro_rules! select {
    ($rest:literal) => {
        concat!(
            r#"SELECT c.name, c.seq, c.revision, c.updated_at, n.seq, n."transaction",
                e.recorded_at, t.name
            FROM consumer AS c
            INNER JOIN topic AS t ON c.topic = t.id
            LEFT JOIN "#,
            newest!(),
            "LEFT JOIN event AS e ON c.topic = e.topic AND e.seq = coalesce(c.seq, -1) + 1 ",
            $rest
        )
    };
}

const KEPT: &str = "SELECT c.revision FROM topic AS t INNER JOIN consumer AS c ON t.id = c.topic
    WHERE t.name = ?1 AND c.name = ?2";
const REPLACE: &str = "INSERT OR REPLACE INTO consumer (topic, name, seq, updated_at)
    SELECT id, ?2, ?3, ?4 FROM topic
    WHERE name = ?1 AND EXISTS (SELECT 1 FROM event AS e WHERE e.topic = topic.id)";
const FORGET: &str = "DELETE FROM consumer WHERE revision = ?1";
const ONE: &str = select!("WHERE t.name = ?1 AND c.name = ?2");
/// As in `read.rs`: what comes first is `?2` itself where `?3` is 0.
const LIST: &str = select!(
    "WHERE c.topic = (SELECT id FROM topic WHERE name = ?1) AND c.name >= ?2
        AND (?3 = 0 OR c.name > ?2)
    ORDER BY c.topic, c.name LIMIT ?4"
);
const FIRST: &str = select!("ORDER BY c.topic, c.name LIMIT ?1");
const NEXT: &str = select!(
    "WHERE (c.topic, c.name) > ((SELECT id FROM topic WHERE name = ?2), ?3)
    ORDER BY c.topic, c.name LIMIT ?1"
);

fn consumer(row: &Row<'_>) -> Result<Consumer, StoreError> {
    let name: String = row.get(0)?;
    Ok(Consumer {
        name: ConsumerName::parse(&name).map_err(|e| StoreError::Corrupt(Cause::new(e)))?,
        seq: maybe(row, 1)?.map(Seq),
        revision: Revision(position(row, 2)?),
        updated_at: Timestamp(row.get(3)?),
        head: row::head(row, 4)?.ok_or_else(|| corrupt("a consumer of a topic without events"))?,
        waiting_since: row.get::<_, Option<i64>>(6)?.map(Timestamp),
    })
}

fn kept(
    conn: &Connection,
    topic: &TopicName,
    name: &ConsumerName,
) -> rusqlite::Result<Option<i64>> {
    let mut statement = conn.prepare_cached(KEPT)?;
    statement.query_row([topic.as_str(), name.as_str()], |row| row.get(0)).optional()
}

/// Moves a consumer; `None` where the condition does not hold, or there is no such topic.
pub fn move_to(conn: &Connection, to: &Move) -> Result<Option<Moved>, MoveError> {
    let (topic, name) = (to.topic.as_str(), to.name.as_str());
    alone(conn, |conn| {
        let kept = kept(conn, &to.topic, &to.name)?;
        let holds = match to.expected {
            None => true,
            Some(Expected::Nothing) => kept.is_none(),
            Some(Expected::Revision(expected)) => kept == Some(int(expected.0)),
        };
        if !holds {
            return Ok(None);
        }
        let seq = to.seq.map(|seq| int(seq.0));
        conn.prepare_cached(REPLACE)?.execute(params![topic, name, seq, to.at.0])?;
        let moved = one(conn, &to.topic, &to.name)?;
        Ok(moved.map(|consumer| Moved { consumer, made: kept.is_none() }))
    })
}

/// Forgets a consumer; `false` where there is none, or none of the revision that is expected.
pub fn forget(
    conn: &Connection,
    topic: &TopicName,
    name: &ConsumerName,
    expected: Option<Revision>,
) -> Result<bool, MoveError> {
    alone(conn, |conn| {
        let Some(kept) = kept(conn, topic, name)? else { return Ok(false) };
        if expected.is_some_and(|expected| int(expected.0) != kept) {
            return Ok(false);
        }
        Ok(conn.prepare_cached(FORGET)?.execute([kept])? > 0)
    })
}

/// One consumer.
pub fn one(
    conn: &Connection,
    topic: &TopicName,
    name: &ConsumerName,
) -> Result<Option<Consumer>, StoreError> {
    let mut statement = conn.prepare_cached(ONE)?;
    let found = statement.query_row([topic.as_str(), name.as_str()], |row| Ok(consumer(row)));
    found.optional()?.transpose()
}

/// Consumers of a topic, in byte order of name.
pub fn list(
    conn: &Connection,
    topic: &TopicName,
    prefix: &str,
    after: Option<&str>,
    limit: usize,
) -> Result<Vec<Consumer>, StoreError> {
    let (from, exclusive) = start(prefix, after);
    let mut statement = conn.prepare_cached(LIST)?;
    let of = params![topic.as_str(), from, exclusive, int(limit as u64)];
    let mut rows = statement.query(of)?;
    let mut consumers = Vec::new();
    while let Some(row) = rows.next()? {
        let consumer = consumer(row)?;
        if !consumer.name.as_str().starts_with(prefix) {
            break;
        }
        consumers.push(consumer);
    }
    Ok(consumers)
}

/// Consumers of all topics, in order of the topics' ids.
pub fn all(
    conn: &Connection,
    after: Option<&(TopicName, ConsumerName)>,
    limit: usize,
) -> Result<Vec<(TopicName, Consumer)>, StoreError> {
    let limit = int(limit as u64);
    let mut statement = conn.prepare_cached(if after.is_some() { NEXT } else { FIRST })?;
    let mut rows = match after {
        Some((topic, name)) => statement.query(params![limit, topic.as_str(), name.as_str()])?,
        None => statement.query([limit])?,
    };
    let mut consumers = Vec::new();
    while let Some(row) = rows.next()? {
        let topic: String = row.get(7)?;
        let topic = TopicName::parse(&topic).map_err(|e| StoreError::Corrupt(Cause::new(e)))?;
        consumers.push((topic, consumer(row)?));
    }
    Ok(consumers)
}
