//! The service with or without hints to other instances, everything else the same: what hints cost
//! is the difference. The product has no such switch; the store is wrapped in one that says that no
//! other instance can write to it.

use std::net::TcpListener;
use std::sync::Arc;

use actix_web::web::Data;
use async_trait::async_trait;
use tidelog::config::Config;
use tidelog::domain::{
    Consumer, ConsumerName, Head, Key, ReadEvent, Seq, TopicName, TransactionNo,
};
use tidelog::store::postgres::{self, PostgresStore};
use tidelog::store::watched::Watched;
use tidelog::store::{EventSourceReader, Hints, Scan, StoreError, SurfaceScan, TopicSummary};
use tidelog::topic::Topics;
use tidelog::{http, server};

/// Serves a database until the process is killed; says where on standard error.
pub async fn serve(store: &str, hints: bool) {
    let config = Config::default();
    let store = PostgresStore::connect(&postgres::Config::new(store)).await;
    let store = Arc::new(Watched::new(store.expect("the store opens")));
    let reader: Arc<dyn EventSourceReader> =
        if hints { store.clone() } else { Arc::new(Silent { store: store.clone() }) };
    let topics = Topics::new(store, server::settings(&config));
    let app = Data::new(server::app(&config, topics, reader, None));
    let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
    eprintln!("http://{} ", listener.local_addr().expect("it is bound"));
    let serving = http::serve(app, listener, config.workers, config.shutdown_timeout);
    serving.expect("it can be served").await.expect("it serves");
}

/// A store without hints.
struct Silent {
    store: Arc<dyn EventSourceReader>,
}

#[async_trait]
impl EventSourceReader for Silent {
    async fn topics(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<TopicSummary>, StoreError> {
        self.store.topics(prefix, after, limit).await
    }

    async fn head(&self, topic: &TopicName) -> Result<Head, StoreError> {
        self.store.head(topic).await
    }

    async fn heads(&self, topics: &[TopicName]) -> Result<Vec<Head>, StoreError> {
        self.store.heads(topics).await
    }

    fn hints(&self) -> Option<Arc<dyn Hints>> {
        None
    }

    async fn events(&self, topic: &TopicName, scan: Scan) -> Result<Vec<ReadEvent>, StoreError> {
        self.store.events(topic, scan).await
    }

    async fn history(
        &self,
        topic: &TopicName,
        key: &Key,
        scan: Scan,
    ) -> Result<Vec<ReadEvent>, StoreError> {
        self.store.history(topic, key, scan).await
    }

    async fn transaction(
        &self,
        topic: &TopicName,
        transaction: TransactionNo,
    ) -> Result<Option<(Seq, Seq)>, StoreError> {
        self.store.transaction(topic, transaction).await
    }

    async fn surface(
        &self,
        topic: &TopicName,
        scan: &SurfaceScan,
    ) -> Result<Vec<ReadEvent>, StoreError> {
        self.store.surface(topic, scan).await
    }

    async fn consumer(
        &self,
        topic: &TopicName,
        name: &ConsumerName,
    ) -> Result<Option<Consumer>, StoreError> {
        self.store.consumer(topic, name).await
    }

    async fn consumers(
        &self,
        topic: &TopicName,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Consumer>, StoreError> {
        self.store.consumers(topic, prefix, after, limit).await
    }

    async fn all_consumers(
        &self,
        after: Option<&(TopicName, ConsumerName)>,
        limit: usize,
    ) -> Result<Vec<(TopicName, Consumer)>, StoreError> {
        self.store.all_consumers(after, limit).await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.store.ping().await
    }
}
