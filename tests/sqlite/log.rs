//! SQLite's log: it is brought back into the database while it is written to, and begins anew.

use std::fs::File;
use std::io::Read as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use futures::FutureExt as _;
use tidelog::store::EventSourceWriter as _;
use tidelog::store::sqlite::SqliteStore;

use crate::support::{Place, Topic, content, name, write};

/// Batches, of more than 256 pages each, after which the log has to have begun anew.
const ENOUGH: usize = 150;

/// How often the log has begun anew: the "checkpoint sequence number" of its header
/// (<https://sqlite.org/fileformat2.html#walformat>).
fn turn(place: &Place) -> u32 {
    let mut header = [0; 16];
    let mut log = File::open(place.path().with_extension("db-wal")).expect("the log");
    log.read_exact(&mut header).expect("a header");
    u32::from_be_bytes(header[12..].try_into().unwrap())
}

async fn append(store: &SqliteStore, topic: &mut Topic) {
    let data = format!("\"{}\"", "x".repeat(1 << 18));
    let commands: Vec<_> = (0..4).map(|key| write([content(&format!("k{key}"), &data)])).collect();
    store.append(topic.batch(&commands)).await.expect("written");
}

/// A store with a log that has something in it.
async fn begun() -> (Place, SqliteStore, Topic) {
    let place = Place::new();
    let store = place.open();
    let mut topic = Topic::open(&store, "t").await;
    append(&store, &mut topic).await;
    (place, store, topic)
}

async fn append_until_anew(place: &Place, store: &SqliteStore, topic: &mut Topic) {
    let before = turn(place);
    for _ in 0..ENOUGH {
        append(store, topic).await;
        if turn(place) != before {
            return;
        }
    }
    panic!("the log has grown without an end");
}

#[tokio::test]
async fn a_log_that_is_always_written_to_begins_anew() {
    let (place, store, mut topic) = begun().await;
    for _ in 0..3 {
        append_until_anew(&place, &store, &mut topic).await;
    }
    drop(store);
    let opened = place.open().open(&name("t")).await.unwrap();
    assert_eq!(opened.head, topic.planner.head());
}

#[tokio::test]
async fn a_log_that_somebody_reads_begins_anew_when_he_has_ended() {
    let (place, store, mut topic) = begun().await;
    let raw = place.raw();
    raw.execute_batch("BEGIN; SELECT count(*) FROM event").unwrap();
    let before = turn(&place);
    for _ in 0..40 {
        append(&store, &mut topic).await;
    }
    assert_eq!(turn(&place), before, "what he reads stays");
    let count = || raw.query_row("SELECT count(*) FROM event", [], |row| row.get::<_, i64>(0));
    assert_eq!(count().unwrap(), 4);
    raw.execute_batch("ROLLBACK").unwrap();
    append_until_anew(&place, &store, &mut topic).await;
    assert_eq!(count().unwrap() as u64, topic.planner.head().unwrap().seq.0 + 1);
}

#[tokio::test]
async fn a_log_that_is_read_without_a_pause_begins_anew() {
    let (place, store, mut topic) = begun().await;
    let ended = AtomicBool::new(false);
    let read = |raw: rusqlite::Connection| {
        while !ended.load(Ordering::Relaxed) {
            let newest = "SELECT max(seq) FROM event WHERE topic = 1";
            raw.query_row(newest, [], |row| row.get::<_, i64>(0)).unwrap();
        }
    };
    thread::scope(|scope| {
        for _ in 0..3 {
            let raw = place.raw();
            scope.spawn(|| read(raw));
        }
        let written = futures::executor::block_on(async {
            let write = async {
                for _ in 0..3 {
                    append_until_anew(&place, &store, &mut topic).await;
                }
            };
            std::panic::AssertUnwindSafe(write).catch_unwind().await
        });
        ended.store(true, Ordering::Relaxed);
        written.expect("the log begins anew");
    });
}
