//! The cases: which load, on which subjects; and how a subject takes a load.
//!
//! Not here: the long ones that only Tidelog takes (`long.rs`).

use std::cell::RefCell;
use std::path::Path;
use std::time::{Duration, Instant};

use futures::future::join_all;

use super::client::{self, Events};
use super::postgres::Cluster;
use super::report::{Results, Sample};
use super::subject::{Db, Process, Subject, program, settle};
use super::{nats, raw, redis, usage};

/// What is sent.
#[derive(Clone, Copy)]
pub enum Load {
    /// One producer, one request, NDJSON; `folded` waits until the surface has caught up.
    Stream { events: Events, folded: bool },
    /// One event a request, each connection waits for its answer.
    Single { connections: usize, topics: usize, events: Events },
    /// `size` events a request, each connection waits for its answer.
    Batch { connections: usize, size: usize, events: Events },
}

pub struct Case {
    pub name: &'static str,
    pub about: &'static str,
    pub load: Load,
    pub subjects: Vec<Subject>,
}

use Db::{Postgres, Sqlite};
use Subject::{
    Echo, Grouped, InsertPerRequest, JetStream, RawInsert, RawLog, RawSurface, Redis, Tidelog,
};

/// Loads of `percent` of their full size.
pub fn cases(percent: usize) -> Vec<Case> {
    let many =
        |count: usize, keys| Events { count: (count * percent / 100).max(2_000), keys, offset: 0 };
    let single = |connections, topics, count| Load::Single {
        connections,
        topics,
        events: many(count, None),
    };
    let batch = |connections, size, count| {
        let events = many(count, None);
        let count = events.count.next_multiple_of(connections * size);
        Load::Batch { connections, size, events: Events { count, ..events } }
    };
    let peers = [Redis, JetStream(true), JetStream(false)];
    let with = |first: &[Subject]| -> Vec<Subject> { first.iter().copied().chain(peers).collect() };
    let both = [Tidelog(Postgres), Tidelog(Sqlite)];
    let requests = with(&[both[0], both[1], InsertPerRequest]);
    vec![
        Case {
            name: "stream-updates",
            about: "one producer streams NDJSON to one topic, updates of 10,000 keys",
            load: Load::Stream { events: many(1_000_000, Some(10_000)), folded: false },
            subjects: vec![
                both[0],
                RawLog(Postgres, 1000),
                RawLog(Postgres, 2000),
                both[1],
                RawLog(Sqlite, 1000),
                RawLog(Sqlite, 2000),
            ],
        },
        Case {
            name: "stream-new",
            about: "the same with keys never seen, until the surface has caught up",
            load: Load::Stream { events: many(1_000_000, None), folded: true },
            subjects: vec![both[0], RawSurface(Postgres), both[1], RawSurface(Sqlite)],
        },
        Case {
            name: "single-64",
            about: "64 connections, one event a request, one topic",
            load: single(64, 1, 100_000),
            subjects: with(&[both[0], both[1], Grouped, InsertPerRequest, Echo]),
        },
        Case {
            name: "single-64-topics",
            about: "64 connections, one event a request, 10,000 topics",
            load: single(64, 10_000, 100_000),
            subjects: both.to_vec(),
        },
        Case {
            name: "single-1",
            about: "one connection, one event at a time",
            load: single(1, 1, 6_000),
            subjects: with(&[both[0], both[1], RawInsert, Grouped, InsertPerRequest, Echo]),
        },
        Case {
            name: "batch-1x100",
            about: "one connection, 100 events a request",
            load: batch(1, 100, 100_000),
            subjects: requests.clone(),
        },
        Case {
            name: "batch-8x100",
            about: "8 connections, 100 events a request",
            load: batch(8, 100, 200_000),
            subjects: requests.clone(),
        },
        Case {
            name: "batch-1x1000",
            about: "one connection, 1,000 events a request",
            load: batch(1, 1000, 300_000),
            subjects: requests.clone(),
        },
        Case {
            name: "batch-8x1000",
            about: "8 connections, 1,000 events a request",
            load: batch(8, 1000, 400_000),
            subjects: requests,
        },
    ]
}

