//! How far a key's chain of versions is walked.

use tidelog::store::EventSourceWriter;

use crate::support::{Place, Topic};
use crate::walks;

#[tokio::test]
async fn a_walk_begins_at_the_version_that_was_asked_for() {
    let place = Place::new();
    let store = place.open();
    let mut topic = Topic::open(&store, "t").await;
    for n in 0..10 {
        store.append(topic.event("k", &n.to_string())).await.expect("written");
    }
    // These rules know of no earlier versions.
    place.raw().execute("UPDATE event SET prev = seq - 1 WHERE seq > 0", []).expect("it is SQL");

    place.raw().execute("UPDATE event SET prev = NULL WHERE seq = 8", []).expect("it is SQL");
    walks::begin_where_they_are_asked_to(&store).await;
}
