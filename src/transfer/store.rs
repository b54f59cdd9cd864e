//! Into a back-end directly: batches that are numbered as the events are, each conditional on the
//! head that it continues and on the epoch under which the topic was taken.
//!
//! Invariants: nothing is decided here, and nothing de-duplicated. `prev`, which a file does not
//! have, is the key's newest event: remembered since the last fold, else looked up in it.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use async_trait::async_trait;
use futures::future::BoxFuture;

use super::import::Target;
use super::{TransferError, size};
use crate::domain::{
    Batch, Event, EventBody, Frontier, Head, InvalidationRecord, Key, Seq, TargetState, TopicId,
    TopicName, TransactionNo, Version,
};
use crate::store::{AppendError, EventSourceWriter, Opened, Wanted};

/// Events of a batch and their bytes, unless a single transaction has more.
const BATCH: (usize, usize) = (2_000, 1 << 20);
/// Batches on their way.
const BATCHES_OPEN: usize = 4;
/// Keys that are remembered before they are folded.
const KEYS_MAX: usize = 300_000;

/// See the module.
pub struct IntoStore {
    writer: Arc<dyn EventSourceWriter>,
    topic: Option<Topic>,
}

/// The topic that is being written.
struct Topic {
    opened: Opened,
    head: Head,
    frontier: Frontier,
    /// Keys written since the fold, each with its newest seq.
    newest: HashMap<Key, Seq>,
    /// There are events that only the fold knows.
    folded: bool,
    events: Vec<Event>,
    bytes: usize,
    invalidations: Vec<InvalidationRecord>,
    open: VecDeque<BoxFuture<'static, Result<(), AppendError>>>,
}

impl IntoStore {
    /// Imports into a store.
    pub fn new(writer: Arc<dyn EventSourceWriter>) -> Self {
        Self { writer, topic: None }
    }

    /// Sends what has come as a batch.
    async fn flush(&mut self) -> Result<(), TransferError> {
        let Some(topic) = &mut self.topic else { return Ok(()) };
        let Some(last) = topic.events.last() else { return Ok(()) };
        let recorded_at = last.recorded_at;
        topic.find_previous(&*self.writer).await?;
        let mut events = std::mem::take(&mut topic.events);
        for event in &mut events {
            if let EventBody::Content(content) = &event.body {
                let seq = event.version.seq;
                // Of its own memory: it stays longer than the line it came in.
                event.prev = match topic.newest.get_mut(&content.key) {
                    Some(newest) => Some(std::mem::replace(newest, seq)),
                    None => topic.newest.insert(content.key.detached(), seq),
                };
            }
            topic.frontier.push(event);
        }
        let expected = topic.head;
        topic.head = events.last().map(|event| event.version);
        topic.bytes = 0;
        let batch = Batch {
            topic: topic.opened.topic,
            epoch: topic.opened.epoch,
            expected,
            recorded_at,
            events,
            invalidations: std::mem::take(&mut topic.invalidations),
            idempotency: Vec::new(),
            producers: Vec::new(),
            frontier: topic.frontier.clone(),
        };
        if topic.open.len() >= BATCHES_OPEN
            && let Some(first) = topic.open.pop_front()
        {
            first.await?;
        }
        topic.open.push_back(self.writer.append(Arc::new(batch)));
        if topic.newest.len() > KEYS_MAX {
            topic.fold(&*self.writer).await?;
        }
        Ok(())
    }
}

impl Topic {
    fn id(&self) -> TopicId {
        self.opened.topic
    }

    /// Remembers the newest events of keys that only the fold knows.
    async fn find_previous(&mut self, writer: &dyn EventSourceWriter) -> Result<(), TransferError> {
        if !self.folded {
            return Ok(());
        }
        let keys = self.events.iter().filter_map(|event| match &event.body {
            EventBody::Content(content) if !self.newest.contains_key(&content.key) => {
                Some(content.key.clone())
            }
            _ => None,
        });
        let keys: Vec<Key> = keys.collect();
        if keys.is_empty() {
            return Ok(());
        }
        let wanted = Wanted { keys: keys.clone(), ..Wanted::default() };
        let facts = writer.facts(self.id(), wanted).await?;
        let found = keys.into_iter().zip(facts.keys);
        let found = found.filter_map(|(key, state)| Some((key.detached(), state.newest?)));
        self.newest.extend(found);
        Ok(())
    }

    /// Waits for all batches.
    async fn settle(&mut self) -> Result<(), TransferError> {
        while let Some(batch) = self.open.pop_front() {
            batch.await?;
        }
        Ok(())
    }

    /// Brings the surface forward to the head; nothing need be remembered then.
    async fn fold(&mut self, writer: &dyn EventSourceWriter) -> Result<(), TransferError> {
        self.settle().await?;
        if let Some(head) = self.head {
            writer.fold(self.id(), head.seq, None).await?;
            self.folded = true;
            self.newest.clear();
        }
        Ok(())
    }
}

#[async_trait(?Send)]
impl Target for IntoStore {
    fn keeps_times(&self) -> bool {
        true
    }

    fn is_there(&mut self, _transaction: &[Event]) {}

    async fn begin(&mut self, topic: &TopicName, head: Head) -> Result<(), TransferError> {
        let opened = self.writer.open(topic).await?;
        if opened.head != head {
            return Err(TransferError::Differs(format!("somebody else writes to {topic}")));
        }
        let mut topic = Topic {
            head,
            frontier: opened.frontier.clone(),
            opened,
            newest: HashMap::new(),
            folded: false,
            events: Vec::new(),
            bytes: 0,
            invalidations: Vec::new(),
            open: VecDeque::new(),
        };
        topic.fold(&*self.writer).await?;
        self.topic = Some(topic);
        Ok(())
    }

    async fn take(&mut self, transaction: Vec<Event>) -> Result<(), TransferError> {
        if let [event] = &transaction[..]
            && let EventBody::Invalidation(invalidation) = &event.body
        {
            let record = self.invalidation(event.version, invalidation.invalidates).await?;
            self.topic.iter_mut().for_each(|topic| topic.invalidations.push(record));
        }
        let Some(topic) = &mut self.topic else {
            return Err(TransferError::Differs("no topic was begun".into()));
        };
        topic.bytes += transaction.iter().map(size).sum::<usize>();
        topic.events.extend(transaction);
        if topic.events.len() >= BATCH.0 || topic.bytes >= BATCH.1 {
            self.flush().await
        } else {
            Ok(())
        }
    }

    async fn settle(&mut self) -> Result<(), TransferError> {
        self.flush().await?;
        match &mut self.topic {
            Some(topic) => topic.settle().await,
            None => Ok(()),
        }
    }
}

impl IntoStore {
    /// What an invalidation invalidates. The transaction has to be durable to be looked up.
    async fn invalidation(
        &mut self,
        by: Version,
        transaction: TransactionNo,
    ) -> Result<InvalidationRecord, TransferError> {
        self.settle().await?;
        let wanted = Wanted { targets: vec![transaction], ..Wanted::default() };
        let state = match &self.topic {
            Some(topic) => self.writer.facts(topic.id(), wanted).await?.targets.first().copied(),
            None => None,
        };
        match state {
            Some(TargetState::Stands(first, last)) => {
                Ok(InvalidationRecord { transaction, first, last, by })
            }
            _ => Err(TransferError::Differs(format!(
                "transaction {} invalidates {transaction}, which does not stand",
                by.transaction
            ))),
        }
    }
}
