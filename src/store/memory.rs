//! The obviously correct store: the specification that the others are tested against, and what
//! `--store memory:` runs on. Everything in it is gone when the process ends.
//!
//! Invariant: one lock around everything, and every answer computed from the log itself.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::Arc;

use async_trait::async_trait;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use parking_lot::Mutex;

use super::{
    AppendError, Cause, Direction, EventSourceReader, EventSourceWriter, Facts, KeyRange,
    MoveError, Opened, Scan, StoreError, SurfaceScan, TopicSummary, Touched, Wanted,
};
use crate::domain::{
    Batch, BatchMark, Consumer, ConsumerName, Epoch, Event, EventBody, Expected, Frontier, Head,
    IdempotencyKey, IdempotencyRecord, InvalidationRecord, Key, KeyState, Move, Moved, ProducerId,
    ProducerState, ReadEvent, Receipt, Revision, Root, Seq, Standing, TargetState, Timestamp,
    TopicId, TopicName, TransactionNo, Version,
};

/// All topics, in memory.
#[derive(Default)]
pub struct MemoryStore {
    topics: Mutex<Topics>,
}

#[derive(Default)]
struct Topics {
    ids: BTreeMap<TopicName, usize>,
    logs: Vec<Log>,
    /// Of consumers: the newest that was given.
    revision: u64,
}

/// Where a consumer is.
struct Position {
    seq: Option<Seq>,
    revision: Revision,
    updated_at: Timestamp,
}

#[derive(Default)]
struct Log {
    epoch: u64,
    events: Vec<Event>,
    /// The first seq of every transaction.
    transactions: Vec<Seq>,
    /// The newest event of every key, standing or not.
    newest: BTreeMap<Key, Seq>,
    invalidations: HashMap<TransactionNo, InvalidationRecord>,
    frontier: Frontier,
    marks: HashMap<Seq, BatchMark>,
    idempotency: HashMap<IdempotencyKey, (IdempotencyRecord, Timestamp)>,
    producers: HashMap<ProducerId, (ProducerState, Vec<Receipt>)>,
    consumers: BTreeMap<ConsumerName, Position>,
}

impl Log {
    fn head(&self) -> Head {
        self.events.last().map(|event| event.version)
    }

    fn event(&self, seq: Seq) -> &Event {
        &self.events[seq.0 as usize]
    }

    fn read(&self, event: &Event) -> ReadEvent {
        let record = self.invalidations.get(&event.version.transaction);
        ReadEvent {
            event: event.clone(),
            invalidated_by: record.map(|record| record.by.transaction),
        }
    }

    /// The versions of a key, newest first.
    fn chain(&self, key: &Key) -> impl Iterator<Item = &Event> {
        let newest = self.newest.get(key).map(|seq| self.event(*seq));
        std::iter::successors(newest, |event| event.prev.map(|seq| self.event(seq)))
    }

    /// The key's event on the surface as of `at`.
    fn standing(&self, key: &Key, at: Version) -> Option<&Event> {
        self.chain(key).find(|event| {
            let transaction = event.version.transaction;
            let by = self.invalidations.get(&transaction).map(|record| record.by);
            event.version.seq <= at.seq && by.is_none_or(|by| by.seq > at.seq)
        })
    }

    fn key_state(&self, key: &Key) -> KeyState {
        let standing = self.head().and_then(|head| self.standing(key, head));
        KeyState {
            newest: self.newest.get(key).copied(),
            standing: standing.map(|event| match &event.body {
                EventBody::Content(content) => {
                    Standing { version: event.version, hash: content.hash.fingerprint() }
                }
                EventBody::Invalidation(_) => unreachable!("an invalidation has no key"),
            }),
        }
    }

    fn range(&self, transaction: TransactionNo) -> Option<(Seq, Seq)> {
        let first = *self.transactions.get(transaction.0 as usize)?;
        let next = self.transactions.get(transaction.0 as usize + 1).copied();
        Some((first, Seq(next.map_or(self.events.len() as u64, |seq| seq.0) - 1)))
    }

