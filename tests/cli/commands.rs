//! What each command does where nothing goes wrong.

use serde_json::{Value, json};

use crate::places::Place;

on_every_place!(
    what_is_appended_is_read,
    a_stretch_is_read_in_both_directions,
    a_key_has_a_history_and_a_latest_event,
    a_surface_is_as_of_a_transaction,
    topics_are_listed,
    tables_are_for_people,
    a_place_in_use_is_healthy,
);

/// Three transactions: `a` and `b`, `a` again, and `c/ü`.
fn three(place: &Place) {
    let lines = concat!(
        "{\"events\":[{\"key\":\"a\",\"data\":1},{\"key\":\"b\",\"data\":{\"x\": [ ]}}]}\n",
        "\n",
        "{\"key\":\"a\",\"data\":2,\"type\":\"t\",\"metadata\":{\"m\":1}}\n",
        "{\"key\":\"c/ü\",\"data_base64\":\"AAr/\",\"content_type\":\"image/png\"}",
    );
    let done = place.feed(&["append", "t", "--output", "json"], lines).ok();
    let summary = json!({
        "lines": 3, "written": 4, "duplicates": 0, "replayed": 0, "skipped": 0,
        "head": {"seq": 3, "transaction": 2}, "complete": true,
    });
    assert_eq!(done.json(), [summary]);
}

fn seqs(events: &[Value]) -> Vec<u64> {
    events.iter().map(|event| event["seq"].as_u64().expect("a seq")).collect()
}

fn what_is_appended_is_read(place: &Place) {
    three(place);
    let done = place.run(&["read", "t"]).ok();
    assert!(done.out.contains(r#""data":{"x": [ ]},"#), "{}", done.out);
    let events = done.json();
    assert_eq!(seqs(&events), [0, 1, 2, 3]);
    assert_eq!(events[2]["type"], "t");
    assert_eq!(events[2]["metadata"], json!({"m": 1}));
    assert_eq!((&events[3]["key"], &events[3]["data_base64"]), (&json!("c/ü"), &json!("AAr/")));
    let again = place.feed(&["append", "t"], "{\"key\":\"a\",\"data\":2}\n").ok().json();
    assert_eq!((&again[0]["written"], &again[0]["duplicates"]), (&json!(0), &json!(1)));
}

fn a_stretch_is_read_in_both_directions(place: &Place) {
    three(place);
    let read = |args: &[&str]| seqs(&place.run(&[&["read", "t"][..], args].concat()).ok().json());
    assert_eq!(read(&["--from", "1"]), [1, 2, 3]);
    assert_eq!(read(&["--from", "1", "--to", "2"]), [1, 2]);
    assert_eq!(read(&["--limit", "2"]), [0, 1]);
    assert_eq!(read(&["--backward", "--limit", "3"]), [3, 2, 1]);
    assert_eq!(read(&["--from", "9"]), [0; 0]);
    place.run(&["read", "none"]).fails(1, "there is no topic none");
}

fn a_key_has_a_history_and_a_latest_event(place: &Place) {
    three(place);
    assert_eq!(seqs(&place.run(&["read", "t", "--key", "a"]).ok().json()), [0, 2]);
    assert_eq!(seqs(&place.run(&["latest", "t", "a"]).ok().json()), [2]);
    assert_eq!(seqs(&place.run(&["latest", "t", "c/ü"]).ok().json()), [3]);
    place.run(&["latest", "t", "no"]).fails(1, "not on the surface");
    place.run(&["latest", "none", "a"]).fails(1, "no topic");
}

fn a_surface_is_as_of_a_transaction(place: &Place) {
    three(place);
    let surface =
        |args: &[&str]| seqs(&place.run(&[&["surface", "t"][..], args].concat()).ok().json());
    assert_eq!(surface(&[]), [2, 1, 3]);
    assert_eq!(surface(&["--as-of", "0"]), [0, 1]);
    assert_eq!(surface(&["--prefix", "c/"]), [3]);
    assert_eq!(surface(&["--limit", "1"]), [2]);
    place.run(&["surface", "t", "--as-of", "9"]).fails(1, "has no transaction 9");
    let invalidate = ["invalidate", "t", "1", "--reason", "twice", "--output", "json"];
    let ack = |duplicate| json!({"seq": 4, "transaction": 3, "duplicate": duplicate});
    assert_eq!(place.run(&invalidate).ok().json(), [ack(false)]);
    assert_eq!(place.run(&invalidate).ok().json(), [ack(true)]);
    assert_eq!(surface(&[]), [0, 1, 3]);
    let events = place.run(&["read", "t", "--from", "2"]).ok().json();
    assert_eq!(events[0]["invalidated_by"], 3);
    assert_eq!((&events[2]["invalidates"], &events[2]["reason"]), (&json!(1), &json!("twice")));
    place.run(&["invalidate", "t", "3"]).fails(65, "cannot be invalidated");
    place.run(&["invalidate", "t", "99"]).fails(1, "no such transaction");
    place.run(&["invalidate", "none", "0"]).fails(1, "no such topic");
}

fn topics_are_listed(place: &Place) {
    assert_eq!(place.feed(&["append", "t"], "").ok().json()[0]["head"], Value::Null);
    assert_eq!(place.run(&["topics"]).ok().out, "");
    three(place);
    for topic in ["ta", "u"] {
        place.feed(&["append", topic], "{\"key\":\"a\",\"data\":1}\n").ok();
    }
    let topics = |args: &[&str]| place.run(&[&["topics"][..], args].concat()).ok().json();
    let t = json!({"topic": "t", "head": {"seq": 3, "transaction": 2}, "events": 4});
    assert_eq!(topics(&["--limit", "1"]), [t]);
    let names: Vec<Value> =
        topics(&["--prefix", "t"]).into_iter().map(|topic| topic["topic"].clone()).collect();
    assert_eq!(names, ["t", "ta"]);
}

fn tables_are_for_people(place: &Place) {
    three(place);
    place.run(&["invalidate", "t", "1", "--reason", "a\u{1b}[2J"]).ok();
    let table = place.run(&["read", "t", "--output", "table"]).ok().out;
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(lines.len(), 6, "{table}");
    assert!(lines[0].starts_with("SEQ  TRANSACTION"), "{table}");
    assert!(lines[3].contains("1 (not since 3)"), "{table}");
    assert!(lines[4].contains("<3 bytes of image/png>"), "{table}");
    assert!(lines[5].contains("invalidates transaction 1: a\\u{1b}[2J"), "{table}");
    let table = place.run(&["topics", "-o", "table"]).ok().out;
    assert_eq!(table, "TOPIC  EVENTS  TRANSACTIONS\nt      5       4\n");
    let input = "{\"key\":\"n\",\"data\":1}\n";
    let text = place.feed(&["append", "t", "-o", "table"], input).ok().out;
    assert_eq!(
        text,
        "1 line acknowledged: 1 event written, 0 duplicates; head is 5 (transaction 4)\n"
    );
}

fn a_place_in_use_is_healthy(place: &Place) {
    three(place);
    assert_eq!(place.run(&["health"]).ok().out, "healthy\n");
}
