//! Streams of lines: equal to pages, no faster than they are taken, and honest when they break.

use rand::SeedableRng as _;
use rand::rngs::SmallRng;
use reqwest::Method;
use serde_json::Value;

use crate::make::{content, invalidate, write};
use crate::model::{self, commands, nasty_keys};
use crate::server::{Server, sent};
use crate::watched::SECRET;

#[tokio::test]
async fn lines_are_the_events_of_all_pages_in_http_1_and_2() {
    let mut server = Server::start().await;
    let random = &mut SmallRng::seed_from_u64(5);
    let book = server.seed("t", commands(random, 400, &nasty_keys())).await;
    let mut log = model::log(&book);
    let http2 = crate::plain::builder().http2_prior_knowledge().build().expect("a client");
    for client in [server.client.clone(), http2] {
        server.client = client;
        assert_eq!(server.read_lines("/v1/topics/t/events").await, log);
        let page = server.read("/v1/topics/t/events?limit=10000").await;
        assert_eq!(page["events"], Value::from(log.clone()));
        let stretch = server.read_lines("/v1/topics/t/events?from=17&to=201").await;
        assert_eq!(stretch, log[17..=201]);
        let backward = server.read_lines("/v1/topics/t/events?direction=backward").await;
        log.reverse();
        assert_eq!(backward, log);
        log.reverse();
        let surface: Vec<Value> = model::surface(&book, u64::MAX - 1).into_values().collect();
        assert_eq!(server.read_lines("/v1/topics/t/surface").await, surface);
        let few = server.read_lines("/v1/topics/t/events?limit=20").await;
        let page = server.read("/v1/topics/t/events?limit=20").await;
        assert_eq!(page["events"], Value::from(few), "with a limit, lines are one page");
    }
}

#[tokio::test]
async fn a_stream_fetches_no_faster_than_the_client_takes() {
    const EVENTS: usize = 400;
    let server = Server::start().await;
    let data = |n: usize| format!("\"{n:05}{}\"", "x".repeat(256 << 10));
    server.seed("t", (0..EVENTS).map(|n| write([content("k", &data(n))]))).await;
    let mut answer = sent(server.lines("/v1/topics/t/events")).await;
    let mut taken = answer.chunk().await.expect("it begins").expect("it has data").len();
    // The one worker answers all of these, so the stream has had its turns in between.
    let (mut quiet, mut before) = (0, 0);
    while quiet < 200 {
        server.text("/health/live").await;
        let now = server.watched.events_so_far();
        quiet = if now == before { quiet + 1 } else { 0 };
        before = now;
    }
    assert!(before < EVENTS / 2, "{before} of {EVENTS} events fetched for a client that waits");
    while let Some(chunk) = answer.chunk().await.expect("it goes on") {
        taken += chunk.len();
    }
    assert!(taken > EVENTS * (256 << 10), "all of it comes in the end");
    assert_eq!(server.watched.events_so_far(), EVENTS, "and nothing is fetched twice");
}

#[tokio::test]
async fn a_stream_that_breaks_ends_with_a_line_that_says_so() {
    let server = Server::start().await;
    server.seed("t", (0..500).map(|n| write([content(&format!("k{n:04}"), "1")]))).await;
    for path in ["/v1/topics/t/events", "/v1/topics/t/surface", "/v1/topics/t/events?key=k0001"] {
        server.watched.fail_after(usize::from(!path.contains("key=")));
        let answer = sent(server.lines(path)).await;
        let id = answer.headers()["x-request-id"].to_str().expect("ASCII").to_owned();
        let text = answer.text().await.expect("an end in order");
        server.watched.fail_after(usize::MAX);
        let (last, events) = {
            let lines: Vec<&str> = text.lines().collect();
            let (last, events) = lines.split_last().expect("a line");
            ((*last).to_owned(), events.len())
        };
        assert!(events == 16 || path.contains("key="), "{path}: {events} events before");
        let last: Value = serde_json::from_str(&last).expect("JSON");
        let error = &last["error"];
        assert_eq!(error["code"], "unavailable", "{path}: {last}");
        assert_eq!((&error["request_id"], &error["committed"]), (&id.into(), &"no".into()));
        assert!(text.ends_with("}}\n") && !text.contains(SECRET), "{text}");
    }
}

#[tokio::test]
async fn a_page_that_breaks_is_a_problem_and_says_nothing_of_the_store() {
    let server = Server::start().await;
    server.seed("t", (0..500).map(|n| write([content(&format!("k{n:04}"), "1")]))).await;
    let paths = [
        "/v1/topics/t/events",
        "/v1/topics/t/events?key=k0001",
        "/v1/topics/t/surface",
        "/v1/topics/t/latest?key=k0001",
    ];
    for path in paths {
        for good in 0..2 {
            let one_fetch = path.contains("key=");
            server.watched.fail_after(if one_fetch { 0 } else { good });
            let problem = server.problem(server.get(path), 503, "unavailable").await;
            assert!(!problem.to_string().contains(SECRET), "{problem}");
        }
    }
    server.watched.be_away(true);
    for path in ["/v1/topics", "/v1/topics/t", "/v1/topics/t/transactions/0"].iter().chain(&paths) {
        let problem = server.problem(server.get(path), 503, "unavailable").await;
        assert!(!problem.to_string().contains(SECRET), "{problem}");
    }
}

