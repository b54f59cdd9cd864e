//! What the databases do without a service: the yardstick. The same rows as Tidelog's event
//! table, the same durability; no decisions, no surface, no HTTP.

use std::collections::VecDeque;
use std::path::Path;
use std::time::Instant;

use futures::FutureExt as _;
use futures::future::{BoxFuture, join_all};
use tokio_postgres::NoTls;

const DATA: usize = 200;

/// SQLite: one thread, prepared inserts, `batch` events a transaction, with or without a row of the
/// surface for each. Events a second.
pub fn sqlite(path: &Path, events: usize, batch: usize, surface: bool) -> f64 {
    let connection = rusqlite::Connection::open(path).expect("it opens");
    connection
        .execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
             CREATE TABLE head (topic INTEGER PRIMARY KEY, seq INTEGER NOT NULL);
             INSERT INTO head VALUES (1, -1);
             CREATE TABLE event (topic INTEGER, seq INTEGER, tx INTEGER, key TEXT, data TEXT,
                digest BLOB, at INTEGER, PRIMARY KEY (topic, seq)) WITHOUT ROWID, STRICT;
             CREATE TABLE surface (topic INTEGER, key TEXT, seq INTEGER, PRIMARY KEY (topic, key))
                WITHOUT ROWID, STRICT;",
        )
        .expect("it is SQL");
    let data = "x".repeat(DATA);
    let began = Instant::now();
    for first in (0..events).step_by(batch) {
        connection.execute_batch("BEGIN IMMEDIATE").expect("it begins");
        let mut head = connection
            .prepare_cached("UPDATE head SET seq = ?2 WHERE topic = 1 AND seq = ?1")
            .expect("it is SQL");
        let (last, next) = (first as i64 - 1, (first + batch) as i64 - 1);
        assert_eq!(head.execute((last, next)).expect("it runs"), 1);
        let mut insert = connection
            .prepare_cached("INSERT INTO event VALUES (1, ?1, ?1, ?2, ?3, ?4, 0)")
            .expect("it is SQL");
        let mut upsert = connection
            .prepare_cached(
                "INSERT INTO surface VALUES (1, ?1, ?2)
                 ON CONFLICT (topic, key) DO UPDATE SET seq = excluded.seq",
            )
            .expect("it is SQL");
        for n in first..first + batch {
            let key = format!("key-{n:016}");
            insert.execute((n as i64, &key, &data, [0_u8; 32])).expect("it runs");
            if surface {
                upsert.execute((&key, n as i64)).expect("it runs");
            }
        }
        connection.execute_batch("COMMIT").expect("it commits");
    }
    events as f64 / began.elapsed().as_secs_f64()
}

async fn connect(url: &str) -> tokio_postgres::Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.expect("it connects");
    tokio::spawn(connection);
    client
}

/// PostgreSQL: one connection, `batch` events a statement (and so a commit), conditional on the
/// head, `in_flight` statements pipelined, with or without a row of the surface for each event.
/// Events a second.
pub async fn postgres(
    url: &str,
    events: usize,
    batch: usize,
    in_flight: usize,
    surface: bool,
) -> f64 {
    let client = std::sync::Arc::new(connect(url).await);
    client
        .batch_execute(
            "DROP TABLE IF EXISTS raw_event, raw_head, raw_surface;
             CREATE TABLE raw_surface (topic bigint, key text COLLATE \"C\", seq bigint,
                PRIMARY KEY (topic, key));
             CREATE TABLE raw_head (topic bigint PRIMARY KEY, seq bigint NOT NULL);
             INSERT INTO raw_head VALUES (1, -1);
             CREATE TABLE raw_event (topic bigint, seq bigint, tx bigint, at timestamptz,
                key text COLLATE \"C\", data text, digest bytea, PRIMARY KEY (topic, seq));
             SET plan_cache_mode = force_generic_plan; SET jit = off;",
        )
        .await
        .expect("it is SQL");
    let upsert = ", s AS (INSERT INTO raw_surface
                SELECT g.topic, u.key, u.seq
                FROM unnest($3::bigint[], $4::text[]) AS u(seq, key), g
                ON CONFLICT (topic, key) DO UPDATE SET seq = excluded.seq)";
    let upsert = if surface { upsert } else { "" };
    let statement = format!(
        "WITH g AS (UPDATE raw_head SET seq = $2 WHERE topic = 1 AND seq = $1 RETURNING topic),
             e AS (INSERT INTO raw_event
                SELECT g.topic, u.seq, u.seq, now(), u.key, u.data, u.digest
                FROM unnest($3::bigint[], $4::text[], $5::text[], $6::bytea[])
                    AS u(seq, key, data, digest), g){upsert}
             SELECT count(*) FROM g"
    );
    let insert = client.prepare(&statement).await.expect("it is SQL");
    let data = "x".repeat(DATA);
    let began = Instant::now();
    let mut flights: VecDeque<BoxFuture<'static, i64>> = VecDeque::new();
    for first in (0..events).step_by(batch) {
        let seqs: Vec<i64> = (first as i64..(first + batch) as i64).collect();
        let keys: Vec<String> = seqs.iter().map(|n| format!("key-{n:016}")).collect();
        let (client, insert) = (client.clone(), insert.clone());
        let (datas, digests) = (vec![data.clone(); batch], vec![vec![0_u8; 32]; batch]);
        let mut flight = async move {
            let (before, last) = (seqs[0] - 1, seqs[seqs.len() - 1]);
            let row =
                client.query_one(&insert, &[&before, &last, &seqs, &keys, &datas, &digests]).await;
            row.expect("it runs").get(0)
        }
        .boxed();
        match (&mut flight).now_or_never() {
            Some(moved) => assert_eq!(moved, 1),
            None => flights.push_back(flight),
        }
        if flights.len() >= in_flight {
            assert_eq!(flights.pop_front().expect("there is one").await, 1);
        }
    }
    for moved in join_all(flights).await {
        assert_eq!(moved, 1);
    }
    events as f64 / began.elapsed().as_secs_f64()
}

/// PostgreSQL: every client inserts one row a commit and waits for it. Events a second.
pub async fn postgres_clients(url: &str, events: usize, clients: usize) -> f64 {
    let setup = connect(url).await;
    setup
        .batch_execute(
            "DROP TABLE IF EXISTS raw_single;
             CREATE TABLE raw_single (seq bigserial PRIMARY KEY, key text, data text,
                digest bytea);",
        )
        .await
        .expect("it is SQL");
    let connections = join_all((0..clients).map(|_| connect(url))).await;
    let (each, began) = (events / clients, Instant::now());
    join_all(connections.iter().map(|client| async move {
        let insert = "INSERT INTO raw_single (key, data, digest) VALUES ($1, $2, $3)";
        let insert = client.prepare(insert).await.expect("it is SQL");
        let data = "x".repeat(DATA);
        for n in 0..each {
            let key = format!("key-{n:016}");
            client.execute(&insert, &[&key, &data, &vec![0_u8; 32]]).await.expect("it runs");
        }
    }))
    .await;
    (each * clients) as f64 / began.elapsed().as_secs_f64()
}
