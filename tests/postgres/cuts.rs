//! The connection is cut at every message boundary of an append: what `append` says must be what
//! the fence finds (S3, S5).

use std::time::{Duration, Instant};

use futures::FutureExt as _;

use tidelog::store::postgres::{Config, PostgresStore};
use tidelog::store::{AppendError, EventSourceWriter, StoreError, Wanted};

use crate::cluster::Cluster;
use crate::plan::*;
use crate::proxy::{Cut, Proxy, Side};

/// Messages of an append are far fewer.
const BOUNDARIES_MAX: usize = 40;

/// A writer whose first batch has gone through the lane, which may be connecting again. A client
/// that was cut off may have got its lock only after the fence, and nothing but that (a refused
/// statement keeps it): who then waits in vain takes the topic again, as an actor does.
async fn warmed_up(store: &PostgresStore, direct: &PostgresStore, boundary: usize) -> Writer {
    for _ in 0..3 {
        let mut writer = Writer::open(direct, "t").await;
        let warm = writer.batch(&[one("warm", &format!("{boundary}"))]);
        match store.append(warm).await {
            Ok(()) => return writer,
            Err(AppendError::NotWritten(_)) => {}
            Err(error) => panic!("nothing was cut: {error}"),
        }
    }
    panic!("the lane does not write any more");
}

async fn cut_everywhere(side: Side, cut: Cut) {
    let cluster = Cluster::shared();
    let url = cluster.database();
    let proxy = Proxy::start(cluster.port()).await;
    // Short, because a client cut off between two messages leaves its lock on the topic.
    let lock_timeout = Duration::from_millis(500);
    let connect = async |url: &str| {
        let config = Config { lock_timeout, ..small(url) };
        PostgresStore::connect(&config).await.expect("opens")
    };
    let (store, direct) = (connect(&proxy.through(&url)).await, connect(&url).await);
    let (mut committed, mut lost) = (0, 0);
    for boundary in 0.. {
        assert!(boundary < BOUNDARIES_MAX, "an append never gets through untouched");
        let mut writer = warmed_up(&store, &direct, boundary).await;
        let before = writer.planner.head().expect("it is warm").seq;
        let batch = writer.batch(&[one("k", &format!("{boundary}"))]);
        proxy.cut_after(boundary, side, cut);
        let outcome = store.append(batch.clone()).await;
        let untouched = proxy.disarm();
        let opened = direct.open(&name("t")).await.expect("the fence");
        let last = batch.head().expect("it has an event").seq;
        let wanted = Wanted { marks: vec![last], ..Wanted::default() };
        let facts = direct.facts(opened.topic, wanted).await.expect("facts");
        let there = facts.marks[0] == Some(batch.mark());
        assert_eq!(there, opened.head == batch.head(), "head and mark agree");
        assert_eq!(opened.head.map(|head| head.seq.0), Some(before.0 + u64::from(there)));
        match &outcome {
            Ok(()) => assert!(there, "boundary {boundary}: acknowledged, and not there"),
            Err(AppendError::Unknown(_)) => *(if there { &mut committed } else { &mut lost }) += 1,
            Err(error) => assert!(!there, "boundary {boundary}: it is there, in spite of {error}"),
        }
        if untouched {
            outcome.expect("nothing was cut");
            break;
        }
    }
    match side {
        Side::Frontend => assert!(lost > 0, "some cut came before the server knew"),
        Side::Backend => assert!(committed > 0, "some cut came after the commit"),
    }
    store.close().await;
}

/// Found by a review: what was behind a statement without an answer waited for a minute, and it
/// was not known of it that it had never been sent.
#[tokio::test]
async fn a_server_that_falls_silent_is_given_up_in_time_and_what_was_not_sent_is_refused() {
    let cluster = Cluster::shared();
    let url = cluster.database();
    let proxy = Proxy::start(cluster.port()).await;
    let append_timeout = Duration::from_secs(4);
    let config = Config { append_timeout, ..small(&proxy.through(&url)) };
    let store = PostgresStore::connect(&config).await.expect("opens");
    let mut writer = Writer::open(&store, "t").await;
    // The lane's connection is there.
    store.append(writer.batch(&[one("k", "0")])).await.expect("is written");
    proxy.cut_after(0, Side::Frontend, Cut::Silence);
    let began = Instant::now();
    // One statement holds but one batch of a topic, and two statements are under way at once.
    let batches = [1, 2, 3].map(|n| writer.batch(&[one("k", &n.to_string())]));
    let mut appends = batches.map(|batch| store.append(batch));
    let waiting = (&mut appends[2]).await;
    let refused = matches!(waiting, Err(AppendError::NotWritten(StoreError::Unavailable(_))));
    assert!(refused, "{waiting:?}");
    for sent in &mut appends[..2] {
        assert!(sent.now_or_never().is_none(), "of these nothing is known yet");
    }
    for sent in &mut appends[..2] {
        let outcome = sent.await;
        assert!(matches!(outcome, Err(AppendError::Unknown(_))), "{outcome:?}");
    }
    assert!(began.elapsed() < append_timeout * 3 / 2, "{:?}", began.elapsed());
    let mut writer = Writer::open(&store, "t").await;
    store.append(writer.batch(&[one("k", "4")])).await.expect("another connection");
    store.close().await;
}

#[tokio::test]
async fn a_connection_cut_while_sending_an_append_leaves_no_lie() {
    cut_everywhere(Side::Frontend, Cut::Both).await;
}

#[tokio::test]
async fn a_connection_cut_while_an_append_is_answered_leaves_no_lie() {
    cut_everywhere(Side::Backend, Cut::Both).await;
}

#[tokio::test]
async fn a_client_cut_off_while_sending_an_append_is_told_no_lie() {
    cut_everywhere(Side::Frontend, Cut::ClientOnly).await;
}

#[tokio::test]
async fn a_client_cut_off_from_the_answer_to_an_append_is_told_no_lie() {
    cut_everywhere(Side::Backend, Cut::ClientOnly).await;
}
