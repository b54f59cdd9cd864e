//! Everything readers ask. Pages are one statement, surfaces one snapshot.
//!
//! Not here: bringing the surface forward first where it is behind, and what becomes of a connection
//! whose server still sends (`reading.rs`).

use deadpool_postgres::GenericClient;
use futures::TryStreamExt as _;
use tokio_postgres::types::ToSql;

use super::super::{Direction, KeyRange, Room, Scan, StoreError, SurfaceScan, TopicSummary};
use super::error::{corrupt, store_error};
use super::facts::{TRANSACTIONS, query};
use super::range::{Bounds, exactly, prefixed};
use super::row::{column, event_columns, integer, maybe, position, read_event, version};
use crate::domain::{Head, Key, ReadEvent, Seq, TopicId, TopicName, TransactionNo, Version};

const TOPICS: &str = "SELECT head_seq, head_transaction, name FROM topic
    WHERE name >= $1 AND name < $2 AND head_seq IS NOT NULL
    ORDER BY name
    LIMIT $3";
const PLACE: &str = "SELECT t.head_seq, t.head_transaction, t.id, nullif(f.seq, -1)
    FROM topic t JOIN fold f ON f.topic = t.id
    WHERE t.name = $1 AND t.head_seq IS NOT NULL";
const HEADS: &str = "SELECT t.head_seq, t.head_transaction
    FROM unnest($1::text[]) WITH ORDINALITY AS w (name, n)
    LEFT JOIN topic t ON t.name = w.name
    ORDER BY w.n";
const FOLDED: &str = "SELECT seq FROM fold WHERE topic = $1";

const FORWARD: &str = concat!(
    "SELECT ",
    event_columns!("(SELECT id FROM topic WHERE name = $1)"),
    " FROM event e
    WHERE e.topic = (SELECT id FROM topic WHERE name = $1) AND e.seq BETWEEN $2 AND $3
    ORDER BY e.topic, e.seq
    LIMIT $4"
);
const BACKWARD: &str = concat!(
    "SELECT ",
    event_columns!("(SELECT id FROM topic WHERE name = $1)"),
    " FROM event e
    WHERE e.topic = (SELECT id FROM topic WHERE name = $1) AND e.seq BETWEEN $2 AND $3
    ORDER BY e.topic DESC, e.seq DESC
    LIMIT $4"
);

/// A key's chain of versions down to the first seq asked for: from the last one, where that is a
/// version of the key, or else from the newest.
macro_rules! chain {
    () => {
        "WITH RECURSIVE chain (seq, prev) AS (
            SELECT e.seq, e.prev FROM event e
            WHERE e.topic = $1 AND e.seq = coalesce(
                (SELECT v.seq FROM event v WHERE v.topic = $1 AND v.seq = $4 AND v.key = $2),
                (SELECT l.newest FROM latest l WHERE l.topic = $1 AND l.key = $2))
            UNION ALL
            SELECT e.seq, e.prev FROM chain c
            JOIN event e ON e.topic = $1 AND e.seq = c.prev
            WHERE c.prev >= $3
        ), wanted AS (
            SELECT seq FROM chain WHERE seq BETWEEN $3 AND $4 "
    };
}
macro_rules! of_chain {
    () => {
        concat!(
            ") SELECT ",
            event_columns!("$1"),
            " FROM wanted w
            JOIN event e ON e.topic = $1 AND e.seq = w.seq
            ORDER BY e.seq "
        )
    };
}
const HISTORY_FORWARD: &str = concat!(chain!(), "ORDER BY seq LIMIT $5", of_chain!(), "ASC");
/// The chain comes newest first, so that it need not be walked beyond the limit.
const HISTORY_BACKWARD: &str = concat!(chain!(), "LIMIT $5", of_chain!(), "DESC");
const VERSIONS: &str = concat!(chain!(), "LIMIT $5) SELECT seq FROM wanted");

