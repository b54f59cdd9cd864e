//! Bringing `latest` forward: by what the writer remembers in one transaction, or else by reading
//! the log, in steps of one short transaction each. The row of `fold` is the lock: any instance
//! may fold at any time, and appends never wait for it.

use std::time::Instant;

use deadpool_postgres::{GenericClient, Object};

use super::super::{StoreError, Touched};
use super::error::{corrupt, store_error};
use super::facts::{execute, query};
use super::row::{column, integer, position};
use crate::domain::{Key, Seq, TopicId};
use crate::metrics;

/// Events of a step: about a quarter of a second.
const STEP: i64 = 50_000;

const LOCK: &str = "SELECT f.seq, coalesce(t.head_seq, -1)
    FROM fold f JOIN topic t ON t.id = f.topic
    WHERE f.topic = $1
    FOR UPDATE OF f";
/// Keys that are certainly not there: half the price of an upsert. (Arrays in the list of a SELECT
/// make rows as they are needed; in FROM all would be copied first.)
const NEW: &str = "INSERT INTO latest (topic, key, newest, standing)
    SELECT $1, t.key, t.seq, t.seq
    FROM (SELECT unnest($2::text[]) AS key, unnest($3::bigint[]) AS seq) t";
const KNOWN: &str = "INSERT INTO latest (topic, key, newest, standing)
    SELECT $1, t.key, t.seq, t.seq
    FROM (SELECT unnest($2::text[]) AS key, unnest($3::bigint[]) AS seq) t
    ON CONFLICT (topic, key) DO UPDATE SET newest = excluded.newest, standing = excluded.standing";
const NEWEST: &str = include_str!("../../../sql/postgres/queries/fold_newest.sql");
const STANDING: &str = include_str!("../../../sql/postgres/queries/fold_standing.sql");
const MOVE: &str = "UPDATE fold SET seq = $2 WHERE topic = $1";

/// Folds until `to` is reached.
pub(super) async fn fold(
    client: &mut Object,
    topic: TopicId,
    to: Seq,
    touched: Option<Touched>,
) -> Result<Seq, StoreError> {
    let to = integer(to.0);
    if let Some(touched) = touched
        && let Some(folded) = remembered(client, topic, to, touched).await?
    {
        return Ok(Seq(position(folded)?));
    }
    loop {
        let folded = step(client, topic, to).await?;
        if folded >= to {
            return Ok(Seq(position(folded)?));
        }
    }
}

/// Folds by what the writer remembers; `None` where the watermark is elsewhere, but behind `to`.
async fn remembered(
    client: &mut Object,
    topic: TopicId,
    to: i64,
    Touched { after, new, known }: Touched,
) -> Result<Option<i64>, StoreError> {
    // In order of key, as the index likes them.
    let sorted = tokio::task::spawn_blocking(|| [new, known].map(sorted)).await;
    let [new, known] = sorted.map_err(|_| corrupt("the keys to be folded cannot be sorted"))?;
    let started = Instant::now();
    let transaction = client.transaction().await.map_err(store_error)?;
    let folded = lock(&transaction, topic, to).await?;
    if folded >= to {
        return Ok(Some(folded));
    }
    if folded != after.map_or(-1, |after| integer(after.0)) {
        return Ok(None);
    }
    for (sql, keys) in [(NEW, &new), (KNOWN, &known)] {
        if !keys.is_empty() {
            let (keys, seqs): (Vec<_>, Vec<_>) =
                keys.iter().map(|(key, seq)| (key.as_str(), integer(seq.0))).unzip();
            execute(&transaction, sql, &[&topic.0, &keys, &seqs]).await?;
        }
    }
    execute(&transaction, MOVE, &[&topic.0, &to]).await?;
    transaction.commit().await.map_err(store_error)?;
    metrics::folded(to.abs_diff(folded), started.elapsed());
    Ok(Some(to))
}

fn sorted(mut keys: Vec<(Key, Seq)>) -> Vec<(Key, Seq)> {
    keys.sort(); // New keys often come in order: fast with a stable sort.
    keys
}

/// Locks the fold, and says where it is.
async fn lock<C: GenericClient>(client: &C, topic: TopicId, to: i64) -> Result<i64, StoreError> {
    let rows = query(client, LOCK, &[&topic.0]).await?;
    let row = rows.first().ok_or_else(|| corrupt("no topic has this id"))?;
    let (folded, head): (i64, i64) = (column(row, 0)?, column(row, 1)?);
    if head < to && folded < to {
        return Err(corrupt("the surface cannot be brought beyond the topic's end"));
    }
    Ok(folded)
}

async fn step(client: &mut Object, topic: TopicId, to: i64) -> Result<i64, StoreError> {
    let started = Instant::now();
    let transaction = client.transaction().await.map_err(store_error)?;
    let folded = lock(&transaction, topic, to).await?;
    if folded >= to {
        return Ok(folded);
    }
    let first = folded + 1;
    let last = to.min(folded + STEP);
    execute(&transaction, NEWEST, &[&topic.0, &first, &last]).await?;
    execute(&transaction, STANDING, &[&topic.0, &first, &last]).await?;
    execute(&transaction, MOVE, &[&topic.0, &last]).await?;
    transaction.commit().await.map_err(store_error)?;
    metrics::folded(last.abs_diff(folded), started.elapsed());
    Ok(last)
}
