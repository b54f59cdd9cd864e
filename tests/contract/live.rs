//! Live reads: what was there, what comes, and the moment between.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::future::join_all;
use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};
use reqwest::Method;
use serde_json::{Value, json};

use crate::feed::Feed;
use crate::support::*;

const EVENTS: &str = "/v1/topics/t/events";

on_every_backend!(
    what_was_there_comes_first_and_then_what_is_written,
    a_reader_begins_where_it_says_also_inside_a_transaction,
    a_topic_that_does_not_exist_yet_is_waited_for,
    a_position_beyond_the_head_is_waited_for,
    the_last_event_that_was_wanted_ends_the_stream,
    a_key_is_followed,
    what_was_invalidated_is_read_so_by_those_who_read_it_later,
    readers_at_random_positions_see_every_event_once_while_it_is_written_at_full_speed,
    a_stream_says_that_it_lives_and_where_the_head_is,
    a_stream_is_told_that_the_service_shuts_down,
    a_long_poll_answers_as_soon_as_there_is_something,
    a_live_stream_can_be_compressed_and_in_http_2,
    line_breaks_between_tokens_do_not_break_lines,
    heads_are_told_as_they_move,
    heads_of_many_topics_are_all_told_and_merged_for_who_is_slow,
);

async fn group(server: &Server, keys: &[&str], data: u64) {
    let events: Vec<Value> = keys.iter().map(|key| json!({"key": key, "data": data})).collect();
    let body = json!({"events": events}).to_string();
    let answer = server.json("/v1/topics/t/transactions", &body).send().await.expect("an answer");
    assert_eq!(answer.status(), 201);
}

fn head(seq: u64, transaction: u64) -> Value {
    json!({"head": {"seq": seq, "transaction": transaction}})
}

async fn what_was_there_comes_first_and_then_what_is_written(backend: &Backend) {
    let server = Server::start(backend.config()).await;
    group(&server, &["a", "b"], 1).await;
    server.write("t", "c", "[1, 2]").await;
    let mut messages = Feed::messages(server.get(EVENTS)).await;
    let mut lines = Feed::lines(server.get(&format!("{EVENTS}?follow=true"))).await;
    let mut seen = messages.events(0, 3).await;
    let caught_up = messages.expect_a("caught-up").await;
    assert_eq!((caught_up.id, caught_up.data), (None, head(2, 1)));
    for n in 0..20 {
        group(&server, &["x", "y"], n).await;
        seen.extend(messages.events(3 + 2 * n, 2).await);
    }
    let path = "/v1/topics/t/transactions/3/invalidation";
    let done = server.request(Method::POST, path).send().await.expect("an answer");
    assert_eq!(done.status(), 201);
    let invalidation = messages.expect_a("invalidation").await;
    assert_eq!((invalidation.id, &invalidation.data["invalidates"]), (Some(43), &json!(3)));
    seen.push(invalidation.data);
    for event in &seen {
        assert_eq!(lines.line().await.as_ref(), Some(event), "lines and messages say the same");
    }
    let mut log = server.read_lines(EVENTS).await;
    for event in log.iter_mut().filter(|event| event["transaction"] == 3) {
        event.as_object_mut().expect("an event").remove("invalidated_by");
    }
    assert_eq!(seen, log, "and so does a page, but for what became of an event later");
}

async fn a_reader_begins_where_it_says_also_inside_a_transaction(backend: &Backend) {
    let server = Server::start(backend.config()).await;
    group(&server, &["a", "b", "c", "d"], 1).await;
    group(&server, &["a", "b", "c", "d"], 2).await;
    for from in 0..8 {
        let get = || server.get(&format!("{EVENTS}?from={from}"));
        let resumed = || server.get(&format!("{EVENTS}?from=1")).header("Last-Event-ID", from);
        Feed::messages(get()).await.events(from, 8 - from).await;
        let mut feed = Feed::messages(resumed()).await;
        feed.events(from + 1, 7 - from).await;
        assert_eq!(feed.expect().await.data, head(7, 1), "from {from}");
    }
    // And from memory, as long as the first reader stays.
    let mut first = Feed::messages(server.get(EVENTS)).await;
    first.events(0, 8).await;
    group(&server, &["a", "b", "c", "d"], 3).await;
    for from in 8..12 {
        let resumed = server.get(EVENTS).header("Last-Event-ID", from - 1);
        Feed::messages(resumed).await.events(from, 12 - from).await;
    }
}

