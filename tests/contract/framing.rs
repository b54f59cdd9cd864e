//! HTTP itself: what no well-behaved client sends, request ids, HTTP/2, and that a connection
//! serves its next request whatever the last one was.

use std::collections::HashSet;
use std::time::Duration;

use reqwest::{Method, StatusCode, Version};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::*;

const EVENTS: &str = "/v1/topics/t/events";
const EVENT: &str = r#"{"key":"k","data":1}"#;

on_every_backend!(
    bytes_that_are_not_http_harm_nobody,
    paths_are_not_interpreted,
    a_request_keeps_its_own_id_if_it_is_decent,
    a_refused_body_does_not_become_the_next_request,
    lines_of_a_known_length_leave_the_connection_open,
    lines_of_a_known_length_may_be_any_number,
    http2_streams_both_ways,
    a_body_shorter_than_it_says_is_not_a_body,
    problems_of_every_method_and_to_head,
);

/// Sends bytes, ends, and reads everything that comes back.
async fn exchange(server: &Server, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(&server.address).await.expect("it listens");
    let _ = stream.write_all(bytes).await;
    let _ = stream.shutdown().await;
    let mut answer = Vec::new();
    let reading = stream.read_to_end(&mut answer);
    let _ = tokio::time::timeout(Duration::from_secs(20), reading).await.expect("it ends");
    String::from_utf8_lossy(&answer).into_owned()
}

async fn bytes_that_are_not_http_harm_nobody(backend: &Backend) {
    let server = Server::start(backend.config()).await;
    let long = format!("GET /{} HTTP/1.1\r\nHost: localhost\r\n\r\n", "x".repeat(200_000));
    let many = format!("GET / HTTP/1.1\r\nHost: localhost\r\n{}\r\n", "X-A: b\r\n".repeat(10_000));
    let post = |head: &str, body: &str| {
        format!(
            "POST {EVENTS} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n{head}\r\n{body}"
        )
    };
    for bytes in [
        "\r\n\r\n".into(),
        "nonsense\r\n\r\n".into(),
        "GET / HTTP/9.9\r\n\r\n".into(),
        "\u{0}\u{1}\u{2}".into(),
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nnonsense nonsense nonsense".into(),
        long,
        many,
        post("Content-Length: x\r\n", EVENT),
        post("Content-Length: -1\r\n", EVENT),
        post("Content-Length: 20\r\nContent-Length: 21\r\n", EVENT),
        post("Content-Length: 20\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"),
        post("Transfer-Encoding: chunked\r\n", "zz\r\n"),
        post("Transfer-Encoding: chunked\r\n", "ffffffffffffffff1\r\nx"),
        post("Transfer-Encoding: gzip, chunked\r\n", "0\r\n\r\n"),
    ] {
        let answer = exchange(&server, bytes.as_bytes()).await;
        let begin = &bytes[..bytes.len().min(80)];
        assert!(!answer.contains("HTTP/1.1 2"), "{begin:?}: {answer}");
        assert!(!answer.contains("HTTP/1.1 5"), "{begin:?}: {answer}");
    }
    assert_eq!(server.write("t", "k", "1").await["seq"], 0, "nothing was written by any of it");
}