/// The points of the plot.
pub fn concurrency(percent: usize) -> Vec<Case> {
    let points = [("1", 1, 4_000), ("4", 4, 20_000), ("16", 16, 50_000), ("64", 64, 80_000)];
    let points = points.into_iter().chain([("256", 256, 100_000)]);
    points
        .map(|(name, connections, count)| Case {
            name,
            about: "connections, one event a request, one topic",
            load: Load::Single {
                connections,
                topics: 1,
                events: Events { count: (count * percent / 100).max(512), keys: None, offset: 0 },
            },
            subjects: vec![Tidelog(Postgres), Tidelog(Sqlite), InsertPerRequest, Redis],
        })
        .collect()
}

/// Why a subject cannot be measured here.
fn missing(subject: Subject) -> Option<&'static str> {
    match subject {
        Redis if program("redis-server").is_none() => Some("redis-server"),
        JetStream(_) if program("nats-server").is_none() => Some("nats-server"),
        _ => None,
    }
}

/// Runs a case: all subjects in turn, round by round.
pub async fn run(case: &Case, cluster: &Cluster, rounds: usize) -> Results {
    let (there, gone): (Vec<_>, Vec<_>) =
        case.subjects.iter().copied().partition(|subject| missing(*subject).is_none());
    for program in gone.into_iter().filter_map(missing) {
        eprintln!("without {program}, which is not installed (scripts/bench installs it)");
    }
    let mut samples: Vec<_> = there.iter().map(|subject| (*subject, Vec::new())).collect();
    for round in 0..rounds {
        for (subject, samples) in &mut samples {
            let limit = Duration::from_secs(180);
            let sample = tokio::time::timeout(limit, measure(*subject, case.load, cluster)).await;
            let sample = sample.expect("a measurement ends within three minutes");
            let (name, rate) = (subject.name().replace('*', ""), sample.rate());
            eprintln!("{:<18} {} {name:<42} {rate:>9.0}/s", case.name, round + 1);
            samples.push(sample);
        }
    }
    Results { case: case.name.to_owned(), about: case.about.to_owned(), samples }
}

async fn measure(subject: Subject, load: Load, cluster: &Cluster) -> Sample {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let url = cluster.database();
    settle(cluster);
    let sample = measure_on(subject, load, cluster, &url, dir.path()).await;
    cluster.drop_database(&url); // Twenty of them would fill a disk.
    sample
}

async fn measure_on(
    subject: Subject,
    load: Load,
    cluster: &Cluster,
    url: &str,
    dir: &Path,
) -> Sample {
    match subject {
        RawLog(..) | RawSurface(_) | RawInsert => raw_load(subject, load, cluster, url).await,
        Tidelog(db) => {
            let store = if db == Postgres { url } else { "sqlite:bench.db" };
            let process = Process::tidelog(store, dir);
            let before = usage::disk(dir);
            let mut sample = service(subject, &process, load, cluster).await;
            sample.disk = match db {
                Sqlite => usage::disk(dir).saturating_sub(before),
                Postgres => size(cluster, url),
            };
            sample
        }
        InsertPerRequest | Grouped | Echo => {
            let url = (subject != Echo).then_some(url);
            let process = Process::baseline(url, subject == Grouped);
            service(subject, &process, load, cluster).await
        }
        Redis => {
            let process = Process::redis(dir).await;
            service(subject, &process, load, cluster).await
        }
        JetStream(durable) => {
            let process = Process::nats(dir, durable).await;
            nats::Connection::open(&process.address, 9_999).await.create_stream().await;
            service(subject, &process, load, cluster).await
        }
    }
}

