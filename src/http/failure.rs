//! What the failures of the layers below are to a client: each as a [`Problem`].
//!
//! Not here: the problems themselves (`problem.rs`).
//! Invariant: nothing of what a store says gets into a problem; it goes to the log.

use super::problem::{ErrorCode, Extra, Problem};
use crate::domain::{NameError, Rejection};
use crate::metrics;
use crate::store::StoreError;
use crate::topic::WriteError;

impl From<NameError> for Problem {
    fn from(error: NameError) -> Self {
        Self::new(ErrorCode::Invalid, error.to_string())
    }
}

impl From<WriteError> for Problem {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Rejected(rejection) => rejection.into(),
            WriteError::Unstorable => {
                Self::new(ErrorCode::Invalid, "the store cannot hold this event")
            }
            WriteError::Overloaded => {
                Self::new(ErrorCode::Overloaded, "the queue is full; nothing was written")
            }
            WriteError::Unavailable => Self::new(
                ErrorCode::Unavailable,
                "the store did not take the write in time; nothing was written",
            ),
            WriteError::Full => Self::new(
                ErrorCode::Unavailable,
                "the disk of the store is full; nothing was written",
            ),
            WriteError::ReadOnly => Self::new(ErrorCode::ReadOnly, "the store takes no writes now"),
            WriteError::ShuttingDown => {
                Self::new(ErrorCode::ShuttingDown, "the service is shutting down")
            }
            WriteError::EarlierFailed => Self::new(
                ErrorCode::Unavailable,
                "an earlier line of the stream failed; nothing was written",
            ),
            WriteError::OutcomeUnknown => Self::new(
                ErrorCode::OutcomeUnknown,
                "the store was lost while committing; read the head, or send the request again \
                 with its Idempotency-Key",
            ),
        }
    }
}

impl From<Rejection> for Problem {
    fn from(rejection: Rejection) -> Self {
        match rejection {
            Rejection::PreconditionFailed(head) => {
                Self::new(ErrorCode::PreconditionFailed, "the condition on the head does not hold")
                    .with(Extra::Head(head))
            }
            Rejection::TopicNotFound => Self::new(ErrorCode::TopicNotFound, "no such topic"),
            Rejection::TransactionNotFound => {
                Self::new(ErrorCode::TransactionNotFound, "the topic has no such transaction")
            }
            Rejection::InvalidationOfInvalidation => {
                Self::new(ErrorCode::Invalid, "an invalidation cannot be invalidated")
            }
            Rejection::IdempotencyMismatch => Self::new(
                ErrorCode::IdempotencyMismatch,
                "the Idempotency-Key was used before with another request",
            ),
            Rejection::ProducerGap(expected) => {
                Self::new(ErrorCode::ProducerGap, format!("line {expected} is expected next"))
                    .with(Extra::Expected(expected))
            }
            Rejection::ProducerFenced(epoch) => Self::new(
                ErrorCode::ProducerFenced,
                format!("the producer has been seen with epoch {epoch}"),
            )
            .with(Extra::Epoch(epoch)),
        }
    }
}

/// What a client may know of a store that cannot be used now.
pub(super) fn lost(error: &StoreError) -> &'static str {
    match error {
        StoreError::Full(_) => "the disk of the store is full",
        StoreError::ReadOnly(_) => "the store takes no writes now",
        StoreError::Unavailable(_) | StoreError::Corrupt(_) => "the store does not answer now",
    }
}

/// A read failed. The cause goes to the log here, because no client may see it and nobody else
/// gets hold of it.
impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        metrics::store_error("read");
        match error {
            StoreError::Unavailable(_) | StoreError::Full(_) | StoreError::ReadOnly(_) => {
                tracing::debug!(%error, "a read failed"); // That the store is lost is told once.
                Self::new(ErrorCode::Unavailable, lost(&error))
            }
            StoreError::Corrupt(_) => {
                tracing::error!(%error, "a read failed");
                Self::new(
                    ErrorCode::Internal,
                    "what the store keeps makes no sense; the operator's log says more",
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::Arc;

    use parking_lot::Mutex;

    use super::*;
    use crate::store::Cause;

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl Write for Log {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn the_cause_of_a_failed_read_is_in_the_log_and_not_in_the_answer() {
        use StoreError::{Corrupt, Full, ReadOnly, Unavailable};
        for error in [Unavailable, Full, ReadOnly, Corrupt] {
            let log = Log::default();
            let writer = log.clone();
            let subscriber = tracing_subscriber::fmt().with_max_level(tracing::Level::DEBUG);
            let subscriber = subscriber.with_writer(move || writer.clone()).finish();
            let problem = tracing::subscriber::with_default(subscriber, || {
                Problem::from(error(Cause::new("page 7 is torn")))
            });
            let text = String::from_utf8(log.0.lock().clone()).expect("UTF-8");
            assert!(text.contains("page 7 is torn"), "{text}");
            assert!(!format!("{problem:?}").contains("page 7"), "{problem:?}");
        }
    }
}
