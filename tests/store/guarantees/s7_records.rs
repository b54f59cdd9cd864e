//! S7: idempotency, producer and invalidation records commit with their batch.

use tidelog::domain::{
    IdempotencyKey, InvalidationRecord, ProducerState, Receipt, Seq, TargetState, Timestamp,
    TransactionNo,
};
use tidelog::store::{Lines, Wanted};

use crate::backends::Stand;
use crate::make::{NOW, content, invalidate, line, named, one, producer, register, write};
use crate::writer::Writer;

on_every_backend!(
    answers_to_named_requests_are_kept_as_they_were,
    answers_are_forgotten_by_age_and_only_when_told,
    lines_of_producers_are_answered_again_over_many_batches,
    an_epoch_of_a_producer_is_kept_without_a_line,
    many_producers_in_one_batch,
    invalidations_are_found_by_what_they_invalidate,
    records_without_events_are_kept,
);

fn request(text: &str) -> IdempotencyKey {
    IdempotencyKey::parse(text).expect("visible ASCII")
}

async fn answers_to_named_requests_are_kept_as_they_were(stand: Stand) {
    let mut writer = Writer::open(&stand.store, "t").await;
    let longest = "~".repeat(255);
    let names = ["x", "X", "%", "_", "'\"\\", "x%00", &longest];
    writer.write([one("k", "0")]).await;
    for (n, name) in names.iter().enumerate() {
        let events = [content("k", "0"), content("l", &n.to_string()), content("k", "0")];
        writer.write([named(write(events), name, n as u8)]).await;
    }
    writer.write([named(one("k", "0"), "nothing-written", 77)]).await;
    writer.write([named(invalidate(0), "invalidation", 78)]).await;
    let all = writer.book.records.clone();
    let mut wanted: Vec<_> = all.keys().cloned().collect();
    wanted.push(request("x2"));
    wanted.push(wanted[0].clone());
    let facts = writer.facts(Wanted { idempotency: wanted.clone(), ..Wanted::default() }).await;
    let expected: Vec<_> = wanted.iter().map(|key| all.get(key).cloned()).collect();
    assert_eq!(facts.idempotency, expected);
    assert_eq!(expected.iter().flatten().count(), 10, "nine, and one that is asked for twice");
}

async fn answers_are_forgotten_by_age_and_only_when_told(stand: Stand) {
    let mut topics = Vec::new();
    for topic in ["t", "u"] {
        let mut writer = Writer::open(&stand.store, topic).await;
        for n in 0..10 {
            let command = named(one("k", &n.to_string()), &format!("r{n}"), 0);
            let batch = writer.plan_at(Timestamp(NOW.0 + n), [command]);
            writer.send(&batch).await.expect("written");
        }
        topics.push(writer);
    }
    let expire = |to: i64| stand.store.writer.expire(Timestamp(NOW.0 + to));
    assert_eq!(expire(0).await.expect("expires"), 0, "as old as that is not older");
    assert_eq!(expire(4).await.expect("expires"), 8, "four in each topic");
    assert_eq!(expire(4).await.expect("expires"), 0);
    for writer in &topics {
        let idempotency = (0..10).map(|n| request(&format!("r{n}"))).collect();
        let facts = writer.facts(Wanted { idempotency, ..Wanted::default() }).await;
        let kept: Vec<_> = facts.idempotency.iter().map(Option::is_some).collect();
        assert_eq!(kept, (0..10).map(|n| n >= 4).collect::<Vec<_>>());
        writer.check().await;
    }
    topics[0].book.records.clear();
    topics[0].write([named(one("k", "99"), "r0", 1)]).await;
    let facts =
        topics[0].facts(Wanted { idempotency: vec![request("r0")], ..Wanted::default() }).await;
    assert_eq!(facts.idempotency[0].as_ref().expect("kept").request, [1; 32], "used again");
}

async fn lines_of_producers_are_answered_again_over_many_batches(stand: Stand) {
    let mut writer = Writer::open(&stand.store, "t").await;
    let (mut n, mut q) = (0, 0);
    for size in [1, 3, 1, 7, 2, 40, 1] {
        // Every third line is a duplicate, every fifth a transaction of several events.
        let lines = (n..n + size).map(|n| {
            let count = if n % 5 == 0 { 4 } else { 1 };
            let events = (0..count).map(|e| content(&format!("k{e}"), &(n / 3).to_string()));
            line(write(events.collect::<Vec<_>>()), "p", n / 10, n)
        });
        writer.write(lines.collect::<Vec<_>>()).await;
        n += size;
        writer.write([line(one("other", &n.to_string()), "q", 0, q)]).await;
        q += 1;
    }
    check_replays(&writer, "p", n as usize).await;
    check_replays(&writer, "q", q as usize).await;
}

