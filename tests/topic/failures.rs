//! Failures of the store at every call: a later event never commits after an earlier one failed,
//! nothing is written twice, and every answer is true.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use tidelog::domain::{Command, Receipt};
use tidelog::topic::{Outcome, Settings, Topics, WriteError};

use crate::support::*;

const FAULTS: [Fault; 6] = [
    Fault::Not,
    Fault::UnknownDone,
    Fault::UnknownNot,
    Fault::UnknownLate,
    Fault::UnknownAfterFence,
    Fault::Panic,
];

fn settings() -> Settings {
    // Small batches, so that there are many calls; small memory, so that keys are looked up.
    Settings {
        batch_events_max: 3,
        commits_in_flight_max: 3,
        keys_bytes_max: 1000,
        unfolded_events_max: 16,
        ..Settings::default()
    }
}

struct Told {
    sessions: Vec<Vec<Outcome>>,
    singles: Vec<(String, Result<Receipt, WriteError>)>,
}

/// Two sessions of eight lines in chunks of two, and singles between them.
async fn workload(topics: &Topics) -> Told {
    let topic = topic();
    let session = async |name: char| {
        let mut outcomes = Vec::new();
        let Ok(mut session) = topics.session(&topic) else { return outcomes };
        for chunk in 0..4 {
            let line = |line: usize| write(&format!("{name}{}", chunk * 2 + line), "1");
            match session.submit(vec![line(0), line(1)]).await {
                Ok(outcome) => outcomes.push(outcome),
                Err(_) => break,
            }
        }
        outcomes
    };
    let single = async |n: usize| {
        let key = format!("s{n}");
        let command =
            if usize::is_multiple_of(n, 2) { named(&key, &key, "1") } else { write(&key, "1") };
        let outcome = topics.submit(&topic, command).await;
        (key, outcome)
    };
    let singles = join_all((0..6).map(single));
    let (a, singles, b) = futures::join!(session('a'), singles, session('b'));
    Told { sessions: vec![join_all(a).await, join_all(b).await], singles }
}

/// What was told must be what is there.
async fn check(store: &FaultyStore, told: &Told, context: &str) {
    let log = store.log(&topic()).await;
    let keys = keys(&log);
    let there = |key: &str| keys.get(key).copied().unwrap_or(0);
    assert!(keys.values().all(|count| *count == 1), "{context}: written twice: {keys:?}");
    let check = |key: &str, receipt: &Receipt| {
        let at = receipt.acks[0].version.seq.0 as usize;
        let tidelog::domain::EventBody::Content(content) = &log[at].event.body else {
            panic!("{context}: {key} is not at {at}")
        };
        assert_eq!(content.key.as_str(), key, "{context}: at {at}");
    };
    for (name, outcomes) in ['a', 'b'].into_iter().zip(&told.sessions) {
        let mut line = 0;
        let mut failed = false;
        for outcome in outcomes {
            for receipt in &outcome.receipts {
                assert!(!failed, "{context}: {name}{line} is done after an earlier failed");
                check(&format!("{name}{line}"), receipt);
                line += 1;
            }
            if let (false, Some(failure)) = (failed, &outcome.failure) {
                failed = true;
                let at = there(&format!("{name}{line}"));
                let unknown = *failure == WriteError::OutcomeUnknown;
                assert!(unknown || at == 0, "{context}: {name}{line}: {failure:?}, but there");
            }
        }
        let prefix = (0..8).take_while(|line| there(&format!("{name}{line}")) == 1).count();
        let all = (0..8).filter(|line| there(&format!("{name}{line}")) == 1).count();
        assert_eq!(prefix, all, "{context}: session {name} has a hole");
    }
    for (key, outcome) in &told.singles {
        match outcome {
            Ok(receipt) => check(key, receipt),
            Err(WriteError::OutcomeUnknown) => {}
            Err(error) => assert_eq!(there(key), 0, "{context}: {key}: {error:?}, but there"),
        }
    }
}

