//! Durability: the two traits that a back-end implements, and what they guarantee.
//!
//! A back-end is [`EventSourceWriter`] and [`EventSourceReader`] and nothing else. It keeps what
//! it is given; it decides nothing (`domain::decide`), orders nothing (`topic/`) and knows no
//! actor and no HTTP. Both traits are object-safe: the rest of the service holds
//! `Arc<dyn …>`, and a test can put a faulty store around any other.
//!
//! # Guarantees
//!
//! Each is a test of the same name in `tests/store/`, run on every back-end.
//!
//! * **S1 fenced.** `open` takes the topic: once it has returned, no batch of an earlier epoch
//!   commits any more, not even one that was sent before and is still on its way.
//! * **S2 facts.** `facts` are as of the durable head at one moment during the call; only those
//!   of keys may be older (S9).
//! * **S3 atomic and durable.** `append` returning `Ok` means that all of the batch is durable;
//!   `Refused`, `Rejected` and `NotWritten` mean that none of it is there or ever will be.
//! * **S4 no gaps.** A batch commits only while the topic's head and epoch are exactly those that
//!   it was planned on. So a batch whose predecessor failed cannot commit.
//! * **S5 honest.** When neither can be proven, `append` says `Unknown`; `open` and then `facts`
//!   with the batch's last seq tell the truth.
//! * **S6 whole transactions.** A read sees all events of a committed batch or none.
//! * **S7 records.** Idempotency, producer and invalidation records commit with their batch.
//! * **S8 bytes.** What is read is byte for byte what was written.
//! * **S9 surface.** Surface and history are exact at the seq asked for, whatever has been folded
//!   so far. Facts of a key are exact as of the fold's watermark, which is never behind what any
//!   earlier `fold` returned or `open` reported as `folded`, or as of a later seq where a fold is
//!   under way.
//! * **S10 apart.** What happens to one topic's batch changes nothing for another topic's, even
//!   where they share a database transaction.
//! * **S11 hints.** What one instance tells through [`Hints`], the others that listen hear soon:
//!   usually all of it, sometimes less, never anything else. Who begins to listen hears that it
//!   may have missed something. Only the log is the truth.
//! * **S12 consumers.** A consumer that was moved stays where it is, durably, until it is moved or
//!   forgotten; reads and appends do not move it. Of those who expect one revision at most one
//!   succeeds, and no revision is given twice, whatever was forgotten in between. `NotMoved`
//!   means that nothing was changed or ever will be.
//! * **S13 keys.** `keys` leaves out no key that has an event up to the watermark (S9), however
//!   many are written meanwhile, and names none that has no event.

pub mod error;
mod hints;
pub mod memory;
pub mod postgres;
mod room;
mod scan;
pub mod sqlite;
pub mod watched;

use std::sync::Arc;

use async_trait::async_trait;
use futures::future::BoxFuture;

use crate::domain::{
    Batch, BatchMark, Consumer, ConsumerName, Epoch, Frontier, Head, IdempotencyKey,
    IdempotencyRecord, Key, KeyState, Move, Moved, ProducerId, ProducerState, ReadEvent, Receipt,
    Revision, Root, Seq, TargetState, Timestamp, TopicId, TopicName, TransactionNo,
};
pub use error::{AppendError, Cause, MoveError, OpenError, StoreError};
pub use hints::{Hint, Hints};
pub use room::Room;
pub use scan::{Direction, KeyRange, Scan, SurfaceScan, TopicSummary};

/// A topic taken by a writer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// The store's number for the topic.
    pub topic: TopicId,
    /// The epoch that this writer's batches carry.
    pub epoch: Epoch,
    /// The durable head.
    pub head: Head,
    /// The topic's Merkle tree up to the head.
    pub frontier: Frontier,
    /// The surface has been brought forward up to and with this seq; `None` where not at all.
    pub folded: Option<Seq>,
}

