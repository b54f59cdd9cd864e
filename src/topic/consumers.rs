//! Moving consumers: written past the actors, because no event depends on it and it depends on no
//! event.
//!
//! Not here: whether there is an event at the position (`http/`), and how a condition is kept to
//! (the store, S12).

use super::Topics;
use super::outcome::WriteError;
use crate::domain::{ConsumerName, Move, Moved, Revision, TopicName};
use crate::store::{MoveError, StoreError};

impl Topics {
    /// Moves a consumer, or makes it; `None` where its condition does not hold, or the topic does
    /// not exist. Takes at most `write_timeout`.
    ///
    /// # Errors
    /// `ShuttingDown`, `Unavailable`, `Full`, `ReadOnly`: nothing is changed. `OutcomeUnknown`.
    pub async fn move_consumer(&self, to: Move) -> Result<Option<Moved>, WriteError> {
        self.in_time(self.registry.store.move_consumer(to)).await
    }

    /// Forgets a consumer; `false` where there is none, or none of the revision that is expected.
    ///
    /// # Errors
    /// As [`Self::move_consumer`].
    pub async fn forget_consumer(
        &self,
        topic: &TopicName,
        name: &ConsumerName,
        expected: Option<Revision>,
    ) -> Result<bool, WriteError> {
        self.in_time(self.registry.store.forget_consumer(topic, name, expected)).await
    }

    async fn in_time<T>(
        &self,
        change: impl Future<Output = Result<T, MoveError>>,
    ) -> Result<T, WriteError> {
        self.registry.admission.check_open()?;
        let answer = tokio::time::timeout(self.registry.settings.write_timeout, change).await;
        let Ok(answer) = answer else { return Err(WriteError::OutcomeUnknown) };
        answer.map_err(|error| {
            tracing::debug!(%error, "a consumer was not moved"); // That the store fails is told once.
            match error {
                MoveError::NotMoved(StoreError::Full(_)) => WriteError::Full,
                MoveError::NotMoved(StoreError::ReadOnly(_)) => WriteError::ReadOnly,
                MoveError::NotMoved(StoreError::Unavailable(_) | StoreError::Corrupt(_)) => {
                    WriteError::Unavailable
                }
                MoveError::Unknown(_) => WriteError::OutcomeUnknown,
            }
        })
    }
}
