//! Taking a topic for a writer.
//!
//! Not here: keeping the tree (`append.rs`).
//! Invariant: what is handed out is the tree over all events: its root is that of the newest.

use rusqlite::{Connection, OptionalExtension as _, TransactionBehavior, params};

use super::error::corrupt;
use super::facts::mark;
use super::read;
use super::row::{self, int, position, select_events};
use crate::domain::{Epoch, Frontier, Head, Seq, TopicId, TopicName};
use crate::store::{Opened, StoreError};

const TAKE: &str = "INSERT INTO topic (name, epoch) VALUES (?1, 1)
    ON CONFLICT (name) DO UPDATE SET epoch = epoch + 1
    RETURNING id, epoch, leaves, frontier";
const LEAVES: &str = select_events!("WHERE e.topic = ?1 AND e.seq >= ?2 ORDER BY e.seq");
const FOLDED: &str = "SELECT seq FROM fold WHERE topic = ?1";

/// Raises the topic's epoch and reads where it ends, in one transaction (S1).
pub fn open(conn: &mut Connection, name: &TopicName) -> Result<Opened, StoreError> {
    let transaction = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let (topic, epoch, kept) =
        transaction.prepare_cached(TAKE)?.query_row([name.as_str()], |row| Ok(taken(row)))??;
    let head = read::bounds(&transaction, topic)?.and_then(|bounds| bounds.head);
    let frontier = tree(&transaction, topic, head, kept)?
        .ok_or_else(|| corrupt(format!("topic {name}: head and Merkle tree do not agree")))?;
    let folded = folded(&transaction, topic)?;
    transaction.commit()?;
    Ok(Opened { topic, epoch, head, frontier, folded })
}

/// A topic, its epoch, and its tree so far, where that makes sense.
fn taken(row: &rusqlite::Row<'_>) -> Result<(TopicId, Epoch, Option<Frontier>), StoreError> {
    let peaks: Vec<u8> = row.get(3)?;
    let frontier = Frontier::from_bytes(position(row, 2)?, &peaks);
    Ok((TopicId(row.get(0)?), Epoch(position(row, 1)?), frontier))
}

/// The tree over all events, from the one that is kept; `None` where it does not fit the log.
fn tree(
    conn: &Connection,
    topic: TopicId,
    head: Head,
    kept: Option<Frontier>,
) -> Result<Option<Frontier>, StoreError> {
    let Some(mut frontier) = kept else { return Ok(None) };
    let mut statement = conn.prepare_cached(LEAVES)?;
    let mut rows = statement.query(params![topic.0, int(frontier.leaves())])?;
    while let Some(row) = rows.next()? {
        let event = row::event(row)?.event;
        if event.version.seq.0 != frontier.leaves() {
            return Ok(None);
        }
        frontier.push(&event);
    }
    let mark = head.map(|head| mark(conn, topic, head.seq)).transpose()?;
    let fits = mark.is_none_or(|mark| mark.is_some_and(|mark| mark.root == frontier.root()));
    Ok(Some(frontier).filter(|tree| fits && tree.leaves() == Seq::after(head).0))
}

/// How far the surface has been brought forward.
pub fn folded(conn: &Connection, topic: TopicId) -> Result<Option<Seq>, StoreError> {
    let mut statement = conn.prepare_cached(FOLDED)?;
    let seq = statement.query_row([topic.0], |row| Ok(position(row, 0))).optional()?;
    Ok(seq.transpose()?.map(Seq))
}
