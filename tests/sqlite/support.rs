//! A store in a directory of its own, and topics that are written without actors.

use std::path::PathBuf;
use std::sync::Arc;

use rusqlite::Connection;
use tempfile::TempDir;
use tidelog::domain::{
    Batch, BatchMark, Command, Content, Data, Event, EventBody, IdempotencyKey, IdempotencyRecord,
    Json, Key, KeyState, Known, Planner, ProducerId, ProducerLine, ProducerState, Receipt,
    TargetState, Timestamp, TopicName, TransactionNo, Write,
};
use tidelog::store::sqlite::{Config, SqliteStore};
use tidelog::store::{AppendError, EventSourceWriter};

/// A directory for one database file.
pub struct Place(TempDir);

impl Place {
    pub fn new() -> Self {
        Self(TempDir::new().expect("a directory"))
    }

    pub fn path(&self) -> PathBuf {
        self.0.path().join("data/tidelog.db")
    }

    pub fn config(&self) -> Config {
        Config::new(self.path())
    }

    pub fn open(&self) -> SqliteStore {
        SqliteStore::open(&self.config()).expect("the store opens")
    }

    /// A connection of somebody else's, for a look or for mischief.
    pub fn raw(&self) -> Connection {
        Connection::open(self.path()).expect("a connection")
    }
}

pub fn name(text: &str) -> TopicName {
    TopicName::parse(text).expect("a topic name")
}

pub fn key(text: &str) -> Key {
    Key::parse(text.to_owned().into()).expect("a key")
}

pub fn json(text: &str) -> Json {
    Json::from_valid(text.to_owned().into()).expect("shallow JSON")
}

pub fn content(of: &str, data: &str) -> Content {
    Content::new(key(of), None, None, Data::Json(json(data)), None)
}

pub fn write(events: impl IntoIterator<Item = Content>) -> Command {
    let events = events.into_iter().collect();
    Command::Write(Write { events, precondition: None, idempotency: None, producer: None })
}

/// Rules that know of nothing: every key is new, every transaction stands as the single event of
/// the same seq.
pub struct Fresh;

impl Known for Fresh {
    fn key(&mut self, _: &Key) -> KeyState {
        KeyState::default()
    }
    fn note_key(&mut self, _: &Key, _: KeyState) {}
    fn idempotency(&self, _: &IdempotencyKey) -> Option<&IdempotencyRecord> {
        None
    }
    fn producer(&self, _: &ProducerId) -> ProducerState {
        ProducerState::default()
    }
    fn note_producer(&mut self, _: &ProducerId, _: ProducerState) {}
    fn replay(&self, _: &ProducerLine) -> Receipt {
        unreachable!("no line was written")
    }
    fn target(&self, transaction: TransactionNo) -> TargetState {
        let seq = tidelog::domain::Seq(transaction.0);
        TargetState::Stands(seq, seq)
    }
}

/// A topic taken by a writer.
pub struct Topic {
    pub planner: Planner,
}

impl Topic {
    pub async fn open(store: &dyn EventSourceWriter, topic: &str) -> Self {
        let opened = store.open(&name(topic)).await.expect("the topic opens");
        let planner = Planner::new(opened.topic, opened.epoch, opened.head, opened.frontier);
        Self { planner }
    }

    /// A batch of commands on new keys.
    pub fn batch(&mut self, commands: &[Command]) -> Arc<Batch> {
        let mut batch = self.planner.begin(Timestamp(1_700_000_000_000_001));
        for command in commands {
            self.planner.decide(command, &mut Fresh, &mut batch).expect("accepted");
        }
        self.planner.seal(&mut batch);
        Arc::new(batch)
    }

    /// A batch of one event.
    pub fn event(&mut self, of: &str, data: &str) -> Arc<Batch> {
        self.batch(&[write([content(of, data)])])
    }
}

/// The batch with something in it that no store can hold: a version that names itself as the one
/// before it.
pub fn spoilt(batch: &Batch) -> Arc<Batch> {
    let mut spoilt = batch.clone();
    let last: &mut Event = spoilt.events.last_mut().expect("an event");
    assert!(matches!(last.body, EventBody::Content(_)));
    last.prev = Some(last.version.seq);
    Arc::new(spoilt)
}

pub fn mark(batch: &Batch) -> Option<BatchMark> {
    Some(batch.mark())
}

/// The outcome in a word.
pub fn word(outcome: &Result<(), AppendError>) -> &'static str {
    match outcome {
        Ok(()) => "written",
        Err(AppendError::Refused) => "refused",
        Err(AppendError::Rejected(_)) => "rejected",
        Err(AppendError::NotWritten(_)) => "not written",
        Err(AppendError::Unknown(_)) => "unknown",
    }
}
