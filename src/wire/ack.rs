//! Answers of writes as JSON.
//!
//! Not here: how a client reads the answer to a stream (`answer.rs`).

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::head::HeadJson;
use super::problem::ProblemJson;
use crate::domain::{Ack, Receipt, Seq, TransactionNo, Version};

/// `{"seq":1040,"transaction":17,"duplicate":false}`.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct AckJson {
    /// Position of the event.
    pub seq: u64,
    /// Its transaction.
    pub transaction: u64,
    /// Whether it was there already.
    pub duplicate: bool,
}

impl From<AckJson> for Ack {
    fn from(json: AckJson) -> Self {
        let (seq, transaction) = (Seq(json.seq), TransactionNo(json.transaction));
        Self { version: Version { seq, transaction }, duplicate: json.duplicate }
    }
}

impl From<&Ack> for AckJson {
    fn from(ack: &Ack) -> Self {
        let HeadJson { seq, transaction } = ack.version.into();
        Self { seq, transaction, duplicate: ack.duplicate }
    }
}

/// The answer to a transaction.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TransactionJson<'a> {
    /// The topic.
    pub topic: Cow<'a, str>,
    /// The number of the transaction; `None` where all were duplicates.
    pub transaction: Option<u64>,
    /// Where the events are.
    pub events: Vec<AckJson>,
    /// The topic's head just after it.
    pub head: Option<HeadJson>,
}

impl<'a> TransactionJson<'a> {
    /// What became of a transaction of the topic.
    #[must_use]
    pub fn new(topic: &'a str, receipt: &Receipt) -> Self {
        Self {
            topic: topic.into(),
            transaction: receipt.transaction.map(|transaction| transaction.0),
            events: receipt.acks.iter().map(AckJson::from).collect(),
            head: receipt.head.map(HeadJson::from),
        }
    }
}

/// The ack of one line of a stream.
#[derive(Serialize)]
#[serde(untagged)]
pub enum LineJson {
    /// The line was an event.
    Event {
        /// From 1.
        line: u64,
        /// Position of the event.
        seq: u64,
        /// Its transaction.
        transaction: u64,
        /// Whether it was there already.
        duplicate: bool,
        /// Only where it is.
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        replayed: bool,
    },
    /// The line was a group.
    Group {
        /// From 1.
        line: u64,
        /// `None` where all were duplicates.
        transaction: Option<u64>,
        /// Where the events are.
        events: Vec<AckJson>,
        /// Only where it is.
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        replayed: bool,
    },
}

impl LineJson {
    /// The ack of a line.
    #[must_use]
    pub fn new(line: u64, group: bool, receipt: &Receipt) -> Self {
        let replayed = receipt.replayed;
        match receipt.acks.first() {
            Some(ack) if !group => {
                let AckJson { seq, transaction, duplicate } = ack.into();
                Self::Event { line, seq, transaction, duplicate, replayed }
            }
            _ => Self::Group {
                line,
                transaction: receipt.transaction.map(|transaction| transaction.0),
                events: receipt.acks.iter().map(AckJson::from).collect(),
                replayed,
            },
        }
    }
}

/// What a whole stream came to.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct SummaryJson {
    /// Lines acknowledged.
    pub lines: u64,
    /// Events written.
    pub written: u64,
    /// Events that were there already.
    pub duplicates: u64,
    /// Lines that were answered as once before, and not looked at; only where there are any.
    #[serde(skip_serializing_if = "is_zero")]
    pub replayed: u64,
    /// The topic's head after the last line acknowledged.
    pub head: Option<HeadJson>,
    /// Whether every line of the request was acknowledged.
    pub complete: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl SummaryJson {
    /// Counts one line that was acknowledged.
    pub fn add(&mut self, receipt: &Receipt) {
        self.lines += 1;
        let duplicates = receipt.acks.iter().filter(|ack| ack.duplicate).count() as u64;
        self.duplicates += duplicates;
        if receipt.replayed {
            self.replayed += 1;
        } else {
            self.written += receipt.acks.len() as u64 - duplicates;
        }
        self.head = receipt.head.map(HeadJson::from).max(self.head);
    }
}

/// The line of an answer to a stream that says which line failed, and why. None but the summary
/// follows.
#[derive(Clone, Debug, Serialize)]
pub struct FailureJson<'a> {
    /// From 1.
    pub line: Option<u64>,
    /// Why.
    pub error: ProblemJson<'a>,
}

/// The last line of an answer to a stream.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct EndJson {
    /// What it came to.
    pub summary: SummaryJson,
}
