//! Taking a topic for a writer.

use rusqlite::{Connection, OptionalExtension as _, TransactionBehavior};

use super::error::corrupt;
use super::row;
use crate::domain::{Epoch, Frontier, Seq, TopicId, TopicName};
use crate::store::{Opened, StoreError};

const TAKE: &str = "INSERT INTO topic (name, epoch, frontier) VALUES (?1, 1, x'')
    ON CONFLICT (name) DO UPDATE SET epoch = epoch + 1
    RETURNING id, epoch, head_seq, head_transaction, frontier";
const FOLDED: &str = "SELECT seq FROM fold WHERE topic = ?1";

/// Raises the topic's epoch and reads where it ends, in one transaction (S1).
pub fn open(conn: &mut Connection, name: &TopicName) -> Result<Opened, StoreError> {
    let transaction = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let (mut opened, frontier) =
        transaction.prepare_cached(TAKE)?.query_row([name.as_str()], |row| Ok(taken(row)))??;
    opened.frontier = Frontier::from_bytes(Seq::after(opened.head).0, &frontier)
        .ok_or_else(|| corrupt(format!("topic {name}: head and Merkle tree do not agree")))?;
    opened.folded = folded(&transaction, opened.topic)?;
    transaction.commit()?;
    Ok(opened)
}

fn taken(row: &rusqlite::Row<'_>) -> Result<(Opened, Vec<u8>), StoreError> {
    let opened = Opened {
        topic: TopicId(row.get(0)?),
        epoch: Epoch(row::position(row, 1)?),
        head: row::head(row, 2)?,
        frontier: Frontier::default(),
        folded: None,
    };
    Ok((opened, row.get(4)?))
}

/// How far the surface has been brought forward.
pub fn folded(conn: &Connection, topic: TopicId) -> Result<Option<Seq>, StoreError> {
    let mut statement = conn.prepare_cached(FOLDED)?;
    let seq = statement.query_row([topic.0], |row| Ok(row::position(row, 0))).optional()?;
    Ok(seq.transpose()?.map(Seq))
}
