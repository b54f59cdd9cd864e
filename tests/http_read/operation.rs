//! The list of topics, and what operators ask: health, version, metrics. And HEAD of everything.

use reqwest::Method;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tidelog::config::{Access, Config, Token, TopicPattern};

use crate::make::{content, write};
use crate::server::{Server, sent};

#[tokio::test]
async fn a_token_pages_through_exactly_the_topics_that_it_may_read() {
    let token = |name: &str, topics: Vec<TopicPattern>| Token {
        name: name.into(),
        sha256: Sha256::digest(name).into(),
        topics,
        access: Access::Read,
    };
    let some = [TopicPattern::Prefix("m.".into()), TopicPattern::Prefix("z".into())];
    let none = [TopicPattern::Prefix("nothing".into())];
    let tokens = vec![token("some", some.into()), token("none", none.into())];
    let server = Server::with(Config { tokens, ..Config::default() }).await;
    let mut names = Vec::new();
    for prefix in ["a", "m.", "n", "z"] {
        names.extend((0..7).map(|n| format!("{prefix}{n}")));
    }
    for name in &names {
        server.seed(name, [write([content("k", "1"), content("l", "1")])]).await;
    }
    let allowed: Vec<&String> =
        names.iter().filter(|name| name.starts_with("m.") || name.starts_with('z')).collect();
    for limit in 1..=allowed.len() + 1 {
        let (mut found, mut after) = (Vec::new(), String::new());
        loop {
            let path = format!("/v1/topics?limit={limit}&after={after}");
            let page: Value =
                sent(server.get(&path).bearer_auth("some")).await.json().await.unwrap();
            let topics = page["topics"].as_array().expect("topics");
            assert!(topics.len() <= limit && !topics.is_empty(), "{path}: {page}");
            found.extend(topics.iter().cloned());
            let Some(next) = page["next"].as_str() else { break };
            assert_eq!(topics[topics.len() - 1]["topic"], next);
            after = next.to_owned();
        }
        let head = json!({"seq": 1, "transaction": 0});
        let expected = allowed.iter().map(|n| json!({"topic": n, "head": head, "events": 2}));
        assert_eq!(found, expected.collect::<Vec<_>>(), "by {limit}");
    }
    let nothing = sent(server.get("/v1/topics").bearer_auth("none")).await.text().await;
    assert_eq!(nothing.expect("a body"), r#"{"topics":[],"next":null}"#);
}

#[tokio::test]
async fn health_and_version_are_told() {
    let server = Server::start().await;
    let version = json!({
        "name": "tidelog",
        "version": env!("CARGO_PKG_VERSION"),
        "rust": env!("CARGO_PKG_RUST_VERSION"),
        "api": "v1",
    });
    assert_eq!(server.read("/version").await, version);
    assert_eq!(server.read("/health/ready").await, json!({"status": "ready"}));
    server.watched.be_away(true);
    server.problem(server.get("/health/ready"), 503, "unavailable").await;
    assert_eq!(server.read("/health/live").await, json!({"status": "live"}));
    server.watched.be_away(false);
    assert_eq!(server.read("/health/ready").await, json!({"status": "ready"}));
    server.app.draining.cancel();
    server.problem(server.get("/health/ready"), 503, "shutting-down").await;
    assert_eq!(server.read("/health/live").await, json!({"status": "live"}));
    assert_eq!(sent(server.get("/v1/topics")).await.status(), 200, "reads go on");
}

#[tokio::test]
async fn head_is_get_without_a_body() {
    let server = Server::start().await;
    server.seed("t", [write([content("k", "1")])]).await;
    for path in [
        "/v1/topics",
        "/v1/topics/t",
        "/v1/topics/t/events",
        "/v1/topics/t/transactions/0",
        "/v1/topics/t/latest?key=k",
        "/v1/topics/t/surface",
        "/metrics",
        "/health/live",
        "/health/ready",
        "/version",
        "/v1/topics/missing",
        "/v1/topics/t/events?x=1",
        "/nowhere",
    ] {
        let get = sent(server.get(path)).await;
        let head = sent(server.request(Method::HEAD, path)).await;
        assert_eq!(head.status(), get.status(), "{path}");
        for name in ["content-type", "etag"] {
            assert_eq!(head.headers().get(name), get.headers().get(name), "{name} of {path}");
        }
        assert_eq!(head.bytes().await.expect("an end").len(), 0, "{path}");
    }
}

#[tokio::test]
async fn heads_are_entity_tags() {
    let server = Server::start().await;
    server.seed("t", [write([content("k", "1")]), write([content("k", "2")])]).await;
    for path in ["/v1/topics/t", "/v1/topics/t/events", "/v1/topics/t/events?from=7"] {
        assert_eq!(sent(server.get(path)).await.headers()["etag"], "\"1\"", "{path}");
    }
}
