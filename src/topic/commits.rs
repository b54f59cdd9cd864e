//! Who is told of what became durable here. Not here: what they do with it (`live/`).

use std::sync::{Arc, OnceLock};

use crate::domain::{Batch, TopicName};

/// Is told of durable batches.
pub trait Commits: Send + Sync + 'static {
    /// The batch, which has events, is durable. Called on the topic's thread, in order, before
    /// anything of the batch is acknowledged: must be quick and never block. Not every batch is
    /// told of: what commits after its writer has given up is only in the store.
    fn committed(&self, topic: &TopicName, batch: &Arc<Batch>);
}

/// Where actors find it, once there is one.
#[derive(Clone, Default)]
pub(super) struct Told(Arc<OnceLock<Arc<dyn Commits>>>);

impl Told {
    pub(super) fn set(&self, commits: Arc<dyn Commits>) {
        let _ = self.0.set(commits); // As documented: only the first counts.
    }

    pub(super) fn committed(&self, topic: &TopicName, batch: &Arc<Batch>) {
        if let Some(commits) = self.0.get().filter(|_| !batch.events.is_empty()) {
            commits.committed(topic, batch);
        }
    }
}
