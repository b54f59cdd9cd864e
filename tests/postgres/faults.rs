//! Servers that stop, hang or become read-only while the store is in use.

use std::time::Duration;

use tidelog::domain::*;
use tidelog::store::postgres::{Config, PostgresStore};
use tidelog::store::{
    AppendError, EventSourceReader, EventSourceWriter, KeyRange, StoreError, SurfaceScan, Wanted,
};

use crate::cluster::{Cluster, Stop};
use crate::plan::*;

/// Appends until it works again, opening the topic anew each time, for as long as it takes.
async fn append_again(store: &PostgresStore, topic: &str) -> Version {
    for _ in 0..10_000 {
        if let Ok(opened) = store.open(&name(topic)).await {
            let mut writer = Writer::new(opened);
            let next = Seq::after(writer.planner.head());
            let batch = writer.batch(&[one("again", &format!("{next}"))]);
            if store.append(batch.clone()).await.is_ok() {
                return batch.head().expect("an event");
            }
        }
        tokio::task::yield_now().await;
    }
    panic!("the store does not come back");
}

/// What was acknowledged is there when the server comes back, whatever way it went.
async fn survives(end: impl Fn(&Cluster)) {
    let cluster = Cluster::new(&[]);
    let store = connect(&cluster.database()).await;
    let mut writer = Writer::open(&store, "t").await;
    let mut acknowledged = Vec::new();
    for n in 0..20 {
        let batch = writer.batch(&[one("k", &format!("{n}"))]);
        store.append(batch.clone()).await.expect("the server is up");
        acknowledged.push(batch);
    }
    end(&cluster);
    let batch = writer.batch(&[one("k", "lost")]);
    let outcome = store.append(batch.clone()).await;
    let down = matches!(outcome, Err(AppendError::NotWritten(StoreError::Unavailable(_))));
    assert!(down || matches!(outcome, Err(AppendError::Unknown(_))), "{outcome:?}");
    assert!(matches!(store.ping().await, Err(StoreError::Unavailable(_))));
    let again = store.append(batch).await;
    assert!(matches!(again, Err(AppendError::NotWritten(_))), "{again:?}: refused, not queued");
    cluster.start();
    append_again(&store, "t").await;
    let marks = acknowledged.iter().map(|batch| batch.head().expect("an event").seq).collect();
    let wanted = Wanted { marks, ..Wanted::default() };
    let facts = store.facts(writer.topic, wanted).await.expect("facts");
    let expected: Vec<_> = acknowledged.iter().map(|batch| Some(batch.mark())).collect();
    assert_eq!(facts.marks, expected);
    store.ping().await.expect("readers are back as well");
    store.close().await;
}

/// Ends sessions and waits until they are gone (which PostgreSQL 13 does not do itself); says how
/// many there were.
fn terminate(cluster: &Cluster, database: &str, which: &str) -> String {
    let of = |what: &str| {
        cluster.sql(database, &format!("SELECT count({what}) FROM pg_stat_activity WHERE {which}"))
    };
    let pids = format!("SELECT string_agg(pid::text, ',') FROM pg_stat_activity WHERE {which}");
    let pids = cluster.sql(database, &pids);
    let count = of("pg_terminate_backend(pid)");
    if !pids.is_empty() {
        let left = format!("SELECT count(*) FROM pg_stat_activity WHERE pid IN ({pids})");
        for _ in 0..500 {
            if cluster.sql(database, &left) == "0" {
                break;
            }
        }
    }
    count
}

#[tokio::test]
async fn acknowledged_events_survive_a_server_that_stops() {
    survives(|cluster| cluster.stop(Stop::Fast)).await;
}

#[tokio::test]
async fn acknowledged_events_survive_a_server_that_crashes() {
    survives(|cluster| cluster.stop(Stop::Immediate)).await;
}

#[tokio::test]
async fn acknowledged_events_survive_a_server_that_is_killed() {
    let cluster = Cluster::new(&[]);
    let store = connect(&cluster.database()).await;
    let mut writer = Writer::open(&store, "t").await;
    let batch = writer.batch(&[one("k", "1")]);
    store.append(batch.clone()).await.expect("the server is up");
    cluster.kill();
    cluster.start();
    append_again(&store, "t").await;
    let marks = vec![batch.head().expect("an event").seq];
    let facts = store.facts(writer.topic, Wanted { marks, ..Wanted::default() }).await;
    assert_eq!(facts.expect("facts").marks, [Some(batch.mark())]);
}

#[tokio::test]
async fn a_backend_that_is_terminated_leaves_no_lie_and_the_lane_comes_back() {
    let cluster = Cluster::shared();
    let url = cluster.database();
    let store = connect(&url).await;
    let before = append_again(&store, "t").await;
    let ours = "datname = current_database() AND application_name = 'tidelog'";
    assert_ne!(terminate(cluster, &url, ours), "0");
    let after = append_again(&store, "t").await;
    assert!(after.seq > before.seq);
}

