//! Every row of the contract's table of errors, but for those that a store brings about (`broken_stores.rs`) and
//! those of bodies that do not come to their end (`arriving.rs`).

use std::num::NonZeroU32;

use flate2::Compression;
use flate2::write::GzEncoder;
use reqwest::Method;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use std::io::Write as _;
use tidelog::config::{Access, Config, Token, TopicPattern};

use crate::support::*;

const EVENTS: &str = "/v1/topics/t/events";
const TRANSACTIONS: &str = "/v1/topics/t/transactions";
const EVENT: &str = r#"{"key":"k","data":1}"#;

on_every_backend!(
    malformed_requests,
    windows_of_zstd,
    what_is_not_there,
    methods_that_are_not_there,
    preconditions_that_do_not_hold,
    what_is_too_large,
    what_breaks_a_rule,
    media_that_is_not_known,
    producers_out_of_step,
    tokens,
    too_many_requests,
    a_service_that_only_reads,
    a_service_that_is_shutting_down,
);

async fn malformed_requests(backend: &Backend) {
    let server = Server::start(backend.config()).await;
    server.write("t", "k", "1").await;
    for body in [
        "",
        "{",
        "nonsense",
        "\u{feff}{}",
        "{\"key\":\"k\",\"data\":1}{}",
        "{\"key\":\"k\",\"data\":NaN}",
    ] {
        problem(server.json(EVENTS, body), expect(400, "malformed")).await;
    }
    let latin1 = server.post(EVENTS, "application/json", b"{\"key\":\"\xe9\",\"data\":1}".to_vec());
    problem(latin1, expect(400, "malformed")).await;
    for path in [
        "/v1/topics?x=1",
        "/v1/topics?limit=0",
        "/v1/topics?limit=10001",
        "/v1/topics?limit=1&limit=2",
        "/v1/topics?prefix=%ff",
        "/v1/topics/t/events?from=-1",
        "/v1/topics/t/events?from=9007199254740992",
        "/v1/topics/t/events?from=1e3",
        "/v1/topics/t/events?direction=sideways",
        "/v1/topics/t/events?follow=true&limit=1",
        "/v1/topics/t/events?key=",
        "/v1/topics/t/latest",
        "/v1/topics/t/surface?as_of=x",
        "/v1/topics/t/transactions/x",
        "/v1/topics/.t",
        "/v1/topics/a%2Fb",
        "/v1/topics/%00",
    ] {
        problem(server.get(path), expect(400, "malformed")).await;
    }
    let long = format!("/v1/topics/{}", "x".repeat(201));
    problem(server.get(&long), expect(400, "malformed")).await;
    for (name, value) in [
        ("If-Match", "1"),
        ("If-Match", "W/\"1\""),
        ("If-None-Match", "\"1\""),
        ("Idempotency-Key", ""),
        ("Idempotency-Key", "with space"),
    ] {
        let request = server.json(EVENTS, EVENT).header(name, value);
        problem(request, expect(400, "malformed")).await;
    }
    for (name, value) in [("Idempotency-Key", "k"), ("If-Match", "\"1\""), ("Producer-Id", "p")] {
        let request = server.lines(EVENTS, EVENT).header(name, value);
        problem(request, expect(400, "malformed")).await;
    }
    let invalidation = "/v1/topics/t/transactions/0/invalidation";
    for (name, value) in [("Producer-Id", "p"), ("Producer-Epoch", "1"), ("Producer-Seq", "0")] {
        let group = format!("{{\"events\":[{EVENT}]}}");
        for request in [
            server.json(EVENTS, EVENT),
            server.json(TRANSACTIONS, &group),
            server.lines(TRANSACTIONS, EVENT),
            server.json(invalidation, "{}"),
        ] {
            let refused = problem(request.header(name, value), expect(400, "malformed")).await;
            let detail = refused["detail"].as_str().expect("a text").to_lowercase();
            assert!(detail.contains(&name.to_lowercase()), "{detail}");
        }
    }
    let unknown =
        server.lines(EVENTS, EVENT).header("Producer-Id", "p").header("Producer-Seq", "0");
    problem(unknown.header("Producer-Sequence", "0"), expect(400, "malformed")).await;
    problem(server.lines("/v1/topics/t/events?acks=none", EVENT), expect(400, "malformed")).await;
    let line = server.lines(TRANSACTIONS, "{\"key\":\"k\",\"data\":1}\n{");
    assert_eq!(problem(line, expect(400, "malformed")).await["line"], 2);
    let events = server.read(EVENTS).await;
    assert_eq!(events["events"].as_array().map(Vec::len), Some(1), "nothing was written");
}

