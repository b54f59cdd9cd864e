//! What a writer looks up: `open`, `facts` and `expire`.

use deadpool_postgres::GenericClient;
use tokio_postgres::Row;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;

use super::super::{Facts, Lines, Opened, StoreError, Wanted};
use super::error::{corrupt, store_error};
use super::row::{Micros, column, digest, hash, integer, maybe, parsed, position, version};
use crate::domain::{
    BatchMark, ContentHash, Epoch, Frontier, IdempotencyRecord, Key, KeyState, ProducerState,
    Receipt, Root, Seq, Standing, TargetState, Timestamp, TopicId, TopicName, receipt_code,
};

/// Takes a topic. The row's lock makes it wait for an append of the old epoch that is under way;
/// the new epoch refuses those that are not. Its own commit flushes what it has seen.
const TAKE: &str = "UPDATE topic SET epoch = epoch + 1 WHERE name = $1
    RETURNING id, epoch, head_seq, head_transaction, frontier,
        (SELECT nullif(f.seq, -1) FROM fold f WHERE f.topic = topic.id)";
/// Takes a topic that was not there a moment ago.
const CREATE: &str = "WITH taken AS (
        INSERT INTO topic (name, epoch) VALUES ($1, 1)
        ON CONFLICT (name) DO UPDATE SET epoch = topic.epoch + 1
        RETURNING id, epoch, head_seq, head_transaction, frontier
    ), made AS (
        INSERT INTO fold (topic) SELECT id FROM taken ON CONFLICT (topic) DO NOTHING
    )
    SELECT id, epoch, head_seq, head_transaction, frontier, NULL::bigint FROM taken";

/// A client that is lost in the middle of a message (all of an append but its last five bytes,
/// say) leaves a session that holds the topic's lock and waits, with no time limit of the server
/// for it. Such sessions of ours are ended: to fence is to do just that.
const END_STUCK: &str = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND usename = current_user
        AND application_name = 'tidelog' AND state = 'active' AND wait_event = 'ClientRead'
        AND state_change < clock_timestamp() - current_setting('lock_timeout')::interval / 2";

const KEYS: &str = "SELECT l.newest, e.seq, e.transaction, e.hash, e.digest
    FROM unnest($2::text[]) WITH ORDINALITY AS w (key, n)
    LEFT JOIN latest l ON l.topic = $1 AND l.key = w.key
    LEFT JOIN event e ON e.topic = $1 AND e.seq = l.standing
    ORDER BY w.n";
const LATEST: &str = "SELECT key FROM latest WHERE topic = $1 AND key > $2 ORDER BY key LIMIT $3";
const IDEMPOTENCY: &str = "SELECT i.request, i.receipt
    FROM unnest($2::text[]) WITH ORDINALITY AS w (key, n)
    LEFT JOIN idempotency i ON i.topic = $1 AND i.key = w.key
    ORDER BY w.n";
const PRODUCERS: &str = "SELECT p.epoch, p.next_line
    FROM unnest($2::text[]) WITH ORDINALITY AS w (producer, n)
    LEFT JOIN producer p ON p.topic = $1 AND p.producer = w.producer
    ORDER BY w.n";
/// From the batch that holds the first of the lines to the one that holds the last.
const REPLAYS: &str = "SELECT first_line, receipts FROM producer_lines
    WHERE topic = $1 AND producer = $2 AND first_line <= $4 AND first_line >= (
        SELECT max(first_line) FROM producer_lines
        WHERE topic = $1 AND producer = $2 AND first_line <= $3)
    ORDER BY first_line";
const MARKS: &str = "SELECT e.epoch, e.root
    FROM unnest($2::bigint[]) WITH ORDINALITY AS w (seq, n)
    LEFT JOIN event e ON e.topic = $1 AND e.seq = w.seq
    ORDER BY w.n";
pub(super) const TRANSACTIONS: &str =
    include_str!("../../../sql/postgres/queries/transactions.sql");

const EXPIRE: &str = "DELETE FROM idempotency WHERE recorded_at < $1";

