//! A topic's writer without an actor: it knows everything it ever planned (`book.rs`), so it asks
//! the store nothing, and what it plans is right whether or not the store is.

use std::cell::Cell;
use std::sync::Arc;

use futures::future::BoxFuture;
use tidelog::domain::{
    Batch, Command, Epoch, Event, EventBody, Key, Planner, ReadEvent, Seq, Timestamp, TopicId,
    TopicName, Version,
};
use tidelog::store::{
    AppendError, Direction, EventSourceReader, EventSourceWriter, Facts, KeyRange, Opened, Scan,
    SurfaceScan, Wanted,
};

use crate::backends::Store;
use crate::book::Book;
use crate::make::{NOW, key, name};

pub type Outcome = Result<(), AppendError>;

/// A topic that has been taken.
pub struct Writer {
    pub store: Store,
    pub name: TopicName,
    pub opened: Opened,
    pub planner: Planner,
    pub book: Book,
    folded: Cell<Option<Seq>>,
}

impl Writer {
    /// Takes a topic that has no events.
    pub async fn open(store: &Store, topic: &str) -> Self {
        Self::take(store, topic, Book::default()).await
    }

    /// Takes a topic whose durable events are those of the book.
    pub async fn take(store: &Store, topic: &str, book: Book) -> Self {
        let name = name(topic);
        let opened = store.writer.open(&name).await.expect("the topic opens");
        assert_eq!(Seq::after(opened.head).0, book.events.len() as u64, "the book is right");
        let Opened { topic, epoch, head, frontier, .. } = opened.clone();
        let planner = Planner::new(topic, epoch, head, frontier);
        let folded = Cell::new(opened.folded);
        Self { store: store.clone(), name, opened, planner, book, folded }
    }

    pub fn id(&self) -> TopicId {
        self.opened.topic
    }

    pub fn epoch(&self) -> Epoch {
        self.opened.epoch
    }

    /// The planned head.
    pub fn head(&self) -> Version {
        self.planner.head().expect("something was written")
    }

    /// Plans a batch, in which every command is accepted.
    pub fn plan(&mut self, commands: impl IntoIterator<Item = Command>) -> Arc<Batch> {
        self.plan_at(NOW, commands)
    }

    pub fn plan_at(
        &mut self,
        now: Timestamp,
        commands: impl IntoIterator<Item = Command>,
    ) -> Arc<Batch> {
        let mut batch = self.planner.begin(now);
        for command in commands {
            let decided = self.planner.decide(&command, &mut self.book, &mut batch);
            decided.unwrap_or_else(|rejection| panic!("{command:?}: {rejection:?}"));
            self.book.keep(&batch);
        }
        self.planner.seal(&mut batch);
        Arc::new(batch)
    }

    /// Sends a batch on its way.
    pub fn send(&self, batch: &Arc<Batch>) -> BoxFuture<'static, Outcome> {
        self.store.writer.append(batch.clone())
    }

    /// Plans a batch and writes it.
    pub async fn write(&mut self, commands: impl IntoIterator<Item = Command>) -> Arc<Batch> {
        let batch = self.plan(commands);
        self.send(&batch).await.expect("the batch is written");
        batch
    }

    pub async fn facts(&self, wanted: Wanted) -> Facts {
        let facts = self.store.writer.facts(self.id(), wanted).await.expect("facts");
        as_given(facts)
    }

    /// Folds, as an actor does, by what this writer remembers, where it remembers it all. (What
    /// readers have folded meanwhile it does not know.)
    pub async fn fold(&self, to: Seq) -> Seq {
        let touched = self.book.touched(self.folded.get(), to);
        let folded = self.store.writer.fold(self.id(), to, touched).await.expect("the fold moves");
        assert!(folded >= to, "a fold is never behind what was asked for");
        self.folded.set(self.folded.get().max(Some(folded)));
        folded
    }

    /// All events that a reader sees.
    pub async fn events(&self) -> Vec<ReadEvent> {
        self.store.reader.events(&self.name, everything()).await.expect("events")
    }

    /// The history of a key, oldest first, as a reader sees it: its seqs.
    pub async fn history(&self, of: &str) -> Vec<u64> {
        let events = self.store.reader.history(&self.name, &key(of), everything()).await;
        events.expect("a history").iter().map(|read| read.event.version.seq.0).collect()
    }

    /// The surface just after the event `at`, as a reader sees it: keys and seqs.
    pub async fn surface(&self, at: Seq) -> Vec<(String, u64)> {
        let scan = SurfaceScan {
            at: self.version(at),
            keys: all_keys(),
            limit: 10_000,
            bytes: usize::MAX,
        };
        let events = self.store.reader.surface(&self.name, &scan).await.expect("a surface");
        events.iter().map(|read| (key_of(&read.event), read.event.version.seq.0)).collect()
    }

    /// The same, from the book.
    pub fn expected_surface(&self, at: Seq) -> Vec<(String, u64)> {
        let mut keys: Vec<Key> = self.book.events.iter().filter_map(key_in).collect();
        keys.sort();
        keys.dedup();
        let standing = |key: Key| {
            let standing = self.book.state(&key, Some(at)).standing?;
            Some((key.as_str().to_owned(), standing.version.seq.0))
        };
        keys.into_iter().filter_map(standing).collect()
    }

    /// The version of a planned event.
    pub fn version(&self, seq: Seq) -> Version {
        self.book.events[seq.0 as usize].version
    }

    /// Checks that readers see exactly the events of the book.
    pub async fn check(&self) {
        let read: Vec<Event> = self.events().await.into_iter().map(|read| read.event).collect();
        assert_eq!(read, self.book.events);
        let head = self.store.reader.head(&self.name).await.expect("a head");
        assert_eq!(head, self.planner.head());
    }
}

/// Facts as the planner would have said them: whether a kept receipt says that it is replayed
/// depends on how the store keeps it, and means nothing.
pub fn as_given(mut facts: Facts) -> Facts {
    let kept = facts.idempotency.iter_mut().flatten().map(|record| &mut record.receipt);
    kept.chain(facts.replays.iter_mut().flatten()).for_each(|receipt| receipt.replayed = false);
    facts
}

pub fn everything() -> Scan {
    let (from, to) = (Seq(0), Seq(tidelog::domain::limits::POSITION_MAX - 1));
    Scan { from, to, limit: 100_000, direction: Direction::Forward, bytes: usize::MAX }
}

pub fn all_keys() -> KeyRange {
    KeyRange::Prefix { prefix: String::new(), after: None }
}

pub fn key_of(event: &Event) -> String {
    key_in(event).expect("an event with a key").as_str().to_owned()
}

fn key_in(event: &Event) -> Option<Key> {
    match &event.body {
        EventBody::Content(content) => Some(content.key.clone()),
        EventBody::Invalidation(_) => None,
    }
}

/// Waits until the topic's durable head is at `seq` or beyond.
pub async fn wait_for(reader: &dyn EventSourceReader, topic: &TopicName, seq: Seq) {
    while reader.head(topic).await.expect("a head").is_none_or(|head| head.seq < seq) {
        tokio::task::yield_now().await;
    }
}

pub fn refused(outcome: &Outcome) -> bool {
    matches!(outcome, Err(AppendError::Refused))
}

/// Takes a topic and says only what the store says of it.
pub async fn open(writer: &dyn EventSourceWriter, topic: &TopicName) -> Opened {
    writer.open(topic).await.expect("the topic opens")
}
