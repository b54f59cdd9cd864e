//! All that a topic's actor knows while it plans: keys, producers, and what was looked up for the
//! commands at hand. `gather` says what has to be looked up before the next batch, and how many
//! commands that batch may hold.
//!
//! Invariant: what the rules ask is as of the *planned* head. So facts of the store that in-flight
//! batches may change (transactions to be invalidated, lines to be replayed) are only looked up
//! and used while nothing is in flight.

use std::collections::HashMap;

use super::keys::Keys;
use super::queue::Next;
use super::settings::Settings;
use crate::domain::{
    Batch, Command, Idempotency, IdempotencyKey, IdempotencyRecord, Invalidate, Key, KeyState,
    Known, ProducerId, ProducerLine, ProducerState, Receipt, Seq, TargetState, TransactionNo,
    Write,
};
use crate::metrics;
use crate::store::{Facts, Lines, Wanted};

/// A batch's worth of keys is looked up this many times ahead, to make fewer look-ups.
const LOOK_AHEAD: usize = 4;
/// Producers remembered while nothing is in flight; the store knows the others.
const PRODUCERS_MAX: usize = 10_000;

/// What a topic's actor knows.
pub(super) struct Memory {
    pub(super) keys: Keys,
    /// `None` before the first command that needs it: most topics never see one, and what an actor has to
    /// look through is cold in memory where there are thousands of them.
    special: Option<Box<Special>>,
}

/// What is known for invalidations, and for commands with an idempotency key or a producer.
#[derive(Default)]
struct Special {
    producers: HashMap<ProducerId, ProducerState>,
    /// Records planned and not yet durable.
    planned: HashMap<IdempotencyKey, IdempotencyRecord>,
    /// What the store has said about the idempotency keys at hand.
    looked_up: HashMap<IdempotencyKey, Option<IdempotencyRecord>>,
    replays: HashMap<(ProducerId, u64), Receipt>,
    targets: HashMap<TransactionNo, TargetState>,
}

/// What to do before the next batch.
#[derive(Debug)]
pub(super) enum Gathered {
    /// Plan this many commands.
    Plan(usize),
    /// Look this up, then gather again. So many commands before the first that needs it can be
    /// planned without it.
    LookUp(Wanted, usize),
    /// Wait until nothing is in flight, then gather again.
    Wait,
}

impl Memory {
    pub(super) fn new(keys: Keys) -> Self {
        Self { keys, special: None }
    }

    fn special(&mut self) -> &mut Special {
        self.special.get_or_insert_default()
    }

    /// Begins again, with nothing but the store's surface. `empty` says that the topic has no event.
    pub(super) fn renew(&mut self, folded: Option<Seq>, empty: bool) {
        *self = Self::new(self.keys.renewed(folded, empty));
    }

