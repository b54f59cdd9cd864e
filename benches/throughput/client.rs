//! A client that costs little: HTTP/1.1 by hand over one connection a producer, because a fuller
//! client would take the cores that the service needs. Every answer is checked.
//!
//! Not here: what is sent by whom (`case.rs`), other protocols (`redis.rs`, `nats.rs`).

use std::time::Instant;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Events of a chunk of a streamed body.
const CHUNK: usize = 500;

/// Numbers of events and what they look like: 200 bytes of data, a key of 20.
#[derive(Clone, Copy)]
pub struct Events {
    pub count: usize,
    /// So many keys in turn, or `None` for keys never seen.
    pub keys: Option<usize>,
    /// Events and keys of different offsets differ.
    pub offset: usize,
}

impl Events {
    pub fn key(&self, number: usize) -> String {
        let number = self.offset + number;
        format!("key-{:016}", self.keys.map_or(number, |keys| number % keys))
    }

    pub fn data(&self, number: usize) -> String {
        let number = self.offset + number;
        let pad = "x".repeat(200 - 36);
        format!("{{\"number\":1{number:011},\"pad\":\"{pad}\"}}")
    }

    pub fn line(&self, number: usize) -> String {
        format!("{{\"key\":\"{}\",\"data\":{}}}", self.key(number), self.data(number))
    }

    fn chunks(self) -> impl Iterator<Item = Vec<u8>> {
        (0..self.count).step_by(CHUNK).map(move |first| {
            let numbers = first..(first + CHUNK).min(self.count);
            let lines: String = numbers.map(|n| self.line(n) + "\n").collect();
            let mut bytes = format!("{:x}\r\n", lines.len()).into_bytes();
            bytes.extend(lines.into_bytes());
            bytes.extend(b"\r\n");
            bytes
        })
    }
}

async fn connect(address: &str) -> TcpStream {
    let connection = TcpStream::connect(address).await.expect("the service listens");
    connection.set_nodelay(true).expect("it can be set");
    connection
}

/// One producer, one request, all events as lines. Calls `acknowledged` when it begins, with 0, and then now
/// and again with the number of lines received so far, acknowledgements but for a few. Seconds, from when it
/// begins: what is to be sent has been made by then.
pub async fn stream(
    address: &str,
    topic: &str,
    events: Events,
    mut acknowledged: impl FnMut(usize),
) -> f64 {
    // Made before the clock starts where they fit; a long stream is made as it goes.
    let ready: Vec<_> = events.chunks().take(2_000).collect();
    let made = ready.len();
    let (mut reader, mut writer) = connect(address).await.into_split();
    let head = format!(
        "POST /v1/topics/{topic}/events HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\
         Content-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n"
    );
    let began = Instant::now();
    acknowledged(0);
    let sending = async {
        writer.write_all(head.as_bytes()).await.expect("it is sent");
        for chunk in ready {
            writer.write_all(&chunk).await.expect("it is sent");
        }
        for chunk in events.chunks().skip(made) {
            writer.write_all(&chunk).await.expect("it is sent");
        }
        writer.write_all(b"0\r\n\r\n").await.expect("it is sent");
    };
    let receiving = async {
        let mut end = Vec::new();
        let mut buffer = vec![0; 1 << 18];
        let mut lines = 0;
        loop {
            let count = reader.read(&mut buffer).await.expect("it is received");
            if count == 0 {
                break;
            }
            lines += memchr::memchr_iter(b'\n', &buffer[..count]).count();
            acknowledged(lines);
            end.extend_from_slice(&buffer[..count]);
            let keep = end.len().saturating_sub(2000);
            end.drain(..keep);
        }
        String::from_utf8_lossy(&end).into_owned()
    };
    let ((), end) = tokio::join!(sending, receiving);
    let seconds = began.elapsed().as_secs_f64();
    let complete = format!("\"lines\":{0},\"written\":{0},\"duplicates\":0", events.count);
    assert!(end.contains(&complete) && end.contains("\"complete\":true"), "{end}");
    seconds
}

/// One connection that sends requests one after the other.
pub struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    pub async fn open(address: &str) -> Self {
        Self { stream: connect(address).await, buffer: vec![0; 1 << 16] }
    }

    /// Sends a body and reads the whole answer, which must be a success. Returns it.
    pub async fn post(&mut self, path: &str, kind: &str, body: &str) -> &[u8] {
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {kind}\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len(),
        );
        self.stream.write_all(request.as_bytes()).await.expect("it is sent");
        self.answer().await
    }

    /// Gets a page or a stream, and gives every piece of the body to `take`.
    pub async fn get(&mut self, path: &str, accept: &str, mut take: impl FnMut(&[u8])) {
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: {accept}\r\nConnection: close\r\n\r\n"
        );
        self.stream.write_all(request.as_bytes()).await.expect("it is sent");
        loop {
            let count = self.stream.read(&mut self.buffer).await.expect("it is received");
            if count == 0 {
                return;
            }
            take(&self.buffer[..count]);
        }
    }

    async fn answer(&mut self) -> &[u8] {
        let mut filled = 0;
        loop {
            if filled == self.buffer.len() {
                self.buffer.resize(filled * 2, 0);
            }
            let count = self.stream.read(&mut self.buffer[filled..]).await;
            let count = count.expect("it is received");
            assert!(count > 0, "the service closed the connection");
            filled += count;
            if let Some(body) = whole(&self.buffer[..filled]) {
                return &self.buffer[body..filled];
            }
        }
    }
}

/// Where the body of an answer begins, once all of it is there.
fn whole(bytes: &[u8]) -> Option<usize> {
    let head = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let text = std::str::from_utf8(&bytes[..head]).expect("a head is text").to_ascii_lowercase();
    assert!(text.starts_with("http/1.1 20"), "{text}");
    let body = head + 4;
    let complete = match text.split("content-length: ").nth(1) {
        Some(length) => {
            let length = length.lines().next().unwrap_or_default();
            bytes.len() == body + length.parse::<usize>().expect("a number")
        }
        None => bytes.ends_with(b"\r\n0\r\n\r\n"),
    };
    complete.then_some(body)
}
