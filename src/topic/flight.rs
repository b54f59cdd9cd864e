//! Batches on their way to the store, in order.

use std::sync::Arc;
use std::time::Instant;

use super::recovery::Durable;
use crate::domain::{Batch, BatchMark, EventBody, Seq};
use crate::metrics::{self, Written};

/// A stretch of planned commands, and the batch that they became.
pub(super) struct Flight {
    /// Counts the flights of one life of the actor.
    pub(super) number: u64,
    /// How many commands of the queue it settles.
    pub(super) commands: usize,
    /// May be empty: all duplicates, or all refused.
    pub(super) batch: Arc<Batch>,
    /// When the batch was sent.
    pub(super) sent: Instant,
    /// The batch is durable.
    pub(super) landed: bool,
    /// What the commands did.
    pub(super) written: Written,
}

impl Flight {
    /// The batch is durable.
    pub(super) fn land(&mut self) {
        if !self.landed {
            self.landed = true;
            metrics::commit_succeeded(self.sent.elapsed());
        }
    }

    /// The batch's place and mark, where it has events: by these the store can be asked for it.
    pub(super) fn mark(&self) -> Option<(Seq, BatchMark)> {
        self.batch.events.last().map(|event| (event.version.seq, self.batch.mark()))
    }

    /// What is durable once this has landed, where it has events.
    pub(super) fn durable(&self) -> Option<Durable> {
        let head = self.batch.events.last()?.version;
        Some(Durable { head, frontier: self.batch.frontier.clone() })
    }

    /// Whether nothing may be planned before this has landed: after an invalidation the surface
    /// has to be folded; and a batch without events leaves no head for its successor to be
    /// conditional on.
    pub(super) fn bars(&self) -> bool {
        self.batch.events.is_empty() || !self.batch.invalidations.is_empty()
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        if !self.landed {
            metrics::commit_failed();
        }
    }
}

/// What a planned batch will have written.
pub(super) fn written(batch: &Batch) -> Written {
    let mut written = Written { events: batch.events.len() as u64, ..Written::default() };
    for event in &batch.events {
        written.transactions += u64::from(event.last);
        match &event.body {
            EventBody::Content(content) => written.bytes += content.size() as u64,
            EventBody::Invalidation(_) => written.invalidations += 1,
        }
    }
    written
}
