//! The views, as somebody with a SQL prompt sees them.

use rusqlite::types::Value;
use tidelog::domain::{
    Command, Content, ContentHash, ContentType, Data, EventType, Invalidate, Reason, Seq,
    TransactionNo,
};
use tidelog::store::{Direction, EventSourceReader, EventSourceWriter, Scan};

use crate::support::{Place, Topic, content, json, key, name, write};

fn rows(place: &Place, sql: &str) -> Vec<String> {
    let raw = place.raw();
    let mut statement = raw.prepare(sql).unwrap();
    let count = statement.column_count();
    let row = |row: &rusqlite::Row<'_>| {
        let columns = (0..count).map(|index| match row.get(index)? {
            Value::Null => Ok("-".to_owned()),
            Value::Integer(number) => Ok(number.to_string()),
            Value::Real(number) => Ok(number.to_string()),
            Value::Text(text) => Ok(text),
            Value::Blob(bytes) => Ok(format!("x'{}'", hex::encode(bytes))),
        });
        Ok(columns.collect::<rusqlite::Result<Vec<_>>>()?.join("|"))
    };
    statement.query_map([], row).unwrap().map(|row| row.unwrap()).collect()
}

fn invalidate(transaction: u64) -> Command {
    let reason = Some(Reason::parse("a typo".into()).unwrap());
    let transaction = TransactionNo(transaction);
    Command::Invalidate(Invalidate { transaction, reason, idempotency: None })
}

/// Topic `t`: two JSON events in one transaction, one binary event, an invalidation of the last.
async fn written(place: &Place) {
    let store = place.open();
    let mut topic = Topic::open(&store, "t").await;
    Topic::open(&store, "empty").await;
    store
        .append(topic.batch(&[write([content("a", "{\"n\" : 1.0}"), content("b", "2")])]))
        .await
        .unwrap();
    let bytes = Data::Binary(vec![0, 255].into(), ContentType::parse("image/png".into()).unwrap());
    let hash = Some(ContentHash::parse("v1".into()).unwrap());
    let kind = Some(EventType::parse("drawn".into()).unwrap());
    let drawn = Content::new(key("c"), hash, kind, bytes, Some(json("{\"by\":\"me\"}")));
    store.append(topic.batch(&[write([drawn])])).await.unwrap();
    let mut batch = (*topic.batch(&[invalidate(1)])).clone();
    // The transaction is of one event, but not of the same seq as its number.
    batch.invalidations[0].first = Seq(2);
    batch.invalidations[0].last = Seq(2);
    store.append(batch.into()).await.unwrap();
}

#[tokio::test]
async fn the_views_say_what_is_in_the_topics() {
    let place = Place::new();
    written(&place).await;
    assert_eq!(rows(&place, "SELECT * FROM topics"), ["t|4|3|2"]);
    let events = "SELECT seq, \"transaction\", last, key, type, content_type, data, data_binary,
        metadata, prev, invalidates, reason, invalidated_by, recorded_at FROM events WHERE topic = 't' ORDER BY seq";
    let at = "2023-11-14T22:13:20.000001Z";
    assert_eq!(
        rows(&place, events),
        [
            format!("0|0|0|a|-|-|{{\"n\" : 1.0}}|-|-|-|-|-|-|{at}"),
            format!("1|0|1|b|-|-|2|-|-|-|-|-|-|{at}"),
            format!("2|1|1|c|drawn|image/png|-|x'00ff'|{{\"by\":\"me\"}}|-|-|-|2|{at}"),
            format!("3|2|1|-|-|-|-|-|-|-|1|a typo|-|{at}"),
        ]
    );
    let hashes = "SELECT hash FROM events ORDER BY seq LIMIT 3 OFFSET 1";
    let two = "d4735e3a265e16eee03f59718b9b5d03019c07d8b6c51f90da3a666eec13ab35";
    assert_eq!(rows(&place, hashes), [two, "v1", "-"]);
    let transactions = "SELECT * FROM transactions ORDER BY \"transaction\"";
    assert_eq!(
        rows(&place, transactions),
        [
            format!("t|0|0|1|2|{at}|-|-"),
            format!("t|1|2|2|1|{at}|-|2"),
            format!("t|2|3|3|1|{at}|1|-")
        ]
    );
    assert_eq!(rows(&place, "SELECT key, seq FROM surface ORDER BY key"), ["a|0", "b|1"]);
}