/// What a writer wants to know before it plans a batch.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// The states of these keys.
    pub keys: Vec<Key>,
    /// What an invalidation of these transactions would find.
    pub targets: Vec<TransactionNo>,
    /// The records kept under these idempotency keys.
    pub idempotency: Vec<IdempotencyKey>,
    /// How far these producers have come.
    pub producers: Vec<ProducerId>,
    /// The receipts of these lines, all below the producer's next line.
    pub replays: Vec<Lines>,
    /// The marks of the batches that ended at these seqs.
    pub marks: Vec<Seq>,
}

impl Wanted {
    /// Whether nothing is wanted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
            && self.targets.is_empty()
            && self.idempotency.is_empty()
            && self.producers.is_empty()
            && self.replays.is_empty()
            && self.marks.is_empty()
    }
}

/// Lines of a producer's stream: `count` of them from `first` on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lines {
    /// The producer.
    pub producer: ProducerId,
    /// The first line's number.
    pub first: u64,
    /// How many lines; at least 1.
    pub count: usize,
}

/// The answer to [`Wanted`]: each list answers the list of the same name, in its order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// States of keys as of the fold's watermark; the default for a key not seen up to there.
    pub keys: Vec<KeyState>,
    /// States of transactions.
    pub targets: Vec<TargetState>,
    /// Records, where there are any.
    pub idempotency: Vec<Option<IdempotencyRecord>>,
    /// States of producers; the default for one never seen.
    pub producers: Vec<ProducerState>,
    /// Receipts, one for each line of each range.
    pub replays: Vec<Vec<Receipt>>,
    /// Marks, where a batch ended at that seq.
    pub marks: Vec<Option<BatchMark>>,
}

impl Facts {
    /// Whether everything that was asked is answered.
    #[must_use]
    pub fn answer(&self, wanted: &Wanted) -> bool {
        let replays = || wanted.replays.iter().zip(&self.replays);
        self.keys.len() == wanted.keys.len()
            && self.targets.len() == wanted.targets.len()
            && self.idempotency.len() == wanted.idempotency.len()
            && self.producers.len() == wanted.producers.len()
            && self.replays.len() == wanted.replays.len()
            && replays().all(|(lines, receipts)| receipts.len() == lines.count)
            && self.marks.len() == wanted.marks.len()
    }
}

/// What a writer remembers of the keys written after a fold: by this a store can bring its surface
/// forward without reading its own log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Touched {
    /// The fold's watermark when the writer began to remember.
    pub after: Option<Seq>,
    /// Keys that had no event up to `after`, each with its newest seq.
    pub new: Vec<(Key, Seq)>,
    /// Keys that had one, each with its newest seq.
    pub known: Vec<(Key, Seq)>,
}

