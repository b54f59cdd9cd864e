//! What only Tidelog is asked, and what takes long: replay and memory. They are run once, not in
//! rounds; each prints a table of its own. Not here: what an event costs as a topic grows (`growth.rs`).

use std::fmt::Write as _;
use std::time::Instant;

use serde_json::{Value, json};

use super::case::{Load, put};
use super::client::{self, Events};
use super::postgres::Cluster;
use super::raw;
use super::report::{median, thousands};
use super::subject::{Db, Process, Subject};
use super::usage;

pub fn store(db: Db, cluster: &Cluster) -> String {
    match db {
        Db::Postgres => cluster.database(),
        Db::Sqlite => "sqlite:bench.db".to_owned(),
    }
}

pub fn forget(cluster: &Cluster, url: &str) {
    if url.starts_with("postgres") {
        cluster.drop_database(url);
    }
}

/// All events of a topic as NDJSON, against `COPY … TO STDOUT` of the same rows.
pub async fn replay(cluster: &Cluster, percent: usize, rounds: usize) -> (String, Value) {
    let events =
        Events { count: (5_000_000 * percent / 100).max(50_000), keys: Some(100_000), offset: 0 };
    let mut text = format!(
        "\n### `replay`: {} events over NDJSON, from the first to the last\n\n\
         | | events/s | Tidelog is | MiB at most |\n| --- | ---: | ---: | ---: |\n",
        thousands(events.count as f64)
    );
    let mut found = Vec::new();
    for db in [Db::Postgres, Db::Sqlite] {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let url = store(db, cluster);
        let service = Process::tidelog(&url, dir.path());
        client::stream(&service.address, "t", events).await;
        drop(service);
        let service = Process::tidelog(&url, dir.path());
        let (mut rates, mut copies) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            let began = Instant::now();
            let mut lines = 0;
            let mut connection = client::Connection::open(&service.address).await;
            let path = "/v1/topics/t/events";
            let take = |bytes: &[u8]| lines += bytecount(bytes);
            connection.get(path, "application/x-ndjson", take).await;
            assert!(lines >= events.count, "{lines} lines");
            rates.push(events.count as f64 / began.elapsed().as_secs_f64());
            if db == Db::Postgres {
                let (seconds, _) = raw::copy_out(&url).await;
                copies.push(events.count as f64 / seconds);
            }
        }
        let (rate, name) = (median(rates), Subject::Tidelog(db).name());
        let memory = usage::memory(service.id()).1;
        drop(service);
        forget(cluster, &url);
        let _ = if copies.is_empty() {
            writeln!(text, "| {name} | {} | | {memory:.0} |", thousands(rate))
        } else {
            let copy = median(copies);
            let times = rate / copy;
            let (rate, copy) = (thousands(rate), thousands(copy));
            writeln!(
                text,
                "| {name} | {rate} | | {memory:.0} |\n| COPY TO STDOUT | {copy} | {times:.2} × | |"
            )
        };
        found.push(
            json!({ "subject": name.replace('*', ""), "events_per_second": rate, "mib": memory }),
        );
    }
    (text, json!({ "case": "replay", "subjects": found }))
}

fn bytecount(bytes: &[u8]) -> usize {
    bytes.iter().filter(|byte| **byte == b'\n').count()
}

/// Resident memory of the service.
pub async fn memory(cluster: &Cluster, percent: usize) -> (String, Value) {
    let mut text = "\n### `memory`: MiB resident of the service, now (at most)\n\n\
        | | idle | 1 topic, 1,000,000 events streamed | 10,000 active topics | \
        one topic of 10,000,000 keys |\n| --- | ---: | ---: | ---: | ---: |\n"
        .to_owned();
    let mut found = Vec::new();
    let count = |full: usize| (full * percent / 100).max(20_000);
    let new = |count| Events { count, keys: None, offset: 0 };
    let loads = [
        None,
        Some(Load::Stream {
            events: Events { keys: Some(10_000), ..new(count(1_000_000)) },
            folded: false,
        }),
        Some(Load::Single { connections: 64, topics: 10_000, events: new(count(200_000)) }),
        Some(Load::Stream { events: new(count(10_000_000)), folded: false }),
    ];
    for db in [Db::Postgres, Db::Sqlite] {
        let mut row = Vec::new();
        for load in loads {
            let dir = tempfile::tempdir().expect("a temporary folder");
            let url = store(db, cluster);
            let service = Process::tidelog(&url, dir.path());
            if let Some(load) = load {
                put(Subject::Tidelog(db), &service.address, load, "t").await;
            }
            row.push(usage::memory(service.id()));
            drop(service);
            forget(cluster, &url);
        }
        let name = Subject::Tidelog(db).name();
        let cells: Vec<String> =
            row.iter().map(|(now, most)| format!("{now:.0} ({most:.0})")).collect();
        let _ = writeln!(text, "| {name} | {} |", cells.join(" | "));
        eprintln!("memory             {name} {}", cells.join(" "));
        found.push(json!({ "subject": name.replace('*', ""), "mib": row }));
    }
    (text, json!({ "case": "memory", "subjects": found }))
}
