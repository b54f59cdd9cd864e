//! How far a key's chain of versions is walked.

use tidelog::domain::Seq;
use tidelog::store::{Direction, EventSourceReader, EventSourceWriter, Scan};

use crate::support::{Place, Topic, key, name};

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

    // Where the chain is broken, it shows whether the walk came by.
    place.raw().execute("UPDATE event SET prev = NULL WHERE seq = 8", []).expect("it is SQL");
    let scan = Scan {
        from: Seq(0),
        to: Seq(5),
        limit: 100,
        bytes: usize::MAX,
        direction: Direction::Forward,
    };
    for (to, expected) in [(5, 6), (9, 0)] {
        let scan = Scan { to: Seq(to), ..scan };
        let found = store.history(&name("t"), &key("k"), scan).await.expect("a history");
        assert_eq!(found.iter().filter(|read| read.event.version.seq <= Seq(5)).count(), expected);
        let stretch = (Seq(0), Seq(to));
        let found = store.versions(&name("t"), &key("k"), stretch, 100).await.expect("versions");
        assert_eq!(found.iter().filter(|seq| **seq <= Seq(5)).count(), expected);
    }
}
