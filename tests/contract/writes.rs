//! Transactions, single events, invalidations.

use flate2::Compression;
use flate2::read::GzEncoder;
use reqwest::{Method, Response};
use serde_json::{Value, json};
use std::io::Read as _;

use crate::support::*;

const EVENTS: &str = "/v1/topics/t/events";
const TRANSACTIONS: &str = "/v1/topics/t/transactions";

on_every_backend!(
    a_transaction_is_written_once_and_numbered,
    an_answer_is_given_again_across_restarts,
    conditions_hold_at_the_moment_of_writing,
    invalidations,
    compressed_bodies,
    producers_choose_their_hash,
);

async fn json_of(answer: Response, status: u16) -> Value {
    let found = answer.status();
    let text = answer.text().await.expect("a body");
    assert_eq!(found, status, "{text}");
    serde_json::from_str(&text).expect("JSON")
}

async fn a_transaction_is_written_once_and_numbered(backend: &Backend) {
    let server = Server::start(backend.config()).await;
    server.write("t", "a", "0").await;
    let body = r#"{"events":[{"key":"b","data":1},{"key":"a","data":0},{"key":"b","data":1},{"key":"b","data":2}]}"#;
    let answer = server.json(TRANSACTIONS, body).send().await.expect("an answer");
    assert_eq!(answer.headers()["etag"], "\"2\"");
    let ack = |seq: u64, transaction: u64, duplicate: bool| json!({"seq": seq, "transaction": transaction, "duplicate": duplicate});
    let head = json!({"seq": 2, "transaction": 1});
    let acks = [ack(1, 1, false), ack(0, 0, true), ack(1, 1, true), ack(2, 1, false)];
    assert_eq!(
        json_of(answer, 201).await,
        json!({"topic": "t", "transaction": 1, "events": acks, "head": head})
    );
    let body = "{\"key\":\"b\",\"data\":2}\n\n{\"key\":\"a\",\"data\":0}";
    let answer = server.lines(TRANSACTIONS, body).send().await.expect("an answer");
    let acks = [ack(2, 1, true), ack(0, 0, true)];
    assert_eq!(
        json_of(answer, 200).await,
        json!({"topic": "t", "transaction": null, "events": acks, "head": head})
    );
    let back = server.write("t", "b", "1").await;
    assert_eq!(back, ack(3, 2, false), "A, B, A is three events");
}

async fn an_answer_is_given_again_across_restarts(backend: &Backend) {
    let mut server = Server::start(backend.config()).await;
    let send = async |server: &Server, n: usize| {
        let body = format!("{{\"events\":[{{\"key\":\"k\",\"data\":{n}}}]}}");
        let request = server.json(TRANSACTIONS, &body).header("Idempotency-Key", format!("i{n}"));
        // It is looked at before the condition, which holds only the first time.
        let condition = if n == 0 {
            ("If-None-Match", "*".to_owned())
        } else {
            ("If-Match", format!("\"{}\"", n - 1))
        };
        let answer = request.header(condition.0, condition.1).send().await.expect("an answer");
        let replayed = answer.headers().contains_key("idempotency-replayed");
        (replayed, answer.status().as_u16(), answer.text().await.expect("a body"))
    };
    let mut first = Vec::new();
    for n in 0..3 {
        first.push(send(&server, n).await);
    }
    if !backend.url.starts_with("memory") {
        drop(server);
        server = Server::start(backend.config()).await;
    }
    for (n, (replayed, status, text)) in first.into_iter().enumerate() {
        assert_eq!((replayed, status), (false, 201));
        assert_eq!(send(&server, n).await, (true, status, text));
    }
    assert_eq!(server.read("/v1/topics/t").await["events"], 3);
}

async fn conditions_hold_at_the_moment_of_writing(backend: &Backend) {
    let server = Server::start(backend.config()).await;
    let body = |n: usize| format!("{{\"key\":\"k{n}\",\"data\":1}}");
    let race = |name: &'static str, value: &'static str, from: usize| {
        let server = &server;
        futures::future::join_all((from..from + 8).map(move |n| async move {
            let request = server.json(EVENTS, &body(n)).header(name, value);
            request.send().await.expect("an answer").status().as_u16()
        }))
    };
    for statuses in [race("If-None-Match", "*", 0).await, race("If-Match", "\"0\"", 8).await] {
        assert_eq!(statuses.iter().filter(|status| **status == 201).count(), 1, "{statuses:?}");
        assert_eq!(statuses.iter().filter(|status| **status == 412).count(), 7, "{statuses:?}");
    }
}

