//! S12: a consumer that was moved stays where it is until it is moved or forgotten; of those who
//! expect one revision at most one succeeds, and no revision is given twice.

use std::collections::HashSet;

use futures::future::join_all;
use tidelog::domain::{Consumer, ConsumerName, Expected, Move, Moved, Revision, Seq, Timestamp};

use crate::backends::{Stand, Store};
use crate::make::{NOW, name, one};
use crate::writer::Writer;

on_every_backend!(
    a_consumer_is_where_it_was_moved_to,
    reads_and_appends_move_nobody,
    conditions_are_kept_to,
    of_many_who_expect_one_revision_one_succeeds,
    no_revision_comes_twice_whatever_was_forgotten,
    a_topic_without_events_has_no_consumers,
    consumers_are_listed_in_byte_order_at_every_limit,
    all_consumers_are_walked_once_at_every_limit,
    positions_outlive_the_store,
);

fn consumer(text: &str) -> ConsumerName {
    ConsumerName::parse(text).expect("a name")
}

fn to(topic: &str, of: &str, seq: Option<u64>, expected: Option<Expected>) -> Move {
    let (topic, name, seq) = (name(topic), consumer(of), seq.map(Seq));
    Move { topic, name, seq, expected, at: NOW }
}

async fn moved(store: &Store, to: Move) -> Option<Moved> {
    store.writer.move_consumer(to).await.expect("the store answers")
}

/// Moves a consumer of topic `t`, whatever it was.
async fn place(store: &Store, of: &str, seq: Option<u64>) -> Consumer {
    moved(store, to("t", of, seq, None)).await.expect("there is no condition").consumer
}

async fn found(store: &Store, of: &str) -> Option<Consumer> {
    store.reader.consumer(&name("t"), &consumer(of)).await.expect("the store answers")
}

async fn forget(store: &Store, of: &str, expected: Option<Revision>) -> bool {
    let forgotten = store.writer.forget_consumer(&name("t"), &consumer(of), expected).await;
    forgotten.expect("the store answers")
}

/// Topic `t` with so many events, one each second.
async fn topic(store: &Store, events: i64) -> Writer {
    let mut writer = Writer::open(store, "t").await;
    for n in 0..events {
        let at = Timestamp(NOW.0 + n * 1_000_000);
        let batch = writer.plan_at(at, [one("k", &n.to_string())]);
        writer.send(&batch).await.expect("written");
    }
    writer
}

async fn a_consumer_is_where_it_was_moved_to(stand: Stand) {
    let writer = topic(&stand.store, 5).await;
    assert_eq!(found(&stand.store, "c").await, None);
    let mut made = true;
    for seq in [None, Some(0), Some(3), Some(4), Some(1), None] {
        let at = Timestamp(NOW.0 + 77);
        let to = Move { at, ..to("t", "c", seq, None) };
        let moved = moved(&stand.store, to).await.expect("there is no condition");
        assert_eq!(moved.made, made);
        let consumer = moved.consumer;
        assert_eq!((consumer.seq, consumer.updated_at), (seq.map(Seq), at));
        assert_eq!(Some(consumer.head), writer.planner.head());
        let next = seq.map_or(0, |seq| seq + 1);
        assert_eq!(consumer.lag_events(), 5 - next);
        let since = (next < 5).then_some(Timestamp(NOW.0 + next as i64 * 1_000_000));
        assert_eq!(consumer.waiting_since, since, "{seq:?}");
        assert_eq!(found(&stand.store, "c").await, Some(consumer), "what was answered is kept");
        made = false;
    }
    assert!(forget(&stand.store, "c", None).await);
    assert_eq!(found(&stand.store, "c").await, None);
    assert!(!forget(&stand.store, "c", None).await, "it has gone");
}

async fn reads_and_appends_move_nobody(stand: Stand) {
    let mut writer = topic(&stand.store, 3).await;
    let before = place(&stand.store, "c", Some(1)).await;
    writer.write([one("k", "77"), one("l", "77")]).await;
    writer.check().await;
    writer.fold(writer.head().seq).await;
    let after = found(&stand.store, "c").await.expect("it is there");
    assert_eq!(after, Consumer { head: writer.head(), ..before });
    assert_eq!(after.lag_events(), 3);
    // Nor does taking the topic, or folding it elsewhere.
    let other = stand.other().await;
    let book = writer.book.clone();
    Writer::take(&other, "t", book).await;
    assert_eq!(found(&other, "c").await, Some(after));
}