async fn paths_are_not_interpreted(backend: &Backend) {
    let server = Server::start(backend.config()).await;
    server.write("t", "k", "1").await;
    for path in ["/v1/topics/../topics/t", "//v1/topics/t", "/v1/topics/t/", "/v1/topics/t/events/"]
    {
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        let answer = exchange(&server, request.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 40"), "{path}: {answer}");
        assert!(answer.contains("application/problem+json"), "{path}: {answer}");
    }
    for path in ["/v1/topics/%ff", "/v1/topics/%zz", "/v1/topics/%", "/v1/topics/..%2ft"] {
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        let answer = exchange(&server, request.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{path}: {answer}");
        assert!(answer.contains("\"code\":\"malformed\""), "{path}: {answer}");
    }
    assert_eq!(server.read("/v1/topics/%74").await["topic"], "t", "escapes are undone once");
}

async fn a_request_keeps_its_own_id_if_it_is_decent(backend: &Backend) {
    let server = Server::start(backend.config()).await;
    let (long, mut ids) = ("x".repeat(129), HashSet::new());
    for (id, kept) in [("my-id/1", true), ("with space", false), (&long, false), ("", false)] {
        let request = server.get("/v1/topics/t").header("X-Request-Id", id);
        let told = problem(request, expect(404, "topic-not-found")).await;
        assert_eq!(told["request_id"] == id, kept, "{id:?}: {told}");
        let given = told["request_id"].as_str().expect("a text").to_owned();
        assert!(!given.is_empty() && ids.insert(given), "no other request has it: {told}");
    }
    let body = format!("{EVENT}\nx\n");
    let request = server.lines(EVENTS, &body).header("X-Request-Id", "mine");
    let lines = lines_of(request.send().await.expect("an answer")).await;
    assert_eq!(lines[1]["error"]["request_id"], "mine");
}

async fn a_refused_body_does_not_become_the_next_request(backend: &Backend) {
    let server = Server::start(backend.config()).await;
    // Each body holds a request; whether the connection goes on or not, it is not served.
    let hidden = format!(
        "POST {EVENTS} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{EVENT}",
        EVENT.len()
    );
    for (path, media) in [
        (EVENTS, "text/plain"),
        ("/v1/topics/.t/events", "application/json"),
        ("/nowhere", "application/json"),
        (EVENTS, "application/json"),
    ] {
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {media}\r\nContent-Length: {}\r\n\r\n\
             {hidden}",
            hidden.len()
        );
        let answer = exchange(&server, request.as_bytes()).await;
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
    }
    let get = format!(
        "GET /v1/topics HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{hidden}",
        hidden.len()
    );
    let answer = exchange(&server, get.as_bytes()).await;
    assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
    problem(server.get("/v1/topics/t"), expect(404, "topic-not-found")).await;
}

/// Producers that send a batch a request would otherwise connect anew for each.
async fn lines_of_a_known_length_leave_the_connection_open(backend: &Backend) {
    let server = Server::start(backend.config()).await;
    let lines = format!("{EVENT}\n").repeat(100);
    let request = {
        format!(
            "POST {EVENTS} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-ndjson\r\n\
             Content-Length: {}\r\n\r\n{lines}",
            lines.len()
        )
    };
    let answers = exchange(&server, request.repeat(2).as_bytes()).await;
    assert_eq!(answers.matches("HTTP/1.1 200").count(), 2, "{answers}");
    assert_eq!(answers.matches("\"complete\":true").count(), 2, "{answers}");
    assert!(!answers.to_lowercase().contains("connection: close"), "{answers}");
}

/// Acks wait for the end of such a body, but only so many of them.
async fn lines_of_a_known_length_may_be_any_number(backend: &Backend) {
    let server = Server::start(backend.config()).await;
    let lines: String = (0..40_000).map(|n| format!("{{\"key\":\"k\",\"data\":{n}}}\n")).collect();
    let request = server.lines(&format!("{EVENTS}?acks=summary"), &lines);
    let answer = request.timeout(Duration::from_secs(60)).send().await;
    let lines = lines_of(answer.expect("an answer")).await;
    assert_eq!(lines[0]["summary"]["written"], 40_000, "{}", lines[0]);
}

async fn http2_streams_both_ways(backend: &Backend) {
    let server = Server::start(backend.config()).await;
    let client = crate::plain::builder().http2_prior_knowledge().build().expect("a client");
    let (lines, body) = tokio::sync::mpsc::channel::<Result<String, std::io::Error>>(1);
    let body = reqwest::Body::wrap_stream(tokio_stream::wrappers::ReceiverStream::new(body));
    let request = client.post(format!("http://{}{EVENTS}", server.address)).body(body);
    let answer = request.header("Content-Type", "application/x-ndjson").send();
    lines.send(Ok(format!("{EVENT}\n"))).await.expect("it is read");
    let mut answer = answer.await.expect("an answer");
    assert_eq!((answer.status(), answer.version()), (StatusCode::OK, Version::HTTP_2));
    for n in 1..=5 {
        let ack = answer.chunk().await.expect("an ack").expect("an ack");
        let ack: Value = serde_json::from_slice(&ack).expect("a line");
        assert_eq!((&ack["line"], &ack["seq"]), (&json!(n), &json!(n - 1)));
        lines.send(Ok(format!("{{\"key\":\"k{n}\",\"data\":1}}\n"))).await.expect("it is read");
    }
    drop(lines);
    let rest = answer.bytes().await.expect("an end");
    assert!(rest.ends_with(b"\"complete\":true}}\n"), "{rest:?}");
    let read = client.get(format!("http://{}/v1/topics/t", server.address)).send().await;
    let read: Value = read.expect("an answer").json().await.expect("JSON");
    assert_eq!(read["events"], 6);
}

async fn a_body_shorter_than_it_says_is_not_a_body(backend: &Backend) {
    let server = Server::start(backend.config()).await;
    for (path, media, body) in [
        (EVENTS, "application/json", EVENT),
        ("/v1/topics/t/transactions", "application/x-ndjson", EVENT),
        ("/v1/topics/t/transactions", "application/json", r#"{"events":[{"key":"k","data":1}]}"#),
    ] {
        for length in ["Content-Length: 1000", "Transfer-Encoding: chunked"] {
            let chunk = format!("{:x}\r\n{body}\r\n", body.len());
            let body = if length.starts_with('T') { &chunk } else { body };
            let request = format!(
                "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {media}\r\n{length}\r\n\r\n{body}"
            );
            let answer = exchange(&server, request.as_bytes()).await;
            assert!(!answer.contains("HTTP/1.1 2"), "{answer}");
        }
    }
    problem(server.get("/v1/topics/t"), expect(404, "topic-not-found")).await;
}

async fn problems_of_every_method_and_to_head(backend: &Backend) {
    let server = Server::start(backend.config()).await;
    for method in [Method::PUT, Method::DELETE, Method::PATCH, Method::OPTIONS] {
        for (path, allow) in [
            ("/v1/topics", "GET, HEAD"),
            ("/v1/topics/t", "GET, HEAD"),
            (EVENTS, "GET, HEAD, POST"),
            ("/v1/topics/t/transactions", "POST"),
            ("/v1/topics/t/transactions/0", "GET, HEAD"),
            ("/v1/topics/t/transactions/0/invalidation", "POST"),
            ("/v1/topics/t/latest", "GET, HEAD"),
            ("/v1/topics/t/surface", "GET, HEAD"),
        ] {
            let request = server.request(method.clone(), path);
            problem(request, expect(405, "method-not-allowed")).await;
            let answer = server.request(method.clone(), path).send().await.expect("an answer");
            assert_eq!(answer.headers()["allow"], allow, "{path}");
        }
    }
    let answer = server.request(Method::HEAD, "/v1/topics/t").send().await.expect("an answer");
    assert_eq!(answer.status(), 404);
    assert!(answer.bytes().await.expect("an end").is_empty());
}
