//! Taking a topic: the only way to begin writing, and the only way out of a failure.
//!
//! The order is what makes it right (promises, section 3.4): first *fence* (`open`), so that
//! nothing of an earlier writer can commit any more; only then *read* which of the unresolved
//! batches are there. Those are the first ones, because each was conditional on the one before.
//!
//! Not here: what the actor does with the answer.

use std::sync::Arc;
use std::time::Duration;

use crate::domain::{BatchMark, Frontier, Seq, TopicId, TopicName, Version};
use crate::store::{Cause, EventSourceWriter, Facts, Opened, StoreError, Wanted};

/// The newest event that is known to be durable, and the tree up to it: its root takes some ten
/// hashes, and is needed only where a store is suspected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Durable {
    pub(super) head: Version,
    pub(super) frontier: Frontier,
}

/// A topic taken, and what became of the batches that were on their way.
pub(super) struct Taken {
    pub(super) opened: Opened,
    /// For each unresolved batch, whether it is there.
    pub(super) there: Vec<bool>,
    /// The topic ends before, or has other events than, what was durable once: the store has
    /// lost something that it had acknowledged.
    pub(super) rewound: bool,
}

/// Takes the topic; `unresolved` are the last seqs and marks of batches whose outcome is open.
pub(super) async fn take(
    store: Arc<dyn EventSourceWriter>,
    topic: TopicName,
    durable: Option<Durable>,
    unresolved: Vec<(Seq, BatchMark)>,
    timeout: Duration,
) -> Result<Taken, StoreError> {
    let opened = within(timeout, store.open(&topic)).await?;
    let mut marks: Vec<Seq> = unresolved.iter().map(|(seq, _)| *seq).collect();
    marks.extend(durable.as_ref().map(|durable| durable.head.seq));
    if marks.is_empty() {
        return Ok(Taken { opened, there: Vec::new(), rewound: false });
    }
    let wanted = Wanted { marks, ..Wanted::default() };
    let (_, Facts { marks: mut found, .. }) = ask(&*store, opened.topic, wanted, timeout).await?;
    let rewound = match durable {
        Some(durable) => {
            found.pop().flatten().map(|mark| mark.root) != Some(durable.frontier.root())
        }
        None => false,
    };
    let there = unresolved.iter().zip(found).map(|((_, mark), found)| found == Some(*mark));
    Ok(Taken { there: there.collect(), opened, rewound })
}

/// Asks the store. An answer that leaves something open must not be taken for one: the question
/// would be asked again, and again.
pub(super) async fn ask(
    store: &dyn EventSourceWriter,
    topic: TopicId,
    wanted: Wanted,
    timeout: Duration,
) -> Result<(Wanted, Facts), StoreError> {
    let facts = within(timeout, store.facts(topic, wanted.clone())).await?;
    if !facts.answer(&wanted) {
        return Err(StoreError::Corrupt(Cause::new("something that was kept is not there")));
    }
    Ok((wanted, facts))
}

/// Bounds a call of the store, so that one that hangs is an error like any other.
async fn within<T>(
    timeout: Duration,
    call: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    let late = |_| StoreError::Unavailable(Cause::new("no answer in time"));
    tokio::time::timeout(timeout, call).await.map_err(late)?
}
