//! How far a key's chain of versions is walked: seen by whether the walk came by a break in it.

use tidelog::domain::{Key, Seq, TopicName};
use tidelog::store::{Direction, EventSourceReader, Scan};

/// The topic `t` has ten versions of the key `k` and nothing else, and the chain is broken at seq 8.
pub async fn begin_where_they_are_asked_to(store: &impl EventSourceReader) {
    let topic = TopicName::parse("t").expect("a topic name");
    let key = Key::parse("k".into()).expect("a key");
    let scan = Scan {
        from: Seq(0),
        to: Seq(5),
        limit: 100,
        bytes: usize::MAX,
        direction: Direction::Forward,
    };
    for (to, expected) in [(5, 6), (9, 0)] {
        let scan = Scan { to: Seq(to), ..scan };
        let found = store.history(&topic, &key, scan).await.expect("a history");
        assert_eq!(found.iter().filter(|read| read.event.version.seq <= Seq(5)).count(), expected);
        let stretch = (Seq(0), Seq(to));
        let found = store.versions(&topic, &key, stretch, 100).await.expect("versions");
        assert_eq!(found.iter().filter(|seq| **seq <= Seq(5)).count(), expected);
    }
}