async fn conditions_are_kept_to(stand: Stand) {
    topic(&stand.store, 3).await;
    let store = &stand.store;
    let on = |seq, expected| moved(store, to("t", "c", Some(seq), Some(expected)));
    assert_eq!(on(0, Expected::Revision(Revision(1))).await, None, "nobody is there");
    assert_eq!(found(store, "c").await, None);
    let first = on(0, Expected::Nothing).await.expect("nobody was there");
    assert!(first.made);
    let first = first.consumer;
    assert_eq!(on(1, Expected::Nothing).await, None, "somebody is there");
    let wrong = Revision(first.revision.0 + 1);
    assert_eq!(on(1, Expected::Revision(wrong)).await, None);
    assert!(!forget(store, "c", Some(wrong)).await);
    assert_eq!(found(store, "c").await.as_ref(), Some(&first), "nothing was changed");
    let second = on(1, Expected::Revision(first.revision)).await.expect("it is the revision");
    assert!(!second.made && second.consumer.revision > first.revision);
    assert_eq!(on(2, Expected::Revision(first.revision)).await, None, "not any more");
    assert!(!forget(store, "c", Some(first.revision)).await);
    assert!(forget(store, "c", Some(second.consumer.revision)).await);
    assert_eq!(found(store, "c").await, None);
}

async fn of_many_who_expect_one_revision_one_succeeds(stand: Stand) {
    topic(&stand.store, 9).await;
    let stores = [stand.store.clone(), stand.other().await];
    let mut last = place(&stand.store, "c", None).await;
    for round in 0..8 {
        let race = (0..16).map(|racer: u64| {
            let expected = Some(Expected::Revision(last.revision));
            moved(&stores[racer as usize % 2], to("t", "c", Some(racer % 9), expected))
        });
        let winners: Vec<Moved> = join_all(race).await.into_iter().flatten().collect();
        let [winner] = &winners[..] else { panic!("round {round}: {winners:?}") };
        last = winner.consumer.clone();
        assert_eq!(found(&stand.store, "c").await.as_ref(), Some(&last));
    }
    // The same for who makes it, and for who forgets it.
    let race =
        (0..16).map(|n: usize| moved(&stores[n % 2], to("t", "d", None, Some(Expected::Nothing))));
    assert_eq!(join_all(race).await.into_iter().flatten().count(), 1);
    let race = (0..16).map(|n: usize| forget(&stores[n % 2], "c", Some(last.revision)));
    assert_eq!(join_all(race).await.into_iter().filter(|done| *done).count(), 1);
    // Without a condition all are done, one after the other, and one of them makes it.
    let race = (0..16).map(|n: usize| moved(&stores[n % 2], to("t", "e", Some(1), None)));
    let done: Vec<Moved> = join_all(race).await.into_iter().flatten().collect();
    assert_eq!(done.iter().filter(|moved| moved.made).count(), 1);
    let revisions: HashSet<u64> = done.iter().map(|moved| moved.consumer.revision.0).collect();
    assert_eq!(revisions.len(), 16);
}

async fn no_revision_comes_twice_whatever_was_forgotten(mut stand: Stand) {
    topic(&stand.store, 2).await;
    let mut seen = HashSet::new();
    for round in 0..4 {
        for of in ["c", "d"] {
            for seq in [Some(1), Some(0), Some(1)] {
                let consumer = place(&stand.store, of, seq).await;
                assert!(seen.insert(consumer.revision), "{round}: {consumer:?}");
            }
        }
        // The newest revision is that of what is forgotten.
        assert!(forget(&stand.store, "d", None).await && forget(&stand.store, "c", None).await);
        stand.reopen().await;
    }
    let highest = seen.iter().max().expect("many");
    assert!(highest.0 < 1 << 53);
}

