//! A service over a memory store, a client of it, and what is in the store.

use std::sync::Arc;
use std::time::Duration;

use tidelog::client::{Client, LineAck};
use tidelog::config::Config;
use tidelog::domain::limits::POSITION_MAX;
use tidelog::domain::{EventBody, ReadEvent, Seq, TopicName};
use tidelog::store::memory::MemoryStore;
use tidelog::store::{Direction, EventSourceReader as _, Scan};

use crate::service::Service;

pub struct World {
    pub store: Arc<MemoryStore>,
    pub service: Service,
    pub client: Client,
}

impl World {
    pub async fn new() -> Self {
        Self::with(Config::default()).await
    }

    pub async fn with(config: Config) -> Self {
        let store = Arc::new(MemoryStore::default());
        let service = Service::start(config, store.clone(), store.clone(), 0).await;
        let client = client(&service.url());
        Self { store, service, client }
    }

    /// The whole log.
    pub async fn events(&self, topic: &TopicName) -> Vec<ReadEvent> {
        let to = Seq(POSITION_MAX - 1);
        let scan = Scan {
            from: Seq(0),
            to,
            limit: 1_000_000,
            direction: Direction::Forward,
            bytes: usize::MAX,
        };
        self.store.events(topic, scan).await.expect("events")
    }

    /// The whole log: its transactions, as keys and data.
    pub async fn log(&self, topic: &TopicName) -> Vec<Vec<(String, String)>> {
        let mut transactions: Vec<Vec<(String, String)>> = Vec::new();
        for read in self.events(topic).await {
            let number = read.event.version.transaction.0 as usize;
            transactions.resize(number + 1, Vec::new());
            transactions[number].push(pair(&read));
        }
        transactions
    }
}

/// Key and data of an event.
pub fn pair(read: &ReadEvent) -> (String, String) {
    match &read.event.body {
        EventBody::Content(content) => {
            let data = String::from_utf8(content.data.bytes().to_vec()).expect("UTF-8");
            (content.key.as_str().to_owned(), data)
        }
        EventBody::Invalidation(_) => panic!("nothing is invalidated here"),
    }
}

/// A client that loses no time.
pub fn client(url: &str) -> Client {
    let pauses = (Duration::from_millis(1), Duration::from_millis(20));
    Client::builder(url).pauses(pauses.0, pauses.1).build().expect("a client")
}

/// The acks are those of these lines: in order, each where the log has its events.
pub fn check_acks(acks: &[LineAck], log: &[ReadEvent], lines: &[Vec<(String, String)>]) {
    assert_eq!(acks.len(), lines.len(), "every line is acknowledged once");
    for (number, (ack, line)) in acks.iter().zip(lines).enumerate() {
        assert_eq!(ack.line, number as u64);
        let there = ack.events.iter().map(|ack| pair(&log[ack.version.seq.0 as usize]));
        assert_eq!(there.collect::<Vec<_>>(), *line, "line {number}");
    }
}
