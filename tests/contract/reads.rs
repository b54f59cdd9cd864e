//! Reads: pages, streams, histories, surfaces, topics.

use std::collections::BTreeMap;

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::*;

on_every_backend!(
    pages_give_everything_once_and_never_split_a_transaction,
    a_stretch_is_what_was_asked_for,
    histories,
    surfaces,
    topics_are_listed_in_byte_order,
    keys_and_data_of_all_kinds_come_back_as_they_were,
    head_requests_have_no_body,
);

fn events(value: &Value) -> Vec<Value> {
    value["events"].as_array().expect("events").clone()
}

fn seqs(events: &[Value]) -> Vec<u64> {
    events.iter().map(|event| event["seq"].as_u64().expect("a seq")).collect()
}

/// Ten transactions of 1, 2, 3, 4, 1, 2, … events over five keys.
async fn ten_transactions(server: &Server) -> u64 {
    let mut events = 0;
    for n in 0..10_u64 {
        let group: Vec<Value> = (0..n % 4 + 1)
            .map(|m| json!({"key": format!("k{}", (n + m) % 5), "data": [n, m]}))
            .collect();
        events += group.len() as u64;
        let body = json!({"events": group}).to_string();
        let answer = server.json("/v1/topics/t/transactions", &body).send().await;
        assert_eq!(answer.expect("an answer").status(), 201);
    }
    events
}

async fn pages_give_everything_once_and_never_split_a_transaction(backend: &Backend) {
    let server = Server::start(backend.config()).await;
    let count = ten_transactions(&server).await;
    for direction in ["forward", "backward"] {
        for limit in 1..=count + 1 {
            let mut all: Vec<Value> = Vec::new();
            let mut at = String::new();
            loop {
                let path = format!("/v1/topics/t/events?limit={limit}&direction={direction}{at}");
                let page = server.read(&path).await;
                let found = events(&page);
                let begin = if direction == "forward" { found.last() } else { found.first() };
                assert_eq!(begin.expect("a page has events")["last"], true, "{path}");
                all.extend(found);
                let Some(next) = page["next"].as_u64() else { break };
                at = format!("&{}={next}", if direction == "forward" { "from" } else { "to" });
            }
            let mut seqs = seqs(&all);
            if direction == "backward" {
                seqs.reverse();
            }
            assert_eq!(seqs, (0..count).collect::<Vec<u64>>(), "{direction} by {limit}");
        }
    }
    let lines = server.read_lines("/v1/topics/t/events").await;
    assert_eq!(lines, events(&server.read("/v1/topics/t/events").await));
    for n in 0..10 {
        let found = server.read(&format!("/v1/topics/t/transactions/{n}")).await;
        let own = lines.iter().filter(|event| event["transaction"] == n).cloned();
        assert_eq!(found, json!({"transaction": n, "events": own.collect::<Vec<Value>>()}));
    }
}

async fn a_stretch_is_what_was_asked_for(backend: &Backend) {
    let server = Server::start(backend.config()).await;
    let count = ten_transactions(&server).await;
    let read = async |query: &str| {
        seqs(&events(&server.read(&format!("/v1/topics/t/events?{query}")).await))
    };
    assert_eq!(read("from=3&to=5").await, [3, 4, 5]);
    assert_eq!(read("from=3&to=5&direction=backward").await, [5, 4, 3]);
    assert_eq!(read("from=5&to=3").await, [0; 0]);
    assert_eq!(read(&format!("from={}", count - 1)).await, [count - 1]);
    let beyond = server.read(&format!("/v1/topics/t/events?from={count}")).await;
    let head = json!({"seq": count - 1, "transaction": 9});
    assert_eq!(beyond, json!({"events": [], "next": null, "head": head}));
}

async fn histories(backend: &Backend) {
    let server = Server::start(backend.config()).await;
    ten_transactions(&server).await;
    let all = server.read_lines("/v1/topics/t/events").await;
    let own: Vec<Value> = all.iter().filter(|event| event["key"] == "k3").cloned().collect();
    assert_eq!(events(&server.read("/v1/topics/t/events?key=k3").await), own);
    assert_eq!(server.read_lines("/v1/topics/t/events?key=k3").await, own);
    let backward = server.read("/v1/topics/t/events?key=k3&direction=backward&limit=2").await;
    let newest: Vec<Value> = own.iter().rev().take(2).cloned().collect();
    assert_eq!(events(&backward), newest);
    assert_eq!(backward["next"], own[own.len() - 3]["seq"]);
    assert_eq!(events(&server.read("/v1/topics/t/events?key=none").await), [] as [Value; 0]);
}

async fn surfaces(backend: &Backend) {
    let server = Server::start(backend.config()).await;
    ten_transactions(&server).await;
    let path = "/v1/topics/t/transactions/7/invalidation";
    let done = server.request(Method::POST, path).send().await.expect("an answer");
    assert_eq!(done.status(), 201);
    let all = server.read_lines("/v1/topics/t/events").await;
    for at in 0..=10_u64 {
        let mut surface = BTreeMap::new();
        for event in all.iter().filter(|event| event["transaction"].as_u64() <= Some(at)) {
            let stands = at < 10 || event["transaction"] != 7;
            if let (Some(key), true) = (event["key"].as_str(), stands) {
                surface.insert(key.to_owned(), event.clone());
            }
        }
        let expected: Vec<Value> = surface.into_values().collect();
        let as_of = format!("/v1/topics/t/surface?as_of={at}");
        assert_eq!(events(&server.read(&as_of).await), expected, "as of {at}");
        assert_eq!(server.read_lines(&as_of).await, expected, "as of {at}");
        if at == 10 {
            let now = server.read("/v1/topics/t/surface").await;
            assert_eq!(now, json!({"events": expected, "next": null}));
            for event in &expected {
                let key = event["key"].as_str().expect("a key");
                let latest = server.read(&format!("/v1/topics/t/latest?key={key}")).await;
                assert_eq!(latest, *event);
            }
        }
    }
    let page = server.read("/v1/topics/t/surface?limit=2&after=k0").await;
    let keys: Vec<&Value> =
        page["events"].as_array().expect("events").iter().map(|e| &e["key"]).collect();
    assert_eq!((keys, &page["next"]), (vec![&json!("k1"), &json!("k2")], &json!("k2")));
    assert_eq!(events(&server.read("/v1/topics/t/surface?prefix=k4").await).len(), 1);
    assert_eq!(events(&server.read("/v1/topics/t/surface?prefix=x").await).len(), 0);
}