/// The surface as of exactly the seq that has been folded.
const SURFACE: &str = concat!(
    "SELECT ",
    event_columns!("$1"),
    " FROM latest l
    JOIN event e ON e.topic = l.topic AND e.seq = l.standing
    WHERE l.topic = $1 AND l.key >= $2 AND l.key < $3
    ORDER BY l.key
    LIMIT $4"
);
/// The surface as of an earlier seq: down each key's chain to the first event that is not later,
/// and not invalidated by then. (`+ 0`: as in `fold_standing.sql`.)
const SURFACE_AS_OF: &str = concat!(
    "SELECT ",
    event_columns!("$1"),
    " FROM latest l
    CROSS JOIN LATERAL (
        WITH RECURSIVE chain (seq, prev, stands) AS (
            SELECT c.seq, c.prev, c.seq <= $5 AND x.topic IS NULL
            FROM event c
            LEFT JOIN invalidation x
                ON x.topic = $1 AND x.transaction = c.transaction AND x.by_seq + 0 <= $5
            WHERE c.topic = $1 AND c.seq = l.newest
            UNION ALL
            SELECT c.seq, c.prev, c.seq <= $5 AND x.topic IS NULL
            FROM chain n
            JOIN event c ON c.topic = $1 AND c.seq = n.prev
            LEFT JOIN invalidation x
                ON x.topic = $1 AND x.transaction = c.transaction AND x.by_seq + 0 <= $5
            WHERE NOT n.stands
        )
        SELECT n.seq FROM chain n WHERE n.stands LIMIT 1
    ) s
    JOIN event e ON e.topic = $1 AND e.seq = s.seq
    WHERE l.topic = $1 AND l.key >= $2 AND l.key < $3
    ORDER BY l.key
    LIMIT $4"
);

pub(super) async fn topics<C: GenericClient>(
    client: &C,
    prefix: &str,
    after: Option<&str>,
    limit: usize,
) -> Result<Vec<TopicSummary>, StoreError> {
    let Some(Bounds { from, to }) = prefixed(prefix, after) else { return Ok(Vec::new()) };
    let rows = query(client, TOPICS, &[&from, &to, &integer(limit as u64)]).await?;
    let summary = |row| {
        let head = version(row, 0)?.ok_or_else(|| corrupt("half a head"))?;
        let name = TopicName::parse(column(row, 2)?);
        Ok(TopicSummary { name: name.map_err(|error| corrupt(error.to_string()))?, head })
    };
    rows.iter().map(summary).collect()
}

/// Where a topic that has events is.
pub(super) struct Place {
    pub(super) id: TopicId,
    pub(super) head: Version,
    pub(super) folded: Option<Seq>,
}

pub(super) async fn place<C: GenericClient>(
    client: &C,
    topic: &TopicName,
) -> Result<Option<Place>, StoreError> {
    let rows = query(client, PLACE, &[&topic.as_str()]).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    let head = version(row, 0)?.ok_or_else(|| corrupt("half a head"))?;
    Ok(Some(Place { id: TopicId(column(row, 2)?), head, folded: maybe(row, 3)?.map(Seq) }))
}

pub(super) async fn heads<C: GenericClient>(
    client: &C,
    topics: &[TopicName],
) -> Result<Vec<Head>, StoreError> {
    let names: Vec<&str> = topics.iter().map(TopicName::as_str).collect();
    let rows = query(client, HEADS, &[&names]).await?;
    rows.iter().map(|row| version(row, 0)).collect()
}

/// Events, and whether the server still sends more.
pub(super) struct Answer {
    pub(super) events: Vec<ReadEvent>,
    pub(super) goes_on: bool,
}

