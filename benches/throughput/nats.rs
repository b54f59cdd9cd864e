//! NATS JetStream: publish with acknowledgement over its text protocol, by hand. A file-backed
//! stream on one node; with `sync_interval: always` every acknowledgement is durable.

use std::fmt::Write as _;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::client::Events;

pub struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
    inbox: String,
}

impl Connection {
    pub async fn open(address: &str, number: usize) -> Self {
        let mut stream = TcpStream::connect(address).await.expect("nats listens");
        stream.set_nodelay(true).expect("it can be set");
        let inbox = format!("_INBOX.{number}");
        let hello = format!(
            "CONNECT {{\"verbose\":false,\"pedantic\":false}}\r\nSUB {inbox} 1\r\nPING\r\n"
        );
        stream.write_all(hello.as_bytes()).await.expect("it is sent");
        let mut connection = Self { stream, buffer: vec![0; 1 << 16], inbox };
        connection.until("PONG\r\n").await;
        connection
    }

    /// Makes the stream that keeps everything published below `bench`.
    pub async fn create_stream(&mut self) {
        let wanted = "{\"name\":\"BENCH\",\"subjects\":[\"bench.>\"],\"storage\":\"file\"}";
        let request = format!(
            "PUB $JS.API.STREAM.CREATE.BENCH {} {}\r\n{wanted}\r\n",
            self.inbox,
            wanted.len()
        );
        self.stream.write_all(request.as_bytes()).await.expect("it is sent");
        let answer = self.until("}\r\n").await;
        assert!(!answer.contains("\"error\""), "{answer}");
    }

    async fn until(&mut self, end: &str) -> String {
        let mut text = String::new();
        while !text.ends_with(end) {
            let read = self.stream.read(&mut self.buffer).await.expect("it is received");
            assert!(read > 0, "nats closed the connection");
            text.push_str(&String::from_utf8_lossy(&self.buffer[..read]));
        }
        text
    }

    /// Publishes events in one write, and waits for all acknowledgements.
    pub async fn publish(&mut self, topic: &str, events: Events, numbers: std::ops::Range<usize>) {
        let mut request = String::new();
        let mut open = numbers.len();
        for n in numbers {
            let line = events.line(n);
            let _ =
                write!(request, "PUB bench.{topic} {} {}\r\n{line}\r\n", self.inbox, line.len());
        }
        self.stream.write_all(request.as_bytes()).await.expect("it is sent");
        let mut rest: Vec<u8> = Vec::new();
        while open > 0 {
            let read = self.stream.read(&mut self.buffer).await.expect("it is received");
            assert!(read > 0, "nats closed the connection");
            rest.extend_from_slice(&self.buffer[..read]);
            // An acknowledgement is {"stream":"BENCH", "seq":17}; nothing else holds "seq".
            let text = String::from_utf8_lossy(&rest);
            assert!(!text.contains("\"error\""), "{text}");
            let whole = text.rfind("}\r\n").map_or(0, |at| at + 3);
            open -= text[..whole].matches("\"seq\":").count();
            rest.drain(..whole);
            if rest.starts_with(b"PING\r\n") {
                self.stream.write_all(b"PONG\r\n").await.expect("it is sent");
                rest.drain(..6);
            }
        }
    }
}
