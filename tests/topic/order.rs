//! Order, batching, back-pressure, retirement.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use futures::FutureExt as _;
use futures::future::join_all;
use tidelog::domain::{Command, Precondition, Rejection, Seq, TopicName, Write};
use tidelog::topic::{Outcome, Settings, Topics, WriteError};

use crate::support::*;

async fn warm(settings: Settings) -> (Arc<FaultyStore>, Topics) {
    let store = FaultyStore::new();
    let topics = Topics::new(Arc::clone(&store) as _, settings);
    topics.submit(&topic(), write("first", "1")).await.expect("the store is there");
    (store, topics)
}

fn quickly_idle() -> Settings {
    // The timer that looks after what waits is the one that looks for idleness.
    let write_timeout = Duration::from_millis(500);
    Settings { topic_idle: Duration::from_millis(1), write_timeout, ..Settings::default() }
}

/// Gives the actors, which run on a thread of their own, time to do what they must not do.
async fn settle() {
    let began = Instant::now();
    for _ in (0..10_000).take_while(|_| began.elapsed() < Duration::from_secs(1)) {
        std::thread::yield_now();
        tokio::task::yield_now().await;
    }
}

#[actix_rt::test]
async fn commands_are_written_in_the_order_of_their_submission() {
    let (_store, topics) = warm(Settings::default()).await;
    let topic = topic();
    let commands = (0..500).map(|n| topics.submit(&topic, write(&format!("k{n}"), "1")));
    let seqs: Vec<u64> = join_all(commands).await.into_iter().map(|r| seq(&r.unwrap())).collect();
    assert_eq!(seqs, (1..=500).collect::<Vec<u64>>());
}

#[actix_rt::test]
async fn what_waits_in_the_mailbox_gets_into_one_batch() {
    let (store, topics) = warm(Settings::default()).await;
    store.appended.lock().clear();
    let topic = topic();
    // Nothing is held back: the actor does not run before all of them are there.
    let commands = (0..100).map(|n| topics.submit(&topic, write(&format!("k{n}"), "1")));
    assert!(join_all(commands).await.into_iter().all(|outcome| outcome.is_ok()));
    assert_eq!(*store.appended.lock(), [100]);
}

#[actix_rt::test]
async fn batches_form_while_earlier_ones_are_in_flight_and_never_more_than_allowed() {
    let (store, topics) = warm(Settings { commits_in_flight_max: 2, ..Settings::default() }).await;
    store.hold();
    store.appended.lock().clear();
    let topic = topic();
    let mut waiting = Vec::new();
    for n in 0..100 {
        let mut command = Box::pin(topics.submit(&topic, write(&format!("k{n}"), "1")));
        assert!((&mut command).now_or_never().is_none());
        waiting.push(command);
        while n < 2 && store.sent() < 2 + n {
            tokio::task::yield_now().await;
        }
    }
    store.let_through(usize::MAX >> 4);
    assert!(join_all(waiting).await.into_iter().all(|outcome| outcome.is_ok()));
    assert_eq!(*store.appended.lock(), [1, 1, 98]);
}

#[actix_rt::test]
async fn what_is_known_does_not_wait_for_what_has_to_be_looked_up_behind_it() {
    let (store, topics) = warm(Settings::default()).await;
    let topics_of_another = Topics::new(Arc::clone(&store) as _, Settings::default());
    drop(topics);
    let mut session = topics_of_another.session(&topic()).unwrap();
    // From here on this key is known, and what other keys there are is not.
    assert!(session.submit(vec![write("k", "1")]).await.unwrap().await.failure.is_none());

    store.hold_look_ups();
    // As many as are worth a commit.
    let known = (2..52).map(|n| write("k", &n.to_string())).collect();
    let known = session.submit(known).await.unwrap();
    let mut unknown = Box::pin(session.submit(vec![write("new", "1")]).await.unwrap());
    let known = tokio::time::timeout(Duration::from_secs(60), known).await;
    let known = known.expect("it waits for nothing");
    assert_eq!(known.failure, None);
    assert!((&mut unknown).now_or_never().is_none(), "it is still looked up");
    store.let_look_ups_through(100);
    let unknown = unknown.await;
    assert_eq!(unknown.failure, None);
    let last = |outcome: &Outcome| outcome.receipts.last().unwrap().acks[0].version.seq.0;
    assert_eq!(last(&unknown), last(&known) + 1);
}

#[actix_rt::test]
async fn who_has_waited_for_one_look_up_does_not_wait_for_those_of_others() {
    let (store, topics) = warm(Settings::default()).await;
    let mut session = topics.session(&topic()).unwrap();
    store.hold_look_ups();
    let lookups = store.lookups.load(Ordering::SeqCst);
    let first = session.submit(vec![named("first", "k", "1")]).await.unwrap();
    while store.lookups.load(Ordering::SeqCst) == lookups {
        tokio::task::yield_now().await;
    }
    let mut second = Box::pin(session.submit(vec![named("second", "k", "2")]).await.unwrap());
    store.let_look_ups_through(1);
    let first = tokio::time::timeout(Duration::from_secs(60), first).await;
    assert_eq!(first.expect("it is looked up").failure, None);
    assert!((&mut second).now_or_never().is_none(), "it is still looked up");
    store.let_look_ups_through(100);
    assert_eq!(second.await.failure, None);
}

