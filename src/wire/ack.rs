//! Answers of writes as JSON.

use serde::Serialize;

use super::head::HeadJson;
use crate::domain::{Ack, Receipt};

/// `{"seq":1040,"transaction":17,"duplicate":false}`.
#[derive(Serialize)]
pub struct AckJson {
    seq: u64,
    transaction: u64,
    duplicate: bool,
}

impl From<&Ack> for AckJson {
    fn from(ack: &Ack) -> Self {
        let HeadJson { seq, transaction } = ack.version.into();
        Self { seq, transaction, duplicate: ack.duplicate }
    }
}

/// The answer to a transaction.
#[derive(Serialize)]
pub struct TransactionJson<'a> {
    topic: &'a str,
    transaction: Option<u64>,
    events: Vec<AckJson>,
    head: Option<HeadJson>,
}

impl<'a> TransactionJson<'a> {
    /// What became of a transaction of the topic.
    #[must_use]
    pub fn new(topic: &'a str, receipt: &Receipt) -> Self {
        Self {
            topic,
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
#[derive(Clone, Copy, Default, Serialize)]
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
