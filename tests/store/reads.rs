//! The reads: which events, in which order, how many.

use tidelog::domain::limits::POSITION_MAX;
use tidelog::domain::{Seq, TransactionNo};
use tidelog::store::{Direction, Scan};

use crate::backends::Stand;
use crate::make::{content, invalidate, key, name, one, write};
use crate::writer::Writer;

on_every_backend!(
    every_stretch_of_events_in_both_directions,
    every_stretch_of_a_history_in_both_directions,
    a_history_has_versions_that_do_not_stand,
    transactions_have_their_first_and_last_event,
    transactions_of_every_size_are_found,
    topics_are_listed_in_byte_order_in_pages,
    topics_without_events_are_not_listed,
    a_head_is_the_newest_event,
    heads_are_given_in_the_order_of_the_question,
    the_root_is_the_one_that_was_kept_with_a_batch,
    a_store_in_use_answers_pings,
);

/// The largest position that there can be.
const BEYOND: u64 = POSITION_MAX - 1;

fn expected(seqs: &[u64], scan: Scan) -> Vec<u64> {
    let within = |seq: &u64| (scan.from.0..=scan.to.0).contains(seq);
    let mut seqs: Vec<u64> = seqs.iter().copied().filter(within).collect();
    if scan.direction == Direction::Backward {
        seqs.reverse();
    }
    seqs.truncate(scan.limit);
    seqs
}

fn scans() -> Vec<Scan> {
    let places = [0, 1, 2, 5, 8, 9, 10, 11, BEYOND];
    let mut scans = Vec::new();
    for direction in [Direction::Forward, Direction::Backward] {
        for from in places.map(Seq) {
            for to in places.map(Seq) {
                scans.extend([1, 2, 7, 10_000].map(|limit| Scan {
                    from,
                    to,
                    limit,
                    direction,
                    bytes: usize::MAX,
                }));
            }
        }
    }
    scans
}

/// Ten events, of which the keys take turns, in transactions of one to three.
async fn ten(stand: &Stand) -> Writer {
    let mut writer = Writer::open(&stand.store, "t").await;
    let events = |events: &[(&str, &str)]| write(events.iter().map(|(k, d)| content(k, d)));
    writer.write([events(&[("a", "1"), ("b", "1"), ("a", "2")]), one("b", "2")]).await;
    writer.write([events(&[("a", "3"), ("c", "1")]), one("a", "4")]).await;
    writer.write([invalidate(1), events(&[("a", "5"), ("b", "3")])]).await;
    writer
}

async fn every_stretch_of_events_in_both_directions(stand: Stand) {
    let writer = ten(&stand).await;
    let all: Vec<u64> = (0..10).collect();
    for scan in scans() {
        let events = stand.store.reader.events(&writer.name, scan).await.expect("events");
        let seqs: Vec<_> = events.iter().map(|read| read.event.version.seq.0).collect();
        assert_eq!(seqs, expected(&all, scan), "{scan:?}");
        let same = |read: &tidelog::domain::ReadEvent| {
            read.event == writer.book.events[read.event.version.seq.0 as usize]
        };
        assert!(events.iter().all(same), "{scan:?}");
    }
}

async fn every_stretch_of_a_history_in_both_directions(stand: Stand) {
    let writer = ten(&stand).await;
    let histories: [(&str, &[u64]); 4] =
        [("a", &[0, 2, 4, 6, 8]), ("b", &[1, 3, 9]), ("c", &[5]), ("never", &[])];
    for (of, all) in histories {
        for scan in scans() {
            let events = stand.store.reader.history(&writer.name, &key(of), scan).await;
            let events = events.expect("a history");
            let seqs: Vec<_> = events.iter().map(|read| read.event.version.seq.0).collect();
            assert_eq!(seqs, expected(all, scan), "{of}: {scan:?}");
            assert_eq!(events.iter().all(|r| r.invalidated_by.is_none()), !seqs.contains(&3));
        }
    }
}

async fn a_history_has_versions_that_do_not_stand(stand: Stand) {
    let mut writer = Writer::open(&stand.store, "t").await;
    writer.write([one("a", "1"), one("a", "2"), invalidate(0), invalidate(1)]).await;
    assert_eq!(writer.history("a").await, [0, 1]);
    writer.write([one("a", "3")]).await;
    assert_eq!(writer.history("a").await, [0, 1, 4]);
}

async fn transactions_have_their_first_and_last_event(stand: Stand) {
    let writer = ten(&stand).await;
    let expected = [(0, 2), (3, 3), (4, 5), (6, 6), (7, 7), (8, 9)];
    let reader = &stand.store.reader;
    for (n, (first, last)) in expected.into_iter().enumerate() {
        let found = reader.transaction(&writer.name, TransactionNo(n as u64)).await;
        assert_eq!(found.expect("an answer"), Some((Seq(first), Seq(last))), "{n}");
    }
    for missing in [6, 7, 9, 10, 1 << 32, BEYOND] {
        let found = reader.transaction(&writer.name, TransactionNo(missing)).await;
        assert_eq!(found.expect("an answer"), None, "{missing}");
    }
}

