//! How a topic is taken again after the store has failed: without haste, without loss, without
//! getting into its own way.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tidelog::topic::{Settings, Topics, WriteError};

use crate::support::*;

async fn warm(settings: Settings) -> (Arc<FaultyStore>, Topics) {
    let store = FaultyStore::new();
    let topics = Topics::new(Arc::clone(&store) as _, settings);
    topics.submit(&topic(), write("first", "1")).await.expect("the store is there");
    (store, topics)
}

fn impatient() -> Settings {
    Settings { write_timeout: Duration::from_secs(1), ..Settings::default() }
}

/// Found by a review: each topic of a full store was taken two hundred times a second.
#[actix_rt::test]
async fn a_store_that_takes_nothing_is_asked_less_and_less_often() {
    let (store, topics) = warm(impatient()).await;
    *store.full.lock() = true;
    let outcome = topics.submit(&topic(), write("a", "1")).await;
    assert_eq!(outcome, Err(WriteError::Unavailable));
    let opens = store.opens.load(Ordering::SeqCst);
    assert!(opens < 20, "taken {opens} times in a second");
    *store.full.lock() = false;
    assert!(topics.submit(&topic(), write("a", "1")).await.is_ok());
}

/// Found by a review: a take that was still pausing when its commands were given up fenced the
/// take that came after it.
#[actix_rt::test]
async fn a_take_that_nobody_waits_for_any_more_is_not_made() {
    let (store, topics) = warm(impatient()).await;
    *store.down.lock() = true;
    let outcome = topics.submit(&topic(), write("a", "1")).await;
    assert_eq!(outcome, Err(WriteError::Unavailable));
    *store.down.lock() = false;
    topics.submit(&topic(), write("b", "1")).await.expect("it is back");
    let opens = store.opens.load(Ordering::SeqCst);
    // The longest pause, and more.
    let until = Instant::now() + Duration::from_millis(1200);
    let mut seqs = 2..;
    while Instant::now() < until {
        let receipt = topics.submit(&topic(), write("c", &seqs.start.to_string())).await.unwrap();
        assert_eq!(Some(seq(&receipt)), seqs.next());
    }
    assert_eq!(store.opens.load(Ordering::SeqCst), opens, "the store was well all the time");
}

/// Found by a review: the actor retired, and its successor knew nothing of the loss.
#[actix_rt::test]
async fn a_loss_of_acknowledged_events_is_not_forgotten_while_the_topic_idles() {
    let idle = Duration::from_millis(10);
    let (store, topics) = warm(Settings { topic_idle: idle, ..Settings::default() }).await;
    let lost = store.lose();
    assert_eq!(topics.submit(&topic(), write("a", "1")).await, Err(WriteError::Unavailable));
    let until = Instant::now() + idle * 20;
    while Instant::now() < until {
        tokio::task::yield_now().await;
    }
    assert_eq!(topics.submit(&topic(), write("b", "1")).await, Err(WriteError::Unavailable));
    store.find(lost);
    let receipt = topics.submit(&topic(), write("c", "1")).await.expect("all is there again");
    assert_eq!(seq(&receipt), 1);
}

/// Found by a review: the surface was brought forward before the store was asked.
#[actix_rt::test]
async fn what_became_of_a_batch_is_told_however_long_the_fold_after_it_takes() {
    let (store, topics) = warm(impatient()).await;
    *store.unfolded.lock() = true;
    let slow = store.folding.lock().await;
    store.fail(0, Fault::UnknownDone);
    let receipt = topics.submit(&topic(), write("a", "1")).await.expect("the store can be asked");
    assert_eq!(seq(&receipt), 1);
    let topic = topic();
    let mut next = Box::pin(topics.submit(&topic, write("a", "1")));
    let patience = impatient().write_timeout / 4;
    assert!(tokio::time::timeout(patience, &mut next).await.is_err(), "keys are not known yet");
    drop(slow);
    assert!(next.await.expect("the fold is done").acks[0].duplicate);
}
