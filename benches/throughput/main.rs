//! How many events a second the whole service writes and reads, next to what the database itself,
//! a plain service and other systems do in the same run, on the same machine, on the same disk.
//! The figures are in `docs/performance.md`.
//!
//! ```text
//! scripts/bench                      # installs the peers, then all cases, three rounds
//! cargo bench --bench throughput -- [CASE…] [--subject NAME] [--rounds N] [--percent N] [--json FILE]
//!                                       [--plot FILE]
//! cargo bench --bench throughput -- --list
//! ```
//!
//! Within a case all subjects are measured in turn, round by round, so that a slow minute of the
//! machine hits all of them; tables show medians, and lowest to highest. Events have 200 bytes of
//! data. Every write is durable where a subject can do that: PostgreSQL with fsync on, SQLite with
//! synchronous=FULL. Client, service and database share the machine. `--percent` makes all loads
//! smaller, for a quick look; `--subject` measures only those whose name has this in it.

mod baseline;
mod case;
mod client;
mod grouped;
mod growth;
mod long;
mod nats;
#[path = "../../tests/support/postgres.rs"]
mod postgres;
mod raw;
mod redis;
mod report;
mod subject;
mod usage;

use std::path::PathBuf;

use serde_json::Value;

const LONG: [&str; 4] = ["concurrency", "replay", "memory", "growth"];

/// What the command line asks for.
struct Asked {
    cases: Vec<String>,
    rounds: usize,
    percent: usize,
    subject: String,
    json: Option<PathBuf>,
    plot: Option<PathBuf>,
}

impl Asked {
    fn parse(mut arguments: impl Iterator<Item = String>) -> Self {
        let (cases, subject) = (Vec::new(), String::new());
        let mut asked = Self { cases, rounds: 3, percent: 100, subject, json: None, plot: None };
        let number = |text: Option<String>| text.and_then(|text| text.parse().ok());
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--rounds" => asked.rounds = number(arguments.next()).expect("--rounds NUMBER"),
                "--percent" => asked.percent = number(arguments.next()).expect("--percent NUMBER"),
                "--subject" => asked.subject = arguments.next().expect("--subject NAME"),
                "--json" => asked.json = Some(arguments.next().expect("--json FILE").into()),
                "--plot" => asked.plot = Some(arguments.next().expect("--plot FILE").into()),
                "--bench" => {} // Cargo says so.
                "--list" => {
                    let names = case::cases(100).into_iter().map(|case| case.name).chain(LONG);
                    names.for_each(|name| println!("{name}"));
                    std::process::exit(0);
                }
                name => asked.cases.push(name.to_owned()),
            }
        }
        asked
    }

    fn wants(&self, name: &str) -> bool {
        self.cases.is_empty() || self.cases.iter().any(|case| case == name)
    }
}

async fn all(asked: &Asked) -> Vec<Value> {
    let cluster = subject::cluster();
    let (percent, rounds) = (asked.percent, asked.rounds);
    let mut found = Vec::new();
    for mut case in case::cases(percent).into_iter().filter(|case| asked.wants(case.name)) {
        case.subjects.retain(|subject| subject.name().contains(&asked.subject));
        let results = case::run(&case, &cluster, rounds).await;
        println!("{}", results.table());
        found.push(results.json());
    }
    if asked.wants("concurrency") {
        found.extend(concurrency(asked, &cluster).await);
    }
    if asked.wants("replay") {
        let (table, json) = long::replay(&cluster, percent, rounds).await;
        println!("{table}");
        found.push(json);
    }
    if asked.wants("memory") {
        let (table, json) = long::memory(&cluster, percent).await;
        println!("{table}");
        found.push(json);
    }
    if asked.wants("growth") {
        let (table, json) = growth::growth(&cluster, percent, &asked.subject).await;
        println!("{table}");
        found.push(json);
    }
    found
}

async fn concurrency(asked: &Asked, cluster: &postgres::Cluster) -> Vec<Value> {
    let (mut points, mut found) = (Vec::new(), Vec::new());
    for case in case::concurrency(asked.percent) {
        let results = case::run(&case, cluster, asked.rounds).await;
        println!("{}", results.table());
        points.push((case.name.parse().expect("a number"), results.points()));
        found.push(results.json());
    }
    if let Some(path) = &asked.plot {
        std::fs::write(path, report::plot(&points)).expect("the plot can be written");
    }
    found
}

fn main() {
    let mut arguments = std::env::args().skip(1).peekable();
    if arguments.next_if(|argument| argument == "--serve").is_some() {
        let grouped = arguments.next_if(|argument| argument == "--grouped").is_some();
        let serving = baseline::serve(arguments.next(), grouped);
        let served = actix_web::rt::System::new().block_on(serving);
        return served.expect("it serves");
    }
    let asked = Asked::parse(arguments);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let found = runtime.expect("a runtime").block_on(all(&asked));
    if let Some(path) = &asked.json {
        let text = serde_json::to_string_pretty(&found).expect("it is JSON");
        std::fs::write(path, text).expect("the figures can be written");
    }
}