#[actix_rt::test]
async fn whatever_call_fails_in_whatever_way_all_is_done_once_and_in_order() {
    for fault in FAULTS {
        for call in 0.. {
            let context = format!("{fault:?} at call {call}");
            let store = FaultyStore::new();
            let topics = Topics::new(Arc::clone(&store) as _, settings());
            store.fail(call, fault);
            let told = workload(&topics).await;
            check(&store, &told, &context).await;
            let everything = told.singles.iter().all(|(_, outcome)| outcome.is_ok())
                && told.sessions.iter().flatten().all(|outcome| outcome.failure.is_none());
            assert!(everything || fault == Fault::Panic, "{context}: a retry was possible");
            // An actor that is just dying may still take one along.
            let mut after = topics.submit(&topic(), write("after", "1")).await;
            while fault == Fault::Panic && after.is_err() {
                after = topics.submit(&topic(), write("after", "1")).await;
            }
            assert!(after.is_ok(), "{context}: the topic works again: {after:?}");
            if !store.all_met() {
                assert!(call > 10, "{context}: the workload makes more calls");
                break;
            }
        }
    }
}

#[actix_rt::test]
async fn two_failures_in_a_row_are_survived_as_well() {
    for fault in FAULTS {
        for (call, next) in (0..12).flat_map(|call| (1..8).map(move |next| (call, next))) {
            let context = format!("{fault:?} at calls {call} and {}", call + next);
            let store = FaultyStore::new();
            let topics = Topics::new(Arc::clone(&store) as _, settings());
            store.fail(call, fault);
            store.fail(call + next, Fault::UnknownLate);
            let told = workload(&topics).await;
            check(&store, &told, &context).await;
        }
    }
}

#[actix_rt::test]
async fn what_the_store_cannot_hold_fails_alone() {
    let store = FaultyStore::new();
    store.poison("s3");
    let topics = Topics::new(Arc::clone(&store) as _, Settings::default());
    let told = workload(&topics).await;
    check(&store, &told, "poison").await;
    for (key, outcome) in &told.singles {
        let expected = if key == "s3" { Some(WriteError::Unstorable) } else { None };
        assert_eq!(outcome.as_ref().err(), expected.as_ref(), "{key}");
    }
    assert!(told.sessions.iter().flatten().all(|outcome| outcome.failure.is_none()));
}

#[actix_rt::test]
async fn a_line_that_the_store_cannot_hold_ends_its_session_only() {
    let store = FaultyStore::new();
    store.poison("a3");
    let topics = Topics::new(Arc::clone(&store) as _, Settings::default());
    let told = workload(&topics).await;
    check(&store, &told, "poison").await;
    let done: usize = told.sessions[0].iter().map(|outcome| outcome.receipts.len()).sum();
    assert_eq!(done, 3);
    let failure = told.sessions[0].iter().find_map(|outcome| outcome.failure.clone());
    assert_eq!(failure, Some(WriteError::Unstorable));
    assert!(told.sessions[1].iter().all(|outcome| outcome.failure.is_none()));
    assert!(told.singles.iter().all(|(_, outcome)| outcome.is_ok()));
}

#[actix_rt::test]
async fn a_store_that_is_away_for_too_long_fails_all_that_waits_and_works_when_it_is_back() {
    let store = FaultyStore::new();
    let timeout = Duration::from_millis(500);
    let settings = Settings { write_timeout: timeout, ..settings() };
    let topics = Topics::new(Arc::clone(&store) as _, settings);
    topics.submit(&topic(), write("first", "1")).await.expect("the store is there");
    *store.down.lock() = true;
    let told = workload(&topics).await;
    assert!(told.singles.iter().all(|(_, o)| *o == Err(WriteError::Unavailable)), "certain");
    *store.down.lock() = false;
    let receipt = topics.submit(&topic(), write("second", "1")).await.expect("it is back");
    assert_eq!(seq(&receipt), 1, "nothing came between");
}

#[actix_rt::test]
async fn what_is_at_a_store_that_hangs_is_unknown_and_what_waits_is_not_written() {
    let store = FaultyStore::new();
    let timeout = Duration::from_millis(500);
    let settings = Settings { write_timeout: timeout, commits_in_flight_max: 1, ..settings() };
    let topics = Topics::new(Arc::clone(&store) as _, settings);
    topics.submit(&topic(), write("first", "1")).await.expect("the store is there");
    store.hold();
    let topic = topic();
    let (sent, waiting) = futures::join!(
        topics.submit(&topic, group(&[("x", "1"), ("y", "1"), ("z", "1")])),
        topics.submit(&topic, write("waiting", "1")),
    );
    assert_eq!(sent, Err(WriteError::OutcomeUnknown));
    assert_eq!(waiting, Err(WriteError::Unavailable));
    store.let_through(100);
    topics.submit(&topic, write("last", "1")).await.expect("the store answers again");
    let keys = keys(&store.log(&topic).await);
    assert!(!keys.contains_key("waiting"));
    assert!(keys.contains_key("last"));
}

