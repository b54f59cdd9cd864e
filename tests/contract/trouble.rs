//! Clients that do as the contract says when something goes wrong: each line and each request
//! takes effect once, whatever is killed in between.

use std::io::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use nix::sys::signal::Signal;
use reqwest::{Client, RequestBuilder, Response};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use tidelog::config::Config;
use tidelog::store::sqlite::{Config as File, SqliteStore};

use crate::bad_days::Tidelog;
use crate::postgres::{Cluster, Stop};
use crate::support::*;

const EVENTS: &str = "/v1/topics/t/events";

on_every_backend!(
    a_stream_is_told_that_the_service_ends,
    a_bad_line_ends_its_own_stream_only,
    a_client_that_vanishes_leaves_whole_transactions,
);

/// A line of a producer. Data alternates, so that no line is taken for a duplicate; every third
/// line is a group.
fn line(name: &str, n: u64) -> String {
    let event = |key: &str| format!("{{\"key\":\"{name}{key}\",\"data\":{n}}}");
    match n % 3 {
        0 => format!("{{\"events\":[{},{}]}}\n", event(""), event("-twin")),
        _ => event("") + "\n",
    }
}

/// Sends lines from `from` on until the connection or the service ends, and says how far it got.
async fn produce(request: RequestBuilder, name: &str, from: u64, done: &AtomicU64) -> u64 {
    let (lines, body) = mpsc::channel::<Result<String, Error>>(4);
    let owned = name.to_owned();
    let sending = tokio::spawn(async move {
        for n in from.. {
            if lines.send(Ok(line(&owned, n))).await.is_err() {
                return;
            }
        }
    });
    let body = reqwest::Body::wrap_stream(ReceiverStream::new(body));
    let request = request.header("Content-Type", "application/x-ndjson").body(body);
    let request = request.header("Producer-Id", name).header("Producer-Seq", from);
    let mut next = from;
    if let Ok(mut answer) = request.send().await {
        let mut text = Vec::new();
        while let Ok(Some(piece)) = answer.chunk().await {
            text.extend_from_slice(&piece);
            let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
            for line in text.drain(..whole).collect::<Vec<u8>>().split(|byte| *byte == b'\n') {
                let Ok(line) = serde_json::from_slice::<Value>(line) else { continue };
                if line["line"].is_u64() && line["error"].is_null() {
                    next += 1;
                    assert_eq!(line["line"], next - from, "acks come in order");
                    done.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    }
    sending.abort();
    next
}

/// The log has each line of each producer once, in order and whole, at least up to `acked`.
fn check(log: &[Value], producers: &[(String, u64)]) {
    for (seq, event) in log.iter().enumerate() {
        assert_eq!(event["seq"], seq, "no gaps");
    }
    for (name, acked) in producers {
        let data = |key: &str| -> Vec<u64> {
            let own = log.iter().filter(|event| event["key"] == key);
            own.map(|event| event["data"].as_u64().expect("a number")).collect()
        };
        let own = data(name);
        assert!(own.len() as u64 >= *acked, "{name}: {} of {acked}", own.len());
        assert_eq!(own, (0..own.len() as u64).collect::<Vec<_>>(), "{name}: once and in order");
        let twins: Vec<u64> = own.into_iter().filter(|n| n % 3 == 0).collect();
        assert_eq!(data(&format!("{name}-twin")), twins, "{name}: groups are whole");
    }
}

async fn log_of(client: &Client, url: &str) -> Vec<Value> {
    let request = client.get(format!("{url}{EVENTS}")).header("Accept", "application/x-ndjson");
    lines_of(request.send().await.expect("an answer")).await
}

async fn producers_survive_kills(backend: &Backend) {
    let mut producers: Vec<(String, u64)> = (0..3).map(|n| (format!("p{n}"), 0)).collect();
    for _ in 0..4 {
        let mut tidelog = Tidelog::start(&backend.url, &[]);
        let done = AtomicU64::new(0);
        let killer = async {
            while done.load(Ordering::Relaxed) < 1000 {
                tokio::task::yield_now().await;
            }
            tidelog.signal(Signal::SIGKILL);
        };
        let streams = producers.iter().map(|(name, from)| {
            let request = tidelog.client.post(format!("{}{EVENTS}", tidelog.url));
            produce(request, name, *from, &done)
        });
        let (reached, ()) = futures::join!(futures::future::join_all(streams), killer);
        for ((_, next), reached) in producers.iter_mut().zip(reached) {
            *next = reached;
        }
        tidelog.wait();
    }
    let tidelog = Tidelog::start(&backend.url, &[]);
    check(&log_of(&tidelog.client, &tidelog.url).await, &producers);
}

#[tokio::test]
async fn producers_send_again_after_kills_on_sqlite() {
    producers_survive_kills(&Backend::sqlite()).await;
}

#[tokio::test]
async fn producers_send_again_after_kills_on_postgres() {
    producers_survive_kills(&Backend::postgres()).await;
}

/// PostgreSQL goes, as told, and comes again, until `load` has come through it.
async fn through_outages(cluster: &Arc<Cluster>, done: &AtomicU64, over: &AtomicBool) {
    for how in [Stop::Immediate, Stop::Fast, Stop::Immediate] {
        let target = done.load(Ordering::Relaxed) + 500;
        while done.load(Ordering::Relaxed) < target {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let cluster = Arc::clone(cluster);
        let outage = tokio::task::spawn_blocking(move || {
            cluster.stop(how);
            cluster.start();
        });
        outage.await.expect("it starts again");
    }
    over.store(true, Ordering::Relaxed);
}

#[tokio::test]
async fn producers_and_idempotent_writers_survive_outages_of_postgres() {
    let cluster = Arc::new(Cluster::new(&[]));
    let url = cluster.database();
    let tidelog = Tidelog::start(&url, &["--write-timeout", "1s"]);
    let (done, over) = (AtomicU64::new(0), AtomicBool::new(false));
    let post = |path: &str| tidelog.client.post(format!("{}{path}", tidelog.url));
    let producer = async |name: &str| {
        let mut next = 0;
        while !over.load(Ordering::Relaxed) {
            let ended = AtomicBool::new(false);
            // A stream has no end of its own: it ends with an outage, or here.
            let ending = async {
                while !over.load(Ordering::Relaxed) && !ended.load(Ordering::Relaxed) {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            };
            let streaming = async {
                next = produce(post(EVENTS), name, next, &done).await;
                ended.store(true, Ordering::Relaxed);
            };
            tokio::select! { () = streaming => {} () = ending => {} }
        }
        (name.to_owned(), next)
    };
    let writer = async || {
        let mut seqs = Vec::new();
        while !over.load(Ordering::Relaxed) {
            let n = seqs.len();
            let request = post("/v1/topics/u/events").header("Content-Type", "application/json");
            let request = request.header("Idempotency-Key", format!("i{n}"));
            // A, B, A, B …: a second write would not be taken for a duplicate.
            let body = format!("{{\"key\":\"k\",\"data\":{}}}", n % 2);
            let answer = request.body(body).send().await.expect("an answer");
            match answer.status().as_u16() {
                200 | 201 => {
                    let ack: Value = answer.json().await.expect("JSON");
                    seqs.push(ack["seq"].as_u64().expect("a seq"));
                    done.fetch_add(1, Ordering::Relaxed);
                }
                503 | 504 => {}
                other => panic!("{other}"),
            }
        }
        seqs
    };
    let load = async { futures::join!(producer("p"), producer("q"), writer()) };
    let all = async { futures::join!(load, through_outages(&cluster, &done, &over)).0 };
    let (p, q, seqs) = tokio::time::timeout(Duration::from_secs(90), all).await.expect("an end");
    check(&log_of(&tidelog.client, &tidelog.url).await, &[p, q]);
    assert!(seqs.iter().copied().eq(0..seqs.len() as u64), "each write once: {seqs:?}");
}

#[tokio::test]
async fn while_the_database_is_away_reads_and_readiness_say_so() {
    let cluster = Cluster::new(&[]);
    let backend = Backend::at(&cluster.database());
    let server = Server::start(backend.config()).await;
    server.write("t", "k", "1").await;
    cluster.stop(Stop::Fast);
    for path in ["/v1/topics", "/v1/topics/t", EVENTS, "/v1/topics/t/surface", "/health/ready"] {
        let told = problem(server.get(path), expect(503, "unavailable")).await.to_string();
        for word in ["SQL", "postgres", "127.0.0.1", "connect", "onnection"] {
            assert!(!told.contains(word), "{path}: {told}");
        }
    }
    let live = server.get("/health/live").send().await.expect("an answer");
    assert_eq!(live.status(), 200, "the process lives");
    cluster.start();
    let back = async {
        while server.get("/health/ready").send().await.expect("an answer").status() != 200 {}
    };
    tokio::time::timeout(Duration::from_secs(30), back).await.expect("it is ready again");
    assert_eq!(server.read("/v1/topics/t").await["events"], 1);
}

/// Begins a stream whose lines are sent one by one.
async fn begin(server: &Server) -> (mpsc::Sender<Result<String, Error>>, Response) {
    let (lines, body) = mpsc::channel(1);
    let body = reqwest::Body::wrap_stream(ReceiverStream::new(body));
    let request = server.post(EVENTS, "application/x-ndjson", body).send();
    (lines, request.await.expect("an answer"))
}

/// The next lines of an answer, at least one; none at its end.
async fn next(answer: &mut Response) -> Vec<Value> {
    let mut text = Vec::new();
    while text.last() != Some(&b'\n') {
        let piece = tokio::time::timeout(Duration::from_secs(20), answer.chunk()).await;
        match piece.expect("it comes").expect("it goes on") {
            Some(piece) => text.extend_from_slice(&piece),
            None => break,
        }
    }
    let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| serde_json::from_slice(line).expect("a whole line")).collect()
}

async fn a_stream_is_told_that_the_service_ends(backend: &Backend) {
    let server = Server::start(backend.config()).await;
    let (lines, mut answer) = begin(&server).await;
    lines.send(Ok(line("p", 1))).await.expect("it is read");
    assert_eq!(next(&mut answer).await[0]["seq"], 0);
    server.topics.drain().await;
    lines.send(Ok(line("p", 2) + &line("p", 4))).await.expect("it is read");
    let told = next(&mut answer).await;
    assert_eq!(told[0]["error"]["code"], "shutting-down", "{told:?}");
    assert_eq!((&told[0]["line"], &told[0]["error"]["committed"]), (&json!(2), &json!("no")));
    let summary = &told[1]["summary"];
    assert_eq!((&summary["lines"], &summary["complete"]), (&json!(1), &json!(false)));
    assert!(next(&mut answer).await.is_empty(), "the summary is the last");
    assert_eq!(server.read("/v1/topics/t").await["events"], 1);
}

async fn a_bad_line_ends_its_own_stream_only(backend: &Backend) {
    let server = Server::start(backend.config()).await;
    let (good, mut good_acks) = begin(&server).await;
    let (bad, mut bad_acks) = begin(&server).await;
    for n in 0..10 {
        let name = if n % 2 == 0 { "a" } else { "b" };
        let (lines, acks) =
            if n % 2 == 0 { (&good, &mut good_acks) } else { (&bad, &mut bad_acks) };
        lines.send(Ok(format!("{{\"key\":\"{name}\",\"data\":{n}}}\n"))).await.expect("read");
        assert_eq!(next(acks).await[0]["seq"], n);
    }
    let twice = "{\"key\":\"b\",\"data\":1,\"data\":2}\n{\"key\":\"b\",\"data\":3}\n";
    bad.send(Ok(twice.into())).await.expect("it is read");
    assert_eq!(next(&mut bad_acks).await[0]["error"]["line"], 6);
    good.send(Ok("{\"key\":\"a\",\"data\":\"on\"}\n".into())).await.expect("it is read");
    assert_eq!(next(&mut good_acks).await[0]["seq"], 10, "nothing of the bad stream was written");
    drop(good);
    assert_eq!(next(&mut good_acks).await[0]["summary"]["complete"], true);
}

async fn a_client_that_vanishes_leaves_whole_transactions(backend: &Backend) {
    let server = Server::start(backend.config()).await;
    for round in 0..5 {
        let (lines, mut answer) = begin(&server).await;
        let group = |n: usize| {
            let events: Vec<Value> =
                (0..50).map(|m| json!({"key": format!("{round}-{n}-{m}"), "data": 1})).collect();
            json!({"events": events}).to_string()
        };
        let mut text: String = (0..20).map(|n| group(n) + "\n").collect();
        let half = group(20);
        text.push_str(&half[..half.len() / 2]);
        lines.send(Ok(text)).await.expect("it is read");
        assert!(!next(&mut answer).await.is_empty());
        // The request is broken off, and the connection with it.
        let _ = lines.send(Err(Error::other("the client dies"))).await;
        drop(answer);
    }
    let log = server.read_lines(EVENTS).await;
    let mut sizes = std::collections::BTreeMap::new();
    for event in &log {
        *sizes.entry(event["transaction"].as_u64().expect("a number")).or_insert(0) += 1;
    }
    assert!(sizes.values().all(|size| *size == 50), "{sizes:?}");
    let half = log.iter().any(|event| event["key"].as_str().is_some_and(|k| k.contains("-20-")));
    assert!(!half, "what was cut is not there");
}

#[tokio::test]
async fn a_full_disk_is_told_as_such_and_room_is_noticed() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("t.db");
    drop(SqliteStore::open(&File::new(&path)).expect("it opens"));
    let raw = rusqlite::Connection::open(&path).expect("a connection");
    let ballast = "CREATE TABLE ballast (x); INSERT INTO ballast VALUES (zeroblob(4000000));";
    raw.execute_batch(ballast).expect("there is room");
    let pages: u32 = raw.pragma_query_value(None, "page_count", |row| row.get(0)).expect("known");
    let full = File { pages_max: Some(pages + 16), ..File::new(&path) };
    let store = Arc::new(SqliteStore::open(&full).expect("it opens"));
    let config = Config { write_timeout: Duration::from_secs(1), ..Config::default() };
    let server = Server::on(config, (Arc::clone(&store) as _, store)).await;
    let ready = || server.get("/health/ready");
    let body = json!({"key": "large", "data": "x".repeat(300_000)}).to_string();
    let write = || server.json(EVENTS, &body);

    server.write("t", "small", "1").await;
    assert_eq!(ready().send().await.expect("an answer").status(), 200);
    for request in [write(), ready(), write(), ready()] {
        let told = problem(request, expect(503, "unavailable")).await;
        assert!(told["detail"].as_str().is_some_and(|text| text.contains("full")), "{told}");
    }
    assert_eq!(server.read(EVENTS).await["head"]["seq"], 0, "it can be read");

    raw.execute_batch("DROP TABLE ballast").expect("there is room for that");
    assert_eq!(ready().send().await.expect("an answer").status(), 200);
    assert_eq!(write().send().await.expect("an answer").status(), 201);
}
