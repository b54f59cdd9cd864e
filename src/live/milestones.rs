//! Milestones of a key's history: some of its versions, so that a walk up the history, whose chain
//! only leads down, need not begin at the newest version for each fetch.
//!
//! The chain is walked once, for its seqs alone; every [`EVERY`]th is kept. From a milestone down
//! to the one before it is a short walk. So the whole costs two walks however many fetches it
//! takes, and a byte of memory for 128 versions.

use std::collections::VecDeque;

use crate::domain::{Key, Seq, TopicName};
use crate::store::{EventSourceReader, StoreError};

/// Versions from one milestone to the next.
pub const EVERY: usize = 1024;
/// Versions that the store walks over at a time.
const WALKED: usize = 64 * EVERY;

/// See the module.
#[derive(Default)]
pub struct Milestones {
    /// Highest first.
    seqs: VecDeque<Seq>,
    /// The first seq behind what has been walked.
    end: u64,
}

impl Milestones {
    /// Where a walk up from `from` has to go down from: the lowest milestone that is not below;
    /// `None` where the key has no version from there up to `to`. What was found for an earlier
    /// stretch is good for a later one.
    ///
    /// # Errors
    /// When the store cannot answer now, or what it keeps makes no sense.
    pub async fn above(
        &mut self,
        reader: &dyn EventSourceReader,
        topic: &TopicName,
        key: &Key,
        (from, to): (Seq, Seq),
    ) -> Result<Option<Seq>, StoreError> {
        while self.seqs.back().is_some_and(|seq| *seq < from) {
            self.seqs.pop_back();
        }
        if self.end <= to.0 {
            let new = find(reader, topic, key, (from.max(Seq(self.end)), to)).await?;
            new.into_iter().rev().for_each(|seq| self.seqs.push_front(seq));
            self.end = to.0 + 1;
        }
        Ok(self.seqs.back().copied())
    }
}

/// Milestones of a stretch, highest first.
async fn find(
    reader: &dyn EventSourceReader,
    topic: &TopicName,
    key: &Key,
    (from, mut to): (Seq, Seq),
) -> Result<Vec<Seq>, StoreError> {
    let mut found = Vec::new();
    loop {
        // The last one is where the next walk begins: a version, so that it begins right there.
        let seqs = reader.versions(topic, key, (from, to), WALKED + 1).await?;
        found.extend(seqs.iter().take(WALKED).step_by(EVERY));
        match seqs.get(WALKED) {
            Some(next) => to = *next,
            None => return Ok(found),
        }
    }
}