async fn an_epoch_of_a_producer_is_kept_without_a_line(stand: Stand) {
    let mut writer = Writer::open(&stand.store, "t").await;
    let state = async |writer: &Writer| {
        let wanted = Wanted { producers: vec![producer("p")], ..Wanted::default() };
        writer.facts(wanted).await.producers[0]
    };
    writer.write([register("p", 3, 0)]).await;
    assert_eq!(state(&writer).await, ProducerState { epoch: 3, next_line: 0 });
    writer.write([line(one("k", "1"), "p", 3, 0)]).await;
    writer.write([register("p", 9, 1)]).await;
    assert_eq!(state(&writer).await, ProducerState { epoch: 9, next_line: 1 });
    let largest = (1 << 53) - 1;
    writer.write([register("p", largest, 1), line(one("k", "2"), "p", largest, 1)]).await;
    assert_eq!(state(&writer).await, ProducerState { epoch: largest, next_line: 2 });
    check_replays(&writer, "p", 2).await;
}

/// Asks for every stretch of a producer's lines.
async fn check_replays(writer: &Writer, of: &str, lines: usize) {
    let stretches = (0..lines).flat_map(|first| (1..=lines - first).map(move |n| (first, n)));
    let stretches: Vec<(usize, usize)> = stretches.collect();
    let lines = |&(first, count): &(usize, usize)| Lines {
        producer: producer(of),
        first: first as u64,
        count,
    };
    let replays = stretches.iter().map(lines).collect();
    let facts = writer.facts(Wanted { replays, ..Wanted::default() }).await;
    let kept: &[Receipt] = &writer.book.producers[&producer(of)].1;
    for (found, (first, count)) in facts.replays.iter().zip(&stretches) {
        assert_eq!(found[..], kept[*first..first + count], "{count} lines from {first}");
    }
    assert_eq!(facts.replays.len(), stretches.len());
}

async fn many_producers_in_one_batch(stand: Stand) {
    let mut writer = Writer::open(&stand.store, "t").await;
    let names: Vec<String> = (0..20).map(|n| format!("p{n}")).collect();
    for round in 0..3 {
        let lines = names.iter().enumerate().flat_map(|(n, name)| {
            let first = round * (n as u64 + 1);
            (first..first + n as u64 + 1)
                .map(move |at| line(one(name, &at.to_string()), name, round, at))
        });
        writer.write(lines.collect::<Vec<_>>()).await;
    }
    let producers = names.iter().map(|name| producer(name)).collect();
    let facts = writer.facts(Wanted { producers, ..Wanted::default() }).await;
    for (n, state) in facts.producers.iter().enumerate() {
        assert_eq!(*state, ProducerState { epoch: 2, next_line: 3 * (n as u64 + 1) });
    }
    check_replays(&writer, "p4", 15).await;
}

async fn invalidations_are_found_by_what_they_invalidate(stand: Stand) {
    let mut writer = Writer::open(&stand.store, "t").await;
    writer.write([one("a", "1"), write(["b", "c", "d"].map(|key| content(key, "1")))]).await;
    writer.write([one("e", "1")]).await;
    writer.write([invalidate(1), invalidate(2)]).await;
    writer.write([one("f", "1"), invalidate(0)]).await;
    let wanted = Wanted { targets: (0..8).map(TransactionNo).collect(), ..Wanted::default() };
    let by = |n: u64| {
        let record: &InvalidationRecord = &writer.book.invalidations[&TransactionNo(n)];
        TargetState::Invalidated(record.by)
    };
    let expected = [
        by(0),
        by(1),
        by(2),
        TargetState::Invalidation,
        TargetState::Invalidation,
        TargetState::Stands(Seq(7), Seq(7)),
        TargetState::Invalidation,
        TargetState::Missing,
    ];
    assert_eq!(writer.facts(wanted).await.targets, expected);
    let said: Vec<_> = writer.events().await.iter().map(|read| read.invalidated_by).collect();
    let by = |n: u64| Some(TransactionNo(n));
    assert_eq!(said, [by(6), by(3), by(3), by(3), by(4), None, None, None, None]);
}

async fn records_without_events_are_kept(mut stand: Stand) {
    let mut writer = Writer::open(&stand.store, "t").await;
    writer.write([register("p", 1, 0)]).await;
    writer.write([one("k", "1")]).await;
    writer.write([named(one("k", "1"), "x", 5), line(one("k", "1"), "p", 1, 0)]).await;
    let book = writer.book.clone();
    if stand.reopen().await {
        writer = Writer::take(&stand.store, "t", book).await;
    }
    let wanted = Wanted {
        idempotency: vec![request("x")],
        producers: vec![producer("p")],
        ..Wanted::default()
    };
    let facts = writer.facts(wanted).await;
    assert_eq!(facts.idempotency[0].as_ref(), Some(&writer.book.records[&request("x")]));
    assert_eq!(facts.producers, [ProducerState { epoch: 1, next_line: 1 }]);
    check_replays(&writer, "p", 1).await;
    writer.check().await;
}