    fn target(&self, transaction: TransactionNo) -> TargetState {
        let Some((first, last)) = self.range(transaction) else { return TargetState::Missing };
        if let Some(record) = self.invalidations.get(&transaction) {
            return TargetState::Invalidated(record.by);
        }
        match self.event(first).body {
            EventBody::Content(_) => TargetState::Stands(first, last),
            EventBody::Invalidation(_) => TargetState::Invalidation,
        }
    }

    /// A consumer as it is; none while the topic has no event.
    fn consumer(&self, (name, position): (&ConsumerName, &Position)) -> Option<Consumer> {
        let Position { seq, revision, updated_at } = *position;
        let next = self.events.get(seq.map_or(0, |seq| seq.0 as usize + 1));
        let waiting_since = next.map(|event| event.recorded_at);
        let (name, head) = (name.clone(), self.head()?);
        Some(Consumer { name, seq, revision, updated_at, head, waiting_since })
    }

    fn append(&mut self, batch: &Batch) -> Result<(), AppendError> {
        if self.head() != batch.expected || self.epoch != batch.epoch.0 {
            return Err(AppendError::Refused);
        }
        for event in &batch.events {
            if let EventBody::Content(content) = &event.body {
                self.newest.insert(content.key.detached(), event.version.seq);
            }
            if event.version.transaction.0 == self.transactions.len() as u64 {
                self.transactions.push(event.version.seq);
            }
            self.events.push(event.clone());
        }
        if let Some(last) = batch.events.last() {
            self.frontier = batch.frontier.clone();
            self.marks.insert(last.version.seq, batch.mark());
        }
        self.invalidations.extend(batch.invalidations.iter().map(|r| (r.transaction, *r)));
        for record in &batch.idempotency {
            let kept = (record.clone(), batch.recorded_at);
            self.idempotency.insert(record.key.clone(), kept);
        }
        for record in &batch.producers {
            let (state, receipts) = self.producers.entry(record.producer.clone()).or_default();
            *state = ProducerState { epoch: record.epoch, next_line: record.next_line() };
            receipts.extend(record.receipts.iter().cloned());
        }
        Ok(())
    }

    fn facts(&self, wanted: &Wanted) -> Facts {
        let producer = |id| self.producers.get(id);
        Facts {
            keys: wanted.keys.iter().map(|key| self.key_state(key)).collect(),
            targets: wanted.targets.iter().map(|n| self.target(*n)).collect(),
            idempotency: wanted
                .idempotency
                .iter()
                .map(|key| self.idempotency.get(key).map(|(record, _)| record.clone()))
                .collect(),
            producers: wanted
                .producers
                .iter()
                .map(|id| producer(id).map(|(state, _)| *state).unwrap_or_default())
                .collect(),
            replays: wanted
                .replays
                .iter()
                .map(|lines| {
                    let first = lines.first as usize;
                    let kept = producer(&lines.producer).map(|(_, receipts)| receipts);
                    kept.and_then(|receipts| receipts.get(first..first + lines.count))
                        .unwrap_or_default()
                        .to_vec()
                })
                .collect(),
            marks: wanted.marks.iter().map(|seq| self.marks.get(seq).copied()).collect(),
        }
    }
}

fn within(scan: Scan) -> impl Fn(&&Event) -> bool {
    move |event| (scan.from..=scan.to).contains(&event.version.seq)
}

impl MemoryStore {
    fn read<T>(&self, topic: &TopicName, read: impl FnOnce(&Log) -> T) -> Option<T> {
        let topics = self.topics.lock();
        topics.ids.get(topic).map(|id| read(&topics.logs[*id]))
    }
}

#[async_trait]
impl EventSourceWriter for MemoryStore {
    async fn open(&self, topic: &TopicName) -> Result<Opened, StoreError> {
        let mut topics = self.topics.lock();
        let count = topics.logs.len();
        let id = *topics.ids.entry(topic.clone()).or_insert(count);
        if id == count {
            topics.logs.push(Log::default());
        }
        let log = &mut topics.logs[id];
        log.epoch += 1;
        Ok(Opened {
            topic: TopicId(id as i64),
            epoch: Epoch(log.epoch),
            head: log.head(),
            frontier: log.frontier.clone(),
            folded: log.head().map(|head| head.seq),
        })
    }

