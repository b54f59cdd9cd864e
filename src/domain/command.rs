//! What a client can ask of a topic's writer, and the answer when it is done.
//!
//! Not here: the rules by which a command is decided (`decide.rs`), why one is refused
//! (`Rejection`, there too).

use smallvec::SmallVec;

use super::event::{Content, Digest};
use super::names::{IdempotencyKey, ProducerId, Reason};
use super::position::{Head, TransactionNo, Version};

/// Something for a topic's writer to do, whole or not at all.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "nearly every command is a write; no box for it")]
pub enum Command {
    /// Write one transaction.
    Write(Write),
    /// Say that an earlier transaction was wrong.
    Invalidate(Invalidate),
    /// Begin a stream: check the producer's epoch and first line number before any line is read.
    Register(ProducerLine),
}

impl Command {
    /// How many events it asks to be written.
    #[must_use]
    pub fn events(&self) -> usize {
        match self {
            Self::Write(write) => write.events.len(),
            Self::Invalidate(_) | Self::Register(_) => 0,
        }
    }
}

/// One transaction to be written: its events, at least one, and its conditions.
#[derive(Clone, Debug)]
pub struct Write {
    /// The events, in order. Never empty.
    pub events: SmallVec<[Content; 1]>,
    /// What must be true of the topic's head.
    pub precondition: Option<Precondition>,
    /// The name under which the answer is kept.
    pub idempotency: Option<Idempotency>,
    /// The line of a producer's stream that this is.
    pub producer: Option<ProducerLine>,
}

/// An earlier transaction was wrong.
#[derive(Clone, Debug)]
pub struct Invalidate {
    /// The transaction that was wrong.
    pub transaction: TransactionNo,
    /// Why.
    pub reason: Option<Reason>,
    /// The name under which the answer is kept.
    pub idempotency: Option<Idempotency>,
}

/// A condition on the head of the topic, decided at the moment of writing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precondition {
    /// The head's seq is exactly this (`If-Match`).
    HeadIs(super::position::Seq),
    /// The topic has no event yet (`If-None-Match: *`).
    Empty,
}

/// The name of a request, and the digest of what it asked: the same name with another digest is
/// a mistake of the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Idempotency {
    /// The name.
    pub key: IdempotencyKey,
    /// SHA-256 of what was asked.
    pub request: Digest,
}

/// Which line of which producer a write is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProducerLine {
    /// The producer.
    pub producer: ProducerId,
    /// Its incarnation; a lower one than the highest seen is refused.
    pub epoch: u64,
    /// The line's number, from 0 without gaps over all of the producer's requests.
    pub line: u64,
}

/// Where one event of a command is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ack {
    /// The event's version: its own, or the one that was there already.
    pub version: Version,
    /// Whether it was there already, so that nothing was written.
    pub duplicate: bool,
}

/// The answer to a command that is done and durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The number of the transaction written; `None` where nothing was.
    pub transaction: Option<TransactionNo>,
    /// One for each event of the command, in order.
    pub acks: SmallVec<[Ack; 1]>,
    /// The topic's head just after the command.
    pub head: Head,
    /// Whether this is the answer that an earlier sending of the same command got.
    pub replayed: bool,
}
