//! What the writers answer: why a command is not done, and what became of commands submitted
//! together.

use crate::domain::{Receipt, Rejection};

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
    /// The store has no room left. **Nothing is written**; try again when there is some.
    #[error("the disk of the store is full")]
    Full,
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

impl WriteError {
    /// The reason as metrics name it.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Rejected(Rejection::PreconditionFailed(_)) => "precondition_failed",
            Self::Rejected(Rejection::IdempotencyMismatch) => "idempotency_mismatch",
            Self::Rejected(Rejection::ProducerGap(_)) => "producer_gap",
            Self::Rejected(Rejection::ProducerFenced(_)) => "producer_fenced",
            Self::Rejected(_) => "rejected",
            Self::Unstorable => "unstorable",
            Self::Overloaded => "overloaded",
            Self::Unavailable => "unavailable",
            Self::Full => "full",
            Self::ReadOnly => "read_only",
            Self::ShuttingDown => "shutting_down",
            Self::EarlierFailed => "earlier_failed",
            Self::OutcomeUnknown => "outcome_unknown",
        }
    }
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
