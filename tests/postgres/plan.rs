//! A writer for tests: plans batches with the domain's own rules, from a store's own facts.

use std::collections::HashMap;
use std::sync::Arc;

use smallvec::smallvec;
use tidelog::domain::*;
use tidelog::store::postgres::{Config, PostgresStore};
use tidelog::store::{EventSourceWriter, Lines, Opened, Wanted};

pub async fn connect(url: &str) -> PostgresStore {
    PostgresStore::connect(&small(url)).await.expect("the store opens")
}

/// Few connections, and short limits.
pub fn small(url: &str) -> Config {
    Config { lanes: 1, readers: 2, ..Config::new(url) }
}

pub fn name(text: &str) -> TopicName {
    TopicName::parse(text).expect("a topic name")
}

pub fn key(text: &str) -> Key {
    Key::parse(text.into()).expect("a key")
}

pub fn content(key_text: &str, json: &str) -> Content {
    let data = Data::Json(Json::from_valid(json.into()).expect("shallow"));
    Content::new(key(key_text), None, None, data, None)
}

pub fn write(events: Vec<Content>) -> Command {
    let (precondition, idempotency, producer) = (None, None, None);
    Command::Write(Write { events: events.into(), precondition, idempotency, producer })
}

pub fn one(key: &str, json: &str) -> Command {
    write(vec![content(key, json)])
}

pub fn now() -> Timestamp {
    Timestamp(1_800_000_000_123_456)
}

/// A topic's writer.
pub struct Writer {
    pub topic: TopicId,
    pub planner: Planner,
    pub mind: Mind,
}

/// What it knows.
#[derive(Default)]
pub struct Mind {
    pub keys: HashMap<Key, KeyState>,
    pub targets: HashMap<TransactionNo, TargetState>,
    pub idempotency: HashMap<IdempotencyKey, IdempotencyRecord>,
    pub producers: HashMap<ProducerId, ProducerState>,
    pub replays: HashMap<(ProducerId, u64), Receipt>,
}

impl Writer {
    pub fn new(opened: Opened) -> Self {
        let Opened { topic, epoch, head, frontier, .. } = opened;
        let planner = Planner::new(topic, epoch, head, frontier);
        Self { topic, planner, mind: Mind::default() }
    }

    pub async fn open(store: &impl EventSourceWriter, topic: &str) -> Self {
        Self::new(store.open(&name(topic)).await.expect("the topic opens"))
    }

    /// A batch of commands of which the writer knows all it needs: no look-ups.
    pub fn batch(&mut self, commands: &[Command]) -> Arc<Batch> {
        let mut batch = self.planner.begin(now());
        for command in commands {
            self.planner.decide(command, &mut self.mind, &mut batch).expect("acceptable");
        }
        self.planner.seal(&mut batch);
        Arc::new(batch)
    }

    /// Looks up all that a command may ask of a store whose surface is at the head.
    pub async fn learn(&mut self, store: &impl EventSourceWriter, command: &Command) {
        let wanted = wanted(command);
        let facts = store.facts(self.topic, wanted.clone()).await.expect("facts");
        self.mind.keys.extend(wanted.keys.into_iter().zip(facts.keys));
        self.mind.targets.extend(wanted.targets.into_iter().zip(facts.targets));
        let records = facts.idempotency.into_iter().flatten();
        self.mind.idempotency.extend(records.map(|record| (record.key.clone(), record)));
        let states: Vec<_> = wanted.producers.into_iter().zip(facts.producers).collect();
        self.mind.producers.extend(states.clone());
        if let Command::Write(Write { producer: Some(line), .. }) = command
            && line.line < states[0].1.next_line
        {
            let lines = Lines { producer: line.producer.clone(), first: line.line, count: 1 };
            let wanted = Wanted { replays: vec![lines], ..Wanted::default() };
            let facts = store.facts(self.topic, wanted).await.expect("facts");
            let receipt = facts.replays[0][0].clone();
            self.mind.replays.insert((line.producer.clone(), line.line), receipt);
        }
    }
}

