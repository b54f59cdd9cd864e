//! What readers ask for, and how a topic is listed. Not here: where an answer ends (`room.rs`).

use super::Room;
use crate::domain::{Key, Seq, TopicName, Version};

/// A topic as it is listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicSummary {
    /// Its name.
    pub name: TopicName,
    /// Its newest event.
    pub head: Version,
}

/// A stretch of a topic, or of a key's history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scan {
    /// The lowest seq.
    pub from: Seq,
    /// The highest seq, inclusive.
    pub to: Seq,
    /// Most events to return; at least 1.
    pub limit: usize,
    /// The event with which those returned have so many bytes ([`Event::size`](crate::domain::Event::size)) is the last. So
    /// one is returned however large it is, and an answer is bounded whatever the log holds.
    pub bytes: usize,
    /// Which end comes first.
    pub direction: Direction,
}

impl Scan {
    /// Room for the answer.
    #[must_use]
    pub fn room(&self) -> Room {
        Room::new(self.limit, self.bytes)
    }
}

/// The order of a scan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Rising seqs.
    Forward,
    /// Falling seqs.
    Backward,
}

/// A stretch of a surface, as it stood just after the event `at`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SurfaceScan {
    /// The last event of a transaction, not beyond the head: the surface as of this event.
    pub at: Version,
    /// Which keys.
    pub keys: KeyRange,
    /// Most events to return; at least 1.
    pub limit: usize,
    /// The event with which those returned have so many bytes is the last, as in a [`Scan`].
    pub bytes: usize,
}

impl SurfaceScan {
    /// Room for the answer.
    #[must_use]
    pub fn room(&self) -> Room {
        Room::new(self.limit, self.bytes)
    }
}

/// Keys of a surface, in byte order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyRange {
    /// All keys that begin with `prefix` (maybe empty) and come after `after`.
    Prefix {
        /// Begin of the keys.
        prefix: String,
        /// The key before the first.
        after: Option<String>,
    },
    /// One key.
    Exactly(Key),
}