#[actix_rt::test]
async fn nothing_is_told_before_what_it_was_decided_on_is_durable() {
    let (store, topics) = warm(Settings::default()).await;
    store.hold();
    let topic = topic();
    let Command::Write(write_if) = write("c", "1") else { unreachable!("it is a write") };
    let head_is_0 = Some(Precondition::HeadIs(Seq(0)));
    let mut written = Box::pin(topics.submit(&topic, write("a", "1")));
    assert!((&mut written).now_or_never().is_none());
    let refused = Command::Write(Write { precondition: head_is_0, ..write_if });
    let mut others = [
        Box::pin(topics.submit(&topic, write("a", "1"))),
        Box::pin(topics.submit(&topic, refused)),
        Box::pin(topics.submit(&topic, write("first", "1"))),
    ];
    for other in &mut others {
        assert!(other.now_or_never().is_none());
    }
    settle().await;
    for other in &mut others {
        assert!(other.now_or_never().is_none(), "told before its ground is durable");
    }
    store.let_through(10);
    assert_eq!(seq(&written.await.unwrap()), 1);
    let [duplicate, refused, old] = others;
    let duplicate = duplicate.await.unwrap();
    assert!(duplicate.acks[0].duplicate && seq(&duplicate) == 1);
    assert!(matches!(
        refused.await,
        Err(WriteError::Rejected(Rejection::PreconditionFailed(Some(head)))) if head.seq == Seq(1)
    ));
    assert!(old.await.unwrap().acks[0].duplicate);
}

#[actix_rt::test]
async fn a_full_queue_refuses_singles_holds_sessions_back_and_loses_nothing() {
    let limits = Settings { topic_queue_events_max: 10, ..Settings::default() };
    let (store, topics) = warm(limits).await;
    store.hold();
    let topic = topic();
    let mut waiting = Vec::new();
    let mut overloaded = 0;
    for n in 0..30 {
        let mut command = Box::pin(topics.submit(&topic, write(&format!("k{n}"), "1")));
        match (&mut command).now_or_never() {
            None => waiting.push(command),
            Some(outcome) => {
                assert_eq!(outcome, Err(WriteError::Overloaded));
                overloaded += 1;
            }
        }
    }
    assert_eq!((waiting.len(), overloaded), (10, 20));
    let mut session = topics.session(&topic).unwrap();
    let mut line = Box::pin(session.submit(vec![write("line", "1")]));
    assert!((&mut line).now_or_never().is_none(), "back-pressure");
    store.let_through(1000);
    assert!(join_all(waiting).await.into_iter().all(|outcome| outcome.is_ok()));
    let outcome = line.await.unwrap().await;
    assert_eq!(outcome.failure, None);
    assert_eq!(store.log(&topic).await.len(), 12);
}

/// Found by a review: whatever became free went to those who stood in line, so never to singles.
#[actix_rt::test]
async fn a_single_finds_room_beside_streams_that_want_more_than_there_is() {
    let (store, topics) = warm(Settings { topic_queue_events_max: 8, ..Settings::default() }).await;
    store.hold();
    let topic = topic();
    let mut sessions: Vec<_> = (0..10).map(|_| topics.session(&topic).unwrap()).collect();
    let mut submitted: Vec<_> = sessions
        .iter_mut()
        .enumerate()
        .map(|(n, session)| Box::pin(session.submit(vec![write(&format!("k{n}"), "1")])))
        .collect();
    let admitted = submitted.iter_mut().map(|line| line.now_or_never().is_some());
    assert_eq!(admitted.filter(|admitted| *admitted).count(), 6);
    let mut single = Box::pin(topics.submit(&topic, write("single", "1")));
    assert!((&mut single).now_or_never().is_none(), "it is admitted, and waits for the store");
    store.let_through(100);
    assert!(single.await.is_ok());
}

#[actix_rt::test]
async fn a_client_that_goes_away_changes_nothing() {
    let (store, topics) = warm(Settings::default()).await;
    store.hold();
    let topic = topic();
    for n in 0..3 {
        let mut command = Box::pin(topics.submit(&topic, write(&format!("k{n}"), "1")));
        assert!((&mut command).now_or_never().is_none());
        // Here it goes away.
    }
    store.let_through(10);
    let receipt = topics.submit(&topic, write("last", "1")).await.unwrap();
    assert_eq!(seq(&receipt), 4, "the three before it are written");
}

