//! How quickly events reach live readers, how many of them, and what a reader costs.
//!
//! ```text
//! cargo bench --bench live                 # all cases, once, about a minute
//! cargo bench --bench live -- --readers 10 # fewer readers
//! cargo bench --bench live -- --hints      # only what hints cost those who write
//! ```
//!
//! Client, service and database share the machine. Readers take NDJSON over HTTP/1.1, each on a
//! connection of its own, and only look for the last event, so that the service is what is measured.

mod bare;
#[path = "../throughput/client.rs"]
#[allow(dead_code, reason = "the other benchmark uses the rest")]
mod client;
#[path = "../../tests/support/postgres.rs"]
mod postgres;
#[path = "../throughput/usage.rs"]
mod usage;

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use futures::future::join_all;
use postgres::Cluster;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Events that are delivered to each reader, where there are so many readers.
const DELIVERED: [(usize, usize); 3] = [(1, 400_000), (100, 100_000), (1000, 20_000)];
/// Single events whose way from ack to reader is timed.
const TIMED: usize = 2_000;
/// What is written in a round of the comparison with and without hints: streamed, and one by one
/// over so many connections. Rounds are in pairs, either first in turn.
const STREAMED: usize = 300_000;
const SINGLE: usize = 40_000;
const CONNECTIONS: usize = 64;
const ROUNDS: usize = 7;
/// What the threads are called on which a store does what is not appending.
const STORE_THREADS: &str = "postgres";
const TOPIC: &str = "/v1/topics/live/events";

struct Service {
    process: Child,
    address: String,
}

