//! Pages of surfaces and topics at every limit, large transactions and events, and reads beside
//! writes.

use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use crate::support::*;

const TRANSACTIONS: &str = "/v1/topics/t/transactions";

on_every_backend!(
    surfaces_and_topics_give_everything_once_at_every_limit,
    a_page_runs_over_its_limit_to_close_a_large_transaction,
    pages_end_by_their_bytes,
    readers_see_whole_transactions_and_their_own_writes,
    what_is_deeper_than_128_levels_is_refused,
    query_parameters_are_known_once_and_by_name,
    data_is_kept_byte_for_byte,
);

fn array<'a>(page: &'a Value, name: &str) -> &'a [Value] {
    page[name].as_array().expect("an array")
}

/// The value, as part of a query.
fn escaped(value: &str) -> String {
    value.bytes().map(|byte| format!("%{byte:02x}")).collect()
}

/// All of a list, page by page: what `name` of the items is.
async fn walked(server: &Server, path: &str, list: &str, name: &str, limit: usize) -> Vec<String> {
    let mut all = Vec::new();
    let mut after = String::new();
    loop {
        let page = server.read(&format!("{path}limit={limit}{after}")).await;
        let items = array(&page, list);
        assert!(items.len() <= limit, "{path} {limit}");
        all.extend(items.iter().map(|item| item[name].as_str().expect("a text").to_owned()));
        let Some(next) = page["next"].as_str() else { return all };
        assert_eq!((items.len(), next), (limit, all.last().expect("a page").as_str()));
        after = format!("&after={}", escaped(next));
    }
}

async fn surfaces_and_topics_give_everything_once_at_every_limit(backend: &Backend) {
    let server = Server::start(backend.config()).await;
    let mut keys =
        ["a", "a/", "a/b", "a/b/c", "a0", "b", "A", "é", "a/\u{10ffff}", "a/\u{1}", "+", "&"];
    for key in keys {
        server.write("t", key, "1").await;
    }
    keys.sort_unstable();
    let begun: Vec<&str> = keys.into_iter().filter(|key| key.starts_with("a/")).collect();
    let mut topics = ["x", "x-1", "x.1", "x:1", "x_1", "x~1", "X", "x1"];
    for topic in topics {
        server.write(topic, "k", "1").await;
    }
    topics.sort_unstable();
    for limit in 1..=13 {
        let path = "/v1/topics/t/surface?";
        assert_eq!(walked(&server, path, "events", "key", limit).await, keys, "{limit}");
        let path = "/v1/topics/t/surface?prefix=a%2f&";
        assert_eq!(walked(&server, path, "events", "key", limit).await, begun, "{limit}");
        let path = "/v1/topics?prefix=x&";
        let lower = &topics[1..];
        assert_eq!(walked(&server, path, "topics", "topic", limit).await, lower, "{limit}");
        let bounded = format!("/v1/topics/t/surface?limit={limit}");
        let lines = server.read_lines(&bounded).await;
        assert_eq!(lines, array(&server.read(&bounded).await, "events"), "NDJSON is the same");
    }
}

async fn a_page_runs_over_its_limit_to_close_a_large_transaction(backend: &Backend) {
    let server = Server::start(backend.config()).await;
    server.write("t", "first", "1").await;
    let group: Vec<Value> = (0..3000).map(|n| json!({"key": format!("k{n}"), "data": n})).collect();
    let body = json!({"events": group}).to_string();
    let answer = server.json(TRANSACTIONS, &body).send().await.expect("an answer");
    let written: Value = answer.json().await.expect("JSON");
    assert_eq!(array(&written, "events").len(), 3000);
    server.write("t", "last", "1").await;
    for (query, count, next) in [
        ("limit=1", 1, json!(1)),
        ("limit=2", 3001, json!(3001)),
        ("limit=1&from=1", 3000, json!(3001)),
        ("limit=1&from=2999", 2, json!(3001)),
        ("limit=3001", 3001, json!(3001)),
        ("limit=3002", 3002, json!(null)),
        ("limit=2&to=2000", 2001, json!(null)),
        ("limit=1&direction=backward", 1, json!(3000)),
        ("limit=2&direction=backward", 3001, json!(0)),
        ("limit=1&direction=backward&to=2", 2, json!(0)),
    ] {
        let path = format!("/v1/topics/t/events?{query}");
        let page = server.read(&path).await;
        assert_eq!((array(&page, "events").len(), &page["next"]), (count, &next), "{query}");
        let lines = server.read_lines(&path).await;
        assert_eq!(lines, array(&page, "events"), "NDJSON of {query}");
    }
    let one = server.read("/v1/topics/t/transactions/1").await;
    assert_eq!(array(&one, "events").len(), 3000);
    let invalidated = server.json("/v1/topics/t/transactions/1/invalidation", "").send().await;
    assert_eq!(invalidated.expect("an answer").status(), 201);
    let one = server.read("/v1/topics/t/transactions/1").await;
    assert_eq!(one["invalidated_by"], 3);
    assert!(array(&one, "events").iter().all(|event| event["invalidated_by"] == 3));
    let surface = server.read("/v1/topics/t/surface?limit=10000").await;
    assert_eq!(array(&surface, "events").len(), 2, "the first and the last");
    let surface = server.read("/v1/topics/t/surface?limit=10000&as_of=1").await;
    assert_eq!(array(&surface, "events").len(), 3001);
}