    /// Looks at the commands that wait: how many make the next batch, and what has to be known
    /// for them. `idle` says that nothing is in flight.
    pub(super) fn gather<'a>(
        &mut self,
        commands: impl Iterator<Item = Next<'a>>,
        idle: bool,
        settings: &Settings,
    ) -> Gathered {
        let mut gathering = Gathering::new(self, idle, settings);
        for next in commands {
            if gathering.wanted.is_empty() {
                gathering.ready = gathering.count;
            }
            let Next::Decide(command) = next else {
                gathering.count += 1;
                continue;
            };
            if !gathering.take(command) {
                break;
            }
        }
        gathering.finish()
    }

    /// Takes in what the store has said.
    pub(super) fn learn(&mut self, mut wanted: Wanted, facts: Facts) {
        let keys = std::mem::take(&mut wanted.keys);
        self.keys.learn(keys.iter().zip(facts.keys));
        if wanted.is_empty() {
            return;
        }
        let special = self.special();
        special.targets = wanted.targets.into_iter().zip(facts.targets).collect();
        special.looked_up.extend(wanted.idempotency.into_iter().zip(facts.idempotency));
        special.producers.extend(wanted.producers.into_iter().zip(facts.producers));
        for (lines, receipts) in wanted.replays.into_iter().zip(facts.replays) {
            let numbered = (lines.first..).zip(receipts);
            special.replays.extend(numbered.map(|(n, r)| ((lines.producer.clone(), n), r)));
        }
    }

    /// An idempotency record was planned.
    pub(super) fn planned(&mut self, record: &IdempotencyRecord) {
        self.special().planned.insert(record.key.clone(), record.clone());
    }

    /// A batch is planned: what was looked up for it alone is not needed any more.
    pub(super) fn batch_planned(&mut self) {
        let Some(special) = &mut self.special else { return };
        special.looked_up.clear();
        special.replays.clear();
        special.targets.clear();
    }

    /// A batch is durable: the store answers for its records from here on.
    pub(super) fn batch_durable(&mut self, batch: &Batch, idle: bool) {
        let Some(special) = &mut self.special else { return };
        for record in &batch.idempotency {
            special.planned.remove(&record.key);
        }
        if idle && special.producers.len() > PRODUCERS_MAX {
            special.producers.clear();
        }
    }
}

impl Known for Memory {
    fn key(&mut self, key: &Key) -> KeyState {
        self.keys.get(key).expect("keys are gathered before they are decided")
    }

    fn note_key(&mut self, key: &Key, state: KeyState) {
        self.keys.set(key, state);
    }

    fn idempotency(&self, key: &IdempotencyKey) -> Option<&IdempotencyRecord> {
        let special = self.special.as_ref()?;
        special.planned.get(key).or_else(|| special.looked_up.get(key)?.as_ref())
    }

    fn producer(&self, producer: &ProducerId) -> ProducerState {
        let known = self.special.as_ref().and_then(|special| special.producers.get(producer));
        *known.expect("producers are gathered before they are decided")
    }

    fn note_producer(&mut self, producer: &ProducerId, state: ProducerState) {
        self.special().producers.insert(producer.clone(), state);
    }

    fn replay(&self, line: &ProducerLine) -> Receipt {
        let line = (line.producer.clone(), line.line);
        let found = self.special.as_ref().and_then(|special| special.replays.get(&line));
        found.expect("replays are gathered before they are decided").clone()
    }

    fn target(&self, transaction: TransactionNo) -> TargetState {
        let found = self.special.as_ref().and_then(|special| special.targets.get(&transaction));
        *found.expect("targets are gathered before they are decided")
    }
}

/// One pass over the commands that wait.
struct Gathering<'a> {
    memory: &'a mut Memory,
    settings: &'a Settings,
    idle: bool,
    wanted: Wanted,
    /// Commands of the batch so far, the events in them, and their bytes.
    count: usize,
    events: usize,
    bytes: usize,
    /// How many commands come before the first for which something has to be looked up.
    ready: usize,
    /// How far this batch brings producers.
    lines: HashMap<ProducerId, u64>,
    /// The batch is full, but keys behind it may still be looked up with the others.
    ahead: bool,
    /// The batch may not hold the next command, and nothing may be looked up for it.
    barred: bool,
}

impl<'a> Gathering<'a> {
    fn new(memory: &'a mut Memory, idle: bool, settings: &'a Settings) -> Self {
        Self {
            memory,
            settings,
            idle,
            wanted: Wanted::default(),
            count: 0,
            events: 0,
            bytes: 0,
            ready: 0,
            lines: HashMap::new(),
            ahead: false,
            barred: false,
        }
    }

    /// Adds a command; `false` when no more need be looked at.
    fn take(&mut self, command: &Command) -> bool {
        match command {
            Command::Write(write) => self.write(write),
            Command::Invalidate(invalidate) => {
                self.invalidate(invalidate);
                false // It makes a batch of its own.
            }
            Command::Register(_) if self.ahead => false,
            Command::Register(line) => {
                self.producer(&line.producer);
                self.count += 1;
                true
            }
        }
    }

