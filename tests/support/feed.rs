//! Live answers as a client sees them: messages of an event stream, or lines.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::time::Duration;

use reqwest::{RequestBuilder, Response};
use serde_json::Value;

/// Longer than anything takes that is right.
const HANGS: Duration = Duration::from_secs(300);

/// A message of an event stream.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    pub id: Option<u64>,
    pub event: String,
    pub data: Value,
}

impl Message {
    /// Whether it carries an event of the topic.
    pub fn is_event(&self) -> bool {
        self.event == "event" || self.event == "invalidation"
    }
}

/// A live answer that is being read.
pub struct Feed {
    answer: Response,
    text: Vec<u8>,
    /// What of the text has been looked at.
    seen: usize,
}

impl Feed {
    pub async fn messages(request: RequestBuilder) -> Self {
        Self::begin(request.header("Accept", "text/event-stream"), "text/event-stream").await
    }

    pub async fn lines(request: RequestBuilder) -> Self {
        let media = "application/x-ndjson";
        Self::begin(request.header("Accept", media), media).await
    }

    async fn begin(request: RequestBuilder, media: &str) -> Self {
        let answer = request.send().await.expect("an answer");
        assert_eq!(answer.status(), 200, "{answer:?}");
        assert_eq!(answer.headers()["content-type"], media);
        Self { answer, text: Vec::new(), seen: 0 }
    }

    /// The text up to the next `end`; `None` at the end of the answer, an error where it is cut.
    async fn part(&mut self, end: &[u8]) -> reqwest::Result<Option<String>> {
        loop {
            let begin = self.seen.saturating_sub(end.len());
            let found = memchr::memmem::find(&self.text[begin..], end);
            if let Some(at) = found.map(|at| begin + at) {
                let part = self.text.drain(..at + end.len()).collect();
                self.seen = 0;
                return Ok(Some(String::from_utf8(part).expect("UTF-8")));
            }
            self.seen = self.text.len();
            let more = tokio::time::timeout(HANGS, self.answer.chunk()).await;
            match more.expect("something comes")? {
                Some(piece) => self.text.extend_from_slice(&piece),
                None => {
                    assert!(self.text.is_empty(), "it ends inside a message");
                    return Ok(None);
                }
            }
        }
    }

    /// The next message; `None` at the end.
    pub async fn try_next(&mut self) -> reqwest::Result<Option<Message>> {
        let Some(text) = self.part(b"\n\n").await? else { return Ok(None) };
        let mut message = Message { id: None, event: String::new(), data: Value::Null };
        for line in text.lines().filter(|line| !line.is_empty()) {
            match line.split_once(": ").expect("a field") {
                ("id", id) => message.id = Some(id.parse().expect("a seq")),
                ("event", event) => message.event = event.into(),
                ("data", data) => message.data = serde_json::from_str(data).expect("JSON"),
                field => panic!("{field:?}"),
            }
        }
        Ok(Some(message))
    }

    pub async fn next(&mut self) -> Option<Message> {
        self.try_next().await.expect("it is not cut")
    }

    /// The next message that is not a heartbeat, which must come.
    pub async fn expect(&mut self) -> Message {
        loop {
            let message = self.next().await.expect("it goes on");
            if message.event != "heartbeat" {
                return message;
            }
        }
    }

    /// The next message, which must be of this kind.
    pub async fn expect_a(&mut self, event: &str) -> Message {
        let message = self.expect().await;
        assert_eq!(message.event, event, "{message:?}");
        message
    }

    /// The next events, in order and without a gap.
    pub async fn events(&mut self, from: u64, count: u64) -> Vec<Value> {
        let mut events = Vec::new();
        while (events.len() as u64) < count {
            let message = self.expect().await;
            if message.event == "caught-up" {
                continue;
            }
            assert!(message.is_event(), "{message:?}");
            let seq = from + events.len() as u64;
            assert_eq!((message.id, &message.data["seq"]), (Some(seq), &Value::from(seq)));
            events.push(message.data);
        }
        events
    }

    /// The next line; `None` at the end.
    pub async fn line(&mut self) -> Option<Value> {
        let line = self.part(b"\n").await.expect("it is not cut")?;
        Some(serde_json::from_str(&line).expect("JSON"))
    }
}