/// An event in a zstd frame that asks for a window of two to the power of `log` bytes.
fn zstd_of_window(log: u32) -> Vec<u8> {
    let mut encoder = zstd::Encoder::new(Vec::new(), 3).expect("memory");
    encoder.window_log(log).expect("zstd has such windows");
    encoder.write_all(EVENT.as_bytes()).expect("memory");
    encoder.finish().expect("memory")
}

async fn windows_of_zstd(backend: &Backend) {
    let server = Server::start(backend.config()).await;
    let compressed = |log| {
        let request = server.post(EVENTS, "application/json", zstd_of_window(log));
        request.header("Content-Encoding", "zstd")
    };
    problem(compressed(24), expect(400, "malformed")).await;
    assert_eq!(compressed(23).send().await.expect("an answer").status(), 201);
}

async fn what_is_not_there(backend: &Backend) {
    let server = Server::start(backend.config()).await;
    for path in ["", "/events", "/surface", "/latest?key=k", "/transactions/0"] {
        let path = format!("/v1/topics/missing{path}");
        problem(server.get(&path), expect(404, "topic-not-found")).await;
    }
    let missing = server.request(Method::POST, "/v1/topics/missing/transactions/0/invalidation");
    problem(missing, expect(404, "topic-not-found")).await;
    assert_eq!(server.read("/v1/topics").await["topics"], json!([]), "nothing came into being");
    server.write("t", "k", "1").await;
    for path in ["/v1/topics/t/transactions/1", "/v1/topics/t/surface?as_of=1"] {
        problem(server.get(path), expect(404, "transaction-not-found")).await;
    }
    let missing = server.request(Method::POST, "/v1/topics/t/transactions/1/invalidation");
    problem(missing, expect(404, "transaction-not-found")).await;
    problem(server.get("/v1/topics/t/latest?key=x"), expect(404, "key-not-found")).await;
    for path in ["/x", "/v1", "/v1/topics/t/nothing", "/v2/topics"] {
        problem(server.get(path), expect(404, "not-found")).await;
    }
}

async fn methods_that_are_not_there(backend: &Backend) {
    let server = Server::start(backend.config()).await;
    for (path, allowed) in
        [(EVENTS, "GET, HEAD, POST"), (TRANSACTIONS, "POST"), ("/v1/topics", "GET, HEAD")]
    {
        let answer = server.request(Method::DELETE, path).send().await.expect("an answer");
        assert_eq!(answer.status(), 405);
        assert_eq!(answer.headers()["allow"], allowed);
    }
}

async fn preconditions_that_do_not_hold(backend: &Backend) {
    let server = Server::start(backend.config()).await;
    let on_empty = server.json(TRANSACTIONS, &format!("{{\"events\":[{EVENT}]}}"));
    let failed = problem(on_empty.header("If-Match", "\"0\""), expect(412, "precondition-failed"));
    assert_eq!(failed.await["head"], json!(null));
    server.write("t", "k", "1").await;
    for (name, value) in [("If-Match", "\"1\""), ("If-None-Match", "*")] {
        let request = server.json(EVENTS, EVENT).header(name, value);
        let failed = problem(request, expect(412, "precondition-failed")).await;
        assert_eq!(failed["head"], json!({"seq": 0, "transaction": 0}));
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).expect("memory takes all");
    encoder.finish().expect("memory takes all")
}

async fn what_is_too_large(backend: &Backend) {
    let config = Config {
        event_bytes_max: 1000,
        transaction_events_max: 2,
        body_bytes_max: 5000,
        ..backend.config()
    };
    let server = Server::start(config).await;
    let data = |n: usize| format!("{{\"key\":\"k\",\"data\":\"{}\"}}", "x".repeat(n));
    let three = format!("{{\"events\":[{EVENT},{EVENT},{EVENT}]}}");
    for (request, setting) in [
        (server.json(EVENTS, &data(1001)), "(event_bytes_max)"),
        (server.json(EVENTS, &data(6000)), "(body_bytes_max)"),
        (server.json(TRANSACTIONS, &three), "(transaction_events_max)"),
    ] {
        let told = problem(request, expect(413, "too-large")).await;
        assert!(told["detail"].as_str().is_some_and(|text| text.contains(setting)), "{told}");
    }
    let bomb = vec![b' '; 50 << 20];
    for (encoding, body) in
        [("gzip", gzip(&bomb)), ("zstd", zstd::encode_all(&bomb[..], 3).expect("memory"))]
    {
        for path in [EVENTS, TRANSACTIONS] {
            let request = server.post(path, "application/json", body.clone());
            let request = request.header("Content-Encoding", encoding);
            problem(request, expect(413, "too-large")).await;
        }
        let request = server.post(EVENTS, "application/x-ndjson", body.clone());
        let answer = request.header("Content-Encoding", encoding).send().await;
        let lines = lines_of(answer.expect("an answer")).await;
        assert_eq!(lines[0]["error"]["code"], "too-large");
        assert_eq!(lines[1]["summary"]["complete"], false);
    }
    // A bomb of empty lines breaks no limit on lines.
    let empty = zstd::encode_all(&vec![b'\n'; 100 << 20][..], 3).expect("memory");
    let request = server.post(EVENTS, "application/x-ndjson", empty);
    let answer = request.header("Content-Encoding", "zstd").send().await;
    let lines = lines_of(answer.expect("an answer")).await;
    assert_eq!(lines[0]["error"]["code"], "too-large");
    let lines = lines_of(server.lines(EVENTS, &data(1001)).send().await.expect("an answer")).await;
    assert_eq!(lines[0]["error"]["code"], "too-large");
    problem(server.get("/v1/topics/t"), expect(404, "topic-not-found")).await;
}

