//! Ordering: one actor per topic takes commands, decides them, numbers what is written, and keeps
//! several batches in flight to the store, acknowledging them in order.
//!
//! [`Topics`] is all that the layers above see. Not here: the rules (`domain::decide`), SQL
//! (`store/`), HTTP.
//!
//! # Invariants
//!
//! * Commands of a topic are decided, committed and answered in one order: that of admission.
//! * Nothing is answered before everything that it was decided on is durable.
//! * After a failure of the store the actor fences first, then reads, and rebuilds all that it
//!   knows; nothing in memory is rolled back in place.
//! * When commands fail because of the store, everything queued behind them fails with them.

use std::sync::Arc;
use std::time::Duration;

use crate::domain::{Command, Receipt, Rejection, TopicName};
use crate::store::EventSourceWriter;

/// Limits of the write path. Counts are of events, sizes in bytes.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How long a command may wait for the store before it is answered as failed.
    pub write_timeout: Duration,
    /// Most events admitted and not yet answered, over all topics.
    pub queue_events_max: usize,
    /// Most bytes admitted and not yet answered, over all topics.
    pub queue_bytes_max: usize,
    /// Most events admitted and not yet answered, of one topic.
    pub topic_queue_events_max: usize,
    /// Most events of a batch, unless a single transaction has more.
    pub batch_events_max: usize,
    /// Most bytes of a batch, unless a single transaction has more.
    pub batch_bytes_max: usize,
    /// Most batches of a topic on their way to the store at once.
    pub commits_in_flight_max: usize,
    /// An actor without work for this long ends.
    pub topic_idle: Duration,
    /// Memory for the states of keys, per topic.
    pub keys_bytes_max: usize,
    /// Most events that a surface may be behind its topic before writing waits for it.
    pub unfolded_events_max: usize,
    /// Threads that topic actors run on.
    pub threads: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            write_timeout: Duration::from_secs(10),
            queue_events_max: 200_000,
            queue_bytes_max: 256 << 20,
            topic_queue_events_max: 20_000,
            batch_events_max: 1000,
            batch_bytes_max: 1 << 20,
            commits_in_flight_max: 4,
            topic_idle: Duration::from_secs(60),
            keys_bytes_max: 32 << 20,
            unfolded_events_max: 100_000,
            threads: 1,
        }
    }
}

/// Why a command is not done, sorted by what the caller may conclude.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// A rule refuses it. **Nothing is written**; the same again gives the same.
    #[error("refused by the rules: {0:?}")]
    Rejected(Rejection),
    /// The store cannot hold it. **Nothing is written**; the same again gives the same.
    #[error("the store cannot hold it")]
    Unstorable,
    /// Too much is queued. **Nothing is written**; try again later.
    #[error("the queue is full")]
    Overloaded,
    /// The store is not reachable, or an earlier command failed because of it. **Nothing is
    /// written**; try again later.
    #[error("the store is not available")]
    Unavailable,
    /// The store takes no writes. **Nothing is written**; try again later.
    #[error("the store is read-only")]
    ReadOnly,
    /// The service is ending. **Nothing is written**; try again elsewhere.
    #[error("the service is shutting down")]
    ShuttingDown,
    /// An earlier line of the same session failed. **Nothing is written.**
    #[error("an earlier line failed")]
    EarlierFailed,
    /// The store was lost while committing, and could not be asked in time.
    #[error("the outcome is not known")]
    OutcomeUnknown,
}

/// What became of commands submitted together: the receipts of those that are done, in order,
/// and why the next one failed. Nothing behind that one is written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// The receipts of the commands that are done: the first ones.
    pub receipts: Vec<Receipt>,
    /// Why the command after them is not done; `None` where all are.
    pub failure: Option<WriteError>,
}

/// The writers of all topics. Cheap to clone.
#[derive(Clone)]
pub struct Topics {
    store: Arc<dyn EventSourceWriter>,
    settings: Arc<Settings>,
}

impl Topics {
    /// Makes the writers; their actors start when they are needed. Must be called inside an actix
    /// system.
    #[must_use]
    pub fn new(store: Arc<dyn EventSourceWriter>, settings: Settings) -> Self {
        Self { store, settings: Arc::new(settings) }
    }

    /// Does one command. Dropping the future changes nothing of what happens to the command.
    ///
    /// # Errors
    /// See [`WriteError`].
    pub async fn submit(&self, topic: &TopicName, command: Command) -> Result<Receipt, WriteError> {
        let _ = (&self.store, &self.settings, topic, command);
        Err(WriteError::Unavailable)
    }

    /// Begins a session: commands of one client that depend on each other.
    ///
    /// # Errors
    /// `ShuttingDown`.
    pub fn session(&self, topic: &TopicName) -> Result<Session, WriteError> {
        let _ = topic;
        Ok(Session {})
    }

    /// Takes no more commands (they fail with `ShuttingDown`) and returns once every admitted one
    /// is answered.
    pub async fn drain(&self) {}
}

/// Commands of one client that depend on each other: once one fails, none after it is done.
/// Dropping a session changes nothing of what happens to what was submitted.
pub struct Session {}

impl Session {
    /// Submits commands, at least one; waits while the queue is full (back-pressure) and returns
    /// as soon as they are admitted. The returned future gives their outcome; many may be awaited
    /// at once, outcomes come in order of submission. Keep `commands` small (say 256 lines or 256
    /// KiB): they are answered together.
    ///
    /// # Errors
    /// The commands were not admitted: nothing of them is written.
    pub async fn submit(
        &mut self,
        commands: Vec<Command>,
    ) -> Result<impl Future<Output = Outcome> + Send + 'static + use<>, WriteError> {
        let _ = commands;
        Ok(std::future::ready(Outcome::default()))
    }
}