/// What must be known to decide a command, apart from replays.
pub fn wanted(command: &Command) -> Wanted {
    let mut wanted = Wanted::default();
    match command {
        Command::Write(write) => {
            wanted.keys = write.events.iter().map(|content| content.key.clone()).collect();
            wanted.idempotency.extend(write.idempotency.iter().map(|i| i.key.clone()));
            wanted.producers.extend(write.producer.iter().map(|line| line.producer.clone()));
        }
        Command::Invalidate(invalidate) => {
            wanted.targets = vec![invalidate.transaction];
            wanted.idempotency.extend(invalidate.idempotency.iter().map(|i| i.key.clone()));
        }
        Command::Register(line) => wanted.producers = vec![line.producer.clone()],
    }
    wanted
}

impl Known for Mind {
    fn key(&mut self, key: &Key) -> KeyState {
        self.keys.get(key).copied().unwrap_or_default()
    }

    fn note_key(&mut self, key: &Key, state: KeyState) {
        self.keys.insert(key.clone(), state);
    }

    fn idempotency(&self, key: &IdempotencyKey) -> Option<&IdempotencyRecord> {
        self.idempotency.get(key)
    }

    fn producer(&self, producer: &ProducerId) -> ProducerState {
        self.producers.get(producer).copied().unwrap_or_default()
    }

    fn note_producer(&mut self, producer: &ProducerId, state: ProducerState) {
        self.producers.insert(producer.clone(), state);
    }

    fn replay(&self, line: &ProducerLine) -> Receipt {
        self.replays[&(line.producer.clone(), line.line)].clone()
    }

    fn target(&self, transaction: TransactionNo) -> TargetState {
        self.targets[&transaction]
    }
}

/// A batch that the database cannot hold: its time is before what a timestamp can say.
pub fn poison(batch: &Batch) -> Arc<Batch> {
    let mut batch = batch.clone();
    for event in &mut batch.events {
        event.recorded_at = Timestamp(i64::MIN / 2);
    }
    Arc::new(batch)
}

/// An event with every field.
pub fn rich(key_text: &str) -> Content {
    let content_type = ContentType::parse("application/octet-stream".into()).expect("a type");
    Content::new(
        key(key_text),
        Some(ContentHash::parse("own hash".into()).expect("a hash")),
        Some(EventType::parse("thing.changed".into()).expect("a type")),
        Data::Binary(bytes::Bytes::from_static(&[0, 255, 10, 0]), content_type),
        Some(Json::from_valid("{ \"a\" : \"\\u0000\\ud800\", \"a\":1e2 }".into()).expect("JSON")),
    )
}

/// Rows that break the invariants of `topic` and `event`, which no constraint watches.
pub const UNSOUND: &str = include_str!("../../sql/postgres/queries/unsound.sql");

/// An invalidation with a reason.
pub fn invalidate(transaction: u64) -> Command {
    let reason = Some(Reason::parse("wrong".into()).expect("a reason"));
    let transaction = TransactionNo(transaction);
    Command::Invalidate(Invalidate { transaction, reason, idempotency: None })
}

/// A write with an idempotency key.
pub fn named(content: Content, idempotency: &str) -> Command {
    let key = IdempotencyKey::parse(idempotency).expect("visible");
    let idempotency = Some(Idempotency { key, request: [7; 32] });
    let (precondition, producer) = (None, None);
    Command::Write(Write { events: smallvec![content], precondition, idempotency, producer })
}

/// A line of a producer's stream.
pub fn line(content: Content, producer: &str, epoch: u64, line: u64) -> Command {
    let producer = ProducerId::parse(producer).expect("visible");
    let producer = Some(ProducerLine { producer, epoch, line });
    let (precondition, idempotency) = (None, None);
    Command::Write(Write { events: smallvec![content], precondition, idempotency, producer })
}
