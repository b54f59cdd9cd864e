//! What one topic commits to its store at once.

use super::command::Receipt;
use super::event::{Digest, Event, Timestamp};
use super::merkle::{Frontier, Root};
use super::names::{IdempotencyKey, ProducerId};
use super::position::{Epoch, Head, Seq, TransactionNo, Version};

/// The store's own number for a topic; means nothing to anybody else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicId(pub i64);

/// Whole transactions of one topic, planned on a known head, that commit together or not at all.
///
/// Invariants: events are in order of seq without gaps and begin right after `expected`; the
/// last one closes its transaction; `frontier` is the tree after the last event. A batch may
/// have records and no events, or nothing at all: then it only asks whether the topic is where it
/// was planned on.
#[derive(Clone, Debug)]
pub struct Batch {
    /// The topic.
    pub topic: TopicId,
    /// The writer's epoch: the batch commits only while this is the topic's.
    pub epoch: Epoch,
    /// The head that the batch was planned on: it commits only while this is the topic's.
    pub expected: Head,
    /// When it was planned; the `recorded_at` of all its events, but for imported ones, which keep
    /// theirs.
    pub recorded_at: Timestamp,
    /// The events.
    pub events: Vec<Event>,
    /// Transactions that the batch invalidates.
    pub invalidations: Vec<InvalidationRecord>,
    /// Answers to keep under an idempotency key.
    pub idempotency: Vec<IdempotencyRecord>,
    /// Progress of producers, at most one each.
    pub producers: Vec<ProducerRecord>,
    /// The topic's Merkle tree after the batch.
    pub frontier: Frontier,
}

impl Batch {
    /// The topic's head once the batch is durable.
    #[must_use]
    pub fn head(&self) -> Head {
        self.events.last().map(|event| event.version).or(self.expected)
    }

    /// Size in bytes of what its events say, as [`Event::size`] counts it.
    #[must_use]
    pub fn size(&self) -> usize {
        self.events.iter().map(Event::size).sum()
    }

    /// What the store keeps with the batch's last event.
    #[must_use]
    pub fn mark(&self) -> BatchMark {
        BatchMark { epoch: self.epoch, root: self.frontier.root() }
    }
}

/// Kept with the last event of every batch: proves which batch it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchMark {
    /// The writer's epoch.
    pub epoch: Epoch,
    /// The running Merkle root up to and with the batch's last event.
    pub root: Root,
}

/// That a transaction does not stand any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidationRecord {
    /// The invalidated transaction.
    pub transaction: TransactionNo,
    /// Its first event.
    pub first: Seq,
    /// Its last event.
    pub last: Seq,
    /// The invalidation event.
    pub by: Version,
}

/// The answer to a request that named itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdempotencyRecord {
    /// The request's name, unique in the topic.
    pub key: IdempotencyKey,
    /// SHA-256 of what was asked.
    pub request: Digest,
    /// The answer.
    pub receipt: Receipt,
}

/// How far a producer's stream has come, and the answers to its newest lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProducerRecord {
    /// The producer.
    pub producer: ProducerId,
    /// The highest incarnation seen.
    pub epoch: u64,
    /// The number of the first of `receipts`.
    pub first_line: u64,
    /// The answers to the lines that the batch holds, one each; empty where only the epoch moved.
    pub receipts: Vec<Receipt>,
}

impl ProducerRecord {
    /// The line number that is expected next.
    #[must_use]
    pub fn next_line(&self) -> u64 {
        self.first_line + self.receipts.len() as u64
    }
}
