//! Requests that are answered as a whole: what they write, what they are answered, and what their
//! errors say.

use tidelog::client::{Client, Committed, Terms, event};
use tidelog::config::Config;
use tidelog::domain::{IdempotencyKey, Precondition, Reason, Seq, TransactionNo};
use tidelog::store::EventSourceReader as _;

use crate::cutter::{Cut, Cutter, From, Plan};
use crate::make::name;
use crate::port::nobody;
use crate::world::{World, client};

#[tokio::test]
async fn what_is_written_is_answered_with_its_place() {
    let world = World::new().await;
    let (writer, topic) = (world.client.writer(), name("t"));
    let a = event("a", "1").expect("an event");
    let first = writer.append(&topic, &a).await.expect("written");
    assert_eq!(first.transaction, Some(TransactionNo(0)));
    assert_eq!((first.events[0].version.seq, first.head), (Seq(0), Some(Seq(0))));
    assert!(!first.replayed && !first.events[0].duplicate);

    let again = writer.append(&topic, &a).await.expect("it is there");
    assert_eq!(again.transaction, None);
    assert!(again.events[0].duplicate && !again.replayed, "each call is a request of its own");

    let b = event("b", "{\n \"x\": 1 }").expect("an event");
    let both = writer.transaction(&topic, &[a.clone(), b]).await.expect("written");
    assert_eq!((both.transaction, both.head), (Some(TransactionNo(1)), Some(Seq(1))));
    assert_eq!(both.events.iter().map(|ack| ack.duplicate).collect::<Vec<_>>(), [true, false]);

    let reason = Reason::parse("wrong".into()).expect("a reason");
    let gone = writer.invalidate(&topic, TransactionNo(0), Some(&reason)).await.expect("written");
    assert_eq!(gone.transaction, Some(TransactionNo(2)));
    let again = writer.invalidate(&topic, TransactionNo(0), None).await.expect("it is there");
    assert_eq!((again.transaction, again.events[0].version), (None, gone.events[0].version));

    let reader = world.client.reader();
    assert!(reader.latest(&topic, &a.key).await.expect("an answer").is_none());
    let log = world.events(&topic).await;
    assert_eq!(log.len(), 3);
    assert_eq!(reader.head(&topic).await.expect("a head").map(|head| head.seq), Some(Seq(2)));
}

#[tokio::test]
async fn a_write_on_terms_is_written_on_them_only() {
    let world = World::new().await;
    let (writer, topic) = (world.client.writer(), name("t"));
    let terms = |precondition, key: Option<&str>| Terms {
        precondition: Some(precondition),
        idempotency_key: key.map(|key| IdempotencyKey::parse(key).expect("a key")),
    };
    let a = event("a", "1").expect("an event");
    let empty = terms(Precondition::Empty, Some("begin"));
    let first = writer.append_on(&topic, &a, &empty).await.expect("written");
    let again = writer.append_on(&topic, &a, &empty).await.expect("the same answer");
    assert_eq!((again.transaction, again.replayed), (first.transaction, true));

    let b = event("b", "1").expect("an event");
    let wrong = terms(Precondition::HeadIs(Seq(7)), None);
    let error = writer.transaction_on(&topic, &[b], &wrong).await.expect_err("another head");
    assert_eq!(error.code(), Some("precondition-failed"));
    assert_eq!(error.head().flatten().map(|head| head.seq), Some(Seq(0)));
    assert_eq!((error.retryable(), error.committed()), (false, Committed::No));
    assert_eq!(world.log(&topic).await.len(), 1);
}

#[tokio::test]
async fn errors_say_what_may_be_concluded() {
    let world = World::new().await;
    let topic = name("t");
    let writer = world.client.writer();
    let error = writer.invalidate(&topic, TransactionNo(0), None).await.expect_err("no topic");
    assert_eq!(error.code(), Some("topic-not-found"));
    assert_eq!((error.retryable(), error.committed()), (false, Committed::No));
    let error = writer.transaction(&topic, &[]).await.expect_err("no event");
    assert_eq!(error.code(), Some("invalid"));
    assert!(error.to_string().contains("at /events"), "{error}");

    // Nobody is there: nothing was sent.
    let builder = Client::builder(&nobody());
    let impatient = builder.retry_within(std::time::Duration::ZERO).build().expect("a client");
    let a = event("a", "1").expect("an event");
    let error = impatient.writer().append(&topic, &a).await.expect_err("nobody is there");
    assert_eq!((error.retryable(), error.committed()), (true, Committed::No));
    let error = impatient.reader().ping().await.expect_err("nobody is there");
    assert!(matches!(error, tidelog::store::StoreError::Unavailable(_)), "{error}");
}

#[tokio::test]
async fn what_was_sent_and_never_answered_is_unknown() {
    let world = World::new().await;
    let cut = Plan { from: From::Service, after: 0, cut: Cut::Both };
    let proxy = Cutter::start(world.service.port, [cut; 100]).await;
    let builder = Client::builder(&proxy.url()).retry_within(std::time::Duration::ZERO);
    let writer = builder.build().expect("a client").writer();
    let a = event("a", "1").expect("an event");
    let error = writer.append(&name("t"), &a).await.expect_err("no answer comes");
    assert_eq!((error.retryable(), error.committed()), (true, Committed::Unknown));
}

#[tokio::test]
async fn what_read_only_services_refuse_is_tried_until_patience_ends() {
    let world = World::with(Config { read_only: true, ..Config::default() }).await;
    let builder = Client::builder(&world.service.url());
    let writer = builder.retry_within(std::time::Duration::ZERO).build().expect("a client");
    let a = event("a", "1").expect("an event");
    let error = writer.writer().append(&name("t"), &a).await.expect_err("it is read-only");
    assert_eq!(error.code(), Some("read-only"));
    assert_eq!((error.retryable(), error.committed()), (true, Committed::No));
}

#[tokio::test]
async fn urls_that_are_none_are_refused_and_credentials_are_hidden() {
    for url in ["", "localhost:4810", "ftp://x", "http://x?y=1", "http://", "http://x#y"] {
        assert!(Client::new(url).is_err(), "{url}");
    }
    let client = Client::new("http://user:secret@127.0.0.1:1/base/").expect("a URL");
    assert_eq!(client.url(), "http://127.0.0.1:1/base");
}

/// A request that is cut at every byte, of it and of its answer, is written once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_that_is_cut_at_any_byte_is_written_once() {
    let world = World::new().await;
    for from in [From::Client, From::Service] {
        let mut whole = 0;
        for after in 0..600 {
            let cut = if after % 2 == 0 { Cut::Both } else { Cut::ClientOnly };
            let plan = Plan { from, after, cut };
            let proxy = Cutter::start(world.service.port, [plan]).await;
            let topic = name(&format!("{from:?}-{after}"));
            let events = [event("a", "1"), event("b", "2")].map(|event| event.expect("an event"));
            let writer = client(&proxy.url()).writer();
            let written = writer.transaction(&topic, &events).await;
            let written = written.unwrap_or_else(|error| panic!("{from:?} {after}: {error}"));
            assert_eq!(written.transaction, Some(TransactionNo(0)), "{from:?} {after}");
            let log = world.log(&topic).await;
            assert_eq!(log.len(), 1, "{from:?} {after}: it is there once");
            assert_eq!(log[0].len(), 2);
            whole += usize::from(proxy.cuts() == 0);
        }
        assert!((1..500).contains(&whole), "{from:?}: {whole} were not cut; most must be");
    }
}
