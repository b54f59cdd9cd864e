//! SQLite in one file: the store that needs nothing else to run.
//!
//! One thread writes (`writer.rs`): it takes all batches that are ready (`queue.rs`) and commits
//! them together, each with an outcome of its own (`commit.rs`, `append.rs`). Another brings the log
//! back into the database beside it (`checkpoint.rs`). Reads go to a pool
//! of read-only connections (`readers.rs`), each in a snapshot. Surfaces are brought forward by
//! the writer thread in its spare time (`fold.rs`), and first of all where a read asks for more.
//! A lock on a side file keeps other processes out (`schema.rs`).
//!
//! Not here: rules, order of appends, actors. The tables are described in `sql/sqlite/`.

mod append;
mod checkpoint;
mod commit;
mod connection;
mod consumers;
mod error;
mod facts;
mod fold;
mod open;
mod queue;
mod read;
mod readers;
mod row;
mod schema;
mod surface;
mod writer;

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use rusqlite::Connection;

use self::readers::Readers;
use self::surface::Found;
use self::writer::{Due, Writer};
use super::{
    AppendError, Direction, EventSourceReader, EventSourceWriter, Facts, MoveError, OpenError,
    Opened, Scan, StoreError, SurfaceScan, TopicSummary, Touched, Wanted,
};
use crate::domain::{
    Batch, Consumer, ConsumerName, Head, Key, Move, Moved, ReadEvent, Revision, Root, Seq,
    Timestamp, TopicId, TopicName, TransactionNo,
};

/// Read connections where the configuration does not say.
const READERS_DEFAULT: usize = 4;
/// More connections than this only compete.
const READERS_MAX: usize = 256;

/// Which database, and how it is used.
#[derive(Clone, Debug)]
pub struct Config {
    /// The database file. It and its directory are made where they are missing; beside it are
    /// `….lock`, and while it is in use `…-wal` and `…-shm`. On a local file system.
    pub path: PathBuf,
    /// Reads at once, and so connections for them; 1 to 256, taken as the nearest of these.
    pub readers: usize,
    /// Pages (of 4 KiB) that the file may grow to: appends beyond it fail as not written.
    /// `None` for as much as the disk holds.
    pub pages_max: Option<u32>,
}

impl Config {
    /// A database file with the usual settings.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), readers: READERS_DEFAULT, pages_max: None }
    }
}

/// A database file that this process alone writes. When it is dropped without having been
/// closed, it waits for what was queued.
pub struct SqliteStore {
    // In this order they are dropped: the lock goes when nothing is written any more.
    writer: Writer,
    readers: Readers,
    lock: Mutex<Option<schema::Lock>>,
}

impl SqliteStore {
    /// Opens the database, making it where there is none. Blocks.
    ///
    /// # Errors
    /// What is wrong and what to do about it, for the operator.
    pub fn open(config: &Config) -> Result<Self, OpenError> {
        let prepared = schema::prepare(config)?;
        let readers = Readers::new(prepared.place.clone(), config.readers.clamp(1, READERS_MAX));
        let writer = Writer::start(prepared.place, prepared.writer);
        let writer = writer.map_err(|error| OpenError::Unreachable(error.to_string()))?;
        Ok(Self { writer, readers, lock: Mutex::new(Some(prepared.lock)) })
    }

    /// A read by key: brings the surface forward first where it is behind.
    async fn by_key<T: Send + 'static>(
        &self,
        read: impl Fn(&Connection) -> Result<Found<T>, StoreError> + Clone + Send + 'static,
    ) -> Result<Vec<T>, StoreError> {
        loop {
            match self.readers.read(read.clone()).await? {
                Found::Events(events) => return Ok(events),
                Found::Behind(topic, to) => self.fold(topic, to, None).await?,
            };
        }
    }
}

#[async_trait]
impl EventSourceWriter for SqliteStore {
    async fn open(&self, topic: &TopicName) -> Result<Opened, StoreError> {
        let topic = topic.clone();
        self.writer.call(Due::InOrder, move |conn| open::open(conn, &topic)).await
    }

    async fn facts(&self, topic: TopicId, wanted: Wanted) -> Result<Facts, StoreError> {
        self.readers.read(move |conn| facts::facts(conn, topic, &wanted)).await
    }

    async fn keys(
        &self,
        topic: TopicId,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Vec<Key>, StoreError> {
        let after = after.cloned();
        let read = move |conn: &Connection| facts::keys(conn, topic, after.as_ref(), limit);
        self.readers.read(read).await
    }

    fn append(&self, batch: Arc<Batch>) -> BoxFuture<'static, Result<(), AppendError>> {
        self.writer.append(batch)
    }

    async fn fold(
        &self,
        topic: TopicId,
        to: Seq,
        touched: Option<Touched>,
    ) -> Result<Seq, StoreError> {
        if let Some(touched) = touched {
            let parts = tokio::task::spawn_blocking(move || fold::Parts::of(touched, to)).await;
            let mut parts =
                parts.map_err(|_| error::corrupt("the keys to be folded cannot be sorted"))?;
            while let Some(part) = parts.next() {
                let part = move |conn: &mut Connection| part.fold(conn, topic);
                if !self.writer.call(Due::Later, part).await? {
                    break; // The watermark is elsewhere: what is remembered is worth nothing.
                }
            }
        }
        loop {
            let step = move |conn: &mut Connection| fold::step(conn, topic, to);
            let folded = self.writer.call(Due::Later, step).await?;
            if folded >= to {
                return Ok(folded);
            }
        }
    }

