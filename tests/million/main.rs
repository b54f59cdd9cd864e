//! A million events, three in ten of them duplicates, streamed as fast as they are taken: through
//! several topics and two instances on one PostgreSQL, and some more through one on SQLite. Every
//! ack, the log, the surface over HTTP and the views of SQL are what a fold that is computed here
//! says they must be.
//!
//! Each topic has two producers, which take turns and change the instance; at the end both write at
//! once, to different instances. `TIDELOG_SEED` replays what is sent; how requests meet is up to the
//! machine.

#[path = "../support/postgres.rs"]
mod cluster;
mod fold;
#[path = "../support/plain.rs"]
mod plain;
mod producer;
#[path = "../support/program.rs"]
mod program;
mod topic;

use std::sync::Arc;
use std::time::Instant;

use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};

use crate::cluster::Cluster;
use crate::program::Service;
use crate::topic::{Plan, Topic};

fn seed() -> u64 {
    let given = std::env::var("TIDELOG_SEED").map(|seed| seed.parse().expect("a number"));
    let seed = given.unwrap_or_else(|_| rand::rng().random());
    println!("TIDELOG_SEED={seed}");
    seed
}

/// Runs the story of each topic, all at once; `sql` asks the database, in a view's words.
async fn all(plan: Plan, services: Vec<Service>, sql: impl Fn(&str) -> Vec<String>) {
    let (services, began) = (Arc::new(services), Instant::now());
    let mut random = SmallRng::seed_from_u64(seed());
    let stories = (0..plan.topics).map(|n| {
        let topic = Topic::new(format!("t{n}"), SmallRng::from_rng(&mut random));
        let (services, first) = (Arc::clone(&services), n);
        tokio::spawn(async move { topic.live(plan, &services, first).await })
    });
    let stories: Vec<_> = stories.collect();
    let (mut lines, mut duplicates) = (0, 0);
    for story in stories {
        let topic = story.await.expect("every answer is right");
        println!("{}: {} lines, {} s", topic.name, topic.lines(), began.elapsed().as_secs());
        topic.check_views(&sql);
        (lines, duplicates) = (lines + topic.lines(), duplicates + topic.duplicates());
    }
    assert_eq!(lines, plan.topics * plan.lines());
    let percent = duplicates * 100 / lines;
    assert!((28..=32).contains(&percent), "{percent} % duplicates");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_million_events_through_two_instances_on_postgres() {
    let cluster = Cluster::shared();
    let url = cluster.database();
    let services = (0..2).map(|_| Service::start(&url, &[])).collect();
    let plan = Plan { topics: 4, turns: 8, turn: 31_000, at_once: 1_000 };
    assert_eq!(plan.topics * plan.lines(), 1_000_000);
    all(plan, services, |sql| {
        let answer = cluster.sql(&url, &sql.replace("VIEW.", "tidelog."));
        answer.lines().map(str::to_owned).collect()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_thousand_events_on_sqlite() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let file = dir.path().join("tidelog.db");
    let services = vec![Service::start(&format!("sqlite:{}", file.display()), &[])];
    let plan = Plan { topics: 2, turns: 4, turn: 24_000, at_once: 2_000 };
    assert_eq!(plan.topics * plan.lines(), 200_000);
    let conn = rusqlite::Connection::open(&file).expect("it opens");
    all(plan, services, |sql| {
        let mut rows = conn.prepare(&sql.replace("VIEW.", "")).expect("it can be asked");
        let rows = rows.query_map([], |row| row.get(0)).expect("it answers");
        rows.map(|row| row.expect("a text")).collect()
    })
    .await;
}
