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
        // Numbers are written into a line that is there: formatting each would cost ten times as
        // much, on a core that the service needs.
        let mut line = (self.line(0) + "\n").into_bytes();
        let after = |text: &[u8]| memchr::memmem::find(&line, text).map(|at| at + text.len());
        let key = after(b"\"key\":\"key-").expect("a line has a key");
        let number = after(b"\"number\":1").expect("a line has a number");
        (0..self.count).step_by(CHUNK).map(move |first| {
            let numbers = first..(first + CHUNK).min(self.count);
            let mut bytes = format!("{:x}\r\n", line.len() * numbers.len()).into_bytes();
            bytes.reserve_exact(line.len() * numbers.len() + 2);
            for n in numbers {
                let n = self.offset + n;
                write_digits(&mut line[key..key + 16], self.keys.map_or(n, |keys| n % keys));
                write_digits(&mut line[number..number + 11], n);
                bytes.extend_from_slice(&line);
            }
            bytes.extend(b"\r\n");
            bytes
        })
    }
}

/// A number with leading zeros.
fn write_digits(digits: &mut [u8], mut number: usize) {
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

async fn connect(address: &str) -> TcpStream {
    let connection = TcpStream::connect(address).await.expect("the service listens");
    connection.set_nodelay(true).expect("it can be set");
    connection
}

/// One producer, one request, all events as lines. Seconds, from the first byte.
pub async fn stream(address: &str, topic: &str, events: Events) -> f64 {
    let (mut reader, mut writer) = connect(address).await.into_split();
    let head = format!(
        "POST /v1/topics/{topic}/events HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\
         Content-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n"
    );
    let began = Instant::now();
    let sending = async {
        writer.write_all(head.as_bytes()).await.expect("it is sent");
        for chunk in events.chunks() {
            writer.write_all(&chunk).await.expect("it is sent");
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
