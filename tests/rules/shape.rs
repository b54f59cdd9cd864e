//! What a batch looks like: numbers, the end of a transaction, chains of versions, records, and
//! the tree over the events.

use tidelog::domain::{Command, EventBody, Frontier, InvalidationRecord, Seq, TransactionNo};

use crate::make::{NOW, content, invalidate, line, named, one, register, write};
use crate::topic::Topic;

fn commands() -> Vec<Command> {
    vec![
        write([content("a", "1"), content("b", "1")]),
        one("a", "2"),
        one("a", "2"),
        write([content("b", "1"), content("a", "3"), content("a", "4")]),
        invalidate(1),
        one("a", "5"),
    ]
}

#[test]
fn events_are_numbered_without_gaps_and_the_last_of_a_transaction_says_so() {
    let (batch, _) = Topic::new().batch(&commands());
    let shape: Vec<_> = batch.events.iter().map(|e| (e.version.transaction.0, e.last)).collect();
    let expected = [(0, false), (0, true), (1, true), (2, false), (2, true), (3, true), (4, true)];
    assert_eq!(shape, expected);
    assert!((0..).zip(&batch.events).all(|(n, event)| event.version.seq == Seq(n)));
    assert!(batch.events.iter().all(|event| event.recorded_at == NOW));
    assert_eq!(batch.head(), batch.events.last().map(|event| event.version));
}

#[test]
fn an_event_names_the_version_of_its_key_before_it_whether_or_not_that_stands() {
    let (batch, _) = Topic::new().batch(&commands());
    let prev: Vec<_> = batch.events.iter().map(|event| event.prev.map(|seq| seq.0)).collect();
    assert_eq!(prev, [None, None, Some(0), Some(2), Some(3), None, Some(4)]);
    let mut topic = Topic::new();
    topic.batch(&[one("a", "1"), invalidate(0)]);
    let (batch, _) = topic.batch(&[one("a", "1")]);
    assert_eq!(batch.events[0].prev, Some(Seq(0)), "an invalidated version is one, too");
}

#[test]
fn the_tree_has_a_leaf_for_every_event_and_nothing_else() {
    let mut topic = Topic::new();
    let mut frontier = Frontier::default();
    for command in commands() {
        let (batch, _) = topic.batch(&[command]);
        batch.events.iter().for_each(|event| frontier.push(event));
        assert_eq!(batch.frontier, frontier);
        assert_eq!(batch.frontier.leaves(), Seq::after(batch.head()).0);
        assert_eq!(batch.mark().root, frontier.root());
    }
}

#[test]
fn a_batch_is_planned_on_the_head_and_epoch_before_it() {
    let mut topic = Topic::new();
    let (first, _) = topic.batch(&commands());
    let (second, _) = topic.batch(&[one("z", "1")]);
    assert_eq!((first.expected, second.expected), (None, first.head()));
    assert_eq!(second.epoch, topic.planner.epoch());
    assert_eq!(topic.planner.head(), second.head());
}

#[test]
fn an_invalidation_is_an_event_and_a_record_of_what_it_covers() {
    let mut topic = Topic::new();
    let three = ["a", "b", "c"].map(|key| content(key, "1"));
    let (batch, decided) = topic.batch(&[one("z", "1"), write(three), invalidate(1)]);
    let by = batch.head().expect("events");
    let record =
        InvalidationRecord { transaction: TransactionNo(1), first: Seq(1), last: Seq(3), by };
    assert_eq!(batch.invalidations, [record]);
    assert_eq!(decided[2].as_ref().expect("accepted").acks[0].version, by);
    let EventBody::Invalidation(invalidation) = &batch.events[4].body else {
        panic!("the last event is the invalidation");
    };
    assert_eq!(invalidation.invalidates, TransactionNo(1));
    assert_eq!(invalidation.reason.as_ref().map(|reason| reason.as_str()), Some("wrong"));
}

#[test]
fn records_hold_the_answers_that_were_given() {
    let mut topic = Topic::new();
    let commands = [
        register("p", 3, 0),
        line(one("a", "1"), "p", 3, 0),
        named(one("a", "2"), "x", 9),
        line(one("a", "2"), "p", 3, 1),
        line(one("b", "1"), "q", 0, 0),
    ];
    let (batch, decided) = topic.batch(&commands);
    let answers: Vec<_> = decided.into_iter().map(|d| d.expect("accepted")).collect();
    assert_eq!(batch.idempotency.len(), 1);
    assert_eq!(batch.idempotency[0].receipt, answers[2]);
    assert_eq!(batch.idempotency[0].request, [9; 32]);
    let [p, q] = &batch.producers[..] else { panic!("one record for each producer") };
    assert_eq!((p.epoch, p.first_line, p.next_line()), (3, 0, 2));
    assert_eq!(p.receipts, [answers[1].clone(), answers[3].clone()]);
    assert_eq!((q.epoch, q.first_line, q.next_line()), (0, 0, 1));
    let (batch, _) = topic.batch(&[line(one("c", "1"), "p", 4, 2)]);
    assert_eq!((batch.producers[0].epoch, batch.producers[0].first_line), (4, 2));
}

#[test]
fn a_batch_with_nothing_to_keep_is_empty() {
    let mut topic = Topic::new();
    topic.batch(&[one("a", "1"), line(one("b", "1"), "p", 0, 0), named(one("c", "1"), "x", 1)]);
    let nothing = [
        one("a", "1"),
        invalidate(7),
        line(one("b", "1"), "p", 0, 0),
        named(one("c", "1"), "x", 1),
        register("p", 0, 1),
    ];
    let kept = |batch: &tidelog::domain::Batch| {
        (batch.events.len(), batch.idempotency.len(), batch.producers.len())
    };
    assert_eq!(kept(&topic.batch(&nothing).0), (0, 0, 0));
    let answer = topic.batch(&[named(one("a", "1"), "y", 1)]).0;
    assert_eq!(kept(&answer), (0, 1, 0), "an answer to keep");
    assert_eq!(kept(&topic.batch(&[register("p", 1, 1)]).0), (0, 0, 1), "an epoch to keep");
}
