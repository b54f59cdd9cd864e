//! A lane: one connection that appends, and the task that owns it. A topic keeps to one lane, so
//! its batches reach the database in the order of the calls.
//!
//! Whatever is waiting goes into one statement, at most one batch of each topic; at most
//! [`FLIGHTS_MAX`] statements are under way. A second batch of a topic may follow the first
//! before that is answered: the guard refuses it where the first failed.
//!
//! Invariants:
//! 1. A batch is answered `Unknown` only after it was handed to a connection that was then lost.
//! 2. A batch that failed in company is tried again alone (nothing of it is written), and so is
//!    one that was refused because of that: company changes nothing for anybody (S10).
//!    Should the lane panic (a bug), what it had in hand is `Unknown`, and it goes on.
//! 3. A lane's patience has an end: what is not sent by then is refused, what is not answered by
//!    then is given up together with its connection.

use std::collections::VecDeque;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::FutureExt as _;
use futures::future::BoxFuture;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Interval, MissedTickBehavior};
use tokio_postgres::Client;

use super::super::{AppendError, Cause, StoreError};
use super::append::{Append, TopicIds};
use super::error::{Verdict, judge, store_error};
use super::session::{Connector, Session};
use crate::domain::Batch;
use crate::metrics;

/// Statements under way at once: one that is being worked on and one that is ready.
const FLIGHTS_MAX: usize = 2;
/// Events of a statement, where it holds more than one batch.
const EVENTS_MAX: usize = 3_000;
/// Events with which a statement is large.
const EVENTS_LARGE: usize = 500;
/// Size of a statement in bytes, where it holds more than one batch.
const BYTES_MAX: usize = 8 << 20;
/// The pause after the first failure to connect; it doubles up to [`PAUSE_MAX`].
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// How often, at most, a lane looks after what waits.
const TICK_MIN: Duration = Duration::from_millis(1);
const CLOSED: &str = "the connection was closed";
const PANICKED: &str = "a lane panicked (a bug)";

/// A batch on its way.
pub(super) struct Job {
    pub(super) batch: Arc<Batch>,
    /// Size of its events in bytes.
    pub(super) bytes: usize,
    /// When it was handed in.
    pub(super) since: Instant,
    pub(super) done: oneshot::Sender<Result<(), AppendError>>,
}

impl Job {
    fn answer(self, outcome: Result<(), AppendError>) {
        // Nobody may be waiting any more: the outcome is what it is.
        let _ = self.done.send(outcome);
    }

    fn not_written(self, error: &StoreError) {
        self.answer(Err(AppendError::NotWritten(error.clone())));
    }
}

/// A connection that is ready to append.
pub(super) struct Link {
    client: Arc<Client>,
    driver: JoinHandle<()>,
    append: Append,
}

impl Link {
    pub(super) async fn open(connector: &Connector) -> Result<Self, StoreError> {
        let opening = tokio::time::timeout(connector.patience(), Self::prepare(connector)).await;
        opening.unwrap_or_else(|_| Err(unavailable("the server does not answer")))
    }

    async fn prepare(connector: &Connector) -> Result<Self, StoreError> {
        let Session { client, task, server } = connector.connect().await.map_err(store_error)?;
        if server.read_only {
            let cause = Cause::new("the server takes no writes: it is a replica, or set so");
            return Err(StoreError::ReadOnly(cause));
        }
        let append = Append::prepare(&client).await.map_err(store_error)?;
        Ok(Self { client: Arc::new(client), driver: task, append })
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        // Closes the socket even where the other end does not answer any more.
        self.driver.abort();
    }
}

/// A statement under way.
struct Flight {
    jobs: Vec<Job>,
    verdict: BoxFuture<'static, Result<TopicIds, Verdict>>,
}

/// Why a connection is not used any more.
enum End {
    /// No more batches will come, and none is left.
    Closed,
    /// The connection is lost, or of no more use.
    Lost(StoreError),
}

/// The task's state apart from the connection.
pub(super) struct Lane {
    connector: Connector,
    /// How long a statement may be under way.
    patience: Duration,
    /// When to look after what waits.
    tick: Interval,
    jobs: UnboundedReceiver<Job>,
    open: bool,
    waiting: VecDeque<Job>,
    flights: VecDeque<Flight>,
    /// Not written, and to be tried again alone.
    again: Vec<Job>,
    /// Topics of `again`.
    suspects: TopicIds,
}

