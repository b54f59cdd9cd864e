//! What an event costs as a topic grows: millions one after the other into one topic; and in turn
//! with the last ones, the first million of a fresh topic, with a service and a database of its own.
//! So a disk that writes behind and a machine that changes its speed slow both.

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

/// A service with one topic.
struct Grown<'a> {
    cluster: &'a Cluster,
    subject: Subject,
    keys: Option<usize>,
    url: String,
    service: Process,
    _dir: tempfile::TempDir,
}

impl<'a> Grown<'a> {
    /// A topic with the keys that are to be updated, or with as many others.
    async fn fresh(cluster: &'a Cluster, db: Db, keys: Option<usize>) -> Self {
        const WARM: usize = 100_000;
        let dir = tempfile::tempdir().expect("a temporary folder");
        let url = store(db, cluster);
        let service = Process::tidelog(&url, dir.path());
        let grown = Self { cluster, subject: Subject::Tidelog(db), keys, url, service, _dir: dir };
        grown.grow(WARM, 50_000_000).await;
        grown
    }

    /// Events a second until they are acknowledged and the surface has caught up.
    async fn grow(&self, count: usize, offset: usize) -> f64 {
        settle(self.cluster); // Of PostgreSQL alone.
        let load = Load::Stream { events: Events { count, keys: self.keys, offset }, folded: true };
        put(self.subject, &self.service.address, load, "t").await.rate()
    }

    fn end(self) {
        drop(self.service);
        forget(self.cluster, &self.url);
    }
}

/// Events a second, part by part; only of those whose name has `wanted` in it.
pub async fn growth(cluster: &Cluster, percent: usize, wanted: &str) -> (String, Value) {
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
        let kind = keys.map_or("new keys", |_| "updates of 100,000 keys");
        let name = format!("{}, {kind}", Subject::Tidelog(db).name());
        if !name.contains(wanted) {
            continue;
        }
        let topic = Grown::fresh(cluster, db, keys).await;
        let (mut old, mut fresh) = (Vec::new(), Vec::new());
        for n in 0..PARTS {
            let compared = n >= PARTS - COMPARED;
            // Who comes first may have a quieter disk.
            if n % 2 == 0 {
                old.push(topic.grow(part, n * part).await);
            }
            if compared {
                let beside = Grown::fresh(cluster, db, keys).await;
                fresh.push(beside.grow(part, 0).await);
                beside.end();
            }
            if n % 2 == 1 {
                old.push(topic.grow(part, n * part).await);
            }
        }
        topic.end();
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
