//! THE RULES: what a command means for a topic. Everything the contract says about
//! de-duplication, invalidation, preconditions, idempotency, producer lines and numbering is
//! decided here and nowhere else.
//!
//! [`Planner::decide`] takes one command after the other and adds what is to be written to a
//! batch. It builds on the *planned* head, which runs ahead of what is durable; whoever calls
//! it must not tell anybody an answer before the batch is durable, and must throw the planner
//! away when a batch fails.
//!
//! Order of the questions, which is part of the contract: idempotency, then producer line, then
//! precondition, then the events themselves.

use super::batch::{Batch, IdempotencyRecord, InvalidationRecord, ProducerRecord, TopicId};
use super::command::{
    Ack, Command, Idempotency, Invalidate, Precondition, ProducerLine, Receipt, Write,
};
use super::event::{Content, Event, EventBody, Invalidation, Timestamp};
use super::hash::Fingerprint;
use super::merkle::Frontier;
use super::names::{IdempotencyKey, Key, ProducerId};
use super::position::{Epoch, Head, Seq, TransactionNo, Version};

/// What the rules need to know of a key, as of the planned head.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeyState {
    /// The key's newest event, whether or not it stands; `None` for a key never seen.
    pub newest: Option<Seq>,
    /// The key's event on the surface.
    pub standing: Option<Standing>,
}

/// An event on the surface, as de-duplication sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Where it is.
    pub version: Version,
    /// [`super::ContentHash::fingerprint`] of its hash.
    pub hash: Fingerprint,
}

/// How far a producer has come; zero for one never seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProducerState {
    /// The highest incarnation seen.
    pub epoch: u64,
    /// The line number that is expected next.
    pub next_line: u64,
}

/// What an invalidation finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetState {
    /// The topic has no such transaction.
    Missing,
    /// The transaction is an invalidation itself.
    Invalidation,
    /// The transaction was invalidated before, by this event.
    Invalidated(Version),
    /// The transaction stands; these are its first and last event.
    Stands(Seq, Seq),
}

/// Why a command is refused. Nothing of it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// `If-Match` or `If-None-Match` does not hold for this head.
    PreconditionFailed(Head),
    /// The topic has no event, so nothing in it can be invalidated.
    TopicNotFound,
    /// The transaction to be invalidated does not exist.
    TransactionNotFound,
    /// The transaction to be invalidated is an invalidation.
    InvalidationOfInvalidation,
    /// The idempotency key was used before for something else.
    IdempotencyMismatch,
    /// The producer's line number is beyond the next one, which is this.
    ProducerGap(u64),
    /// The producer's epoch is below the highest seen, which is this.
    ProducerFenced(u64),
}

/// What the rules look up. Whoever implements it has fetched, before [`Planner::decide`], all
/// that the command can ask for.
pub trait Known {
    /// The state of a key as of the planned head.
    fn key(&mut self, key: &Key) -> KeyState;
    /// A key has a new state as of the planned head.
    fn note_key(&mut self, key: &Key, state: KeyState);
    /// The record kept under an idempotency key.
    fn idempotency(&self, key: &IdempotencyKey) -> Option<&IdempotencyRecord>;
    /// How far a producer has come, as of the planned head.
    fn producer(&self, producer: &ProducerId) -> ProducerState;
    /// A producer has come further.
    fn note_producer(&mut self, producer: &ProducerId, state: ProducerState);
    /// The answer that a producer's line got when it was written.
    fn replay(&self, line: &ProducerLine) -> Receipt;
    /// What an invalidation of this transaction finds.
    fn target(&self, transaction: TransactionNo) -> TargetState;
}

/// A command's fate as of the planned head.
pub type Decided = Result<Receipt, Rejection>;

/// The planned end of a topic: head and Merkle tree after everything decided so far.
#[derive(Clone, Debug)]
pub struct Planner {
    topic: TopicId,
    epoch: Epoch,
    head: Head,
    frontier: Frontier,
}

impl Planner {
    /// Begins to plan on a durable head.
    ///
    /// # Panics
    /// When `frontier` is not the tree of a topic with this head: the store is corrupt, and its
    /// adapter should have said so.
    #[must_use]
    pub fn new(topic: TopicId, epoch: Epoch, head: Head, frontier: Frontier) -> Self {
        assert_eq!(frontier.leaves(), Seq::after(head).0, "one leaf for every event");
        Self { topic, epoch, head, frontier }
    }

