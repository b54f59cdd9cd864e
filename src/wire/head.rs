//! A version as JSON.

use serde::{Deserialize, Serialize};

use crate::domain::{Seq, TransactionNo, Version};

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
