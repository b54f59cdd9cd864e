//! S1: once `open` has returned, no batch of an earlier epoch commits any more.

use futures::future::join_all;
use tidelog::domain::{Planner, Seq};

use crate::backends::Stand;
use crate::make::{NOW, key, name, one, register};
use crate::writer::{Writer, all_keys, everything, open, refused, wait_for};

on_every_backend!(
    an_old_writer_is_refused,
    what_is_on_its_way_is_in_the_head_or_refused,
    a_writer_at_full_speed_is_fenced,
    of_many_that_open_at_once_only_the_newest_writes,
    epochs_rise_over_restarts,
    a_topic_without_events_is_not_there_for_readers,
);

async fn an_old_writer_is_refused(stand: Stand) {
    let mut old = Writer::open(&stand.store, "t").await;
    old.write([one("a", "1")]).await;
    let mut new = Writer::take(&stand.other().await, "t", old.book.clone()).await;
    assert!(new.epoch() > old.epoch());
    assert_eq!(new.opened.head, old.planner.head());
    assert_eq!(new.id(), old.id());
    let without_events = old.plan([register("p", 1, 0)]);
    assert!(refused(&old.send(&without_events).await));
    let event = old.plan([one("b", "1")]);
    assert!(refused(&old.send(&event).await));
    new.write([one("c", "1")]).await;
    assert!(refused(&old.send(&event).await), "and for ever");
    new.check().await;
}

async fn what_is_on_its_way_is_in_the_head_or_refused(stand: Stand) {
    let mut old = Writer::open(&stand.store, "t").await;
    let other = stand.other().await;
    let batches: Vec<_> = (0..200).map(|n| old.plan([one(&format!("k{n}"), "1")])).collect();
    let on_their_way: Vec<_> = batches.iter().map(|batch| old.send(batch)).collect();
    let opened = open(&*other.writer, &old.name).await;
    let outcomes = join_all(on_their_way).await;
    let written = outcomes.iter().take_while(|outcome| outcome.is_ok()).count();
    assert!(outcomes[written..].iter().all(refused), "{:?}", &outcomes[written..]);
    assert_eq!(Seq::after(opened.head), Seq(written as u64), "and nothing came later");
    let head = other.reader.head(&old.name).await.expect("a head");
    assert_eq!(head, opened.head);
}

async fn a_writer_at_full_speed_is_fenced(stand: Stand) {
    let mut old = Writer::open(&stand.store, "t").await;
    let (other, name) = (stand.other().await, old.name.clone());
    let full_speed = tokio::spawn(async move {
        for written in 0.. {
            let batch = old.plan([one(&format!("k{written}"), "1")]);
            let outcome = old.send(&batch).await;
            if outcome.is_err() {
                assert!(refused(&outcome), "{outcome:?}");
                return (written, old);
            }
            tokio::task::yield_now().await;
        }
        unreachable!("it is fenced")
    });
    wait_for(&*other.reader, &name, Seq(20)).await;
    let opened = open(&*other.writer, &name).await;
    let mut planner = Planner::new(opened.topic, opened.epoch, opened.head, opened.frontier);
    let (written, mut old) = full_speed.await.expect("the old writer ends");
    assert_eq!(Seq::after(opened.head).0, written);
    let mut batch = planner.begin(NOW);
    planner.decide(&one("new", "1"), &mut old.book, &mut batch).expect("accepted");
    planner.seal(&mut batch);
    other.writer.append(batch.into()).await.expect("the new writer goes on");
}

async fn of_many_that_open_at_once_only_the_newest_writes(stand: Stand) {
    let stores = [stand.store.clone(), stand.other().await];
    let writers = (0..8).map(|n| Writer::open(&stores[n % 2], "t"));
    let mut writers = join_all(writers).await;
    writers.sort_by_key(Writer::epoch);
    assert!(writers.windows(2).all(|pair| pair[0].epoch() < pair[1].epoch()), "no two are equal");
    for (n, writer) in writers.iter_mut().enumerate() {
        let batch = writer.plan([one(&format!("k{n}"), "1")]);
        let outcome = writer.send(&batch).await;
        assert_eq!(outcome.is_ok(), n == 7, "writer {n}: {outcome:?}");
    }
    writers[7].check().await;
}

async fn epochs_rise_over_restarts(mut stand: Stand) {
    let mut old = Writer::open(&stand.store, "t").await;
    old.write([one("a", "1")]).await;
    let book = old.book.clone();
    let late = old.plan([one("b", "1")]);
    if !stand.reopen().await {
        return;
    }
    let new = Writer::take(&stand.store, "t", book).await;
    assert!(new.epoch() > old.epoch());
    assert!(refused(&new.send(&late).await));
    new.check().await;
}

async fn a_topic_without_events_is_not_there_for_readers(stand: Stand) {
    let writer = Writer::open(&stand.store, "t").await;
    assert_eq!(writer.opened.head, None);
    assert_eq!(writer.opened.folded, None);
    let reader = &stand.store.reader;
    for topic in ["t", "never-opened"].map(name) {
        assert_eq!(reader.head(&topic).await.expect("a head"), None);
        assert!(reader.events(&topic, everything()).await.expect("events").is_empty());
        let history = reader.history(&topic, &key("k"), everything()).await;
        assert!(history.expect("a history").is_empty());
        let first = tidelog::domain::TransactionNo(0);
        assert_eq!(reader.transaction(&topic, first).await.expect("an answer"), None);
        let at = tidelog::domain::Version { seq: Seq(0), transaction: first };
        let scan =
            tidelog::store::SurfaceScan { at, keys: all_keys(), limit: 9, bytes: usize::MAX };
        assert!(reader.surface(&topic, &scan).await.expect("a surface").is_empty());
    }
    assert!(reader.topics("", None, 9).await.expect("topics").is_empty());
}
