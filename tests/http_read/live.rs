//! Live reads over a store that is counted and fails when told to: who pays for an event, what
//! becomes of a reader that does not read, and of all when the store is away.

use std::time::Duration;

use futures::future::join_all;
use serde_json::json;
use tidelog::config::Config;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::feed::Feed;
use crate::make::{content, write};
use crate::server::{Server, sent};
use crate::watched::SECRET;

const EVENTS: &str = "/v1/topics/t/events";

/// Longer than anything takes that is right.
const HANGS: Duration = Duration::from_secs(120);

async fn post(server: &Server, key: &str, data: &str) {
    let request = server.request(reqwest::Method::POST, EVENTS);
    let body = format!("{{\"key\":\"{key}\",\"data\":{data}}}");
    let answer = sent(request.header("Content-Type", "application/json").body(body)).await;
    assert_eq!(answer.status(), 201);
}

async fn caught_up(server: &Server, count: usize) -> Vec<Feed> {
    let feeds = (0..count).map(async |_| {
        let mut feed = Feed::messages(server.get(EVENTS)).await;
        while feed.expect().await.event != "caught-up" {}
        feed
    });
    join_all(feeds).await
}

/// Until this is so.
async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !is_so().await {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(HANGS, waiting).await.unwrap_or_else(|_| panic!("never: {what}"));
}

#[tokio::test]
async fn what_is_written_here_reaches_its_readers_without_the_store() {
    let server = Server::start().await;
    post(&server, "k", "-1").await;
    let mut feeds = caught_up(&server, 50).await;
    server.watched.fetched();
    for n in 0..100 {
        post(&server, "k", &n.to_string()).await;
    }
    join_all(feeds.iter_mut().map(|feed| feed.events(1, 100))).await;
    let fetched = server.watched.fetched();
    // The second look at the heads may come before the writer's word.
    assert!(fetched.fetches <= 3, "{fetched:?}");
}

#[tokio::test]
async fn what_others_wrote_is_read_from_the_store_once_for_all() {
    let server = Server::start().await;
    server.seed("t", [write([content("k", "-1")])]).await;
    let mut feeds = caught_up(&server, 50).await;
    server.watched.fetched();
    let count = 300;
    let more = (0..count).map(|n| write([content("k", &n.to_string())]));
    server.seed_after("t", [write([content("k", "-1")])], more).await;
    join_all(feeds.iter_mut().map(|feed| feed.events(1, count))).await;
    let fetched = server.watched.fetched();
    assert!(fetched.events <= count as usize + 16, "{fetched:?}");
}

#[tokio::test]
async fn a_store_that_is_away_for_a_while_only_delays_readers() {
    let server = Server::start().await;
    server.seed("t", (0..200).map(|n| write([content("k", &n.to_string())]))).await;
    server.watched.fail_after(2);
    let mut feed = Feed::messages(server.get(EVENTS)).await;
    feed.events(0, 16).await;
    server.watched.fail_after(usize::MAX);
    feed.events(16, 184).await;
    feed.expect_a("caught-up").await;
}

#[tokio::test]
async fn a_store_that_stays_away_ends_a_stream_with_a_problem() {
    let config = Config { read_patience: Duration::from_millis(100), ..Config::default() };
    let server = Server::with(config).await;
    server.seed("t", (0..200).map(|n| write([content("k", &n.to_string())]))).await;
    for lines in [false, true] {
        server.watched.fail_after(1);
        let error = if lines {
            let mut feed = Feed::lines(server.get(&format!("{EVENTS}?follow=true"))).await;
            let mut error = json!(null);
            while let Some(line) = feed.line().await {
                error = line["error"].clone();
            }
            error
        } else {
            let mut feed = Feed::messages(server.get(EVENTS)).await;
            feed.events(0, 16).await;
            let error = feed.expect_a("error").await;
            assert_eq!((error.id, feed.next().await), (None, None));
            error.data
        };
        server.watched.fail_after(usize::MAX);
        assert_eq!((&error["code"], &error["retryable"]), (&json!("unavailable"), &json!(true)));
        assert!(!error.to_string().contains(SECRET), "{error}");
    }
    server.watched.be_away(true);
    for path in [EVENTS, "/v1/notifications"] {
        let request = server.get(path).header("Accept", "text/event-stream");
        server.problem(request, 503, "unavailable").await;
    }
}

