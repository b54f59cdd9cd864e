//! Reads that need nothing but the log: topics, events, transactions.
//!
//! Not here: keys and surfaces (`surface.rs`). Every function runs in a snapshot of its caller's.

use rusqlite::{Connection, OptionalExtension as _, params};

use super::error::corrupt;
use super::row::{self, int, newest, position, select_events};
use crate::domain::{Head, ReadEvent, Seq, TopicId, TopicName, TransactionNo, Version};
use crate::store::{Cause, Direction, Scan, StoreError, TopicSummary};

/// A topic and its newest event, which there may not be.
macro_rules! select_heads {
    ($rest:literal) => {
        concat!(
            r#"SELECT t.id, n.seq, n."transaction" FROM topic AS t LEFT JOIN "#,
            newest!(),
            $rest
        )
    };
}

const BY_NAME: &str = select_heads!("WHERE t.name = ?1");
const BY_ID: &str = select_heads!("WHERE t.id = ?1");
/// A key that comes first is `?1` itself where `?2` is 0, and the one after it where it is 1.
/// (CROSS JOIN: from each topic to its newest event, whatever SQLite's planner thinks.)
const LIST: &str = concat!(
    r#"SELECT t.name, n.seq, n."transaction" FROM topic AS t CROSS JOIN "#,
    newest!(),
    "WHERE t.name >= ?1 AND (?2 = 0 OR t.name > ?1) ORDER BY t.name LIMIT ?3"
);
const FORWARD: &str =
    select_events!("WHERE e.topic = ?1 AND e.seq BETWEEN ?2 AND ?3 ORDER BY e.seq LIMIT ?4");
const BACKWARD: &str =
    select_events!("WHERE e.topic = ?1 AND e.seq BETWEEN ?2 AND ?3 ORDER BY e.seq DESC LIMIT ?4");
const TRANSACTION_AT: &str = r#"SELECT "transaction" FROM event WHERE topic = ?1 AND seq = ?2"#;

/// A topic and where it ends, as of a snapshot.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// The topic.
    pub topic: TopicId,
    /// Its newest event.
    pub head: Head,
}

/// A topic by its id; `None` where there is none.
pub fn bounds(conn: &Connection, topic: TopicId) -> Result<Option<Bounds>, StoreError> {
    found(conn, BY_ID, &topic.0)
}

/// A topic by its name, and its newest event; `None` where it has no event.
pub fn find(conn: &Connection, name: &TopicName) -> Result<Option<(TopicId, Version)>, StoreError> {
    let bounds = found(conn, BY_NAME, &name.as_str())?;
    Ok(bounds.and_then(|bounds| Some((bounds.topic, bounds.head?))))
}

fn found(
    conn: &Connection,
    sql: &str,
    of: &dyn rusqlite::ToSql,
) -> Result<Option<Bounds>, StoreError> {
    let bounds = |row: &rusqlite::Row<'_>| {
        Ok(Bounds { topic: TopicId(row.get(0)?), head: row::head(row, 1)? })
    };
    let mut statement = conn.prepare_cached(sql)?;
    statement.query_row([of], |row| Ok(bounds(row))).optional()?.transpose()
}

/// Where a walk in byte order of text begins: after `after` or with `prefix`, whichever is
/// later; `true` says that the text itself is left out.
pub fn start<'t>(prefix: &'t str, after: Option<&'t str>) -> (&'t str, bool) {
    match after {
        Some(after) if after >= prefix => (after, true),
        _ => (prefix, false),
    }
}

/// Topics that have events, in byte order of name.
pub fn topics(
    conn: &Connection,
    prefix: &str,
    after: Option<&str>,
    limit: usize,
) -> Result<Vec<TopicSummary>, StoreError> {
    let (from, exclusive) = start(prefix, after);
    let mut statement = conn.prepare_cached(LIST)?;
    let mut rows = statement.query(params![from, exclusive, int(limit as u64)])?;
    let mut topics = Vec::new();
    while let Some(row) = rows.next()? {
        let name: String = row.get(0)?;
        if !name.starts_with(prefix) {
            break;
        }
        let name = TopicName::parse(&name).map_err(|e| StoreError::Corrupt(Cause::new(e)))?;
        let head = row::head(row, 1)?.ok_or_else(|| corrupt("a listed topic has no head"))?;
        topics.push(TopicSummary { name, head });
    }
    Ok(topics)
}

/// Events of a stretch.
pub fn events(conn: &Connection, topic: TopicId, scan: Scan) -> Result<Vec<ReadEvent>, StoreError> {
    let sql = match scan.direction {
        Direction::Forward => FORWARD,
        Direction::Backward => BACKWARD,
    };
    let (from, to, limit) = (int(scan.from.0), int(scan.to.0), int(scan.limit as u64));
    let mut statement = conn.prepare_cached(sql)?;
    let mut rows = statement.query(params![topic.0, from, to, limit])?;
    scan.room().fill(std::iter::from_fn(|| match rows.next() {
        Ok(row) => row.map(row::event),
        Err(error) => Some(Err(error.into())),
    }))
}

/// First and last seq of a transaction; `None` where there is none.
pub fn range(
    conn: &Connection,
    bounds: Bounds,
    transaction: TransactionNo,
) -> Result<Option<(Seq, Seq)>, StoreError> {
    let Some(head) = bounds.head.filter(|head| transaction <= head.transaction) else {
        return Ok(None);
    };
    let first = first_of(conn, bounds.topic, head, transaction.0)?;
    let last = if transaction == head.transaction {
        head.seq.0
    } else {
        first_of(conn, bounds.topic, head, transaction.0 + 1)?.saturating_sub(1)
    };
    Ok(Some((Seq(first), Seq(last))))
}

/// The first seq of a transaction not beyond the head. Transactions rise with seqs, so that it
/// is found by bisection; each has at least one event, which narrows where it can be.
fn first_of(
    conn: &Connection,
    topic: TopicId,
    head: Version,
    transaction: u64,
) -> Result<u64, StoreError> {
    let (mut low, mut high) =
        (transaction, head.seq.0.saturating_sub(head.transaction.0 - transaction));
    let mut statement = conn.prepare_cached(TRANSACTION_AT)?;
    while low < high {
        let middle = low + (high - low) / 2;
        let at = params![topic.0, int(middle)];
        let found = statement.query_row(at, |row| Ok(position(row, 0))).optional()?;
        let found = found.ok_or_else(|| corrupt("an event is missing"))??;
        if found < transaction {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    Ok(low)
}
