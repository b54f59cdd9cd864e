//! Surfaces and single keys against the model, as of every transaction and by every limit.

use std::collections::BTreeMap;

use rand::SeedableRng as _;
use rand::rngs::SmallRng;
use serde_json::Value;

use crate::make::{content, invalidate, write};
use crate::model::{self, commands, nasty_keys};
use crate::server::{Server, query};

/// Pages through a surface until there is no more.
async fn all(server: &Server, parameters: &[(&str, &str)], limit: usize) -> Vec<Value> {
    let (mut found, mut after) = (Vec::new(), None::<String>);
    loop {
        let limit_text = limit.to_string();
        let mut parameters = parameters.to_vec();
        parameters.push(("limit", &limit_text));
        parameters.extend(after.as_deref().map(|after| ("after", after)));
        let page = server.read(&format!("/v1/topics/t/surface?{}", query(&parameters))).await;
        let events = page["events"].as_array().expect("events");
        assert!(events.len() <= limit, "{parameters:?}");
        found.extend(events.iter().cloned());
        let Some(next) = page["next"].as_str() else { return found };
        assert_eq!(events.len(), limit, "{parameters:?}");
        assert_eq!(events[limit - 1]["key"], next, "{parameters:?}");
        after = Some(next.to_owned());
    }
}

fn values(surface: &BTreeMap<String, Value>) -> Vec<Value> {
    surface.values().cloned().collect()
}

#[tokio::test]
async fn surfaces_page_through_exactly_once_as_of_every_transaction() {
    for seed in 0..3 {
        let server = Server::start().await;
        let random = &mut SmallRng::seed_from_u64(seed);
        let book = server.seed("t", commands(random, 25, &nasty_keys())).await;
        for as_of in 0..25 {
            let text = as_of.to_string();
            let expected = model::surface(&book, as_of);
            for limit in [1, 2, 3, expected.len().max(1), expected.len() + 1] {
                let found = all(&server, &[("as_of", &text)], limit).await;
                assert_eq!(found, values(&expected), "seed {seed} as of {as_of} by {limit}");
            }
            let lines = server.read_lines(&format!("/v1/topics/t/surface?as_of={as_of}")).await;
            assert_eq!(lines, values(&expected), "seed {seed} as of {as_of}");
        }
    }
}

#[tokio::test]
async fn prefix_and_after_are_compared_byte_for_byte() {
    let server = Server::start().await;
    let keys = nasty_keys();
    let book = server.seed("t", [write(keys.iter().map(|key| content(key, "1")))]).await;
    let surface = model::surface(&book, 0);
    let texts = keys.iter().map(String::as_str);
    let texts: Vec<&str> = texts.chain(["", "\0", "a\0", "zz", "aaa", "\u{e9}x"]).collect();
    for prefix in &texts {
        for after in &texts {
            let wanted = |key: &String| key.starts_with(prefix) && key.as_str() > *after;
            let expected: Vec<Value> =
                surface.iter().filter(|(key, _)| wanted(key)).map(|(_, e)| e.clone()).collect();
            let parameters = query(&[("prefix", *prefix), ("after", *after)]);
            let found = server.read(&format!("/v1/topics/t/surface?{parameters}")).await;
            assert_eq!(found["events"], Value::from(expected), "{prefix:?} after {after:?}");
        }
    }
}

#[tokio::test]
async fn latest_is_the_surface_of_one_key() {
    let server = Server::start().await;
    let keys = nasty_keys();
    let mut commands = vec![write(keys.iter().map(|key| content(key, "1")))];
    commands.extend([write([content("a", "2")]), write([content("only", "1")])]);
    commands.extend([invalidate(1), invalidate(2)]);
    let book = server.seed("t", commands).await;
    let surface = model::surface(&book, 4);
    assert_eq!(surface["a"]["seq"], 0, "the key fell back");
    for key in &keys {
        let path = format!("/v1/topics/t/latest?{}", query(&[("key", key)]));
        assert_eq!(server.read(&path).await, surface[key], "{key:?}");
    }
    for gone in ["only", "never", "A", "a "] {
        let path = format!("/v1/topics/t/latest?{}", query(&[("key", gone)]));
        server.problem(server.get(&path), 404, "key-not-found").await;
    }
}

#[tokio::test]
async fn a_page_of_a_surface_is_bounded_in_bytes() {
    const MIB: usize = 1 << 20;
    let server = Server::start().await;
    let data = format!("\"{}\"", "x".repeat(MIB));
    server.seed("t", (0..20).map(|n| write([content(&format!("k{n:02}"), &data)]))).await;
    server.watched.fetched();
    let text = server.text("/v1/topics/t/surface").await;
    let fetched = server.watched.fetched();
    assert!(text.len() < 10 * MIB && fetched.largest < 6 * MIB, "{} {fetched:?}", text.len());
    let page: Value = serde_json::from_str(&text).expect("JSON");
    let last = page["events"].as_array().and_then(|events| events.last()).expect("events");
    assert_eq!(page["next"], last["key"]);
}

#[tokio::test]
async fn a_stream_of_a_surface_is_one_surface_however_long_it_takes() {
    let server = Server::start().await;
    let data = |n: usize| format!("\"{n:05}{}\"", "x".repeat(256 << 10));
    let key = |n: usize| format!("k{n:03}");
    let seeded = (0..200).map(|n| write([content(&key(n), &data(n))]));
    let book = server.seed("t", seeded).await;
    let expected = values(&model::surface(&book, 199));
    let mut answer = crate::server::sent(server.lines("/v1/topics/t/surface")).await;
    let mut text = answer.chunk().await.expect("it begins").expect("it has data").to_vec();
    assert!(server.watched.events_so_far() < 200, "there is more to come");
    // Another writer changes the last key, and invalidates its event, while the stream is read.
    for (path, body) in [
        ("/v1/topics/t/events", format!("{{\"key\":\"{}\",\"data\":1}}", key(199))),
        ("/v1/topics/t/transactions/198/invalidation", "{}".to_owned()),
    ] {
        let request = server.request(reqwest::Method::POST, path).body(body);
        let done = crate::server::sent(request.header("Content-Type", "application/json")).await;
        assert_eq!(done.status(), 201);
    }
    while let Some(chunk) = answer.chunk().await.expect("it goes on") {
        text.extend_from_slice(&chunk);
    }
    let text = String::from_utf8(text).expect("UTF-8");
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    let found: Vec<Value> = lines.map(|line| line["seq"].clone()).collect();
    let seqs: Vec<Value> = expected.iter().map(|event| event["seq"].clone()).collect();
    assert_eq!(found, seqs);
}
