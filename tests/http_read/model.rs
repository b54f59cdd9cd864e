//! Reads, said naively: from a list of all events, with another JSON writer.

use std::collections::BTreeMap;

use rand::Rng as _;
use rand::rngs::SmallRng;
use serde_json::{Value, json};
use tidelog::domain::{Command, Event, EventBody, TransactionNo};

use crate::book::Book;
use crate::make::{content, invalidate, write};

/// Keys that are hard to carry and hard to order.
pub fn nasty_keys() -> Vec<String> {
    let keys = [
        "a",
        "a/b",
        "/",
        "%",
        "%2F",
        "%%",
        "+",
        " ",
        "a b",
        "\"",
        "\\",
        "'",
        "&=?#;",
        "\u{1}",
        "\n\r\t",
        "\u{7f}",
        "é",
        "e\u{301}",
        "🦀",
        "\u{feff}",
        "\u{d7ff}",
        "\u{e000}",
        "\u{10ffff}",
        "null",
        "a\u{1}",
    ];
    let long = [format!("{}b", "a".repeat(1023)), "é".repeat(512)];
    keys.into_iter().map(str::to_owned).chain(long).collect()
}

/// Commands for a topic: transactions of 1 to 6 events, and invalidations of earlier ones.
pub fn commands(random: &mut SmallRng, count: usize, keys: &[String]) -> Vec<Command> {
    let mut standing: Vec<u64> = Vec::new();
    let mut commands = Vec::new();
    for number in 0..count as u64 {
        if !standing.is_empty() && random.random_range(0..6) == 0 {
            let chosen = random.random_range(0..standing.len());
            commands.push(invalidate(standing.swap_remove(chosen)));
            continue;
        }
        let events = (0..random.random_range(1..=6)).map(|event| {
            let key = &keys[random.random_range(0..keys.len())];
            content(key, &format!("[{number}, {event}]")) // Never twice the same.
        });
        commands.push(write(events.collect::<Vec<_>>()));
        standing.push(number);
    }
    commands
}

fn event(book: &Book, event: &Event) -> Value {
    let mut value = json!({
        "seq": event.version.seq.0,
        "transaction": event.version.transaction.0,
        "last": event.last,
        "recorded_at": "2027-01-15T08:00:00.123457Z",
    });
    match &event.body {
        EventBody::Content(content) => {
            let data = content.data.bytes();
            value["key"] = content.key.as_str().into();
            value["hash"] = (*content.hash.text()).into();
            value["data"] = serde_json::from_slice(&data).expect("it was JSON");
        }
        EventBody::Invalidation(invalidation) => {
            value["invalidates"] = invalidation.invalidates.0.into();
            value["reason"] = "wrong".into();
        }
    }
    if let Some(record) = book.invalidations.get(&event.version.transaction) {
        value["invalidated_by"] = record.by.transaction.0.into();
    }
    value
}

/// All events, in order.
pub fn log(book: &Book) -> Vec<Value> {
    book.events.iter().map(|own| event(book, own)).collect()
}

/// The head as JSON.
pub fn head(book: &Book) -> Value {
    let version = book.events.last().expect("there are events").version;
    json!({"seq": version.seq.0, "transaction": version.transaction.0})
}

/// The surface just after a transaction, in byte order of key.
pub fn surface(book: &Book, as_of: u64) -> BTreeMap<String, Value> {
    let mut surface = BTreeMap::new();
    for own in book.events.iter().filter(|own| own.version.transaction.0 <= as_of) {
        let by = book.invalidations.get(&own.version.transaction).map(|r| r.by.transaction);
        if let EventBody::Content(content) = &own.body
            && by.is_none_or(|by| by > TransactionNo(as_of))
        {
            surface.insert(content.key.as_str().to_owned(), event(book, own));
        }
    }
    surface
}