#[actix_rt::test]
async fn a_failed_line_ends_its_session_and_nobody_elses() {
    let (store, topics) = warm(Settings::default()).await;
    let topic = topic();
    let mut session = topics.session(&topic).unwrap();
    store.hold();
    let lines = vec![write("a", "1"), invalidate(99), write("b", "1")];
    let outcome = session.submit(lines).await.unwrap();
    let next = session.submit(vec![write("c", "1")]).await.unwrap();
    let mut other = Box::pin(topics.submit(&topic, write("other", "1")));
    assert!((&mut other).now_or_never().is_none());
    store.let_through(10);
    let outcome = outcome.await;
    assert_eq!(outcome.receipts.len(), 1);
    let missing = WriteError::Rejected(Rejection::TransactionNotFound);
    assert_eq!(outcome.failure, Some(missing));
    assert_eq!(next.await.failure, Some(WriteError::EarlierFailed));
    assert!(session.submit(vec![write("d", "1")]).await.is_err());
    assert!(other.await.is_ok());
    let keys = keys(&store.log(&topic).await);
    assert!(keys.contains_key("a") && !keys.contains_key("b"));
    assert!(!keys.contains_key("c") && !keys.contains_key("d"));
}

#[actix_rt::test]
async fn idle_actors_retire_and_come_back_knowing_everything() {
    let limits = quickly_idle();
    let (store, topics) = warm(limits).await;
    while topics.active() > 0 {
        tokio::task::yield_now().await;
    }
    let receipt = topics.submit(&topic(), write("first", "1")).await.unwrap();
    assert!(receipt.acks[0].duplicate);
    assert_eq!(store.opens.load(Ordering::SeqCst), 2);
}

#[actix_rt::test]
async fn an_actor_with_a_session_does_not_retire() {
    let limits = quickly_idle();
    let (store, topics) = warm(limits).await;
    let mut session = topics.session(&topic()).unwrap();
    settle().await;
    let outcome = session.submit(vec![write("a", "1")]).await.unwrap().await;
    assert_eq!(outcome.failure, None);
    let opens = store.opens.load(Ordering::SeqCst);
    settle().await;
    assert_eq!(store.opens.load(Ordering::SeqCst), opens);
    assert_eq!(topics.active(), 1);
}

/// Found by a review: only a submission armed an actor's timer.
#[actix_rt::test]
async fn an_actor_that_nothing_was_ever_submitted_to_retires_as_well() {
    let topics = Topics::new(FaultyStore::new() as _, quickly_idle());
    let session = topics.session(&topic()).unwrap();
    assert_eq!(topics.active(), 1);
    drop(session);
    let all_retired = async {
        while topics.active() > 0 {
            tokio::task::yield_now().await;
        }
    };
    let retired = tokio::time::timeout(Duration::from_secs(10), all_retired).await;
    assert!(retired.is_ok(), "it is still there");
}

#[actix_rt::test]
async fn who_is_refused_because_all_is_full_starts_no_actor() {
    let (store, topics) = warm(Settings { queue_events_max: 1, ..Settings::default() }).await;
    store.hold();
    let topic = topic();
    let mut waiting = Box::pin(topics.submit(&topic, write("a", "1")));
    assert!((&mut waiting).now_or_never().is_none());
    for n in 0..10 {
        let other = TopicName::parse(&format!("other-{n}")).expect("a topic name");
        assert_eq!(topics.submit(&other, write("a", "1")).await, Err(WriteError::Overloaded));
    }
    assert_eq!(topics.active(), 1);
    store.let_through(1);
    assert!(waiting.await.is_ok());
}

#[actix_rt::test]
async fn topics_that_go_quiet_together_have_their_surfaces_brought_forward_one_by_one() {
    let store = FaultyStore::new();
    let topics = Topics::new(Arc::clone(&store) as _, quickly_idle());
    let slow = store.folding.lock().await;
    for n in 0..10 {
        let topic = TopicName::parse(&format!("t{n}")).expect("a topic name");
        topics.submit(&topic, write("a", "1")).await.expect("the store is there");
    }
    while store.folds.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    settle().await;
    assert_eq!(store.folds.load(Ordering::SeqCst), 1);
    drop(slow);
    while topics.active() > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(store.folds.load(Ordering::SeqCst), 10, "each has had its turn");
}

#[actix_rt::test]
async fn draining_answers_what_was_admitted_and_admits_nothing_else() {
    let (store, topics) = warm(Settings::default()).await;
    store.hold();
    let topic = topic();
    let mut session = topics.session(&topic).unwrap();
    let line = session.submit(vec![write("line", "1")]).await.unwrap();
    let mut drain = Box::pin(topics.drain());
    assert!((&mut drain).now_or_never().is_none());
    assert_eq!(topics.submit(&topic, write("late", "1")).await, Err(WriteError::ShuttingDown));
    assert!(session.submit(vec![write("late", "1")]).await.is_err());
    store.let_through(10);
    drain.await;
    assert_eq!(line.await.failure, None);
    assert_eq!(store.log(&topic).await.len(), 2);
}