async fn a_topic_that_does_not_exist_yet_is_waited_for(backend: &Backend) {
    let server = Server::start(backend.config()).await;
    let mut messages = Feed::messages(server.get(EVENTS)).await;
    assert_eq!(messages.expect_a("caught-up").await.data, json!({"head": null}));
    let mut lines = Feed::lines(server.get(&format!("{EVENTS}?follow=true"))).await;
    problem(server.get("/v1/topics/t"), expect(404, "topic-not-found")).await;
    server.write("t", "k", "1").await;
    assert_eq!(messages.events(0, 1).await[0], lines.line().await.expect("an event"));
}

async fn a_position_beyond_the_head_is_waited_for(backend: &Backend) {
    let server = Server::start(backend.config()).await;
    server.write("t", "k", "0").await;
    let mut feed = Feed::messages(server.get(&format!("{EVENTS}?from=5"))).await;
    let mut resumed = Feed::messages(server.get(EVENTS).header("Last-Event-ID", "4")).await;
    assert_eq!(feed.expect_a("caught-up").await.data, head(0, 0));
    for n in 1..8 {
        server.write("t", "k", &n.to_string()).await;
    }
    feed.events(5, 3).await;
    resumed.events(5, 3).await;
}

async fn the_last_event_that_was_wanted_ends_the_stream(backend: &Backend) {
    let server = Server::start(backend.config()).await;
    for n in 0..5 {
        server.write("t", "k", &n.to_string()).await;
    }
    let stretch = format!("{EVENTS}?from=1&to=6");
    let mut messages = Feed::messages(server.get(&stretch)).await;
    let mut lines = Feed::lines(server.get(&format!("{stretch}&follow=true"))).await;
    messages.events(1, 4).await;
    group(&server, &["a", "b", "c"], 1).await;
    messages.events(5, 2).await;
    assert_eq!(messages.next().await, None);
    for seq in 1..=6 {
        assert_eq!(lines.line().await.expect("an event")["seq"], seq);
    }
    assert_eq!(lines.line().await, None);
    let past = Feed::messages(server.get(&format!("{EVENTS}?from=2&to=3"))).await;
    let mut past = past;
    past.events(2, 2).await;
    assert_eq!(past.next().await, None);
    let mut nothing = Feed::messages(server.get(&format!("{EVENTS}?from=3&to=2"))).await;
    assert_eq!(nothing.next().await, None);
}

async fn a_key_is_followed(backend: &Backend) {
    let server = Server::start(backend.config()).await;
    let keys = ["k", "k2", "\"k\"", "é\n", "},\"key\":\"k\""];
    for n in 0..3 {
        group(&server, &keys, n).await;
    }
    let follow = |key: &str| {
        let parameters = [("key", key), ("follow", "true")];
        let url = format!("http://{}{EVENTS}", server.address);
        let url = reqwest::Url::parse_with_params(&url, parameters).expect("a URL");
        Feed::lines(server.client.get(url))
    };
    let mut feeds = Vec::new();
    for key in keys {
        feeds.push(follow(key).await);
    }
    for n in 3..6 {
        group(&server, &keys, n).await;
    }
    for (at, feed) in feeds.iter_mut().enumerate() {
        for n in 0..6 {
            let event = feed.line().await.expect("an event");
            assert_eq!((&event["key"], &event["data"]), (&json!(keys[at]), &json!(n)));
            assert_eq!(event["seq"], n * keys.len() + at);
        }
    }
}