async fn what_breaks_a_rule(backend: &Backend) {
    let server = Server::start(backend.config()).await;
    let key = "k".repeat(1025);
    for (body, pointer) in [
        (json!({"data": 1}), "/key"),
        (json!({"key": "", "data": 1}), "/key"),
        (json!({"key": "a\u{0}b", "data": 1}), "/key"),
        (json!({"key": key, "data": 1}), "/key"),
        (json!({"key": "k"}), "/data"),
        (json!({"key": "k", "data": 1, "hash": ""}), "/hash"),
        (json!({"key": "k", "data": 1, "hash": "h".repeat(256)}), "/hash"),
        (json!({"key": "k", "data": 1, "more": 1}), "/more"),
        (json!({"key": "k", "data_base64": "?", "content_type": "a/b"}), "/data_base64"),
    ] {
        let failed = problem(server.json(EVENTS, &body.to_string()), expect(422, "invalid")).await;
        assert_eq!(failed["pointer"], pointer, "{body}");
        let group = json!({"events": [{"key": "ok", "data": 1}, body]});
        let request = server.json(TRANSACTIONS, &group.to_string());
        let failed = problem(request, expect(422, "invalid")).await;
        assert_eq!(failed["pointer"], format!("/events/1{pointer}"), "{group}");
    }
    let deep = format!("{{\"key\":\"k\",\"data\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    problem(server.json(EVENTS, &deep), expect(422, "invalid")).await;
    problem(server.json(TRANSACTIONS, "{\"events\":[]}"), expect(422, "invalid")).await;
    problem(server.lines(TRANSACTIONS, "\n\n"), expect(422, "invalid")).await;
    problem(server.get("/v1/topics/t"), expect(404, "topic-not-found")).await;

    let first = server.json(EVENTS, EVENT).header("Idempotency-Key", "i").send().await;
    assert_eq!(first.expect("an answer").status(), 201);
    let other = server.json(EVENTS, "{\"key\":\"k\",\"data\":2}").header("Idempotency-Key", "i");
    problem(other, expect(422, "idempotency-mismatch")).await;
    let invalidation = "/v1/topics/t/transactions/0/invalidation";
    let long = json!({"reason": "r".repeat(1025)}).to_string();
    let failed = problem(server.json(invalidation, &long), expect(422, "invalid")).await;
    assert_eq!(failed["pointer"], "/reason");
    let done = server.request(Method::POST, invalidation).send().await.expect("an answer");
    assert_eq!(done.status(), 201);
    let again = server.request(Method::POST, "/v1/topics/t/transactions/1/invalidation");
    problem(again, expect(422, "invalid")).await;
}

async fn media_that_is_not_known(backend: &Backend) {
    let server = Server::start(backend.config()).await;
    for media in ["text/plain", "application/xml", "application/json; charset=latin1"] {
        let request = server.post(EVENTS, media, EVENT);
        problem(request, expect(415, "unsupported-media-type")).await;
    }
    let bare = server.request(Method::POST, EVENTS).body(EVENT);
    problem(bare, expect(415, "unsupported-media-type")).await;
    for encoding in ["br", "deflate", "gzip, gzip", "nonsense"] {
        let request = server.json(EVENTS, EVENT).header("Content-Encoding", encoding);
        problem(request, expect(415, "unsupported-media-type")).await;
    }
    server.write("t", "k", "1").await;
    for path in [EVENTS, "/v1/topics/t/surface", "/v1/topics/t", "/v1/topics"] {
        let request = server.get(path).header("Accept", "text/html");
        problem(request, expect(406, "not-acceptable")).await;
    }
    let cut = gzip(EVENT.as_bytes());
    for body in [cut[..cut.len() - 6].to_vec(), [&cut[..], b"garbage"].concat(), b"x".to_vec()] {
        let request = server.post(EVENTS, "application/json", body);
        problem(request.header("Content-Encoding", "gzip"), expect(400, "malformed")).await;
    }
}

async fn producers_out_of_step(backend: &Backend) {
    let server = Server::start(backend.config()).await;
    let send = |epoch: u64, seq: u64| {
        let request =
            server.lines(EVENTS, "{\"key\":\"a\",\"data\":1}\n{\"key\":\"b\",\"data\":1}\n");
        request
            .header("Producer-Id", "p")
            .header("Producer-Epoch", epoch)
            .header("Producer-Seq", seq)
    };
    assert_eq!(problem(send(0, 1), expect(409, "producer-gap")).await["expected"], 0);
    assert_eq!(send(1, 0).send().await.expect("an answer").status(), 200);
    assert_eq!(problem(send(1, 3), expect(409, "producer-gap")).await["expected"], 2);
    assert_eq!(problem(send(0, 2), expect(403, "producer-fenced")).await["epoch"], 1);
}

fn token(name: &str, topics: Vec<TopicPattern>, access: Access) -> Token {
    Token { name: name.into(), sha256: Sha256::digest(name).into(), topics, access }
}

async fn tokens(backend: &Backend) {
    let prefix = || vec![TopicPattern::Prefix("a".into())];
    let tokens =
        vec![token("writer", prefix(), Access::Write), token("reader", prefix(), Access::Read)];
    let server = Server::start(Config { tokens, ..backend.config() }).await;
    let write = |topic: &str| server.json(&format!("/v1/topics/{topic}/events"), EVENT);
    for request in [
        write("a"),
        write("a").bearer_auth("wrong"),
        write("a").bearer_auth(""),
        write("a").basic_auth("anybody", Some("wrong")),
        write("a").header("Authorization", "Digest writer"),
        server.get("/v1/topics"),
    ] {
        problem(request, expect(401, "unauthenticated")).await;
    }
    problem(write("b").bearer_auth("writer"), expect(403, "forbidden")).await;
    problem(write("a").bearer_auth("reader"), expect(403, "forbidden")).await;
    let done = write("a").basic_auth("anybody", Some("writer")).send().await.expect("an answer");
    assert_eq!(done.status(), 201);
    let read = server.get("/v1/topics/a").bearer_auth("reader").send().await.expect("an answer");
    assert_eq!(read.status(), 200);
    problem(server.get("/v1/topics/b").bearer_auth("reader"), expect(403, "forbidden")).await;
    let live = server.get("/health/live").send().await.expect("an answer");
    assert_eq!(live.status(), 200, "health needs no token");
}

async fn too_many_requests(backend: &Backend) {
    let one = NonZeroU32::new(1);
    let config = Config { rate_limit: one, rate_burst: one, ..backend.config() };
    let server = Server::start(config).await;
    let mut limited = 0;
    for _ in 0..5 {
        let answer = server.get("/v1/topics").send().await.expect("an answer");
        limited += u32::from(answer.status() == 429);
    }
    assert!(limited >= 3, "{limited} of 5");
    problem(server.get("/v1/topics"), expect(429, "rate-limited")).await;
}

async fn a_service_that_only_reads(backend: &Backend) {
    let server = Server::start(Config { read_only: true, ..backend.config() }).await;
    problem(server.json(EVENTS, EVENT), expect(503, "read-only")).await;
    problem(server.lines(EVENTS, EVENT), expect(503, "read-only")).await;
    assert_eq!(server.read("/v1/topics").await["topics"], json!([]));
}

async fn a_service_that_is_shutting_down(backend: &Backend) {
    let server = Server::start(backend.config()).await;
    server.write("t", "k", "1").await;
    server.topics.drain().await;
    problem(server.json(EVENTS, EVENT), expect(503, "shutting-down")).await;
    problem(server.lines(EVENTS, EVENT), expect(503, "shutting-down")).await;
    let consumer = |method| {
        let request = server.request(method, "/v1/topics/t/consumers/c").body("{\"seq\":0}");
        request.header("Content-Type", "application/json")
    };
    for method in [Method::PUT, Method::DELETE] {
        problem(consumer(method), expect(503, "shutting-down")).await;
    }
    assert_eq!(server.read("/v1/topics/t").await["events"], 1, "reads go on");
}

#[tokio::test]
async fn who_has_his_answer_leaves_no_trace_in_the_queue() {
    let config = Config { topic_queue_events_max: 1, ..Backend::memory().config() };
    let server = Server::start(Config { transaction_events_max: 1, ..config }).await;
    // One at a time is never too many, however quickly the next one comes.
    for n in 0..1000 {
        assert_eq!(server.write("t", "k", &n.to_string()).await["seq"], n);
    }
}