/// Bytes of a database.
fn size(cluster: &Cluster, url: &str) -> u64 {
    cluster.sql(url, "SELECT pg_database_size(current_database())").parse().unwrap_or_default()
}

async fn raw_load(subject: Subject, load: Load, cluster: &Cluster, url: &str) -> Sample {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let path = dir.path().join("raw.db");
    let began = Cpu::now(None, cluster);
    let mut sample = match (subject, load) {
        (RawLog(Postgres, batch), Load::Stream { events, .. }) => {
            let seconds = raw::postgres(url, events, batch, false).await;
            Sample { events: events.count, seconds, ..Sample::default() }
        }
        (RawSurface(Postgres), Load::Stream { events, .. }) => {
            let seconds = raw::postgres(url, events, 1000, true).await;
            Sample { events: events.count, seconds, ..Sample::default() }
        }
        (RawLog(Sqlite, batch), Load::Stream { events, .. }) => {
            let seconds = raw::sqlite(&path, events, batch, false);
            Sample { events: events.count, seconds, ..Sample::default() }
        }
        (RawSurface(Sqlite), Load::Stream { events, .. }) => {
            let seconds = raw::sqlite(&path, events, 1000, true);
            Sample { events: events.count, seconds, ..Sample::default() }
        }
        (RawInsert, Load::Single { events, .. }) => {
            let latencies = raw::postgres_singles(url, events).await;
            let seconds = latencies.iter().map(|us| f64::from(*us)).sum::<f64>() / 1e6;
            Sample { events: events.count, seconds, ..sorted(latencies) }
        }
        _ => unreachable!("no case has such a subject"),
    };
    sample.cpu = began.until_now();
    sample.disk = if path.exists() { usage::disk(dir.path()) } else { size(cluster, url) };
    sample
}

fn sorted(mut latencies: Vec<u32>) -> Sample {
    latencies.sort_unstable();
    Sample { latencies, ..Sample::default() }
}

/// CPU seconds at a moment.
pub struct Cpu<'a> {
    service: Option<u32>,
    cluster: &'a Cluster,
    at: [f64; 3],
}

impl<'a> Cpu<'a> {
    pub fn now(service: Option<u32>, cluster: &'a Cluster) -> Self {
        Self { service, cluster, at: Self::look(service, cluster) }
    }

    fn look(service: Option<u32>, cluster: &Cluster) -> [f64; 3] {
        let children = service.map_or(0.0, usage::cpu);
        // This process has the services as children: only its own part is the client's.
        [children, usage::cpu(cluster.pid()), usage::cpu_alone(std::process::id())]
    }

    pub fn until_now(&self) -> [f64; 3] {
        let now = Self::look(self.service, self.cluster);
        [0, 1, 2].map(|at| (now[at] - self.at[at]).max(0.0))
    }
}

/// Warms a service up, then puts the load on it.
async fn service(subject: Subject, process: &Process, load: Load, cluster: &Cluster) -> Sample {
    let warm = warm_up(load);
    put(subject, &process.address, warm, "warm").await;
    let cpu = Cpu::now(Some(process.id()), cluster);
    let mut sample = put(subject, &process.address, load, "t").await;
    sample.cpu = cpu.until_now();
    sample.memory = usage::memory(process.id()).0;
    sample
}

/// Connections, statements and log files of the database; and the topics, where there are many.
fn warm_up(load: Load) -> Load {
    let other = |events: Events, count| Events { count, offset: 50_000_000, ..events };
    match load {
        Load::Stream { events, .. } => Load::Stream { events: other(events, 50_000), folded: true },
        Load::Single { connections, topics, events } => {
            let count = if topics > 1 { topics * 4 } else { (connections * 100).max(1_000) };
            Load::Single { connections, topics, events: other(events, count) }
        }
        Load::Batch { connections, size, events } => {
            Load::Batch { connections, size, events: other(events, connections * size * 10) }
        }
    }
}