    async fn facts(&self, topic: TopicId, wanted: Wanted) -> Result<Facts, StoreError> {
        let topics = self.topics.lock();
        let log = topics.logs.get(topic.0 as usize);
        log.map(|log| log.facts(&wanted))
            .ok_or_else(|| StoreError::Corrupt(Cause::new("no topic has this id")))
    }

    async fn keys(
        &self,
        topic: TopicId,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Vec<Key>, StoreError> {
        let topics = self.topics.lock();
        let log = topics.logs.get(topic.0 as usize);
        let log = log.ok_or_else(|| StoreError::Corrupt(Cause::new("no topic has this id")))?;
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let keys = log.newest.range::<Key, _>((from, Bound::Unbounded));
        Ok(keys.take(limit).map(|(key, _)| key.clone()).collect())
    }

    fn append(&self, batch: Arc<Batch>) -> BoxFuture<'static, Result<(), AppendError>> {
        let mut topics = self.topics.lock();
        let log = topics.logs.get_mut(batch.topic.0 as usize);
        let outcome = log.map_or(Err(AppendError::Refused), |log| log.append(&batch));
        futures::future::ready(outcome).boxed()
    }

    async fn fold(&self, _: TopicId, to: Seq, _: Option<Touched>) -> Result<Seq, StoreError> {
        Ok(to) // Every answer is computed from the log.
    }

    async fn expire(&self, before: Timestamp) -> Result<u64, StoreError> {
        let mut expired = 0;
        for log in &mut self.topics.lock().logs {
            let kept = log.idempotency.len();
            log.idempotency.retain(|_, (_, at)| *at >= before);
            expired += (kept - log.idempotency.len()) as u64;
        }
        Ok(expired)
    }

    async fn move_consumer(&self, to: Move) -> Result<Option<Moved>, MoveError> {
        let Topics { ids, logs, revision } = &mut *self.topics.lock();
        let log = ids.get(&to.topic).map(|id| &mut logs[*id]);
        let Some(log) = log.filter(|log| log.head().is_some()) else { return Ok(None) };
        let kept = log.consumers.get(&to.name).map(|position| position.revision);
        let holds = match to.expected {
            None => true,
            Some(Expected::Nothing) => kept.is_none(),
            Some(Expected::Revision(expected)) => kept == Some(expected),
        };
        if !holds {
            return Ok(None);
        }
        *revision += 1;
        let position = Position { seq: to.seq, revision: Revision(*revision), updated_at: to.at };
        log.consumers.insert(to.name.clone(), position);
        let moved = log.consumers.get_key_value(&to.name).and_then(|entry| log.consumer(entry));
        Ok(moved.map(|consumer| Moved { consumer, made: kept.is_none() }))
    }

    async fn forget_consumer(
        &self,
        topic: &TopicName,
        name: &ConsumerName,
        expected: Option<Revision>,
    ) -> Result<bool, MoveError> {
        let Topics { ids, logs, .. } = &mut *self.topics.lock();
        let Some(log) = ids.get(topic).map(|id| &mut logs[*id]) else { return Ok(false) };
        let kept = log.consumers.get(name).map(|position| position.revision);
        let wanted = kept.is_some() && expected.is_none_or(|expected| kept == Some(expected));
        Ok(wanted && log.consumers.remove(name).is_some())
    }

    async fn close(&self) {}
}