impl Lane {
    /// Must be called on the runtime that the lane will run on.
    pub(super) fn new(
        connector: Connector,
        patience: Duration,
        jobs: UnboundedReceiver<Job>,
    ) -> Self {
        let mut tick = tokio::time::interval((patience / 8).max(TICK_MIN));
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            connector,
            patience,
            tick,
            jobs,
            open: true,
            waiting: VecDeque::new(),
            flights: VecDeque::new(),
            again: Vec::new(),
            suspects: TopicIds::default(),
        }
    }

    /// Appends until no more batches can come.
    pub(super) async fn run(mut self) {
        let mut link = self.connect().await;
        while let Some(mut current) = link {
            let work = AssertUnwindSafe(self.work(&mut current)).catch_unwind().await;
            match work.unwrap_or_else(|_| End::Lost(unavailable(PANICKED))) {
                End::Closed => return,
                End::Lost(error) => {
                    drop(current);
                    metrics::store_error("lost");
                    self.give_up(&error);
                    link = self.connect().await;
                }
            }
        }
    }

    /// Answers what is under way or tried again, once the connection is lost.
    fn give_up(&mut self, error: &StoreError) {
        for flight in self.flights.drain(..) {
            for job in flight.jobs {
                job.answer(Err(AppendError::Unknown(Cause::new(error.to_string()))));
            }
        }
        self.again.drain(..).for_each(|job| job.not_written(error));
        self.suspects.clear();
    }

    /// Connects again, and refuses what comes while that fails; `None` once nothing can come.
    async fn connect(&mut self) -> Option<Link> {
        let mut pause = PAUSE_MIN;
        loop {
            let error = match self.open().await {
                Ok(link) => return Some(link),
                Err(error) => error,
            };
            metrics::store_error("connect");
            tracing::debug!(%error, "cannot append: no connection to postgres");
            self.waiting.drain(..).for_each(|job| job.not_written(&error));
            let deadline = tokio::time::sleep(pause);
            tokio::pin!(deadline);
            loop {
                tokio::select! {
                    () = &mut deadline => break,
                    job = self.jobs.recv() => job?.not_written(&error),
                }
            }
            while let Ok(job) = self.jobs.try_recv() {
                job.not_written(&error);
            }
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    /// Opens a connection, while what waits too long is refused.
    async fn open(&mut self) -> Result<Link, StoreError> {
        let connector = self.connector.clone();
        let opening = Link::open(&connector);
        tokio::pin!(opening);
        loop {
            tokio::select! {
                link = &mut opening => return link,
                _ = self.tick.tick() => {
                    while let Ok(job) = self.jobs.try_recv() {
                        self.waiting.push_back(job);
                    }
                    self.refuse_late();
                }
            }
        }
    }

    /// Refuses what has waited so long that its answer would come too late to be of use. Early
    /// enough that this can still be told from what was sent.
    fn refuse_late(&mut self) {
        let late = |job: &mut Job| job.since.elapsed() >= self.patience / 4 * 3;
        while let Some(job) = self.waiting.pop_front_if(late) {
            job.not_written(&unavailable("the server does not answer"));
        }
    }

    async fn work(&mut self, link: &mut Link) -> End {
        loop {
            while let Ok(job) = self.jobs.try_recv() {
                self.waiting.push_back(job);
            }
            if !self.again.is_empty() && self.flights.is_empty() {
                if let Err(lost) = self.one_by_one(link).await {
                    return lost;
                }
                continue;
            }
            if self.flights.is_empty() && link.client.is_closed() {
                return End::Lost(unavailable(CLOSED)); // Better than to send and not know.
            }
            while self.again.is_empty() && self.is_worth_a_commit() {
                let Some(jobs) = self.next_group() else { break };
                let flight = self.send(link, jobs);
                self.flights.push_back(flight);
            }
            if !self.open && self.flights.is_empty() {
                return End::Closed; // Nothing is waiting either: it would be under way.
            }
            let front = self.flights.front_mut().map(|flight| &mut flight.verdict);
            let idle = front.is_none();
            tokio::select! {
                biased;
                verdict = async { front.expect("not idle").await }, if !idle => {
                    if let Err(lost) = self.settle(verdict) {
                        return lost;
                    }
                }
                job = self.jobs.recv(), if self.open => match job {
                    Some(job) => self.waiting.push_back(job),
                    None => self.open = false,
                },
                _ = self.tick.tick() => self.refuse_late(),
                _ = &mut link.driver, if idle => return End::Lost(unavailable(CLOSED)),
            }
        }
    }

    /// Whether what waits should go now: a small statement waits, and grows, while one as large is
    /// under way, as an actor's batch does.
    fn is_worth_a_commit(&self) -> bool {
        let events = |job: &Job| job.batch.events.len();
        let under_way: usize =
            self.flights.iter().flat_map(|flight| &flight.jobs).map(events).sum();
        let enough = under_way.min(EVENTS_LARGE);
        let mut waiting = 0;
        self.flights.is_empty()
            || self.flights.len() < FLIGHTS_MAX
                && self.waiting.iter().any(|job| {
                    waiting += events(job);
                    waiting >= enough
                })
    }

    /// What goes into the next statement: in order, one batch of a topic.
    fn next_group(&mut self) -> Option<Vec<Job>> {
        let (mut events, mut bytes) = (0, 0);
        let mut topics = TopicIds::default();
        let mut group: Vec<Job> = Vec::new();
        let mut left = VecDeque::new();
        while let Some(job) = self.waiting.pop_front() {
            let full =
                events + job.batch.events.len() > EVENTS_MAX || bytes + job.bytes > BYTES_MAX;
            if full && !group.is_empty() {
                self.waiting.push_front(job);
                break;
            }
            if topics.insert(job.batch.topic) {
                events += job.batch.events.len();
                bytes += job.bytes;
                group.push(job);
            } else {
                left.push_back(job); // And so are all later ones of its topic.
            }
        }
        left.append(&mut self.waiting);
        self.waiting = left;
        // All writers lock topics in the same order.
        group.sort_by_key(|job| job.batch.topic);
        (!group.is_empty()).then_some(group)
    }

    /// Puts a statement on its way.
    fn send(&self, link: &Link, jobs: Vec<Job>) -> Flight {
        metrics::commits_merged(jobs.iter().map(|job| job.batch.events.len()).sum());
        let batches = jobs.iter().map(|job| job.batch.clone()).collect();
        let answer = link.append.clone().run(link.client.clone(), batches);
        let limit = self.patience;
        let verdict = async move {
            match tokio::time::timeout(limit, answer).await {
                Ok(answer) => answer.map_err(judge),
                Err(_) => Err(Verdict::Unknown(Cause::new("the server does not answer"))),
            }
        };
        let mut verdict = verdict.boxed();
        // The first poll hands the statement to the connection: now, and in this order.
        let early = (&mut verdict).now_or_never();
        let verdict = early.map_or(verdict, |early| std::future::ready(early).boxed());
        Flight { jobs, verdict }
    }

    /// The oldest statement under way has its answer.
    fn settle(&mut self, answer: Result<TopicIds, Verdict>) -> Result<(), End> {
        let flight = self.flights.pop_front().expect("an answer is to a statement");
        match answer {
            Ok(moved) => {
                for job in flight.jobs {
                    let topic = job.batch.topic;
                    if moved.contains(&topic) {
                        job.answer(Ok(()));
                    } else if self.suspects.contains(&topic) {
                        self.again.push(job);
                    } else {
                        job.answer(Err(AppendError::Refused));
                    }
                }
                Ok(())
            }
            Err(Verdict::Data(_) | Verdict::Contended(_)) if flight.jobs.len() > 1 => {
                self.suspects.extend(flight.jobs.iter().map(|job| job.batch.topic));
                self.again.extend(flight.jobs);
                Ok(())
            }
            Err(verdict) => self.fail(flight, verdict),
        }
    }

    /// A statement failed for good.
    fn fail(&mut self, mut flight: Flight, verdict: Verdict) -> Result<(), End> {
        let error = match verdict {
            Verdict::Unknown(cause) => {
                self.flights.push_front(flight);
                return Err(End::Lost(StoreError::Unavailable(cause)));
            }
            Verdict::Data(cause) => AppendError::Rejected(cause),
            Verdict::Contended(error) | Verdict::NotWritten(error) => {
                AppendError::NotWritten(error)
            }
        };
        metrics::store_error("append");
        for job in flight.jobs.drain(..) {
            job.answer(Err(error.clone()));
        }
        match error {
            // Somewhere else there may be a server that takes writes.
            AppendError::NotWritten(error @ StoreError::ReadOnly(_)) if self.flights.is_empty() => {
                Err(End::Lost(error))
            }
            _ => Ok(()),
        }
    }

    /// Tries again, each alone, what failed in company.
    async fn one_by_one(&mut self, link: &Link) -> Result<(), End> {
        self.suspects.clear();
        let mut jobs = std::mem::take(&mut self.again).into_iter();
        while let Some(job) = jobs.next() {
            let flight = self.send(link, vec![job]);
            self.flights.push_back(flight);
            let verdict = &mut self.flights.front_mut().expect("just pushed").verdict;
            let answer = verdict.await;
            if let Err(lost) = self.settle(answer) {
                self.again.extend(jobs);
                return Err(lost);
            }
        }
        Ok(())
    }
}

fn unavailable(why: &'static str) -> StoreError {
    StoreError::Unavailable(Cause::new(why))
}
