//! Live reads: how an event travels from its commit to those who wait for it.
//!
//! A topic with readers has a *tail* ([`tail`]): its newest events in memory, in order and bounded
//! in bytes. What this process commits goes there at once; what another instance wrote is read
//! from the store once, when a hint or the next look at the heads says that it is there. A reader
//! ([`Follower`]) knows one thing, its position: what the tail does not cover any more it reads
//! from the store, the rest it takes from the tail, and it only ever delivers the event at its
//! position. So there is no gap, no repeat and no other order, however it comes by its events.
//! Who waits for heads instead of events has a [`Notifications`].
//!
//! | file | what |
//! | --- | --- |
//! | `tail`, `piece` | the newest events of a topic, and their forms on the wire, made once |
//! | `fill`, `keep` | what others wrote; repairing what hints missed |
//! | `follow` | a reader's way through store and tail |
//! | `walk`, `fetch`, `milestones`, `ahead` | reading the store from one end to the other |
//! | `board`, `notify` | the newest head of every topic |
//!
//! Not here: HTTP, heartbeats, how a reader that does not read is cut.
//!
//! Invariants: nothing here blocks a writer or waits for a reader; a topic without readers costs
//! a look into a map for each batch; hints may be lost, and only cost time.

pub mod ahead;
mod board;
pub mod fetch;
mod fill;
mod follow;
mod keep;
mod milestones;
mod notify;
mod piece;
mod tail;
pub mod walk;

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::RwLock;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::AbortHandle;

pub use follow::{Follower, Form, Step};
pub use notify::Notifications;

use crate::domain::{Batch, Key, Seq, TopicName};
use crate::store::{EventSourceReader, Hints, StoreError};
use crate::topic::Commits;
use board::Board;
use tail::Tail;

/// Limits of live reads.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Memory for the newest events of a topic that has readers, in bytes.
    pub topic_bytes_max: usize,
    /// The same for all topics together.
    pub bytes_max: usize,
    /// How long a reader waits for a store that does not answer.
    pub patience: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        let (topic_bytes_max, bytes_max) = (32 << 20, 256 << 20);
        Self { topic_bytes_max, bytes_max, patience: Duration::from_secs(10) }
    }
}

/// What a reader wants to follow.
#[derive(Clone, Debug)]
pub struct Wish {
    /// The topic; it need not exist yet.
    pub topic: TopicName,
    /// The first event; may be beyond the head.
    pub from: Seq,
    /// The last event.
    pub to: Seq,
    /// Only events of this key.
    pub key: Option<Key>,
    /// How events are written.
    pub form: Form,
}

/// The live reads of this process.
pub struct Live {
    shared: Arc<Shared>,
    tasks: Vec<AbortHandle>,
}

/// What everything here shares.
struct Shared {
    reader: Arc<dyn EventSourceReader>,
    hints: Option<Arc<dyn Hints>>,
    settings: Settings,
    /// Topics that have readers.
    tails: RwLock<HashMap<TopicName, Weak<Tail>>>,
    /// What the tails hold.
    bytes: AtomicUsize,
    board: Board,
    /// When the last reading of all heads, for somebody who asked, began.
    swept: tokio::sync::Mutex<Option<Instant>>,
    /// Somebody begins to follow a topic, or to ask for heads.
    followed: Arc<Notify>,
    /// Look at all heads that matter now.
    look: Notify,
    runtime: Handle,
}

impl Live {
    /// Begins to listen for hints. Must be called inside a runtime, which does the work.
    #[must_use]
    pub fn start(reader: Arc<dyn EventSourceReader>, settings: Settings) -> Self {
        let hints = reader.hints();
        let shared = Arc::new(Shared {
            hints: hints.clone(),
            reader,
            settings,
            tails: RwLock::default(),
            bytes: AtomicUsize::new(0),
            board: Board::default(),
            swept: tokio::sync::Mutex::default(),
            followed: Arc::default(),
            look: Notify::new(),
            runtime: Handle::current(),
        });
        let mut tasks = vec![tokio::spawn(keep::look(Arc::downgrade(&shared))).abort_handle()];
        if let Some(hints) = hints {
            tasks.push(tokio::spawn(keep::listen(Arc::downgrade(&shared), hints)).abort_handle());
        }
        Self { shared, tasks }
    }

    /// A reader of a topic, from a position on.
    ///
    /// # Errors
    /// When the store cannot say now where the topic ends.
    pub async fn follow(&self, wish: Wish) -> Result<Follower, StoreError> {
        let tail = self.shared.tail(&wish.topic);
        // Asked after the tail is there: what commits from now on is told to the tail.
        let head = self.shared.reader.head(&wish.topic).await?;
        self.shared.saw(&tail, head);
        Ok(Follower::new(Arc::clone(&self.shared), tail, wish))
    }

    /// All heads, and then those that move.
    ///
    /// # Errors
    /// When the store cannot list its topics now.
    pub async fn notifications(&self) -> Result<Notifications, StoreError> {
        Notifications::begin(&self.shared).await
    }

    /// How many topics have readers at the moment.
    #[must_use]
    pub fn watched(&self) -> usize {
        self.shared.tails.read().len()
    }
}

impl Commits for Live {
    fn committed(&self, topic: &TopicName, batch: &Arc<Batch>) {
        let Some(head) = batch.head() else { return };
        if let Some(hints) = &self.shared.hints {
            hints.tell(topic, head);
        }
        self.shared.board.saw(topic, head);
        let tail = self.shared.tails.read().get(topic).and_then(Weak::upgrade);
        if let Some(tail) = tail
            && tail.committed(batch)
        {
            self.shared.fill(&tail);
        }
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

impl Shared {
    /// The tail of a topic; made if there is none.
    fn tail(self: &Arc<Self>, topic: &TopicName) -> Arc<Tail> {
        let mut tails = self.tails.write();
        if let Some(tail) = tails.get(topic).and_then(Weak::upgrade) {
            return tail;
        }
        let tail = Arc::new(Tail::new(topic.clone(), Arc::downgrade(self)));
        tails.insert(topic.clone(), Arc::downgrade(&tail));
        drop(tails);
        self.followed.notify_one();
        tail
    }

    /// A tail is gone; maybe another has taken its place.
    fn forget(&self, topic: &TopicName) {
        let mut tails = self.tails.write();
        if tails.get(topic).is_some_and(|tail| tail.strong_count() == 0) {
            tails.remove(topic);
        }
    }

    /// Whether anybody in this process needs to know what others write.
    fn is_followed(&self) -> bool {
        !self.tails.read().is_empty() || self.board.is_read()
    }

    fn held(&self, change: isize) {
        let before = self.bytes.fetch_add(change as usize, Ordering::Relaxed);
        crate::metrics::live_bytes(before.wrapping_add(change as usize));
    }

    fn is_over(&self) -> bool {
        self.bytes.load(Ordering::Relaxed) > self.settings.bytes_max
    }
}
