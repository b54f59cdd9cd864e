//! Tables of cases. A row is a sentence, and commands with their answers (see `topic::short`).
//! Every row is decided twice, as one batch and as a batch for each command: the answers must be
//! the same.

use tidelog::domain::{Command, Precondition, Seq};

use crate::make::{content, hashed, invalidate, line, named, on, one, register, write};
use crate::topic::{Topic, short};

struct Row(&'static str, Vec<(Command, &'static str)>);

fn check(rows: Vec<Row>) {
    for Row(sentence, steps) in rows {
        let (mut together, mut apart) = (Topic::new(), Topic::new());
        let commands: Vec<Command> = steps.iter().map(|(command, _)| command.clone()).collect();
        let (_, decided) = together.batch(&commands);
        for (n, (command, expected)) in steps.iter().enumerate() {
            assert_eq!(short(&decided[n]), *expected, "{sentence}: step {n}");
            let (_, alone) = apart.batch(std::slice::from_ref(command));
            assert_eq!(short(&alone[0]), *expected, "{sentence}: step {n}, in its own batch");
        }
    }
}

#[test]
fn an_event_is_written_unless_the_surface_holds_its_key_with_an_equal_hash() {
    check(vec![
        Row("a first event is written", vec![(one("k", "1"), "0: 0/0; head 0/0")]),
        Row(
            "the same again is a duplicate, and takes no number",
            vec![
                (one("k", "1"), "0: 0/0; head 0/0"),
                (one("k", "1"), "-: 0/0=; head 0/0"),
                (one("l", "1"), "1: 1/1; head 1/1"),
            ],
        ),
        Row(
            "a, b, a for one key is three events",
            vec![
                (one("k", "1"), "0: 0/0; head 0/0"),
                (one("k", "2"), "1: 1/1; head 1/1"),
                (one("k", "1"), "2: 2/2; head 2/2"),
            ],
        ),
        Row(
            "equal data of another key is no duplicate",
            vec![(one("k", "1"), "0: 0/0; head 0/0"), (one("K", "1"), "1: 1/1; head 1/1")],
        ),
        Row(
            "keys are compared byte for byte: é is not e and an accent",
            vec![
                (one("\u{e9}", "1"), "0: 0/0; head 0/0"),
                (one("e\u{301}", "1"), "1: 1/1; head 1/1"),
            ],
        ),
        Row(
            "the producer's hash decides, whatever the data",
            vec![
                (write([hashed("k", "1", "v1")]), "0: 0/0; head 0/0"),
                (write([hashed("k", "2", "v1")]), "-: 0/0=; head 0/0"),
                (write([hashed("k", "1", "v2")]), "1: 1/1; head 1/1"),
                (one("k", "1"), "2: 2/2; head 2/2"),
            ],
        ),
        Row(
            "data that differs in white space differs",
            vec![(one("k", "[1]"), "0: 0/0; head 0/0"), (one("k", "[ 1]"), "1: 1/1; head 1/1")],
        ),
    ]);
}

#[test]
fn inside_a_transaction_its_earlier_events_count() {
    let events = |data: &[&str]| write(data.iter().map(|data| content("k", data)));
    check(vec![
        Row("the same twice is one event", vec![(events(&["1", "1"]), "0: 0/0 0/0=; head 0/0")]),
        Row(
            "a, b, a is three events",
            vec![(events(&["1", "2", "1"]), "0: 0/0 1/0 2/0; head 2/0")],
        ),
        Row(
            "duplicates leave no gap between the others",
            vec![
                (one("k", "1"), "0: 0/0; head 0/0"),
                (
                    write([content("k", "1"), content("l", "1"), content("l", "1")]),
                    "1: 0/0= 1/1 1/1=; head 1/1",
                ),
            ],
        ),
        Row(
            "all duplicates: nothing is written, no number is taken",
            vec![
                (write([content("k", "1"), content("l", "1")]), "0: 0/0 1/0; head 1/0"),
                (write([content("l", "1"), content("k", "1")]), "-: 1/0= 0/0=; head 1/0"),
                (one("m", "1"), "1: 2/1; head 2/1"),
            ],
        ),
    ]);
}

