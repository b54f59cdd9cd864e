//! S3: `Ok` means that all of the batch is durable, and all other certain outcomes that none of
//! it is there or ever will be.

use std::sync::Arc;

use tidelog::domain::{
    Batch, Command, IdempotencyKey, ProducerState, Seq, TargetState, Timestamp, TransactionNo,
};
use tidelog::store::{AppendError, Lines, Wanted};

use crate::backends::Stand;
use crate::make::{content, invalidate, line, named, one, producer, write};
use crate::writer::{Writer, refused};

on_every_backend!(
    all_of_a_written_batch_outlives_the_store,
    nothing_of_a_refused_batch_is_there,
    what_a_refused_batch_would_have_changed_is_as_it_was,
    nothing_of_a_batch_that_cannot_be_held_is_there,
    what_is_sent_is_written_whether_or_not_somebody_waits,
    a_batch_of_many_events_is_one_batch,
);

/// A bit of everything.
fn all_kinds() -> Vec<Command> {
    vec![
        write([content("a", "1"), content("b", "2")]),
        invalidate(0),
        named(one("c", "3"), "request", 1),
        line(one("d", "4"), "p", 2, 0),
    ]
}

fn records() -> Wanted {
    Wanted {
        targets: (0..5).map(TransactionNo).collect(),
        idempotency: vec![IdempotencyKey::parse("request").expect("visible")],
        producers: vec![producer("p")],
        marks: (0..6).map(Seq).collect(),
        ..Wanted::default()
    }
}

async fn all_of_a_written_batch_outlives_the_store(mut stand: Stand) {
    let mut writer = Writer::open(&stand.store, "t").await;
    let batch = writer.write(all_kinds()).await;
    let facts = writer.facts(records()).await;
    assert!(matches!(facts.targets[0], TargetState::Invalidated(_)));
    assert_eq!(facts.idempotency[0].as_ref(), Some(&batch.idempotency[0]));
    assert_eq!(facts.producers, [ProducerState { epoch: 2, next_line: 1 }]);
    assert_eq!(facts.marks[4], Some(batch.mark()));
    if stand.reopen().await {
        let writer = Writer::take(&stand.store, "t", writer.book).await;
        writer.check().await;
        assert_eq!(writer.facts(records()).await, facts);
        assert_eq!(writer.opened.frontier, batch.frontier);
    }
}

async fn nothing_of_a_refused_batch_is_there(stand: Stand) {
    let mut writer = Writer::open(&stand.store, "t").await;
    let before = writer.facts(records()).await;
    let mut batch = Batch::clone(&*writer.plan(all_kinds()));
    batch.epoch.0 += 1;
    assert!(refused(&writer.send(&Arc::new(batch)).await));
    assert_eq!(writer.facts(records()).await, before);
    assert!(writer.events().await.is_empty());
}

async fn what_a_refused_batch_would_have_changed_is_as_it_was(stand: Stand) {
    let mut writer = Writer::open(&stand.store, "t").await;
    writer.write([line(one("a", "1"), "p", 0, 0), named(one("b", "1"), "other", 0)]).await;
    let before = writer.facts(records()).await;
    let (planner, book) = (writer.planner.clone(), writer.book.clone());
    let lost = [
        invalidate(0),
        invalidate(1),
        line(one("c", "1"), "p", 1, 1),
        named(one("d", "1"), "request", 1),
    ];
    let mut batch = Batch::clone(&*writer.plan(lost));
    batch.epoch.0 += 1;
    assert!(refused(&writer.send(&Arc::new(batch)).await));
    assert_eq!(writer.facts(records()).await, before);
    // The same places, used for something else.
    (writer.planner, writer.book) = (planner, book);
    writer.write([named(one("e", "2"), "request", 2), line(one("f", "2"), "p", 0, 1)]).await;
    writer.write([invalidate(1)]).await;
    let lines = Lines { producer: producer("p"), first: 0, count: 2 };
    let facts = writer.facts(Wanted { replays: vec![lines], ..records() }).await;
    assert_eq!(facts.replays[0], writer.book.producers[&producer("p")].1);
    assert_eq!(facts.idempotency[0].as_ref().expect("kept").request, [2; 32]);
    assert_eq!(facts.targets[0], TargetState::Stands(Seq(0), Seq(0)));
    assert_eq!(facts.targets[1], TargetState::Invalidated(writer.head()));
    writer.check().await;
}

/// Not every store has times that it cannot hold; one that takes them must give them back.
async fn nothing_of_a_batch_that_cannot_be_held_is_there(stand: Stand) {
    let mut writer = Writer::open(&stand.store, "t").await;
    let before = writer.facts(records()).await;
    let (planner, book) = (writer.planner.clone(), writer.book.clone());
    let batch = writer.plan_at(Timestamp(i64::MIN / 2), all_kinds());
    match writer.send(&batch).await {
        Ok(()) => {}
        Err(AppendError::Rejected(_)) => {
            assert!(writer.events().await.is_empty());
            assert_eq!(writer.facts(records()).await, before);
            (writer.planner, writer.book) = (planner, book);
            writer.write(all_kinds()).await;
        }
        Err(error) => panic!("{error:?}"),
    }
    writer.check().await;
}

async fn what_is_sent_is_written_whether_or_not_somebody_waits(stand: Stand) {
    let mut writer = Writer::open(&stand.store, "t").await;
    for n in 0..50 {
        let batch = writer.plan([one(&format!("k{n}"), "1")]);
        drop(writer.send(&batch));
    }
    writer.write([one("last", "1")]).await;
    writer.check().await;
}

async fn a_batch_of_many_events_is_one_batch(stand: Stand) {
    let mut writer = Writer::open(&stand.store, "t").await;
    let transactions = (0..100).map(|t| {
        let events = (0..50).map(|n| content(&format!("k{}", (t * 31 + n) % 977), &format!("{t}")));
        write(events.collect::<Vec<_>>())
    });
    let batch = writer.write(transactions).await;
    assert!(batch.events.len() > 4_000);
    writer.check().await;
    assert_eq!(writer.surface(writer.head().seq).await, writer.expected_surface(writer.head().seq));
}
