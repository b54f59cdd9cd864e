//! S4: a batch commits only on exactly the head and epoch that it was planned on.

use std::sync::Arc;

use futures::future::join_all;
use tidelog::domain::{Batch, Epoch};

use crate::backends::Stand;
use crate::make::{line, one, register};
use crate::writer::{Writer, refused};

on_every_backend!(
    the_batches_after_a_refused_one_are_refused,
    a_batch_is_written_once,
    only_the_next_batch_is_written,
    of_batches_for_one_place_one_is_written,
    batches_are_written_in_the_order_of_the_calls,
    a_batch_without_events_needs_its_head_as_well,
    another_epoch_is_refused_be_it_lower_or_higher,
);

async fn the_batches_after_a_refused_one_are_refused(stand: Stand) {
    let mut writer = Writer::open(&stand.store, "t").await;
    let first = writer.plan([one("a", "1")]);
    let (durable, planner) = (writer.book.clone(), writer.planner.clone());
    let mut second = Batch::clone(&*writer.plan([one("b", "1")]));
    second.epoch = Epoch(second.epoch.0 + 1);
    let third = writer.plan([one("c", "1")]);
    let fourth = writer.plan([line(one("d", "1"), "p", 0, 0)]);
    let sent = [first, Arc::new(second), third, fourth].map(|batch| writer.send(&batch));
    let outcomes = join_all(sent).await;
    assert!(outcomes[0].is_ok(), "{outcomes:?}");
    assert!(outcomes[1..].iter().all(refused), "{outcomes:?}");
    (writer.book, writer.planner) = (durable, planner);
    writer.check().await;
    writer.write([one("e", "1")]).await;
    writer.check().await;
}

async fn a_batch_is_written_once(stand: Stand) {
    let mut writer = Writer::open(&stand.store, "t").await;
    let batch = writer.plan([one("a", "1"), one("b", "1")]);
    let outcomes = join_all([writer.send(&batch), writer.send(&batch)]).await;
    assert!(outcomes[0].is_ok() && refused(&outcomes[1]), "{outcomes:?}");
    assert!(refused(&writer.send(&batch).await));
    writer.check().await;
}

async fn only_the_next_batch_is_written(stand: Stand) {
    let mut writer = Writer::open(&stand.store, "t").await;
    let batches: Vec<_> = (0..5).map(|n| writer.plan([one(&n.to_string(), "1")])).collect();
    for next in 0..5 {
        for batch in batches.iter().skip(next + 1).chain(&batches[..next]) {
            assert!(refused(&writer.send(batch).await), "next is {next}");
        }
        writer.send(&batches[next]).await.expect("it is the next");
    }
    writer.check().await;
}

async fn of_batches_for_one_place_one_is_written(stand: Stand) {
    let mut writer = Writer::open(&stand.store, "t").await;
    let stores = [stand.store.clone(), stand.other().await];
    for round in 0..10 {
        let (planner, book) = (writer.planner.clone(), writer.book.clone());
        let plans = (0..6).map(|n| {
            (writer.planner, writer.book) = (planner.clone(), book.clone());
            let batch = writer.plan([one("k", &format!("1{round}{n}"))]);
            (batch, writer.planner.clone(), writer.book.clone())
        });
        let plans: Vec<_> = plans.collect();
        let sent = plans
            .iter()
            .enumerate()
            .map(|(n, (batch, ..))| tokio::spawn(stores[n % 2].writer.append(batch.clone())));
        let outcomes: Vec<_> =
            join_all(sent).await.into_iter().map(|o| o.expect("no panic")).collect();
        let won: Vec<_> = (0..6).filter(|n| outcomes[*n].is_ok()).collect();
        let [won] = won[..] else { panic!("{outcomes:?}") };
        assert_eq!(outcomes.iter().filter(|outcome| refused(outcome)).count(), 5);
        (writer.planner, writer.book) = (plans[won].1.clone(), plans[won].2.clone());
        writer.check().await;
    }
}

async fn batches_are_written_in_the_order_of_the_calls(stand: Stand) {
    let mut writer = Writer::open(&stand.store, "t").await;
    let batches: Vec<_> = (0..300).map(|n| writer.plan([one(&format!("k{n}"), "1")])).collect();
    let mut sent: Vec<_> = batches.iter().map(|batch| writer.send(batch)).collect();
    sent.reverse(); // Who is waited for first makes no difference.
    let outcomes = join_all(sent).await;
    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
    writer.check().await;
}

async fn a_batch_without_events_needs_its_head_as_well(stand: Stand) {
    let mut writer = Writer::open(&stand.store, "t").await;
    let early = writer.plan([register("p", 1, 0)]);
    writer.write([one("a", "1")]).await;
    assert!(refused(&writer.send(&early).await));
    let head = writer.planner.head();
    writer.write([register("p", 2, 0)]).await;
    writer.check().await;
    let writer = Writer::take(&stand.store, "t", writer.book.clone()).await;
    assert_eq!(writer.opened.head, head, "it did not move the head");
}

async fn another_epoch_is_refused_be_it_lower_or_higher(stand: Stand) {
    let mut writer = Writer::open(&stand.store, "t").await;
    let batch = writer.plan([one("a", "1")]);
    for epoch in [batch.epoch.0 - 1, batch.epoch.0 + 1] {
        let other = Batch { epoch: Epoch(epoch), ..Batch::clone(&batch) };
        assert!(refused(&writer.send(&Arc::new(other)).await), "epoch {epoch}");
    }
    writer.send(&batch).await.expect("its own epoch");
    writer.check().await;
}
