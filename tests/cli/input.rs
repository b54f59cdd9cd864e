//! What `append` takes, and what it says of what it does not take. On one place: how a line is
//! written is tested on all of them (`commands.rs`).

use serde_json::{Value, json};

use crate::places::{Kind, Place};

fn place() -> Place {
    Place::new(Kind::Sqlite)
}

/// Key, type and data of every event.
fn events(place: &Place) -> Vec<(String, Value, Value)> {
    let events = place.run(&["read", "t"]).ok().json();
    let event = |event: Value| {
        let key = event["key"].as_str().expect("a key").to_owned();
        (key, event["type"].clone(), event["data"].clone())
    };
    events.into_iter().map(event).collect()
}

#[test]
fn rows_of_csv_are_objects_of_texts() {
    let place = place();
    let csv = "id,name,sub id\n1,\"Ä \"\"q\"\"\",x\n2,\"line\nbreak\",\n";
    let file = tempfile::Builder::new().suffix(".csv").tempfile().expect("a file");
    std::fs::write(file.path(), csv).expect("it is ours");
    let path = file.path().to_str().expect("UTF-8");
    let keys = ["--key", "id", "--key", "sub id", "--key-separator", "::", "--type", "person"];
    place.run(&[&["append", "t", path][..], &keys].concat()).ok();
    let expected = [
        ("1::x".to_owned(), json!("person"), json!({"id": "1", "name": "Ä \"q\"", "sub id": "x"})),
        (
            "2::".to_owned(),
            json!("person"),
            json!({"id": "2", "name": "line\nbreak", "sub id": ""}),
        ),
    ];
    assert_eq!(events(&place), expected);
}

#[test]
fn other_delimiters_can_be_chosen() {
    let place = place();
    for (delimiter, text) in [(";", "a;b\n1;x,y\n"), ("tab", "a\tb\n2\tx,y\n")] {
        let args = ["append", "t", "--format", "csv", "--key", "a", "--delimiter", delimiter];
        place.feed(&args, text).ok();
    }
    let data: Vec<Value> = events(&place).into_iter().map(|(_, _, data)| data).collect();
    assert_eq!(data, [json!({"a": "1", "b": "x,y"}), json!({"a": "2", "b": "x,y"})]);
    let args = ["append", "t", "--format", "csv", "--key", "a", "--delimiter", "ab"];
    place.feed(&args, "").fails(2, "delimiter");
}

#[test]
fn values_of_json_keep_their_bytes() {
    let texts = ["{\"id\": 1.50,\"v\":[ 1e2 ]}", "{\"id\":\"x\\n\"}"];
    for input in [format!(" [{} ,\n{}]\n", texts[0], texts[1]), texts.join("\n")] {
        let place = place();
        place.feed(&["append", "t", "--format", "json", "--key", "id"], input).ok();
        let out = place.run(&["read", "t"]).ok().out;
        for text in texts {
            assert!(out.contains(&format!("\"data\":{text},")), "{text} in {out}");
        }
        let keys: Vec<String> = events(&place).into_iter().map(|(key, ..)| key).collect();
        assert_eq!(keys, ["1.50", "x\n"]);
    }
    let place = place();
    let nested = "[{\"a\":{\"b/c\":true}}]";
    place.feed(&["append", "t", "--format", "json", "--key", "/a/b~1c"], nested).ok();
    assert_eq!(events(&place)[0].0, "true");
}

#[test]
fn a_bad_line_is_told_with_its_place_and_nothing_behind_it_is_written() {
    let good = "{\"key\":\"a\",\"data\":1}";
    let ndjson: [(&[&str], String, &str); 5] = [
        (&[], format!("{good}\n\n{{\"key\":\"b\"}}\n{good}"), "input:3: data is missing"),
        (&[], format!("{good}\nnonsense\n{good}"), "input:2: not JSON"),
        (&[], format!("{good}\n{{\"key\":\"b\",\"data\":1,\"x\":1}}\n"), "input:2: unknown field"),
        (&[], format!("{good}\n{{\"key\":\"b\",\"data\":\n"), "input:2: not JSON"),
        (&[], format!("{good}\n{{\"events\":[]}}\n"), "input:2: a transaction has"),
    ];
    let csv = ["--format", "csv", "--key", "k"];
    let two = ["--format", "csv", "--key", "k", "--key", "v"];
    let csv: [(&[&str], String, &str); 5] = [
        (&csv, "k,v\na,1\nb\n".into(), "input:3: 1 fields; the header has 2"),
        (&csv, "k,v\na,1\n,2\n".into(), "input:3: key must not be empty"),
        (&two, "k,v\na,1\nb/c,2\n".into(), "input:3: \"b/c\", a part of the key, has \"/\""),
        (&csv, "k,k\na,1\n".into(), "input:1: two columns are called \"k\""),
        (&csv, "x,y\na,1\n".into(), "input:1: no column is called \"k\""),
    ];
    let json = ["--format", "json", "--key", "k"];
    let json: [(&[&str], String, &str); 4] = [
        (&json, "[{\"k\":1},{\"x\":1},{\"k\":2}]".into(), "input:2: there is no \"k\""),
        (&json, "[{\"k\":1},{\"k\":[]}]".into(), "input:2: \"k\" is no text, number or boolean"),
        (&json, "[{\"k\":1},{\"k\":2".into(), "input:2: not JSON"),
        (&json, "[{\"k\":1}] x".into(), "input:2: not JSON"),
    ];
    for (args, input, why) in ndjson.into_iter().chain(csv).chain(json) {
        let place = place();
        let done = place.feed(&[&["append", "t"][..], args].concat(), &input).fails(65, why);
        let written = u64::from(!why.contains("input:1:"));
        let summary = &done.json()[0];
        assert_eq!(summary["complete"], false, "{input}");
        assert_eq!(summary["written"], written, "{input}");
        let expected =
            if written == 1 { "is written, and nothing behind it" } else { "nothing was" };
        assert!(done.err.contains(expected), "{}", done.err);
        let there = place.run(&["topics"]).ok().json();
        assert_eq!(there.first().map_or(0, |t| t["events"].as_u64().expect("a number")), written);
    }
}

#[test]
fn a_line_that_a_service_refuses_is_told_with_its_place_too() {
    let place = Place::new(Kind::OnMemory);
    let large = format!("{{\"key\":\"b\",\"data\":\"{}\"}}", "x".repeat(5 << 20));
    let input = format!("\n{{\"key\":\"a\",\"data\":1}}\n{large}\n{{\"key\":\"c\",\"data\":1}}\n");
    for place in [place, Place::new(Kind::Sqlite)] {
        let done = place.feed(&["append", "t"], &input).fails(65, "input:3: ");
        assert_eq!(done.json()[0]["written"], 1);
        assert_eq!(place.run(&["read", "t"]).ok().json().len(), 1);
    }
}

#[test]
fn what_does_not_fit_together_is_wrong_usage() {
    let place = place();
    for args in [
        &["append", "t", "--format", "csv"][..],
        &["append", "t", "x.json"],
        &["append", "t", "--key", "a"],
        &["append", "a b"],
        &["append", "t", "--producer", "a b"],
        &["append", "t", "--type", ""],
    ] {
        place.feed(args, "").fails(2, "");
    }
    place.run(&["append", "t", "/missing/file"]).fails(1, "/missing/file");
    place.run(&["append", "t", "/"]).fails(1, "is a directory");
}
