//! What the databases do without a service: the yardstick. Rows with the same columns and values
//! as Tidelog's event table, by the fastest statements known (arrays in the list of a SELECT, not
//! in FROM), prepared, pipelined, conditional on the head, equally durable; no decisions, no
//! hashing, no Merkle tree, no HTTP, no CHECK constraints.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use futures::future::{BoxFuture, join_all};
use futures::{FutureExt as _, StreamExt as _};
use tokio_postgres::{Client, NoTls};

use super::client::Events;

const COLUMNS: &str = "topic INTEGER, seq INTEGER, transaction_no INTEGER, prev INTEGER,
    recorded_at INTEGER, invalidates INTEGER, epoch INTEGER, last INTEGER, key TEXT, hash TEXT,
    type TEXT, content_type TEXT, data TEXT, metadata TEXT, digest BLOB, reason TEXT, root BLOB";

/// The previous version of an event's key.
fn prev(events: Events, number: usize) -> Option<i64> {
    events.keys.and_then(|keys| number.checked_sub(keys)).map(|prev| prev as i64)
}

/// SQLite: one thread, prepared inserts, `batch` events a transaction, with or without a row of
/// the surface for each. Seconds.
pub fn sqlite(path: &Path, events: Events, batch: usize, surface: bool) -> f64 {
    let connection = rusqlite::Connection::open(path).expect("it opens");
    connection
        .execute_batch(&format!(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
             CREATE TABLE head (topic INTEGER PRIMARY KEY, seq INTEGER NOT NULL);
             INSERT INTO head VALUES (1, -1);
             CREATE TABLE event ({COLUMNS}, PRIMARY KEY (topic, seq)) WITHOUT ROWID, STRICT;
             CREATE TABLE surface (topic INTEGER, key TEXT, seq INTEGER, PRIMARY KEY (topic, key))
                WITHOUT ROWID, STRICT;",
        ))
        .expect("it is SQL");
    let rows: Vec<_> = (0..events.count).map(|n| (events.key(n), events.data(n))).collect();
    let began = Instant::now();
    for first in (0..events.count).step_by(batch) {
        connection.execute_batch("BEGIN IMMEDIATE").expect("it begins");
        let mut head = connection
            .prepare_cached("UPDATE head SET seq = ?2 WHERE topic = 1 AND seq = ?1")
            .expect("it is SQL");
        let (last, next) = (first as i64 - 1, (first + batch) as i64 - 1);
        assert_eq!(head.execute((last, next)).expect("it runs"), 1);
        let mut insert = connection
            .prepare_cached(
                "INSERT INTO event (topic, seq, transaction_no, prev, recorded_at, last, key, data,
                    digest) VALUES (1, ?1, ?1, ?2, 0, 1, ?3, ?4, ?5)",
            )
            .expect("it is SQL");
        let mut upsert = connection
            .prepare_cached(
                "INSERT INTO surface VALUES (1, ?1, ?2)
                 ON CONFLICT (topic, key) DO UPDATE SET seq = excluded.seq",
            )
            .expect("it is SQL");
        for (n, (key, data)) in (first..).zip(&rows[first..(first + batch).min(rows.len())]) {
            let row = (n as i64, prev(events, n), key, data, [7_u8; 32]);
            insert.execute(row).expect("it runs");
            if surface {
                upsert.execute((key, n as i64)).expect("it runs");
            }
        }
        connection.execute_batch("COMMIT").expect("it commits");
    }
    began.elapsed().as_secs_f64()
}

pub async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.expect("it connects");
    tokio::spawn(connection);
    client
}

const SETUP: &str = "
    CREATE TABLE raw_head (topic bigint PRIMARY KEY, seq bigint NOT NULL);
    INSERT INTO raw_head VALUES (1, -1);
    CREATE TABLE raw_surface (topic bigint, key text COLLATE \"C\", seq bigint,
        PRIMARY KEY (topic, key));
    CREATE TABLE raw_event (topic bigint, seq bigint, transaction bigint, prev bigint,
        recorded_at timestamptz, invalidates bigint, epoch bigint, last boolean,
        key text COLLATE \"C\", hash text, type text, content_type text, data text,
        data_binary bytea, metadata text, digest bytea, reason text, root bytea,
        PRIMARY KEY (topic, seq));
    SET plan_cache_mode = force_generic_plan; SET jit = off;";

