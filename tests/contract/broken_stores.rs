//! What a store brings about that does not do what it should, or takes its time: rows of the contract's table of
//! errors, and what is handed to it meanwhile. Not here: stores that really are killed (`bad_days.rs`, `trouble.rs`).

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use reqwest::Method;
use tidelog::config::Config;
use tidelog::domain::{
    Batch, ConsumerName, Key, Move, Moved, Revision, Seq, Timestamp, TopicId, TopicName,
};
use tidelog::store::{
    AppendError, Cause, EventSourceWriter, Facts, MoveError, Opened, StoreError, Touched, Wanted,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

use crate::support::*;

const EVENTS: &str = "/v1/topics/t/events";
const EVENT: &str = r#"{"key":"k","data":1}"#;

on_every_backend!(
    a_store_that_is_lost_while_committing_leaves_the_outcome_unknown,
    a_store_that_is_away_or_read_only_is_told_as_such_without_its_words,
    a_consumer_that_is_not_moved_is_told_what_is_certain,
    a_full_queue_is_told_as_such,
    the_second_half_of_a_request_does_not_wait_for_the_first,
    a_store_that_takes_its_time_costs_nobody_the_connection,
    a_stream_that_is_refused_while_it_is_sent_does_not_hang,
);

/// A store that does not do what it should.
#[derive(Clone, Copy, PartialEq)]
enum Broken {
    /// Appends are never answered.
    Hangs,
    /// It is not reachable.
    Away,
    /// It takes no writes.
    ReadOnly,
    /// The first append of many events is not done before there is a second.
    Slow,
}

type Appending = BoxFuture<'static, Result<(), AppendError>>;

/// What a slow store does with an append.
enum Slow {
    /// Nothing was held yet.
    Holds,
    /// This is held, and who waits for it hears where it goes on.
    Held(Arc<Batch>, oneshot::Sender<Appending>),
    /// Something was held once.
    Done,
}

struct BrokenStore {
    how: Broken,
    inner: Arc<dyn EventSourceWriter>,
    slow: Mutex<Slow>,
}

impl BrokenStore {
    async fn answers(&self) -> Result<(), StoreError> {
        match self.how {
            Broken::Hangs => std::future::pending().await,
            Broken::Away => Err(StoreError::Unavailable(Cause::new("SELECT secret"))),
            Broken::ReadOnly => Err(StoreError::ReadOnly(Cause::new("SELECT secret"))),
            Broken::Slow => Ok(()),
        }
    }

    fn append_slowly(&self, batch: Arc<Batch>) -> Appending {
        let mut slow = self.slow.lock();
        match std::mem::replace(&mut *slow, Slow::Done) {
            Slow::Holds if batch.events.len() == 1 => *slow = Slow::Holds,
            Slow::Holds => {
                let (goes_on, held) = oneshot::channel();
                *slow = Slow::Held(batch, goes_on);
                return Box::pin(async { held.await.expect("a second comes").await });
            }
            Slow::Held(first, goes_on) => drop(goes_on.send(self.inner.append(first))),
            Slow::Done => {}
        }
        self.inner.append(batch)
    }
}

#[async_trait]
impl EventSourceWriter for BrokenStore {
    async fn open(&self, topic: &TopicName) -> Result<Opened, StoreError> {
        if self.how != Broken::Hangs {
            self.answers().await?;
        }
        self.inner.open(topic).await
    }

    async fn facts(&self, topic: TopicId, wanted: Wanted) -> Result<Facts, StoreError> {
        self.inner.facts(topic, wanted).await
    }

    async fn keys(
        &self,
        topic: TopicId,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Vec<Key>, StoreError> {
        self.inner.keys(topic, after, limit).await
    }

    fn append(&self, batch: Arc<Batch>) -> Appending {
        match self.how {
            Broken::Slow => self.append_slowly(batch),
            Broken::Hangs | Broken::Away | Broken::ReadOnly => Box::pin(std::future::pending()),
        }
    }

    async fn fold(
        &self,
        topic: TopicId,
        to: Seq,
        touched: Option<Touched>,
    ) -> Result<Seq, StoreError> {
        self.inner.fold(topic, to, touched).await
    }

    async fn expire(&self, before: Timestamp) -> Result<u64, StoreError> {
        self.inner.expire(before).await
    }

    async fn move_consumer(&self, to: Move) -> Result<Option<Moved>, MoveError> {
        self.answers().await.map_err(MoveError::NotMoved)?;
        self.inner.move_consumer(to).await
    }

    async fn forget_consumer(
        &self,
        topic: &TopicName,
        name: &ConsumerName,
        expected: Option<Revision>,
    ) -> Result<bool, MoveError> {
        self.answers().await.map_err(MoveError::NotMoved)?;
        self.inner.forget_consumer(topic, name, expected).await
    }

    async fn close(&self) {
        self.inner.close().await;
    }
}

async fn broken(how: Broken, config: Config) -> Server {
    let (writer, reader) = tidelog::server::open(&config).await.expect("it opens");
    let store = BrokenStore { how, inner: writer, slow: Mutex::new(Slow::Holds) };
    Server::on(config, (Arc::new(store), reader)).await
}

const IMPATIENT: Duration = Duration::from_millis(200);
/// Where the topic has to be taken in that time, too.
const NOT_TOO_IMPATIENT: Duration = Duration::from_secs(2);

fn within(write_timeout: Duration, backend: &Backend) -> Config {
    Config { write_timeout, ..backend.config() }
}

async fn a_store_that_is_lost_while_committing_leaves_the_outcome_unknown(backend: &Backend) {
    let server = broken(Broken::Hangs, within(NOT_TOO_IMPATIENT, backend)).await;
    problem(server.json(EVENTS, EVENT), expect(504, "outcome-unknown")).await;
    let answer = server.lines(EVENTS, EVENT).send().await.expect("an answer");
    let lines = lines_of(answer).await;
    assert_eq!(lines[0]["error"]["code"], "outcome-unknown");
    assert_eq!(lines[0]["error"]["committed"], "unknown");
    assert_eq!(lines[1]["summary"]["complete"], false);
}

async fn a_store_that_is_away_or_read_only_is_told_as_such_without_its_words(backend: &Backend) {
    let server = broken(Broken::Away, within(IMPATIENT, backend)).await;
    let told = problem(server.json(EVENTS, EVENT), expect(503, "unavailable")).await;
    assert!(!told.to_string().contains("SELECT"), "{told}");
    drop(server);
    let server = broken(Broken::ReadOnly, within(IMPATIENT, backend)).await;
    let told = problem(server.json(EVENTS, EVENT), expect(503, "read-only")).await;
    assert!(!told.to_string().contains("SELECT"), "{told}");
}

async fn a_consumer_that_is_not_moved_is_told_what_is_certain(backend: &Backend) {
    const CONSUMER: &str = "/v1/topics/t/consumers/c";
    if backend.url == "memory:" {
        return; // The topic has to be there before the store breaks.
    }
    let server = Server::start(backend.config()).await;
    server.write("t", "k", "1").await;
    drop(server);
    for (how, status, code) in [
        (Broken::Hangs, 504, "outcome-unknown"),
        (Broken::Away, 503, "unavailable"),
        (Broken::ReadOnly, 503, "read-only"),
    ] {
        let server = broken(how, within(IMPATIENT, backend)).await;
        let put = server.request(Method::PUT, CONSUMER).body("{\"seq\":0}");
        let put = put.header("Content-Type", "application/json");
        let told = problem(put, expect(status, code)).await;
        assert!(!told.to_string().contains("SELECT"), "{told}");
        problem(server.request(Method::DELETE, CONSUMER), expect(status, code)).await;
        problem(server.get(CONSUMER), expect(404, "consumer-not-found")).await;
    }
}

async fn a_full_queue_is_told_as_such(backend: &Backend) {
    let config = Config { topic_queue_events_max: 2, ..within(NOT_TOO_IMPATIENT, backend) };
    let server = broken(Broken::Hangs, config).await;
    let request = || server.json(EVENTS, EVENT).send();
    let answers = futures::future::join_all((0..5).map(|_| request())).await;
    let statuses: Vec<u16> =
        answers.into_iter().map(|answer| answer.expect("an answer").status().as_u16()).collect();
    assert_eq!(statuses.iter().filter(|status| **status == 503).count(), 3, "{statuses:?}");
    assert_eq!(statuses.iter().filter(|status| **status == 504).count(), 2, "{statuses:?}");
}

/// Found in a trace: the store had one half, or nothing, while the other was read.
async fn the_second_half_of_a_request_does_not_wait_for_the_first(backend: &Backend) {
    let server = broken(Broken::Slow, backend.config()).await;
    server.write("t", "k", "1").await; // From here on the topic is taken.
    let answer = server.lines(EVENTS, &updates(1000)).send().await.expect("an answer");
    assert_eq!(written(answer).await, 1000);
}

/// An answer began after 50 ms at most, before its request had ended, and then the connection was closed.
async fn a_store_that_takes_its_time_costs_nobody_the_connection(backend: &Backend) {
    let config = Config { topic_queue_events_max: 550, ..backend.config() };
    let server = broken(Broken::Slow, config).await;
    server.write("t", "k", "1").await;
    server.write("another", "k", "-1").await;
    // There is room for the first chunk, and for the rest when that is written.
    let mut answer = pin!(server.lines(EVENTS, &updates(600)).send());
    let early = tokio::time::timeout(Duration::from_millis(200), answer.as_mut()).await;
    assert!(early.is_err(), "the answer begins when all is read");
    // Whatever the store gets next lets the first go on.
    let others = async {
        for n in 0.. {
            server.write("another", "k", &n.to_string()).await;
        }
    };
    let answer = tokio::select! {
        answer = answer => answer.expect("an answer"),
        () = others => unreachable!("there is no end of numbers"),
    };
    assert_eq!(answer.headers().get("Connection"), None);
    assert_eq!(written(answer).await, 600);
}

/// Nobody read what had come until the answer was there, and then nobody read it at all: who went on sending
/// waited for ever, and so did the next request on the connection.
async fn a_stream_that_is_refused_while_it_is_sent_does_not_hang(backend: &Backend) {
    let server = broken(Broken::Away, within(IMPATIENT, backend)).await;
    let stream = TcpStream::connect(&server.address).await.expect("it listens");
    let (mut answer, mut request) = stream.into_split();
    let head = format!(
        "POST {EVENTS} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-ndjson\r\n\
         Producer-Id: p\r\nProducer-Seq: 0\r\nTransfer-Encoding: chunked\r\n\r\n"
    );
    request.write_all(head.as_bytes()).await.expect("it is read");
    let lines = updates(1000);
    let chunk = format!("{:x}\r\n{lines}\r\n", lines.len());
    let sending = async { while request.write_all(chunk.as_bytes()).await.is_ok() {} };
    let mut text = Vec::new();
    let both = async { tokio::join!(sending, answer.read_to_end(&mut text)) };
    let ended = tokio::time::timeout(Duration::from_secs(20), both).await;
    let text = String::from_utf8_lossy(&text);
    assert!(ended.is_ok(), "the connection goes on without end: {text}");
    assert!(text.starts_with("HTTP/1.1 503"), "{text}");
    assert!(text.to_lowercase().contains("\r\nconnection: close\r\n"), "{text}");
}

/// Lines, each with a key of its own.
fn updates(count: usize) -> String {
    (0..count).map(|n| format!("{{\"key\":\"k{n}\",\"data\":1}}\n")).collect()
}

/// The events that were written, as the summary says.
async fn written(answer: reqwest::Response) -> u64 {
    let lines = lines_of(answer).await;
    let summary = &lines.last().expect("a summary")["summary"];
    summary["written"].as_u64().unwrap_or_else(|| panic!("{summary}"))
}
