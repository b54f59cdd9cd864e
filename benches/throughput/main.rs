//! How many events a second the whole service writes, next to what raw SQL writes in the same
//! run, on the same machine, on the same disk. The figures are in `docs/performance.md`.
//!
//! ```text
//! cargo bench --bench throughput                # three rounds, about four minutes
//! cargo bench --bench throughput -- --rounds 1  # a quick look
//! ```
//!
//! Every round starts each back-end anew and measures all workloads one after the other, so that
//! a slow minute of the machine hits all of them; the table shows medians over the rounds. Events
//! have 200 bytes of data and keys that were never seen before: the hardest case for the surface.
//! All writes are durable (PostgreSQL with fsync on, SQLite with synchronous=FULL).

mod client;
#[path = "../../tests/support/postgres.rs"]
mod postgres;
mod raw;

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use client::{Load, singles, stream};
use postgres::Cluster;

/// Events that one streaming producer writes.
const STREAMED: usize = 300_000;
/// Events that 64 producers write, one a request.
const CONCURRENT: usize = 60_000;
/// Events that one producer writes, one a request.
const ONE_BY_ONE: usize = 3_000;

const LOG_ONLY: &str = "raw SQL, log only, 1,000 events a commit";
const WITH_SURFACE: &str = "raw SQL, log and surface, 1,000 events a commit";

/// Figures in events a second, by back-end and workload.
type Figures = BTreeMap<(&'static str, usize, &'static str), Vec<f64>>;

/// A running service; ends with the value.
struct Service {
    process: Child,
    address: String,
}

impl Service {
    fn start(store: &str, dir: &Path) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_tidelog"))
            .args(["serve", "--listen", "127.0.0.1:0", "--store", store])
            .args(["--log-format", "json"])
            .current_dir(dir)
            .stderr(Stdio::piped())
            .spawn()
            .expect("the service starts");
        let mut lines = BufReader::new(process.stderr.take().expect("it is piped")).lines();
        let address = lines
            .by_ref()
            .map(|line| line.expect("a line"))
            .find_map(|line| {
                let at = line.find("http://")? + "http://".len();
                let end = line[at..].find(['"', ' ', '/'])?;
                Some(line[at..at + end].to_owned())
            })
            .expect("the service says where it listens");
        // Whoever writes to a pipe that nobody reads stops one day.
        std::thread::spawn(move || lines.for_each(drop));
        Self { process, address }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn record(figures: &mut Figures, store: &'static str, order: usize, what: &'static str, rate: f64) {
    eprintln!("{store:<10} {what:<48} {rate:>9.0}/s");
    figures.entry((store, order, what)).or_default().push(rate);
}

async fn service(figures: &mut Figures, name: &'static str, store: &str, dir: &Path) {
    let service = Service::start(store, dir);
    let address = service.address.as_str();
    // Warms up connections, prepared statements and the log files of the database.
    stream(address, &Load { topic: "warm-up", events: 50_000 }).await;
    let rate = stream(address, &Load { topic: "stream", events: STREAMED }).await;
    record(figures, name, 2, "Tidelog, one streaming producer", rate);
    let rate = singles(address, &Load { topic: "concurrent", events: CONCURRENT }, 64).await;
    record(figures, name, 4, "Tidelog, 64 producers, one event a request", rate);
    let rate = singles(address, &Load { topic: "one-by-one", events: ONE_BY_ONE }, 1).await;
    record(figures, name, 6, "Tidelog, one producer, one event a request", rate);
}

async fn round(figures: &mut Figures) {
    let dir = tempfile::tempdir().expect("a temporary folder");
    service(figures, "SQLite", "sqlite:bench.db", dir.path()).await;
    let raw = raw::sqlite(&dir.path().join("raw.db"), STREAMED, 1000, false);
    record(figures, "SQLite", 0, LOG_ONLY, raw);
    let raw = raw::sqlite(&dir.path().join("raw-surface.db"), STREAMED, 1000, true);
    record(figures, "SQLite", 1, WITH_SURFACE, raw);
    let raw = raw::sqlite(&dir.path().join("raw-one.db"), ONE_BY_ONE, 1, false);
    record(figures, "SQLite", 5, "raw SQL, one event a commit", raw);
    drop(dir);

    let cluster = Cluster::new(&["max_wal_size=4GB", "min_wal_size=1GB"]);
    let url = cluster.database();
    raw::postgres(&url, 50_000, 1000, 2, false).await;
    let rate = raw::postgres(&url, STREAMED, 1000, 2, false).await;
    record(figures, "PostgreSQL", 0, LOG_ONLY, rate);
    let rate = raw::postgres(&url, STREAMED, 1000, 2, true).await;
    record(figures, "PostgreSQL", 1, WITH_SURFACE, rate);
    let rate = raw::postgres_clients(&url, CONCURRENT / 2, 64).await;
    record(figures, "PostgreSQL", 3, "raw SQL, 64 clients, one INSERT a commit", rate);
    let rate = raw::postgres_clients(&url, ONE_BY_ONE, 1).await;
    record(figures, "PostgreSQL", 5, "raw SQL, one client, one INSERT a commit", rate);
    let dir = tempfile::tempdir().expect("a temporary folder");
    service(figures, "PostgreSQL", &cluster.database(), dir.path()).await;
}

fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let given = arguments.iter().position(|argument| argument == "--rounds");
    let rounds = given.map_or(3, |at| arguments[at + 1].parse().expect("--rounds NUMBER"));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime");
    let mut figures = Figures::new();
    for _ in 0..rounds {
        runtime.block_on(async {
            let limit = Duration::from_secs(600);
            tokio::time::timeout(limit, round(&mut figures)).await.expect("a round ends");
        });
    }
    println!(
        "\n| store | what | events/s (median of {rounds}) | all |\n| --- | --- | ---: | --- |"
    );
    for ((store, _, what), rates) in &figures {
        let all: Vec<String> = rates.iter().map(|rate| format!("{rate:.0}")).collect();
        println!("| {store} | {what} | {:.0} | {} |", median(rates), all.join(", "));
    }
    for store in ["SQLite", "PostgreSQL"] {
        let of = |order: usize| {
            let mut found = figures.iter().filter(|((s, o, _), _)| *s == store && *o == order);
            found.next().map(|(_, rates)| median(rates))
        };
        if let (Some(raw), Some(streamed)) = (of(0), of(2)) {
            println!("\n{store}: streaming is {:.2} of raw SQL, log only", streamed / raw);
        }
    }
}