#[test]
fn an_invalidated_transaction_is_off_the_surface() {
    check(vec![
        Row(
            "its keys fall back to the newest event that stands",
            vec![
                (one("k", "1"), "0: 0/0; head 0/0"),
                (one("k", "2"), "1: 1/1; head 1/1"),
                (invalidate(1), "2: 2/2; head 2/2"),
                (one("k", "1"), "-: 0/0=; head 2/2"),
                (one("k", "2"), "3: 3/3; head 3/3"),
            ],
        ),
        Row(
            "a key that has no other event leaves the surface",
            vec![
                (one("k", "1"), "0: 0/0; head 0/0"),
                (invalidate(0), "1: 1/1; head 1/1"),
                (one("k", "1"), "2: 2/2; head 2/2"),
            ],
        ),
        Row(
            "it falls back over several that do not stand",
            vec![
                (one("k", "1"), "0: 0/0; head 0/0"),
                (one("k", "2"), "1: 1/1; head 1/1"),
                (one("k", "3"), "2: 2/2; head 2/2"),
                (invalidate(1), "3: 3/3; head 3/3"),
                (one("k", "3"), "-: 2/2=; head 3/3"),
                (invalidate(2), "4: 4/4; head 4/4"),
                (one("k", "1"), "-: 0/0=; head 4/4"),
            ],
        ),
        Row(
            "all of its events go, and no others",
            vec![
                (one("a", "1"), "0: 0/0; head 0/0"),
                (write([content("b", "1"), content("c", "1")]), "1: 1/1 2/1; head 2/1"),
                (invalidate(1), "2: 3/2; head 3/2"),
                (
                    write([content("a", "1"), content("b", "1"), content("c", "1")]),
                    "3: 0/0= 4/3 5/3; head 5/3",
                ),
            ],
        ),
    ]);
}

#[test]
fn what_can_be_invalidated() {
    check(vec![
        Row("nothing in a topic without events", vec![(invalidate(0), "TopicNotFound")]),
        Row(
            "no transaction that is not there",
            vec![
                (one("k", "1"), "0: 0/0; head 0/0"),
                (invalidate(1), "TransactionNotFound"),
                (invalidate(u64::MAX), "TransactionNotFound"),
            ],
        ),
        Row(
            "no invalidation",
            vec![
                (one("k", "1"), "0: 0/0; head 0/0"),
                (invalidate(0), "1: 1/1; head 1/1"),
                (invalidate(1), "InvalidationOfInvalidation"),
            ],
        ),
        Row(
            "the same twice: the second answer is where the first is, and writes nothing",
            vec![
                (one("k", "1"), "0: 0/0; head 0/0"),
                (invalidate(0), "1: 1/1; head 1/1"),
                (one("k", "2"), "2: 2/2; head 2/2"),
                (invalidate(0), "-: 1/1=; head 2/2"),
            ],
        ),
    ]);
}

#[test]
fn preconditions_are_of_the_head() {
    let is = |seq, command| on(Precondition::HeadIs(Seq(seq)), command);
    let empty = |command| on(Precondition::Empty, command);
    let moved = "PreconditionFailed(Some(Version { seq: Seq(0), transaction: TransactionNo(0) }))";
    check(vec![
        Row(
            "an empty topic has no head that anything is",
            vec![(is(0, one("k", "1")), "PreconditionFailed(None)")],
        ),
        Row(
            "only the first may need an empty topic",
            vec![
                (empty(one("k", "1")), "0: 0/0; head 0/0"),
                (empty(one("k", "2")), moved),
                (one("k", "2"), "1: 1/1; head 1/1"),
            ],
        ),
        Row(
            "the head must be exactly this",
            vec![
                (one("k", "1"), "0: 0/0; head 0/0"),
                (is(1, one("k", "2")), moved),
                (is(0, one("k", "2")), "1: 1/1; head 1/1"),
            ],
        ),
        Row(
            "a duplicate needs its condition as well, and does not move the head",
            vec![
                (one("k", "1"), "0: 0/0; head 0/0"),
                (is(7, one("k", "1")), moved),
                (is(0, one("k", "1")), "-: 0/0=; head 0/0"),
                (is(0, one("k", "2")), "1: 1/1; head 1/1"),
            ],
        ),
    ]);
}