async fn a_topic_without_events_has_no_consumers(stand: Stand) {
    let store = &stand.store;
    for taken in [false, true] {
        if taken {
            Writer::open(store, "t").await;
        }
        for expected in [None, Some(Expected::Nothing), Some(Expected::Revision(Revision(1)))] {
            assert_eq!(moved(store, to("t", "c", None, expected)).await, None);
        }
        assert!(!forget(store, "c", None).await);
        assert_eq!(found(store, "c").await, None);
        assert_eq!(store.reader.consumers(&name("t"), "", None, 9).await.expect("a list"), []);
        assert_eq!(store.reader.all_consumers(None, 9).await.expect("a list"), []);
    }
}

const NAMES: [&str; 9] = ["a", "A", "a-", "a.", "a:", "a_", "a~", "ab", "b"];

async fn consumers_are_listed_in_byte_order_at_every_limit(stand: Stand) {
    topic(&stand.store, 4).await;
    let mut all = Vec::new();
    for (n, of) in NAMES.into_iter().enumerate() {
        all.push(place(&stand.store, of, (n as u64).checked_sub(1).map(|n| n % 4)).await);
    }
    all.sort_by(|one, other| one.name.cmp(&other.name));
    for (prefix, after, limit) in [
        ("", None, 100),
        ("", None, 1),
        ("", Some("a"), 3),
        ("", Some("a."), 100),
        ("", Some("zzz"), 100),
        ("a", None, 4),
        ("a", Some("a-"), 2),
        ("a", Some("A"), 100),
        ("a_", None, 9),
        ("b", Some("a"), 9),
        ("none", None, 9),
        ("%", None, 9),
        ("a", Some("b"), 9),
    ] {
        let expected = all.iter().filter(|consumer| {
            let name = consumer.name.as_str();
            name.starts_with(prefix) && after.is_none_or(|after| name > after)
        });
        let expected: Vec<Consumer> = expected.take(limit).cloned().collect();
        let found = stand.store.reader.consumers(&name("t"), prefix, after, limit).await;
        assert_eq!(found.expect("a list"), expected, "{prefix:?} {after:?} {limit}");
    }
}

async fn all_consumers_are_walked_once_at_every_limit(stand: Stand) {
    let store = &stand.store;
    let mut expected = HashSet::new();
    // Topics are not made in the order of their names, and some have no consumer.
    for (topic, names) in [("u", &NAMES[..5]), ("x", &[]), ("t", &NAMES), ("a", &NAMES[..1])] {
        let mut writer = Writer::open(store, topic).await;
        writer.write([one("k", "1"), one("k", "2")]).await;
        for of in names {
            let made = moved(store, to(topic, of, Some(0), None)).await.expect("it is made");
            expected.insert((topic.to_owned(), made.consumer.name.as_str().to_owned()));
            assert_eq!(made.consumer.lag_events(), 1);
        }
    }
    for limit in 1..=16 {
        let mut walked = Vec::new();
        loop {
            let found = store.reader.all_consumers(walked.last(), limit).await;
            let found = found.expect("a piece").into_iter();
            let found: Vec<_> = found
                .map(|(topic, consumer)| {
                    assert_eq!((consumer.head.seq, consumer.seq), (Seq(1), Some(Seq(0))));
                    (topic, consumer.name)
                })
                .collect();
            assert!(found.len() <= limit);
            let end = found.len() < limit;
            walked.extend(found);
            if end {
                break;
            }
        }
        assert_eq!(walked.len(), expected.len(), "{limit}: each once");
        let names = |(topic, name): &(_, ConsumerName)| {
            let topic: &tidelog::domain::TopicName = topic;
            (topic.as_str().to_owned(), name.as_str().to_owned())
        };
        assert_eq!(walked.iter().map(names).collect::<HashSet<_>>(), expected, "{limit}");
    }
}

async fn positions_outlive_the_store(mut stand: Stand) {
    topic(&stand.store, 4).await;
    let kept = [place(&stand.store, "c", Some(2)).await, place(&stand.store, "d", None).await];
    if stand.reopen().await {
        let found = stand.store.reader.consumers(&name("t"), "", None, 9).await;
        assert_eq!(found.expect("a list"), kept);
    }
}
