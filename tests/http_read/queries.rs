//! What a read may not ask: each error is `malformed` and names the parameter.

use crate::make::{content, write};
use crate::server::Server;

#[tokio::test]
async fn a_wrong_parameter_is_malformed_and_named() {
    let server = Server::start().await;
    server.seed("t", [write([content("k", "1")])]).await;
    let wrong = [
        ("/v1/topics", "wait", "1"),
        ("/v1/topics", "limit", "0"),
        ("/v1/topics", "limit", "10001"),
        ("/v1/topics", "limit", "+1"),
        ("/v1/topics", "prefix", "%ff"),
        ("/v1/topics", "prefix", "%c0%80"),
        ("/v1/topics", "after", "%ed%a0%80"),
        ("/v1/topics/t", "limit", "1"),
        ("/v1/topics/t/events", "wait", "61"),
        ("/v1/topics/t/events", "wait", "0.5"),
        ("/v1/topics/t/events", "follow", ""),
        ("/v1/topics/t/events", "follow", "yes"),
        ("/v1/topics/t/events", "limit", "1&follow=true"),
        ("/v1/topics/t/events", "wait", "1&follow=true"),
        ("/v1/topics/t/events", "wait", "1&direction=backward"),
        ("/v1/notifications", "topic", "t"),
        ("/v1/topics/t/events", "From", "0"),
        ("/v1/topics/t/events", "from", ""),
        ("/v1/topics/t/events", "from", "-1"),
        ("/v1/topics/t/events", "from", "1.0"),
        ("/v1/topics/t/events", "from", "%2B1"),
        ("/v1/topics/t/events", "from", "9007199254740992"),
        ("/v1/topics/t/events", "to", "18446744073709551616"),
        ("/v1/topics/t/events", "limit", "1e3"),
        ("/v1/topics/t/events", "direction", "Forward"),
        ("/v1/topics/t/events", "direction", ""),
        ("/v1/topics/t/events", "key", ""),
        ("/v1/topics/t/events", "key", "%00"),
        ("/v1/topics/t/events", "key", "100%"),
        ("/v1/topics/t/events", "key", "%zz"),
        ("/v1/topics/t/events", "key", "%4"),
        ("/v1/topics/t/transactions/0", "limit", "1"),
        ("/v1/topics/t/latest", "prefix", "a"),
        ("/v1/topics/t/latest", "key", ""),
        ("/v1/topics/t/surface", "as_of", "x"),
        ("/v1/topics/t/surface", "as_of", ""),
        ("/v1/topics/t/surface", "from", "1"),
        ("/v1/topics/t/surface", "after", "%g0"),
    ];
    for (path, name, value) in wrong {
        let request = server.get(&format!("{path}?{name}={value}"));
        let problem = server.problem(request, 400, "malformed").await;
        let detail = problem["detail"].as_str().expect("a detail");
        assert!(detail.contains(name), "{path}?{name}={value}: {detail}");
    }
    for (name, value) in [("direction", "backward"), ("limit", "5"), ("wait", "5")] {
        let request = server.get(&format!("/v1/topics/t/events?{name}={value}"));
        let request = request.header("Accept", "text/event-stream");
        let problem = server.problem(request, 400, "malformed").await;
        assert!(problem["detail"].as_str().is_some_and(|text| text.contains(name)), "{problem}");
    }
    for id in ["-1", "x", "1.5", "9007199254740992"] {
        let request = server.get("/v1/topics/t/events").header("Accept", "text/event-stream");
        let request = request.header("Last-Event-ID", id);
        let problem = server.problem(request, 400, "malformed").await;
        assert!(problem["detail"].as_str().is_some_and(|text| text.contains("Last-Event-ID")));
    }
    let long = format!("/v1/topics/t/latest?key={}", "x".repeat(1025));
    for path in [&*long, "/v1/topics/t/latest", "/v1/topics/t/events?key=a&key=a"] {
        let problem = server.problem(server.get(path), 400, "malformed").await;
        assert!(problem["detail"].as_str().is_some_and(|text| text.contains("key")), "{problem}");
    }
    let twice = server.get("/v1/topics?limit=1&%6cimit=1");
    let problem = server.problem(twice, 400, "malformed").await;
    assert!(problem["detail"].as_str().is_some_and(|text| text.contains("limit")), "{problem}");
}

