//! Consumers through the client: what is kept, what races come to, and what is certain when the
//! connection is lost.

use futures::StreamExt as _;
use tidelog::client::{Client, Committed, event};
use tidelog::domain::{ConsumerName, Expected, Seq};

use crate::cutter::{Cut, Cutter, From, Plan};
use crate::make::name;
use crate::port::nobody;
use crate::world::{World, client};

fn billing() -> ConsumerName {
    ConsumerName::parse("billing").expect("a name")
}

/// A topic of so many events.
async fn world(events: usize) -> World {
    let world = World::new().await;
    for n in 0..events {
        let event = event("k", &n.to_string()).expect("an event");
        world.client.writer().append(&name("t"), &event).await.expect("written");
    }
    world
}

#[tokio::test]
async fn a_consumer_is_made_moved_listed_and_forgotten() {
    let world = world(5).await;
    let (consumers, topic, billing) = (world.client.consumers(), name("t"), billing());
    assert_eq!(consumers.get(&topic, &billing).await.expect("an answer"), None);
    assert_eq!(consumers.get(&name("none"), &billing).await.expect("an answer"), None);
    assert_eq!(consumers.list(&topic, "", None, 9).await.expect("a list"), []);
    assert_eq!(consumers.list(&name("none"), "", None, 9).await.expect("a list"), []);

    let made = consumers.put(&topic, &billing, None, None).await.expect("it is made");
    assert!(made.made);
    assert_eq!((made.consumer.next(), made.consumer.lag_events()), (Seq(0), 5));
    let moved = consumers.put(&topic, &billing, Some(Seq(2)), None).await.expect("it is moved");
    assert!(!moved.made && moved.consumer.revision > made.consumer.revision);
    let read = consumers.get(&topic, &billing).await.expect("an answer");
    assert_eq!(read.as_ref(), Some(&moved.consumer));
    assert_eq!(consumers.list(&topic, "b", None, 9).await.expect("a list"), [moved.consumer]);

    let beyond = consumers.put(&topic, &billing, Some(Seq(5)), None).await.expect_err("beyond");
    assert_eq!((beyond.code(), beyond.committed()), (Some("invalid"), Committed::No));
    let nowhere = consumers.put(&name("none"), &billing, None, None).await.expect_err("no topic");
    assert_eq!(nowhere.code(), Some("topic-not-found"));
    assert!(consumers.delete(&topic, &billing, None).await.expect("forgotten"));
    assert!(!consumers.delete(&topic, &billing, None).await.expect("it was not there"));
}

#[tokio::test]
async fn who_expects_an_old_revision_learns_that_nothing_was_done() {
    let world = world(3).await;
    let (consumers, topic, billing) = (world.client.consumers(), name("t"), billing());
    let begin = consumers.put(&topic, &billing, None, Some(Expected::Nothing)).await;
    let old = begin.expect("nobody is there").consumer.revision;
    let on = Some(Expected::Revision(old));
    let newer = consumers.put(&topic, &billing, Some(Seq(0)), on).await;
    let newer = newer.expect("it is the revision").consumer.revision.0;
    for failed in [
        consumers.put(&topic, &billing, Some(Seq(1)), on).await.map(drop),
        consumers.put(&topic, &billing, None, Some(Expected::Nothing)).await.map(drop),
        consumers.delete(&topic, &billing, Some(old)).await.map(drop),
    ] {
        let error = failed.expect_err("another revision");
        assert_eq!(error.code(), Some("precondition-failed"));
        assert!(error.to_string().contains(&format!("has revision {newer}")), "{error}");
        assert_eq!((error.retryable(), error.committed()), (false, Committed::No));
    }
}

/// Handles some events, and goes on behind them in another life.
#[tokio::test]
async fn a_program_goes_on_where_its_consumer_is() {
    let world = world(6).await;
    let (consumers, topic, billing) = (world.client.consumers(), name("t"), billing());
    let unknown = consumers.follow(&topic, &billing).await.map(drop).expect_err("not there");
    assert_eq!(unknown.code(), Some("consumer-not-found"));
    consumers.put(&topic, &billing, None, None).await.expect("it is made");
    for life in 0..3_u64 {
        let mut events = consumers.follow(&topic, &billing).await.expect("it is there");
        for n in 0..2 {
            let read = events.next().await.expect("it goes on").expect("an event");
            let seq = read.event.version.seq;
            assert_eq!(seq, Seq(life * 2 + n));
            consumers.put(&topic, &billing, Some(seq), None).await.expect("it is moved");
        }
    }
    let there = consumers.get(&topic, &billing).await.expect("an answer").expect("it is there");
    assert_eq!(there.lag_events(), 0);
}

/// A move is cut at every byte of it and of its answer. Without a condition it is done; with one
/// what is said of it is true.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_move_that_is_cut_at_any_byte_is_never_said_to_be_undone() {
    let world = world(3).await;
    let (consumers, topic) = (world.client.consumers(), name("t"));
    for from in [From::Client, From::Service] {
        let (mut done, mut unknown) = (0, 0);
        for after in 0..700 {
            let consumer = ConsumerName::parse(&format!("{from:?}-{after}")).expect("a name");
            let cut = if after % 2 == 0 { Cut::Both } else { Cut::ClientOnly };
            let proxy = Cutter::start(world.service.port, [Plan { from, after, cut }]).await;
            let cutting = client(&proxy.url()).consumers();
            let expected = (after % 4 < 2).then_some(Expected::Nothing);
            let moved = cutting.put(&topic, &consumer, Some(Seq(1)), expected).await;
            let there = consumers.get(&topic, &consumer).await.expect("an answer");
            match moved {
                Ok(moved) => {
                    done += 1;
                    // Without a condition a sending that was lost may be done after its successor.
                    let there = there.expect("it is there");
                    assert_eq!(there.seq, moved.consumer.seq, "{from:?} {after}");
                    assert!(expected.is_none() || there == moved.consumer, "{from:?} {after}");
                }
                Err(error) => {
                    unknown += 1;
                    assert_eq!(error.code(), Some("precondition-failed"), "{from:?} {after}");
                    // Yes, where the begin of an answer came.
                    assert_ne!(error.committed(), Committed::No, "{from:?} {after}");
                    assert_eq!(there.and_then(|there| there.seq), Some(Seq(1)), "by itself");
                }
            }
        }
        assert!(done > 300, "{from:?}: {done}");
        if let From::Service = from {
            assert!(unknown > 50, "answers were lost: {unknown}");
        }
    }
}

#[tokio::test]
async fn a_move_that_was_never_sent_is_not_done() {
    let builder = Client::builder(&nobody());
    let impatient = builder.retry_within(std::time::Duration::ZERO).build().expect("a client");
    let error = impatient.consumers().put(&name("t"), &billing(), None, None).await;
    let error = error.expect_err("nobody is there");
    assert_eq!((error.retryable(), error.committed()), (true, Committed::No));
}