async fn transactions_of_every_size_are_found(stand: Stand) {
    let mut writer = Writer::open(&stand.store, "t").await;
    let mut bounds = Vec::new();
    let mut next = 0_u64;
    for (n, size) in [1, 1, 17, 1, 2, 200, 1, 1, 1, 64, 3].into_iter().enumerate() {
        let events = (0..size).map(|e| content(&format!("k{e}"), &n.to_string()));
        writer.write([write(events.collect::<Vec<_>>())]).await;
        bounds.push((Seq(next), Seq(next + size - 1)));
        next += size;
    }
    for (n, bounds) in bounds.into_iter().enumerate() {
        let n = TransactionNo(n as u64);
        let found = stand.store.reader.transaction(&writer.name, n).await.expect("an answer");
        assert_eq!(found, Some(bounds), "{n}");
    }
}

const TOPICS: [&str; 9] = ["-", "10", "9", "A", "_a", "a", "a.b", "ab", "~"];

async fn topics_are_listed_in_byte_order_in_pages(stand: Stand) {
    assert!(TOPICS.is_sorted());
    for topic in TOPICS.iter().rev() {
        Writer::open(&stand.store, topic).await.write([one("k", "1"), one("k", "2")]).await;
    }
    let reader = &stand.store.reader;
    for prefix in ["", "a", "a.", "_", "%", "1", "zz", "é", "\u{10ffff}"] {
        let afters = TOPICS.iter().copied().chain(["", "a-", "%", "zz", "é", "\0"]);
        for after in std::iter::once(None).chain(afters.map(Some)) {
            for limit in [1, 3, 100] {
                let topics = reader.topics(prefix, after, limit).await.expect("topics");
                let wanted = |topic: &&str| {
                    topic.starts_with(prefix) && after.is_none_or(|after| *topic > after)
                };
                let expected: Vec<_> = TOPICS.into_iter().filter(wanted).take(limit).collect();
                let found: Vec<_> = topics.iter().map(|t| t.name.as_str()).collect();
                assert_eq!(found, expected, "{prefix:?} after {after:?}, {limit}");
                assert!(topics.iter().all(|topic| topic.head.seq == Seq(1)));
            }
        }
    }
}

async fn topics_without_events_are_not_listed(stand: Stand) {
    for topic in ["a", "b", "c", "d"] {
        let mut writer = Writer::open(&stand.store, topic).await;
        if topic == "c" {
            writer.write([one("k", "1")]).await;
        }
    }
    // Those that are hidden do not use up the limit.
    let topics = stand.store.reader.topics("", None, 1).await.expect("topics");
    assert_eq!(topics.iter().map(|t| t.name.as_str()).collect::<Vec<_>>(), ["c"]);
}

async fn a_head_is_the_newest_event(stand: Stand) {
    let mut writer = Writer::open(&stand.store, "t").await;
    for n in 0..5 {
        writer.write([write([content("a", &n.to_string()), content("b", &n.to_string())])]).await;
        let head = stand.store.reader.head(&writer.name).await.expect("a head");
        assert_eq!(head, writer.planner.head());
        let topics = stand.store.reader.topics("t", None, 1).await.expect("topics");
        assert_eq!(Some(topics[0].head), head);
    }
    assert_eq!(stand.store.reader.head(&name("T")).await.expect("a head"), None);
}

async fn heads_are_given_in_the_order_of_the_question(stand: Stand) {
    for (n, topic) in TOPICS.iter().enumerate() {
        let mut writer = Writer::open(&stand.store, topic).await;
        if n % 3 > 0 {
            writer.write((0..n).map(|data| one("k", &data.to_string()))).await;
        }
    }
    let asked = ["ab", "missing", "-", "10", "~", "10", "A"].map(name);
    let heads = stand.store.reader.heads(&asked).await.expect("heads");
    let mut expected = Vec::new();
    for topic in &asked {
        expected.push(stand.store.reader.head(topic).await.expect("a head"));
    }
    assert_eq!(heads, expected);
    let seqs: Vec<_> = heads.iter().map(|head| head.map(|head| head.seq.0)).collect();
    assert_eq!(seqs, [Some(6), None, None, Some(0), Some(7), Some(0), None]);
    assert_eq!(stand.store.reader.heads(&[]).await.expect("no heads"), []);
}

async fn the_root_is_the_one_that_was_kept_with_a_batch(stand: Stand) {
    let (reader, mut writer) = (&stand.store.reader, Writer::open(&stand.store, "t").await);
    let first = writer.write([one("a", "1"), one("b", "1")]).await;
    let second = writer.write([invalidate(0)]).await;
    let root = async |topic, at| reader.root(&name(topic), Seq(at)).await.expect("an answer");
    // A reader that cannot tell knows none.
    let tells = root("t", 2).await.is_some();
    let expected = [None, Some(first.mark().root), Some(second.mark().root), None];
    for (at, expected) in (0..).zip(expected) {
        assert_eq!(root("t", at).await, expected.filter(|_| tells), "at {at}");
    }
    assert_eq!(root("missing", 0).await, None);
    assert!(tells || stand.is_remote(), "only a remote store cannot tell");
}

async fn a_store_in_use_answers_pings(stand: Stand) {
    stand.store.reader.ping().await.expect("without topics");
    ten(&stand).await;
    stand.store.reader.ping().await.expect("with topics");
}
