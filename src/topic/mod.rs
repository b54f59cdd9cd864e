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

mod actor;
mod admission;
mod budget;
mod commits;
mod consumers;
mod flight;
mod forgotten;
mod hasher;
mod keys;
mod memory;
mod outcome;
mod queue;
mod recovery;
mod registry;
mod remembered;
mod settings;

use std::sync::Arc;

pub use commits::Commits;
pub use outcome::{Outcome, WriteError};
pub use settings::Settings;

use crate::domain::{Command, Receipt, Timestamp, TopicName};
use crate::store::EventSourceWriter;
use admission::Weight;
use queue::{SessionState, Submission};
use registry::{Lease, Registry};

/// The time, by this machine's clock.
#[must_use]
pub fn now() -> Timestamp {
    Timestamp(jiff::Timestamp::now().as_microsecond())
}

/// The writers of all topics. Cheap to clone.
#[derive(Clone)]
pub struct Topics {
    registry: Arc<Registry>,
}

impl Topics {
    /// Makes the writers. Their actors start when they are needed, on the thread that needs them:
    /// what takes a topic here must be called on threads of an actix system.
    #[must_use]
    pub fn new(store: Arc<dyn EventSourceWriter>, settings: Settings) -> Self {
        Self { registry: Arc::new(Registry::new(store, settings)) }
    }

    /// From now on `commits` is told of every batch that becomes durable. Once; what is set later
    /// is ignored.
    pub fn tell(&self, commits: Arc<dyn Commits>) {
        self.registry.commits.set(commits);
    }

    /// Does one command. Dropping the future changes nothing of what happens to the command.
    ///
    /// # Errors
    /// See [`WriteError`].
    pub async fn submit(&self, topic: &TopicName, command: Command) -> Result<Receipt, WriteError> {
        let commands = vec![command];
        let permit = self.registry.admission.try_admit(Weight::of(&commands))?;
        let lease = self.registry.lease(topic);
        let permit = permit.try_enter(&lease.admission)?;
        let (submission, outcome) = Submission::new(commands, None, permit, lease.clone());
        lease.send(submission);
        drop(lease);
        let outcome = outcome.await.unwrap_or_else(|_| lost());
        match (outcome.failure, outcome.receipts.into_iter().next()) {
            (None, Some(receipt)) => Ok(receipt),
            (failure, _) => Err(failure.unwrap_or(WriteError::OutcomeUnknown)),
        }
    }

    /// Begins a session: commands of one client that depend on each other.
    ///
    /// # Errors
    /// `ShuttingDown`.
    pub fn session(&self, topic: &TopicName) -> Result<Session, WriteError> {
        self.registry.admission.check_open()?;
        let lease = self.registry.lease(topic);
        let (registry, state) = (Arc::clone(&self.registry), Arc::default());
        Ok(Session { registry, lease, state, refused: false })
    }

    /// How many topics have an actor at the moment.
    #[must_use]
    pub fn active(&self) -> usize {
        self.registry.active()
    }

    /// Takes no more commands (they fail with `ShuttingDown`) and returns once every admitted one
    /// is answered.
    pub async fn drain(&self) {
        self.registry.admission.drain().await;
    }
}

/// Commands of one client that depend on each other: once one fails, none after it is done.
/// Dropping a session changes nothing of what happens to what was submitted.
///
/// A session is bound to the actor that it began with: should that one die, the session fails,
/// because a successor cannot know which of its commands were lost.
pub struct Session {
    registry: Arc<Registry>,
    lease: Lease,
    state: Arc<SessionState>,
    /// Something was not even admitted.
    refused: bool,
}

impl Session {
    /// Submits commands, at least one; waits while the queue is full (back-pressure) and returns
    /// as soon as they are admitted. The returned future gives their outcome; many may be awaited
    /// at once, outcomes come in order of submission. Keep `commands` small (some hundred lines, 256
    /// KiB): they are answered together.
    ///
    /// # Errors
    /// The commands were not admitted: nothing of them is written.
    pub async fn submit(
        &mut self,
        commands: Vec<Command>,
    ) -> Result<impl Future<Output = Outcome> + Send + 'static + use<>, WriteError> {
        let weight = Weight::of(&commands);
        let permit = self.registry.admission.admit(&self.lease.admission, weight).await;
        let permit = permit.inspect_err(|_| self.refused = true)?;
        if self.refused || self.state.has_failed() {
            return Err(WriteError::EarlierFailed);
        }
        let session = Some(Arc::clone(&self.state));
        let (submission, outcome) = Submission::new(commands, session, permit, self.lease.clone());
        self.lease.send(submission);
        Ok(async move { outcome.await.unwrap_or_else(|_| lost()) })
    }
}

/// A submission answers even when it is dropped, so this is not seen; if it were, nothing could
/// be said.
fn lost() -> Outcome {
    Outcome { receipts: Vec::new(), failure: Some(WriteError::OutcomeUnknown) }
}
