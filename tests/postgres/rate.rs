//! How fast it is, for people who ask: `cargo test --release --test postgres rate -- --ignored
//! --nocapture`. Not a benchmark of record: no warm-up worth the name, one run.

use std::sync::Arc;
use std::time::Instant;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use tidelog::domain::*;
use tidelog::store::EventSourceWriter;
use tidelog::store::postgres::{Config, PostgresStore};

use crate::cluster::Cluster;
use crate::plan::*;

fn commands(batch: usize, events: usize) -> Vec<Command> {
    let json = format!("\"{}\"", "x".repeat(198));
    (0..events).map(|n| one(&format!("key-{batch:07}-{n:07}"), &json)).collect()
}

fn report(what: &str, events: usize, started: Instant) {
    let seconds = started.elapsed().as_secs_f64();
    println!("{what}: {events} events in {seconds:.2} s: {:.0}/s", events as f64 / seconds);
}

async fn one_topic(store: &PostgresStore, events: usize, batches: usize, in_flight: usize) {
    let mut writer = Writer::open(store, &format!("one-{events}-{in_flight}")).await;
    let batches: Vec<Arc<Batch>> =
        (0..batches).map(|n| writer.batch(&commands(n, events))).collect();
    let started = Instant::now();
    let mut appends = futures::stream::iter(&batches)
        .map(|batch| store.append(batch.clone()))
        .buffered(in_flight);
    while let Some(outcome) = appends.next().await {
        outcome.expect("written");
    }
    let what = format!("1 topic, batches of {events}, {in_flight} in flight");
    report(&what, batches.len() * events, started);
    let started = Instant::now();
    let head = writer.planner.head().expect("it has events").seq;
    store.fold(writer.topic, head, None).await.expect("folds");
    report("  its fold, new keys", batches.len() * events, started);
}

async fn many_topics(store: &PostgresStore, topics: usize, rounds: usize) {
    let mut queues = Vec::new();
    for n in 0..topics {
        let mut writer = Writer::open(store, &format!("many-{topics}-{n}")).await;
        queues.push((0..rounds).map(|n| writer.batch(&commands(n, 1))).collect::<Vec<_>>());
    }
    let started = Instant::now();
    let mut running: FuturesUnordered<_> = queues
        .into_iter()
        .map(async |batches: Vec<Arc<Batch>>| {
            for batch in batches {
                store.append(batch).await.expect("written");
            }
        })
        .collect();
    while running.next().await.is_some() {}
    report(&format!("{topics} topics, 1 event at a time each"), topics * rounds, started);
}

#[tokio::test]
#[ignore = "a measurement, not a test"]
async fn rate() {
    let cluster = Cluster::new(&["min_wal_size=4GB", "max_wal_size=4GB", "shared_buffers=512MB"]);
    let url = cluster.database();
    let lanes = std::env::var("LANES").map_or(4, |text| text.parse().expect("a number"));
    let config = Config { lanes, ..Config::new(cluster.socket(&url)) };
    let store = PostgresStore::connect(&config).await.expect("opens");
    for _ in 0..2 {
        one_topic(&store, 1000, 300, 4).await;
        one_topic(&store, 1000, 300, 1).await;
        one_topic(&store, 100, 1000, 4).await;
        one_topic(&store, 1, 3000, 1).await;
        many_topics(&store, 64, 300).await;
        many_topics(&store, 1000, 50).await;
    }
}
