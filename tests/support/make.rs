//! Short names for what tests say most: names, contents and commands. Commands are put together
//! from the inside out: `named(write([content("k", "1")]), "request-1", 7)`.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use tidelog::domain::{
    Command, Content, ContentHash, Data, Idempotency, IdempotencyKey, Invalidate, Json, Key,
    Precondition, ProducerId, ProducerLine, Reason, Timestamp, TopicName, TransactionNo, Write,
};

/// A moment with microseconds, so that a store that rounds is found out.
pub const NOW: Timestamp = Timestamp(1_800_000_000_123_457);

pub fn name(text: &str) -> TopicName {
    TopicName::parse(text).expect("a topic name")
}

pub fn key(text: &str) -> Key {
    Key::parse(text.into()).expect("a key")
}

pub fn json(text: &str) -> Json {
    Json::from_valid(text.into()).expect("shallow JSON")
}

/// An event with the hash of its data.
pub fn content(of: &str, data: &str) -> Content {
    Content::new(key(of), None, None, Data::Json(json(data)), None)
}

/// An event with a hash of the producer's.
pub fn hashed(of: &str, data: &str, hash: &str) -> Content {
    let hash = ContentHash::parse(hash.into()).expect("a hash");
    Content::new(key(of), Some(hash), None, Data::Json(json(data)), None)
}

/// One transaction.
pub fn write(events: impl IntoIterator<Item = Content>) -> Command {
    let events = events.into_iter().collect();
    Command::Write(Write { events, precondition: None, idempotency: None, producer: None })
}

/// One transaction of one event.
pub fn one(of: &str, data: &str) -> Command {
    write([content(of, data)])
}

/// The write, under a condition.
pub fn on(condition: Precondition, command: Command) -> Command {
    match command {
        Command::Write(write) => Command::Write(Write { precondition: Some(condition), ..write }),
        other => panic!("{other:?} has no conditions"),
    }
}

/// The command with a name; equal requests have equal numbers.
pub fn named(command: Command, name: &str, request: u8) -> Command {
    let key = IdempotencyKey::parse(name).expect("visible ASCII");
    let idempotency = Some(Idempotency { key, request: [request; 32] });
    match command {
        Command::Write(write) => Command::Write(Write { idempotency, ..write }),
        Command::Invalidate(invalidate) => {
            Command::Invalidate(Invalidate { idempotency, ..invalidate })
        }
        Command::Register(_) => panic!("a registration has no name"),
    }
}

pub fn producer(text: &str) -> ProducerId {
    ProducerId::parse(text).expect("visible ASCII")
}

/// The write as a line of a producer's stream.
pub fn line(command: Command, of: &str, epoch: u64, line: u64) -> Command {
    let producer = Some(ProducerLine { producer: producer(of), epoch, line });
    match command {
        Command::Write(write) => Command::Write(Write { producer, ..write }),
        other => panic!("{other:?} is no line"),
    }
}

/// The begin of a stream.
pub fn register(of: &str, epoch: u64, line: u64) -> Command {
    Command::Register(ProducerLine { producer: producer(of), epoch, line })
}

/// The transaction was wrong.
pub fn invalidate(transaction: u64) -> Command {
    let reason = Some(Reason::parse("wrong".into()).expect("a reason"));
    let transaction = TransactionNo(transaction);
    Command::Invalidate(Invalidate { transaction, reason, idempotency: None })
}
