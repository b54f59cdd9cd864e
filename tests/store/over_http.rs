//! A store that is written directly and read through a service, by the client.
//!
//! What the contract does not tell a client, [`Event::prev`](tidelog::domain::Event::prev), is
//! checked to be absent and then filled in from the store, so that everything else can be
//! compared as a whole.

use std::sync::Arc;

use async_trait::async_trait;
use futures::future::{BoxFuture, ready};
use tidelog::client::{Client, HttpReader};
use tidelog::config::Config;
use tidelog::domain::{
    Batch, Consumer, ConsumerName, Head, Key, Move, Moved, ReadEvent, Revision, Seq, Timestamp,
    TopicId, TopicName, TransactionNo,
};
use tidelog::store::memory::MemoryStore;
use tidelog::store::{
    AppendError, Cause, Direction, EventSourceReader, EventSourceWriter, Facts, MoveError, Opened,
    Scan, StoreError, SurfaceScan, TopicSummary, Touched, Wanted,
};
use tidelog::wire::time::{moment, rfc3339};

use crate::backends::Store;
use crate::service::Service;

/// Reads through a service over a store.
pub struct OverHttp {
    http: HttpReader,
    store: Arc<MemoryStore>,
    _service: Service,
}

/// A store, written directly and read over HTTP.
pub async fn open() -> Store {
    let store = Arc::new(MemoryStore::default());
    let config = Config::default();
    let service = Service::start(config, store.clone(), store.clone(), 0).await;
    let http = Client::new(&service.url()).expect("a client").reader();
    let reader = OverHttp { http, store: store.clone(), _service: service };
    Store { writer: Arc::new(Sayable(store)), reader: Arc::new(reader) }
}

/// Writes what HTTP can say: RFC 3339 ends with the year 9999.
struct Sayable(Arc<MemoryStore>);

#[async_trait]
impl EventSourceWriter for Sayable {
    async fn open(&self, topic: &TopicName) -> Result<Opened, StoreError> {
        self.0.open(topic).await
    }

    async fn facts(&self, topic: TopicId, wanted: Wanted) -> Result<Facts, StoreError> {
        self.0.facts(topic, wanted).await
    }

    async fn keys(
        &self,
        topic: TopicId,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Vec<Key>, StoreError> {
        self.0.keys(topic, after, limit).await
    }

    fn append(&self, batch: Arc<Batch>) -> BoxFuture<'static, Result<(), AppendError>> {
        if moment(&rfc3339(batch.recorded_at)) != Some(batch.recorded_at) {
            let cause = Cause::new("there is no text for its time");
            return Box::pin(ready(Err(AppendError::Rejected(cause))));
        }
        self.0.append(batch)
    }

    async fn fold(
        &self,
        topic: TopicId,
        to: Seq,
        touched: Option<Touched>,
    ) -> Result<Seq, StoreError> {
        self.0.fold(topic, to, touched).await
    }

    async fn expire(&self, before: Timestamp) -> Result<u64, StoreError> {
        self.0.expire(before).await
    }

    async fn move_consumer(&self, to: Move) -> Result<Option<Moved>, MoveError> {
        self.0.move_consumer(to).await
    }

    async fn forget_consumer(
        &self,
        topic: &TopicName,
        name: &ConsumerName,
        expected: Option<Revision>,
    ) -> Result<bool, MoveError> {
        self.0.forget_consumer(topic, name, expected).await
    }

    async fn close(&self) {
        self.0.close().await;
    }
}

impl OverHttp {
    async fn with_prev(&self, topic: &TopicName, mut events: Vec<ReadEvent>) -> Vec<ReadEvent> {
        for read in &mut events {
            assert_eq!(read.event.prev, None, "nothing is made up");
            let seq: Seq = read.event.version.seq;
            let scan = Scan {
                from: seq,
                to: seq,
                limit: 1,
                direction: Direction::Forward,
                bytes: usize::MAX,
            };
            let kept = self.store.events(topic, scan).await.expect("the store answers");
            read.event.prev = kept[0].event.prev;
        }
        events
    }
}

#[async_trait]
impl EventSourceReader for OverHttp {
    async fn topics(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<TopicSummary>, StoreError> {
        self.http.topics(prefix, after, limit).await
    }

    async fn head(&self, topic: &TopicName) -> Result<Head, StoreError> {
        self.http.head(topic).await
    }

    async fn events(&self, topic: &TopicName, scan: Scan) -> Result<Vec<ReadEvent>, StoreError> {
        Ok(self.with_prev(topic, self.http.events(topic, scan).await?).await)
    }

    async fn history(
        &self,
        topic: &TopicName,
        key: &Key,
        scan: Scan,
    ) -> Result<Vec<ReadEvent>, StoreError> {
        Ok(self.with_prev(topic, self.http.history(topic, key, scan).await?).await)
    }

    async fn transaction(
        &self,
        topic: &TopicName,
        transaction: TransactionNo,
    ) -> Result<Option<(Seq, Seq)>, StoreError> {
        self.http.transaction(topic, transaction).await
    }

    async fn surface(
        &self,
        topic: &TopicName,
        scan: &SurfaceScan,
    ) -> Result<Vec<ReadEvent>, StoreError> {
        Ok(self.with_prev(topic, self.http.surface(topic, scan).await?).await)
    }

    async fn consumer(
        &self,
        topic: &TopicName,
        name: &ConsumerName,
    ) -> Result<Option<Consumer>, StoreError> {
        self.http.consumer(topic, name).await
    }

    async fn consumers(
        &self,
        topic: &TopicName,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Consumer>, StoreError> {
        self.http.consumers(topic, prefix, after, limit).await
    }

    async fn all_consumers(
        &self,
        after: Option<&(TopicName, ConsumerName)>,
        limit: usize,
    ) -> Result<Vec<(TopicName, Consumer)>, StoreError> {
        self.http.all_consumers(after, limit).await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.http.ping().await
    }
}