async fn what_was_invalidated_is_read_so_by_those_who_read_it_later(backend: &Backend) {
    let server = Server::start(backend.config()).await;
    // Somebody follows, so that all of it is held in memory.
    let mut first = Feed::messages(server.get(EVENTS)).await;
    for n in 0..4 {
        group(&server, &["a", "b"], n).await;
    }
    first.events(0, 8).await;
    for transaction in [1, 3] {
        let path = format!("/v1/topics/t/transactions/{transaction}/invalidation");
        let done = server.request(Method::POST, &path).send().await.expect("an answer");
        assert_eq!(done.status(), 201);
    }
    first.events(8, 2).await;
    let log = server.read_lines(EVENTS).await;
    for from in 0..10 {
        let mut feed = Feed::messages(server.get(&format!("{EVENTS}?from={from}"))).await;
        assert_eq!(feed.events(from, 10 - from).await, log[from as usize..]);
    }
    group(&server, &["a", "b"], 9).await;
    first.events(10, 2).await;
}

async fn readers_at_random_positions_see_every_event_once_while_it_is_written_at_full_speed(
    backend: &Backend,
) {
    const LINES: u64 = 60_000;
    const READERS: usize = 24;
    let config = Config { live_topic_bytes_max: 256 << 10, ..backend.config() };
    let server = Server::start(config).await;
    // Lines of one event and groups of three, so that there are transactions to be inside of.
    let body: String = (0..LINES)
        .map(|n| match n % 4 {
            0 => format!(
                "{{\"events\":[{{\"key\":\"g{n}\",\"data\":{n}}},{{\"key\":\"h{n}\",\"data\":{n}}}]}}\n"
            ),
            _ => format!("{{\"key\":\"k{n}\",\"data\":{n}}}\n"),
        })
        .collect();
    let count = LINES + LINES / 4;
    let writing = async {
        let request = server.lines(&format!("{EVENTS}?acks=summary"), &body);
        let acks = lines_of(request.send().await.expect("an answer")).await;
        assert_eq!(acks[0]["summary"]["complete"], true, "{acks:?}");
    };
    let random = &mut SmallRng::seed_from_u64(7);
    let froms: Vec<u64> = (0..READERS).map(|_| random.random_range(0..count)).collect();
    let reading = froms.iter().enumerate().map(async |(n, from)| {
        // They come one after the other, while it is being written.
        while server.read("/v1/topics").await["topics"][0]["events"].as_u64()
            < Some(n as u64 * count / (2 * READERS as u64))
        {
            tokio::task::yield_now().await;
        }
        let mut feed = Feed::messages(server.get(&format!("{EVENTS}?from={from}"))).await;
        let (mut next, mut caught_up) = (*from, 0);
        while next < count || caught_up == 0 {
            let message = feed.expect().await;
            if message.event == "caught-up" {
                caught_up += 1;
                let head = message.data["head"]["seq"].as_u64().expect("a head");
                assert!(next > head || next == *from, "{next} after {head}");
                continue;
            }
            assert!(message.is_event(), "{message:?}");
            assert_eq!(message.id, Some(next), "no gap, no repeat");
            assert_eq!(message.data["seq"], next);
            next += 1;
        }
        assert_eq!(caught_up, 1);
    });
    futures::join!(writing, join_all(reading));
}

async fn a_stream_says_that_it_lives_and_where_the_head_is(backend: &Backend) {
    let every = Duration::from_millis(100);
    let config = Config { heartbeat_interval: every, ..backend.config() };
    let server = Server::start(config).await;
    let mut feed = Feed::messages(server.get(EVENTS)).await;
    let mut heads = Feed::messages(server.get("/v1/notifications")).await;
    feed.expect_a("caught-up").await;
    let next = feed.next().await.expect("it goes on");
    assert_eq!(
        (next.event.as_str(), next.id, next.data),
        ("heartbeat", None, json!({"head": null}))
    );
    server.write("t", "k", "1").await;
    feed.events(0, 1).await;
    let next = feed.next().await.expect("it goes on");
    assert_eq!((next.event.as_str(), next.data), ("heartbeat", head(0, 0)));
    let mut kinds = Vec::new();
    while kinds.len() < 3 {
        kinds.push(heads.next().await.expect("it goes on").event);
    }
    assert!(kinds.contains(&"heartbeat".into()) && kinds.contains(&"head".into()), "{kinds:?}");
}