/// Takes rows in as they come, as long as there is room.
async fn take<C: GenericClient>(
    client: &C,
    sql: &str,
    parameters: &[&(dyn ToSql + Sync)],
    mut room: Room,
) -> Result<Answer, StoreError> {
    let statement = client.prepare_cached(sql).await.map_err(store_error)?;
    let rows = client.query_raw(&statement, parameters.iter().copied()).await;
    let mut rows = std::pin::pin!(rows.map_err(store_error)?);
    let mut events = Vec::with_capacity(room.events().min(1024));
    while let Some(row) = rows.try_next().await.map_err(store_error)? {
        if room.is_full() {
            return Ok(Answer { events, goes_on: true });
        }
        let read = read_event(&row)?;
        room.take(&read);
        events.push(read);
    }
    Ok(Answer { events, goes_on: false })
}

pub(super) async fn events<C: GenericClient>(
    client: &C,
    topic: &TopicName,
    scan: Scan,
) -> Result<Answer, StoreError> {
    let sql = match scan.direction {
        Direction::Forward => FORWARD,
        Direction::Backward => BACKWARD,
    };
    let [from, to, limit] = [scan.from.0, scan.to.0, scan.limit as u64].map(integer);
    take(client, sql, &[&topic.as_str(), &from, &to, &limit], scan.room()).await
}

/// Once the surface has been brought forward to the scan's end.
pub(super) async fn history<C: GenericClient>(
    client: &C,
    topic: TopicId,
    key: &Key,
    scan: Scan,
) -> Result<Answer, StoreError> {
    let sql = match scan.direction {
        Direction::Forward => HISTORY_FORWARD,
        Direction::Backward => HISTORY_BACKWARD,
    };
    let [from, to, limit] = [scan.from.0, scan.to.0, scan.limit as u64].map(integer);
    let parameters: [&(dyn ToSql + Sync); 5] = [&topic.0, &key.as_str(), &from, &to, &limit];
    take(client, sql, &parameters, scan.room()).await
}

/// The same without the events.
pub(super) async fn versions<C: GenericClient>(
    client: &C,
    topic: TopicId,
    key: &Key,
    (from, to): (Seq, Seq),
    limit: usize,
) -> Result<Vec<Seq>, StoreError> {
    let [from, to, limit] = [from.0, to.0, limit as u64].map(integer);
    let rows = query(client, VERSIONS, &[&topic.0, &key.as_str(), &from, &to, &limit]).await?;
    rows.iter().map(|row| Ok(Seq(position(column(row, 0)?)?))).collect()
}

pub(super) async fn transaction<C: GenericClient>(
    client: &C,
    topic: TopicId,
    transaction: TransactionNo,
) -> Result<Option<(Seq, Seq)>, StoreError> {
    let rows = query(client, TRANSACTIONS, &[&topic.0, &vec![integer(transaction.0)]]).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    Ok(maybe(row, 0)?.map(Seq).zip(maybe(row, 1)?.map(Seq)))
}

/// Once the surface has been brought forward to `scan.at`; on one snapshot.
pub(super) async fn surface<C: GenericClient>(
    client: &C,
    topic: TopicId,
    scan: &SurfaceScan,
) -> Result<Answer, StoreError> {
    let bounds = match &scan.keys {
        KeyRange::Exactly(key) => Some(exactly(key.as_str())),
        KeyRange::Prefix { prefix, after } => prefixed(prefix, after.as_deref()),
    };
    let Some(Bounds { from, to }) = bounds else {
        return Ok(Answer { events: Vec::new(), goes_on: false });
    };
    let [at, limit] = [scan.at.seq.0, scan.limit as u64].map(integer);
    let rows = query(client, FOLDED, &[&topic.0]).await?;
    let folded: i64 = column(rows.first().ok_or_else(|| corrupt("no topic has this id"))?, 0)?;
    let parameters: [&(dyn ToSql + Sync); 5] = [&topic.0, &from, &to, &limit, &at];
    if folded == at {
        take(client, SURFACE, &parameters[..4], scan.room()).await
    } else {
        take(client, SURFACE_AS_OF, &parameters, scan.room()).await
    }
}