#[tokio::test]
async fn a_large_transaction_is_read_whole_or_visibly_cut() {
    let server = Server::start().await;
    let large = (0..3000).map(|n| content(&format!("k{n}"), "1"));
    let commands = [write(large), write([content("a", "1")]), invalidate(0)];
    let book = server.seed("t", commands).await;
    let log = model::log(&book);
    let found = server.read("/v1/topics/t/transactions/0").await;
    assert_eq!(found["events"], Value::from(&log[..3000]));
    assert_eq!((&found["transaction"], &found["invalidated_by"]), (&0.into(), &2.into()));
    assert_eq!(
        server.text("/v1/topics/t/transactions/2").await,
        r#"{"transaction":2,"events":[{"seq":3001,"transaction":2,"last":true,"invalidates":0,"reason":"wrong","recorded_at":"2027-01-15T08:00:00.123457Z"}]}"#
    );
    server.watched.fail_after(1);
    // The connection is cut, maybe before the client has seen the head of the answer.
    let whole = match server.get("/v1/topics/t/transactions/0").send().await {
        Ok(answer) => answer.text().await.is_ok(),
        Err(_) => false,
    };
    assert!(!whole, "nobody takes half a transaction for a whole one");
}

#[tokio::test]
async fn head_of_a_stream_fetches_no_events() {
    let server = Server::start().await;
    let large = (0..3000).map(|n| content(&format!("k{n}"), "1"));
    server.seed("t", [write(large)]).await;
    for path in ["/v1/topics/t/events", "/v1/topics/t/surface", "/v1/topics/t/transactions/0"] {
        server.watched.fetched();
        let media = if path.ends_with('0') { "application/json" } else { "application/x-ndjson" };
        let request = server.request(Method::HEAD, path).header("Accept", media);
        let answer = sent(request).await;
        assert_eq!(
            (answer.status().as_u16(), &answer.headers()["content-type"]),
            (200, &media.parse().unwrap())
        );
        assert_eq!(answer.bytes().await.expect("an end").len(), 0, "{path}");
        // On the same connection, so that the answer before it is over.
        server.text("/health/live").await;
        let fetched = server.watched.fetched();
        assert!(fetched.events <= 16, "{path}: {fetched:?}");
    }
}

#[tokio::test]
async fn a_fetch_is_bounded_in_bytes_also_where_large_events_follow_small_ones() {
    const LARGE: usize = 40;
    let server = Server::start().await;
    let large = format!("\"{}\"", "x".repeat(1 << 20));
    let small = (0..2000).map(|n| content(&format!("a{n:04}"), "1"));
    let commands = (0..LARGE).map(|n| write([content(&format!("b{n:02}"), &large)]));
    let again = (0..LARGE).map(|n| write([content("b", &format!("[{n},{large}]"))]));
    server.seed("t", std::iter::once(write(small)).chain(commands).chain(again)).await;
    for (path, events) in [
        ("/v1/topics/t/events", 2000 + 2 * LARGE),
        ("/v1/topics/t/events?direction=backward", 2000 + 2 * LARGE),
        ("/v1/topics/t/surface", 2001 + LARGE),
        ("/v1/topics/t/events?key=b", LARGE),
    ] {
        server.watched.fetched();
        assert_eq!(server.read_lines(path).await.len(), events, "{path}");
        let fetched = server.watched.fetched();
        let most = (4 << 20) + (1 << 20) + 100;
        assert!(fetched.largest > 1 << 20 && fetched.largest < most, "{path}: {fetched:?}");
    }
}

#[tokio::test]
async fn a_history_is_walked_twice_at_most_however_long_it_is() {
    const VERSIONS: usize = 10_000;
    let server = Server::start().await;
    let version =
        |n: usize| write([content("k", &n.to_string()), content("other", &n.to_string())]);
    server.seed("t", (0..VERSIONS).map(version)).await;
    for direction in ["forward", "backward"] {
        server.watched.fetched();
        let path = format!("/v1/topics/t/events?key=k&direction={direction}");
        assert_eq!(server.read_lines(&path).await.len(), VERSIONS, "{path}");
        let fetched = server.watched.fetched();
        // The first fetches are small, and walk over the same thousand versions.
        assert!(fetched.steps < 2 * VERSIONS + 5 * 1024, "{path}: {fetched:?}");
    }
}