pub(super) async fn query<C: GenericClient>(
    client: &C,
    sql: &str,
    parameters: &[&(dyn ToSql + Sync)],
) -> Result<Vec<Row>, StoreError> {
    let statement = client.prepare_cached(sql).await.map_err(store_error)?;
    client.query(&statement, parameters).await.map_err(store_error)
}

pub(super) async fn execute<C: GenericClient>(
    client: &C,
    sql: &str,
    parameters: &[&(dyn ToSql + Sync)],
) -> Result<u64, StoreError> {
    let statement = client.prepare_cached(sql).await.map_err(store_error)?;
    client.execute(&statement, parameters).await.map_err(store_error)
}

pub(super) async fn open<C: GenericClient>(
    client: &C,
    topic: &TopicName,
) -> Result<Opened, StoreError> {
    let mut rows = take(client, topic).await?;
    if rows.is_empty() {
        rows = query(client, CREATE, &[&topic.as_str()]).await?;
    }
    let row = rows.first().ok_or_else(|| corrupt("a topic that was made is not there"))?;
    let head = version(row, 2)?;
    let frontier = Frontier::from_bytes(Seq::after(head).0, column(row, 4)?);
    Ok(Opened {
        topic: TopicId(column(row, 0)?),
        epoch: Epoch(position(column(row, 1)?)?),
        head,
        frontier: frontier.ok_or_else(|| corrupt("a topic's tree does not fit its head"))?,
        folded: maybe(row, 5)?.map(Seq),
    })
}

async fn take<C: GenericClient>(client: &C, topic: &TopicName) -> Result<Vec<Row>, StoreError> {
    let statement = client.prepare_cached(TAKE).await.map_err(store_error)?;
    match client.query(&statement, &[&topic.as_str()]).await {
        Err(error) if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) => {
            let ended = query(client, END_STUCK, &[]).await?;
            if ended.is_empty() {
                return Err(store_error(error));
            }
            tracing::warn!(topic.name = %topic, sessions = ended.len(), "ended stuck sessions");
            client.query(&statement, &[&topic.as_str()]).await.map_err(store_error)
        }
        answer => answer.map_err(store_error),
    }
}

/// Whether the answers come from more than one statement, which then need one snapshot.
pub(super) fn needs_snapshot(wanted: &Wanted) -> bool {
    let lists = [
        wanted.keys.len(),
        wanted.targets.len(),
        wanted.idempotency.len(),
        wanted.producers.len(),
        wanted.marks.len(),
    ];
    lists.iter().filter(|length| **length > 0).count() + wanted.replays.len() > 1
}

pub(super) async fn facts<C: GenericClient>(
    client: &C,
    topic: TopicId,
    wanted: &Wanted,
) -> Result<Facts, StoreError> {
    let keys: Vec<&str> = wanted.keys.iter().map(|key| key.as_str()).collect();
    let targets: Vec<i64> = wanted.targets.iter().map(|n| integer(n.0)).collect();
    let names: Vec<&str> = wanted.idempotency.iter().map(|key| key.as_str()).collect();
    let producers: Vec<&str> = wanted.producers.iter().map(|id| id.as_str()).collect();
    let marks: Vec<i64> = wanted.marks.iter().map(|seq| integer(seq.0)).collect();
    let mut facts = Facts {
        keys: list(client, KEYS, topic, keys, |_, row| key_state(row)).await?,
        targets: list(client, TRANSACTIONS, topic, targets, |_, row| target(row)).await?,
        idempotency: list(client, IDEMPOTENCY, topic, names, |n, row| record(row, wanted, n))
            .await?,
        producers: list(client, PRODUCERS, topic, producers, |_, row| producer(row)).await?,
        replays: Vec::with_capacity(wanted.replays.len()),
        marks: list(client, MARKS, topic, marks, |_, row| mark(row)).await?,
    };
    for lines in &wanted.replays {
        facts.replays.push(replay(client, topic, lines).await?);
    }
    Ok(facts)
}

/// Keys of `latest`, in byte order.
pub(super) async fn keys<C: GenericClient>(
    client: &C,
    topic: TopicId,
    after: Option<&Key>,
    limit: usize,
) -> Result<Vec<Key>, StoreError> {
    let (after, limit) = (after.map_or("", Key::as_str), integer(limit as u64));
    let rows = query(client, LATEST, &[&topic.0, &after, &limit]).await?;
    let key = |row| parsed(row, 0, Key::parse)?.ok_or_else(|| corrupt("a key is missing"));
    rows.iter().map(key).collect()
}

