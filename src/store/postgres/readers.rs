//! The readers' side of the store: connections on a runtime, and so a thread, of their own.
//!
//! Rows are taken in where their connection is, and the answer goes to whoever asked as a whole: from
//! thread to thread once, not once for every few rows. While a page is written and sent elsewhere, the
//! next one can be taken in here.
//!
//! Invariant: what is held of an answer is bounded by the scan's bytes, not by its number of events.

use std::sync::Arc;

use async_trait::async_trait;
use deadpool_postgres::{Object, Pool};
use tokio::runtime::Runtime;
use tokio_util::task::AbortOnDropHandle;

use super::super::{
    Cause, EventSourceReader, Hints, Scan, StoreError, SurfaceScan, TopicSummary, Wanted,
};
use super::error::pool_error;
use super::hints::PostgresHints;
use super::read::{Answer, Place};
use super::{PostgresStore, consumers, facts, fold, read, snapshot};
use crate::domain::{
    Consumer, ConsumerName, Head, Key, ReadEvent, Root, Seq, TopicName, TransactionNo,
};

/// See the module.
pub(super) struct Readers {
    pool: Pool,
    /// `Some` until it is dropped.
    runtime: Option<Runtime>,
}

impl Readers {
    /// The connections of `pool` must live on `runtime`.
    pub(super) fn new(pool: Pool, runtime: Runtime) -> Self {
        Self { pool, runtime: Some(runtime) }
    }

    async fn get(&self) -> Result<Object, StoreError> {
        self.pool.get().await.map_err(pool_error)
    }

    /// Reads on the readers' thread; whoever drops the future breaks it off.
    async fn read<T, F>(&self, read: impl FnOnce(Object) -> F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, StoreError>> + Send + 'static,
    {
        let reading = read(self.get().await?);
        let closed = || StoreError::Unavailable(Cause::new("a read was broken off"));
        let runtime = self.runtime.as_ref().ok_or_else(closed)?;
        let task = AbortOnDropHandle::new(runtime.spawn(reading));
        task.await.unwrap_or_else(|_| Err(closed()))
    }

    pub(super) fn close(&self) {
        self.pool.close();
    }
}

impl Drop for Readers {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background(); // The only way that is allowed anywhere.
        }
    }
}

/// The events of an answer. Where the server still sends, there are larger events than was thought;
/// the protocol has no other way to say "enough" on this connection than to end it.
fn settle(
    client: Object,
    answer: Result<Answer, StoreError>,
) -> Result<Vec<ReadEvent>, StoreError> {
    let Answer { events, goes_on } = answer?;
    if goes_on {
        drop(Object::take(client));
    }
    Ok(events)
}

/// Finds a topic with its surface brought forward to `at`, or to the head where that is earlier.
async fn folded(
    client: &mut Object,
    topic: &TopicName,
    at: Seq,
) -> Result<Option<Place>, StoreError> {
    let place = read::place(client, topic).await?;
    if let Some(Place { id, head, folded }) = &place {
        let at = at.min(head.seq);
        if folded.is_none_or(|folded| folded < at) {
            fold::fold(client, *id, at, None).await?;
        }
    }
    Ok(place)
}

#[async_trait]
impl EventSourceReader for PostgresStore {
    async fn topics(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<TopicSummary>, StoreError> {
        read::topics(&self.readers.get().await?, prefix, after, limit).await
    }

    async fn head(&self, topic: &TopicName) -> Result<Head, StoreError> {
        let place = read::place(&self.readers.get().await?, topic).await?;
        Ok(place.map(|place| place.head))
    }

    async fn heads(&self, topics: &[TopicName]) -> Result<Vec<Head>, StoreError> {
        read::heads(&self.readers.get().await?, topics).await
    }

    fn hints(&self) -> Option<Arc<dyn Hints>> {
        let start = || Arc::new(PostgresHints::start(self.hinting.clone()));
        Some(Arc::clone(self.hints.get_or_init(start)) as _)
    }

    async fn events(&self, topic: &TopicName, scan: Scan) -> Result<Vec<ReadEvent>, StoreError> {
        let topic = topic.clone();
        self.readers
            .read(async move |client| {
                let answer = read::events(&client, &topic, scan).await;
                settle(client, answer)
            })
            .await
    }

    async fn history(
        &self,
        topic: &TopicName,
        key: &Key,
        scan: Scan,
    ) -> Result<Vec<ReadEvent>, StoreError> {
        let (topic, key) = (topic.clone(), key.clone());
        self.readers
            .read(async move |mut client| {
                let place = folded(&mut client, &topic, scan.to).await?;
                let Some(place) = place else { return Ok(Vec::new()) };
                let answer = read::history(&client, place.id, &key, scan).await;
                settle(client, answer)
            })
            .await
    }

    async fn versions(
        &self,
        topic: &TopicName,
        key: &Key,
        stretch: (Seq, Seq),
        limit: usize,
    ) -> Result<Vec<Seq>, StoreError> {
        let mut client = self.readers.get().await?;
        let place = folded(&mut client, topic, stretch.1).await?;
        let Some(place) = place else { return Ok(Vec::new()) };
        read::versions(&client, place.id, key, stretch, limit).await
    }

    async fn transaction(
        &self,
        topic: &TopicName,
        transaction: TransactionNo,
    ) -> Result<Option<(Seq, Seq)>, StoreError> {
        let client = self.readers.get().await?;
        let Some(place) = read::place(&client, topic).await? else { return Ok(None) };
        read::transaction(&client, place.id, transaction).await
    }

    async fn surface(
        &self,
        topic: &TopicName,
        scan: &SurfaceScan,
    ) -> Result<Vec<ReadEvent>, StoreError> {
        let (topic, scan) = (topic.clone(), scan.clone());
        self.readers
            .read(async move |mut client| {
                let place = folded(&mut client, &topic, scan.at.seq).await?;
                let Some(place) = place else { return Ok(Vec::new()) };
                let answer = read::surface(&snapshot(&mut client).await?, place.id, &scan).await;
                settle(client, answer)
            })
            .await
    }

    async fn consumer(
        &self,
        topic: &TopicName,
        name: &ConsumerName,
    ) -> Result<Option<Consumer>, StoreError> {
        consumers::one(&self.readers.get().await?, topic, name).await
    }

    async fn consumers(
        &self,
        topic: &TopicName,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Consumer>, StoreError> {
        consumers::list(&self.readers.get().await?, topic, prefix, after, limit).await
    }

    async fn all_consumers(
        &self,
        after: Option<&(TopicName, ConsumerName)>,
        limit: usize,
    ) -> Result<Vec<(TopicName, Consumer)>, StoreError> {
        consumers::all(&self.readers.get().await?, after, limit).await
    }

    async fn root(&self, topic: &TopicName, at: Seq) -> Result<Option<Root>, StoreError> {
        let client = self.readers.get().await?;
        let Some(place) = read::place(&client, topic).await? else { return Ok(None) };
        let wanted = Wanted { marks: vec![at], ..Wanted::default() };
        let marks = facts::facts(&client, place.id, &wanted).await?.marks;
        Ok(marks.into_iter().flatten().next().map(|mark| mark.root))
    }

    async fn ping(&self) -> Result<(), StoreError> {
        let client = self.readers.get().await?;
        facts::query(&client, "SELECT 1", &[]).await.map(|_| ())
    }
}