/// Much more than the buffers between service and client hold.
async fn large_topic(server: &Server) -> u64 {
    let data = |n: usize| format!("\"{n:05}{}\"", "x".repeat(256 << 10));
    server.seed("t", (0..200).map(|n| write([content("k", &data(n))]))).await;
    200
}

#[tokio::test]
async fn a_reader_that_does_not_read_is_cut_and_holds_up_nobody() {
    let stall = Duration::from_secs(1);
    let server = Server::with(Config { read_stall_timeout: stall, ..Config::default() }).await;
    let count = large_topic(&server).await;
    let address = server.url("");
    let mut raw = TcpStream::connect(address.trim_start_matches("http://")).await.expect("there");
    let head = format!("GET {EVENTS}?follow=true HTTP/1.1\r\nHost: localhost\r\n\r\n");
    raw.write_all(head.as_bytes()).await.expect("it is sent");
    until("it begins", async || {
        server.text("/version").await;
        server.watched.events_so_far() > 0
    })
    .await;
    // Others read and write meanwhile.
    let mut feed = Feed::messages(server.get(EVENTS)).await;
    feed.events(0, count).await;
    post(&server, "new", "1").await;
    feed.events(count, 1).await;
    drop(feed);
    until("it is let go", async || {
        // That the other is gone, the service sees when it writes to it.
        post(&server, "new", &format!("\"{:?}\"", std::time::Instant::now())).await;
        server.app.live.watched() == 0
    })
    .await;
    // What is in the buffers can still be read, but the connection does not go on: it is reset,
    // or closed inside the answer.
    let mut text = Vec::new();
    let reading = tokio::time::timeout(HANGS, raw.read_to_end(&mut text)).await;
    let _ = reading.expect("the connection has an end");
    assert!(!text.ends_with(b"0\r\n\r\n"), "the answer does not look whole");
    assert!(text.len() < 200 * (256 << 10), "{} bytes", text.len());
}

#[tokio::test]
async fn a_stream_of_http_2_that_is_not_read_is_let_go_and_others_of_its_connection_go_on() {
    let stall = Duration::from_secs(1);
    let server = Server::with(Config { read_stall_timeout: stall, ..Config::default() }).await;
    large_topic(&server).await;
    let client = reqwest::Client::builder().http2_prior_knowledge().build().expect("a client");
    let get = |path: &str| client.get(server.url(path)).header("Accept", "text/event-stream");
    let unread = sent(get(EVENTS)).await;
    let mut heads = Feed::messages(get("/v1/notifications")).await;
    heads.expect_a("head").await;
    assert_eq!(server.app.live.watched(), 1);
    until("it is let go", async || {
        server.text("/version").await;
        server.app.live.watched() == 0
    })
    .await;
    post(&server, "new", "1").await;
    assert_eq!(heads.expect_a("head").await.data["seq"], 200);
    let outcome = tokio::time::timeout(HANGS, unread.bytes()).await.expect("it has an end");
    assert!(outcome.is_err(), "it was reset, and is not over");
}

