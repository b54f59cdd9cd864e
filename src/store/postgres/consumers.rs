//! Consumers: one statement for each call, so that each is a transaction of its own, and decided
//! where the row is.
//!
//! Invariant: a move takes the next value of the row's identity, and a condition is part of the
//! statement (S12).

use deadpool_postgres::Object;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use super::super::{MoveError, StoreError};
use super::error::{Verdict, corrupt, judge, store_error};
use super::facts::query;
use super::range::{Bounds, prefixed};
use super::row::{Micros, column, integer, maybe, position, version};
use crate::domain::{
    Consumer, ConsumerName, Expected, Move, Moved, Revision, Seq, Timestamp, TopicName,
};

/// What [`consumer`] takes of a consumer `c` and its topic `t`, with the first event that it has
/// not handled.
macro_rules! select {
    ($columns:literal, $from:literal, $rest:literal) => {
        concat!(
            "SELECT t.head_seq, t.head_transaction, c.name, c.seq, c.revision, c.updated_at, ",
            "e.recorded_at",
            $columns,
            " FROM ",
            $from,
            " c
            JOIN topic t ON t.id = c.topic
            LEFT JOIN event e ON e.topic = c.topic AND e.seq = coalesce(c.seq, -1) + 1 ",
            $rest
        )
    };
}
/// Changes a row, and selects it with `made`.
macro_rules! moved {
    ($change:literal) => {
        concat!("WITH moved AS (", $change, ") ", select!(", c.made", "moved", ""))
    };
}

/// (A row that was there is locked by the statement that updates it, and says so in `xmax`.)
const MOVE: &str = moved!(
    "INSERT INTO consumer AS c (topic, name, seq, updated_at)
    SELECT id, $2, $3, $4 FROM topic WHERE name = $1 AND head_seq IS NOT NULL
    ON CONFLICT (topic, name) DO UPDATE
        SET seq = excluded.seq, updated_at = excluded.updated_at, revision = DEFAULT
    RETURNING c.*, xmax = 0 AS made"
);
const MAKE: &str = moved!(
    "INSERT INTO consumer AS c (topic, name, seq, updated_at)
    SELECT id, $2, $3, $4 FROM topic WHERE name = $1 AND head_seq IS NOT NULL
    ON CONFLICT (topic, name) DO NOTHING
    RETURNING c.*, true AS made"
);
const MOVE_ON: &str = moved!(
    "UPDATE consumer c SET seq = $3, updated_at = $4, revision = DEFAULT
    WHERE c.topic = (SELECT id FROM topic WHERE name = $1) AND c.name = $2 AND c.revision = $5
    RETURNING c.*, false AS made"
);
const FORGET: &str = "DELETE FROM consumer
    WHERE topic = (SELECT id FROM topic WHERE name = $1) AND name = $2
        AND revision = coalesce($3, revision)";
const ONE: &str = select!(
    "",
    "consumer",
    "WHERE c.topic = (SELECT id FROM topic WHERE name = $1) AND c.name = $2"
);
const LIST: &str = select!(
    "",
    "consumer",
    "WHERE c.topic = (SELECT id FROM topic WHERE name = $1) AND c.name >= $2 AND c.name < $3
    ORDER BY c.topic, c.name LIMIT $4"
);
const FIRST: &str = select!(", t.name", "consumer", "ORDER BY c.topic, c.name LIMIT $1");
const NEXT: &str = select!(
    ", t.name",
    "consumer",
    "WHERE (c.topic, c.name) > ((SELECT id FROM topic WHERE name = $2), $3)
    ORDER BY c.topic, c.name LIMIT $1"
);

fn consumer(row: &Row) -> Result<Consumer, StoreError> {
    let name = ConsumerName::parse(column(row, 2)?).map_err(|error| corrupt(error.to_string()))?;
    Ok(Consumer {
        name,
        seq: maybe(row, 3)?.map(Seq),
        revision: Revision(position(column(row, 4)?)?),
        updated_at: column::<Micros>(row, 5)?.0,
        head: version(row, 0)?.ok_or_else(|| corrupt("a consumer of a topic without events"))?,
        waiting_since: column::<Option<Micros>>(row, 6)?
            .map(|Micros(at): Micros| -> Timestamp { at }),
    })
}