/// Writes topics. All methods may be called at once for any number of topics.
#[async_trait]
pub trait EventSourceWriter: Send + Sync + 'static {
    /// Takes the topic for a new writer (S1) and says where it ends. A topic that does not exist
    /// comes into being without events, which no reader sees.
    ///
    /// # Errors
    /// The topic may or may not have been taken; calling again is harmless.
    async fn open(&self, topic: &TopicName) -> Result<Opened, StoreError>;

    /// Looks up what the planner asks (S2, S9).
    ///
    /// The states of keys are as of the fold's watermark, not of the head: a writer must itself
    /// remember the keys that it has written, or whose transactions it has invalidated, since
    /// the last `fold` it knows of. (The memory store's watermark is always the head.) Whether a
    /// receipt says `replayed` means nothing here.
    ///
    /// # Errors
    /// When the store cannot answer now, or what it keeps makes no sense.
    async fn facts(&self, topic: TopicId, wanted: Wanted) -> Result<Facts, StoreError>;

    /// Keys of the topic, those after `after`, in byte order, at most `limit` (S13).
    ///
    /// # Errors
    /// When the store cannot answer now, or what it keeps makes no sense.
    async fn keys(
        &self,
        topic: TopicId,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Vec<Key>, StoreError>;

    /// Commits a batch (S3, S4, S5, S7).
    ///
    /// The batch is on its way when the call returns, before the future is polled: batches of
    /// one topic reach the store in the order of the calls, and several may be in flight. The
    /// outcome does not depend on the future being polled or dropped. Batches of many topics
    /// that are ready together may share one commit of the store (S10).
    ///
    /// # Errors
    /// Sorted by what may be concluded: see [`AppendError`].
    fn append(&self, batch: Arc<Batch>) -> BoxFuture<'static, Result<(), AppendError>>;

    /// Brings the surface forward to `to`, or further, and says how far it is now. Any instance
    /// may do so at any time; it is never behind `to` when this returns.
    ///
    /// `touched`, if given, names *all* keys written after `touched.after` up to and with `to`,
    /// with their newest seqs in that stretch, in which there is no invalidation. It is worth
    /// something only while the watermark is `touched.after`, and is ignored otherwise.
    ///
    /// # Errors
    /// The surface is as far as it was, or somewhere on the way; nothing is wrong with it.
    async fn fold(
        &self,
        topic: TopicId,
        to: Seq,
        touched: Option<Touched>,
    ) -> Result<Seq, StoreError>;

    /// Forgets idempotency records that are older than `before`, and says how many.
    ///
    /// # Errors
    /// Some may have been forgotten; calling again is harmless.
    async fn expire(&self, before: Timestamp) -> Result<u64, StoreError>;

    /// Moves a consumer, or makes it (S12). `None` where its condition does not hold, or the topic
    /// does not exist. Whether there is an event at the position is for the caller to know.
    ///
    /// # Errors
    /// Sorted by what may be concluded: see [`MoveError`].
    async fn move_consumer(&self, to: Move) -> Result<Option<Moved>, MoveError>;

    /// Forgets a consumer (S12); `false` where there is none, or none of the revision that is
    /// expected.
    ///
    /// # Errors
    /// As [`Self::move_consumer`].
    async fn forget_consumer(
        &self,
        topic: &TopicName,
        name: &ConsumerName,
        expected: Option<Revision>,
    ) -> Result<bool, MoveError>;

    /// Ends connections and threads once everything appended has its outcome. Calls made after
    /// it fail as unavailable.
    async fn close(&self);
}