fn statement(surface: bool) -> String {
    // With and without: an upsert of the newest version, in the same statement.
    let upsert = ", s AS (
            INSERT INTO raw_surface
            SELECT 1, unnest($4::text[]), unnest($3::bigint[]) WHERE EXISTS (SELECT FROM g)
            ON CONFLICT (topic, key) DO UPDATE SET seq = excluded.seq)";
    let upsert = if surface { upsert } else { "" };
    format!(
        "WITH g AS (
            UPDATE raw_head SET seq = $2 WHERE topic = 1 AND seq = $1 RETURNING topic
        ), e AS (
            INSERT INTO raw_event (topic, seq, transaction, recorded_at, last, key, data, digest,
                prev)
            SELECT 1, seq, seq, now(), true, key, data, digest, prev
            FROM (SELECT unnest($3::bigint[]) AS seq, unnest($4::text[]) AS key,
                unnest($5::text[]) AS data, unnest($6::bytea[]) AS digest,
                unnest($7::bigint[]) AS prev) e
            WHERE EXISTS (SELECT FROM g)
        ){upsert}
        SELECT count(*) FROM g"
    )
}

/// PostgreSQL: one connection, `batch` events a statement (and so a commit), two statements in
/// flight, with or without a row of the surface for each event. Keys must not repeat in a batch
/// where there is a surface. Seconds.
pub async fn postgres(url: &str, events: Events, batch: usize, surface: bool) -> f64 {
    let client = Arc::new(connect(url).await);
    client.batch_execute(SETUP).await.expect("it is SQL");
    let insert = client.prepare(&statement(surface)).await.expect("it is SQL");
    let batches: Vec<_> = (0..events.count)
        .step_by(batch)
        .map(|first| {
            let numbers = first..(first + batch).min(events.count);
            let seqs: Vec<i64> = numbers.clone().map(|n| n as i64).collect();
            let keys: Vec<String> = numbers.clone().map(|n| events.key(n)).collect();
            let datas: Vec<String> = numbers.clone().map(|n| events.data(n)).collect();
            let prevs: Vec<Option<i64>> = numbers.map(|n| prev(events, n)).collect();
            (seqs, keys, datas, prevs)
        })
        .collect();
    let began = Instant::now();
    let mut flights: VecDeque<BoxFuture<'static, i64>> = VecDeque::new();
    for (seqs, keys, datas, prevs) in batches {
        let (client, insert) = (client.clone(), insert.clone());
        let digests = vec![&[7_u8; 32][..]; seqs.len()];
        let mut flight = async move {
            let (before, last) = (seqs[0] - 1, seqs[seqs.len() - 1]);
            let row = client
                .query_one(&insert, &[&before, &last, &seqs, &keys, &datas, &digests, &prevs])
                .await;
            row.expect("it runs").get(0)
        }
        .boxed();
        match (&mut flight).now_or_never() {
            Some(moved) => assert_eq!(moved, 1),
            None => flights.push_back(flight),
        }
        if flights.len() >= 2 {
            assert_eq!(flights.pop_front().expect("there is one").await, 1);
        }
    }
    for moved in join_all(flights).await {
        assert_eq!(moved, 1);
    }
    began.elapsed().as_secs_f64()
}

/// PostgreSQL, one client: one row of the event table a commit. Microseconds of each.
pub async fn postgres_singles(url: &str, events: Events) -> Vec<u32> {
    let client = connect(url).await;
    client.batch_execute(SETUP).await.expect("it is SQL");
    let insert = "INSERT INTO raw_event (topic, seq, transaction, recorded_at, last, key, data,
        digest) VALUES (1, $1, $1, now(), true, $2, $3, $4)";
    let insert = client.prepare(insert).await.expect("it is SQL");
    let mut latencies = Vec::with_capacity(events.count);
    for n in 0..events.count {
        let (key, data) = (events.key(n), events.data(n));
        let began = Instant::now();
        let row = client.execute(&insert, &[&(n as i64), &key, &data, &&[7_u8; 32][..]]).await;
        row.expect("it runs");
        latencies.push(began.elapsed().as_micros() as u32);
    }
    latencies
}

/// `COPY … TO STDOUT` of everything that a reader of Tidelog sees of these rows, in the same order,
/// as text, to a client that throws it away: what is NULL in all of them is left out, and so is the
/// look for invalidations, which only the service makes. Seconds and bytes.
pub async fn copy_out(url: &str) -> (f64, usize) {
    let client = connect(url).await;
    let copy = "COPY (SELECT seq, transaction, last, recorded_at, key,
            coalesce(hash, encode(digest, 'hex')), type, data, metadata
        FROM tidelog.event ORDER BY topic, seq) TO STDOUT";
    let began = Instant::now();
    let stream = client.copy_out(copy).await.expect("it copies");
    futures::pin_mut!(stream);
    let mut bytes = 0;
    while let Some(piece) = stream.next().await {
        bytes += piece.expect("it copies").len();
    }
    (began.elapsed().as_secs_f64(), bytes)
}
