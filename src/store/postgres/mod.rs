//! The PostgreSQL store. Tables and views: `sql/postgres/`.
//!
//! Appends go over *lanes* (`lane.rs`), which live on the thread that appends first: an answer then
//! crosses no threads on its way to the actor. Everything else goes over pools of connections: one
//! for what writers look up, one for their folds, one for readers, one for moving consumers, so that
//! none keeps another waiting. They live on two runtimes of the store's own, so that reading much
//! does not delay writing.
//!
//! | file | what |
//! | --- | --- |
//! | `config`, `tls`, `session` | how connections come about |
//! | `start`, `migrate` | what is checked and made at start |
//! | `lane`, `append` | the only way by which events are written |
//! | `facts`, `fold` | look-ups, the surface |
//! | `consumers` | positions of readers |
//! | `readers`, `read` | everything that readers ask |
//! | `hints` | NOTIFY and LISTEN between instances |
//! | `row`, `range`, `error` | values, key ranges and errors between database and domain |
//!
//! Invariant: no event is written but by the statement of `append.rs`, which moves the topic's
//! head under a guard.

mod append;
mod config;
mod consumers;
mod error;
mod facts;
mod fold;
mod hints;
mod lane;
mod migrate;
mod parameters;
mod range;
mod read;
mod readers;
mod row;
mod session;
mod start;
mod tls;

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use deadpool_postgres::{Object, Pool};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use tokio::runtime::{Handle, Runtime};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_postgres::IsolationLevel;

use super::{
    AppendError, Cause, EventSourceWriter, Facts, MoveError, OpenError, Opened, StoreError,
    Touched, Wanted,
};
use crate::domain::{
    Batch, ConsumerName, Key, Move, Moved, Revision, Seq, Timestamp, TopicId, TopicName,
};
pub use config::Config;
use config::Target;
use error::{pool_error, store_error};
use hints::PostgresHints;
use lane::{Job, Lane, Link};
use readers::Readers;
use session::Connector;

/// Largest batch in bytes: PostgreSQL takes no message of a gigabyte, and drops the connection
/// of who sends one.
const BATCH_BYTES_MAX: usize = 256 << 20;

/// Connections for what writers look up and for taking topics.
const LOOKUPS: usize = 4;
/// Connections for writers' folds, and so the topics that fold at once; the others stand in line.
const FOLDS: usize = 2;
/// Connections that move consumers.
const MOVES: usize = 2;

/// Topics in a PostgreSQL database.
pub struct PostgresStore {
    lanes: Vec<LaneHandle>,
    /// What writers look up, and the taking of topics.
    lookups: Pool,
    /// Folds of writers.
    folds: Pool,
    /// Readers, and the folds that they need.
    readers: Readers,
    /// Moves of consumers.
    moves: Pool,
    /// Started when they are first asked for.
    hints: OnceLock<Arc<PostgresHints>>,
    hinting: Connector,
    /// `Some` until the store is dropped.
    runtime: Option<Runtime>,
}

/// A lane, started on the runtime that first appends, and again should that one have ended.
struct LaneHandle {
    connector: Connector,
    /// How long a statement may be under way.
    patience: Duration,
    state: Mutex<State>,
}

enum State {
    Resting,
    Running(UnboundedSender<Job>, JoinHandle<()>),
    Closed,
}

impl PostgresStore {
    /// Connects, checks the server, and makes the schema or brings it up to date.
    ///
    /// # Errors
    /// With a message for the operator.
    pub async fn connect(config: &Config) -> Result<Self, OpenError> {
        let target = Arc::new(Target::parse(config)?);
        let tls = tls::connector(&target.verify)?;
        let runtime = runtime("postgres")?;
        let reading = self::runtime("postgres-read")?;
        let connector_on = |runtime: &Runtime, used_for| Connector {
            target: target.clone(),
            tls: tls.clone(),
            runtime: runtime.handle().clone(),
            statement_timeout: config.statement_timeout,
            lock_timeout: config.lock_timeout,
            used_for,
        };
        let connector = |used_for| connector_on(&runtime, used_for);
        let readers = connector_on(&reading, "read");
        let readers = readers.pool(config.readers.max(1), Some(config.connect_timeout));
        let mut store = Self {
            lanes: Vec::new(),
            lookups: connector("lookup").pool(LOOKUPS, Some(config.connect_timeout)),
            folds: connector("fold").pool(FOLDS, None),
            readers: Readers::new(readers, reading),
            moves: connector("consumer").pool(MOVES, Some(config.connect_timeout)),
            hints: OnceLock::new(),
            hinting: connector("hints"),
            runtime: None,
        };
        let (start, mut lane) = (connector("start"), connector("lane"));
        // What nobody waits for any more should not keep its locks either.
        lane.statement_timeout = config.statement_timeout.min(config.append_timeout);
        store.runtime = Some(runtime);
        start::prepare(&start).await?;
        // Whether events can be written at all should be known now.
        let opened = Link::open(&lane).await;
        opened.map_err(|error| OpenError::Unreachable(format!("{}: {error}", target.shown())))?;
        let resting = |_| LaneHandle {
            connector: lane.clone(),
            patience: config.append_timeout,
            state: Mutex::new(State::Resting),
        };
        store.lanes = (0..config.lanes.max(1)).map(resting).collect();
        Ok(store)
    }

