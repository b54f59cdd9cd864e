//! S10: what happens to one topic's batch changes nothing for another topic's, even where they
//! share a database transaction.

use std::sync::Arc;

use futures::future::join_all;
use tidelog::domain::{
    Batch, Epoch, IdempotencyKey, ProducerState, TargetState, Timestamp, TransactionNo,
};
use tidelog::store::{AppendError, Wanted};

use crate::backends::Stand;
use crate::make::{invalidate, line, named, one, producer};
use crate::writer::{Writer, refused};

on_every_backend!(
    refused_batches_among_others_change_nothing_for_them,
    batches_that_cannot_be_held_change_nothing_for_others,
    names_of_one_topic_mean_nothing_in_another,
    folding_one_topic_leaves_the_others_alone,
    opening_one_topic_fences_no_other,
);

async fn topics(stand: &Stand, count: usize) -> Vec<Writer> {
    join_all((0..count).map(|n| async move {
        let topic = format!("t{n}");
        Writer::open(&stand.store, &topic).await
    }))
    .await
}

async fn refused_batches_among_others_change_nothing_for_them(stand: Stand) {
    let mut writers = topics(&stand, 20).await;
    for round in 0..10 {
        let sent: Vec<_> = writers
            .iter_mut()
            .enumerate()
            .map(|(n, writer)| {
                if n % 3 == 1 {
                    let (planner, book) = (writer.planner.clone(), writer.book.clone());
                    let planned = Batch::clone(&*writer.plan([one("lost", &round.to_string())]));
                    (writer.planner, writer.book) = (planner, book);
                    let batch = Batch { epoch: Epoch(planned.epoch.0 + 1), ..planned };
                    return writer.send(&Arc::new(batch));
                }
                let batch = writer.plan([one("k", &round.to_string())]);
                writer.send(&batch)
            })
            .collect();
        for (n, outcome) in join_all(sent).await.iter().enumerate() {
            assert_eq!(refused(outcome), n % 3 == 1, "topic {n}: {outcome:?}");
            assert_eq!(outcome.is_ok(), n % 3 != 1, "topic {n}: {outcome:?}");
        }
    }
    for writer in &writers {
        writer.check().await;
    }
}

/// In a store that holds any time there is, nothing is rejected, and nothing is lost either.
async fn batches_that_cannot_be_held_change_nothing_for_others(stand: Stand) {
    let mut writers = topics(&stand, 12).await;
    for round in 0..5 {
        let sent: Vec<_> = writers
            .iter_mut()
            .enumerate()
            .map(|(n, writer)| {
                let before = (writer.planner.clone(), writer.book.clone());
                let time = if n % 5 == 3 { i64::MIN / 2 } else { 1 };
                let commands = [
                    line(one("k", &round.to_string()), "p", 0, round),
                    named(one("l", &round.to_string()), &format!("r{round}"), 0),
                ];
                let batch = writer.plan_at(Timestamp(time), commands);
                let outcome = writer.send(&batch);
                (before, outcome)
            })
            .collect();
        for (n, (before, outcome)) in sent.into_iter().enumerate() {
            match outcome.await {
                Ok(()) => {}
                Err(AppendError::Rejected(_)) if n % 5 == 3 => {
                    (writers[n].planner, writers[n].book) = before;
                }
                Err(error) => panic!("topic {n}: {error:?}"),
            }
        }
        // The topics whose batch was rejected go on where they were.
        for writer in writers.iter_mut().filter(|w| w.book.events.len() < 2 * (round as usize + 1))
        {
            let commands = [
                line(one("k", &round.to_string()), "p", 0, round),
                named(one("l", &round.to_string()), &format!("r{round}"), 0),
            ];
            writer.write(commands).await;
        }
    }
    for writer in &writers {
        writer.check().await;
    }
}

async fn names_of_one_topic_mean_nothing_in_another(stand: Stand) {
    let mut a = Writer::open(&stand.store, "a").await;
    let mut ab = Writer::open(&stand.store, "ab").await;
    a.write([one("k", "1"), one("k", "2"), line(one("l", "1"), "p", 4, 0)]).await;
    a.write([named(one("m", "1"), "x", 1), invalidate(1)]).await;
    let wanted = || Wanted {
        targets: vec![TransactionNo(0), TransactionNo(1)],
        idempotency: vec![IdempotencyKey::parse("x").expect("visible")],
        producers: vec![producer("p")],
        ..Wanted::default()
    };
    let facts = ab.facts(wanted()).await;
    assert_eq!(facts.targets, [TargetState::Missing; 2]);
    assert_eq!((&facts.idempotency[0], facts.producers[0]), (&None, ProducerState::default()));
    ab.write([one("k", "1"), line(one("k", "2"), "p", 0, 0)]).await;
    ab.write([named(one("m", "9"), "x", 2)]).await;
    let facts = ab.facts(wanted()).await;
    assert!(facts.targets.iter().all(|target| matches!(target, TargetState::Stands(..))));
    assert_eq!(facts.idempotency[0].as_ref().expect("its own").request, [2; 32]);
    assert_eq!(facts.producers, [ProducerState { epoch: 0, next_line: 1 }]);
    for writer in [&a, &ab] {
        writer.check().await;
        let head = writer.head().seq;
        assert_eq!(writer.surface(head).await, writer.expected_surface(head));
    }
    assert_eq!(ab.history("k").await, [0, 1]);
    assert_eq!(a.history("k").await, [0, 1]);
}

async fn folding_one_topic_leaves_the_others_alone(stand: Stand) {
    let mut writers = topics(&stand, 3).await;
    for writer in &mut writers {
        writer.write([one("k", "1"), one("k", "2"), invalidate(1), one("l", "1")]).await;
    }
    writers[1].fold(tidelog::domain::Seq(3)).await;
    for writer in &writers {
        let head = writer.head().seq;
        assert_eq!(writer.surface(head).await, writer.expected_surface(head));
    }
    let untouched = Writer::take(&stand.store, "t2", writers[2].book.clone()).await;
    untouched.check().await;
}

async fn opening_one_topic_fences_no_other(stand: Stand) {
    let mut writers = topics(&stand, 3).await;
    for round in 0..5 {
        let sent: Vec<_> = writers
            .iter_mut()
            .map(|writer| {
                let batch = writer.plan([one("k", &round.to_string())]);
                writer.send(&batch)
            })
            .collect();
        let other = Writer::open(&stand.store, &format!("other-{round}")).await;
        assert!(join_all(sent).await.iter().all(Result::is_ok));
        assert_ne!(other.id(), writers[0].id());
    }
}