/// One row for each thing wanted; no statement where nothing is.
async fn list<C: GenericClient, W: ToSql + Sync, T>(
    client: &C,
    sql: &str,
    topic: TopicId,
    wanted: Vec<W>,
    parse: impl Fn(usize, &Row) -> Result<T, StoreError>,
) -> Result<Vec<T>, StoreError> {
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let rows = query(client, sql, &[&topic.0, &wanted]).await?;
    rows.iter().enumerate().map(|(n, row)| parse(n, row)).collect()
}

fn key_state(row: &Row) -> Result<KeyState, StoreError> {
    let standing = match version(row, 1)? {
        None => None,
        Some(version) => {
            let hash = hash(parsed(row, 3, ContentHash::parse)?, digest(column(row, 4)?)?);
            Some(Standing { version, hash: hash.fingerprint() })
        }
    };
    Ok(KeyState { newest: maybe(row, 0)?.map(Seq), standing })
}

fn target(row: &Row) -> Result<TargetState, StoreError> {
    let Some((first, last)) = maybe(row, 0)?.zip(maybe(row, 1)?) else {
        return Ok(TargetState::Missing);
    };
    Ok(match (version(row, 3)?, maybe(row, 2)?) {
        (Some(by), _) => TargetState::Invalidated(by),
        (None, Some(_)) => TargetState::Invalidation,
        (None, None) => TargetState::Stands(Seq(first), Seq(last)),
    })
}

fn record(
    row: &Row,
    wanted: &Wanted,
    index: usize,
) -> Result<Option<IdempotencyRecord>, StoreError> {
    let Some(bytes) = column::<Option<&[u8]>>(row, 1)? else { return Ok(None) };
    let receipt = receipts(bytes)?.pop().ok_or_else(|| corrupt("a kept answer is empty"))?;
    let key = wanted.idempotency[index].clone();
    // What is kept is the answer itself; that it is a replay is for who replays it to say.
    let receipt = Receipt { replayed: false, ..receipt };
    Ok(Some(IdempotencyRecord { key, request: digest(column(row, 0)?)?, receipt }))
}

fn receipts(bytes: &[u8]) -> Result<Vec<Receipt>, StoreError> {
    receipt_code::decode(bytes).ok_or_else(|| corrupt("kept answers do not make sense"))
}

fn producer(row: &Row) -> Result<ProducerState, StoreError> {
    let (epoch, next_line) = (maybe(row, 0)?, maybe(row, 1)?);
    Ok(ProducerState { epoch: epoch.unwrap_or(0), next_line: next_line.unwrap_or(0) })
}

fn mark(row: &Row) -> Result<Option<BatchMark>, StoreError> {
    let Some(epoch) = maybe(row, 0)? else { return Ok(None) };
    Ok(Some(BatchMark { epoch: Epoch(epoch), root: Root(digest(column(row, 1)?)?) }))
}

async fn replay<C: GenericClient>(
    client: &C,
    topic: TopicId,
    lines: &Lines,
) -> Result<Vec<Receipt>, StoreError> {
    let last = lines.first.saturating_add(lines.count as u64 - 1);
    let range = [integer(lines.first), integer(last)];
    let producer = lines.producer.as_str();
    let rows = query(client, REPLAYS, &[&topic.0, &producer, &range[0], &range[1]]).await?;
    let mut kept = Vec::new();
    for row in &rows {
        let first = position(column(row, 0)?)?;
        let numbered = (first..).zip(receipts(column(row, 1)?)?);
        kept.extend(numbered.filter(|(line, _)| (lines.first..=last).contains(line)));
    }
    if kept.len() < lines.count {
        return Ok(Vec::new());
    }
    Ok(kept.into_iter().map(|(_, receipt)| Receipt { replayed: false, ..receipt }).collect())
}

pub(super) async fn expire<C: GenericClient>(
    client: &C,
    before: Timestamp,
) -> Result<u64, StoreError> {
    execute(client, EXPIRE, &[&Micros(before)]).await
}
