//! A store to read from: memory, with a count of what was fetched, and failures on demand.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;
use tidelog::domain::{
    Consumer, ConsumerName, Head, Key, ReadEvent, Seq, TopicName, TransactionNo,
};
use tidelog::store::memory::MemoryStore;
use tidelog::store::{
    Cause, Direction, EventSourceReader, Scan, StoreError, SurfaceScan, TopicSummary,
};

/// What the store says of itself when it fails; no client may see it.
pub const SECRET: &str = "disk 7 of host db-3 is on fire";

/// The reading half of a store in memory.
pub struct Watched {
    pub store: Arc<MemoryStore>,
    /// Calls that fetched events.
    fetches: AtomicUsize,
    /// Events fetched.
    fetched: AtomicUsize,
    /// Most bytes of one fetch.
    largest: AtomicUsize,
    /// Versions that a database would have walked over.
    steps: AtomicUsize,
    /// How many more fetches succeed.
    good: AtomicUsize,
    /// Everything fails.
    away: AtomicBool,
}

/// What was fetched since the last question.
#[derive(Debug)]
pub struct Fetched {
    pub fetches: usize,
    pub events: usize,
    pub largest: usize,
    pub steps: usize,
}

impl Watched {
    pub fn new(store: Arc<MemoryStore>) -> Self {
        Self {
            store,
            fetches: AtomicUsize::new(0),
            fetched: AtomicUsize::new(0),
            largest: AtomicUsize::new(0),
            steps: AtomicUsize::new(0),
            good: AtomicUsize::new(usize::MAX),
            away: AtomicBool::new(false),
        }
    }

    /// What was fetched since this was asked last.
    pub fn fetched(&self) -> Fetched {
        Fetched {
            fetches: self.fetches.swap(0, Ordering::SeqCst),
            events: self.fetched.swap(0, Ordering::SeqCst),
            largest: self.largest.swap(0, Ordering::SeqCst),
            steps: self.steps.swap(0, Ordering::SeqCst),
        }
    }

    /// Events fetched so far, without beginning to count anew.
    pub fn events_so_far(&self) -> usize {
        self.fetched.load(Ordering::SeqCst)
    }

    /// So many more fetches succeed, and then none.
    pub fn fail_after(&self, fetches: usize) {
        self.good.store(fetches, Ordering::SeqCst);
    }

    /// Whether the store is not reachable at all.
    pub fn be_away(&self, away: bool) {
        self.away.store(away, Ordering::SeqCst);
    }

    fn answers(&self) -> Result<(), StoreError> {
        if self.away.load(Ordering::SeqCst) {
            return Err(StoreError::Unavailable(Cause::new(SECRET)));
        }
        Ok(())
    }

    fn begin_fetch(&self) -> Result<(), StoreError> {
        self.answers()?;
        let more = |good: usize| good.checked_sub(1);
        let good = self.good.fetch_update(Ordering::SeqCst, Ordering::SeqCst, more);
        good.map(|_| ()).map_err(|_| StoreError::Unavailable(Cause::new(SECRET)))
    }

    fn end_fetch(&self, events: Vec<ReadEvent>) -> Vec<ReadEvent> {
        self.fetches.fetch_add(1, Ordering::SeqCst);
        self.fetched.fetch_add(events.len(), Ordering::SeqCst);
        let bytes = events.iter().map(|read| read.event.size()).sum();
        self.largest.fetch_max(bytes, Ordering::SeqCst);
        events
    }

    /// Counts the steps of a walk down a key's chain: from the version at the scan's end or else
    /// from the newest, to the lowest version asked for; backward, no further than the limit.
    async fn count_steps(&self, topic: &TopicName, key: &Key, scan: Scan) {
        let all = Scan { limit: usize::MAX, bytes: usize::MAX, ..scan };
        let wanted = self.store.history(topic, key, all).await.expect("memory answers").len();
        let at_end = Scan { from: scan.to, ..all };
        let at_end = self.store.history(topic, key, at_end).await.expect("memory answers");
        let above = if at_end.is_empty() {
            let above = Scan { from: scan.to.next(), to: Seq(u64::MAX >> 1), ..all };
            self.store.history(topic, key, above).await.expect("memory answers").len()
        } else {
            0
        };
        let below = match scan.direction {
            Direction::Forward => wanted,
            Direction::Backward => wanted.min(scan.limit),
        };
        self.steps.fetch_add(above + below, Ordering::SeqCst);
    }
}

#[async_trait]
impl EventSourceReader for Watched {
    async fn topics(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<TopicSummary>, StoreError> {
        self.answers()?;
        self.store.topics(prefix, after, limit).await
    }

    async fn head(&self, topic: &TopicName) -> Result<Head, StoreError> {
        self.answers()?;
        self.store.head(topic).await
    }

    async fn events(&self, topic: &TopicName, scan: Scan) -> Result<Vec<ReadEvent>, StoreError> {
        self.begin_fetch()?;
        self.store.events(topic, scan).await.map(|events| self.end_fetch(events))
    }

    async fn history(
        &self,
        topic: &TopicName,
        key: &Key,
        scan: Scan,
    ) -> Result<Vec<ReadEvent>, StoreError> {
        self.begin_fetch()?;
        self.count_steps(topic, key, scan).await;
        self.store.history(topic, key, scan).await.map(|events| self.end_fetch(events))
    }

    async fn versions(
        &self,
        topic: &TopicName,
        key: &Key,
        (from, to): (Seq, Seq),
        limit: usize,
    ) -> Result<Vec<Seq>, StoreError> {
        self.begin_fetch()?;
        let scan = Scan { from, to, limit, bytes: usize::MAX, direction: Direction::Backward };
        self.count_steps(topic, key, scan).await;
        self.store.versions(topic, key, (from, to), limit).await
    }

    async fn transaction(
        &self,
        topic: &TopicName,
        transaction: TransactionNo,
    ) -> Result<Option<(Seq, Seq)>, StoreError> {
        self.answers()?;
        self.store.transaction(topic, transaction).await
    }

    async fn surface(
        &self,
        topic: &TopicName,
        scan: &SurfaceScan,
    ) -> Result<Vec<ReadEvent>, StoreError> {
        self.begin_fetch()?;
        self.store.surface(topic, scan).await.map(|events| self.end_fetch(events))
    }

    async fn consumer(
        &self,
        topic: &TopicName,
        name: &ConsumerName,
    ) -> Result<Option<Consumer>, StoreError> {
        self.answers()?;
        self.store.consumer(topic, name).await
    }

    async fn consumers(
        &self,
        topic: &TopicName,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Consumer>, StoreError> {
        self.answers()?;
        self.store.consumers(topic, prefix, after, limit).await
    }

    async fn all_consumers(
        &self,
        after: Option<&(TopicName, ConsumerName)>,
        limit: usize,
    ) -> Result<Vec<(TopicName, Consumer)>, StoreError> {
        self.answers()?;
        self.store.all_consumers(after, limit).await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.answers()
    }
}
