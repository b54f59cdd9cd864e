//! How a topic is taken again after the store has failed: without haste, without loss, without
//! getting into its own way.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

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
