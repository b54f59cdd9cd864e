//! Redis streams: XADD over RESP, by hand. `appendfsync always`: every answer is durable.

use std::fmt::Write as _;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::client::Events;

pub struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    pub async fn open(address: &str) -> Self {
        let stream = TcpStream::connect(address).await.expect("redis listens");
        stream.set_nodelay(true).expect("it can be set");
        Self { stream, buffer: vec![0; 1 << 16] }
    }

    /// Adds events to a stream in one write, and waits for all answers.
    pub async fn add(&mut self, stream: &str, events: Events, numbers: std::ops::Range<usize>) {
        let mut request = String::new();
        let count = numbers.len();
        for n in numbers {
            let (key, data) = (events.key(n), events.data(n));
            let _ = write!(
                request,
                "*7\r\n$4\r\nXADD\r\n${}\r\n{stream}\r\n$1\r\n*\r\n$1\r\nk\r\n${}\r\n{key}\r\n\
                 $1\r\nd\r\n${}\r\n{data}\r\n",
                stream.len(),
                key.len(),
                data.len(),
            );
        }
        self.stream.write_all(request.as_bytes()).await.expect("it is sent");
        // An answer is a bulk string: "$<length>\r\n<id>\r\n".
        let mut ends = 0;
        while ends < 2 * count {
            let read = self.stream.read(&mut self.buffer).await.expect("it is received");
            assert!(read > 0, "redis closed the connection");
            let answer = &self.buffer[..read];
            assert_ne!(answer[0], b'-', "redis refused");
            ends += answer.iter().filter(|byte| **byte == b'\n').count();
        }
    }
}