    fn write(&mut self, write: &Write) -> bool {
        let bytes = write.events.iter().map(|event| event.size()).sum::<usize>();
        let (events_max, bytes_max) =
            (self.settings.batch_events_max, self.settings.batch_bytes_max);
        let fits =
            self.events + write.events.len() <= events_max && self.bytes + bytes <= bytes_max;
        self.ahead |= self.count > 0 && !fits;
        // Only with keys of the batch itself.
        if self.ahead && (self.wanted.keys.is_empty() || self.events >= events_max * LOOK_AHEAD) {
            return false;
        }
        if !self.ahead {
            if !self.line(write.producer.as_ref()) {
                self.barred = self.count == 0;
                return false;
            }
            self.idempotency(write.idempotency.as_ref());
            self.count += 1;
        }
        self.events += write.events.len();
        self.bytes += bytes;
        for event in &write.events {
            if !self.memory.keys.knows(&event.key) {
                self.wanted.keys.push(event.key.clone());
            }
        }
        true
    }

    fn invalidate(&mut self, invalidate: &Invalidate) {
        if self.count > 0 {
            return;
        }
        self.barred = !self.idle;
        self.idempotency(invalidate.idempotency.as_ref());
        if !self.memory.special().targets.contains_key(&invalidate.transaction) {
            self.wanted.targets.push(invalidate.transaction);
        }
        self.count = 1;
    }

    fn idempotency(&mut self, idempotency: Option<&Idempotency>) {
        let Some(Idempotency { key, .. }) = idempotency else { return };
        let special = self.memory.special();
        let known = special.planned.contains_key(key)
            || special.looked_up.contains_key(key)
            || self.wanted.idempotency.contains(key);
        if !known {
            self.wanted.idempotency.push(key.clone());
        }
    }

    fn producer(&mut self, producer: &ProducerId) -> Option<ProducerState> {
        let known = self.memory.special().producers.get(producer).copied();
        if known.is_none() && !self.wanted.producers.contains(producer) {
            self.wanted.producers.push(producer.clone());
        }
        known
    }

    /// Whether a producer's line may go into the batch.
    fn line(&mut self, line: Option<&ProducerLine>) -> bool {
        let Some(line) = line else { return true };
        let Some(state) = self.producer(&line.producer) else { return true };
        let next = self.lines.entry(line.producer.clone()).or_insert(state.next_line);
        if line.line >= *next {
            *next = (*next).max(line.line + 1);
            return true;
        }
        // Its answer has to be read from the store, where it is once nothing is in flight.
        if line.line >= state.next_line || !self.idle {
            return false;
        }
        if line.epoch >= state.epoch {
            self.replay(line);
        }
        true
    }

    fn replay(&mut self, line: &ProducerLine) {
        if self.memory.special().replays.contains_key(&(line.producer.clone(), line.line)) {
            return;
        }
        let follows = |last: &&mut Lines| {
            last.producer == line.producer && last.first + last.count as u64 == line.line
        };
        match self.wanted.replays.last_mut().filter(follows) {
            Some(lines) => lines.count += 1,
            None => {
                let (producer, first) = (line.producer.clone(), line.line);
                self.wanted.replays.push(Lines { producer, first, count: 1 });
            }
        }
    }

    fn finish(self) -> Gathered {
        if self.barred {
            return Gathered::Wait;
        }
        if self.wanted.is_empty() {
            return Gathered::Plan(self.count);
        }
        metrics::keys_looked_up(self.wanted.keys.len());
        // What is looked up of transactions and lines is of use only while nothing is in flight.
        let idle_needed = !self.wanted.targets.is_empty() || !self.wanted.replays.is_empty();
        let ready = if idle_needed { 0 } else { self.ready };
        Gathered::LookUp(self.wanted, ready)
    }
}
