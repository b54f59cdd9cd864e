//! The tasks that keep tails and board right: one hears hints while somebody follows, the other
//! looks at the heads in the store every second, because hints may be lost and writers may die
//! before they tell.
//!
//! Invariant: the tasks end with what they keep.

use std::ops::ControlFlow;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use futures::stream::BoxStream;
use tokio::time::MissedTickBehavior;

use super::Shared;
use super::tail::Tail;
use crate::metrics;
use crate::store::{Hint, Hints, StoreError};

/// How often an instance that listens looks whether it still has to.
const LISTENING: Duration = Duration::from_secs(5);
/// How often the heads of followed topics are looked at.
const LOOK: Duration = Duration::from_secs(1);
/// The pause between two looks, however often hints are missed.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// Topics that are asked for at once.
const TOPICS: usize = 1000;
/// All topics are looked at only so seldom that it takes this part of the time, or half of it where
/// hints are missed.
const SWEEP_SHARE: u32 = 20;

/// Listens while somebody follows a topic or asks for heads, until the store ends.
pub(super) async fn listen(shared: Weak<Shared>, hints: Arc<dyn Hints>) {
    while let Some(now) = shared.upgrade() {
        let (is_followed, followed) = (now.is_followed(), Arc::clone(&now.followed));
        drop(now);
        if !is_followed {
            followed.notified().await;
        } else if hear(&shared, hints.listen()).await.is_break() {
            return;
        }
    }
}

/// Hears hints as long as somebody follows.
async fn hear(shared: &Weak<Shared>, mut heard: BoxStream<'static, Hint>) -> ControlFlow<()> {
    let mut look = tokio::time::interval(LISTENING);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    look.reset(); // The first would come at once.
    loop {
        let hint = tokio::select! {
            hint = heard.next() => hint.map(Some),
            _ = look.tick() => Some(None),
        };
        let (Some(hint), Some(shared)) = (hint, shared.upgrade()) else {
            return ControlFlow::Break(());
        };
        match hint {
            None if shared.is_followed() => {}
            None => return ControlFlow::Continue(()),
            Some(Hint::Missed) => shared.look.notify_one(),
            Some(Hint::Moved(moved)) => {
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
    let (mut sweep_at, mut ask_at, mut asked) = (Instant::now(), Instant::now(), false);
    loop {
        let Some(now) = shared.upgrade() else { return };
        tokio::time::sleep(LOOK_AGAIN).await;
        asked |= tokio::time::timeout(LOOK, now.look.notified()).await.is_ok();
        if let Err(error) = now.look_at_tails().await {
            // That the store is lost is told once, and not by us.
            tracing::debug!(%error, "the heads of followed topics cannot be read");
        }
        let due = Instant::now() >= if asked { ask_at } else { sweep_at };
        if !now.board.is_read() {
            asked = false;
        } else if due {
            match now.sweep().await {
                Ok(took) => {
                    (ask_at, asked) = (Instant::now() + took, false);
                    sweep_at = Instant::now() + took * SWEEP_SHARE;
                }
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