#[tokio::test]
async fn json_functions_work_on_data_and_the_bytes_are_those_that_were_sent() {
    let place = Place::new();
    let data = " {\"b\":1e2,\t\"a\":\"\\u0000\\ud800\",\"b\":2}\n";
    {
        let store = place.open();
        let mut topic = Topic::open(&store, "t").await;
        store.append(topic.event("k", data)).await.unwrap();
        let scan = Scan {
            from: Seq(0),
            to: Seq(9),
            limit: 9,
            direction: Direction::Forward,
            bytes: usize::MAX,
        };
        let read = store.events(&name("t"), scan).await.unwrap();
        assert_eq!(read[0].event, topic_event(data));
    }
    let sql =
        "SELECT typeof(data), data, json_extract(data, '$.b'), json_valid(json(data)) FROM events";
    assert_eq!(rows(&place, sql), [format!("text|{data}|100.0|1").replace("100.0", "100")]);
}

fn topic_event(data: &str) -> tidelog::domain::Event {
    use tidelog::domain::{Event, EventBody, Timestamp, Version};
    Event {
        version: Version { seq: Seq(0), transaction: TransactionNo(0) },
        last: true,
        recorded_at: Timestamp(1_700_000_000_000_001),
        prev: None,
        body: EventBody::Content(content("k", data)),
    }
}

#[tokio::test]
async fn the_schema_refuses_what_the_rules_forbid() {
    let place = Place::new();
    written(&place).await;
    let raw = place.raw();
    for change in [
        "UPDATE event SET key = NULL WHERE seq = 0",
        "UPDATE event SET key = '' WHERE seq = 0",
        "UPDATE event SET data = x'00' WHERE seq = 0",
        "UPDATE event SET data = 'x' WHERE seq = 2",
        "UPDATE event SET digest = x'00' WHERE seq = 0",
        "UPDATE event SET invalidates = 0 WHERE seq = 0",
        "UPDATE event SET invalidates = 2 WHERE seq = 3",
        "UPDATE event SET prev = 1 WHERE seq = 1",
        "UPDATE event SET last = 2 WHERE seq = 1",
        "UPDATE event SET epoch = 1 WHERE seq = 0",
        "UPDATE event SET seq = 2 WHERE seq = 1",
        "UPDATE topic SET leaves = 1 WHERE name = 't'",
        "UPDATE topic SET frontier = x'00' WHERE name = 't'",
        "UPDATE invalidation SET by_seq = 0",
        "INSERT INTO topic (name, epoch) VALUES ('t', 1)",
        "INSERT INTO fold (topic, seq) VALUES (77, 1)",
    ] {
        let error = raw.execute(change, []).expect_err(change);
        let code = error.sqlite_error_code();
        assert_eq!(code, Some(rusqlite::ErrorCode::ConstraintViolation), "{change}: {error}");
    }
}

#[tokio::test]
async fn what_topics_there_are_is_found_without_reading_the_log() {
    let place = Place::new();
    drop(place.open());
    let raw = place.raw();
    for query in [
        "SELECT * FROM topics",
        "SELECT * FROM topics WHERE topic = 't'",
        "SELECT * FROM topics WHERE events > 3 ORDER BY events",
        "SELECT sum(events) FROM topics",
        "SELECT * FROM consumers",
        "SELECT * FROM consumers WHERE lag_events > 3",
    ] {
        let mut plan = raw.prepare(&format!("EXPLAIN QUERY PLAN {query}")).unwrap();
        let steps = plan.query_map([], |row| row.get::<_, String>(3)).unwrap();
        let steps: Vec<_> = steps.map(Result::unwrap).collect();
        let reads = |step: &String| step.starts_with("SCAN") && !["t", "c"].contains(&&step[5..6]);
        assert!(!steps.iter().any(reads), "{query}: {steps:#?}");
        assert!(steps.iter().any(|step| step.contains("event")), "{query}: {steps:#?}");
    }
}