#[tokio::test]
async fn there_is_json_and_for_what_can_be_long_lines() {
    let server = Server::start().await;
    server.seed("t", [write([content("k", "1")])]).await;
    for path in ["/events", "/surface"] {
        for (accept, media) in [
            ("", "application/json"),
            ("*/*", "application/json"),
            ("application/x-ndjson;q=0.2, */*;q=0.1", "application/x-ndjson"),
            ("text/css, application/*;q=0.1", "application/json"),
            ("application/json;Q=0.1, application/x-ndjson; q=0.2", "application/x-ndjson"),
        ] {
            let request = server.get(&format!("/v1/topics/t{path}")).header("Accept", accept);
            let answer = crate::server::sent(request).await;
            let found = answer.headers().get("content-type").and_then(|t| t.to_str().ok());
            assert_eq!((answer.status().as_u16(), found), (200, Some(media)), "{accept:?}");
        }
        for accept in ["text/css", "text/html", "application/x-ndjson;q=0"] {
            let request = server.get(&format!("/v1/topics/t{path}")).header("Accept", accept);
            server.problem(request, 406, "not-acceptable").await;
        }
        for accept in ["*/*;q=nan", "*/*;q=2", "*/*;q=-1", "*/*;q=inf", "*/*;q="] {
            let request = server.get(&format!("/v1/topics/t{path}")).header("Accept", accept);
            server.problem(request, 400, "malformed").await;
        }
    }
    for path in ["/v1/topics", "/v1/topics/t", "/v1/topics/t/latest?key=k", "/v1/notifications"] {
        let request = server.lines(path);
        server.problem(request, 406, "not-acceptable").await;
    }
    let streams = [
        ("/v1/topics/t/events?follow=true", "", "application/x-ndjson"),
        ("/v1/topics/t/events?follow=true", "*/*", "application/x-ndjson"),
        ("/v1/topics/t/events?follow=true", "text/*, */*;q=0.5", "text/event-stream"),
        ("/v1/topics/t/events", "text/event-stream", "text/event-stream"),
        ("/v1/notifications", "", "text/event-stream"),
    ];
    for (path, accept, media) in streams {
        // Without a body, so that there is an end.
        let request = server.request(reqwest::Method::HEAD, path).header("Accept", accept);
        let answer = crate::server::sent(request).await;
        let found = answer.headers().get("content-type").and_then(|t| t.to_str().ok());
        assert_eq!((answer.status().as_u16(), found), (200, Some(media)), "{path} {accept:?}");
        assert_eq!(answer.headers()["cache-control"], "no-store");
        assert_eq!(answer.text().await.expect("an end"), "");
    }
    let request = server.get("/v1/topics/t/events?follow=true");
    server.problem(request.header("Accept", "application/json"), 406, "not-acceptable").await;
    let request = server.get("/v1/topics/t/events?follow=false");
    server.problem(request.header("Accept", "text/event-stream"), 406, "not-acceptable").await;
}

#[tokio::test]
async fn what_is_not_there_is_said_exactly() {
    let server = Server::start().await;
    server.seed("t", [write([content("k", "1")])]).await;
    for path in ["", "/events", "/events?key=k", "/surface", "/latest?key=k", "/transactions/0"] {
        let request = server.get(&format!("/v1/topics/missing{path}"));
        server.problem(request, 404, "topic-not-found").await;
    }
    for path in ["/transactions/1", "/transactions/9007199254740991", "/surface?as_of=1"] {
        let request = server.get(&format!("/v1/topics/t{path}"));
        server.problem(request, 404, "transaction-not-found").await;
    }
    for path in ["/transactions/x", "/transactions/-1", "/transactions/9007199254740992"] {
        let request = server.get(&format!("/v1/topics/t{path}"));
        server.problem(request, 400, "malformed").await;
    }
    server.problem(server.get("/v1/topics/t/nothing"), 404, "not-found").await;
}