/// What the failure of a statement that moves or forgets proves.
fn proven(error: tokio_postgres::Error) -> MoveError {
    match judge(error) {
        Verdict::Unknown(cause) => MoveError::Unknown(cause),
        // Only what was parsed is written: the schema is not what it should be.
        Verdict::Data(cause) => MoveError::NotMoved(StoreError::Corrupt(cause)),
        Verdict::Contended(error) | Verdict::NotWritten(error) => MoveError::NotMoved(error),
    }
}

async fn change(
    client: &Object,
    sql: &str,
    parameters: &[&(dyn ToSql + Sync)],
) -> Result<Vec<Row>, MoveError> {
    let statement = client.prepare_cached(sql).await;
    let statement = statement.map_err(|error| MoveError::NotMoved(store_error(error)))?;
    client.query(&statement, parameters).await.map_err(proven)
}

pub(super) async fn move_to(client: &Object, to: &Move) -> Result<Option<Moved>, MoveError> {
    let (topic, name) = (to.topic.as_str(), to.name.as_str());
    let (seq, at) = (to.seq.map(|seq| integer(seq.0)), Micros(to.at));
    let rows = match to.expected {
        None => change(client, MOVE, &[&topic, &name, &seq, &at]).await?,
        Some(Expected::Nothing) => change(client, MAKE, &[&topic, &name, &seq, &at]).await?,
        Some(Expected::Revision(Revision(revision))) => {
            let revision = integer(revision);
            change(client, MOVE_ON, &[&topic, &name, &seq, &at, &revision]).await?
        }
    };
    let moved = |row| Ok(Moved { consumer: consumer(row)?, made: column(row, 7)? });
    // It is written, though what came back makes no sense.
    let unclear = |error: StoreError| MoveError::Unknown(super::Cause::new(error));
    rows.first().map(moved).transpose().map_err(unclear)
}

pub(super) async fn forget(
    client: &Object,
    topic: &TopicName,
    name: &ConsumerName,
    expected: Option<Revision>,
) -> Result<bool, MoveError> {
    let expected = expected.map(|revision| integer(revision.0));
    let statement = client.prepare_cached(FORGET).await;
    let statement = statement.map_err(|error| MoveError::NotMoved(store_error(error)))?;
    let count = client.execute(&statement, &[&topic.as_str(), &name.as_str(), &expected]).await;
    Ok(count.map_err(proven)? > 0)
}

pub(super) async fn one(
    client: &Object,
    topic: &TopicName,
    name: &ConsumerName,
) -> Result<Option<Consumer>, StoreError> {
    let rows = query(client, ONE, &[&topic.as_str(), &name.as_str()]).await?;
    rows.first().map(consumer).transpose()
}

pub(super) async fn list(
    client: &Object,
    topic: &TopicName,
    prefix: &str,
    after: Option<&str>,
    limit: usize,
) -> Result<Vec<Consumer>, StoreError> {
    let Some(Bounds { from, to }) = prefixed(prefix, after) else { return Ok(Vec::new()) };
    let limit = integer(limit as u64);
    let rows = query(client, LIST, &[&topic.as_str(), &from, &to, &limit]).await?;
    rows.iter().map(consumer).collect()
}

pub(super) async fn all(
    client: &Object,
    after: Option<&(TopicName, ConsumerName)>,
    limit: usize,
) -> Result<Vec<(TopicName, Consumer)>, StoreError> {
    let limit = integer(limit as u64);
    let rows = match after {
        None => query(client, FIRST, &[&limit]).await?,
        Some((topic, name)) => {
            query(client, NEXT, &[&limit, &topic.as_str(), &name.as_str()]).await?
        }
    };
    let found = |row| {
        let topic =
            TopicName::parse(column(row, 7)?).map_err(|error| corrupt(error.to_string()))?;
        Ok((topic, consumer(row)?))
    };
    rows.iter().map(found).collect()
}
