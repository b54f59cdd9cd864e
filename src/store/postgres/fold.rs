//! Bringing `latest` forward, in steps of one short transaction each. The row of `fold` is the
//! lock: any instance may fold at any time, and appends never wait for it.

use std::time::Instant;

use deadpool_postgres::Object;

use super::super::StoreError;
use super::error::{corrupt, store_error};
use super::facts::{execute, query};
use super::row::{column, integer, position};
use crate::domain::{Seq, TopicId};
use crate::metrics;

/// Events of a step: about a quarter of a second.
const STEP: i64 = 50_000;

const LOCK: &str = "SELECT f.seq, coalesce(t.head_seq, -1)
    FROM fold f JOIN topic t ON t.id = f.topic
    WHERE f.topic = $1
    FOR UPDATE OF f";
const NEWEST: &str = include_str!("../../../sql/postgres/queries/fold_newest.sql");
const STANDING: &str = include_str!("../../../sql/postgres/queries/fold_standing.sql");
const MOVE: &str = "UPDATE fold SET seq = $2 WHERE topic = $1";

/// Folds until `to` is reached.
pub(super) async fn fold(client: &mut Object, topic: TopicId, to: Seq) -> Result<Seq, StoreError> {
    let to = integer(to.0);
    loop {
        let folded = step(client, topic, to).await?;
        if folded >= to {
            return Ok(Seq(position(folded)?));
        }
    }
}

async fn step(client: &mut Object, topic: TopicId, to: i64) -> Result<i64, StoreError> {
    let started = Instant::now();
    let transaction = client.transaction().await.map_err(store_error)?;
    let rows = query(&transaction, LOCK, &[&topic.0]).await?;
    let row = rows.first().ok_or_else(|| corrupt("no topic has this id"))?;
    let (folded, head): (i64, i64) = (column(row, 0)?, column(row, 1)?);
    if folded >= to {
        return Ok(folded);
    }
    if head < to {
        return Err(corrupt("the surface cannot be brought beyond the topic's end"));
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
