//! S2: facts are as of the durable head at some moment during the call.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tidelog::domain::{KeyState, ProducerState, Seq, TargetState, TransactionNo};
use tidelog::store::{Lines, Wanted};

use crate::backends::Stand;
use crate::make::{key, line, named, one, producer};
use crate::writer::Writer;

on_every_backend!(
    what_was_never_seen_is_said_to_be_so,
    what_an_append_has_written_is_in_the_facts_after_it,
    all_answers_of_a_call_are_of_one_moment,
);

async fn what_was_never_seen_is_said_to_be_so(stand: Stand) {
    let mut writer = Writer::open(&stand.store, "t").await;
    let wanted = || Wanted {
        keys: vec![key("x"), key("y")],
        targets: vec![TransactionNo(1), TransactionNo((1 << 53) - 1)],
        idempotency: vec![tidelog::domain::IdempotencyKey::parse("x").expect("visible")],
        producers: vec![producer("p")],
        replays: Vec::new(),
        marks: vec![Seq(1), Seq((1 << 53) - 1)],
    };
    for round in ["without events", "with an event"] {
        let facts = writer.facts(wanted()).await;
        assert_eq!(facts.keys, [KeyState::default(); 2], "{round}");
        assert_eq!(facts.targets, [TargetState::Missing; 2], "{round}");
        assert_eq!(facts.idempotency, [None], "{round}");
        assert_eq!(facts.producers, [ProducerState::default()], "{round}");
        assert_eq!(facts.marks, [None, None], "{round}");
        if writer.planner.head().is_none() {
            writer.write([one("other", "1")]).await;
        }
    }
    assert_eq!(writer.facts(Wanted::default()).await, tidelog::store::Facts::default());
}

async fn what_an_append_has_written_is_in_the_facts_after_it(stand: Stand) {
    let mut writer = Writer::open(&stand.store, "t").await;
    for n in 0..10 {
        let batch = writer.write([line(one("k", &n.to_string()), "p", 0, n)]).await;
        let wanted = Wanted {
            targets: vec![TransactionNo(n), TransactionNo(n + 1)],
            producers: vec![producer("p")],
            marks: vec![Seq(n)],
            ..Wanted::default()
        };
        let facts = writer.facts(wanted).await;
        assert_eq!(facts.targets, [TargetState::Stands(Seq(n), Seq(n)), TargetState::Missing]);
        assert_eq!(facts.producers, [ProducerState { epoch: 0, next_line: n + 1 }]);
        assert_eq!(facts.marks, [Some(batch.mark())]);
    }
}

/// Batch n writes event n, transaction n, line n and the answer to request n. So each answer
/// tells how many batches there were when it was given.
async fn all_answers_of_a_call_are_of_one_moment(stand: Stand) {
    const BATCHES: u64 = 150;
    let mut writer = Writer::open(&stand.store, "t").await;
    let (store, topic) = (stand.other().await, writer.id());
    let durable = Arc::new(AtomicU64::new(0));
    let written = durable.clone();
    let writing = tokio::spawn(async move {
        for n in 0..BATCHES {
            let request = line(one("k", &n.to_string()), "p", 0, n);
            writer.write([named(request, &format!("request-{n}"), 0)]).await;
            written.store(n + 1, Ordering::SeqCst);
        }
    });
    let names = (0..BATCHES).map(|n| format!("request-{n}"));
    let wanted = Wanted {
        targets: (0..BATCHES).map(TransactionNo).collect(),
        idempotency: names
            .map(|name| tidelog::domain::IdempotencyKey::parse(&name).expect("visible"))
            .collect(),
        producers: vec![producer("p")],
        marks: (0..BATCHES).map(Seq).collect(),
        ..Wanted::default()
    };
    loop {
        let before = durable.load(Ordering::SeqCst);
        let mut wanted = wanted.clone();
        if before > 0 {
            let count = before as usize;
            wanted.replays = vec![Lines { producer: producer("p"), first: 0, count }];
        }
        let facts = store.writer.facts(topic, wanted).await.expect("facts");
        let count = facts.producers[0].next_line;
        assert!((before..=BATCHES).contains(&count));
        let there = |n: usize| (n as u64) < count;
        for n in 0..BATCHES as usize {
            assert_eq!(facts.targets[n] != TargetState::Missing, there(n), "{n} of {count}");
            assert_eq!(facts.idempotency[n].is_some(), there(n), "{n} of {count}");
            assert_eq!(facts.marks[n].is_some(), there(n), "{n} of {count}");
        }
        if before > 0 {
            assert_eq!(facts.replays[0].len() as u64, before);
        }
        if count == BATCHES {
            break;
        }
    }
    writing.await.expect("the writer ends");
}
