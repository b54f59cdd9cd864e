//! Reads, once for all readers of a topic, what is missing at the end of its tail: events that
//! another instance wrote, or that this one wrote after all.
//!
//! Invariant: at most one task fills a tail, and it goes on until nothing is missing or nobody
//! reads the topic any more.

use std::sync::{Arc, Weak};
use std::time::Duration;

use super::Shared;
use super::tail::Tail;
use super::walk::Walk;
use crate::domain::Head;
use crate::store::Direction;

/// The pause after the first failure of the store; it doubles up to [`PAUSE_MAX`].
pub(super) const PAUSE_MIN: Duration = Duration::from_millis(50);
pub(super) const PAUSE_MAX: Duration = Duration::from_secs(1);

impl Shared {
    /// Somebody says that this is the topic's head.
    pub(super) fn saw(self: &Arc<Self>, tail: &Arc<Tail>, head: Head) {
        if tail.saw(head) {
            self.fill(tail);
        }
    }

    /// Begins to read what is missing.
    pub(super) fn fill(self: &Arc<Self>, tail: &Arc<Tail>) {
        self.runtime.spawn(fill(Arc::downgrade(self), Arc::downgrade(tail)));
    }
}

async fn fill(shared: Weak<Shared>, tail: Weak<Tail>) {
    let mut walk: Option<Walk> = None;
    let mut pause = PAUSE_MIN;
    while let (Some(shared), Some(now)) = (shared.upgrade(), tail.upgrade()) {
        let Some((from, to)) = now.missing() else { return };
        let walk = walk.get_or_insert_with(|| {
            let reader = Arc::clone(&shared.reader);
            Walk::new(reader, now.topic.clone(), None, Direction::Forward)
        });
        walk.stretch(from, to);
        match walk.next().await {
            Ok(events) if events.is_empty() => now.nothing_is_missing(),
            Ok(events) => {
                pause = PAUSE_MIN;
                now.read(events);
            }
            Err(error) => {
                tracing::warn!(topic = %now.topic, %error, "new events cannot be read");
                crate::metrics::store_error("live");
                drop((shared, now));
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(PAUSE_MAX);
            }
        }
    }
}
