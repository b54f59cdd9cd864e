//! A version as JSON, and the head of a topic.

use serde::{Deserialize, Serialize};

use crate::domain::{Seq, TopicName, TransactionNo, Version};

/// `{"seq":1040,"transaction":17}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct HeadJson {
    /// Position of the event.
    pub seq: u64,
    /// Number of its transaction.
    pub transaction: u64,
}

impl From<Version> for HeadJson {
    fn from(version: Version) -> Self {
        Self { seq: version.seq.0, transaction: version.transaction.0 }
    }
}

impl From<HeadJson> for Version {
    fn from(json: HeadJson) -> Self {
        Self { seq: Seq(json.seq), transaction: TransactionNo(json.transaction) }
    }
}

/// `{"topic":"t","seq":1040,"transaction":17}`: where a topic's head is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MovedJson {
    /// Name of the topic.
    pub topic: String,
    /// Position of its newest event.
    pub seq: u64,
    /// Number of that event's transaction.
    pub transaction: u64,
}

impl MovedJson {
    /// This head of this topic.
    #[must_use]
    pub fn new(topic: &TopicName, head: Version) -> Self {
        let (seq, transaction) = (head.seq.0, head.transaction.0);
        Self { topic: topic.as_str().to_owned(), seq, transaction }
    }
}