#[tokio::test]
async fn a_statement_over_its_time_limit_is_not_written() {
    let cluster = Cluster::shared();
    let url = cluster.database();
    let statement_timeout = Duration::from_millis(300);
    let config = Config { statement_timeout, ..small(&url) };
    let store = PostgresStore::connect(&config).await.expect("opens");
    let mut writer = Writer::open(&store, "t").await;
    cluster.sql(
        &url,
        "CREATE FUNCTION pg_temp_slow() RETURNS trigger LANGUAGE plpgsql AS
            'BEGIN PERFORM pg_sleep(60); RETURN NEW; END';
        CREATE TRIGGER slow BEFORE INSERT ON tidelog.event FOR EACH ROW
            EXECUTE FUNCTION pg_temp_slow()",
    );
    let outcome = store.append(writer.batch(&[one("k", "1")])).await;
    assert!(matches!(outcome, Err(AppendError::NotWritten(_))), "{outcome:?}");
    cluster.sql(&url, "DROP TRIGGER slow ON tidelog.event");
    assert_eq!(store.open(&name("t")).await.expect("opens").head, None);
    append_again(&store, "t").await;
}

/// Found by a review: a lane that panicked was gone, and with it all that its topics could do.
#[tokio::test]
async fn a_batch_that_makes_its_lane_panic_takes_no_other_with_it() {
    let store = PostgresStore::connect(&small(&Cluster::shared().database())).await.expect("opens");
    let mut writer = Writer::open(&store, "t").await;
    let sound = writer.batch(&[one("k", "1")]);
    let producer = ProducerId::parse("p").expect("a producer id");
    let receipt =
        Receipt { transaction: None, acks: Default::default(), head: None, replayed: false };
    // Its next line does not fit a number.
    let record =
        ProducerRecord { producer, epoch: 0, first_line: u64::MAX, receipts: vec![receipt] };
    let broken = Batch { producers: vec![record], ..Batch::clone(&sound) };
    let outcome = store.append(std::sync::Arc::new(broken)).await;
    assert!(matches!(outcome, Err(AppendError::Unknown(_))), "{outcome:?}");
    store.append(sound).await.expect("the lane goes on");
    store.close().await;
}

/// Found by a review: a writer's fold waited for a connection that only slow readers had.
#[tokio::test]
async fn a_writer_folds_while_every_connection_of_the_readers_is_taken() {
    let cluster = Cluster::shared();
    let url = cluster.database();
    let lock_timeout = Duration::from_secs(60);
    let config = Config { readers: 1, lock_timeout, ..small(&url) };
    let store = PostgresStore::connect(&config).await.expect("opens");
    for topic in ["read", "written"] {
        append_again(&store, topic).await;
    }
    let (other, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.unwrap();
    let other_session = tokio::spawn(connection);
    let lock = "BEGIN; SELECT 1 FROM tidelog.fold f JOIN tidelog.topic t ON t.id = f.topic
        WHERE t.name = 'read' FOR UPDATE OF f";
    other.batch_execute(lock).await.expect("nobody else folds");
    let at = store.head(&name("read")).await.expect("reads").expect("an event");
    let keys = KeyRange::Prefix { prefix: String::new(), after: None };
    let (read, scan) = (name("read"), SurfaceScan { at, keys, limit: 1, bytes: usize::MAX });
    let mut reading = store.surface(&read, &scan);
    let stuck = tokio::time::timeout(Duration::from_millis(200), &mut reading).await;
    assert!(stuck.is_err(), "it waits for the lock");
    let opened = store.open(&name("written")).await.expect("opens");
    let to = opened.head.expect("an event").seq;
    assert_eq!(store.fold(opened.topic, to, None).await.expect("folds"), to);
    drop(other);
    assert_eq!(reading.await.expect("a surface").len(), 1);
    other_session.await.expect("it ends").expect("as it should");
}

#[tokio::test]
async fn a_server_that_takes_no_writes_any_more_can_still_be_read() {
    let cluster = Cluster::new(&[]);
    let url = cluster.database();
    let store = connect(&url).await;
    append_again(&store, "t").await;
    let mut writer = Writer::open(&store, "t").await;
    cluster.sql("postgres", "ALTER SYSTEM SET default_transaction_read_only = on");
    cluster.sql("postgres", "SELECT pg_reload_conf()");
    terminate(&cluster, "postgres", "application_name = 'tidelog'");
    let batch = writer.batch(&[one("k", "1")]);
    // The lane may not yet know that its connection is gone.
    let first = store.append(batch.clone()).await;
    assert!(first.is_err());
    let outcome = store.append(batch).await;
    let read_only = matches!(outcome, Err(AppendError::NotWritten(StoreError::ReadOnly(_))));
    assert!(read_only, "{outcome:?}");
    let opened = store.open(&name("t")).await;
    assert!(matches!(opened, Err(StoreError::ReadOnly(_))), "{opened:?}");
    assert!(store.head(&name("t")).await.expect("reads").is_some());
    cluster.sql("postgres", "ALTER SYSTEM RESET default_transaction_read_only");
    cluster.sql("postgres", "SELECT pg_reload_conf()");
    append_again(&store, "t").await;
}

#[tokio::test]
async fn a_closed_store_refuses_and_what_was_queued_has_its_outcome() {
    let url = Cluster::shared().database();
    let store = connect(&url).await;
    let mut writer = Writer::open(&store, "t").await;
    let batches: Vec<_> = (0..20).map(|n| writer.batch(&[one("k", &format!("{n}"))])).collect();
    let appends: Vec<_> = batches.iter().map(|batch| store.append(batch.clone())).collect();
    store.close().await;
    for append in appends {
        append.await.expect("it was queued before the store was closed");
    }
    let late = store.append(writer.batch(&[one("k", "late")])).await;
    let refused = matches!(late, Err(AppendError::NotWritten(StoreError::Unavailable(_))));
    assert!(refused, "{late:?}");
    assert!(matches!(store.ping().await, Err(StoreError::Unavailable(_))));
}