#[actix_rt::test]
async fn a_read_only_store_is_told_as_such() {
    let store = FaultyStore::new();
    *store.read_only.lock() = true;
    let topics = Topics::new(Arc::clone(&store) as _, settings());
    let outcome = topics.submit(&topic(), write("a", "1")).await;
    assert_eq!(outcome, Err(WriteError::ReadOnly));
    *store.read_only.lock() = false;
    assert!(topics.submit(&topic(), write("a", "1")).await.is_ok());
}

#[actix_rt::test]
async fn a_store_that_lost_what_it_had_acknowledged_is_not_written_to() {
    let store = FaultyStore::new();
    let topics = Topics::new(Arc::clone(&store) as _, settings());
    topics.submit(&topic(), write("a", "1")).await.expect("the store is there");
    store.lose();
    for key in ["b", "c"] {
        let outcome = topics.submit(&topic(), write(key, "1")).await;
        assert_eq!(outcome, Err(WriteError::Unavailable), "{key}");
    }
    assert!(store.log(&topic()).await.is_empty());
}

/// Found by an attack: a decision that writes nothing was answered from memory alone.
#[actix_rt::test]
async fn what_another_service_wrote_is_known_before_anything_is_answered() {
    use tidelog::domain::{Precondition, ProducerId, ProducerLine, Rejection, Seq, Write};
    let store = FaultyStore::new();
    let one = Topics::new(Arc::clone(&store) as _, settings());
    let other = Topics::new(Arc::clone(&store) as _, settings());
    let topic = topic();
    let single = |key: &str, data: &str| match write(key, data) {
        Command::Write(write) => write,
        _ => unreachable!("it is a write"),
    };
    let mut seqs = Vec::new();
    for (service, data) in [(&one, "1"), (&other, "2"), (&one, "1"), (&one, "1"), (&other, "1")] {
        let receipt = service.submit(&topic, write("k", data)).await.unwrap();
        seqs.push((seq(&receipt), receipt.acks[0].duplicate));
    }
    assert_eq!(seqs, [(0, false), (1, false), (2, false), (2, true), (2, true)]);

    // The other invalidates what this one knows.
    other.submit(&topic, invalidate(2)).await.unwrap();
    let again = one.submit(&topic, write("k", "1")).await.unwrap();
    assert!(!again.acks[0].duplicate, "invalidated events are no ground for duplicates");

    // Conditions are decided on what is there, not on what was known.
    other.submit(&topic, write("x", "1")).await.unwrap();
    let head = store.log(&topic).await.len() as u64 - 1;
    let precondition = Some(Precondition::HeadIs(Seq(head)));
    let held = one.submit(&topic, Command::Write(Write { precondition, ..single("y", "1") })).await;
    assert!(held.is_ok(), "{held:?}");
    let stale = Command::Write(Write { precondition, ..single("z", "1") });
    let refused = other.submit(&topic, stale).await;
    assert!(
        matches!(&refused, Err(WriteError::Rejected(Rejection::PreconditionFailed(Some(version))))
            if version.seq == Seq(head + 1)),
        "{refused:?}"
    );

    // A producer that goes from one to the other.
    let line = |line: u64| {
        let producer = ProducerId::parse("p").expect("a producer id");
        let producer = Some(ProducerLine { producer, epoch: 0, line });
        Command::Write(Write { producer, ..single(&format!("p{line}"), "1") })
    };
    for (n, service) in [&one, &other, &one, &one, &other].into_iter().enumerate() {
        let receipt = service.submit(&topic, line(n as u64)).await;
        assert!(receipt.is_ok(), "line {n}: {receipt:?}");
    }
}

#[actix_rt::test]
async fn two_services_that_write_the_same_topic_stay_correct() {
    let store = FaultyStore::new();
    let one = Topics::new(Arc::clone(&store) as _, settings());
    let other = Topics::new(Arc::clone(&store) as _, settings());
    let topic = topic();
    let mut told = Vec::new();
    for round in 0..20 {
        let (a, b) = (format!("a{round}"), format!("b{round}"));
        let (first, second) = futures::join!(
            one.submit(&topic, write(&a, "1")),
            other.submit(&topic, write(&b, "1")),
        );
        told.extend([(a, first), (b, second)]);
    }
    let told = Told { sessions: Vec::new(), singles: told };
    check(&store, &told, "two services").await;
    assert!(told.singles.iter().all(|(_, outcome)| outcome.is_ok()), "both make progress");
}