#[test]
fn a_named_request_is_answered_once() {
    let is = |seq, command| on(Precondition::HeadIs(Seq(seq)), command);
    check(vec![
        Row(
            "the same again gets the first answer, with the head of then",
            vec![
                (named(one("k", "1"), "x", 1), "0: 0/0; head 0/0"),
                (one("k", "2"), "1: 1/1; head 1/1"),
                (named(one("k", "1"), "x", 1), "replayed 0: 0/0; head 0/0"),
            ],
        ),
        Row(
            "another request under the name is a mistake",
            vec![
                (named(one("k", "1"), "x", 1), "0: 0/0; head 0/0"),
                (named(one("k", "2"), "x", 2), "IdempotencyMismatch"),
                (named(one("k", "2"), "y", 2), "1: 1/1; head 1/1"),
            ],
        ),
        Row(
            "the name comes before the condition",
            vec![
                (is(9, named(one("k", "1"), "x", 1)), "PreconditionFailed(None)"),
                (on(Precondition::Empty, named(one("k", "1"), "x", 1)), "0: 0/0; head 0/0"),
                (
                    on(Precondition::Empty, named(one("k", "1"), "x", 1)),
                    "replayed 0: 0/0; head 0/0",
                ),
                (on(Precondition::Empty, named(one("k", "1"), "x", 2)), "IdempotencyMismatch"),
            ],
        ),
        Row(
            "an answer that nothing was written is kept too",
            vec![
                (one("k", "1"), "0: 0/0; head 0/0"),
                (named(one("k", "1"), "x", 1), "-: 0/0=; head 0/0"),
                (one("k", "2"), "1: 1/1; head 1/1"),
                (named(one("k", "1"), "x", 1), "replayed -: 0/0=; head 0/0"),
            ],
        ),
        Row(
            "a refusal is not kept",
            vec![
                (named(invalidate(0), "x", 1), "TopicNotFound"),
                (named(one("k", "1"), "x", 2), "0: 0/0; head 0/0"),
            ],
        ),
        Row(
            "invalidations have names as writes have, and share them",
            vec![
                (one("k", "1"), "0: 0/0; head 0/0"),
                (named(invalidate(0), "x", 1), "1: 1/1; head 1/1"),
                (named(invalidate(0), "x", 1), "replayed 1: 1/1; head 1/1"),
                (named(invalidate(0), "y", 1), "-: 1/1=; head 1/1"),
                (named(one("k", "1"), "x", 2), "IdempotencyMismatch"),
            ],
        ),
    ]);
}