/// Reads topics. All methods may be called at once for any number of topics; none holds anything
/// in the store between calls. A topic without events does not exist for readers.
#[async_trait]
pub trait EventSourceReader: Send + Sync + 'static {
    /// Topics whose name begins with `prefix` and comes after `after`, in byte order, at most
    /// `limit`.
    ///
    /// # Errors
    /// When the store cannot answer now.
    async fn topics(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<TopicSummary>, StoreError>;

    /// The durable head of a topic; `None` where the topic has no event.
    ///
    /// # Errors
    /// When the store cannot answer now.
    async fn head(&self, topic: &TopicName) -> Result<Head, StoreError>;

    /// The durable heads of some topics, in the order of `topics`; in as few questions to the
    /// store as it allows.
    ///
    /// # Errors
    /// When the store cannot answer now.
    async fn heads(&self, topics: &[TopicName]) -> Result<Vec<Head>, StoreError> {
        let mut heads = Vec::with_capacity(topics.len());
        for topic in topics {
            heads.push(self.head(topic).await?);
        }
        Ok(heads)
    }

    /// How the instances on this store tell each other that topics have moved (S11). `None` where
    /// no other instance can write to the store: then there is nobody to tell.
    fn hints(&self) -> Option<Arc<dyn Hints>> {
        None
    }

    /// Events of the stretch that are there, in its direction, without gaps (S6, S8).
    ///
    /// # Errors
    /// When the store cannot answer now, or what it keeps makes no sense.
    async fn events(&self, topic: &TopicName, scan: Scan) -> Result<Vec<ReadEvent>, StoreError>;

    /// Events of one key in the stretch (S9).
    ///
    /// A key's versions are a chain that leads down. Where the event at `scan.to` is one of them,
    /// the walk begins there; otherwise it begins at the newest version.
    ///
    /// # Errors
    /// As [`Self::events`].
    async fn history(
        &self,
        topic: &TopicName,
        key: &Key,
        scan: Scan,
    ) -> Result<Vec<ReadEvent>, StoreError>;

    /// The seqs of a history without its events: of the key's events from `from` to `to`, highest
    /// first, at most `limit`. The walk begins as that of [`Self::history`].
    ///
    /// # Errors
    /// As [`Self::events`].
    async fn versions(
        &self,
        topic: &TopicName,
        key: &Key,
        (from, mut to): (Seq, Seq),
        limit: usize,
    ) -> Result<Vec<Seq>, StoreError> {
        // For stores whose histories are cheap, or all that there is.
        let mut seqs = Vec::new();
        while seqs.len() < limit && from <= to {
            let limit = limit - seqs.len();
            let scan = Scan { from, to, limit, bytes: 1 << 20, direction: Direction::Backward };
            let events = self.history(topic, key, scan).await?;
            let Some(last) = events.last().map(|read| read.event.version.seq) else { break };
            seqs.extend(events.iter().map(|read| read.event.version.seq));
            let Some(below) = last.0.checked_sub(1) else { break };
            to = Seq(below);
        }
        Ok(seqs)
    }

    /// First and last seq of a transaction; `None` where there is no such transaction.
    ///
    /// # Errors
    /// When the store cannot answer now.
    async fn transaction(
        &self,
        topic: &TopicName,
        transaction: TransactionNo,
    ) -> Result<Option<(Seq, Seq)>, StoreError>;

    /// A stretch of the surface, in byte order of key (S9). Events that were invalidated only
    /// after `scan.at` are part of it, and say so.
    ///
    /// # Errors
    /// As [`Self::events`].
    async fn surface(
        &self,
        topic: &TopicName,
        scan: &SurfaceScan,
    ) -> Result<Vec<ReadEvent>, StoreError>;

    /// A consumer of a topic, and how far behind it is; `None` where there is none.
    ///
    /// # Errors
    /// When the store cannot answer now.
    async fn consumer(
        &self,
        topic: &TopicName,
        name: &ConsumerName,
    ) -> Result<Option<Consumer>, StoreError>;

    /// Consumers of a topic whose name begins with `prefix` and comes after `after`, in byte
    /// order, at most `limit`.
    ///
    /// # Errors
    /// When the store cannot answer now.
    async fn consumers(
        &self,
        topic: &TopicName,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Consumer>, StoreError>;

    /// Consumers of all topics that come after `after` in an order of the store's own, which does
    /// not change; at most `limit`. It costs no more than that many, however many there are: who
    /// watches them all looks at them piece by piece. A topic that is not there ends the walk.
    ///
    /// # Errors
    /// When the store cannot answer now.
    async fn all_consumers(
        &self,
        after: Option<&(TopicName, ConsumerName)>,
        limit: usize,
    ) -> Result<Vec<(TopicName, Consumer)>, StoreError>;

    /// The Merkle root over a topic's events up to and with `at`, as it was kept with the batch that
    /// ends there; `None` where none does, or the reader cannot tell.
    ///
    /// # Errors
    /// When the store cannot answer now.
    async fn root(&self, _topic: &TopicName, _at: Seq) -> Result<Option<Root>, StoreError> {
        Ok(None)
    }

    /// Whether the store is reachable and can be read; and, where the last attempt to write failed
    /// because of the store as a whole and the store can tell, whether it can be written again.
    ///
    /// # Errors
    /// When it is not, or cannot.
    async fn ping(&self) -> Result<(), StoreError>;
}
