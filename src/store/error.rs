//! What can go wrong with a store, sorted by what the caller may conclude.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

/// What the store itself said; for logs, never for clients. Shared, because one failed commit
/// answers many waiters.
#[derive(Clone)]
pub struct Cause(Arc<dyn Error + Send + Sync>);

impl Cause {
    /// Keeps an error, or a text that describes one.
    pub fn new(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self(Arc::from(error.into()))
    }

    /// The error itself, where it is of this type.
    #[must_use]
    pub fn get<E: Error + 'static>(&self) -> Option<&E> {
        self.0.downcast_ref()
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = self.0.to_string();
        f.write_str(&text)?;
        let mut source = self.0.source();
        while let Some(error) = source {
            let why = error.to_string();
            // Some errors say the same as their source, or the other way round.
            if !why.contains(&text) && !text.contains(&why) {
                write!(f, ": {why}")?;
            }
            text = why;
            source = error.source();
        }
        Ok(())
    }
}

impl fmt::Debug for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A call that changes no event failed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// The store is not reachable, or busy. Trying again later may succeed.
    #[error("the store is not available: {0}")]
    Unavailable(Cause),
    /// The store has no room left. Trying again succeeds once there is some.
    #[error("the disk of the store is full: {0}")]
    Full(Cause),
    /// The store can be read but not written.
    #[error("the store is read-only: {0}")]
    ReadOnly(Cause),
    /// What the store keeps makes no sense. Trying again does not help.
    #[error("the store is corrupt: {0}")]
    Corrupt(Cause),
}

impl StoreError {
    /// What the store itself said.
    #[must_use]
    pub fn cause(&self) -> &Cause {
        match self {
            Self::Unavailable(cause)
            | Self::Full(cause)
            | Self::ReadOnly(cause)
            | Self::Corrupt(cause) => cause,
        }
    }
}

/// A batch was not acknowledged by the store.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AppendError {
    /// The topic's head or epoch is not what the batch was planned on. **Nothing is written.**
    #[error(
        "not written, because the topic is not as the batch expects it: a batch before it failed, \
         or another instance writes the topic too"
    )]
    Refused,
    /// The store cannot hold something in the batch. **Nothing is written**, and trying the same
    /// again does not help.
    #[error("the store cannot hold the batch: {0}")]
    Rejected(Cause),
    /// **Nothing is written**; trying again may succeed.
    #[error("nothing was written: {0}")]
    NotWritten(StoreError),
    /// The store was lost while committing: the batch may be there, or may yet appear, until
    /// the topic is opened again.
    #[error("the outcome is not known: {0}")]
    Unknown(Cause),
}

/// A consumer was not moved or forgotten.
#[derive(Clone, Debug, thiserror::Error)]
pub enum MoveError {
    /// **Nothing is changed**; trying again may succeed.
    #[error("nothing was changed: {0}")]
    NotMoved(StoreError),
    /// The store was lost while committing: the change may be there, or may yet appear.
    #[error("the outcome is not known: {0}")]
    Unknown(Cause),
}

/// A store could not be opened at start. The texts are for the operator: what is wrong, and what
/// to do about it.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// There is no way to the store now.
    #[error("{0}")]
    Unreachable(String),
    /// Another process is using a store that only one may use.
    #[error("{0}")]
    InUse(String),
    /// The store's schema was made by a newer version of this program.
    #[error("{0}")]
    Newer(String),
    /// The store does not let this user in, or the user lacks a right.
    #[error("{0}")]
    MissingRights(String),
    /// What is named is no store, or not what it should be, or cannot give the guarantees.
    #[error("{0}")]
    Unsuitable(String),
}