#[async_trait]
impl EventSourceReader for MemoryStore {
    async fn topics(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<TopicSummary>, StoreError> {
        let topics = self.topics.lock();
        let summaries = topics.ids.iter().filter_map(|(name, id)| {
            let wanted = name.as_str().starts_with(prefix)
                && after.is_none_or(|after| name.as_str() > after);
            let head = topics.logs[*id].head().filter(|_| wanted)?;
            Some(TopicSummary { name: name.clone(), head })
        });
        Ok(summaries.take(limit).collect())
    }

    async fn head(&self, topic: &TopicName) -> Result<Head, StoreError> {
        Ok(self.read(topic, Log::head).flatten())
    }

    async fn events(&self, topic: &TopicName, scan: Scan) -> Result<Vec<ReadEvent>, StoreError> {
        let read = |log: &Log| {
            let end = log.events.len().min((scan.to.0 as usize).saturating_add(1));
            let stretch = &log.events[end.min(scan.from.0 as usize)..end];
            let read = |event: &Event| Ok(log.read(event));
            match scan.direction {
                Direction::Forward => scan.room().fill(stretch.iter().map(read)),
                Direction::Backward => scan.room().fill(stretch.iter().rev().map(read)),
            }
        };
        self.read(topic, read).unwrap_or_else(|| Ok(Vec::new()))
    }

    async fn history(
        &self,
        topic: &TopicName,
        key: &Key,
        scan: Scan,
    ) -> Result<Vec<ReadEvent>, StoreError> {
        let read = |log: &Log| {
            let mut events: Vec<_> = log.chain(key).filter(within(scan)).collect();
            if scan.direction == Direction::Forward {
                events.reverse();
            }
            scan.room().fill(events.into_iter().map(|event| Ok(log.read(event))))
        };
        self.read(topic, read).unwrap_or_else(|| Ok(Vec::new()))
    }

    async fn transaction(
        &self,
        topic: &TopicName,
        transaction: TransactionNo,
    ) -> Result<Option<(Seq, Seq)>, StoreError> {
        Ok(self.read(topic, |log| log.range(transaction)).flatten())
    }

    async fn surface(
        &self,
        topic: &TopicName,
        scan: &SurfaceScan,
    ) -> Result<Vec<ReadEvent>, StoreError> {
        let read = |log: &Log| {
            let wanted = |key: &&Key| match &scan.keys {
                KeyRange::Exactly(exactly) => *key == exactly,
                KeyRange::Prefix { prefix, after } => {
                    key.as_str().starts_with(prefix.as_str())
                        && after.as_deref().is_none_or(|after| key.as_str() > after)
                }
            };
            let keys = log.newest.keys().filter(wanted);
            let standing = keys.filter_map(|key| log.standing(key, scan.at));
            scan.room().fill(standing.map(|event| Ok(log.read(event))))
        };
        self.read(topic, read).unwrap_or_else(|| Ok(Vec::new()))
    }

    async fn consumer(
        &self,
        topic: &TopicName,
        name: &ConsumerName,
    ) -> Result<Option<Consumer>, StoreError> {
        let read =
            |log: &Log| log.consumers.get_key_value(name).and_then(|entry| log.consumer(entry));
        Ok(self.read(topic, read).flatten())
    }

    async fn consumers(
        &self,
        topic: &TopicName,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Consumer>, StoreError> {
        let read = |log: &Log| {
            let wanted = |(name, _): &(&ConsumerName, &Position)| {
                name.as_str().starts_with(prefix) && after.is_none_or(|after| name.as_str() > after)
            };
            let consumers = log.consumers.iter().filter(wanted);
            consumers.filter_map(|entry| log.consumer(entry)).take(limit).collect()
        };
        Ok(self.read(topic, read).unwrap_or_default())
    }

    async fn all_consumers(
        &self,
        after: Option<&(TopicName, ConsumerName)>,
        limit: usize,
    ) -> Result<Vec<(TopicName, Consumer)>, StoreError> {
        let Topics { ids, logs, .. } = &*self.topics.lock();
        let consumers = ids.iter().flat_map(|(topic, id)| {
            let log = &logs[*id];
            log.consumers
                .iter()
                .filter_map(move |entry| Some((topic.clone(), log.consumer(entry)?)))
        });
        let wanted = |(topic, consumer): &(TopicName, Consumer)| {
            after.is_none_or(|(after, name)| (topic, &consumer.name) > (after, name))
        };
        Ok(consumers.filter(wanted).take(limit).collect())
    }

    async fn root(&self, topic: &TopicName, at: Seq) -> Result<Option<Root>, StoreError> {
        Ok(self.read(topic, |log| log.marks.get(&at).map(|mark| mark.root)).flatten())
    }

    async fn ping(&self) -> Result<(), StoreError> {
        Ok(())
    }
}
