//! The tasks that keep tails and board right: one hears hints, the other looks at the heads in
//! the store every second, because hints may be lost and writers may die before they tell.
//!
//! Invariant: the tasks end with what they keep.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use futures::stream::BoxStream;

use super::Shared;
use super::tail::Tail;
use crate::metrics;
use crate::store::{Hint, StoreError};

/// How often the heads of followed topics are looked at.
const LOOK: Duration = Duration::from_secs(1);
/// The pause between two looks, however often hints are missed.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// Topics that are asked for at once.
const TOPICS: usize = 1000;
/// All topics are looked at only so seldom that it takes this part of the time.
const SWEEP_SHARE: u32 = 20;

/// Hears hints until they end.
pub(super) async fn listen(shared: Weak<Shared>, mut hints: BoxStream<'static, Hint>) {
    while let Some(hint) = hints.next().await {
        let Some(shared) = shared.upgrade() else { return };
        match hint {
            Hint::Missed => shared.look.notify_one(),
            Hint::Moved(moved) => {
                metrics::hint_heard();
                shared.board.saw(&moved.name, moved.head);
                let tail = shared.tails.read().get(&moved.name).and_then(Weak::upgrade);
                if let Some(tail) = tail {
                    shared.saw(&tail, Some(moved.head));
                }
            }
        }
    }
}

/// Looks at the heads now and then.
pub(super) async fn look(shared: Weak<Shared>) {
    let mut sweep_at = Instant::now();
    loop {
        let Some(now) = shared.upgrade() else { return };
        tokio::time::sleep(LOOK_AGAIN).await;
        let asked = tokio::time::timeout(LOOK, now.look.notified()).await.is_ok();
        if let Err(error) = now.look_at_tails().await {
            // That the store is lost is told once, and not by us.
            tracing::debug!(%error, "the heads of followed topics cannot be read");
        }
        if now.board.is_read() && (asked || Instant::now() >= sweep_at) {
            match now.sweep().await {
                Ok(took) => sweep_at = Instant::now() + took * SWEEP_SHARE,
                Err(error) => tracing::debug!(%error, "the heads of all topics cannot be read"),
            }
        }
    }
}

impl Shared {
    async fn look_at_tails(self: &Arc<Self>) -> Result<(), StoreError> {
        let tails: Vec<Arc<Tail>> = self.tails.read().values().filter_map(Weak::upgrade).collect();
        tails.iter().for_each(|tail| tail.age());
        for tails in tails.chunks(TOPICS) {
            let topics: Vec<_> = tails.iter().map(|tail| tail.topic.clone()).collect();
            let heads = self.reader.heads(&topics).await?;
            for (tail, head) in tails.iter().zip(heads) {
                self.saw(tail, head);
            }
        }
        Ok(())
    }
}