pub async fn put(subject: Subject, address: &str, load: Load, topic: &str) -> Sample {
    match load {
        Load::Stream { events, folded } => {
            let mut seconds = client::stream(address, topic, events).await;
            if folded {
                let began = Instant::now();
                let path = format!("/v1/topics/{topic}/surface?limit=1");
                let mut connection = client::Connection::open(address).await;
                connection.get(&path, "application/json", |_| ()).await;
                seconds += began.elapsed().as_secs_f64();
            }
            Sample { events: events.count, seconds, ..Sample::default() }
        }
        Load::Single { connections, topics, events } => {
            // Where there is more than one topic they are the same in the warm-up.
            let topic = if topics > 1 { "many" } else { topic };
            requests(subject, address, connections, 1, topics, events, topic).await
        }
        Load::Batch { connections, size, events } => {
            requests(subject, address, connections, size, 1, events, topic).await
        }
    }
}

/// Connections that each send requests of `size` events, one after the other.
async fn requests(
    subject: Subject,
    address: &str,
    connections: usize,
    size: usize,
    topics: usize,
    events: Events,
    topic: &str,
) -> Sample {
    let each = events.count / connections / size;
    let latencies = RefCell::new(Vec::with_capacity(each * connections));
    let mut all = join_all((0..connections).map(|n| Sender::open(subject, address, n))).await;
    let began = Instant::now();
    join_all(all.iter_mut().enumerate().map(async |(connection, sender)| {
        for n in 0..each {
            let first = (connection * each + n) * size;
            let topic = if topics > 1 {
                // Spread evenly (by the golden ratio), so that the warm-up leaves none out, and not in step
                // with the connections.
                let spread = (first as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
                format!("{topic}-{}", (spread as usize * topics) >> 32)
            } else {
                topic.to_owned()
            };
            let began = Instant::now();
            sender.send(&topic, events, first..first + size).await;
            latencies.borrow_mut().push(began.elapsed().as_micros() as u32);
        }
    }))
    .await;
    let seconds = began.elapsed().as_secs_f64();
    Sample { events: each * connections * size, seconds, ..sorted(latencies.into_inner()) }
}

enum Sender {
    Http(client::Connection, Subject),
    Redis(redis::Connection),
    Nats(nats::Connection),
}

impl Sender {
    async fn open(subject: Subject, address: &str, number: usize) -> Self {
        match subject {
            Redis => Self::Redis(redis::Connection::open(address).await),
            JetStream(_) => Self::Nats(nats::Connection::open(address, number).await),
            _ => Self::Http(client::Connection::open(address).await, subject),
        }
    }

    async fn send(&mut self, topic: &str, events: Events, numbers: std::ops::Range<usize>) {
        let size = numbers.len();
        match self {
            Self::Redis(connection) => connection.add(topic, events, numbers).await,
            Self::Nats(connection) => connection.publish(topic, events, numbers).await,
            Self::Http(connection, subject) => {
                let lines: Vec<String> = numbers.map(|n| events.line(n)).collect();
                let (kind, body) = match size {
                    1 => ("application/json", lines.concat()),
                    _ => ("application/x-ndjson", lines.join("\n")),
                };
                let path = match (*subject, size) {
                    (Echo, _) => "/echo".to_owned(),
                    (InsertPerRequest, 1) => "/insert".to_owned(),
                    (InsertPerRequest, _) => "/insert-many".to_owned(),
                    (Grouped, 1) => "/insert-grouped".to_owned(),
                    (Grouped, _) => unreachable!("no case has it with more"),
                    _ => format!("/v1/topics/{topic}/events"),
                };
                let answer = connection.post(&path, kind, &body).await;
                if size > 1 && matches!(subject, Tidelog(_)) {
                    let complete = answer.windows(15).any(|part| part == b"\"complete\":true");
                    assert!(complete, "{}", String::from_utf8_lossy(answer));
                }
            }
        }
    }
}
