//! Positions in a topic, and the only arithmetic that there is on them.

use std::fmt;

/// Position of an event in its topic: 0, 1, 2 … with no gaps, ever. Below 2^53.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Seq(pub u64);

/// Number of a transaction of a topic: 0, 1, 2 … with no gaps. Below 2^53.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TransactionNo(pub u64);

/// Counts the writers that a topic has had. Only the newest may append; the store refuses the
/// rest (see `EventSourceWriter::open`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub u64);

/// Where an event is: its seq and the transaction that it belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    /// The event's position.
    pub seq: Seq,
    /// The transaction that the event belongs to.
    pub transaction: TransactionNo,
}

/// The version of a topic's newest event; `None` while the topic has no event.
pub type Head = Option<Version>;

impl Seq {
    /// The position after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// The seq that the next event of a topic with this head gets.
    #[must_use]
    pub fn after(head: Head) -> Self {
        head.map_or(Self(0), |version| version.seq.next())
    }
}

impl TransactionNo {
    /// The number that the next transaction of a topic with this head gets.
    #[must_use]
    pub fn after(head: Head) -> Self {
        head.map_or(Self(0), |version| Self(version.transaction.0 + 1))
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for TransactionNo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
