//! Many batches in one database transaction, and what each of them is told when one fails or all.

use std::sync::Arc;

use tidelog::domain::{Epoch, Seq};
use tidelog::store::sqlite::{Config, SqliteStore};
use tidelog::store::{Direction, EventSourceReader, EventSourceWriter, Scan, StoreError, Wanted};

use crate::support::{Place, Topic, content, mark, name, spoilt, word, write};

/// Holds the database for another connection while `appends` are queued, so that they meet in
/// one transaction.
async fn together<T>(place: &Place, appends: impl AsyncFnOnce() -> T) -> T {
    let raw = place.raw();
    raw.execute_batch("BEGIN IMMEDIATE").unwrap();
    let release = async move {
        tokio::task::yield_now().await;
        raw.execute_batch("ROLLBACK").unwrap();
    };
    tokio::join!(appends(), release).0
}

async fn events(store: &SqliteStore, topic: &str) -> usize {
    let scan = Scan {
        from: Seq(0),
        to: Seq(u64::MAX),
        limit: 100,
        direction: Direction::Forward,
        bytes: usize::MAX,
    };
    store.events(&name(topic), scan).await.unwrap().len()
}

#[tokio::test]
async fn a_batch_that_cannot_be_held_is_rejected_and_touches_no_other() {
    let place = Place::new();
    let store = place.open();
    let (mut a, mut b) = (Topic::open(&store, "a").await, Topic::open(&store, "b").await);
    let mut c = Topic::open(&store, "c").await;
    let (first, second) = (a.event("k", "1"), a.event("k2", "2"));
    let bad = spoilt(&b.batch(&[write([content("k", "1"), content("l", "1")])]));
    let behind = b.event("m", "1");
    let last = c.event("k", "1");
    let fates = together(&place, async || {
        tokio::join!(
            store.append(first),
            store.append(bad),
            store.append(second),
            store.append(behind),
            store.append(last)
        )
    })
    .await;
    assert_eq!(word(&fates.0), "written");
    assert_eq!(word(&fates.1), "rejected");
    assert_eq!(word(&fates.2), "written");
    assert_eq!(word(&fates.3), "refused", "its predecessor failed");
    assert_eq!(word(&fates.4), "written");
    assert_eq!((events(&store, "a").await, events(&store, "b").await), (2, 0));
    assert_eq!(events(&store, "c").await, 1);
}

#[tokio::test]
async fn another_head_or_another_epoch_is_refused() {
    let place = Place::new();
    let store = place.open();
    let mut old = Topic::open(&store, "t").await;
    let zombie = old.event("a", "1");
    let mut new = Topic::open(&store, "t").await;
    assert_eq!(word(&store.append(zombie).await), "refused", "an earlier epoch");

    let first = new.event("a", "1");
    store.append(Arc::clone(&first)).await.unwrap();
    assert_eq!(word(&store.append(Arc::clone(&first)).await), "refused", "an earlier head");
    let mut ahead = (*new.event("b", "1")).clone();
    ahead.epoch = Epoch(ahead.epoch.0 + 1);
    assert_eq!(word(&store.append(Arc::new(ahead)).await), "refused", "a later epoch");
    assert_eq!(events(&store, "t").await, 1);

    let wanted = Wanted { marks: vec![Seq(0), Seq(1)], ..Wanted::default() };
    let facts = store.facts(first.topic, wanted).await.unwrap();
    assert_eq!(facts.marks, [mark(&first), None]);
}

#[tokio::test]
async fn an_append_queued_before_an_open_commits_and_one_queued_after_it_does_not() {
    let place = Place::new();
    let store = place.open();
    let mut topic = Topic::open(&store, "t").await;
    let (before, after) = (topic.event("a", "1"), topic.event("b", "1"));
    let before = store.append(before);
    let t = name("t");
    let mut opened = store.open(&t);
    let polled = futures::poll!(&mut opened); // The fence is on its way from here.
    assert!(polled.is_pending());
    let after = store.append(after);
    assert_eq!(opened.await.unwrap().head.map(|head| head.seq), Some(Seq(0)));
    assert_eq!(word(&before.await), "written");
    assert_eq!(word(&after.await), "refused");
}

#[tokio::test]
async fn a_commit_that_fails_with_its_transaction_open_has_written_nothing() {
    let place = Place::new();
    let store = place.open();
    let (mut a, mut b) = (Topic::open(&store, "a").await, Topic::open(&store, "b").await);
    // A constraint that is looked at when everything else is done.
    let trap = "CREATE TABLE trap (x REFERENCES topic (id) DEFERRABLE INITIALLY DEFERRED);
        CREATE TRIGGER spring AFTER INSERT ON event BEGIN INSERT INTO trap VALUES (-1); END;";
    place.raw().execute_batch(trap).unwrap();
    let (first, second) = (a.event("k", "1"), b.event("k", "1"));
    let fates = tokio::join!(store.append(Arc::clone(&first)), store.append(Arc::clone(&second)));
    assert_eq!((word(&fates.0), word(&fates.1)), ("not written", "not written"));
    assert_eq!((events(&store, "a").await, events(&store, "b").await), (0, 0));

    place.raw().execute_batch("DROP TRIGGER spring").unwrap();
    store.append(first).await.unwrap();
    store.append(second).await.unwrap();
}

