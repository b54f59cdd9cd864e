//! Streams of lines: duplex, in order, and nothing behind a failure.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

use tidelog::config::Config;

use crate::support::*;

const EVENTS: &str = "/v1/topics/t/events";

on_every_backend!(
    lines_and_groups_are_acknowledged_in_order,
    a_bad_line_in_the_middle,
    acks_come_while_the_request_is_still_being_sent,
    a_body_that_is_cut,
    a_producer_sends_again,
    a_line_is_refused_as_soon_as_it_is_too_long,
    only_failures_and_the_summary,
    a_long_stream,
    a_client_that_does_not_read_its_acks_holds_up_nobody,
);

async fn send(server: &Server, body: &str) -> Vec<Value> {
    lines_of(server.lines(EVENTS, body).send().await.expect("an answer")).await
}

async fn lines_and_groups_are_acknowledged_in_order(backend: &Backend) {
    let server = Server::start(backend.config()).await;
    let body = "{\"key\":\"a\",\"data\":1}\r\n\n  \n{\"events\":[{\"key\":\"b\",\"data\":1},{\"key\":\"a\",\"data\":1}]}\n{\"key\":\"a\",\"data\":1}";
    let ack = |seq: u64, transaction: u64, duplicate: bool| json!({"seq": seq, "transaction": transaction, "duplicate": duplicate});
    assert_eq!(
        send(&server, body).await,
        [
            json!({"line": 1, "seq": 0, "transaction": 0, "duplicate": false}),
            json!({"line": 4, "transaction": 1, "events": [ack(1, 1, false), ack(0, 0, true)]}),
            json!({"line": 5, "seq": 0, "transaction": 0, "duplicate": true}),
            json!({"summary": {"lines": 3, "written": 2, "duplicates": 2,
                "head": {"seq": 1, "transaction": 1}, "complete": true}}),
        ]
    );
    let nothing = json!({"summary": {"lines": 0, "written": 0, "duplicates": 0,
        "head": {"seq": 1, "transaction": 1}, "complete": true}});
    assert_eq!(send(&server, "").await, [nothing]);
}

async fn a_bad_line_in_the_middle(backend: &Backend) {
    let server = Server::start(backend.config()).await;
    for (n, bad) in
        ["{", "{\"key\":\"\",\"data\":1}", "{\"events\":[]}", "[]"].into_iter().enumerate()
    {
        let line = |key: &str| format!("{{\"key\":\"{key}{n}\",\"data\":1}}\n");
        let body = format!("{}{}{bad}\n{}", line("a"), line("b"), line("c"));
        let answer = send(&server, &body).await;
        assert_eq!(answer.len(), 4, "{answer:?}");
        assert_eq!((&answer[0]["line"], &answer[1]["line"]), (&json!(1), &json!(2)));
        assert_eq!(answer[2]["line"], 3);
        assert_eq!(answer[2]["error"]["committed"], "no");
        assert_eq!(answer[2]["error"]["line"], 3);
        assert_eq!(answer[3]["summary"]["lines"], 2);
        assert_eq!(answer[3]["summary"]["complete"], false);
        let head = &server.read("/v1/topics/t").await["events"];
        assert_eq!(*head, json!(2 * (n + 1)), "what was before is written, nothing after");
    }
}

/// A request by hand, chunked.
struct Raw {
    stream: BufReader<TcpStream>,
}

impl Raw {
    async fn begin(server: &Server, path: &str) -> Self {
        let mut stream = TcpStream::connect(&server.address).await.expect("it listens");
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-ndjson\r\n\
             Transfer-Encoding: chunked\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.expect("it is sent");
        Self { stream: BufReader::new(stream) }
    }

    async fn chunk(&mut self, text: &str) {
        let chunk = format!("{:x}\r\n{text}\r\n", text.len());
        self.stream.get_mut().write_all(chunk.as_bytes()).await.expect("it is sent");
    }