async fn a_stream_is_told_that_the_service_shuts_down(backend: &Backend) {
    let server = Server::start(backend.config()).await;
    server.write("t", "k", "1").await;
    let mut messages = Feed::messages(server.get(EVENTS)).await;
    let mut lines = Feed::lines(server.get(&format!("{EVENTS}?follow=true"))).await;
    let mut heads = Feed::messages(server.get("/v1/notifications")).await;
    let poll = async { server.read(&format!("{EVENTS}?from=1&wait=60")).await };
    messages.events(0, 1).await;
    messages.expect_a("caught-up").await;
    lines.line().await.expect("an event");
    heads.expect_a("head").await;
    let ending = async {
        server.draining.cancel();
        assert_eq!(messages.expect_a("end").await.data, head(0, 0));
        assert_eq!(messages.next().await, None);
        assert_eq!(lines.line().await, None);
        heads.expect_a("end").await;
        assert_eq!(heads.next().await, None);
    };
    let (page, ()) = futures::join!(poll, ending);
    assert_eq!(page["events"], json!([]));
}

async fn a_long_poll_answers_as_soon_as_there_is_something(backend: &Backend) {
    let server = Server::start(backend.config()).await;
    let read = async |query: &str| server.read(&format!("{EVENTS}?{query}")).await;
    let later = async |key: &'static str| {
        // The others are asked for first: they are all of one client, and then one.
        server.read("/version").await;
        server.write("t", key, "1").await
    };
    // Not even the topic is there.
    let (page, _) = futures::join!(read("wait=60"), later("a"));
    assert_eq!((&page["events"][0]["seq"], &page["next"]), (&json!(0), &Value::Null));
    let (page, _) = futures::join!(read("from=1&wait=60"), later("b"));
    assert_eq!(page["events"][0]["seq"], 1);
    assert_eq!(page["head"], head(1, 1)["head"]);
    assert_eq!(read("from=0&wait=60").await["events"].as_array().map(Vec::len), Some(2));
    assert_eq!(read("from=1&to=0&wait=60").await["events"], json!([]), "nothing can come");
    assert_eq!(read("from=2&wait=0").await["events"], json!([]));
    assert_eq!(read("from=2&wait=1").await["events"], json!([]));
    assert_eq!(read("from=1&wait=60&key=b").await["events"][0]["seq"], 1);
    let both = async { later("c").await["seq"] == 2 && later("d").await["seq"] == 3 };
    let (page, written) = futures::join!(read("wait=60&key=d"), both);
    assert_eq!((&page["events"][0]["seq"], written), (&json!(3), true));
    let lines = async { server.read_lines(&format!("{EVENTS}?from=4&wait=60")).await };
    let (lines, _) = futures::join!(lines, later("e"));
    assert_eq!((lines.len(), &lines[0]["seq"]), (1, &json!(4)));
    let missing = server.get("/v1/topics/missing/events?wait=1");
    problem(missing, expect(404, "topic-not-found")).await;
}

async fn a_live_stream_can_be_compressed_and_in_http_2(backend: &Backend) {
    let server = Server::start(backend.config()).await;
    for n in 0..100 {
        server.write("t", "k", &n.to_string()).await;
    }
    let http2 = reqwest::Client::builder().http2_prior_knowledge().build().expect("a client");
    let url = format!("http://{}{EVENTS}", server.address);
    let mut feed = Feed::messages(http2.get(&url)).await;
    feed.events(0, 100).await;
    feed.expect_a("caught-up").await;
    let mut compressed = server
        .get(EVENTS)
        .header("Accept", "text/event-stream")
        .header("Accept-Encoding", "gzip")
        .send()
        .await
        .expect("an answer");
    assert_eq!(compressed.headers()["content-encoding"], "gzip");
    let mut gzip = flate2::write::GzDecoder::new(Vec::new());
    let mut read_until = async |what: &str| {
        use std::io::Write as _;
        while !String::from_utf8_lossy(gzip.get_ref()).contains(what) {
            let piece = tokio::time::timeout(Duration::from_secs(60), compressed.chunk()).await;
            let piece = piece.expect("it comes").expect("it goes on").expect("it does not end");
            gzip.write_all(&piece).expect("it is gzip");
            gzip.flush().expect("it is gzip");
        }
    };
    read_until("event: caught-up\ndata: {\"head\":{\"seq\":99,").await;
    server.write("t", "k", "\"new\"").await;
    read_until("\"data\":\"new\"").await;
    feed.events(100, 1).await;
    server.draining.cancel();
    feed.expect_a("end").await;
    assert_eq!(feed.next().await, None);
}