impl Service {
    fn start(store: &str) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tidelog"));
        command.args(["serve", "--listen", "127.0.0.1:0", "--store", store]);
        Self::run(command.args(["--log-format", "json"]))
    }

    /// The same service out of this program, see `bare.rs`.
    fn bare(store: &str, hints: bool) -> Self {
        let mut command = Command::new(std::env::current_exe().expect("it has a path"));
        Self::run(command.args(["--serve", store, if hints { "hints" } else { "silent" }]))
    }

    fn run(command: &mut Command) -> Self {
        let mut process = command.stderr(Stdio::piped()).spawn().expect("it starts");
        let mut lines = BufReader::new(process.stderr.take().expect("it is piped")).lines();
        let address = lines.by_ref().map(|line| line.expect("a line")).find_map(|line| {
            let at = line.find("http://")? + "http://".len();
            let end = line[at..].find(['"', ' ', '/'])?;
            Some(line[at..at + end].to_owned())
        });
        // Whoever writes to a pipe that nobody reads stops one day.
        std::thread::spawn(move || lines.for_each(drop));
        Self { process, address: address.expect("it says where it listens") }
    }

    /// Resident memory in KiB: now, and at its highest.
    fn memory(&self) -> (f64, f64) {
        let (now, peak) = usage::memory(self.process.id());
        (now * 1024.0, peak * 1024.0)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

async fn connect(service: &Service) -> TcpStream {
    let stream = TcpStream::connect(&service.address).await.expect("it listens");
    stream.set_nodelay(true).expect("it is TCP");
    stream
}

/// A reader that has been answered.
struct Reader {
    stream: TcpStream,
    text: Vec<u8>,
}

impl Reader {
    async fn begin(service: &Service, from: u64) -> Self {
        let mut stream = connect(service).await;
        let request =
            format!("GET {TOPIC}?follow=true&from={from} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("it is sent");
        let mut reader = Self { stream, text: Vec::new() };
        reader.until(b"\r\n\r\n").await;
        reader
    }

    /// Reads until this has come, and forgets what was before.
    async fn until(&mut self, what: &[u8]) {
        let mut buffer = vec![0; 256 << 10];
        loop {
            if let Some(at) = memchr::memmem::find(&self.text, what) {
                self.text.drain(..at + what.len());
                return;
            }
            let kept = self.text.len().saturating_sub(what.len());
            self.text.drain(..kept);
            let count = self.stream.read(&mut buffer).await.expect("it is received");
            assert!(count > 0, "the answer ended");
            self.text.extend_from_slice(&buffer[..count]);
        }
    }

    async fn until_event(&mut self, seq: u64) {
        self.until(format!("{{\"seq\":{seq},").as_bytes()).await;
    }
}

fn event(number: usize) -> String {
    let pad = "x".repeat(160);
    format!(
        "{{\"key\":\"key-{number:016}\",\"data\":{{\"number\":1{number:011},\"pad\":\"{pad}\"}}}}"
    )
}

/// One producer, one request; returns once all is acknowledged.
async fn write(service: &Service, numbers: std::ops::Range<usize>) {
    let mut stream = connect(service).await;
    let body: Vec<u8> = numbers.flat_map(|number| (event(number) + "\n").into_bytes()).collect();
    let head = format!(
        "POST {TOPIC}?acks=summary HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\
         Content-Type: application/x-ndjson\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.expect("it is sent");
    stream.write_all(&body).await.expect("it is sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("it is received");
    assert!(answer.contains("\"complete\":true"), "{answer}");
}

/// One event a request, on one connection; returns once it is acknowledged.
async fn write_one(stream: &mut TcpStream, number: usize) {
    let body = event(number);
    let request = format!(
        "POST {TOPIC} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.expect("it is sent");
    let mut answer = Vec::new();
    while !answer.ends_with(b"}") {
        let count = stream.read_buf(&mut answer).await.expect("it is received");
        assert!(count > 0, "the answer ended");
    }
}

async fn delivered(name: &str, store: &str, readers: usize, events: usize) {
    let service = Service::start(store);
    write(&service, 0..10_000).await;
    let (before, _) = service.memory();
    let mut attached: Vec<Reader> = Vec::new();
    for _ in 0..readers {
        attached.push(Reader::begin(&service, 10_000).await);
    }
    let (idle, _) = service.memory();
    let began = Instant::now();
    let last = (10_000 + events - 1) as u64;
    let writing = async {
        write(&service, 10_000..10_000 + events).await;
        began.elapsed()
    };
    let reading = join_all(attached.iter_mut().map(|reader| reader.until_event(last)));
    let (wrote, _) = futures::join!(writing, reading);
    let took = began.elapsed();
    let (_, peak) = service.memory();
    println!(
        "{name:<10} {readers:>4} readers: written {:>8.0}/s, delivered {:>9.0}/s; a reader costs \
         {:.0} KiB idle, at most {:.0} KiB",
        events as f64 / wrote.as_secs_f64(),
        (events * readers) as f64 / took.as_secs_f64(),
        (idle - before) / readers as f64,
        (peak - before) / readers as f64,
    );
}

/// From the ack to the reader, one event after the other.
async fn latency(name: &str, writer: &Service, reader: &Service) {
    write(writer, 0..1000).await;
    let mut reader = Reader::begin(reader, 1000).await;
    let mut producer = connect(writer).await;
    let mut took = Vec::new();
    for number in 1000..1000 + TIMED {
        let writing = async {
            write_one(&mut producer, number).await;
            Instant::now()
        };
        let reading = async {
            reader.until_event(number as u64).await;
            Instant::now()
        };
        let (acked, read) = futures::join!(writing, reading);
        took.push(read.saturating_duration_since(acked));
        // Not in step with anything: what is gathered for a hint is a few milliseconds' worth.
        tokio::time::sleep(Duration::from_millis(number as u64 % 7)).await;
    }
    took.sort();
    let at = |percent: usize| took[took.len() * percent / 100];
    println!("{name}: p50 {:?}, p95 {:?}, p99 {:?}", at(50), at(95), at(99));
}

/// Single events over many connections. Events a second.
async fn single(service: &Service, topic: &str) -> f64 {
    let path = format!("/v1/topics/{topic}/events");
    let began = Instant::now();
    let each = SINGLE / CONNECTIONS;
    join_all((0..CONNECTIONS).map(|connection| {
        let path = &path;
        async move {
            let mut stream = client::Connection::open(&service.address).await;
            for number in 0..each {
                let body = event(connection * each + number);
                stream.post(path, "application/json", &body).await;
            }
        }
    }))
    .await;
    (each * CONNECTIONS) as f64 / began.elapsed().as_secs_f64()
}

async fn streamed(service: &Service, topic: &str) -> f64 {
    let events = client::Events { count: STREAMED, keys: Some(10_000), offset: 0 };
    let seconds = client::stream(&service.address, topic, events).await;
    STREAMED as f64 / seconds
}

/// CPU seconds, of what hints use and of everything.
#[derive(Clone, Copy, Default)]
struct Spent {
    hints: f64,
    all: f64,
}

impl Spent {
    fn add(&mut self, from: Self, to: Self) {
        self.hints += to.hints - from.hints;
        self.all += to.all - from.all;
    }

    /// Until now, on the way from a service that tells to one that listens: the connections for
    /// hints, the threads of the store that serve them (and all else that is in the background), and
    /// the whole second instance.
    fn now(cluster: &Cluster, store: &str, telling: &Service, listening: &Service) -> Self {
        let connections = "SELECT pid FROM pg_stat_activity
            WHERE datname = current_database() AND query ~ 'pg_notify|LISTEN'
                AND pid <> pg_backend_pid()";
        let pids = cluster.sql(store, connections);
        let pids = pids.lines().map(|pid| pid.parse().expect("a process id"));
        let [telling, listening] = [telling, listening].map(|service| service.process.id());
        let others = usage::cpu(listening);
        let hints = pids.map(usage::cpu_alone).sum::<f64>()
            + usage::cpu_of_threads(telling, STORE_THREADS)
            + others;
        let client = usage::cpu_alone(std::process::id());
        Self { hints, all: usage::cpu(telling) + usage::cpu(cluster.pid()) + others + client }
    }
}

/// Whoever writes, with hints and without: two services, each with a second instance that listens
/// because it has a reader, in turn. Rates vary more than hints cost, so what they use of the CPU is
/// counted as well.
async fn cost_of_hints(cluster: &Cluster) {
    let stores = [cluster.database(), cluster.database()];
    let services = [Service::bare(&stores[0], false), Service::bare(&stores[1], true)];
    let listening = stores.each_ref().map(|store| Service::start(store));
    let readers = join_all(listening.iter().map(|service| Reader::begin(service, 0))).await;
    let spent = || Spent::now(cluster, &stores[1], &services[1], &listening[1]);
    let mut shares = [Spent::default(); 2];
    let mut rates: [[Vec<f64>; 2]; 2] = Default::default();
    for round in 0..=ROUNDS {
        for turn in 0..2 {
            let hints = (round + turn) % 2;
            let service = &services[hints];
            let begun = spent();
            let one_by_one = single(service, &format!("single-{round}")).await;
            let between = spent();
            let found = [one_by_one, streamed(service, &format!("streamed-{round}")).await];
            if round > 0 {
                (0..2).for_each(|load| rates[load][hints].push(found[load])); // After a warm-up.
            }
            if round > 0 && hints == 1 {
                shares[0].add(begun, between);
                shares[1].add(between, spent());
            }
        }
    }
    drop(readers);
    let loads = ["single events, 64 connections", "one stream"];
    for ((name, [without, with]), Spent { hints, all }) in loads.iter().zip(rates).zip(shares) {
        let pairs: Vec<f64> =
            without.iter().zip(&with).map(|(a, b)| 100.0 * (1.0 - b / a)).collect();
        println!(
            "hints, {name}: {:.2} % of all CPU ({hints:.2} of {all:.1} s); {:.0}/s without, {:.0}/s \
             with; cost of a pair: {:.1} % in the median ({:.1} to {:.1})",
            100.0 * hints / all,
            median(without),
            median(with),
            median(pairs.clone()),
            pairs.iter().copied().fold(f64::INFINITY, f64::min),
            pairs.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        );
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

async fn all(most: usize, only_hints: bool) {
    let cluster = Cluster::new(&["max_wal_size=4GB", "min_wal_size=1GB"]);
    cost_of_hints(&cluster).await;
    if only_hints {
        return;
    }
    for (readers, events) in DELIVERED.into_iter().filter(|(readers, _)| *readers <= most) {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let store = format!("sqlite:{}", dir.path().join("bench.db").display());
        delivered("SQLite", &store, readers, events).await;
        delivered("PostgreSQL", &cluster.database(), readers, events).await;
    }
    let store = cluster.database();
    let services = [Service::start(&store), Service::start(&store)];
    latency("from ack to reader, same instance", &services[0], &services[0]).await;
    let store = cluster.database();
    let services = [Service::start(&store), Service::start(&store)];
    latency("from ack to reader, other instance", &services[0], &services[1]).await;
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, serve, store, hints] = &arguments[..]
        && serve == "--serve"
    {
        return actix_web::rt::System::new().block_on(bare::serve(store, hints == "hints"));
    }
    let only_hints = arguments.iter().any(|argument| argument == "--hints");
    let given = arguments.iter().position(|argument| argument == "--readers");
    let most = given.map_or(1000, |at| arguments[at + 1].parse().expect("--readers NUMBER"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let limit = Duration::from_secs(600);
        tokio::time::timeout(limit, all(most, only_hints)).await.expect("it ends");
    });
}
