//! Who waits for heads: all of them first, then those that move, merged while it does not ask.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::Shared;
use crate::metrics;
use crate::store::{StoreError, TopicSummary};

/// Topics that are listed at once.
const PAGE: usize = 1000;

/// The heads of all topics, as they move.
pub struct Notifications {
    shared: Arc<Shared>,
    heard: watch::Receiver<()>,
    /// The last move that was given.
    last: u64,
}

impl Notifications {
    pub(super) async fn begin(shared: &Arc<Shared>) -> Result<Self, StoreError> {
        metrics::live_readers("heads", 1.0);
        let heard = shared.board.join();
        shared.followed.notify_one();
        let notifications = Self { shared: Arc::clone(shared), heard, last: 0 };
        shared.swept_since(Instant::now()).await?;
        Ok(notifications)
    }

    /// At most `limit` heads that have moved since the last call, each topic once; empty where
    /// there are none.
    pub fn take(&mut self, limit: usize) -> Vec<TopicSummary> {
        self.heard.borrow_and_update();
        let (moved, last) = self.shared.board.moved_after(self.last, limit);
        self.last = last;
        moved
    }

    /// Returns when something has moved since the last call of `take`, or may have.
    pub async fn moved(&mut self) {
        if self.heard.changed().await.is_err() {
            std::future::pending().await // It ends with `shared`, which is held here.
        }
    }
}

impl Drop for Notifications {
    fn drop(&mut self) {
        metrics::live_readers("heads", -1.0);
        self.shared.board.leave();
    }
}

impl Shared {
    /// Puts the heads of all topics on the board, as they are in the store at `asked` or later;
    /// who asks at the same time shares the work.
    async fn swept_since(&self, asked: Instant) -> Result<(), StoreError> {
        let mut swept = self.swept.lock().await;
        if swept.is_none_or(|began| began < asked) {
            let began = Instant::now();
            self.sweep().await?;
            *swept = Some(began);
        }
        Ok(())
    }

    /// Puts the heads of all topics on the board, as they are in the store; says how long it took.
    pub(super) async fn sweep(&self) -> Result<Duration, StoreError> {
        let began = Instant::now();
        let mut after: Option<String> = None;
        loop {
            let topics = self.reader.topics("", after.as_deref(), PAGE).await?;
            for topic in &topics {
                self.board.saw(&topic.name, topic.head);
            }
            match topics.last().filter(|_| topics.len() == PAGE) {
                Some(last) => after = Some(last.name.as_str().to_owned()),
                None => return Ok(began.elapsed()),
            }
        }
    }
}