    /// The next line of the answer that begins with this.
    async fn line(&mut self, begin: &str) -> String {
        let reading = async {
            loop {
                let mut line = String::new();
                let count = self.stream.read_line(&mut line).await.expect("it is received");
                assert!(count > 0, "the answer ended before {begin}");
                if line.starts_with(begin) {
                    return line;
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(20), reading).await.expect("it comes at once")
    }
}

async fn acks_come_while_the_request_is_still_being_sent(backend: &Backend) {
    let server = Server::start(backend.config()).await;
    let mut raw = Raw::begin(&server, EVENTS).await;
    for n in 0..5 {
        // Half a line with the one before it: what is whole is written at once.
        raw.chunk(&format!("{{\"key\":\"k{n}\",\"data\":1}}\n{{\"key\":")).await;
        let ack = raw.line(&format!("{{\"line\":{},", 2 * n + 1)).await;
        assert!(ack.contains(&format!("\"seq\":{}", 2 * n)), "{ack}");
        raw.chunk(&format!("\"h{n}\",\"data\":1}}\n")).await;
        raw.line(&format!("{{\"line\":{},", 2 * n + 2)).await;
    }
    raw.stream.get_mut().write_all(b"0\r\n\r\n").await.expect("it is sent");
    let summary = raw.line("{\"summary\"").await;
    assert!(summary.contains("\"lines\":10,"), "{summary}");
}

async fn a_body_that_is_cut(backend: &Backend) {
    let server = Server::start(backend.config()).await;
    let mut raw = Raw::begin(&server, EVENTS).await;
    raw.chunk("{\"key\":\"a\",\"data\":1}\n{\"events\":[{\"key\":\"b\",\"data\":1},").await;
    raw.line("{\"line\":1,").await;
    // The connection ends in the middle of a transaction, and of the body.
    raw.stream.get_mut().shutdown().await.expect("it can be ended");
    let mut rest = String::new();
    let _ = raw.stream.read_to_string(&mut rest).await;
    assert!(!rest.contains("\"complete\":true"), "{rest}");
    // A line that is whole JSON but has no end is not taken for whole either.
    let mut raw = Raw::begin(&server, EVENTS).await;
    raw.chunk("{\"key\":\"c\",\"data\":1}\n{\"key\":\"d\",\"data\":1}").await;
    raw.line("{\"line\":1,").await;
    drop(raw);
    let after = server.write("t", "e", "1").await;
    assert_eq!(after["seq"], 2, "a and c are there, nothing else");
}

async fn a_producer_sends_again(backend: &Backend) {
    let mut server = Server::start(backend.config()).await;
    let body = |from: usize| -> String {
        (from..600).map(|n| format!("{{\"key\":\"k{}\",\"data\":{n}}}\n", n % 7)).collect()
    };
    let send = async |server: &Server, from: usize| {
        let request = server.lines(EVENTS, &body(from));
        let request = request.header("Producer-Id", "p").header("Producer-Seq", from);
        lines_of(request.send().await.expect("an answer")).await
    };
    let first = send(&server, 0).await;
    assert_eq!(first.last().expect("a summary")["summary"]["written"], 600);
    if !backend.url.starts_with("memory") {
        drop(server);
        server = Server::start(backend.config()).await;
    }
    let again = send(&server, 100).await;
    let summary = &again.last().expect("a summary")["summary"];
    assert_eq!((&summary["lines"], &summary["written"]), (&json!(500), &json!(0)));
    assert_eq!(summary["replayed"], 500);
    for (first, again) in first[100..600].iter().zip(&again) {
        assert_eq!((&first["seq"], &first["transaction"]), (&again["seq"], &again["transaction"]));
        assert_eq!(again["replayed"], true);
    }
    assert_eq!(server.read("/v1/topics/t").await["events"], 600);
    // The number decides, not what the line says: the contract, and its trap.
    let other = server.lines(EVENTS, "{\"key\":\"other\",\"data\":\"new\"}\n");
    let other = other.header("Producer-Id", "p").header("Producer-Seq", 599);
    let answer = lines_of(other.send().await.expect("an answer")).await;
    assert_eq!((&answer[0]["seq"], &answer[0]["replayed"]), (&json!(599), &json!(true)));
    assert_eq!(answer[1]["summary"]["replayed"], 1);
    assert_eq!(server.read("/v1/topics/t").await["events"], 600);
}

/// A line without an end must not fill the memory before it is refused.
async fn a_line_is_refused_as_soon_as_it_is_too_long(backend: &Backend) {
    let config = Config { event_bytes_max: 10_000, ..backend.config() };
    let server = Server::start(config).await;
    let mut raw = Raw::begin(&server, EVENTS).await;
    raw.chunk("{\"key\":\"a\",\"data\":1}\n { \"data\" : \"").await;
    // Far below the limit of a body, and no end of the line has come.
    for _ in 0..6 {
        raw.chunk(&"x".repeat(10_000)).await;
    }
    let refused = raw.line("{\"line\":2,\"error\"").await;
    assert!(refused.contains("too-large") && refused.contains("event_bytes_max"), "{refused}");
    assert!(raw.line("{\"summary\"").await.contains("\"lines\":1,"));
    // A group may be longer, and so may the text of an event that is just small enough.
    let group: Vec<Value> =
        (0..9).map(|n| json!({"key": n.to_string(), "data": "x".repeat(9_000)})).collect();
    let base64 = format!(
        "{{\"key\":\"b\",\"data_base64\":\"{}\",\"content_type\":\"a/b\"}}",
        "AAAA".repeat(3_300)
    );
    let answer = send(&server, &format!("{}\n{base64}\n", json!({"events": group}))).await;
    assert_eq!(answer[2]["summary"]["written"], 10, "{answer:?}");
}

async fn only_failures_and_the_summary(backend: &Backend) {
    let server = Server::start(backend.config()).await;
    let body = "{\"key\":\"a\",\"data\":1}\n{\"key\":\"a\",\"data\":1}\n{}\n";
    let request = server.lines("/v1/topics/t/events?acks=summary", body);
    let answer = lines_of(request.send().await.expect("an answer")).await;
    assert_eq!(answer.len(), 2, "{answer:?}");
    assert_eq!(answer[0]["error"]["code"], "invalid");
    let head = json!({"seq": 0, "transaction": 0});
    assert_eq!(
        answer[1]["summary"],
        json!({"lines": 2, "written": 1, "duplicates": 1, "head": head, "complete": false})
    );
}

async fn a_long_stream(backend: &Backend) {
    let server = Server::start(backend.config()).await;
    let body: String =
        (0..100_000).map(|n| format!("{{\"key\":\"k{n}\",\"data\":{n}}}\n")).collect();
    let answer = send(&server, &body).await;
    assert_eq!(answer.len(), 100_001);
    for (n, ack) in answer[..100_000].iter().enumerate() {
        assert_eq!((&ack["line"], &ack["seq"]), (&json!(n + 1), &json!(n)));
    }
    assert_eq!(answer[100_000]["summary"]["complete"], true);
}

async fn a_client_that_does_not_read_its_acks_holds_up_nobody(backend: &Backend) {
    let server = Server::start(backend.config()).await;
    let mut raw = Raw::begin(&server, EVENTS).await;
    let lines: String = (0..1000).map(|n| format!("{{\"key\":\"s{n}\",\"data\":1}}\n")).collect();
    // Until the service does not take any more: its acks are not read.
    let flood = async {
        loop {
            raw.chunk(&lines).await;
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(3), flood).await.is_err());
    let quick = tokio::time::timeout(Duration::from_secs(5), server.write("t", "other", "1"));
    assert_eq!(quick.await.expect("others are served")["duplicate"], false);
}