async fn topics_are_listed_in_byte_order(backend: &Backend) {
    let server = Server::start(backend.config()).await;
    for topic in ["b", "a", "B", "a-1", "a.1", "~", "z:9"] {
        server.write(topic, "k", "1").await;
    }
    let list = async |query: &str| {
        let found = server.read(&format!("/v1/topics{query}")).await;
        let names = found["topics"].as_array().expect("topics").iter();
        let names = names.map(|topic| topic["topic"].as_str().expect("a name").to_owned());
        (names.collect::<Vec<String>>(), found["next"].clone())
    };
    assert_eq!(list("").await.0, ["B", "a", "a-1", "a.1", "b", "z:9", "~"]);
    assert_eq!(list("?prefix=a").await.0, ["a", "a-1", "a.1"]);
    let (names, next) = list("?limit=3&after=a").await;
    assert_eq!((names.join(" "), next), ("a-1 a.1 b".into(), json!("b")));
    assert_eq!(list("?after=b&limit=2").await.1, json!(null));
    let one = server.read("/v1/topics/a").await;
    let head = json!({"seq": 0, "transaction": 0});
    assert_eq!(one, json!({"topic": "a", "head": head, "events": 1}));
}

async fn keys_and_data_of_all_kinds_come_back_as_they_were(backend: &Backend) {
    let server = Server::start(backend.config()).await;
    let long = "é".repeat(512);
    let keys = [
        "/",
        "a/b",
        "%",
        "%2F",
        "'; DROP TABLE event; --",
        "\"",
        "\\",
        "\u{1}\n\t",
        "🦀",
        "e\u{301}",
        "\u{e9}",
        "_",
        "%_%",
        "$1",
        "\u{10ffff}",
        "\u{feff}",
        long.as_str(),
    ];
    for (n, key) in keys.iter().enumerate() {
        assert_eq!(server.write("t", key, "1").await["seq"], n);
    }
    let mut sorted = keys.to_vec();
    sorted.sort_unstable();
    let surface = events(&server.read("/v1/topics/t/surface").await);
    let found: Vec<&str> =
        surface.iter().map(|event| event["key"].as_str().expect("a key")).collect();
    assert_eq!(found, sorted, "in byte order");
    for (n, key) in keys.iter().enumerate() {
        for (path, name) in [("latest", "key"), ("events", "key"), ("surface", "prefix")] {
            let request = server.get(&format!("/v1/topics/t/{path}"));
            let url = reqwest::Url::parse_with_params("http://x", &[(name, key)]).expect("a URL");
            let query = url.query().expect("a query").to_owned();
            drop(request);
            let found = server.read(&format!("/v1/topics/t/{path}?{query}")).await;
            let found = if path == "latest" { vec![found] } else { events(&found) };
            assert!(found.iter().any(|event| event["seq"] == n), "{path} of {key:?}");
        }
    }
    let big = format!("\"{}\"", "x".repeat(1 << 20));
    let nested = format!("{}{}", "[".repeat(128), "]".repeat(128));
    for data in [
        "null",
        "\"\\u0000\"",
        "\"\\ud83d\"",
        "123456789012345678901234567890",
        "1e400",
        "-0",
        "{ \"b\" : 1,\t\"a\":[ ] , \"b\":2 }",
        big.as_str(),
        nested.as_str(),
    ] {
        server.write("d", "k", data).await;
        let text = server.get("/v1/topics/d/latest?key=k").send().await.expect("an answer");
        let text = text.text().await.expect("a body");
        assert!(text.contains(&format!("\"data\":{data},")), "{}", &text[..text.len().min(300)]);
    }
    let binary = r#"{"key":"b","data_base64":"AAH/","content_type":"image/png"}"#;
    let answer = server.json("/v1/topics/d/events", binary).send().await.expect("an answer");
    assert_eq!(answer.status(), 201);
    let read = server.read("/v1/topics/d/latest?key=b").await;
    assert_eq!(
        (&read["data_base64"], &read["content_type"]),
        (&json!("AAH/"), &json!("image/png"))
    );
}

async fn head_requests_have_no_body(backend: &Backend) {
    let server = Server::start(backend.config()).await;
    server.write("t", "k", "1").await;
    for path in [
        "/v1/topics",
        "/v1/topics/t",
        "/v1/topics/t/events",
        "/v1/topics/t/surface",
        "/health/ready",
    ] {
        let answer = server.request(Method::HEAD, path).send().await.expect("an answer");
        assert_eq!(answer.status(), 200, "{path}");
        assert_eq!(answer.bytes().await.expect("an end").len(), 0, "{path}");
    }
    let missing = server.request(Method::HEAD, "/v1/topics/missing").send().await;
    assert_eq!(missing.expect("an answer").status(), 404);
}
