//! Bodies that are slow to come to their end, or never do: whom they keep waiting, and for how long.
//! Not here: bodies that end too early, and what no well-behaved client sends (`framing.rs`).

use std::time::Duration;

use reqwest::RequestBuilder;
use tidelog::config::Config;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::*;

const EVENTS: &str = "/v1/topics/t/events";
const EVENT: &str = r#"{"key":"k","data":1}"#;
/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(30);

on_every_backend!(
    clients_that_are_too_slow,
    a_service_that_ends_does_not_wait_for_them,
    too_many_large_bodies_that_are_arriving,
);

/// Sends a request whose body says that it is longer than what comes of it.
async fn begun(server: &Server, media: &str, begin: &str) -> TcpStream {
    let mut stream = TcpStream::connect(&server.address).await.expect("it listens");
    let length = begin.len() + 1;
    let head = format!(
        "POST {EVENTS} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {media}\r\n\
         Content-Length: {length}\r\n\r\n{begin}"
    );
    stream.write_all(head.as_bytes()).await.expect("it is sent");
    stream
}

/// The answer to a request whose body does not come.
async fn stalled(server: &Server, media: &str) -> String {
    let mut stream = begun(server, media, "{").await;
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    while !answer.ends_with(b"0\r\n\r\n") && !answer.ends_with(b"}") {
        let count = stream.read(&mut buffer).await.expect("it is received");
        assert!(count > 0, "the answer ended: {}", String::from_utf8_lossy(&answer));
        answer.extend_from_slice(&buffer[..count]);
    }
    String::from_utf8(answer).expect("it is text")
}

async fn clients_that_are_too_slow(backend: &Backend) {
    let (body_timeout, stream_idle_timeout) =
        (Duration::from_millis(100), Duration::from_millis(100));
    let server =
        Server::start(Config { body_timeout, stream_idle_timeout, ..backend.config() }).await;
    let answer = stalled(&server, "application/json").await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    let answer = stalled(&server, "application/x-ndjson").await;
    assert!(answer.contains("\"code\":\"request-timeout\""), "{answer}");
    assert!(answer.contains("\"complete\":false"), "{answer}");
    problem(server.get("/v1/topics/t"), expect(404, "topic-not-found")).await;
}

async fn a_service_that_ends_does_not_wait_for_them(backend: &Backend) {
    let server = Server::start(backend.config()).await;
    let (answer, ()) = tokio::join!(stalled(&server, "application/json"), async {
        server.draining.cancel();
    });
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    assert!(answer.contains("\"code\":\"shutting-down\""), "{answer}");
}

async fn too_many_large_bodies_that_are_arriving(backend: &Backend) {
    let (body_bytes_max, event_bytes_max) = (64 << 10, 1 << 10);
    let sizes = Config { body_bytes_max, event_bytes_max, ..backend.config() };
    let server = Server::start(Config { body_bytes_total_max: body_bytes_max, ..sizes }).await;
    let padded = |length: usize| format!("{}{EVENT}", " ".repeat(length - EVENT.len()));
    let whole = || server.json(EVENTS, &padded(body_bytes_max));
    assert_eq!(status(whole()).await, 201, "alone it has room");
    problem(server.json(EVENTS, &padded(body_bytes_max + 1)), expect(413, "too-large")).await;
    let filling = tokio::time::timeout(PATIENCE, begun_until_full(&server, body_bytes_max, whole));
    let slow = filling.await.expect("its bytes are taken in, and then others find no room");
    let told = problem(whole(), expect(503, "overloaded")).await;
    assert!(told["detail"].to_string().contains("body_bytes_total_max"), "{told}");
    server.write("t", "small", "1").await;
    let group = format!("{}{{\"events\":[{EVENT}]}}", " ".repeat(50_000));
    let lines = server.lines(EVENTS, &group).send().await.expect("streams are not counted");
    assert_eq!(lines_of(lines).await.last().expect("a summary")["summary"]["complete"], true);
    drop(slow);
    let gone = async { while status(whole()).await == 503 {} };
    tokio::time::timeout(PATIENCE, gone).await.expect("it takes no room any more");
}

async fn status(request: RequestBuilder) -> u16 {
    request.send().await.expect("an answer").status().as_u16()
}

/// Sends all of a body but its end, again where it is itself refused, until others are refused.
async fn begun_until_full(
    server: &Server,
    length: usize,
    other: impl Fn() -> RequestBuilder,
) -> TcpStream {
    loop {
        let slow = begun(server, "application/json", &" ".repeat(length - 1)).await;
        while slow.try_read(&mut [0; 1]).is_err() {
            if status(other()).await == 503 {
                return slow;
            }
        }
    }
}