#[tokio::test]
async fn a_statement_that_takes_the_transaction_with_it_has_written_nothing() {
    let place = Place::new();
    let store = place.open();
    let (mut a, mut b) = (Topic::open(&store, "a").await, Topic::open(&store, "b").await);
    let bomb = "CREATE TRIGGER bomb BEFORE INSERT ON event WHEN NEW.key = 'bomb'
        BEGIN SELECT RAISE(ROLLBACK, 'boom'); END;";
    place.raw().execute_batch(bomb).unwrap();
    let (first, second, third) = (a.event("k", "1"), b.event("bomb", "1"), a.event("l", "1"));
    let fates = together(&place, async || {
        tokio::join!(
            store.append(Arc::clone(&first)),
            store.append(Arc::clone(&second)),
            store.append(Arc::clone(&third))
        )
    })
    .await;
    // The first may have been in a transaction of its own, the third is behind or with the second.
    assert_eq!(word(&fates.1), "not written");
    let written = [&fates.0, &fates.2].into_iter().filter(|fate| fate.is_ok()).count();
    assert_eq!((events(&store, "a").await, events(&store, "b").await), (written, 0));

    place.raw().execute_batch("DROP TRIGGER bomb").unwrap();
    store.append(second).await.unwrap();
}

#[tokio::test]
async fn a_full_disk_writes_nothing_and_is_over_when_there_is_room_again() {
    let place = Place::new();
    drop(place.open());
    let ballast = "CREATE TABLE ballast (x); INSERT INTO ballast VALUES (zeroblob(400000));";
    place.raw().execute_batch(ballast).unwrap();
    let pages: u32 = place.raw().pragma_query_value(None, "page_count", |r| r.get(0)).unwrap();
    let mut config = place.config();
    config.pages_max = Some(pages + 8);
    let store = SqliteStore::open(&config).unwrap();
    let mut topic = Topic::open(&store, "t").await;
    store.append(topic.event("small", "1")).await.unwrap();

    let large = topic.event("large", &format!("\"{}\"", "x".repeat(200_000)));
    let full = store.append(Arc::clone(&large)).await;
    assert_eq!(word(&full), "not written", "{full:?}");
    assert!(full.unwrap_err().to_string().contains("full"));
    assert_eq!(events(&store, "t").await, 1, "it can still be read");
    for _ in 0..2 {
        assert!(matches!(store.ping().await, Err(StoreError::Full(_))), "and says so");
    }

    place.raw().execute_batch("DROP TABLE ballast").unwrap();
    store.append(large).await.unwrap();
    assert_eq!(events(&store, "t").await, 2);
    store.ping().await.unwrap();
}

#[tokio::test]
async fn a_full_disk_that_has_room_again_is_noticed_without_a_write() {
    let place = Place::new();
    drop(place.open());
    let ballast = "CREATE TABLE ballast (x); INSERT INTO ballast VALUES (zeroblob(4000000));";
    place.raw().execute_batch(ballast).unwrap();
    let pages: u32 = place.raw().pragma_query_value(None, "page_count", |r| r.get(0)).unwrap();
    let store =
        SqliteStore::open(&Config { pages_max: Some(pages + 8), ..place.config() }).unwrap();
    let mut topic = Topic::open(&store, "t").await;
    let large = topic.event("large", &format!("\"{}\"", "x".repeat(200_000)));
    assert_eq!(word(&store.append(large).await), "not written");
    assert!(store.ping().await.is_err());
    place.raw().execute_batch("DROP TABLE ballast").unwrap();
    store.ping().await.unwrap();
    let left: i64 = place.raw().query_row("SELECT count(*) FROM probe", [], |r| r.get(0)).unwrap();
    assert_eq!(left, 0);
}

#[tokio::test]
async fn a_surface_is_not_brought_forward_beyond_the_head_and_the_writer_goes_on() {
    let place = Place::new();
    let store = place.open();
    let mut topic = Topic::open(&store, "t").await;
    let batch = topic.event("a", "1");
    let id = batch.topic;
    store.append(batch).await.unwrap();
    assert!(matches!(store.fold(id, Seq(1), None).await, Err(StoreError::Corrupt(_))));
    assert_eq!(store.fold(id, Seq(0), None).await.unwrap(), Seq(0));
    store.append(topic.event("b", "1")).await.unwrap();
}
