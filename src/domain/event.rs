//! Events: what a producer says of one (`Content`), and the event as its topic keeps it.
//!
//! Not here: JSON shapes (`wire/`), the decision whether an event is written (`decide.rs`).

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use super::hash::ContentHash;
use super::names::{ContentType, EventType, Json, Key, Reason};
use super::position::{Seq, TransactionNo, Version};

/// A SHA-256.
pub type Digest = [u8; 32];

/// A moment, in microseconds since 1970-01-01T00:00:00Z: the resolution of PostgreSQL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp(pub i64);

/// The data of an event, byte for byte as it was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Data {
    /// A JSON text.
    Json(Json),
    /// Anything else, with its media type.
    Binary(Bytes, ContentType),
}

impl Data {
    /// The bytes that are hashed and kept, sharing their buffer.
    #[must_use]
    pub fn bytes(&self) -> Bytes {
        match self {
            Self::Json(json) => json.bytes(),
            Self::Binary(bytes, _) => bytes.clone(),
        }
    }

    /// The media type of data that is not JSON.
    #[must_use]
    pub fn content_type(&self) -> Option<&ContentType> {
        match self {
            Self::Json(_) => None,
            Self::Binary(_, content_type) => Some(content_type),
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Json(json) => json.as_str().len(),
            Self::Binary(bytes, _) => bytes.len(),
        }
    }
}

/// What a producer says of one event: a new version of the entity that `key` names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// Names the entity.
    pub key: Key,
    /// The producer's hash, or the hash of `digest` where it sent none.
    pub hash: ContentHash,
    /// The kind of event, in the producer's words.
    pub event_type: Option<EventType>,
    /// The new version itself.
    pub data: Data,
    /// Whatever else the producer wants kept; not part of the content hash.
    pub metadata: Option<Json>,
    /// SHA-256 of the data, kept whether or not the producer sent a hash of its own.
    pub digest: Digest,
}

impl Content {
    /// Puts together the content of an event and hashes its data.
    #[must_use]
    pub fn new(
        key: Key,
        hash: Option<ContentHash>,
        event_type: Option<EventType>,
        data: Data,
        metadata: Option<Json>,
    ) -> Self {
        let digest: Digest = match &data {
            Data::Json(json) => Sha256::digest(json.as_str()).into(),
            Data::Binary(bytes, _) => Sha256::digest(bytes).into(),
        };
        let hash = hash.unwrap_or(ContentHash::of_digest(digest));
        Self { key, hash, event_type, data, metadata, digest }
    }

    /// Size in bytes, as limits and metrics count it: key, data, type and metadata.
    #[must_use]
    pub fn size(&self) -> usize {
        self.key.as_str().len()
            + self.data.len()
            + self.event_type.as_ref().map_or(0, |t| t.as_str().len())
            + self.metadata.as_ref().map_or(0, |m| m.as_str().len())
    }

    /// Memory that it takes while it waits to be written, in bytes: its own, and that of the
    /// event which it becomes.
    #[must_use]
    pub fn footprint(&self) -> usize {
        self.size() + size_of::<Self>() + size_of::<Event>()
    }

    /// The same in memory of its own, apart from the buffer that it came in.
    #[must_use]
    pub fn detached(&self) -> Self {
        Self {
            key: self.key.detached(),
            hash: self.hash.detached(),
            event_type: self.event_type.as_ref().map(EventType::detached),
            data: match &self.data {
                Data::Json(json) => Data::Json(json.detached()),
                Data::Binary(bytes, content_type) => {
                    Data::Binary(Bytes::copy_from_slice(bytes), content_type.detached())
                }
            },
            metadata: self.metadata.as_ref().map(Json::detached),
            digest: self.digest,
        }
    }
}

/// Says that an earlier transaction was wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalidation {
    /// The transaction that was wrong.
    pub invalidates: TransactionNo,
    /// Why.
    pub reason: Option<Reason>,
}

/// What an event says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EventBody {
    /// A key has a new version.
    Content(Content),
    /// An earlier transaction was wrong.
    Invalidation(Invalidation),
}

/// An event of a topic. Everything in it is fixed for ever.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Where the event is.
    pub version: Version,
    /// Whether the event closes its transaction.
    pub last: bool,
    /// When the topic's writer took the event; may jump as clocks do, the order is `seq`.
    pub recorded_at: Timestamp,
    /// The seq of the previous version of the key, invalidated or not. A key's history is the
    /// chain of these.
    pub prev: Option<Seq>,
    /// What the event says.
    pub body: EventBody,
}

impl Event {
    /// Size in bytes of what the event says, as [`Content::size`] counts it.
    #[must_use]
    pub fn size(&self) -> usize {
        match &self.body {
            EventBody::Content(content) => content.size(),
            EventBody::Invalidation(said) => said.reason.as_ref().map_or(0, |r| r.as_str().len()),
        }
    }
}

/// An event as it is read, with what later became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadEvent {
    /// The event.
    pub event: Event,
    /// The transaction of the invalidation, where the event's transaction does not stand.
    pub invalidated_by: Option<TransactionNo>,
}
