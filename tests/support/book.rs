//! All that the rules can ask about a topic, from a list of everything decided so far. What a
//! topic's actor does with caches and look-ups, this does by keeping all of it.
//!
//! Not here: the rules. Invariant: [`Book::keep`] is called after every decision.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::collections::HashMap;

use tidelog::domain::{
    Batch, Event, EventBody, IdempotencyKey, IdempotencyRecord, InvalidationRecord, Key, KeyState,
    Known, ProducerId, ProducerLine, ProducerState, Receipt, Seq, Standing, TargetState,
    TransactionNo,
};
use tidelog::store::Touched;

/// A topic, decided.
#[derive(Clone, Debug, Default)]
pub struct Book {
    /// Every event, in order.
    pub events: Vec<Event>,
    pub invalidations: HashMap<TransactionNo, InvalidationRecord>,
    pub records: HashMap<IdempotencyKey, IdempotencyRecord>,
    /// The states of producers, and the receipts of all their lines.
    pub producers: HashMap<ProducerId, (ProducerState, Vec<Receipt>)>,
    newest: HashMap<Key, Seq>,
    /// What the command that is being decided has changed so far.
    noted: HashMap<Key, KeyState>,
}

impl Book {
    /// Takes over what a decision has added to its batch.
    pub fn keep(&mut self, batch: &Batch) {
        self.noted.clear();
        for event in &batch.events {
            if event.version.seq.0 < self.events.len() as u64 {
                continue;
            }
            if let EventBody::Content(content) = &event.body {
                self.newest.insert(content.key.clone(), event.version.seq);
            }
            self.events.push(event.clone());
        }
        self.invalidations.extend(batch.invalidations.iter().map(|r| (r.transaction, *r)));
        self.records.extend(batch.idempotency.iter().map(|r| (r.key.clone(), r.clone())));
        for record in &batch.producers {
            let (state, receipts) = self.producers.entry(record.producer.clone()).or_default();
            *state = ProducerState { epoch: record.epoch, next_line: record.next_line() };
            let kept = receipts.len().saturating_sub(record.first_line as usize);
            receipts.extend(record.receipts[kept..].iter().cloned());
        }
    }

    /// The keys written after `after` up to and with `to`, for a fold; `None` where there are none, or
    /// something was invalidated.
    pub fn touched(&self, after: Option<Seq>, to: Seq) -> Option<Touched> {
        let mut newest = HashMap::new();
        let stretch = after.map_or(0, |seq| seq.0 as usize + 1)..=to.0 as usize;
        for event in self.events.get(stretch)? {
            let EventBody::Content(content) = &event.body else { return None };
            newest.insert(content.key.clone(), event.version.seq);
        }
        let is_new = |(key, _): &(Key, Seq)| {
            self.versions(key).last().is_none_or(|first| Some(first.version.seq) > after)
        };
        let (new, known) = newest.into_iter().partition(is_new);
        Some(Touched { after, new, known })
    }

    /// The versions of a key, newest first.
    fn versions(&self, key: &Key) -> impl Iterator<Item = &Event> {
        let event = |seq: Seq| &self.events[seq.0 as usize];
        let newest = self.newest.get(key).copied();
        std::iter::successors(newest.map(event), move |e| e.prev.map(event))
    }

    /// The state of a key just after the event `at`, or at the head.
    pub fn state(&self, key: &Key, at: Option<Seq>) -> KeyState {
        let at = at.unwrap_or(Seq(u64::MAX));
        let stands = |event: &&Event| {
            let record = self.invalidations.get(&event.version.transaction);
            record.is_none_or(|record| record.by.seq > at)
        };
        let versions: Vec<&Event> =
            self.versions(key).filter(|event| event.version.seq <= at).collect();
        let standing = versions.iter().copied().find(stands).map(|event| match &event.body {
            EventBody::Content(content) => {
                Standing { version: event.version, hash: content.hash.fingerprint() }
            }
            EventBody::Invalidation(_) => unreachable!("it has no key"),
        });
        KeyState { newest: versions.first().map(|event| event.version.seq), standing }
    }
}

impl Known for Book {
    fn key(&mut self, key: &Key) -> KeyState {
        self.noted.get(key).copied().unwrap_or_else(|| self.state(key, None))
    }

    fn note_key(&mut self, key: &Key, state: KeyState) {
        self.noted.insert(key.clone(), state);
    }

    fn idempotency(&self, key: &IdempotencyKey) -> Option<&IdempotencyRecord> {
        self.records.get(key)
    }

    fn producer(&self, producer: &ProducerId) -> ProducerState {
        self.producers.get(producer).map(|(state, _)| *state).unwrap_or_default()
    }

    fn note_producer(&mut self, producer: &ProducerId, state: ProducerState) {
        self.producers.entry(producer.clone()).or_default().0 = state;
    }

    fn replay(&self, line: &ProducerLine) -> Receipt {
        self.producers[&line.producer].1[line.line as usize].clone()
    }

    fn target(&self, transaction: TransactionNo) -> TargetState {
        let events = self.events.iter().filter(|e| e.version.transaction == transaction);
        let events: Vec<&Event> = events.collect();
        let (Some(first), Some(last)) = (events.first(), events.last()) else {
            return TargetState::Missing;
        };
        if let Some(record) = self.invalidations.get(&transaction) {
            return TargetState::Invalidated(record.by);
        }
        match first.body {
            EventBody::Content(_) => TargetState::Stands(first.version.seq, last.version.seq),
            EventBody::Invalidation(_) => TargetState::Invalidation,
        }
    }
}
