//! Meaning: what topics, events and transactions are, and the rules that they obey.
//!
//! The words are the contract's and have no synonyms:
//!
//! | word | meaning |
//! | --- | --- |
//! | *topic* | an ordered, append-only sequence of events |
//! | *event* | one new version of the entity that a *key* names, or an *invalidation* |
//! | *seq* | position of an event in its topic: 0, 1, 2 … without gaps |
//! | *transaction* | number of the group of events that commits as one: 0, 1, 2 … without gaps |
//! | *version* | the pair (seq, transaction) |
//! | *head* | version of the newest event of a topic; none while the topic is empty |
//! | *standing* | of an event: its transaction has not been invalidated |
//! | *surface* | the newest standing event of every key |
//! | *duplicate* | an event whose key is on the surface with an equal hash; it is not written |
//! | *batch* | what one topic commits to its store at once: whole transactions, in order |
//! | *epoch* | counts the writers that a topic has had; only the newest may append |
//! | *consumer* | a reader of a topic whose position is kept for it under a name |
//!
//! Not here: I/O, clocks, async, JSON, actors. Everything in this folder is a pure function of
//! its arguments.

pub mod batch;
pub mod command;
pub mod consumer;
pub mod decide;
pub mod event;
pub mod hash;
pub mod limits;
pub mod merkle;
pub mod names;
pub mod position;
pub mod receipt_code;

pub use batch::{Batch, BatchMark, IdempotencyRecord, InvalidationRecord, ProducerRecord, TopicId};
pub use command::{
    Ack, Command, Idempotency, Invalidate, Precondition, ProducerLine, Receipt, Write,
};
pub use consumer::{Consumer, Expected, Move, Moved, Revision};
pub use decide::{
    Decided, KeyState, Known, Planner, ProducerState, Rejection, Standing, TargetState,
};
pub use event::{Content, Data, Digest, Event, EventBody, Invalidation, ReadEvent, Timestamp};
pub use hash::{ContentHash, Fingerprint};
pub use merkle::{Frontier, Root};
pub use names::{
    ConsumerName, ContentType, EventType, IdempotencyKey, Json, Key, NameError, ProducerId, Reason,
    TopicName,
};
pub use position::{Epoch, Head, Seq, TransactionNo, Version};