/// A piece is all that was read at once, some MiB of it. A client that takes longer for it than it may leave
/// a piece unread was cut although it read all the time.
#[tokio::test]
async fn a_reader_that_is_slow_but_reads_gets_a_large_event() {
    let stall = Duration::from_secs(3);
    let server = Server::with(Config { read_stall_timeout: stall, ..Config::default() }).await;
    let size = 1 << 20;
    server.seed("t", [write([content("k", &format!("\"{}\"", "x".repeat(size)))])]).await;
    let window = 1 << 16;
    let client = reqwest::Client::builder().http2_prior_knowledge();
    let client = client.http2_initial_stream_window_size(window).build().expect("a client");
    let get = client.get(server.url(EVENTS)).header("Accept", "application/x-ndjson");
    let mut answer = sent(get).await;
    let (mut read, mut pauses) = (0, 0);
    while let Some(piece) = answer.chunk().await.expect("it is not cut") {
        read += piece.len();
        if read / window as usize > pauses {
            pauses += 1;
            tokio::time::sleep(stall / 10).await;
        }
    }
    assert!(read > size, "{read} bytes");
    assert!(stall / 10 * pauses as u32 > stall, "it took longer than it may leave a piece");
}

#[tokio::test]
async fn a_reader_that_is_slow_but_reads_gets_everything() {
    let memory = 256 << 10;
    let config =
        Config { live_topic_bytes_max: memory, live_bytes_max: memory, ..Config::default() };
    let server = Server::with(config).await;
    let mut feed = Feed::messages(server.get(EVENTS)).await;
    feed.expect_a("caught-up").await;
    // Ten times what is held in memory, and it reads only afterwards.
    for n in 0..40 {
        post(&server, &format!("k{n}"), &format!("\"{}\"", "x".repeat(64 << 10))).await;
    }
    feed.events(0, 40).await;
}

/// Readers of lines that had gone were kept until the next event, with their sockets.
#[tokio::test]
async fn readers_that_are_gone_are_let_go_where_nothing_is_written() {
    let heartbeat_interval = Duration::from_millis(100);
    let server = Server::with(Config { heartbeat_interval, ..Config::default() }).await;
    post(&server, "k", "1").await;
    let two = reqwest::Client::builder().http2_prior_knowledge().build().expect("a client");
    let mut feeds = Vec::new();
    for n in 0..20 {
        let path = format!("{EVENTS}?follow=true{}", if n % 2 == 0 { "&key=k" } else { "" });
        feeds.push(Feed::lines(server.get(&path)).await);
        feeds.push(Feed::lines(two.get(server.url(&path))).await);
    }
    for feed in &mut feeds {
        assert_eq!(feed.line().await.expect("an event")["key"], "k");
    }
    drop(feeds);
    until("all are gone", async || {
        server.text("/version").await;
        server.app.live.watched() == 0
    })
    .await;
}

/// What a service says among lines is no line.
#[tokio::test]
async fn a_heartbeat_among_lines_is_blank_and_in_front_of_the_next_event() {
    let heartbeat_interval = Duration::from_millis(100);
    let server = Server::with(Config { heartbeat_interval, ..Config::default() }).await;
    let path = format!("{EVENTS}?follow=true&to=1");
    let answer = server.lines(&path).send();
    let mut answer = answer.await.expect("an answer");
    assert_eq!(answer.chunk().await.expect("a beat").expect("it goes on"), " ");
    post(&server, "k", "1").await;
    let mut text = String::new();
    while !text.ends_with('\n') {
        let piece = answer.chunk().await.expect("an event").expect("it goes on");
        text.push_str(std::str::from_utf8(&piece).expect("UTF-8"));
    }
    let line: serde_json::Value = serde_json::from_str(&text).expect("blanks, and an event");
    assert_eq!(line["key"], "k");
    assert!(text.trim_start().starts_with('{') && text.matches('\n').count() == 1, "{text:?}");
}

#[tokio::test]
async fn nothing_is_held_for_readers_that_are_gone() {
    let server = Server::start().await;
    let feeds = caught_up(&server, 20).await;
    let heads = Feed::messages(server.get("/v1/notifications")).await;
    post(&server, "k", "1").await;
    assert_eq!(server.app.live.watched(), 1);
    drop((feeds, heads));
    until("all are gone", async || {
        // The service sees that a client is gone when it writes to it.
        post(&server, "k", &format!("\"{:?}\"", std::time::Instant::now())).await;
        server.app.live.watched() == 0
    })
    .await;
}