async fn line_breaks_between_tokens_do_not_break_lines(backend: &Backend) {
    let server = Server::start(backend.config()).await;
    server.write("t", "k", "{\r\n  \"a\": [1,\n2]\r}").await;
    let expected = json!({"a": [1, 2]});
    assert_eq!(server.read_lines(EVENTS).await[0]["data"], expected);
    assert_eq!(server.read_lines("/v1/topics/t/surface").await[0]["data"], expected);
    let mut feed = Feed::messages(server.get(EVENTS)).await;
    assert_eq!(feed.events(0, 1).await[0]["data"], expected);
    let page = server.get(EVENTS).send().await.expect("an answer").text().await.expect("a body");
    assert!(page.contains("{\r\n  \"a\": [1,\n2]\r}"), "a page has it as it was sent: {page}");
}

async fn heads_are_told_as_they_move(backend: &Backend) {
    let server = Server::start(backend.config()).await;
    for topic in ["a", "b", "c"] {
        server.write(topic, "k", "1").await;
    }
    let mut feed = Feed::messages(server.get("/v1/notifications")).await;
    let told = |topic: &str, seq: u64| json!({"topic": topic, "seq": seq, "transaction": seq});
    for topic in ["a", "b", "c"] {
        let head = feed.expect_a("head").await;
        assert_eq!((head.id, head.data), (None, told(topic, 0)));
    }
    server.write("b", "k", "2").await;
    assert_eq!(feed.expect_a("head").await.data, told("b", 1));
    server.write("new", "k", "2").await;
    assert_eq!(feed.expect_a("head").await.data, told("new", 0));
}

async fn heads_of_many_topics_are_all_told_and_merged_for_who_is_slow(backend: &Backend) {
    const TOPICS: usize = 10_000;
    const MOVED: usize = 500;
    let server = Server::start(backend.config()).await;
    let write = async |n: usize, data: u64| {
        server.write(&format!("t{n:05}"), "k", &data.to_string()).await;
    };
    let all = async |count: usize, data: u64| {
        let next = AtomicUsize::new(0);
        let workers = (0..64).map(|_| async {
            loop {
                let n = next.fetch_add(1, Ordering::Relaxed);
                if n >= count {
                    return;
                }
                write(n, data).await;
            }
        });
        join_all(workers).await;
    };
    all(TOPICS, 0).await;
    let mut slow = Feed::messages(server.get("/v1/notifications")).await;
    let mut told = 0;
    // Reads until every head is where it should be: some moved on, one of them often.
    let mut read = async |feed: &mut Feed, of_seven: u64| {
        let mut heads: Vec<Option<u64>> = vec![None; TOPICS];
        let should = |n: usize| if n == 7 { of_seven } else { u64::from(n < MOVED) };
        let mut missing = TOPICS;
        while missing > 0 {
            let head = feed.expect_a("head").await.data;
            let topic = head["topic"].as_str().expect("a name");
            let n: usize = topic[1..].parse().expect("its number");
            let seq = head["seq"].as_u64();
            assert!(seq > heads[n], "{topic} goes on: {seq:?} after {:?}", heads[n]);
            heads[n] = seq;
            missing -= usize::from(seq == Some(should(n)));
            told += 1;
        }
    };
    let mut quick = Feed::messages(server.get("/v1/notifications")).await;
    futures::join!(all(MOVED, 1), read(&mut quick, 1));
    for data in 2..300 {
        write(7, data).await;
    }
    read(&mut slow, 299).await;
    assert!(told <= 2 * (TOPICS + MOVED) + 300, "{told}");
}