    /// The planned head.
    #[must_use]
    pub fn head(&self) -> Head {
        self.head
    }

    /// The epoch that batches are planned for.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// An empty batch on the planned head.
    #[must_use]
    pub fn begin(&self, now: Timestamp) -> Batch {
        Batch {
            topic: self.topic,
            epoch: self.epoch,
            expected: self.head,
            recorded_at: now,
            events: Vec::new(),
            invalidations: Vec::new(),
            idempotency: Vec::new(),
            producers: Vec::new(),
            frontier: Frontier::default(),
        }
    }

    /// Closes a batch: from here on it can be committed.
    pub fn seal(&self, batch: &mut Batch) {
        assert_eq!(batch.head(), self.head, "a batch is sealed right after its last decision");
        batch.frontier = self.frontier.clone();
    }

    /// Decides one command and adds what is to be written to `batch`, which must be the one
    /// begun last. A rejection changes nothing.
    ///
    /// # Errors
    /// The rule that the command breaks, as of the planned head.
    pub fn decide(
        &mut self,
        command: &Command,
        known: &mut impl Known,
        batch: &mut Batch,
    ) -> Decided {
        match command {
            Command::Write(write) => self.write(write, known, batch),
            Command::Invalidate(invalidate) => self.invalidate(invalidate, known, batch),
            Command::Register(line) => self.register(line, known, batch),
        }
    }

    fn write(&mut self, write: &Write, known: &mut impl Known, batch: &mut Batch) -> Decided {
        if let Some(answer) = replay(write.idempotency.as_ref(), known)? {
            return Ok(answer);
        }
        if let Some(line) = &write.producer {
            let state = admitted(line, known)?;
            if line.line < state.next_line {
                fence(line, state, known, batch);
                return Ok(Receipt { replayed: true, ..known.replay(line) });
            }
        }
        self.check(write.precondition)?;

        let transaction = TransactionNo::after(self.head);
        let first = batch.events.len();
        let acks = write
            .events
            .iter()
            .map(|content| self.event(content, transaction, known, batch))
            .collect();
        let written = batch.events.len() > first;
        if written {
            self.close(batch, first);
        }
        let receipt = Receipt {
            transaction: written.then_some(transaction),
            acks,
            head: self.head,
            replayed: false,
        };
        remember(write.idempotency.as_ref(), &receipt, batch);
        if let Some(line) = &write.producer {
            advance(line, receipt.clone(), known, batch);
        }
        Ok(receipt)
    }

    fn check(&self, precondition: Option<Precondition>) -> Result<(), Rejection> {
        let holds = match precondition {
            None => true,
            Some(Precondition::Empty) => self.head.is_none(),
            Some(Precondition::HeadIs(seq)) => self.head.is_some_and(|head| head.seq == seq),
        };
        if holds { Ok(()) } else { Err(Rejection::PreconditionFailed(self.head)) }
    }

    /// De-duplication: an event is written unless the surface holds its key with an equal hash.
    fn event(
        &mut self,
        content: &Content,
        transaction: TransactionNo,
        known: &mut impl Known,
        batch: &mut Batch,
    ) -> Ack {
        let state = known.key(&content.key);
        let hash = content.hash.fingerprint();
        if let Some(standing) = state.standing.filter(|standing| standing.hash == hash) {
            return Ack { version: standing.version, duplicate: true };
        }
        let body = EventBody::Content(content.clone());
        let version = self.append(body, transaction, state.newest, batch);
        let standing = Some(Standing { version, hash });
        known.note_key(&content.key, KeyState { newest: Some(version.seq), standing });
        Ack { version, duplicate: false }
    }

    fn invalidate(
        &mut self,
        invalidate: &Invalidate,
        known: &mut impl Known,
        batch: &mut Batch,
    ) -> Decided {
        if let Some(answer) = replay(invalidate.idempotency.as_ref(), known)? {
            return Ok(answer);
        }
        if self.head.is_none() {
            return Err(Rejection::TopicNotFound);
        }
        let (ack, transaction) = match known.target(invalidate.transaction) {
            TargetState::Missing => return Err(Rejection::TransactionNotFound),
            TargetState::Invalidation => return Err(Rejection::InvalidationOfInvalidation),
            TargetState::Invalidated(version) => (Ack { version, duplicate: true }, None),
            TargetState::Stands(first, last) => {
                let transaction = TransactionNo::after(self.head);
                let at = batch.events.len();
                let body = EventBody::Invalidation(Invalidation {
                    invalidates: invalidate.transaction,
                    reason: invalidate.reason.clone(),
                });
                let by = self.append(body, transaction, None, batch);
                let target = invalidate.transaction;
                let record = InvalidationRecord { transaction: target, first, last, by };
                batch.invalidations.push(record);
                self.close(batch, at);
                (Ack { version: by, duplicate: false }, Some(transaction))
            }
        };
        let acks = [ack].into_iter().collect();
        let receipt = Receipt { transaction, acks, head: self.head, replayed: false };
        remember(invalidate.idempotency.as_ref(), &receipt, batch);
        Ok(receipt)
    }