    async fn expire(&self, before: Timestamp) -> Result<u64, StoreError> {
        let mut expired = 0;
        loop {
            let step = move |conn: &mut Connection| fold::expire(conn, before);
            let step = self.writer.call(Due::Later, step).await?;
            expired += step;
            if step < fold::STEP_RECORDS {
                return Ok(expired);
            }
        }
    }

    async fn move_consumer(&self, to: Move) -> Result<Option<Moved>, MoveError> {
        self.writer.change(Due::InOrder, move |conn| consumers::move_to(conn, &to)).await
    }

    async fn forget_consumer(
        &self,
        topic: &TopicName,
        name: &ConsumerName,
        expected: Option<Revision>,
    ) -> Result<bool, MoveError> {
        let (topic, name) = (topic.clone(), name.clone());
        let forget = move |conn: &mut Connection| consumers::forget(conn, &topic, &name, expected);
        self.writer.change(Due::InOrder, forget).await
    }

    async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
        self.lock.lock().take();
    }
}

#[async_trait]
impl EventSourceReader for SqliteStore {
    async fn topics(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<TopicSummary>, StoreError> {
        let (prefix, after) = (prefix.to_owned(), after.map(str::to_owned));
        let read = move |conn: &Connection| read::topics(conn, &prefix, after.as_deref(), limit);
        self.readers.read(read).await
    }

    async fn head(&self, topic: &TopicName) -> Result<Head, StoreError> {
        let topic = topic.clone();
        let read = move |conn: &Connection| Ok(read::find(conn, &topic)?.map(|(_, head)| head));
        self.readers.read(read).await
    }

    async fn heads(&self, topics: &[TopicName]) -> Result<Vec<Head>, StoreError> {
        let topics = topics.to_vec();
        let read = move |conn: &Connection| {
            let head = |topic| Ok(read::find(conn, topic)?.map(|(_, head)| head));
            topics.iter().map(head).collect()
        };
        self.readers.read(read).await
    }

    async fn events(&self, topic: &TopicName, scan: Scan) -> Result<Vec<ReadEvent>, StoreError> {
        let topic = topic.clone();
        let read = move |conn: &Connection| match read::find(conn, &topic)? {
            Some((topic, _)) => read::events(conn, topic, scan),
            None => Ok(Vec::new()),
        };
        self.readers.read(read).await
    }

    async fn history(
        &self,
        topic: &TopicName,
        key: &Key,
        scan: Scan,
    ) -> Result<Vec<ReadEvent>, StoreError> {
        let (topic, key) = (topic.clone(), key.clone());
        self.by_key(move |conn| surface::history(conn, &topic, &key, scan)).await
    }

    async fn versions(
        &self,
        topic: &TopicName,
        key: &Key,
        (from, to): (Seq, Seq),
        limit: usize,
    ) -> Result<Vec<Seq>, StoreError> {
        let (topic, key) = (topic.clone(), key.clone());
        let scan = Scan { from, to, limit, bytes: usize::MAX, direction: Direction::Backward };
        self.by_key(move |conn| surface::versions(conn, &topic, &key, scan)).await
    }

    async fn transaction(
        &self,
        topic: &TopicName,
        transaction: TransactionNo,
    ) -> Result<Option<(Seq, Seq)>, StoreError> {
        let topic = topic.clone();
        let read = move |conn: &Connection| match read::find(conn, &topic)? {
            Some((topic, head)) => {
                read::range(conn, read::Bounds { topic, head: Some(head) }, transaction)
            }
            None => Ok(None),
        };
        self.readers.read(read).await
    }

    async fn surface(
        &self,
        topic: &TopicName,
        scan: &SurfaceScan,
    ) -> Result<Vec<ReadEvent>, StoreError> {
        let (topic, scan) = (topic.clone(), scan.clone());
        self.by_key(move |conn| surface::surface(conn, &topic, &scan)).await
    }

    async fn consumer(
        &self,
        topic: &TopicName,
        name: &ConsumerName,
    ) -> Result<Option<Consumer>, StoreError> {
        let (topic, name) = (topic.clone(), name.clone());
        self.readers.read(move |conn| consumers::one(conn, &topic, &name)).await
    }

    async fn consumers(
        &self,
        topic: &TopicName,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Consumer>, StoreError> {
        let (topic, prefix, after) = (topic.clone(), prefix.to_owned(), after.map(str::to_owned));
        let read = move |conn: &Connection| {
            consumers::list(conn, &topic, &prefix, after.as_deref(), limit)
        };
        self.readers.read(read).await
    }

    async fn all_consumers(
        &self,
        after: Option<&(TopicName, ConsumerName)>,
        limit: usize,
    ) -> Result<Vec<(TopicName, Consumer)>, StoreError> {
        let after = after.cloned();
        self.readers.read(move |conn| consumers::all(conn, after.as_ref(), limit)).await
    }

    async fn root(&self, topic: &TopicName, at: Seq) -> Result<Option<Root>, StoreError> {
        let topic = topic.clone();
        let read = move |conn: &Connection| {
            let Some((topic, _)) = read::find(conn, &topic)? else { return Ok(None) };
            Ok(facts::mark(conn, topic, at)?.map(|mark| mark.root))
        };
        self.readers.read(read).await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        let count = "SELECT count(*) FROM (SELECT 1 FROM topic LIMIT 1)";
        self.readers.read(move |conn| Ok(conn.query_row(count, [], |_| Ok(()))?)).await?;
        self.writer.check().await
    }
}