async fn invalidations(backend: &Backend) {
    let server = Server::start(backend.config()).await;
    for data in ["1", "2", "3"] {
        server.write("t", "k", data).await;
    }
    let invalidate = |n: u64, body: &str| {
        let path = format!("{TRANSACTIONS}/{n}/invalidation");
        server.json(&path, body).send()
    };
    let version = json!({"seq": 3, "transaction": 3});
    let reason = r#"{"reason":"wrong price"}"#;
    let first = json_of(invalidate(2, reason).await.expect("an answer"), 201).await;
    assert_eq!((&first["seq"], &first["transaction"]), (&version["seq"], &version["transaction"]));
    let again = json_of(invalidate(2, "{}").await.expect("an answer"), 200).await;
    assert_eq!(again["seq"], 3);
    let latest = server.read("/v1/topics/t/latest?key=k").await;
    assert_eq!(latest["data"], 2, "falls back");
    let duplicate = server.write("t", "k", "2").await;
    assert_eq!((&duplicate["seq"], &duplicate["duplicate"]), (&json!(1), &json!(true)));
    let read = server.read("/v1/topics/t/events?from=2").await;
    assert_eq!(read["events"][0]["invalidated_by"], 3);
    assert_eq!(read["events"][1]["invalidates"], 2);
    assert_eq!(read["events"][1]["reason"], "wrong price");
    for n in [0, 1] {
        let path = format!("{TRANSACTIONS}/{n}/invalidation");
        let answer = server.request(Method::POST, &path).send().await.expect("an answer");
        assert_eq!(answer.status(), 201);
    }
    assert_eq!(server.read("/v1/topics/t/surface").await["events"], json!([]));
    let before = server.read("/v1/topics/t/surface?as_of=2").await;
    assert_eq!(before["events"][0]["data"], 3);
    assert_eq!(before["events"][0]["invalidated_by"], 3);
    let anew = server.write("t", "k", "1").await;
    assert_eq!(anew["duplicate"], false, "what is invalidated is no ground for a duplicate");
}

async fn compressed_bodies(backend: &Backend) {
    let server = Server::start(backend.config()).await;
    let body = |n: u64| format!("{{\"key\":\"k\",\"data\":{n}}}").into_bytes();
    let gzip = |bytes: Vec<u8>| {
        let mut out = Vec::new();
        GzEncoder::new(&bytes[..], Compression::best()).read_to_end(&mut out).expect("memory");
        out
    };
    let zstd = |bytes: Vec<u8>| zstd::encode_all(&bytes[..], 3).expect("memory");
    for (n, encoding, bytes) in [(0, "gzip", gzip(body(0))), (1, "zstd", zstd(body(1)))] {
        let request = server.post(EVENTS, "application/json", bytes);
        let answer = request.header("Content-Encoding", encoding).send().await;
        assert_eq!(json_of(answer.expect("an answer"), 201).await["seq"], n);
    }
    let lines: String = (0..5000).map(|n| format!("{{\"key\":\"l{n}\",\"data\":1}}\n")).collect();
    for (encoding, bytes) in [("gzip", gzip(lines.clone().into())), ("zstd", zstd(lines.into()))] {
        let path = format!("{EVENTS}?acks=summary");
        let request = server.post(&path, "application/x-ndjson", bytes);
        let answer = request.header("Content-Encoding", encoding).send().await;
        let lines = lines_of(answer.expect("an answer")).await;
        assert_eq!(lines[0]["summary"]["lines"], 5000, "{lines:?}");
        assert_eq!(lines[0]["summary"]["complete"], true);
    }
    let answer = server.get(EVENTS).header("Accept-Encoding", "gzip").send().await;
    assert_eq!(answer.expect("an answer").headers()["content-encoding"], "gzip");
}

async fn producers_choose_their_hash(backend: &Backend) {
    let server = Server::start(backend.config()).await;
    let send = async |data: u64, hash: &str| {
        let body =
            json!({"key": "k", "data": data, "hash": hash, "type": "T", "metadata": {"m": 1}});
        let answer = server.json(EVENTS, &body.to_string()).send().await.expect("an answer");
        answer.json::<Value>().await.expect("JSON")["duplicate"].clone()
    };
    assert_eq!(send(1, "h1").await, false);
    assert_eq!(send(2, "h1").await, true, "the hash decides, not the data");
    assert_eq!(send(1, "H1").await, false);
    let read = server.read("/v1/topics/t/latest?key=k").await;
    assert_eq!(
        (&read["hash"], &read["type"], &read["metadata"]),
        (&json!("H1"), &json!("T"), &json!({"m": 1}))
    );
}
