//! What an event costs as a topic grows: millions one after the other into one topic, and beside
//! the last ones, in turn, the first million of fresh topics in the same database. So a disk that
//! writes behind and a machine that changes its speed slow both.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::case::{Load, put};
use super::client::Events;
use super::long::{forget, store};
use super::postgres::Cluster;
use super::report::{median, thousands};
use super::subject::{Db, Process, Subject, settle};

const PARTS: usize = 20;

/// So many of the last parts have a fresh topic beside them.
const COMPARED: usize = 5;

/// Events a second, part by part, until the surface has caught up.
pub async fn growth(cluster: &Cluster, percent: usize) -> (String, Value) {
    let part = (1_000_000 * percent / 100).max(5_000);
    let mut text = format!(
        "\n### `growth`: {PARTS} times {} events into one topic, until the surface has caught up\n\n\
         | | first | tenth | the last {COMPARED}, median | fresh topics in turn with them, median | \
         last against fresh |\n| --- | ---: | ---: | ---: | ---: | ---: |\n",
        thousands(part as f64)
    );
    let mut found = Vec::new();
    for (db, keys) in [
        (Db::Postgres, Some(100_000)),
        (Db::Postgres, None),
        (Db::Sqlite, Some(100_000)),
        (Db::Sqlite, None),
    ] {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let url = store(db, cluster);
        let service = Process::tidelog(&url, dir.path());
        let subject = Subject::Tidelog(db);
        let stream = async |topic: &str, count, offset| {
            settle(cluster); // Of PostgreSQL alone.
            let load = Load::Stream { events: Events { count, keys, offset }, folded: true };
            put(subject, &service.address, load, topic).await.rate()
        };
        let fresh_topic = |n: usize| format!("fresh-{n}");
        // All are there from the begin on, with the keys that are to be updated, and one behind them:
        // the last topic of an index is cheaper.
        let topics = (PARTS - COMPARED..PARTS).map(fresh_topic).chain(["behind".to_owned()]);
        for topic in ["t".to_owned()].into_iter().chain(topics) {
            stream(&topic, keys.unwrap_or(1).min(part), PARTS * part).await;
        }
        let (mut old, mut fresh) = (Vec::new(), Vec::new());
        for n in 0..PARTS {
            let compared = n >= PARTS - COMPARED;
            let beside = async |fresh: &mut Vec<f64>| {
                fresh.push(stream(&fresh_topic(n), part, 0).await);
            };
            // Who comes first has a quieter disk.
            if compared && n % 2 == 0 {
                beside(&mut fresh).await;
            }
            old.push(stream("t", part, n * part).await);
            if compared && n % 2 == 1 {
                beside(&mut fresh).await;
            }
        }
        drop(service);
        forget(cluster, &url);
        let kind = keys.map_or("new keys", |_| "updates of 100,000 keys");
        let name = format!("{}, {kind}", subject.name());
        let last = median(old[PARTS - COMPARED..].iter().copied());
        let beside = median(fresh.iter().copied());
        let _ = writeln!(
            text,
            "| {name} | {} | {} | {} | {} | {:.2} |",
            thousands(old[0]),
            thousands(old[PARTS / 2 - 1]),
            thousands(last),
            thousands(beside),
            last / beside,
        );
        let name = name.replace('*', "");
        eprintln!("growth             {name} {old:.0?} {fresh:.0?}");
        found.push(json!({ "subject": name, "events_per_second": old, "fresh": fresh }));
    }
    (text, json!({ "case": "growth", "subjects": found }))
}
