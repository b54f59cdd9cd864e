//! The PostgreSQL store. Tables and views: `sql/postgres/`.
//!
//! Appends go over *lanes* (`lane.rs`), everything else over pools of connections: one for what
//! writers look up, one for their folds, one for readers, so that none keeps another waiting. They
//! live on two runtimes of the store's own, so that reading much does not delay writing.
//!
//! | file | what |
//! | --- | --- |
//! | `config`, `tls`, `session` | how connections come about |
//! | `start`, `migrate` | what is checked and made at start |
//! | `lane`, `append` | the only way by which events are written |
//! | `facts`, `fold` | look-ups, the surface |
//! | `readers`, `read` | everything that readers ask |
//! | `hints` | NOTIFY and LISTEN between instances |
//! | `row`, `range`, `error` | values, key ranges and errors between database and domain |
//!
//! Invariant: no event is written but by the statement of `append.rs`, which moves the topic's
//! head under a guard.

mod append;
mod config;
mod error;
mod facts;
mod fold;
mod hints;
mod lane;
mod migrate;
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
use tokio::runtime::Runtime;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_postgres::IsolationLevel;

use super::{
    AppendError, Cause, EventSourceWriter, Facts, OpenError, Opened, StoreError, Touched, Wanted,
};
use crate::domain::{Batch, Event, Seq, Timestamp, TopicId, TopicName};
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

/// Topics in a PostgreSQL database.
pub struct PostgresStore {
    lanes: Vec<LaneHandle>,
    /// What writers look up, and the taking of topics.
    lookups: Pool,
    /// Folds of writers.
    folds: Pool,
    /// Readers, and the folds that they need.
    readers: Readers,
    /// Started when they are first asked for.
    hints: OnceLock<Arc<PostgresHints>>,
    hinting: Connector,
    /// `Some` until the store is dropped.
    runtime: Option<Runtime>,
}

struct LaneHandle {
    /// `None` once the store is closed.
    jobs: Mutex<Option<UnboundedSender<Job>>>,
    task: Mutex<Option<JoinHandle<()>>>,
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
            hints: OnceLock::new(),
            hinting: connector("hints"),
            runtime: None,
        };
        let (start, mut lane) = (connector("start"), connector("lane"));
        // What nobody waits for any more should not keep its locks either.
        lane.statement_timeout = config.statement_timeout.min(config.append_timeout);
        store.runtime = Some(runtime);
        start::prepare(&start).await?;
        for _ in 0..config.lanes.max(1) {
            let opened = Link::open(&lane).await;
            let link = opened
                .map_err(|error| OpenError::Unreachable(format!("{}: {error}", target.shown())))?;
            store.lanes.push(LaneHandle::start(lane.clone(), config.append_timeout, link));
        }
        Ok(store)
    }

    fn lane(&self, topic: TopicId) -> &LaneHandle {
        &self.lanes[topic.0.unsigned_abs() as usize % self.lanes.len()]
    }

    async fn lookup(&self) -> Result<Object, StoreError> {
        self.lookups.get().await.map_err(pool_error)
    }
}

impl LaneHandle {
    fn start(connector: Connector, patience: Duration, link: Link) -> Self {
        let (jobs, queue) = unbounded_channel();
        let runtime = connector.runtime.clone();
        let task =
            runtime.spawn(async move { Lane::new(connector, patience, queue).run(link).await });
        Self { jobs: Mutex::new(Some(jobs)), task: Mutex::new(Some(task)) }
    }

    /// Queues a job; gives it back once the lane is closed.
    fn push(&self, job: Job) -> Result<(), Job> {
        match &*self.jobs.lock() {
            Some(jobs) => jobs.send(job).map_err(|error| error.0),
            None => Err(job),
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

fn size(batch: &Batch) -> usize {
    batch.events.iter().map(Event::size).sum()
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

    fn append(&self, batch: Arc<Batch>) -> BoxFuture<'static, Result<(), AppendError>> {
        let bytes = size(&batch);
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

    async fn close(&self) {
        if let Some(hints) = self.hints.get() {
            hints.close();
        }
        for lane in &self.lanes {
            lane.jobs.lock().take();
        }
        for lane in &self.lanes {
            let task = lane.task.lock().take();
            if let Some(task) = task {
                let _ = task.await; // A lane that panicked has ended as well.
            }
        }
        self.lookups.close();
        self.folds.close();
        self.readers.close();
    }
}
