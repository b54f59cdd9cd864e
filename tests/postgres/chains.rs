//! How far a key's chain of versions is walked.

use tidelog::store::EventSourceWriter;

use crate::cluster::Cluster;
use crate::plan::*;
use crate::walks;

#[tokio::test]
async fn a_walk_begins_at_the_version_that_was_asked_for() {
    let cluster = Cluster::shared();
    let url = cluster.database();
    let store = connect(&url).await;
    let mut writer = Writer::open(&store, "t").await;
    let versions: Vec<_> = (0..10).map(|n| one("k", &n.to_string())).collect();
    store.append(writer.batch(&versions)).await.expect("written");

    cluster.sql(&url, "UPDATE tidelog.event SET prev = NULL WHERE seq = 8");
    walks::begin_where_they_are_asked_to(&store).await;
}