    fn register(
        &mut self,
        line: &ProducerLine,
        known: &mut impl Known,
        batch: &mut Batch,
    ) -> Decided {
        let state = admitted(line, known)?;
        fence(line, state, known, batch);
        let acks = smallvec::SmallVec::new();
        Ok(Receipt { transaction: None, acks, head: self.head, replayed: false })
    }

    fn append(
        &self,
        body: EventBody,
        transaction: TransactionNo,
        prev: Option<Seq>,
        batch: &mut Batch,
    ) -> Version {
        let seq = batch.events.last().map_or(Seq::after(batch.expected), |e| e.version.seq.next());
        let version = Version { seq, transaction };
        let recorded_at = batch.recorded_at;
        batch.events.push(Event { version, last: false, recorded_at, prev, body });
        version
    }

    /// Closes the transaction that begins at `first` in the batch: head and tree move over it.
    fn close(&mut self, batch: &mut Batch, first: usize) {
        let events = &mut batch.events[first..];
        events.last_mut().expect("a transaction has an event").last = true;
        events.iter().for_each(|event| self.frontier.push(event));
        self.head = events.last().map(|event| event.version);
    }
}

/// The answer that an earlier sending of the same request got.
fn replay(
    idempotency: Option<&Idempotency>,
    known: &impl Known,
) -> Result<Option<Receipt>, Rejection> {
    let Some(idempotency) = idempotency else { return Ok(None) };
    match known.idempotency(&idempotency.key) {
        None => Ok(None),
        Some(record) if record.request != idempotency.request => {
            Err(Rejection::IdempotencyMismatch)
        }
        Some(record) => Ok(Some(Receipt { replayed: true, ..record.receipt.clone() })),
    }
}

fn remember(idempotency: Option<&Idempotency>, receipt: &Receipt, batch: &mut Batch) {
    if let Some(Idempotency { key, request }) = idempotency.cloned() {
        batch.idempotency.push(IdempotencyRecord { key, request, receipt: receipt.clone() });
    }
}

/// The producer's state, if its epoch and line number are acceptable.
fn admitted(line: &ProducerLine, known: &impl Known) -> Result<ProducerState, Rejection> {
    let state = known.producer(&line.producer);
    if line.epoch < state.epoch {
        return Err(Rejection::ProducerFenced(state.epoch));
    }
    if line.line > state.next_line {
        return Err(Rejection::ProducerGap(state.next_line));
    }
    Ok(state)
}

/// Keeps a higher epoch at once, though no line is written: from here on the producer's earlier
/// incarnation is refused.
fn fence(line: &ProducerLine, state: ProducerState, known: &mut impl Known, batch: &mut Batch) {
    if line.epoch > state.epoch {
        record(line, state.next_line, None, known, batch);
    }
}

/// The producer's next line is decided.
fn advance(line: &ProducerLine, receipt: Receipt, known: &mut impl Known, batch: &mut Batch) {
    record(line, line.line, Some(receipt), known, batch);
}

fn record(
    line: &ProducerLine,
    at: u64,
    receipt: Option<Receipt>,
    known: &mut impl Known,
    batch: &mut Batch,
) {
    let found = batch.producers.iter().position(|r| r.producer == line.producer);
    let index = found.unwrap_or_else(|| {
        let producer = line.producer.clone();
        let fresh =
            ProducerRecord { producer, epoch: line.epoch, first_line: at, receipts: Vec::new() };
        batch.producers.push(fresh);
        batch.producers.len() - 1
    });
    let record = &mut batch.producers[index];
    assert_eq!(record.next_line(), at, "a producer's lines are decided without gaps");
    record.epoch = line.epoch;
    record.receipts.extend(receipt);
    let state = ProducerState { epoch: record.epoch, next_line: record.next_line() };
    known.note_producer(&line.producer, state);
}