#[test]
fn lines_of_a_producer_are_written_once_and_in_order() {
    let p = |epoch, n, data: &str| line(one("k", data), "p", epoch, n);
    check(vec![
        Row(
            "numbers begin at 0 and have no gaps",
            vec![
                (p(0, 1, "1"), "ProducerGap(0)"),
                (p(0, 0, "1"), "0: 0/0; head 0/0"),
                (p(0, 2, "2"), "ProducerGap(1)"),
                (p(0, 1, "2"), "1: 1/1; head 1/1"),
            ],
        ),
        Row(
            "a line that is there is not written again",
            vec![
                (p(0, 0, "1"), "0: 0/0; head 0/0"),
                (p(0, 1, "2"), "1: 1/1; head 1/1"),
                (p(0, 0, "1"), "replayed 0: 0/0; head 0/0"),
                (p(0, 1, "3"), "replayed 1: 1/1; head 1/1"),
            ],
        ),
        Row(
            "a duplicate is a line as well",
            vec![
                (p(0, 0, "1"), "0: 0/0; head 0/0"),
                (p(0, 1, "1"), "-: 0/0=; head 0/0"),
                (p(0, 2, "2"), "1: 1/1; head 1/1"),
                (p(0, 1, "1"), "replayed -: 0/0=; head 0/0"),
            ],
        ),
        Row(
            "a line that is refused is not used up",
            vec![
                (on(Precondition::HeadIs(Seq(5)), p(0, 0, "1")), "PreconditionFailed(None)"),
                (p(0, 0, "1"), "0: 0/0; head 0/0"),
            ],
        ),
        Row(
            "a replay comes before the condition",
            vec![
                (on(Precondition::Empty, p(0, 0, "1")), "0: 0/0; head 0/0"),
                (on(Precondition::Empty, p(0, 0, "1")), "replayed 0: 0/0; head 0/0"),
            ],
        ),
        Row(
            "producers do not know of each other",
            vec![
                (p(3, 0, "1"), "0: 0/0; head 0/0"),
                (line(one("k", "2"), "q", 0, 0), "1: 1/1; head 1/1"),
            ],
        ),
        Row(
            "the name comes before the line",
            vec![
                (named(p(0, 0, "1"), "x", 1), "0: 0/0; head 0/0"),
                (named(p(0, 5, "1"), "x", 1), "replayed 0: 0/0; head 0/0"),
                (named(p(0, 5, "1"), "x", 2), "IdempotencyMismatch"),
                (p(0, 1, "2"), "1: 1/1; head 1/1"),
            ],
        ),
    ]);
}

#[test]
fn a_newer_incarnation_of_a_producer_fences_the_older() {
    let p = |epoch, n, data: &str| line(one("k", data), "p", epoch, n);
    check(vec![
        Row(
            "from its first line on, going on with the numbers",
            vec![
                (p(0, 0, "1"), "0: 0/0; head 0/0"),
                (p(2, 1, "2"), "1: 1/1; head 1/1"),
                (p(1, 2, "3"), "ProducerFenced(2)"),
                (p(2, 2, "3"), "2: 2/2; head 2/2"),
            ],
        ),
        Row(
            "from its registration on, before any line",
            vec![
                (p(0, 0, "1"), "0: 0/0; head 0/0"),
                (register("p", 1, 1), "-:; head 0/0"),
                (p(0, 1, "2"), "ProducerFenced(1)"),
                (p(1, 1, "2"), "1: 1/1; head 1/1"),
            ],
        ),
        Row(
            "from a replay on, though that writes no event",
            vec![
                (p(0, 0, "1"), "0: 0/0; head 0/0"),
                (p(1, 0, "1"), "replayed 0: 0/0; head 0/0"),
                (p(0, 1, "2"), "ProducerFenced(1)"),
                (p(1, 1, "2"), "1: 1/1; head 1/1"),
            ],
        ),
        Row(
            "an epoch too low is said before a gap is",
            vec![
                (p(1, 0, "1"), "0: 0/0; head 0/0"),
                (p(0, 9, "2"), "ProducerFenced(1)"),
                (p(0, 0, "1"), "ProducerFenced(1)"),
                (register("p", 0, 0), "ProducerFenced(1)"),
            ],
        ),
        Row(
            "a registration may begin anywhere but beyond the next line",
            vec![
                (register("p", 0, 1), "ProducerGap(0)"),
                (register("p", 0, 0), "-:; head none"),
                (p(0, 0, "1"), "0: 0/0; head 0/0"),
                (register("p", 0, 0), "-:; head 0/0"),
                (register("p", 0, 1), "-:; head 0/0"),
                (register("p", 5, 2), "ProducerGap(1)"),
                (p(0, 1, "2"), "1: 1/1; head 1/1"),
            ],
        ),
    ]);
}
