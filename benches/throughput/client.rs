//! A client that costs little: HTTP/1.1 by hand over one connection a producer, because a fuller
//! client would take the cores that the service needs.

use std::time::Instant;

use futures::future::join_all;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// What is written.
pub struct Load {
    pub topic: &'static str,
    pub events: usize,
}

/// One event: 200 bytes of data, a key of 20.
fn event(number: usize) -> String {
    let pad = "x".repeat(200 - 36);
    format!(
        "{{\"key\":\"key-{number:016}\",\"data\":{{\"number\":{number:012},\"pad\":\"{pad}\"}}}}"
    )
    .replace(":0", ":1")
}

/// One producer, one request, all events as lines. Events a second.
pub async fn stream(address: &str, load: &Load) -> f64 {
    let chunks: Vec<Vec<u8>> = (0..load.events.div_ceil(500))
        .map(|chunk| {
            let numbers = chunk * 500..((chunk + 1) * 500).min(load.events);
            let lines: String = numbers.map(|n| event(n) + "\n").collect();
            let mut bytes = format!("{:x}\r\n", lines.len()).into_bytes();
            bytes.extend(lines.into_bytes());
            bytes.extend(b"\r\n");
            bytes
        })
        .collect();
    let connection = TcpStream::connect(address).await.expect("the service listens");
    let (mut reader, mut writer) = connection.into_split();
    let began = Instant::now();
    let head = format!(
        "POST /v1/topics/{}/events HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\
         Content-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n",
        load.topic
    );
    let sending = async {
        writer.write_all(head.as_bytes()).await.expect("it is sent");
        for chunk in &chunks {
            writer.write_all(chunk).await.expect("it is sent");
        }
        writer.write_all(b"0\r\n\r\n").await.expect("it is sent");
    };
    let receiving = async {
        let mut end = Vec::new();
        let mut buffer = vec![0; 1 << 18];
        loop {
            let count = reader.read(&mut buffer).await.expect("it is received");
            if count == 0 {
                break;
            }
            end.extend_from_slice(&buffer[..count]);
            let keep = end.len().saturating_sub(2000);
            end.drain(..keep);
        }
        String::from_utf8_lossy(&end).into_owned()
    };
    let ((), end) = tokio::join!(sending, receiving);
    let seconds = began.elapsed().as_secs_f64();
    let complete = format!("\"lines\":{0},\"written\":{0},\"duplicates\":0", load.events);
    assert!(end.contains(&complete) && end.contains("\"complete\":true"), "{end}");
    load.events as f64 / seconds
}

/// Producers that write one event a request and wait for each answer. Events a second.
pub async fn singles(address: &str, load: &Load, producers: usize) -> f64 {
    let each = load.events / producers;
    let began = Instant::now();
    let all = join_all((0..producers).map(|producer| async move {
        let mut connection = TcpStream::connect(address).await.expect("the service listens");
        connection.set_nodelay(true).expect("it can be set");
        let mut buffer = vec![0; 4096];
        for n in 0..each {
            let body = event((producer + 1) * 10_000_000 + n);
            let request = format!(
                "POST /v1/topics/{}/events HTTP/1.1\r\nHost: bench\r\n\
                 Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
                load.topic,
                body.len(),
            );
            connection.write_all(request.as_bytes()).await.expect("it is sent");
            answer(&mut connection, &mut buffer).await;
        }
    }));
    all.await;
    (each * producers) as f64 / began.elapsed().as_secs_f64()
}

/// Reads one answer to its end, and sees that it is a 201.
async fn answer(connection: &mut TcpStream, buffer: &mut [u8]) {
    let mut filled = 0;
    loop {
        let count = connection.read(&mut buffer[filled..]).await.expect("it is received");
        assert!(count > 0, "the service closed the connection");
        filled += count;
        let text = std::str::from_utf8(&buffer[..filled]).expect("it is text");
        let Some(head) = text.find("\r\n\r\n") else { continue };
        assert!(text.starts_with("HTTP/1.1 201"), "{text}");
        let lower = text[..head].to_ascii_lowercase();
        let length = lower.split("content-length: ").nth(1).expect("answers have a length");
        let length: usize = length.lines().next().unwrap_or_default().parse().expect("a number");
        if filled == head + 4 + length {
            return;
        }
    }
}