    fn lane(&self, topic: TopicId) -> &LaneHandle {
        &self.lanes[topic.0.unsigned_abs() as usize % self.lanes.len()]
    }

    async fn lookup(&self) -> Result<Object, StoreError> {
        self.lookups.get().await.map_err(pool_error)
    }

    async fn mover(&self) -> Result<Object, MoveError> {
        self.moves.get().await.map_err(|error| MoveError::NotMoved(pool_error(error)))
    }
}

impl LaneHandle {
    /// Queues a job; gives it back where there is no runtime, or the lane is closed.
    fn push(&self, job: Job) -> Result<(), Job> {
        let mut state = self.state.lock();
        let job = match &*state {
            State::Closed => return Err(job),
            State::Running(jobs, _) => match jobs.send(job) {
                Ok(()) => return Ok(()),
                Err(refused) => refused.0, // Its runtime has ended.
            },
            State::Resting => job,
        };
        let Ok(runtime) = Handle::try_current() else { return Err(job) };
        let (jobs, queue) = unbounded_channel();
        jobs.send(job).map_err(|refused| refused.0)?;
        let connector = Connector { runtime: runtime.clone(), ..self.connector.clone() };
        let patience = self.patience;
        let task = runtime.spawn(async move { Lane::new(connector, patience, queue).run().await });
        *state = State::Running(jobs, task);
        Ok(())
    }

    /// Takes no more jobs. The task ends once those that it has are answered.
    fn close(&self) -> Option<JoinHandle<()>> {
        match std::mem::replace(&mut *self.state.lock(), State::Closed) {
            State::Running(_, task) => Some(task),
            State::Resting | State::Closed => None,
        }
    }
}

impl Drop for PostgresStore {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background(); // The only way that is allowed anywhere.
        }
    }
}

/// Threads of the store's own.
fn runtime(name: &str) -> Result<Runtime, OpenError> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name(name)
        .enable_all()
        .build()
        .map_err(|error| OpenError::Unsuitable(format!("no threads to be had: {error}")))
}

/// Starts a snapshot that all statements of a call share. Dropping it ends it.
async fn snapshot(client: &mut Object) -> Result<deadpool_postgres::Transaction<'_>, StoreError> {
    let snapshot =
        client.build_transaction().isolation_level(IsolationLevel::RepeatableRead).read_only(true);
    snapshot.start().await.map_err(store_error)
}

#[async_trait]
impl EventSourceWriter for PostgresStore {
    async fn open(&self, topic: &TopicName) -> Result<Opened, StoreError> {
        facts::open(&self.lookup().await?, topic).await
    }

    async fn facts(&self, topic: TopicId, wanted: Wanted) -> Result<Facts, StoreError> {
        let mut client = self.lookup().await?;
        if facts::needs_snapshot(&wanted) {
            facts::facts(&snapshot(&mut client).await?, topic, &wanted).await
        } else {
            facts::facts(&client, topic, &wanted).await
        }
    }

    async fn keys(
        &self,
        topic: TopicId,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Vec<Key>, StoreError> {
        // As folds: nobody waits for it.
        let client = self.folds.get().await.map_err(pool_error)?;
        facts::keys(&client, topic, after, limit).await
    }

    fn append(&self, batch: Arc<Batch>) -> BoxFuture<'static, Result<(), AppendError>> {
        let bytes = batch.size();
        if bytes > BATCH_BYTES_MAX {
            let cause = Cause::new(format!("the batch has {bytes} bytes"));
            return std::future::ready(Err(AppendError::Rejected(cause))).boxed();
        }
        let (done, outcome) = oneshot::channel();
        let lane = self.lane(batch.topic);
        if lane.push(Job { batch, bytes, since: Instant::now(), done }).is_err() {
            let error = StoreError::Unavailable(Cause::new("the store is closed"));
            return std::future::ready(Err(AppendError::NotWritten(error))).boxed();
        }
        let outcome = outcome.map(|outcome| {
            let vanished = || AppendError::Unknown(Cause::new("the lane has ended"));
            outcome.unwrap_or_else(|_| Err(vanished()))
        });
        outcome.boxed()
    }

    async fn fold(
        &self,
        topic: TopicId,
        to: Seq,
        touched: Option<Touched>,
    ) -> Result<Seq, StoreError> {
        let mut client = self.folds.get().await.map_err(pool_error)?;
        fold::fold(&mut client, topic, to, touched).await
    }

    async fn expire(&self, before: Timestamp) -> Result<u64, StoreError> {
        facts::expire(&self.lookup().await?, before).await
    }

    async fn move_consumer(&self, to: Move) -> Result<Option<Moved>, MoveError> {
        consumers::move_to(&self.mover().await?, &to).await
    }

    async fn forget_consumer(
        &self,
        topic: &TopicName,
        name: &ConsumerName,
        expected: Option<Revision>,
    ) -> Result<bool, MoveError> {
        consumers::forget(&self.mover().await?, topic, name, expected).await
    }

    async fn close(&self) {
        if let Some(hints) = self.hints.get() {
            hints.close();
        }
        let tasks: Vec<_> = self.lanes.iter().filter_map(LaneHandle::close).collect();
        for task in tasks {
            let _ = task.await; // One that went with its runtime has ended as well.
        }
        self.lookups.close();
        self.folds.close();
        self.readers.close();
        self.moves.close();
    }
}