async fn pages_end_by_their_bytes(backend: &Backend) {
    let server = Server::start(backend.config()).await;
    for n in 0..12 {
        server.write("t", &format!("k{n}"), &format!("\"{}\"", "x".repeat(1 << 20))).await;
    }
    let mut seqs = Vec::new();
    let mut path = "/v1/topics/t/events".to_owned();
    loop {
        let page = server.read(&path).await;
        assert!(array(&page, "events").len() < 12, "a page ends at some 8 MiB");
        seqs.extend(array(&page, "events").iter().map(|event| event["seq"].as_u64()));
        let Some(next) = page["next"].as_u64() else { break };
        path = format!("/v1/topics/t/events?from={next}");
    }
    assert_eq!(seqs, (0..12).map(Some).collect::<Vec<_>>());
    assert_eq!(server.read_lines("/v1/topics/t/events").await.len(), 12);
    assert_eq!(server.read_lines("/v1/topics/t/surface").await.len(), 12);
}

async fn readers_see_whole_transactions_and_their_own_writes(backend: &Backend) {
    let server = Server::start(backend.config()).await;
    server.write("t", "begin", "1").await;
    let over = AtomicBool::new(false);
    let write = async {
        for n in 1..60_u64 {
            let group: Vec<Value> =
                (0..7).map(|m| json!({"key": format!("k{m}"), "data": n})).collect();
            let body = json!({"events": group}).to_string();
            let answer = server.json(TRANSACTIONS, &body).send().await.expect("an answer");
            let written: Value = answer.json().await.expect("JSON");
            assert_eq!(written["transaction"], n);
            let topic = server.read("/v1/topics/t").await;
            assert_eq!(topic["head"], written["head"], "what is acknowledged is there");
            let latest = server.read("/v1/topics/t/latest?key=k6").await;
            assert_eq!(latest["data"], n);
        }
        over.store(true, Ordering::Relaxed);
    };
    let read = async {
        while !over.load(Ordering::Relaxed) {
            let page = server.read("/v1/topics/t/events?direction=backward&limit=3").await;
            let newest = &array(&page, "events")[0];
            assert_eq!(newest["last"], true, "{page}");
            assert_eq!(newest["seq"], page["head"]["seq"]);
            let lines = server.read_lines("/v1/topics/t/events").await;
            assert_eq!(lines.last().expect("an event")["last"], true);
            let surface = server.read("/v1/topics/t/surface?prefix=k").await;
            let data: Vec<&Value> = array(&surface, "events").iter().map(|e| &e["data"]).collect();
            assert!(data.windows(2).all(|pair| pair[0] == pair[1]), "one surface: {data:?}");
        }
    };
    futures::join!(write, read);
}

async fn what_is_deeper_than_128_levels_is_refused(backend: &Backend) {
    let server = Server::start(backend.config()).await;
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        let nested = |n: usize| format!("{}1{}", open.repeat(n), close.repeat(n));
        for member in ["data", "metadata"] {
            let event = |n: usize| match member {
                "data" => format!("{{\"key\":\"k\",\"data\":{}}}", nested(n)),
                _ => format!("{{\"key\":\"k\",\"data\":{n},\"metadata\":{}}}", nested(n)),
            };
            let fine = server.json("/v1/topics/t/events", &event(128)).send().await;
            let status = fine.expect("an answer").status();
            assert_eq!(status, 201, "{member} {open}");
            for n in [129, 10_000] {
                let request = server.json("/v1/topics/t/events", &event(n));
                let told = problem(request, expect(422, "invalid")).await;
                assert_eq!(told["pointer"], format!("/{member}"), "{told}");
            }
        }
    }
}

async fn query_parameters_are_known_once_and_by_name(backend: &Backend) {
    let server = Server::start(backend.config()).await;
    server.write("t", "k", "1").await;
    for path in [
        "/v1/topics",
        "/v1/topics/t",
        "/v1/topics/t/events",
        "/v1/topics/t/transactions/0",
        "/v1/topics/t/latest?key=k",
        "/v1/topics/t/surface",
    ] {
        let and = if path.contains('?') { '&' } else { '?' };
        for query in ["x=1", "x", "Limit=1", "limit=1&limit=1", "%6cimit=1&limit=2", "key=%ff&key"]
        {
            problem(server.get(&format!("{path}{and}{query}")), expect(400, "malformed")).await;
        }
    }
    for path in ["/v1/topics/t/events", TRANSACTIONS, "/v1/topics/t/transactions/0/invalidation"] {
        let request = server.json(&format!("{path}?x=1"), r#"{"key":"k","data":2}"#);
        problem(request, expect(400, "malformed")).await;
    }
    assert_eq!(server.read("/v1/topics/t").await["events"], 1);
}

async fn data_is_kept_byte_for_byte(backend: &Backend) {
    let server = Server::start(backend.config()).await;
    for (n, data) in [
        "0.10",
        "1E+2",
        "1.7976931348623159e309",
        "\"\\/\\u0041\\u00e9\"",
        "\"\u{2028}\u{feff}\u{7f}\"",
        "\"\\ud800\\udc00\\udead\"",
        "[1 ,\t2]",
        "{\"\":0,\"\\u0000\":1,\"a\":1,\"a\":2}",
        "\"\"",
        "false",
    ]
    .iter()
    .enumerate()
    {
        assert_eq!(server.write("t", "k", data).await["seq"], n, "{data}");
        let path = format!("/v1/topics/t/events?from={n}&to={n}");
        let text = server.get(&path).send().await.expect("an answer").text().await.expect("text");
        assert!(text.contains(&format!("\"data\":{data},\"recorded_at\"")), "{data}: {text}");
        let digest = hex::encode(<sha2::Sha256 as sha2::Digest>::digest(data));
        assert!(text.contains(&format!("\"hash\":\"{digest}\"")), "{data}: {text}");
    }
}
