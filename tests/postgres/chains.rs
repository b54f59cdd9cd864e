//! How far a key's chain of versions is walked.

use tidelog::domain::Seq;
use tidelog::store::{Direction, EventSourceReader, EventSourceWriter, Scan};

use crate::cluster::Cluster;
use crate::plan::*;

#[tokio::test]
async fn a_walk_begins_at_the_version_that_was_asked_for() {
    let cluster = Cluster::shared();
    let url = cluster.database();
    let store = connect(&url).await;
    let mut writer = Writer::open(&store, "t").await;
    let versions: Vec<_> = (0..10).map(|n| one("k", &n.to_string())).collect();
    store.append(writer.batch(&versions)).await.expect("written");

    // Where the chain is broken, it shows whether the walk came by.
    cluster.sql(&url, "UPDATE tidelog.event SET prev = NULL WHERE seq = 8");
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
