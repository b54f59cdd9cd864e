//! Who may see what: tokens, their patterns, and what a caller without rights can learn.

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tidelog::config::{Access, Config, Token, TopicPattern};
use tidelog::domain::TopicName;

use crate::support::*;

on_every_backend!(
    topics_that_a_token_may_not_read_are_not_listed,
    every_path_asks_for_a_token_and_its_rights,
    credentials_are_taken_as_the_schemes_say,
    a_rate_is_for_each_token,
    without_tokens_a_page_of_another_site_does_nothing,
);

fn exactly(name: &str) -> TopicPattern {
    TopicPattern::Exact(TopicName::parse(name).expect("a name"))
}

fn token(name: &str, topics: Vec<TopicPattern>, access: Access) -> Token {
    Token { name: name.into(), sha256: Sha256::digest(name).into(), topics, access }
}

/// One that may do everything, one for `a` and `b.*`.
async fn service(backend: &Backend) -> Server {
    let all = vec![TopicPattern::Prefix(String::new())];
    let some = vec![exactly("a"), TopicPattern::Prefix("b.".into())];
    let tokens = vec![token("all", all, Access::Write), token("some", some, Access::Read)];
    let server = Server::start(Config { tokens, ..backend.config() }).await;
    for topic in ["a", "aa", "b", "b.1", "b.2", "c"] {
        let request = server.json(&format!("/v1/topics/{topic}/events"), r#"{"key":"k","data":1}"#);
        let answer = request.bearer_auth("all").send().await.expect("an answer");
        assert_eq!(answer.status(), 201, "{topic}");
    }
    server
}

async fn topics_that_a_token_may_not_read_are_not_listed(backend: &Backend) {
    let server = service(backend).await;
    let list = async |query: &str| {
        let request = server.get(&format!("/v1/topics{query}")).bearer_auth("some");
        let answer = request.send().await.expect("an answer");
        let listed: Value = answer.json().await.expect("JSON");
        let topics = listed["topics"].as_array().expect("topics").iter();
        let names = topics.map(|topic| topic["topic"].as_str().expect("a name").to_owned());
        (names.collect::<Vec<String>>(), listed["next"].clone())
    };
    assert_eq!(list("").await, (vec!["a".into(), "b.1".into(), "b.2".into()], json!(null)));
    // Pages are full, and their ends tell nothing of what is between.
    assert_eq!(list("?limit=1").await, (vec!["a".into()], json!("a")));
    assert_eq!(list("?limit=2").await, (vec!["a".into(), "b.1".into()], json!("b.1")));
    assert_eq!(list("?limit=2&after=b.1").await, (vec!["b.2".into()], json!(null)));
    assert_eq!(list("?prefix=c").await, (vec![], json!(null)));
}

async fn every_path_asks_for_a_token_and_its_rights(backend: &Backend) {
    let server = service(backend).await;
    let reads = ["", "/events", "/surface", "/latest?key=k", "/transactions/0"];
    let writes = ["/events", "/transactions", "/transactions/0/invalidation"];
    for (topic, may_read) in [("a", true), ("aa", false), ("b.1", true), ("b", false)] {
        // What is forbidden is the same whether the topic exists or not.
        for topic in [topic, if may_read { "b.none" } else { "none" }] {
            let path = |rest: &str| format!("/v1/topics/{topic}{rest}");
            for rest in reads {
                problem(server.get(&path(rest)), expect(401, "unauthenticated")).await;
                let read = server.get(&path(rest)).bearer_auth("some");
                let status = read.send().await.expect("an answer").status();
                assert_eq!(status == 403, !may_read, "{topic}{rest}: {status}");
            }
            for rest in writes {
                let write = || server.json(&path(rest), "{}");
                problem(write(), expect(401, "unauthenticated")).await;
                problem(write().bearer_auth("some"), expect(403, "forbidden")).await;
            }
        }
    }
    for path in ["/v1/topics", "/metrics"] {
        problem(server.get(path), expect(401, "unauthenticated")).await;
    }
    for path in ["/health/live", "/health/ready", "/version"] {
        assert_eq!(server.get(path).send().await.expect("an answer").status(), 200, "{path}");
    }
}

async fn credentials_are_taken_as_the_schemes_say(backend: &Backend) {
    let server = service(backend).await;
    let with = |value: &str| server.get("/v1/topics").header("Authorization", value);
    let status = async |request: RequestBuilder| request.send().await.expect("an answer").status();
    // In Base64: user:all, :all, user:with:colon:all, all.
    for value in ["Bearer all", "bearer all", "BEARER  all", "Basic dXNlcjphbGw=", "basic OmFsbA=="]
    {
        assert_eq!(status(with(value)).await, 200, "{value}");
    }
    for value in [
        "",
        "Bearer",
        "Bearer ",
        "all",
        "Bearer all all",
        "Bearer ALL",
        "Basic YWxs",
        "Basic ???",
        "Basic dXNlcjp3aXRoOmNvbG9uOmFsbA==",
        "Token all",
    ] {
        problem(with(value), expect(401, "unauthenticated")).await;
    }
    // Two credentials are none: proxies do not agree on which counts.
    let twice = with("Bearer all").header("Authorization", "Bearer some");
    problem(twice, expect(401, "unauthenticated")).await;
    problem(server.get("/v1/topics?token=all"), expect(401, "unauthenticated")).await;
    let told = problem(with("Bearer secret-token"), expect(401, "unauthenticated")).await;
    assert!(!told.to_string().contains("secret-token"), "{told}");
    let head = server.request(Method::HEAD, "/v1/topics/a");
    assert_eq!(status(head).await, 401);
}

async fn a_rate_is_for_each_token(backend: &Backend) {
    let any = || vec![TopicPattern::Prefix(String::new())];
    let tokens = vec![token("one", any(), Access::Read), token("other", any(), Access::Read)];
    let few = std::num::NonZeroU32::new(3);
    let slow = std::num::NonZeroU32::new(1);
    let config = Config { tokens, rate_limit: slow, rate_burst: few, ..backend.config() };
    let server = Server::start(config).await;
    let ask = |token: &str| server.get("/v1/topics").bearer_auth(token).send();
    let answers = futures::future::join_all((0..8).map(|_| ask("one"))).await;
    let mut limited = 0;
    for answer in answers {
        let answer = answer.expect("an answer");
        if answer.status() == 429 {
            limited += 1;
            let wait = answer.headers()["retry-after"].to_str().expect("ASCII");
            assert!((1..=3).contains(&wait.parse::<u64>().expect("seconds")), "{wait}");
        }
    }
    assert!((4..=5).contains(&limited), "3 at once, and maybe one that a second has given");
    assert_eq!(ask("other").await.expect("an answer").status(), 200);
    // Health is not counted: a probe must not be refused.
    for _ in 0..10 {
        let live = server.get("/health/live").send().await.expect("an answer");
        assert_eq!(live.status(), 200);
    }
}

/// A form of another site needs no permission to be sent, and so must not be obeyed.
async fn without_tokens_a_page_of_another_site_does_nothing(backend: &Backend) {
    let server = Server::start(backend.config()).await;
    server.write("a", "k", "1").await;
    let path = "/v1/topics/a/transactions/0/invalidation";
    let form = || server.request(Method::POST, path);
    for (name, value) in [
        ("Origin", "http://evil.example"),
        ("Origin", "null"),
        ("Sec-Fetch-Site", "cross-site"),
        ("Host", "evil.example"),
    ] {
        problem(form().header(name, value), expect(403, "forbidden")).await;
        problem(server.get("/v1/topics").header(name, value), expect(403, "forbidden")).await;
        problem(server.get("/metrics").header(name, value), expect(403, "forbidden")).await;
    }
    let own = form().header("Origin", format!("http://{}", server.address));
    assert_eq!(own.send().await.expect("an answer").status(), 201, "it still stood");
    // A probe may use any name.
    let probe = server.get("/health/live").header("Host", "tidelog.example");
    assert_eq!(probe.send().await.expect("an answer").status(), 200);
    drop(server);

    let insecure = Server::start(Config { insecure: true, ..backend.config() }).await;
    let named = |path: &str| insecure.get(path).header("Host", "tidelog.example");
    assert_eq!(named("/v1/topics").send().await.expect("an answer").status(), 200);
    let page = named("/v1/topics").header("Origin", "http://evil.example");
    problem(page, expect(403, "forbidden")).await;
}
